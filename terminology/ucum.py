"""UCUM as a code system: not a list but a grammar, whose codes nobody can count. https://hl7.org/fhir/R4/ucum.html"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache

from fhirserver.fhir.outcome import invalid
from fhirserver.fhir.units import KEPT, UCUM, base, fault, name, symbol
from fhirserver.fhir.units.table import table
from terminology.canonical import Canonical
from terminology.concepts import Codes, Concept, Designation, Filter, Property

DEPRECATED = frozenset({"[ppb]", "[pptr]"})
_brackets = re.compile(r"\{[^{}]*\}|[\[\]]")


class Ucum:
    """A `concepts.System`. `common` are the names of the usual units, which are the examples of all that there are."""

    url = UCUM
    name = "Unified Code for Units of Measure (UCUM)"
    content = "complete"
    usable = True
    finite = False
    size = 4_096  # as `kept` counts

    def __init__(self, common: Mapping[str, str]) -> None:
        self.version: str | None = table().version
        self._common = common
        self._described = lru_cache(self.size)(self._concept)

    def needs(self) -> Iterator[Canonical]:
        yield from ()

    async def concept(self, code: str) -> Concept | None:
        return self._described(code)

    async def concepts(self, codes: Collection[str]) -> Mapping[str, Concept]:
        return {code: found for code in codes if (found := self._described(code)) is not None}

    async def passes(self, code: str, filters: Sequence[Filter]) -> bool:
        return fault(code) is None and all(_test(each)(code) for each in filters)

    async def selected(self, filters: Sequence[Filter], *, active: bool = False) -> Codes:
        tests = [_test(each) for each in filters]
        found = frozenset(code for code in self._common if all(test(code) for test in tests))
        return found - DEPRECATED if active else found

    async def ordered(self, codes: Codes) -> Sequence[str]:
        return [code for code in self._common if code in codes]

    async def below(self, code: str) -> Codes:
        """Units are not above or below each other."""
        if (why := fault(code)) is not None:
            raise invalid(why, code="not-found")
        return frozenset({code})

    async def above(self, code: str) -> Codes:
        return await self.below(code)

    async def subsumes(self, one: str, other: str) -> bool:
        return one == other and fault(one) is None

    def _concept(self, code: str) -> Concept | None:
        if fault(code) is not None:
            return None
        names = dict.fromkeys((self._common.get(code) or name(code), name(code), symbol(code) or code, code))
        names[_brackets.sub("", code) or code] = None
        display, *others = names
        return Concept(
            code,
            display,
            designations=tuple(Designation(each) for each in others),
            properties=tuple(_properties(code)),
            inactive=code in DEPRECATED,
        )


def _properties(code: str) -> Iterator[Property]:
    known = base(code)
    if known is None:
        return
    yield Property("canonical", "Code", known.unit)
    if known.scale is None:
        yield Property("factor", "Decimal", KEPT.divide(known.numerator, known.denominator))
    atom = table().atoms.get(code)
    if atom is not None:
        yield Property("property", "String", atom.property)
        yield Property("metric", "Boolean", atom.metric or code in table().base)
        yield Property("special", "Boolean", atom.scale is not None)
        yield Property("arbitrary", "Boolean", atom.arbitrary)


# filters


@lru_cache(256)
def _test(filter_: Filter) -> Callable[[str], bool]:
    property_, operator, value = filter_
    if property_ == "canonical" and operator in ("=", "in"):
        kinds = {_kind(each.strip()) for each in (value.split(",") if operator == "in" else [value])}
        return lambda code: (known := base(code)) is not None and known.unit in kinds
    if property_ == "property" and operator == "=":
        units = {code for code, atom in table().base.items() if atom.property == value}
        return lambda code: (known := base(code)) is not None and known.unit in units
    raise invalid(
        f"UCUM has the filters canonical (= and in) and property (=), not {property_[:40]!r} {operator[:40]!r}",
        code="not-supported",
    )


def _kind(code: str) -> str:
    known = base(code)
    if known is None:
        raise invalid(f"a filter of UCUM: {fault(code)}")
    return known.unit
