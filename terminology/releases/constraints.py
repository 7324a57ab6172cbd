"""Expression constraints as filters of the database. https://confluence.ihtsdotools.org/display/DOCECL"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import eq, ge, gt, le, lt, ne
from typing import NamedTuple, Protocol

from fhirserver.fhir.outcome import invalid, too_costly
from terminology.ecl import EVERY, Absent, Attribute, Compound, Dotted, Expression, Focus, Group, Refined
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

    async def grouped(self, fits: Callable[[Sequence[str]], bool], within: Document) -> list[str]:
        """The codes of which the facts of one group fit."""
        ...

    async def values(self, names: Sequence[str], within: Document) -> list[str]:
        """What they have of these properties."""
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
        case Attribute():
            return await _attribute(concepts, expression)
        case Absent(of):
            return {"$nor": [await constraint(concepts, of)]}
        case Group(of):
            return await _group(concepts, of)
        case Dotted(of, name):
            return await _values(concepts, await _names(concepts, name), await constraint(concepts, of))


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
    if name == EVERY:
        return attributes
    meant = frozenset(await concepts.codes(await _focus(concepts, name)))
    return [each for each in attributes if each in meant]


async def _attribute(concepts: Concepts, attribute: Attribute) -> Document:
    names, (_, comparison, value, reverse) = await _names(concepts, attribute.name), attribute
    if reverse and isinstance(value, Focus):
        return await _values(concepts, names, await _focus(concepts, value))
    if value == EVERY and comparison == "=":
        return _any([having(name) for name in names])
    if isinstance(value, Focus) and value != EVERY:
        codes = await concepts.codes(await _focus(concepts, value))
        if len(names) * len(codes) <= MOST_PAIRS:
            return _stored(names, comparison, codes)
    within = _any([having(name) for name in names])
    return {"_id": {"$in": await concepts.matching("facts", await _fits(concepts, attribute), within)}}


def _stored(names: Sequence[str], comparison: str, codes: Sequence[str]) -> Document:
    if comparison == "=":
        return {"facts": {"$in": [fact(name, code) for name in names for code in codes]}}
    return _any([having(name, *codes) for name in names])


def _any(documents: Sequence[Document]) -> Document:
    return {"$or": documents} if documents else {"_id": {"$in": []}}


async def _values(concepts: Concepts, names: Sequence[str], of: Document) -> Document:
    """What the attributes of some concepts are."""
    found = await concepts.values(names, {"$and": [of, _any([having(name) for name in names])]})
    return {"_id": {"$in": found}}


Fits = Callable[[str], bool]  # of `property=value`


async def _fits(concepts: Concepts, attribute: Attribute) -> Fits:
    begins = tuple([fact(name, "") for name in await _names(concepts, attribute.name)])
    holds = await _holds(concepts, attribute)
    return lambda text: text.startswith(begins) and holds(text.partition("=")[2])


async def _holds(concepts: Concepts, attribute: Attribute) -> Fits:
    """Of the value alone."""
    _, comparison, value, reverse = attribute
    if reverse:
        raise invalid("expression constraint: a reversed attribute has no group", code="not-supported")
    if isinstance(value, Focus):
        equal = comparison == "="
        if value == EVERY:
            return lambda text: equal
        codes = frozenset(await concepts.codes(await _focus(concepts, value)))
        return lambda text: (text in codes) is equal
    if value.number:
        number, compared = Decimal(value.text), COMPARISONS[comparison]
        return lambda text: _is_number(text) and compared(Decimal(text), number)
    return lambda text: (text == value.text) is (comparison == "=")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdecimal()


# groups

Together = Callable[[Sequence[str]], bool]  # of the facts of one group


async def _group(concepts: Concepts, of: Expression) -> Document:
    """Whatever has them at all is looked at, to see whether they stand together."""
    candidates = await constraint(concepts, of)
    if isinstance(of, Attribute):
        return candidates
    together = await _together(concepts, of)
    return {"_id": {"$in": await concepts.grouped(together, candidates)}}


async def _together(concepts: Concepts, of: Expression) -> Together:
    if isinstance(of, Attribute):
        fits = await _fits(concepts, of)
        return lambda facts: any(map(fits, facts))
    if not isinstance(of, Compound):
        raise invalid("expression constraint: in a group are attributes, by AND and OR", code="not-supported")
    parts = [await _together(concepts, part) for part in of.parts]
    whole = all if of.joint == "AND" else any
    return lambda facts: whole(part(facts) for part in parts)
