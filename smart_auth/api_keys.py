"""Keys for bridges and scripts that cannot sign what they ask: an access token of a service, with scopes and an end.

To rotate one: make the next, give it to the service, and end the old. Whoever can use `private_key_jwt` should. A key
works while who made it is an administrator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from starlette.responses import JSONResponse, Response

from smart_auth import events, login, tokens, users, visits
from smart_auth.administration import administrator
from smart_auth.refusal import NO_STORE, Refused, invalid_request, invalid_scope
from smart_auth.scopes import parse
from smart_auth.server import Auth, Document
from smart_auth.visits import Visit

PREFIX = "key:"
DAYS, MOST_DAYS = 90, 400
_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,59}", re.ASCII)
_alive = re.compile(f"^{PREFIX}")


async def listed(auth: Auth) -> list[dict[str, Any]]:
    query = {"client": _alive, "revoked": None, "expires": {"$gt": auth.now()}}
    found = await auth["grants"].find(query).sort("issued", 1).to_list()
    makers = await users.logins(auth, {each.get("maker") or "" for each in found})
    return [_shown(each, makers) | {"works": await tokens.stands(auth, each["_id"])} for each in found]


def _shown(grant: Document, makers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": grant["_id"],
        "name": grant["client"].removeprefix(PREFIX),
        "scope": grant["scope"],
        "issued": grant["issued"].isoformat(timespec="seconds"),
        "expires": grant["expires"].isoformat(timespec="seconds"),
        "by": makers.get(grant.get("maker") or ""),
    }


def _checked_scope(scope: str) -> str:
    scopes = scope.split()
    if not scopes or not all((found := parse(each)) and found.level == "system" for each in scopes):
        raise invalid_scope("scope is like system/Observation.cruds: a key stands for a service, not for a person")
    return " ".join(scopes)


def _check(name: str, days: int) -> None:
    if not _name.fullmatch(name):
        raise invalid_request("name has up to 60 letters, digits, '.', '_' and '-'", "name")
    if not 1 <= days <= MOST_DAYS:
        raise invalid_request(f"days are 1 to {MOST_DAYS}", "days")


async def make(auth: Auth, name: str, scope: str, days: int, by: str) -> dict[str, Any]:
    """A key, which is shown this once."""
    life = timedelta(days=days)
    grant = await tokens.begin(auth, f"{PREFIX}{name}", scope, life, maker=by)
    issued = await tokens.issue(auth, grant, scope, life, None)
    await events.record(auth, "api-key-made", by, grant, name=name, scope=scope, days=days)
    return {"id": grant, "name": name, "scope": scope, "key": issued.access}


async def _page(visit: Visit, refused: Refused | None) -> Response:
    administrator(visit)
    keys = await listed(visit.auth)
    if visit.json:
        return JSONResponse({"keys": keys}, headers=NO_STORE)
    typed = visits.typed({"days": str(DAYS), **(visit.fields if refused else {})})
    return visit.page("api_keys", refused, keys=keys, made=None, typed=typed)


async def _make(visit: Visit) -> Response:
    admin = administrator(visit)
    visit.only("password", "name", "scope", "days")
    days = visit.fields.get("days", DAYS)
    if isinstance(days, str) and days.isascii() and days.isdigit() and len(days) < 6:
        days = int(days)
    if not isinstance(days, int) or isinstance(days, bool):
        raise invalid_request("days is a number", "days")
    name, scope = visit.text("name", needed=True), _checked_scope(visit.text("scope", 2000, needed=True))
    _check(name, days)
    await login.again(visit)
    made = await make(visit.auth, name, scope, days, admin.id)
    if visit.json:
        return visit.done(made, "")
    return visit.page("api_keys", keys=await listed(visit.auth), made=made, typed=visits.typed({"days": str(DAYS)}))


async def _end(visit: Visit) -> Response:
    admin, id_ = administrator(visit), visit.text("id", 64, needed=True)
    grant = await visit.auth["grants"].find_one({"_id": id_, "client": _alive, "revoked": None})
    if grant is None:
        raise Refused("not_found", "there is no such key", 404)
    await tokens.revoke(visit.auth, id_, "by an administrator")
    await events.record(visit.auth, "api-key-ended", admin.id, id_, name=grant["client"].removeprefix(PREFIX))
    return visit.done({"ended": True}, "/api-keys")


ROUTES = {
    "/api-keys": {"GET": visits.shown(_page), "POST": visits.submitted(_make, _page)},
    "/api-keys/end": {"GET": visits.leads("/api-keys"), "POST": visits.submitted(_end, _page)},
}
