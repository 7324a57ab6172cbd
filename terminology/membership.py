"""Whether a value set holds one code: its parts are asked, and no set of all codes is made.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import Outcome, invalid
from terminology.canonical import Canonical
from terminology.value_sets import Part, Present, ValueSet

Json = Mapping[str, Any]


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
