"""The codes of a value set: its compose taken apart into sets of codes by system. Pure; bounded.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

from fhirserver.fhir.outcome import Outcome, invalid, too_costly
from terminology.canonical import Canonical, canonical
from terminology.code_systems import CodeSystem

Json = Mapping[str, Any]

# By system; None is every code of it: all that can be said of a system that is not present.
Codes = frozenset[str] | None
Expansion = dict[str, Codes]

MOST = 250_000  # codes
DEEPEST = 32  # value sets within value sets


class Present:
    """What there is of what was asked for, resources by canonical."""

    def __init__(self, value_sets: Mapping[Canonical, Json], code_systems: Mapping[Canonical, CodeSystem]) -> None:
        self.value_sets = value_sets
        self.code_systems = code_systems


def needs(value_set: Json) -> Iterator[Canonical]:
    """The value sets and code systems that the codes of this one depend on."""
    compose = value_set.get("compose", {})
    for part in (*compose.get("include", ()), *compose.get("exclude", ())):
        yield from value_sets_of(part)
        if "system" in part and ("concept" not in part or compose.get("inactive") is False):
            yield system_of(part)


def value_sets_of(part: Json) -> list[Canonical]:
    """JSON writes null where a canonical has extensions only."""
    return [canonical("ValueSet", url) for url in part.get("valueSet", ()) if url is not None]


def system_of(part: Json) -> Canonical:
    return Canonical("CodeSystem", part["system"], part.get("version"))


def expand(asked: Canonical, present: Present) -> Expansion:
    """Raises a 400 Outcome that names what is missing or wrong, and where it was needed."""
    return _Expander(present).of(asked, ())


def size(expansion: Expansion) -> int:
    return sum(len(codes) for codes in expansion.values() if codes is not None)


class _Expander:
    def __init__(self, present: Present) -> None:
        self._present = present
        self._known: dict[Canonical, Expansion] = {}

    def of(self, asked: Canonical, within: tuple[Canonical, ...]) -> Expansion:
        """`within` are the value sets that this one is a part of, from the outside in."""
        if asked in within:
            loop = " → ".join(str(each) for each in (*within[within.index(asked) :], asked))
            raise invalid(f"value set {asked} is a part of itself: {loop}", code="processing")
        if len(within) >= DEEPEST:
            raise invalid(f"value set {within[0]} goes more than {DEEPEST} value sets deep", code="too-costly")
        if asked not in self._known:
            self._known[asked] = self._expanded(asked, (*within, asked))
        return self._known[asked]

    def _expanded(self, asked: Canonical, within: tuple[Canonical, ...]) -> Expansion:
        value_set = self._present.value_sets.get(asked)
        if value_set is None:
            needed = f", which {within[-2]} includes," if len(within) > 1 else ""
            raise invalid(f"value set {asked}{needed} is not known here", code="not-found")
        if "compose" not in value_set:
            listed = listed_codes(value_set)
            if listed is None:
                raise invalid(f"value set {asked} has no compose and no whole expansion", code="not-supported")
            return listed
        try:
            return self._composed(value_set["compose"], within)
        except Outcome as refusal:
            listed = listed_codes(value_set) if refusal.issues[0].code == "not-found" else None
            if listed is None:
                raise
            return listed  # made where all of it was present

    def _composed(self, compose: Json, within: tuple[Canonical, ...]) -> Expansion:
        active = compose.get("inactive") is False
        found = united(self._part(part, within, active) for part in compose.get("include", ()))
        if found is None:
            raise too_costly(f"value set {within[-1]} has more than {MOST:,} codes, more than a search can hold")
        if "exclude" not in compose:
            return found
        excluded = united(self._part(part, within, active=False) for part in compose["exclude"])
        if excluded is None:
            raise too_costly(f"value set {within[-1]} leaves out more than {MOST:,} codes")
        return self._without(found, excluded, within)

    def _part(self, part: Json, within: tuple[Canonical, ...], active: bool) -> Expansion:
        """What is in the system and in all value sets of one include or exclude."""
        parts = [self.of(asked, within) for asked in value_sets_of(part)]
        if "system" in part:
            parts.append({part["system"]: self._of_system(part, within, active)})
        return reduce(common, parts) if parts else {}

    def _of_system(self, part: Json, within: tuple[Canonical, ...], active: bool) -> Codes:
        asked = system_of(part)
        system = self._present.code_systems.get(asked)
        inactive = system.inactive() if active and system is not None else frozenset()
        if "concept" in part:
            return frozenset(each["code"] for each in part["concept"] if "code" in each) - inactive
        filters = part.get("filter", ())
        if system is None or not system.usable:
            if filters or asked.version is not None:
                raise invalid(f"value set {within[-1]} needs code system {asked}, which is not here", code="not-found")
            return None
        if not filters:
            return None if system.content == "fragment" else system.codes - inactive
        try:
            chosen = [system.filtered(*(each.get(key, "") for key in ("op", "property", "value"))) for each in filters]
        except Outcome as refusal:
            raise invalid(f"value set {within[-1]}: {refusal}", code=refusal.issues[0].code) from refusal
        return frozenset.intersection(*chosen) - inactive

    def _without(self, found: Expansion, excluded: Expansion, within: tuple[Canonical, ...]) -> Expansion:
        kept: Expansion = {}
        for system, codes in found.items():
            left_out = excluded.get(system, frozenset())
            if left_out is None:
                continue
            if codes is None and left_out:
                sentence = f"value set {within[-1]} leaves codes out of {system}, a code system that is not here"
                raise invalid(sentence, code="not-found")
            kept[system] = codes - left_out if codes is not None else None
        return kept


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
