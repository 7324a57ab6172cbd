"""A second proof of who a person is: a code of an authenticator, or one of the recovery codes on paper.

Each is good once: of two requests with the same code, one gets in.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

import segno
from starlette.responses import Response

from smart_auth import (
    elsewhere,
    events,
    failures,
    login,
    notices,
    sealed,
    sessions,
    steps,
    throttle,
    totp,
    users,
    visits,
)
from smart_auth.refusal import Refused, invalid_request
from smart_auth.server import Auth, digest
from smart_auth.sessions import Session
from smart_auth.users import User
from smart_auth.visits import Visit

ISSUER = "HealthMate"
RECOVERY_CODES = 10
RECOVERY_BYTES = 10  # 80 bits, which nobody tries out even where the digests are known
NONE_WAITS = (
    "no key waits for its code: begin with a new key; or, if yours was just turned on and you saw no recovery codes, "
    "make new ones in your account"
)


class _Pending(NamedTuple):
    """A key that no code was shown of yet, and how it is kept."""

    kept: str
    key: str


async def shown_right(auth: Auth, person: User, typed: str) -> str | None:
    """How the person proved themselves by what they typed; None where it proves nothing."""
    key = sealed.opened(auth.sealing_key, person.totp, person.id) if person.totp is not None else None
    if key is not None:
        counter = totp.matching(key, typed, auth.now())
        if counter is not None:
            return "otp" if await _used(auth, person, key, counter) else None
    found = digest(_plain(typed))
    pulled = await auth["users"].update_one({"_id": person.id, "recovery": found}, {"$pull": {"recovery": found}})
    return "recovery" if pulled.modified_count else None


async def _used(auth: Auth, person: User, key: str, counter: int) -> bool:
    """Whether the code of a period was not used before. What an earlier build kept as it is, is sealed now."""
    kept = person.totp or ""
    values = {"totp.used": counter, "totp.key": kept if sealed.is_sealed(kept) else _sealed(auth, person, key)}
    newer = {"_id": person.id, "totp.key": kept, "totp.used": {"$lt": counter}}
    moved = await auth["users"].update_one(newer, {"$set": values})
    return moved.modified_count == 1


def _sealed(auth: Auth, person: User, key: str) -> str:
    return sealed.seal(auth.sealing_key, key, person.id)


# to log in


async def _page(visit: Visit, refused: Refused | None) -> Response:
    person = (await _half(visit)).user
    return visit.page("second", refused, leads_away=True, next=login.back(visit), coded=person.totp is not None)


async def _check(visit: Visit) -> Response:
    session = await _half(visit)
    key = throttle.key("second", session.user.id)
    waited = await failures.admit(visit.auth, key)
    method = await shown_right(visit.auth, session.user, visit.text("code", 100, needed=True))
    if method is None:
        more = {"turnedAway": waited} if waited else {}
        await failures.failed(visit.auth, visit.request, "second-factor-failed", session.user.id, **more)
        said = "this code is wrong, or was used before; wait for the next one"
        raise Refused("access_denied", said, 401, {"WWW-Authenticate": "Session"}, field="code")
    await throttle.proved(visit.auth, key)
    if method == "recovery":
        await events.record(visit.auth, "recovery-code-used", session.user.id, session.user.id)
        notices.send(visit.auth, session.user, "recovery code")
    return await login.entered(visit, session.user, [*session.methods, method, "mfa"])


async def _half(visit: Visit) -> Session:
    session = await sessions.begun(visit.auth, visit.request)
    if session is None or not session.half:
        raise Refused(visits.LOG_IN, "log in first", 401, {"WWW-Authenticate": "Session"})
    return session


# to set it up


async def _owner(visit: Visit) -> Session:
    """Who is in, or on the way in and must have a second step, but has none yet."""
    if visit.session is not None:
        return visit.session
    session = await _half(visit)
    if await steps.has(visit.auth, session.user):
        raise Refused(visits.LOG_IN, "log in first", 401, {"WWW-Authenticate": "Session"})
    return session


async def _setup_page(visit: Visit, refused: Refused | None) -> Response:
    session = await _owner(visit)
    person = session.user
    pending = await _pending(visit.auth, person)
    key = pending.key if pending else None
    uri = totp.uri(key, person.login, ISSUER) if key else None
    picture = segno.make(uri, micro=False).svg_data_uri(scale=4) if uri else None
    values = {"on": person.totp is not None, "half": session.half, "next": login.back(visit)}
    values["off"] = visit.request.url.path.endswith("/remove")
    values["must"] = steps.required(visit.auth, person)
    return visit.page("authenticator", refused, key=key, uri=uri, picture=picture, **values)


async def _begin(visit: Visit) -> Response:
    """A new key, which counts once a code of it was shown."""
    person = await login.again(visit, (await _owner(visit)).user)
    key = totp.new_key()
    await users.change(visit.auth, person.id, {"totp_pending": _sealed(visit.auth, person, key)})
    uri = totp.uri(key, person.login, ISSUER)
    return visit.done({"key": key, "uri": uri}, f"/account/authenticator?{urlencode({'next': login.back(visit)})}")


async def _confirm(visit: Visit) -> Response:
    auth, session = visit.auth, await _owner(visit)
    person = session.user
    pending = await _pending(auth, person)
    if pending is None:
        raise invalid_request(NONE_WAITS)
    await throttle.admit(auth, throttle.key("second", person.id))
    counter = totp.matching(pending.key, visit.text("code", 100, needed=True), auth.now())
    if counter is None:
        raise invalid_request("this code does not come from the key above; is the clock of your phone right?", "code")
    await throttle.proved(auth, throttle.key("second", person.id))
    codes = recovery_codes()
    turned_on = await auth["users"].update_one(
        {"_id": person.id, "totp_pending": pending.kept},  # once, however often it is sent
        {
            "$set": {
                "totp": {"key": pending.kept, "used": counter},
                "recovery": _digests(codes),
            },
            "$unset": {"totp_pending": ""},
        },
    )
    if not turned_on.modified_count:
        raise invalid_request(NONE_WAITS)
    await elsewhere.end(auth, person.id, None if session.half else session.id)
    await events.record(auth, "second-factor-added", person.id, person.id)
    notices.send(auth, person, "second factor on")
    answer = _codes(visit, codes)
    if session.half:
        await sessions.start(auth, visit.request, answer, person, [*session.methods, "otp", "mfa"])
    return answer


async def _remove(visit: Visit) -> Response:
    person = await login.again(visit)
    if steps.required(visit.auth, person):
        raise Refused("access_denied", "your account must have a second step: it can be replaced, not turned off", 403)
    removed = {"$unset": {"totp": "", "totp_pending": "", "recovery": ""}}
    await visit.auth["users"].update_one({"_id": person.id}, removed)
    await elsewhere.end(visit.auth, person.id, visit.person().id)
    await events.record(visit.auth, "second-factor-removed", person.id, person.id)
    notices.send(visit.auth, person, "second factor off")
    return visit.done({"removed": True}, "/account")


async def _new_codes(visit: Visit) -> Response:
    person = await login.again(visit)
    if person.totp is None:
        raise invalid_request("recovery codes stand in for an authenticator, and none is set up")
    codes = recovery_codes()
    await users.change(visit.auth, person.id, {"recovery": _digests(codes)})
    await events.record(visit.auth, "recovery-codes-made", person.id, person.id)
    notices.send(visit.auth, person, "recovery codes")
    return _codes(visit, codes)


async def _codes_page(visit: Visit, refused: Refused | None) -> Response:
    visit.person()
    return visit.page("new_codes", refused)


def _codes(visit: Visit, codes: Sequence[str]) -> Response:
    """They are shown this once."""
    if visit.json:
        return visit.done({"recovery_codes": list(codes)}, "")
    return visit.page("recovery_codes", codes=codes, next=login.back(visit))


def recovery_codes() -> list[str]:
    texts = (base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES))
    return ["-".join(text[i : i + 4] for i in range(0, len(text), 4)) for text in texts]


def _digests(codes: Sequence[str]) -> list[str]:
    return [digest(_plain(each)) for each in codes]


def _plain(typed: str) -> str:
    return typed.replace("-", "").replace(" ", "").lower()


async def _pending(auth: Auth, person: User) -> _Pending | None:
    document = await auth["users"].find_one({"_id": person.id}, {"totp_pending": 1})
    kept = document.get("totp_pending") if document else None
    key = sealed.opened(auth.sealing_key, kept, person.id) if kept else None
    return _Pending(kept, key) if kept and key else None


_back = visits.leads("/account/authenticator")
ROUTES = {
    "/login/second": {"GET": visits.shown(_page), "POST": visits.submitted(_check, _page)},
    "/account/authenticator": {"GET": visits.shown(_setup_page), "POST": visits.submitted(_confirm, _setup_page)},
    "/account/authenticator/new": {"GET": _back, "POST": visits.submitted(_begin, _setup_page)},
    "/account/authenticator/remove": {"GET": _back, "POST": visits.submitted(_remove, _setup_page)},
    "/account/recovery-codes": {"GET": visits.shown(_codes_page), "POST": visits.submitted(_new_codes, _codes_page)},
}
