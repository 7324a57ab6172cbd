"""The units and prefixes of UCUM as published (tools/build_units.py). https://ucum.org/ucum#section-Tables"""

from __future__ import annotations

from functools import cache, cached_property

import msgspec

from fhirserver.fhir.definitions import load_table

UCUM = "http://unitsofmeasure.org"


class Prefix(msgspec.Struct, frozen=True):
    value: str
    name: str


class Atom(msgspec.Struct, frozen=True):
    """So many times `value` of `unit`; a base unit has neither. `scale` is the function of a special unit.

    An arbitrary unit is comparable with itself only.
    """

    name: str
    symbol: str
    property: str
    value: str = ""
    unit: str = ""
    metric: bool = False
    arbitrary: bool = False
    scale: str | None = None


class Table(msgspec.Struct, frozen=True, dict=True):
    version: str
    prefixes: dict[str, Prefix]
    base: dict[str, Atom]
    units: dict[str, Atom]

    @cached_property
    def atoms(self) -> dict[str, Atom]:
        return self.base | self.units


@cache
def table() -> Table:
    return msgspec.json.decode(load_table("ucum"), type=Table)
