"""Confidentiality as a high-water mark: the highest label of a resource counts, and none is N.

https://terminology.hl7.org/CodeSystem-v3-Confidentiality.html
"""

from __future__ import annotations

from collections.abc import Iterable

from fhirserver.search.criteria import Clause, Codes, Criterion
from fhirserver.search.joined import EVERYTHING, NOTHING, conjoined, either, negated
from fhirserver.search.parameters import r4_registry

SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
LEVELS = ("U", "L", "M", "N", "R", "V")
NORMAL = LEVELS.index("N")
RESTRICTED, VERY_RESTRICTED = "R", "V"
WITHHELD = (RESTRICTED, VERY_RESTRICTED)


def form(system: str | None, code: str) -> str:
    """As the index holds a label."""
    return code if system is None else f"{system}|{code}"


def labelled(type_: str, forms: Iterable[str]) -> Criterion:
    """Resources of a type with any of these labels."""
    held = tuple(forms)
    return Clause(r4_registry()[type_]["_security"], None, (Codes(held),)) if held else NOTHING


def confidential(type_: str, levels: Iterable[str]) -> Criterion:
    return labelled(type_, [form(SYSTEM, each) for each in levels])


def at_least(type_: str, level: str) -> Criterion:
    """What is as confidential as that, or more."""
    place = LEVELS.index(level)
    marked = confidential(type_, LEVELS[place:])
    return either([marked, negated(confidential(type_, LEVELS))]) if place <= NORMAL else marked


def at_most(type_: str, level: str) -> Criterion:
    """What is as confidential as that, or less."""
    place = LEVELS.index(level)
    unmarked = confidential(type_, LEVELS) if place < NORMAL else EVERYTHING
    return conjoined(negated(confidential(type_, LEVELS[place + 1 :])), unmarked)
