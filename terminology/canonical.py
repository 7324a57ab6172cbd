"""Canonical URLs, and which of the resources that have one is meant. https://hl7.org/fhir/R4/references.html#canonical"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

STATUS = ("active", "draft", "unknown", "retired")  # the first is preferred

_part = re.compile(r"[0-9]+|[A-Za-z]+")


class Canonical(NamedTuple):
    """What is asked for: the URL of a value set or code system, in one version or in the latest."""

    type: str
    url: str
    version: str | None = None

    def __str__(self) -> str:
        return self.url if self.version is None else f"{self.url}|{self.version}"


def canonical(type_: str, text: str) -> Canonical:
    """An implicit value set of SNOMED CT has its version in the URL, and bars in its expression."""
    if "?fhir_vs" in text:
        return Canonical(type_, text)
    url, _, version = text.partition("|")
    return Canonical(type_, url, version or None)


class Candidate(NamedTuple):
    """What is stored and has the URL: its id, stored version, and what decides which is the latest.

    `release`: not a resource, but a code system in collections of its own; `id` is its key. `whole`: a code system
    with all of its concepts. `implied`: a value set that nobody stored, all of the code system that has this id.
    """

    id: str
    stored: int
    url: str
    version: str
    status: str
    updated: datetime
    release: bool = False
    whole: bool = True
    implied: bool = False

    def place(self, type_: str) -> str:
        """The type of the resource that is read."""
        return "CodeSystem" if self.implied else type_

    def identity(self, type_: str) -> tuple[str, int]:
        """What is compiled from it is kept by this."""
        place = "releases" if self.release else "implied" if self.implied else type_
        return f"{place}/{self.id}", self.stored


def latest(asked: Canonical, candidates: Iterable[Candidate]) -> Candidate | None:
    """The version asked for; else an active one before all others, and the latest of those."""
    fitting = [each for each in candidates if asked.version in (None, each.version)]
    return max(fitting, key=_rank, default=None)


def _rank(each: Candidate) -> tuple[int, list[tuple[int, int, str]], datetime, str]:
    status = STATUS.index(each.status) if each.status in STATUS else len(STATUS)
    return -status, version_order(each.version), each.updated, each.id


def version_order(version: str) -> list[tuple[int, int, str]]:
    """Numbers by their value: 1.10 comes after 1.9, and 1.0 after 1.0-beta."""
    parts = [(1, int(part), "") if part.isdigit() else (-1, 0, part) for part in _part.findall(version[:64])]
    return [*parts, (0, 0, "")]
