"""What other code systems add to one: names in other languages, and properties.

https://hl7.org/fhir/R4/codesystem.html#supplements
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from terminology.canonical import Canonical, canonical
from terminology.code_systems import CodeSystem
from terminology.concepts import Codes, Concept, Filter, System

Json = Mapping[str, Any]


class Supplements:
    """All that there are of one code system: made of `{"supplement": [resources]}`, and never changed."""

    def __init__(self, resources: Json) -> None:
        self._parts = tuple(
            [
                (canonical("CodeSystem", each.get("supplements", "")).version, CodeSystem(each))
                for each in resources["supplement"]
            ]
        )

    @property
    def size(self) -> int:
        return sum(each.size for _, each in self._parts)

    def needs(self) -> Iterator[Canonical]:
        yield from ()

    def of(self, version: str | None) -> Sequence[CodeSystem]:
        """Those that are meant for a version of the code system."""
        return [each for meant, each in self._parts if meant in (None, version)]


class Supplemented:
    """A `concepts.System`: a code system with what others add. Its hierarchy, and what filters find, are its own."""

    def __init__(self, base: System, supplements: Sequence[CodeSystem]) -> None:
        self.base = base
        self._supplements = supplements
        self.url = base.url
        self.version = base.version
        self.name = base.name
        self.content = base.content
        self.usable = base.usable
        self.finite = base.finite

    def told(self, concept: Concept) -> Concept:
        for each in self._supplements:
            if concept.code in each:
                added = each.described(concept.code)
                concept = concept._replace(
                    designations=concept.designations + added.designations,
                    properties=concept.properties + added.properties,
                )
        return concept

    async def concept(self, code: str) -> Concept | None:
        found = await self.base.concept(code)
        return None if found is None else self.told(found)

    async def concepts(self, codes: Collection[str]) -> Mapping[str, Concept]:
        return {code: self.told(found) for code, found in (await self.base.concepts(codes)).items()}

    async def passes(self, code: str, filters: Sequence[Filter]) -> bool:
        return await self.base.passes(code, filters)

    async def selected(self, filters: Sequence[Filter], *, active: bool = False) -> Codes:
        return await self.base.selected(filters, active=active)

    async def ordered(self, codes: Codes) -> Sequence[str]:
        return await self.base.ordered(codes)

    async def below(self, code: str) -> Codes:
        return await self.base.below(code)

    async def above(self, code: str) -> Codes:
        return await self.base.above(code)

    async def subsumes(self, one: str, other: str) -> bool:
        return await self.base.subsumes(one, other)
