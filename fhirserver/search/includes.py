"""Which other resources come along: what the matches refer to, and what refers to them.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import invalid
from fhirserver.search.parameters import Registry

_local = re.compile(r"([A-Z][A-Za-z]*)/([A-Za-z0-9.-]{1,64})(?:/_history/.*)?")


class Include(NamedTuple):
    """References of a type, by a search parameter, to a type or (None) to any."""

    source: str
    code: str
    target: str | None = None


def including(text: str, registry: Registry, toward: str | None) -> list[Include]:
    """`Observation:subject:Patient`, `Observation:*`; empty where a name is unknown. `toward`: to what it must lead."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise invalid(f"{text[:80]!r} is not an inclusion: write Type:parameter, Type:parameter:Target or Type:*")
    source, code, *rest = parts
    target = rest[0] if rest else None
    if source not in registry or (target is not None and target not in registry):
        return []
    codes = registry[source] if code == "*" else (code,)
    return [Include(source, each, target) for each in codes if _leads(registry, source, each, target or toward)]


def forward(type_: str, includes: Iterable[Include]) -> tuple[str, ...]:
    """The stored fields from which `targets` reads."""
    return tuple(dict.fromkeys(f"search.{each.code}" for each in includes if each.source == type_))


def targets(documents: Iterable[Mapping[str, Any]], type_: str, includes: Iterable[Include]) -> dict[str, set[str]]:
    """The ids to include, by type: only what lies on this server can be."""
    found: dict[str, set[str]] = {}
    includes = [each for each in includes if each.source == type_]
    for document in documents:
        search = document.get("search", {})
        for include in includes:
            for reference in search.get(include.code, ()):
                match = _local.fullmatch(reference)
                if match and include.target in (None, match[1]):
                    found.setdefault(match[1], set()).add(match[2])
    return found


def reverse(type_: str, revincludes: Iterable[Include], ids: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """For each type that refers to the matches, the filter that finds it."""
    references = [f"{type_}/{id_}" for id_ in ids]
    codes: dict[str, list[str]] = {}
    for include in revincludes:
        if include.target in (None, type_):
            codes.setdefault(include.source, []).append(include.code)
    return [
        (source, {"deleted": None, "$or": [{f"search.{code}": {"$in": references}} for code in dict.fromkeys(known)]})
        for source, known in codes.items()
        if references
    ]


def _leads(registry: Registry, source: str, code: str, target: str | None) -> bool:
    parameter = registry[source].get(code)
    if parameter is None or parameter.type != "reference":
        return False
    return target is None or target in registry.reference_targets(source, code)
