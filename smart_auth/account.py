"""The page of one's own account: password, second factor, where one is logged in, and which apps one let in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from smart_auth import elsewhere, events, links, login, notices, passkeys, passwords, sessions, tokens, users, visits
from smart_auth.administration import account
from smart_auth.refusal import NO_STORE, Refused, invalid_request
from smart_auth.server import Auth
from smart_auth.visits import Visit

SHOWN = 20  # of what happened lately


async def _page(visit: Visit, refused: Refused | None) -> Response:
    session = visit.person()
    values = {
        "sessions": await sessions.listed(visit.auth, session.user.id),
        "apps": await apps(visit.auth, session.user.id),
        "passkeys": await passkeys.listed(visit.auth, session.user.id),
        "events": await events.about(visit.auth, session.user.id, SHOWN),
    }
    if visit.json:
        here = {"session": session.id, "recoveryCodes": session.user.recovery_left}
        return JSONResponse(account(session.user) | values | here, headers=NO_STORE)
    return visit.page("account", refused, said=events.SAID, **values)


async def apps(auth: Auth, user: str) -> list[Mapping[str, Any]]:
    """Those that the person let in: what they hold now, on each device, and what they would get without asking."""
    found: dict[str, dict[str, Any]] = {}
    alive = {"user": user, "revoked": None, "expires": {"$gt": auth.now()}}
    async for grant in auth["grants"].find(alive).sort("issued", -1):
        since = grant["issued"].isoformat(timespec="seconds")
        app = found.setdefault(grant["client"], {"since": since, "accesses": []})
        app["accesses"].append({"grant": grant["_id"], "since": since, "device": grant.get("device")})
    async for approval in auth["approvals"].find({"user": user}):
        found.setdefault(approval["client"], {"accesses": []})["remembered"] = approval["at"].isoformat(
            timespec="seconds"
        )
    names = {each["_id"]: each["name"] async for each in auth["clients"].find({"_id": {"$in": [*found]}}, {"name": 1})}
    return [{"client": id_, "name": names.get(id_, id_), **values} for id_, values in sorted(found.items())]


async def _password_page(visit: Visit, refused: Refused | None) -> Response:
    visit.person()
    return visit.page("password", refused, ends=refused is None or _ends_others(visit))


async def _password(visit: Visit) -> Response:
    auth = visit.auth
    visit.only("password", "new_password", "end_others")
    person = await login.again(visit)
    new, ends = visit.text("new_password", needed=True), _ends_others(visit)
    await passwords.check_new(auth, new, [person.name, person.login], "new_password")
    await users.change(auth, person.id, {"password": await passwords.hashed(new)})
    await links.drop(auth, person.id)
    if ends:
        await elsewhere.end(auth, person.id, visit.person().id, offline=True)
    await events.record(auth, "password-changed", person.id, person.id, othersEnded=ends)
    notices.send(auth, person, "password")
    return visit.done({"changed": True, "others_ended": ends}, "/account")


def _ends_others(visit: Visit) -> bool:
    """Unless the person does not want it: a box of the page, true or false in JSON."""
    if not visit.json:
        return visit.fields.get("end_others") == "on"
    found = visit.fields.get("end_others", True)
    if not isinstance(found, bool):
        raise invalid_request("end_others is true or false")
    return found


async def _end_session(visit: Visit) -> Response:
    """One of them, by its id, or all but this."""
    visit.only("session")
    session, id_ = visit.person(), visit.text("session", 64)
    if not id_:
        ended = await sessions.end_all(visit.auth, session.user.id, except_=session.id)
    else:
        ended = await sessions.end_one(visit.auth, session.user.id, id_)
        if not ended:
            raise Refused("not_found", "there is no such session", 404)
    await events.record(visit.auth, "sessions-ended", session.user.id, session.user.id, count=ended)
    return visit.done({"ended": ended}, "/account")


async def _end_app(visit: Visit) -> Response:
    """All that an app may do, or one of its accesses, as of a lost phone. Either way it asks for the next."""
    visit.only("client", "grant")
    person, client, grant = visit.person().user, visit.text("client", 200, needed=True), visit.text("grant", 64)
    which = {"user": person.id, "client": client}
    if grant:
        which |= {"_id": grant}
        if await visit.auth["grants"].find_one(which | {"revoked": None}) is None:
            raise Refused("not_found", "there is no such access, or it ended", 404)
    remembered = await visit.auth["approvals"].delete_one({"_id": f"{person.id} {client}"})
    ended = await tokens.revoke_all(visit.auth, which, "taken back by the user")
    if not remembered.deleted_count and not ended:
        raise Refused("not_found", "you did not let this app in, or you took it back before", 404)
    await events.record(visit.auth, "app-removed", person.id, person.id, client=client)
    return visit.done({"ended": True}, "/account")


async def _name(visit: Visit) -> Response:
    visit.only("name")
    person, name = visit.person().user, users.checked_name(visit.text("name", needed=True))
    if not name:
        raise invalid_request("a name is what people can read")
    await users.change(visit.auth, person.id, {"name": name})
    await events.record(visit.auth, "name-changed", person.id, person.id, name=name)
    return visit.done({"name": name}, "/account")


ROUTES = {
    "/account": {"GET": visits.shown(_page), "POST": visits.submitted(_name, _page)},
    "/account/password": {"GET": visits.shown(_password_page), "POST": visits.submitted(_password, _password_page)},
    "/account/sessions/end": {"GET": visits.leads("/account"), "POST": visits.submitted(_end_session, _page)},
    "/account/apps/end": {"GET": visits.leads("/account"), "POST": visits.submitted(_end_app, _page)},
}
