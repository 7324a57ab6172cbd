"""All the codes of a value set, as its compose says: what a search asks for.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from fhirserver.fhir.outcome import Outcome, invalid, too_costly
from terminology.canonical import Canonical
from terminology.codes import MOST, Expanded, Expansion, common, united
from terminology.value_sets import Part, Present, ValueSet, absent


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
