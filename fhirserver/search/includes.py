"""Which other resources come along: what the matches refer to, and what refers to them.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import invalid, too_costly
from fhirserver.search.canonicals import DEFINITIONS, LOCAL, by_url, canonicals, leading_to, leads, namings
from fhirserver.search.criteria import AnyOf, Clause, Criterion, Reference
from fhirserver.search.parameters import Registry

Filter = dict[str, Any]
REFERRED = 100_000  # resources of a type to which one page may refer


class Include(NamedTuple):
    """References of a type, by a parameter, to a type or (None) to any; `iterate`: also of what was included."""

    source: str
    code: str
    target: str | None = None
    iterate: bool = False


def including(text: str, registry: Registry, toward: str | None, iterate: bool = False) -> list[Include]:
    """`Observation:subject:Patient`, `Observation:*`; empty where a name is unknown. `toward`: to what it must lead."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise invalid(f"{text[:80]!r} is not an inclusion: write Type:parameter, Type:parameter:Target or Type:*")
    source, code, *rest = parts
    target = rest[0] if rest else None
    if source not in registry or (target is not None and target not in registry):
        return []
    codes = registry[source] if code == "*" else (code,)
    return [
        Include(source, each, target, iterate) for each in codes if _leads(registry, source, each, target or toward)
    ]


@lru_cache(maxsize=16)
def from_all(registry: Registry) -> tuple[Include, ...]:
    """By every reference of whatever was included: `_include:iterate=*`."""
    codes = ((type_, code) for type_ in registry for code in registry[type_])
    return tuple(Include(type_, code, None, True) for type_, code in codes if _leads(registry, type_, code, None))


@lru_cache(maxsize=256)
def to_one(registry: Registry, type_: str) -> tuple[Include, ...]:
    """By every reference that may lead to this type: `_revinclude=*`, which R4 does not have but HAPI does."""
    codes = ((source, code) for source in registry for code in registry[source])
    return tuple(Include(source, code, type_) for source, code in codes if _leads(registry, source, code, type_))


def fields(
    type_: str, includes: Iterable[Include], revincludes: Iterable[Include], registry: Registry
) -> tuple[str, ...]:
    """The stored fields from which `forward` and `reverse` read."""
    found = [f"search.{each.code}" for each in includes if each.source == type_]
    if "url" in registry[type_] and any(_by_url(registry, each) for each in revincludes):
        found += ["search.url", "search.version"]
    return tuple(dict.fromkeys(found))


def forward(
    type_: str, includes: Iterable[Include], documents: Sequence[Mapping[str, Any]], registry: Registry
) -> list[tuple[str, Filter]]:
    """For each type that the documents refer to, which of it they do: only what lies on this server can be."""
    ids: dict[str, set[str]] = {}
    urls: dict[str, set[str]] = {}
    for include in includes:
        if include.source == type_:
            canonical = _canonical(registry, type_, include)
            for stored in (document.get("search", {}).get(include.code, ()) for document in documents):
                values = [each for each in stored if isinstance(each, str)]  # a parameter may have been a date before
                for reference in values:
                    match = LOCAL.fullmatch(reference)
                    if match and match[1] in registry and include.target in (None, match[1]):
                        ids.setdefault(match[1], set()).add(match[2])
                for target in canonical:
                    urls.setdefault(target, set()).update(canonicals(values))
    _bound(ids, REFERRED)
    _bound(urls, DEFINITIONS)
    found: list[tuple[str, Filter]] = [(each, {"_id": {"$in": sorted(known)}}) for each, known in ids.items()]
    found += [(each, _defined_by(known)) for each, known in urls.items() if known]
    return found


def _bound(known: Mapping[str, set[str]], most: int) -> None:
    for type_, targets in known.items():
        if len(targets) > most:
            raise too_costly(f"what is found refers to more than {most:,} {type_} resources; ask for a smaller page")


def _canonical(registry: Registry, type_: str, include: Include) -> tuple[str, ...]:
    """The types that a parameter finds by their canonical URL; none where it holds References."""
    if not by_url(registry, registry[type_][include.code], type_):
        return ()
    targets = registry.reference_targets(type_, include.code)
    return tuple(each for each in targets if "url" in registry[each] and include.target in (None, each))


def _defined_by(canonicals: Iterable[str]) -> Filter:
    """In any version, or in the one that is said. https://hl7.org/fhir/R4/references.html#canonical"""
    urls: dict[str, list[str]] = {}
    for canonical in sorted(canonicals):
        url, _, version = canonical.partition("|")
        urls.setdefault(version, []).append(url)
    any_ = [{"search.url": {"$in": urls.pop("")}}] if "" in urls else []
    return {"$or": [*any_, *({"search.url": {"$in": each}, "search.version": {"$eq": v}} for v, each in urls.items())]}


def reverse(
    type_: str, revincludes: Iterable[Include], documents: Sequence[Mapping[str, Any]], registry: Registry
) -> list[tuple[str, Criterion]]:
    """For each type that refers to the documents, by id or by canonical URL, the criterion that finds it."""
    if not documents:
        return []
    if sum(map(namings, documents)) > REFERRED:
        raise too_costly(f"what is found has more than {REFERRED:,} URLs; ask for a smaller page")
    references = Reference(tuple(f"{type_}/{document['_id']}" for document in documents))
    found: dict[str, dict[str, Criterion]] = {}
    for include in revincludes:
        if include.target in (None, type_):
            parameter = registry[include.source][include.code]
            led: Criterion = Clause(parameter, None, (references,))
            if _by_url(registry, include):
                led = leading_to(parameter, type_, documents)
            found.setdefault(include.source, {})[include.code] = led
    return [(source, AnyOf(tuple(known.values()))) for source, known in found.items()]


def _by_url(registry: Registry, include: Include) -> bool:
    return by_url(registry, registry[include.source][include.code], include.source)


def _leads(registry: Registry, source: str, code: str, target: str | None) -> bool:
    parameter = registry[source].get(code)
    if parameter is None or not leads(registry, parameter, source):
        return False
    return target is None or target in registry.reference_targets(source, code)
