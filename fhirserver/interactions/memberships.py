"""Where somebody works now, and the care teams in which they are: what their periods say, too, and until when.

What has a `modifierExtension` counts for nobody: what it changes is not known here.
https://hl7.org/fhir/R4/practitionerrole.html, https://hl7.org/fhir/R4/careteam.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from fhirserver.consents.provisions import MODIFIER, local
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.dates import lasts, turns
from fhirserver.fhir.outcome import too_costly
from fhirserver.store.resources import Store
from fhirserver.store.versions import Stored

MOST = 100_000
LIMITING = b'"period"', f'"{MODIFIER}"'.encode()
Json = dict[str, Any]


class Work(NamedTuple):
    """The roles of a practitioner and their organizations, by reference, and when they may change by themselves."""

    roles: tuple[str, ...]
    organizations: tuple[str, ...]
    until: datetime | None


class Teams(NamedTuple):
    """Care teams, and when somebody may join or leave them by a period that begins or ends."""

    teams: tuple[Stored, ...]
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
    naming = {"search.participant": {"$in": [*people]}, "search.status": {"$eq": "active"}, "deleted": None}
    found = await store.find_stored("CareTeam", naming, MOST + 1)
    if len(found) > MOST:
        raise too_costly(f"more than {MOST:,} care teams have the same members")
    now, kept, periods = ctx.now(), [], list[Json]()
    for each in found:
        if not any(word in each.body for word in LIMITING):  # most say nothing of that, and need not be read
            kept.append(each)
            continue
        team = json.resource(each.body)
        ours = [one for one in team.get("participant", ()) if local(one.get("member"), ctx.base_url) in people]
        periods += [team.get("period", {}), *(one.get("period", {}) for one in ours)]
        if _lasts(team, now) and any(_lasts(one, now) for one in ours):
            kept.append(each)
    return Teams(tuple(kept), next_turn(periods, now))


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
