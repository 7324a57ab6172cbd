"""Access that was given, as administrators see it: which app or service holds what, for whom, and an end to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from smart_auth import events, tokens, users, visits
from smart_auth.administration import administrator
from smart_auth.refusal import NO_STORE, Refused, invalid_request
from smart_auth.server import Auth, Document
from smart_auth.visits import Visit

PAGE = 50
LATEST = [("issued", -1), ("_id", -1)]


async def listed(auth: Auth, login: str, client: str, before: str) -> tuple[list[dict[str, Any]], str | None]:
    """Grants in force, the latest first; of an account (its log-in name or id), of a client; and where to go on."""
    query: Document = {"revoked": None, "expires": {"$gt": auth.now()}}
    if login:
        person = await users.by_login(auth, login)
        query["user"] = person.id if person else login
    if client:
        query["client"] = client
    if before:
        query["$or"] = _before(before)
    found = await auth["grants"].find(query).sort(LATEST).limit(PAGE + 1).to_list()
    more = _place(found[PAGE - 1]) if len(found) > PAGE else None
    return await _shown(auth, found[:PAGE]), more


def _place(grant: Document) -> str:
    return f"{grant['issued'].isoformat()} {grant['_id']}"


def _before(place: str) -> list[Document]:
    at, _, id_ = place.partition(" ")
    try:
        issued = datetime.fromisoformat(at)
        issued.astimezone(UTC)  # which the first and the last day of all may not have
    except (ValueError, OverflowError) as error:
        raise invalid_request("before is what `next` of the page before said") from error
    if issued.tzinfo is None:
        raise invalid_request("before is what `next` of the page before said")
    return [{"issued": {"$lt": issued}}, {"issued": issued, "_id": {"$lt": id_}}]


async def _shown(auth: Auth, grants: Sequence[Document]) -> list[dict[str, Any]]:
    logins = await _named(auth, "users", "login", {each["user"] for each in grants})
    names = await _named(auth, "clients", "name", {each["client"] for each in grants})
    return [
        {
            "id": each["_id"],
            "client": each["client"],
            "name": names.get(each["client"], each["client"]),
            "user": each["user"],
            "login": logins.get(each["user"]),
            "scope": each["scope"],
            "patient": each["context"].get("patient"),
            "issued": each["issued"].isoformat(timespec="seconds"),
            "expires": each["expires"].isoformat(timespec="seconds"),
        }
        for each in grants
    ]


async def _named(auth: Auth, collection: str, field: str, ids: set[str]) -> dict[str, str]:
    found = auth[collection].find({"_id": {"$in": [*ids - {None}]}}, {field: 1})
    return {each["_id"]: each[field] async for each in found}


async def _page(visit: Visit, refused: Refused | None) -> Response:
    administrator(visit)
    login, client = visit.text("user", users.LONGEST_LOGIN), visit.text("client", 200)
    grants, more = await listed(visit.auth, login, client, visit.text("before", 100))
    if visit.json:
        return JSONResponse({"grants": grants, "next": more}, headers=NO_STORE)
    return visit.page("grants", refused, grants=grants, more=more, login=login, client=client)


async def _end(visit: Visit) -> Response:
    """What was remembered goes with it, so that the app has to ask the person again."""
    auth, admin, id_ = visit.auth, administrator(visit), visit.text("grant", 64, needed=True)
    grant = await auth["grants"].find_one({"_id": id_, "revoked": None, "expires": {"$gt": auth.now()}})
    if grant is None:
        raise Refused("not_found", "there is no such grant, or it ended", 404)
    await auth["approvals"].delete_one({"_id": f"{grant['user']} {grant['client']}"})
    await tokens.revoke(auth, id_, "by an administrator")
    await events.record(auth, "grant-ended", admin.id, grant["user"] or "", client=grant["client"], grant=id_)
    return visit.done({"ended": True}, "/grants")


ROUTES: dict[str, dict[str, visits.Handler]] = {
    "/grants": {"GET": visits.shown(_page)},
    "/grants/end": {"GET": visits.leads("/grants"), "POST": visits.submitted(_end, _page)},
}
