"""What is above or below a resource in a hierarchy of its type: a location is a part of another.

    Procedure?location:below=Location/42    at this location, or at one that is a part of it
    Observation?encounter:above=21          in this encounter, or in one that it is a part of

Level by level; a loop ends where it began. Each level is a search: what may not be seen leads nowhere.
https://hl7.org/fhir/R4/search.html#recursive
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, invalid, too_costly
from fhirserver.interactions.partial import refuse_unfinished
from fhirserver.search.canonicals import by_url
from fhirserver.search.criteria import Clause, Criterion, Reference
from fhirserver.search.filters import path
from fhirserver.search.mongo import Filter
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.query import Query
from fhirserver.search.readers import shown
from fhirserver.store.hops import matching_ids, referred_urls

UPWARDS = ("partof", "part-of", "parent")  # as the parameters of R4 are called
MOST = 100_000  # resources of one hierarchy; so many references fit one command
DEEPEST = 100  # levels

Far = Callable[[str, Criterion], Awaitable[Filter]]  # the filter of what meets a criterion and may be seen

_reference = re.compile(r"(?P<whole>(?:.+/)?(?P<type>[A-Z][A-Za-z]*)/[A-Za-z0-9.-]{1,64})(?:/_history/.+)?")


def upward(registry: Registry, type_: str) -> Parameter | None:
    """The parameter by which resources of a type are parts of others of the same type, where there is one."""
    for code in UPWARDS:
        parameter = registry[type_].get(code)
        if parameter is not None and parameter.type == "reference" and type_ in registry.reference_targets(type_, code):
            return parameter
    return None


def along(registry: Registry, type_: str, parameter: Parameter) -> str:
    """What `:above` and `:below` of a parameter follow, for the CapabilityStatement; empty where they are refused."""
    if parameter.type != "reference" or parameter.uses.modifiers is not None:
        return ""
    if by_url(registry, parameter, type_):
        return ":above and :below by the version of the URL"
    targets = registry.reference_targets(type_, parameter.code)
    ways = [f"{target}:{way.code}" for target in targets if (way := upward(registry, target)) is not None]
    return f":above and :below along {', '.join(ways)}" if ways else ""


async def in_hierarchy(ctx: Context, far: Far, targets: Sequence[str], clause: Clause) -> tuple[str, ...]:
    """References to the resources that a clause names, and to all above or below them. Raises a 400 Outcome."""
    ways = {target: parameter for target in targets if (parameter := upward(ctx.registry, target)) is not None}
    if not ways:
        raise invalid("what it refers to has no hierarchy, as locations within locations have", code="not-supported")
    found: dict[str, None] = {}
    starts: dict[str, list[str]] = {}
    for value in clause.values:
        forms = value.forms if isinstance(value, Reference) else ()
        found |= dict.fromkeys(forms)
        known = [match for form in forms if (match := _reference.fullmatch(form)) and match["type"] in ways]
        if not known:
            raise _no_hierarchy(forms, ways)
        for match in known:
            starts.setdefault(match["type"], []).append(match["whole"])
    for type_, references in starts.items():
        walk = _Walk(ctx, far, type_, ways[type_])
        found |= dict.fromkeys(await walk.from_(references, upwards=clause.modifier == "above"))
    return tuple(found)


def _no_hierarchy(forms: Sequence[str], ways: Iterable[str]) -> Outcome:
    named = f"{shown(forms[0])} is" if forms else "this is"
    sentence = f"{named} in no hierarchy that is followed; resources of type {' or '.join(ways)} are parts of others"
    return invalid(sentence, code="not-supported")


@dataclass(frozen=True)
class _Walk:
    """Through the hierarchy of a type. Only resources of this server say what they are parts of."""

    ctx: Context
    far: Far
    type: str
    parameter: Parameter

    async def from_(self, references: Iterable[str], *, upwards: bool) -> Iterable[str]:
        refuse_unfinished(self.ctx, Query(self.type, criteria=(Clause(self.parameter, None, ()),)))
        seen = dict.fromkeys(references)
        level = [*seen]
        for _ in range(DEEPEST):
            if not level:
                return seen
            level = [each for each in await (self._above if upwards else self._below)(level) if each not in seen]
            seen |= dict.fromkeys(level)
            if len(seen) > MOST:
                raise too_costly(f"the hierarchy of {self.type} has more than {MOST:,} resources there")
        raise too_costly(f"the hierarchy of {self.type} is more than {DEEPEST} levels deep there")

    async def _below(self, references: Sequence[str]) -> list[str]:
        parts = Clause(self.parameter, None, (Reference(tuple(references)),))
        ids = await matching_ids(self.ctx.store, self.type, await self.far(self.type, parts), MOST + 1)
        return [f"{self.type}/{id_}" for id_ in ids]

    async def _above(self, references: Sequence[str]) -> Iterable[str]:
        local = f"{self.type}/"
        ids = tuple(each.removeprefix(local) for each in references if each.startswith(local))
        these = await self.far(self.type, Clause(self.ctx.registry[self.type]["_id"], None, ids))
        rows = await referred_urls(self.ctx.store, self.type, these, path(self.parameter), MOST + 1)
        matches = (_reference.fullmatch(each) for row in rows for each in row)
        return dict.fromkeys(match["whole"] for match in matches if match and match["type"] == self.type)
