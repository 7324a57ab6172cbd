"""The one door to codes: value sets and code systems by their canonical URLs, wherever they are kept.

What is stored comes first; what nobody stored may be published by FHIR R4. What was compiled is used as long as every
canonical it went through still means the same stored version, so that servers of one database agree.
https://hl7.org/fhir/R4/terminology-service.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from fhirserver.fhir.outcome import invalid, too_costly
from terminology.canonical import Candidate, Canonical, canonical
from terminology.code_systems import CodeSystem
from terminology.codes import Expanded
from terminology.composed import expand
from terminology.concept_maps import ConceptMap
from terminology.concepts import System
from terminology.implicit import implicit, whole
from terminology.kept import Definition, Gathered, Identity, Terminology
from terminology.naming import NamingSystem, plain
from terminology.pins import Pins
from terminology.published import MADE, published_definition, published_maps
from terminology.releases.release import Release
from terminology.supplements import Supplemented, Supplements
from terminology.ucum import Ucum
from terminology.value_sets import Present, ValueSet

MOST_RESOURCES = 500  # value sets and code systems that one value set is made of
Json = dict[str, Any]


class Read(NamedTuple):
    """A stored resource in the version that was read, which may be a later one than was asked for."""

    version: int
    resource: Json


class Source(Protocol):
    """What is stored, as far as the caller may see it."""

    async def maps(self, sources: Collection[str], targets: Collection[str]) -> Collection[Canonical]:
        """The concept maps from a system, to another where one is named, by any of their names."""
        ...

    async def named(self, identifier: str) -> Collection[Canonical]:
        """The naming systems that have this identifier."""
        ...

    async def candidates(self, asked: Collection[Canonical]) -> Mapping[Canonical, Candidate | None]:
        """The stored resource that each canonical means."""
        ...

    async def read(self, type_: str, ids: Collection[str]) -> Mapping[str, Read]:
        """By id, those that are still there. Supplements are as `terminology.supplements` wants them."""
        ...

    async def release(self, key: str) -> Release | None:
        """A code system in collections of its own, if it is still there."""
        ...


class Service:
    """For one caller; `kept` is shared by all."""

    def __init__(self, source: Source, kept: Terminology, base_url: str) -> None:
        self._source = source
        self._kept = kept
        self._base = base_url.rstrip("/") + "/"

    def named(self, type_: str, text: str) -> Canonical:
        """A canonical URL, also that of a resource of this server, absolute or not."""
        return canonical(type_, text.removeprefix(self._base))

    async def gathered(self, asked: Canonical, pins: Pins | None = None) -> Gathered:
        """All that the canonical leads to, as it is now; with pins it is gathered for this once."""
        found = self._kept.gathered(asked) if pins is None else None
        if found is not None:
            if self._kept.lasts(found.epoch):
                return found
            epoch = self._kept.epoch
            if await self._unchanged(found.used):
                found.epoch = epoch
                return found
        gathering = _Gathering(self._source, self._kept, pins)
        await gathering.all_of({asked})
        found = gathering.done()
        if pins is None:
            self._kept.keep(asked, found)
        return found

    async def inline(self, definition: ValueSet | ConceptMap, asked: Canonical, pins: Pins | None = None) -> Gathered:
        """What came with a request, with all that it leads to."""
        gathering = _Gathering(self._source, self._kept, pins)
        gathering.used[asked] = None
        await gathering.all_of({*gathering.take(asked, definition)} - {asked})
        return gathering.done()

    async def _unchanged(self, used: Mapping[Canonical, Identity]) -> bool:
        """Whether everything still means what it meant."""
        found = await self._source.candidates(used.keys())
        return all(
            used[asked] == (None if chosen is None else chosen.identity(asked.type)) for asked, chosen in found.items()
        )

    # questions

    async def members(self, text: str) -> Expanded:
        """The codes of a value set, named by its canonical URL or as `ValueSet/[id]`. Raises a 400 Outcome."""
        asked = self.named("ValueSet", text)
        found = await self.gathered(asked)
        if found.expansion is None:
            found.expansion = await expand(asked, found.present)
            self._kept.keep(asked, found)
        return found.expansion

    async def system(self, asked: Canonical) -> System | None:
        """A code system, which may be here without its codes."""
        return (await self.gathered(asked)).present.code_systems.get(asked)

    async def edition(self, asked: Canonical) -> str:
        """What a code system is made of, as a text that is another one after each change of it."""
        used = (await self.gathered(asked)).used
        return " ".join(f"{each}={used[each]}" for each in sorted(used, key=str))

    async def code_system(self, url: str) -> System:
        """The latest version of a code system, with its codes. Raises a 400 Outcome where it is not here."""
        found = await self.system(Canonical("CodeSystem", url))
        if found is None or not found.usable:
            what = "is not here" if found is None else "is here without its codes"
            raise invalid(f"code system {url[:200]} {what}, so nothing is known to be above or below", code="not-found")
        return found

    async def url(self, system: str) -> str:
        """What a code system is called in codings, by whichever of its names it is asked for."""
        asked = Canonical("CodeSystem", system)
        return (await self.gathered(asked)).present.url(asked)

    async def names(self, system: str | None) -> frozenset[str]:
        """All that a code system may be called in codings; nothing for none."""
        if system is None:
            return frozenset()
        asked = Canonical("NamingSystem", system)
        found = (await self.gathered(asked)).present.naming.get(asked)
        return frozenset({system, await self.url(system)}) | (found.forms if found is not None else frozenset())

    async def naming(self, identifier: str) -> list[NamingSystem]:
        """What has this identifier: the naming systems that are stored, else what R4 says of its code systems."""
        asked = [*await self._source.named(identifier)] or [Canonical("NamingSystem", plain(identifier))]
        found = [(await self.gathered(each)).present.naming.get(each) for each in asked]
        return [each for each in found if each is not None]

    async def concept_maps(self, sources: Collection[str], targets: Collection[str]) -> list[Canonical]:
        """The maps from a system, to another where one is named: those that are stored, and those that R4 publishes."""
        found = dict.fromkeys(await self._source.maps(sources, targets))
        for source in sources:
            for to, asked in published_maps().get(source, ()):
                if not targets or to in targets:
                    found[asked] = None
        return [*found]


class _Gathering:
    """A value set or code system with all that it is made of, one level of it after the other."""

    def __init__(self, source: Source, kept: Terminology, pins: Pins | None) -> None:
        self._source = source
        self._kept = kept
        self._pins = pins
        self._epoch = kept.epoch
        self.used: dict[Canonical, Identity] = {}
        self.value_sets: dict[Canonical, ValueSet] = {}
        self.code_systems: dict[Canonical, System] = {}
        self.concept_maps: dict[Canonical, ConceptMap] = {}
        self.naming: dict[Canonical, NamingSystem] = {}
        self._supplements: dict[str, Supplements] = {}

    def done(self) -> Gathered:
        for asked, system in self.code_systems.items():
            supplements = self._supplements.get(system.url)
            if supplements is not None and (fitting := supplements.of(system.version)):
                self.code_systems[asked] = Supplemented(system, fitting)
        for asked, named in self.naming.items():
            found = self.code_systems.get(Canonical("CodeSystem", named.url or "", asked.version))
            if found is not None:
                self.code_systems.setdefault(Canonical("CodeSystem", asked.url, asked.version), found)
        present = Present(self.value_sets, self.code_systems, self.concept_maps, self.naming)
        return Gathered(self.used, present, self._epoch)

    async def all_of(self, roots: set[Canonical]) -> None:
        ahead = roots
        while ahead:
            if len(self.used) + len(ahead) > MOST_RESOURCES:
                names = ", ".join(sorted(str(each) for each in roots))[:200]
                raise too_costly(
                    f"{names} is made of more than {MOST_RESOURCES} value sets, code systems and concept maps"
                )
            found = await self._source.candidates(ahead)
            fresh: set[Canonical] = set()
            for type_ in MADE:
                wanted = {asked: found[asked] for asked in ahead if asked.type == type_}
                fresh.update(await self._read(type_, wanted))
            ahead = fresh - self.used.keys()

    async def _read(self, type_: str, wanted: Mapping[Canonical, Candidate | None]) -> list[Canonical]:
        """What these need in turn."""
        compiled = {each: self._kept.compiled(each.identity(type_)) for each in wanted.values() if each is not None}
        unread = [each for each, known in compiled.items() if known is None and not each.release]
        read: dict[Candidate, Read] = {}
        for place in {each.place(type_) for each in unread}:
            there = {each.id: each for each in unread if each.place(type_) == place}
            read |= {there[id_]: found for id_, found in (await self._source.read(place, there)).items()}
        needed: list[Canonical] = []
        for asked, each in wanted.items():
            identity, known = None, None
            if each is not None:
                identity, known = each.identity(type_), compiled[each]
                if known is None and each.release:
                    known = await self._released(identity, each.id)
                elif known is None and each in read:
                    identity = identity[0], read[each].version
                    known = self._compile(identity, whole if each.implied else MADE[type_], read[each].resource)
            self.used[asked] = identity
            definition = _or_published(asked, known)
            needed += self.take(asked, definition)
            if definition is None and type_ == "CodeSystem":
                needed.append(Canonical("NamingSystem", asked.url, asked.version))
        return needed

    async def _released(self, identity: tuple[str, int], key: str) -> Release | None:
        found = await self._source.release(key)
        if found is not None:
            self._kept.keep(identity, found)
        return found

    def _compile(self, identity: tuple[str, int], make: Callable[[Json], Definition], resource: Json) -> Definition:
        made = make(resource)
        self._kept.keep(identity, made)
        return made

    def take(self, asked: Canonical, known: Definition | None) -> Iterable[Canonical]:
        """What this needs in turn."""
        match known:
            case ValueSet():
                return self._take_set(asked, known)
            case CodeSystem() | Release() | Ucum():
                self.code_systems[asked] = known
                return (*known.needs(), Canonical("Supplements", known.url))
            case Supplements():
                self._supplements[asked.url] = known
            case ConceptMap():
                self.concept_maps[asked] = known
            case NamingSystem():
                self.naming[asked] = known
                return () if known.url is None else (Canonical("CodeSystem", known.url, asked.version),)
            case None:
                return ()
        return known.needs()

    def _take_set(self, asked: Canonical, known: ValueSet) -> Iterable[Canonical]:
        """With what it contains, which is nowhere else."""
        known = known if self._pins is None else known.pinned(self._pins)
        self.value_sets[asked] = known
        needed = [*known.needs()]
        for name, contained in known.contained.items():
            self.used[name] = None
            needed += self._take_set(name, contained)
        return needed


def _or_published(asked: Canonical, known: Definition | None) -> Definition | None:
    """What is stored; where that is nothing, or a code system without its codes, what is published, or the URL says."""
    if asked.type == "Supplements":
        return known
    if known is None or (isinstance(known, CodeSystem) and not known.usable):
        return published_definition(asked) or implicit(asked) or known
    return known
