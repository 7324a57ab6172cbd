"""Who is logged in in a browser: a cookie that holds a secret, kept as its SHA-256.

https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from smart_auth import addresses, events, failures, throttle, users
from smart_auth.refusal import Refused
from smart_auth.server import Auth, Document, digest, new_secret
from smart_auth.users import User

LIFE = timedelta(hours=12)
IDLE = timedelta(hours=1)
HALF_LIFE = timedelta(minutes=10)  # from the password to the second factor
SEEN_EVERY = timedelta(minutes=1)
PROGRAMS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "Mac"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class Session:
    """`methods` say how the person proved who they are: https://www.rfc-editor.org/rfc/rfc8176

    Until a second factor that the account asks for is shown, a session is `half` and opens nothing but that page.
    """

    id: str
    user: User
    methods: tuple[str, ...]
    half: bool
    at: datetime
    seen: datetime
    expires: datetime
    agent: str


def cookie_name(auth: Auth) -> str:
    """Records of one origin have a session each. A prefix has the browser refuse what a sibling domain sets."""
    url = urlsplit(auth.issuer)
    return ("__Host-" if url.scheme == "https" else "") + "session" + url.path.rstrip("/").replace("/", "-")


def secret_of(auth: Auth, request: Request) -> str | None:
    return request.cookies.get(cookie_name(auth)) or None


async def current(auth: Auth, request: Request) -> Session | None:
    """The session that the request's cookie opens, when the person is all the way in."""
    session = await begun(auth, request)
    if session is None or session.half:
        return None
    if not addresses.may_administer(auth.settings, session.user.roles, request.scope):
        await end(auth, request)  # its secret is where it should not be
        raise Refused("access_denied", addresses.ELSEWHERE, 403)
    return session


async def begun(auth: Auth, request: Request) -> Session | None:
    """The same, also when a second factor is still to be shown."""
    secret = secret_of(auth, request)
    if secret is None:
        return None
    document = await auth["sessions"].find_one({"_id": digest(secret), **alive(auth)})
    if document is None:
        return None
    person = await users.find(auth, document["user"])
    if person is None or person.disabled:
        return None
    now = auth.now()
    if now - document["seen"] > SEEN_EVERY:
        await auth["sessions"].update_one({"_id": document["_id"]}, {"$set": {"seen": now}})
    return _session(document, person)


def alive(auth: Auth) -> Document:
    """Sessions that open something."""
    now = auth.now()
    return {"expires": {"$gt": now}, "seen": {"$gt": now - IDLE}}


def _session(document: Document, person: User) -> Session:
    return Session(
        id=document["_id"],
        user=person,
        methods=tuple(document["methods"]),
        half=document["half"],
        at=document["at"],
        seen=document["seen"],
        expires=document["expires"],
        agent=document["agent"],
    )


async def start(
    auth: Auth, request: Request, response: Response, person: User, methods: Sequence[str], *, half: bool = False
) -> None:
    """A new session in this browser. One that it had before ends: its secret may be known to who set it.

    What the same person let in for as long as they are logged in goes on, as they still are.
    """
    if not addresses.may_administer(auth.settings, person.roles, request.scope):
        await failures.failed(auth, request, "log-in-failed", person.id, reason="networks")
        raise Refused("access_denied", addresses.ELSEWHERE, 403)
    secret, now = new_secret(), auth.now()
    address = throttle.origin(auth, request)
    await auth["sessions"].insert_one(
        {
            "_id": digest(secret),
            "user": person.id,
            "methods": list(methods),
            "half": half,
            "at": now,
            "seen": now,
            "expires": now + (HALF_LIFE if half else LIFE),
            "agent": request.headers.get("user-agent", "")[:200],
            "address": address,
        }
    )
    await _go_on(auth, request, person, digest(secret))
    await end(auth, request)
    if not half:
        await events.record(auth, "log-in", person.id, person.id, address=address, methods=list(methods))
    secure = auth.issuer.startswith("https:")
    response.set_cookie(cookie_name(auth), secret, path="/", secure=secure, httponly=True, samesite="lax")


async def _go_on(auth: Auth, request: Request, person: User, session: str) -> None:
    """Grants of the session before; not where it was ended, on another device say."""
    before = digest(secret_of(auth, request) or "")
    if await lasts(auth, before):
        await auth["grants"].update_many({"session": before, "user": person.id}, {"$set": {"session": session}})


async def lasts(auth: Auth, session: str) -> bool:
    """Whether the person has not logged out; who works in an app sends nothing here, and is not idle."""
    return await auth["sessions"].find_one({"_id": session, "expires": {"$gt": auth.now()}}) is not None


async def end(auth: Auth, request: Request) -> None:
    secret = secret_of(auth, request)
    if secret is not None:
        await auth["sessions"].delete_one({"_id": digest(secret)})


def forget(auth: Auth, response: Response) -> None:
    """Have the browser drop its cookie."""
    secure = auth.issuer.startswith("https:")
    response.delete_cookie(cookie_name(auth), path="/", secure=secure, httponly=True, samesite="lax")


async def listed(auth: Auth, user: str) -> list[dict[str, str]]:
    """Where a person is logged in."""
    return [
        {
            "id": each["_id"],
            "agent": each["agent"],
            "device": device(each["agent"]),
            "address": each["address"],
            "at": each["at"].isoformat(timespec="seconds"),
            "seen": each["seen"].isoformat(timespec="seconds"),
        }
        async for each in auth["sessions"].find({"user": user, "half": False, **alive(auth)}).sort("seen", -1)
    ]


def device(agent: str) -> str:
    """What a person recognises in a User-Agent. Browsers name others too, so the first that fits is it."""
    program = next((name for sign, name in PROGRAMS if sign in agent), agent.partition("/")[0] or "An app")
    system = next((name for sign, name in SYSTEMS if sign in agent), None)
    return f"{program} on {system}" if system else program


async def end_one(auth: Auth, user: str, id_: str) -> int:
    result = await auth["sessions"].delete_one({"_id": id_, "user": user})
    return result.deleted_count


async def end_all(auth: Auth, user: str, except_: str | None = None) -> int:
    """Log a person out everywhere, or everywhere but here."""
    result = await auth["sessions"].delete_many({"user": user, "_id": {"$ne": except_}})
    return result.deleted_count


def log_in_url(auth: Auth, back: str) -> str:
    """Where to log in, for who then goes on at `back`: a path and query below the issuer, "/authorize?…"."""
    return f"{auth.issuer}/login?{urlencode({'next': back})}"
