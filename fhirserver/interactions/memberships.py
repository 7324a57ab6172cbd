"""Where somebody works now, and the care teams in which they are: what their periods say, too, and until when.

What has a `modifierExtension` counts for nobody: what it changes is not known here.
https://hl7.org/fhir/R4/practitionerrole.html, https://hl7.org/fhir/R4/careteam.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fhirserver.consents.provisions import MODIFIER, local
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.dates import LATEST, lasts, turns
from fhirserver.fhir.outcome import too_costly
from fhirserver.search.serving import SERVING, TEAM
from fhirserver.store.hops import matching_ids
from fhirserver.store.resources import Store

MOST = 100_000
PLACE = f"search.{SERVING}"
Json = dict[str, Any]


class Work(NamedTuple):
    """The roles of a practitioner and their organizations, by reference, and when they may change by themselves."""

    roles: tuple[str, ...]
    organizations: tuple[str, ...]
    until: datetime | None


class Teams(NamedTuple):
    """Care teams, by ids, and when somebody may join or leave them by a period that begins or ends."""

    ids: tuple[str, ...]
    until: datetime | None


async def work_of(ctx: Context, store: Store, practitioner: str) -> Work:
    active = {"search.practitioner": {"$eq": practitioner}, "search.active": {"$ne": "false"}, "deleted": None}
    found = await store.find_stored("PractitionerRole", active, MOST)
    now, roles = ctx.now(), [(each, json.resource(each.body)) for each in found]
    held = [(each, body) for each, body in roles if MODIFIER not in body and lasts(body.get("period", {}), now)]
    named = [local(body.get("organization"), ctx.base_url) for _, body in held]
    until = next_turn((body.get("period", {}) for _, body in roles), now)
    return Work(tuple(each.reference for each, _ in held), tuple(dict.fromkeys(filter(None, named))), until)


async def teams_of(ctx: Context, store: Store, people: Collection[str]) -> Teams:
    """Those that are active and of which any of these is a participant."""
    now, active = ctx.now(), {"search.status": {"$eq": "active"}, "deleted": None}
    ours: Json = {"who": {"$in": [*people]}}
    there = ours | {"lo": {"$lte": now}, "hi": {"$gt": now}}
    ids = await matching_ids(store, TEAM, active | {PLACE: {"$elemMatch": there}}, MOST + 1)
    if len(ids) > MOST:
        raise too_costly(f"more than {MOST:,} care teams have the same members")
    turning = {"$or": [{"lo": {"$gt": now}}, {"hi": {"$gt": now, "$lt": LATEST}}]}
    stages: list[Json] = [
        {"$match": active | {PLACE: {"$elemMatch": ours | turning}}},
        {"$project": {"_id": 0, "on": f"${PLACE}"}},
        {"$unwind": "$on"},
        {"$match": {f"on.{key}": value for key, value in ours.items()}},
        {"$group": {"_id": None, **{key: {"$min": _if_later(f"$on.{key}", now)} for key in ("lo", "hi")}}},
    ]
    found = next(iter(await store.aggregate(TEAM, stages, store.comment)), {})
    times = [found[key].replace(tzinfo=UTC) for key in ("lo", "hi") if found.get(key) is not None]
    return Teams(tuple(ids), min(times, default=None))


def _if_later(field: str, now: datetime) -> Json:
    return {"$cond": [{"$gt": [field, now]}, field, None]}


def _lasts(part: Json, now: datetime) -> bool:
    return MODIFIER not in part and lasts(part.get("period", {}), now)


def members(ctx: Context, group: Json, people: Collection[str]) -> Sequence[Json]:
    """Those members of a Group that are any of these."""
    return [each for each in group.get("member", ()) if local(each["entity"], ctx.base_url) in people]


def belongs(group: Json, ours: Sequence[Json], now: datetime) -> bool:
    """Whether any of these members of a Group belongs to it now."""
    there = (each for each in ours if not each.get("inactive", False))
    return MODIFIER not in group and bool(group.get("active", True)) and any(_lasts(each, now) for each in there)


def next_turn(periods: Iterable[Json], now: datetime) -> datetime | None:
    """When any of these periods begins or ends next."""
    return min((time for each in periods for time in turns(each) if time > now), default=None)
