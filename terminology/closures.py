"""A closure table: of the codes that a client has met, which one subsumes which; told bit by bit, as they come.

https://hl7.org/fhir/R4/terminology-service.html#closure
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple


class Member(NamedTuple):
    """A code in the table: `concept` is how its system writes it, `above` are itself and all that subsume it.

    `since` is the version of the table in which it came.
    """

    system: str
    code: str
    concept: str
    above: frozenset[str]
    since: int


class Entry(NamedTuple):
    """What the other code is to this one: `subsumes`, or `equal`."""

    system: str
    code: str
    other: str
    equivalence: str


def entries(members: Sequence[Member], after: int) -> Iterator[Entry]:
    """Of each two that are related, one entry, if one of the two came after this version. None is its own."""
    place: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        place.setdefault((member.system, member.concept), []).append(member)
    for member in members:
        for concept in sorted(member.above):
            for other in place.get((member.system, concept), ()):
                if max(member.since, other.since) > after:
                    yield from _entry(member, other)


def _entry(member: Member, other: Member) -> Iterator[Entry]:
    """Two codes that subsume each other, in a circle or by another spelling, are equal."""
    if member.concept not in other.above:
        yield Entry(member.system, member.code, other.code, "subsumes")
    elif member.code < other.code:
        yield Entry(member.system, member.code, other.code, "equal")


def groups(found: Iterable[Entry]) -> list[dict[str, Any]]:
    """As ConceptMap.group: one for each code system, from it to itself."""
    systems: dict[str, dict[str, list[dict[str, str]]]] = {}
    for system, code, other, equivalence in found:
        target = {"code": other, "equivalence": equivalence}
        systems.setdefault(system, {}).setdefault(code, []).append(target)
    return [
        {
            "source": system,
            "target": system,
            "element": [{"code": code, "target": targets} for code, targets in elements.items()],
        }
        for system, elements in systems.items()
    ]
