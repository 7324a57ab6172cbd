"""Logging in and out, by a page or as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import monotonic
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from smart_auth import events, failures, passwords, pushed, sessions, steps, throttle, users, visits
from smart_auth.refusal import Refused
from smart_auth.server import Auth
from smart_auth.signup import send_confirmation
from smart_auth.users import User
from smart_auth.visits import Visit

HOME = "/account"
WRONG = "the log-in name or the password is wrong"
WRONG_AGAIN = "this is not the password of your account"
SAID = {"confirmed": "Your address is confirmed. Log in now.", "changed": "Your password is changed. Log in with it."}
_path = re.compile(r"/[A-Za-z0-9._~%!$&'()*+,;=:@?/\-]*")


def back(visit: Visit) -> str:
    """Where to go on afterwards: below the issuer, so that no link of ours leads somebody elsewhere."""
    path = visit.text("next", pushed.LONGEST + 100)  # an authorization request, and where it goes
    return path if _path.fullmatch(path) and not path.startswith("//") else HOME


async def proved(auth: Auth, request: Request, login: str, password: str) -> User:
    """The person who knows the password. Who it is that does not, nor whether there is such an account, is not told."""
    person = await users.by_login(auth, login)
    return await _proved(auth, request, person, person.login if person else users.folded(login), password)


async def _proved(
    auth: Auth, request: Request, person: User | None, login: str, password: str, wrong: str = WRONG
) -> User:
    came, place = monotonic(), throttle.key("address", throttle.address(auth, request))
    account = throttle.key("account", login)  # one, by whichever of its names it was called
    await failures.admit(auth, place, auth.settings.login_failures_per_address)
    waited = await failures.admit(auth, account)
    async with throttle.given_back(auth, place, account):
        right, renewed = await passwords.verified(password, person.password if person else None)
    if person is None or not right or person.disabled:
        more = {"turnedAway": waited} if waited else {}
        await failures.failed(auth, request, "log-in-failed", person.id if person else None, **more)
        await failures.answerable(came)
        raise Refused("access_denied", wrong, 401, {"WWW-Authenticate": "Session"}, field="password")
    await throttle.proved(auth, account)
    await throttle.refund(auth, place)
    if waited:
        await events.record(auth, "log-ins-turned-away", "", person.id, count=waited)
    if renewed is not None:
        await users.change(auth, person.id, {"password": renewed})
    return person


async def _page(visit: Visit, refused: Refused | None) -> Response:
    said = SAID.get(str(visit.fields.get("said")))
    typed = str(visit.fields.get("login", ""))[: users.LONGEST_LOGIN]
    open_ = visit.auth.settings.sign_up != "off"
    return visit.page("login", refused, leads_away=True, next=back(visit), login=typed, said=said, sign_up=open_)


async def _log_in(visit: Visit) -> Response:
    login, password = visit.text("login", needed=True), visit.text("password", needed=True)
    person = await proved(visit.auth, visit.request, login, password)
    if not person.verified:
        await throttle.admit(visit.auth, throttle.key("confirm", person.id))
        await send_confirmation(visit.auth, person)
        raise Refused("access_denied", "confirm your e-mail address first: we sent you the link again", 403)
    if person.totp is None and not steps.required(visit.auth, person):
        return await entered(visit, person, ["pwd"])
    has = await steps.has(visit.auth, person)
    to = "/login/second" if has else "/account/authenticator"
    said = {"user": person.id, "second_factor": True, "set_up": not has}
    answer = visit.done(said, f"{to}?{urlencode({'next': back(visit)})}")
    await sessions.start(visit.auth, visit.request, answer, person, ["pwd"], half=True)
    return answer


async def entered(visit: Visit, person: User, methods: Sequence[str]) -> Response:
    """All the way in: a session, and on to where the person wanted to go."""
    path = back(visit)
    answer = visit.done({"user": person.id, "name": person.name, "next": visit.auth.issuer + path}, path)
    await sessions.start(visit.auth, visit.request, answer, person, methods)
    return answer


async def again(visit: Visit, person: User | None = None) -> User:
    """The person of the session, who has just typed their password once more: for what must not happen behind them."""
    person = person or visit.person().user
    password = visit.text("password", needed=True)
    return await _proved(visit.auth, visit.request, person, person.login, password, WRONG_AGAIN)


async def _log_out(visit: Visit) -> Response:
    answer = visit.done({}, "/login")
    if visit.session is not None:
        person = visit.session.user.id
        await events.record(visit.auth, "log-out", person, person)
    await sessions.end(visit.auth, visit.request)
    sessions.forget(visit.auth, answer)
    return answer


ROUTES = {
    "/login": {"GET": visits.shown(_page), "POST": visits.submitted(_log_in, _page)},
    "/logout": {"POST": visits.submitted(_log_out)},
}
