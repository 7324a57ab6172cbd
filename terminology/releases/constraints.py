"""Expression constraints as filters of the database. https://confluence.ihtsdotools.org/display/DOCECL"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import eq, ge, gt, le, lt, ne
from typing import NamedTuple, Protocol

from fhirserver.fhir.outcome import invalid, too_costly
from terminology.ecl import Attribute, Compound, Expression, Focus, Literal, Refined
from terminology.releases.schema import MEMBER, PARENT, Document, fact

MOST_FAMILIES = 10_000  # concepts of which all that is above or below is asked at once
MOST_PAIRS = 100_000  # of attributes and values that the database is asked for
COMPARISONS: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "=": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


class Family(NamedTuple):
    """A concept, the places of all that are above it, its own among them, and its parents."""

    code: str
    place: int
    line: Sequence[int]
    parents: Sequence[str]


class Concepts(Protocol):
    """What an expression has to ask of the release first."""

    @property
    def properties(self) -> frozenset[str]: ...

    async def place(self, code: str) -> int:
        """Raises a 400 Outcome where there is no such code."""
        ...

    async def codes(self, document: Document) -> Sequence[str]:
        """Of the concepts that a filter finds."""
        ...

    async def families(self, codes: Sequence[str]) -> list[Family]: ...

    async def matching(self, field: str, fits: Callable[[str], bool], within: Document) -> list[str]:
        """The codes of which a text, or one of several, fits."""
        ...


async def constraint(concepts: Concepts, expression: Expression) -> Document:
    match expression:
        case Focus():
            return await _focus(concepts, expression)
        case Compound("MINUS", (kept, left_out)):
            return {"$and": [await constraint(concepts, kept), {"$nor": [await constraint(concepts, left_out)]}]}
        case Compound(joint, parts):
            return {f"${joint.lower()}": [await constraint(concepts, part) for part in parts]}
        case Refined(of, by):
            return {"$and": [await constraint(concepts, of), await constraint(concepts, by)]}
        case Attribute(name, comparison, value):
            return await _attribute(concepts, await _names(concepts, name), comparison, value)


# who is above and below


async def _focus(concepts: Concepts, focus: Focus) -> Document:
    if not focus.operator:
        return await _set(concepts, focus)
    if focus.of is None and not focus.member:
        return _of_all(focus.operator)
    if isinstance(focus.of, str) and not focus.member:
        codes: Sequence[str] = [focus.of]
        await concepts.place(focus.of)
    else:
        codes = await concepts.codes(await _set(concepts, focus))
    if len(codes) > MOST_FAMILIES:
        raise too_costly(
            f"{focus.operator} is asked of {len(codes):,} concepts, and at most of {MOST_FAMILIES:,} at once"
        )
    return OPERATORS[focus.operator](await concepts.families(codes))


async def _set(concepts: Concepts, focus: Focus) -> Document:
    """What the operator is about."""
    if focus.of is None:
        return having(MEMBER) if focus.member else {}
    if isinstance(focus.of, str):
        await concepts.place(focus.of)
        return {"facts": fact(MEMBER, focus.of)} if focus.member else {"_id": focus.of}
    inner = await constraint(concepts, focus.of)
    if not focus.member:
        return inner
    return {"facts": {"$in": [fact(MEMBER, code) for code in await concepts.codes(inner)]}}


def _of_all(operator: str) -> Document:
    if operator in ("<", "<!"):
        return having(PARENT)
    if operator in (">", ">!"):
        raise invalid("expression constraint: > of every concept is not known here", code="not-supported")
    return {}


def _below(families: Sequence[Family]) -> Document:
    """Those of them that are below another one, too."""
    places = {each.place for each in families}
    tops = [each.code for each in families if places.isdisjoint({*each.line} - {each.place})]
    return {"line": {"$in": sorted(places)}, "_id": {"$nin": tops}}


def _at_or_below(families: Sequence[Family]) -> Document:
    return {"line": {"$in": [each.place for each in families]}}


def _children(families: Sequence[Family]) -> Document:
    return {"facts": {"$in": [fact(PARENT, each.code) for each in families]}}


def _above(families: Sequence[Family]) -> Document:
    return {"n": {"$in": sorted({place for each in families for place in each.line if place != each.place})}}


def _at_or_above(families: Sequence[Family]) -> Document:
    return {"n": {"$in": sorted({place for each in families for place in each.line})}}


def _parents(families: Sequence[Family]) -> Document:
    return {"_id": {"$in": sorted({code for each in families for code in each.parents})}}


def _themselves(families: Sequence[Family]) -> Document:
    return {"_id": {"$in": [each.code for each in families]}}


OPERATORS: Mapping[str, Callable[[Sequence[Family]], Document]] = {
    "<": _below,
    "<<": _at_or_below,
    "<!": _children,
    "<<!": lambda families: {"$or": [_themselves(families), _children(families)]},
    ">": _above,
    ">>": _at_or_above,
    ">!": _parents,
    ">>!": lambda families: {"$or": [_themselves(families), _parents(families)]},
}


# attributes


def having(property_: str, *but: str) -> Document:
    """Any value of a property, `but` these: what begins with `property=`, which `>` follows."""
    asked: Document = {"$gte": f"{property_}=", "$lt": f"{property_}>"}
    return {"facts": {"$elemMatch": asked | ({"$nin": [fact(property_, each) for each in but]} if but else {})}}


async def _names(concepts: Concepts, name: Focus) -> list[str]:
    """Of the attributes that a release has."""
    attributes = sorted(each for each in concepts.properties if each.isdigit())
    if name == Focus("", False, None):
        return attributes
    meant = frozenset(await concepts.codes(await _focus(concepts, name)))
    return [each for each in attributes if each in meant]


async def _attribute(concepts: Concepts, names: Sequence[str], comparison: str, value: Focus | Literal) -> Document:
    if isinstance(value, Literal):
        return await _literal(concepts, names, comparison, value)
    if value == Focus("", False, None):
        found = [having(name) for name in names] if comparison == "=" else []
        return {"$or": found} if found else {"_id": {"$in": []}}
    codes = await concepts.codes(await _focus(concepts, value))
    if len(names) * len(codes) > MOST_PAIRS:
        known = frozenset(codes)
        return await _compared(concepts, names, lambda each: (each in known) is (comparison == "="))
    if comparison == "=":
        return {"facts": {"$in": [fact(name, code) for name in names for code in codes]}}
    others = [having(name, *codes) for name in names]
    return {"$or": others} if others else {"_id": {"$in": []}}


async def _literal(concepts: Concepts, names: Sequence[str], comparison: str, value: Literal) -> Document:
    if not value.number and comparison == "=":
        return {"facts": {"$in": [fact(name, value.text) for name in names]}}
    if not value.number:
        return await _compared(concepts, names, lambda text: text != value.text)
    number, holds = Decimal(value.text), COMPARISONS[comparison]
    return await _compared(concepts, names, lambda text: _is_number(text) and holds(Decimal(text), number))


async def _compared(concepts: Concepts, names: Sequence[str], holds: Callable[[str], bool]) -> Document:
    """One concept after the other, of those that have one of the attributes."""
    begins = tuple(fact(name, "") for name in names)
    if not begins:
        return {"_id": {"$in": []}}

    def fits(text: str) -> bool:
        return text.startswith(begins) and holds(text.partition("=")[2])

    within: Document = {"$or": [having(name) for name in names]}
    return {"_id": {"$in": await concepts.matching("facts", fits, within)}}


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdecimal()
