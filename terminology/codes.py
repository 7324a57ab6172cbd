"""Codes by system, as a value set gives them: what is in both of two, what is in any, what came with it. Bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import too_costly

Json = Mapping[str, Any]

MOST = 250_000  # codes

# By system; None is every code of it: all that can be said of a system that is not present.
Codes = frozenset[str] | None
Expansion = dict[str, Codes]


class Expanded(NamedTuple):
    """`fragments` are code systems of which more would have to be here to know all of it, and nothing but it."""

    codes: Expansion
    fragments: frozenset[str] = frozenset()


def size(expansion: Expansion) -> int:
    return sum(len(codes) for codes in expansion.values() if codes is not None)


def united(parts: Iterable[Expansion]) -> Expansion | None:
    """What is in any of them, in time that grows with their codes; None as soon as that is more than MOST."""
    found: dict[str, set[str] | None] = {}
    count = 0
    for part in parts:
        for system, codes in part.items():
            known = found.setdefault(system, set())
            if known is None:
                continue
            count -= len(known)
            if codes is None:
                found[system] = None
            else:
                known |= codes
                count += len(known)
        if count > MOST:
            return None
    return {system: None if codes is None else frozenset(codes) for system, codes in found.items()}


def common(one: Expansion, other: Expansion) -> Expansion:
    """What is in both. Every code of a system and some of it are those."""
    found: Expansion = {}
    for system in one.keys() & other.keys():
        codes, others = one[system], other[system]
        found[system] = others if codes is None else codes if others is None else codes & others
    return found


def listed_codes(value_set: Json) -> Expansion | None:
    """The codes of an expansion that came with a value set; None where there is none, or only a page of it."""
    expansion = value_set.get("expansion")
    if expansion is None or expansion.get("offset", 0) > 0:
        return None
    found: dict[str, set[str]] = {}
    ahead, count = list(expansion.get("contains", ())), 0
    while ahead:
        each = ahead.pop()
        ahead += each.get("contains", ())
        if "code" in each and each.get("abstract") is not True:
            found.setdefault(each.get("system", ""), set()).add(each["code"])
        count += "code" in each
        if count > MOST:
            raise too_costly(f"the expansion of {value_set.get('url')} has more than {MOST:,} codes")
    if expansion.get("total", count) > count:
        return None
    return {system: frozenset(codes) for system, codes in found.items()}
