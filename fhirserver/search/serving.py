"""Who is on a care team from when to when: beside its index values, so that the database finds the teams of a moment.

    search.@serving: [{who: "Practitioner/1", lo: <date>, hi: <date>}]

A participant is there in the period of the team and in their own. One with a `modifierExtension`, or in a team that has
one, is not: what it changes is not known here. https://hl7.org/fhir/R4/careteam.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirserver.fhir.dates import EARLIEST, LATEST, parse
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.references import parse as parse_reference

Json = Mapping[str, Any]

TEAM = "CareTeam"
SERVING = "@serving"  # the key: no search parameter can be called so
CHANGED = "modifierExtension"


def serving(team: Json, base_url: str) -> list[dict[str, Any]]:
    return [*_serving(team, base_url)] if CHANGED not in team else []


def _serving(team: Json, base_url: str) -> Iterator[dict[str, Any]]:
    low, high = _span(team)
    for each in team.get("participant", ()):
        text = each.get("member", {}).get("reference", "")
        member = parse_reference(text.removeprefix(f"{base_url}/"))
        since, until = _span(each)
        begins, ends = max(low, since), min(high, until)
        if member is not None and member.base is None and CHANGED not in each and begins < ends:
            yield {"who": f"{member.type}/{member.id}", "lo": begins, "hi": ends}


def _span(part: Json) -> tuple[Any, Any]:
    """From when on and before when; never, where its dates cannot be read."""
    period = part.get("period", {})
    try:
        low = parse(period["start"]).low if "start" in period else EARLIEST
        return low, parse(period["end"]).high if "end" in period else LATEST
    except Outcome:
        return LATEST, EARLIEST
