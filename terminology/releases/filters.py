"""The filters of a value set as filters of the database. https://hl7.org/fhir/R4/valueset-filter-operator.html"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

from fhirserver.fhir.outcome import invalid
from terminology.code_systems import pattern
from terminology.concepts import Filter
from terminology.ecl import parse
from terminology.releases.constraints import Concepts, constraint, having
from terminology.releases.schema import MEMBER, PARENT, Document, fact

CODE = frozenset({"code", "concept"})
CONSTRAINTS = frozenset({"constraint", "expression"})  # https://hl7.org/fhir/R4/snomedct.html
TEXTS = frozenset({"display"})
NOTHING: Document = {"_id": {"$in": []}}


class Places(Concepts, Protocol):
    """What a filter has to ask of the release first."""

    @property
    def url(self) -> str: ...
    @property
    def kind(self) -> str: ...

    async def line(self, code: str) -> Collection[int]:
        """The places of it and of all above it."""
        ...

    async def over(self, code: str) -> Collection[str]:
        """Its parents."""
        ...

    async def has(self, document: Document) -> bool:
        """Whether there are such concepts."""
        ...


async def condition(places: Places, filter_: Filter) -> Document:
    """Raises a 400 Outcome for what is no filter of this code system."""
    build = OPERATORS.get(filter_.op)
    if build is None:
        raise invalid(
            f"the filter operator {filter_.op[:40]!r} is not known for code system {places.url}", code="not-supported"
        )
    return await build(places, filter_)


async def below(places: Places, code: str) -> Document:
    return {"line": await places.place(code)}


async def _is_a(places: Places, filter_: Filter) -> Document:
    return await below(places, filter_.value)


async def _descendent_of(places: Places, filter_: Filter) -> Document:
    return {"line": await places.place(filter_.value), "_id": {"$ne": filter_.value}}


async def _is_not_a(places: Places, filter_: Filter) -> Document:
    return {"line": {"$ne": await places.place(filter_.value)}}


async def _generalizes(places: Places, filter_: Filter) -> Document:
    return {"n": {"$in": [*await places.line(filter_.value)]}}


async def _equal(places: Places, filter_: Filter) -> Document:
    property_, _, value = filter_
    if property_ == "child":
        await places.place(value)
        return {"_id": {"$in": [*await places.over(value)]}}
    if property_ == "ancestor":
        return await below(places, value)
    if property_ in CONSTRAINTS and places.kind == "snomed":
        return await constraint(places, parse(value))
    if property_ == "LIST":
        await places.place(value)
    return await _any_of(places, property_, [value])


async def _in(places: Places, filter_: Filter) -> Document:
    """Codes with commas between them; in SNOMED CT also a reference set."""
    property_, _, value = filter_
    member = fact(MEMBER, value)
    if property_ in CODE and await places.has({"facts": member}):
        return {"facts": member}
    return await _any_of(places, property_, [each.strip() for each in value.split(",")])


async def _not_in(places: Places, filter_: Filter) -> Document:
    return {"$nor": [await _in(places, filter_)]}


async def _exists(places: Places, filter_: Filter) -> Document:
    property_, _, value = filter_
    if value not in ("true", "false"):
        raise invalid(f"the filter exists is true or false, not {value[:40]!r}")
    if property_ in CODE:
        return {} if value == "true" else NOTHING
    if property_ in TEXTS:
        return {property_: {"$exists": value == "true"}}
    found = having(_declared(places, property_))
    return found if value == "true" else {"$nor": [found]}


async def _regex(places: Places, filter_: Filter) -> Document:
    """By RE2, one concept after the other: the database's own expressions may take for ever."""
    property_, _, value = filter_
    fits = pattern(value)
    if property_ in CODE:
        return {"_id": {"$in": await places.matching("_id", fits, {})}}
    if property_ in TEXTS:
        return {"_id": {"$in": await places.matching(property_, fits, {})}}
    begin = fact(_declared(places, property_), "")
    within = having(property_)
    found = await places.matching("facts", lambda text: text.startswith(begin) and fits(text[len(begin) :]), within)
    return {"_id": {"$in": found}}


async def _any_of(places: Places, property_: str, values: list[str]) -> Document:
    if property_ in CODE:
        return {"_id": {"$in": values}}
    if property_ in TEXTS:
        return {property_: {"$in": values}}
    _declared(places, property_)
    return {"facts": {"$in": [fact(property_, value) for value in values]}}


def _declared(places: Places, property_: str) -> str:
    if property_ not in places.properties | {PARENT}:
        raise invalid(f"code system {places.url} has no property {property_[:80]!r}", code="not-supported")
    return property_


OPERATORS: Mapping[str, Callable[[Places, Filter], Awaitable[Document]]] = {
    "=": _equal,
    "is-a": _is_a,
    "descendent-of": _descendent_of,
    "is-not-a": _is_not_a,
    "generalizes": _generalizes,
    "in": _in,
    "not-in": _not_in,
    "exists": _exists,
    "regex": _regex,
}
