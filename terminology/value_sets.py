"""The codes of a value set: its compose taken apart, and asked for all of its codes or for one. Pure; bounded.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property, reduce
from types import MappingProxyType
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import Outcome, invalid, too_costly
from terminology.canonical import Canonical, canonical
from terminology.code_systems import filters_of
from terminology.concept_maps import ConceptMap
from terminology.concepts import Filter, System
from terminology.naming import NamingSystem
from terminology.pins import Pins

Json = Mapping[str, Any]

# By system; None is every code of it: all that can be said of a system that is not present.
Codes = frozenset[str] | None
Expansion = dict[str, Codes]


class Expanded(NamedTuple):
    """`fragments` are code systems of which more would have to be here to know all of it, and nothing but it."""

    codes: Expansion
    fragments: frozenset[str] = frozenset()


MOST = 250_000  # codes
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


def size(expansion: Expansion) -> int:
    return sum(len(codes) for codes in expansion.values() if codes is not None)


def absent(asked: Canonical, value_set: Canonical) -> Outcome:
    return invalid(f"value set {value_set} needs code system {asked}, which is not here", code="not-found")


async def expand(asked: Canonical, present: Present) -> Expanded:
    """Raises a 400 Outcome that names what is missing or wrong, and where it was needed."""
    return await _Expander(present).of(asked, ())


class _Expander:
    def __init__(self, present: Present) -> None:
        self._present = present
        self._known: dict[Canonical, Expanded] = {}

    async def of(self, asked: Canonical, within: tuple[Canonical, ...]) -> Expanded:
        value_set = self._present.value_set(asked, within)
        if asked not in self._known:
            self._known[asked] = await self._expanded(value_set, (*within, asked))
        return self._known[asked]

    async def _expanded(self, value_set: ValueSet, within: tuple[Canonical, ...]) -> Expanded:
        """An expansion that came with it was made where all was present, and goes before what is known in part."""
        if not value_set.composed:
            return Expanded(value_set.listed or {})
        try:
            found = await self._composed(value_set, within)
        except Outcome as refusal:
            if refusal.issues[0].code != "not-found" or value_set.listed is None:
                raise
            return Expanded(value_set.listed)
        return Expanded(value_set.listed) if found.fragments and value_set.listed is not None else found

    async def _composed(self, value_set: ValueSet, within: tuple[Canonical, ...]) -> Expanded:
        included = [await self._part(part, within, value_set.active) for part in value_set.includes]
        found = united(each.codes for each in included)
        if found is None:
            raise too_costly(f"value set {within[-1]} has more than {MOST:,} codes, more than a search can hold")
        left_out = [await self._part(part, within, active=False) for part in value_set.excludes]
        excluded = united(each.codes for each in left_out)
        if excluded is None:
            raise too_costly(f"value set {within[-1]} leaves out more than {MOST:,} codes")
        return Expanded(self._without(found, excluded, within), _fragments((*included, *left_out)))

    async def _part(self, part: Part, within: tuple[Canonical, ...], active: bool) -> Expanded:
        parts = [await self.of(asked, within) for asked in part.value_sets]
        if part.system is not None:
            parts.append(await self._of_system(part.system, part, within, active))
        return Expanded(reduce(common, (each.codes for each in parts)) if parts else {}, _fragments(parts))

    async def _of_system(self, asked: Canonical, part: Part, within: tuple[Canonical, ...], active: bool) -> Expanded:
        system, url = self._present.usable(asked), self._present.url(asked)
        if system is None:
            if part.listed is None and (part.filters or asked.version is not None):
                raise absent(asked, within[-1])
            return Expanded({url: None if part.listed is None else frozenset(part.listed)})
        fragment = system.content == "fragment"
        unsure = frozenset({url}) if fragment else frozenset[str]()
        if part.listed is not None:
            codes = frozenset(part.listed)
            known = await system.concepts(codes) if active else {}
            inactive = {code for code, concept in known.items() if concept.inactive}
            return Expanded({url: codes - inactive}, unsure if active and len(known) < len(codes) else frozenset())
        if part.filters and not system.finite:
            raise too_costly(f"value set {within[-1]} has more codes of {url} than can be counted")
        if not part.filters and (fragment or not system.finite):
            return Expanded({url: None}, unsure if active else frozenset())
        try:
            return Expanded({url: await system.selected(part.filters, active=active)}, unsure)
        except Outcome as refusal:
            raise invalid(f"value set {within[-1]}: {refusal}", code=refusal.issues[0].code) from refusal

    def _without(self, found: Expansion, excluded: Expansion, within: tuple[Canonical, ...]) -> Expansion:
        kept: Expansion = {}
        for system, codes in found.items():
            left_out = excluded.get(system, frozenset())
            if left_out is None:
                continue
            if codes is None and left_out:
                sentence = (
                    f"value set {within[-1]} leaves codes out of {system}, and what is left cannot be counted here"
                )
                raise invalid(sentence, code="not-found")
            kept[system] = codes - left_out if codes is not None and left_out else codes
        return kept


def _fragments(parts: Iterable[Expanded]) -> frozenset[str]:
    return frozenset[str]().union(*(each.fragments for each in parts))


class Code(NamedTuple):
    system: str
    code: str


class Held(NamedTuple):
    """Whether a value set holds a code; None where that depends on what is not here, which `missing` names.

    `listed` is what the value set itself says of it: `{code, display, designation}`.
    """

    answer: bool | None
    listed: Json | None
    missing: tuple[Canonical, ...] = ()


async def holds(asked: Canonical, code: Code, present: Present) -> Held:
    """By asking each part of a value set, without making a set of all codes first; as `expand` would say.

    Raises a 400 Outcome as `expand` does.
    """
    membership = _Membership(present, code)
    answer = await membership.of(asked, ())
    return Held(answer, membership.listed, tuple(membership.missing) if answer is None else ())


class _Membership:
    """Of one code. Three answers: yes, no, and that it cannot be known."""

    def __init__(self, present: Present, code: Code) -> None:
        self._present = present
        self._system, self._code = code
        self._known: dict[Canonical, bool | None] = {}
        self.listed: Json | None = None
        self.missing: dict[Canonical, None] = {}

    async def of(self, asked: Canonical, within: tuple[Canonical, ...]) -> bool | None:
        value_set = self._present.value_set(asked, within)
        if asked not in self._known:
            self._known[asked] = await self._held(value_set, (*within, asked))
        return self._known[asked]

    async def _held(self, value_set: ValueSet, within: tuple[Canonical, ...]) -> bool | None:
        if not value_set.composed:
            return self._listed(value_set)
        included = await self._any(value_set.includes, within, value_set.active)
        if included is not False and value_set.excludes:
            excluded = await self._any(value_set.excludes, within, active=False)
            included = False if excluded else None if excluded is None else included
        return self._listed(value_set) if included is None else included

    def _listed(self, value_set: ValueSet) -> bool | None:
        if value_set.listed is None:
            return None
        codes = value_set.listed.get(self._system, frozenset())
        return codes is None or self._code in codes

    async def _any(self, parts: Sequence[Part], within: tuple[Canonical, ...], active: bool) -> bool | None:
        found: bool | None = False
        for part in parts:
            held = await self._part(part, within, active)
            if held:
                return True
            if held is None:
                found = None
        return found

    async def _part(self, part: Part, within: tuple[Canonical, ...], active: bool) -> bool | None:
        if part.system is not None and self._system not in (part.system.url, self._present.url(part.system)):
            return False
        found: bool | None = True
        if part.system is not None:
            found = await self._in_system(part.system, part, within, active)
        elif not part.value_sets:
            return False
        for asked in part.value_sets:
            if found is False:
                return False
            held = await self.of(asked, within)
            found = None if held and found is None else held
        return found

    async def _in_system(
        self, asked: Canonical, part: Part, within: tuple[Canonical, ...], active: bool
    ) -> bool | None:
        system = self._present.usable(asked)
        if part.listed is not None:
            node = part.listed.get(self._code)
            if node is not None and active and system is not None:
                concept = await system.concept(self._code)
                node = None if concept is not None and concept.inactive else node
            self.listed = self.listed or node
            return node is not None
        if system is None:
            self.missing[asked] = None
            return None
        concept = await system.concept(self._code)
        if concept is None:
            if system.content == "fragment":
                self.missing[asked] = None
            return None if system.content == "fragment" else False
        if active and concept.inactive:
            return False
        try:
            return await system.passes(concept.code, part.filters)
        except Outcome as refusal:
            raise invalid(f"value set {within[-1]}: {refusal}", code=refusal.issues[0].code) from refusal


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
