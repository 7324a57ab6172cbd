"""Keys for bridges and scripts that cannot sign what they ask: an access token of a service, with scopes and an end.

To rotate one: make the next, give it to the service, and end the old. Whoever can use `private_key_jwt` should.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from starlette.responses import JSONResponse, Response

from smart_auth import events, tokens, visits
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
    return [_shown(each) async for each in auth["grants"].find(query).sort("issued", 1)]


def _shown(grant: Document) -> dict[str, Any]:
    return {
        "id": grant["_id"],
        "name": grant["client"].removeprefix(PREFIX),
        "scope": grant["scope"],
        "issued": grant["issued"].isoformat(timespec="seconds"),
        "expires": grant["expires"].isoformat(timespec="seconds"),
    }


async def make(auth: Auth, name: str, scope: str, days: int, by: str) -> dict[str, Any]:
    """A key, which is shown this once."""
    if not _name.fullmatch(name):
        raise invalid_request("name has up to 60 letters, digits, '.', '_' and '-'")
    if not 1 <= days <= MOST_DAYS:
        raise invalid_request(f"days are 1 to {MOST_DAYS}")
    scopes = scope.split()
    if not scopes or not all((found := parse(each)) and found.level == "system" for each in scopes):
        raise invalid_scope("scope is like system/Observation.cruds: a key stands for a service, not for a person")
    life = timedelta(days=days)
    grant = await tokens.begin(auth, f"{PREFIX}{name}", " ".join(scopes), life)
    issued = await tokens.issue(auth, grant, " ".join(scopes), life, None)
    await events.record(auth, "api-key-made", by, grant, name=name, scope=scope, days=days)
    return {"id": grant, "name": name, "scope": " ".join(scopes), "key": issued.access}


async def _page(visit: Visit, refused: Refused | None) -> Response:
    administrator(visit)
    keys = await listed(visit.auth)
    if visit.json:
        return JSONResponse({"keys": keys}, headers=NO_STORE)
    return visit.page("api_keys", refused, keys=keys, made=None)


async def _make(visit: Visit) -> Response:
    admin = administrator(visit)
    visit.only("name", "scope", "days")
    days = visit.fields.get("days", DAYS)
    if isinstance(days, str) and days.isascii() and days.isdigit() and len(days) < 6:
        days = int(days)
    if not isinstance(days, int) or isinstance(days, bool):
        raise invalid_request("days is a number")
    made = await make(
        visit.auth, visit.text("name", needed=True), visit.text("scope", 2000, needed=True), days, admin.id
    )
    if visit.json:
        return visit.done(made, "")
    return visit.page("api_keys", keys=await listed(visit.auth), made=made)


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
    "/api-keys/end": {"POST": visits.submitted(_end, _page)},
}
