"""A value set, its compose taken apart, and what there is of the terminology that it depends on.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import Outcome, invalid
from terminology.canonical import Canonical, canonical
from terminology.code_systems import filters_of
from terminology.codes import Expansion, listed_codes
from terminology.concept_maps import ConceptMap
from terminology.concepts import Filter, System
from terminology.naming import NamingSystem
from terminology.pins import Pins

Json = Mapping[str, Any]

DEEPEST = 32  # value sets within value sets


class Part(NamedTuple):
    """An include or exclude: what is in the system, listed (by code) or filtered, and in all of the value sets."""

    system: Canonical | None
    listed: dict[str, Json] | None
    filters: tuple[Filter, ...]
    value_sets: tuple[Canonical, ...]


class ValueSet:
    """Taken apart once, and never changed."""

    def __init__(self, resource: Json) -> None:
        self.resource = resource
        self.url: str = resource.get("url", "")
        self.version: str | None = resource.get("version")
        compose = resource.get("compose")
        self.composed = compose is not None
        compose = compose or {}
        self.active: bool = compose.get("inactive") is False
        self.includes = _parts(compose.get("include", ()))
        self.excludes = _parts(compose.get("exclude", ()))
        self.contained = {
            self._inside(each["id"]): ValueSet(each)
            for each in resource.get("contained", ())
            if each.get("resourceType") == "ValueSet" and "id" in each
        }
        if self.contained:
            self.includes, self.excludes = ((*map(self._found, parts),) for parts in (self.includes, self.excludes))

    def _inside(self, id_: str) -> Canonical:
        """What it contains is a value set by this name."""
        return Canonical("ValueSet", f"{self.url}#{id_}", self.version)

    def _found(self, part: Part) -> Part:
        sets = (self._inside(each.url[1:]) if each.url.startswith("#") else each for each in part.value_sets)
        return part._replace(value_sets=tuple(sets))

    def pinned(self, pins: Pins) -> ValueSet:
        """With the versions of code systems that somebody wants. Raises a 400 Outcome where that may not be."""
        found = copy(self)
        found.includes, found.excludes = (
            tuple([part if part.system is None else part._replace(system=pins.pinned(part.system)) for part in parts])
            for parts in (self.includes, self.excludes)
        )
        return found

    @property
    def size(self) -> int:
        """How many codes it lists."""
        listed = sum(len(part.listed or ()) for part in (*self.includes, *self.excludes))
        return listed + sum(each.size for each in self.contained.values())

    @cached_property
    def listed(self) -> Expansion | None:
        """The codes of an expansion that came with it."""
        return listed_codes(self.resource)

    def needs(self) -> Iterator[Canonical]:
        """The value sets and code systems that its codes depend on."""
        for part in (*self.includes, *self.excludes):
            yield from part.value_sets
            if part.system is not None:
                yield part.system


def _parts(compose: Sequence[Json]) -> tuple[Part, ...]:
    """Lists of one system are one part, in the place of the first."""
    lists: dict[Canonical, Part] = {}
    found: list[Part] = []
    for each in compose:
        part = _part(each)
        if part.system is None or part.listed is None or part.value_sets:
            found.append(part)
        elif part.system in lists:
            known = lists[part.system].listed or {}
            known |= {code: node for code, node in part.listed.items() if code not in known}
        else:
            lists[part.system] = part
            found.append(part)
    return tuple(found)


def _part(each: Json) -> Part:
    """JSON writes null where a canonical has extensions only."""
    system = Canonical("CodeSystem", each["system"], each.get("version")) if "system" in each else None
    nodes = {node["code"]: node for node in reversed(each["concept"]) if "code" in node} if "concept" in each else None
    listed = None if nodes is None else dict(reversed(nodes.items()))
    sets = tuple([canonical("ValueSet", url) for url in each.get("valueSet", ()) if url is not None])
    return Part(system, listed, filters_of(each), sets)


class Present:
    """What there is of what was asked for, by canonical."""

    def __init__(
        self,
        value_sets: Mapping[Canonical, ValueSet],
        code_systems: Mapping[Canonical, System],
        concept_maps: Mapping[Canonical, ConceptMap] = MappingProxyType({}),
        naming: Mapping[Canonical, NamingSystem] = MappingProxyType({}),
    ) -> None:
        self.value_sets = value_sets
        self.code_systems = code_systems
        self.concept_maps = concept_maps
        self.naming = naming

    def using(self, system: System) -> Present:
        """With this version of a code system, where a value set names none."""
        systems = {
            asked: system if asked.version is None and each.url == system.url else each
            for asked, each in self.code_systems.items()
        }
        return Present(self.value_sets, systems, self.concept_maps, self.naming)

    def url(self, system: Canonical) -> str:
        """What a code system is called in codings, by whichever of its names it is asked for."""
        found = self.code_systems.get(system)
        if found is not None:
            return found.url
        named = self.naming.get(Canonical("NamingSystem", system.url, system.version))
        return (named and named.url) or system.url

    def value_set(self, asked: Canonical, within: tuple[Canonical, ...] = ()) -> ValueSet:
        """`within` are the value sets that this one is a part of, from the outside in. Raises a 400 Outcome."""
        if asked in within:
            loop = " → ".join(str(each) for each in (*within[within.index(asked) :], asked))
            raise invalid(f"value set {asked} is a part of itself: {loop}", code="processing")
        if len(within) >= DEEPEST:
            raise invalid(f"value set {within[0]} goes more than {DEEPEST} value sets deep", code="too-costly")
        found = self.value_sets.get(asked)
        if found is None:
            needed = f", which {within[-1]} includes," if within else ""
            raise invalid(f"value set {asked}{needed} is not known here", code="not-found")
        if not found.composed and found.listed is None:
            raise invalid(f"value set {asked} has no compose and no whole expansion", code="not-supported")
        return found

    def usable(self, asked: Canonical) -> System | None:
        system = self.code_systems.get(asked)
        return system if system is not None and system.usable else None

    def endless(self, part: Part) -> bool:
        """Whether it is the codes of a grammar, all of them or filtered."""
        system = self.usable(part.system) if part.system is not None else None
        return system is not None and not system.finite and part.listed is None


def absent(asked: Canonical, value_set: Canonical) -> Outcome:
    return invalid(f"value set {value_set} needs code system {asked}, which is not here", code="not-found")
