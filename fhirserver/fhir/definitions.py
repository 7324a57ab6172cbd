"""The types of FHIR R4 as tables: what elements a type has, how often, of what types, bound to what codes.

Built from the official package by tools/build_definitions.py and loaded once. Nothing in the server names a
resource type where it can ask here. https://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard

STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"  # and the name of a type, or of an extension of FHIR
DATA = Path(__file__).parent / "data"


class Constraint(NamedTuple):
    """An invariant: `severity` is error or warning, `expression` is FHIRPath."""

    key: str
    severity: str
    human: str
    expression: str


class Binding(NamedTuple):
    strength: str
    value_set: str


class Element(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One element. `max` None means `*`. `types` holds type names, or a backbone path such as `Patient.contact`."""

    name: str
    types: tuple[str, ...]
    min: int = 0
    max: int | None = None
    choice: bool = False
    targets: dict[str, tuple[str, ...]] = {}
    profiles: dict[str, tuple[str, ...]] = {}
    binding: Binding | None = None
    constraints: tuple[Constraint, ...] = ()
    modifier: bool = False
    summary: bool = False

    @property
    def many(self) -> bool:
        """JSON writes it as an array."""
        return self.max is None or self.max > 1

    def key(self, type_: str) -> str:
        """The JSON property that holds a value of this type: `valueQuantity` for value[x] as Quantity."""
        return self.name + type_[0].upper() + type_[1:] if self.choice else self.name


class TypeDefinition(msgspec.Struct, kw_only=True, dict=True, forbid_unknown_fields=True):
    """A type. `kind` is resource, complex-type, primitive-type or backbone."""

    kind: str
    elements: tuple[Element, ...]
    name: str = ""
    base: str | None = None
    abstract: bool = False
    constraints: tuple[Constraint, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Element]:
        """Elements by their FHIRPath name: `value` for value[x]."""
        return {element.name: element for element in self.elements}

    @cached_property
    def by_key(self) -> dict[str, tuple[Element, str]]:
        """In the order of the specification, by JSON property: `valueQuantity` → (value[x], "Quantity")."""
        return {element.key(type_): (element, type_) for element in self.elements for type_ in element.types}


class Definitions:
    """All types of a FHIR version, by name; look-ups only, nothing changes after loading."""

    def __init__(self, types: dict[str, TypeDefinition]) -> None:
        self.types = types
        for name, type_ in types.items():
            type_.name = name
        concrete = (name for name, type_ in types.items() if type_.kind == "resource" and not type_.abstract)
        self.resource_types: frozenset[str] = frozenset(concrete)

    def is_a(self, name: str | None, ancestor: str) -> bool:
        """Whether a type is another type or derives from it: `Age` is a `Quantity` is an `Element`."""
        while name is not None:
            if name == ancestor:
                return True
            type_ = self.types.get(name)
            name = type_.base if type_ else None
        return False

    def primitive(self, name: str) -> bool:
        type_ = self.types.get(name)
        return type_ is not None and type_.kind == "primitive-type"


def load_table(name: str) -> bytes:
    return zstandard.ZstdDecompressor().decompress((DATA / f"{name}.json.zst").read_bytes())


@cache
def r4() -> Definitions:
    """FHIR 4.0.1 as published."""
    return Definitions(msgspec.json.decode(load_table("types"), type=dict[str, TypeDefinition]))


@cache
def required_codes() -> dict[str, dict[str, frozenset[str]]]:
    """{value set: {system: codes}} of the value sets of required bindings that can be enumerated offline."""
    raw: dict[str, dict[str, list[str]]] = msgspec.json.decode(load_table("codes"))
    return {url: {system: frozenset(codes) for system, codes in systems.items()} for url, systems in raw.items()}


@cache
def search_table() -> dict[str, Any]:
    """{"parameters": [slim SearchParameter], "compartments": {compartment: {type: [parameter code]}}}."""
    table: dict[str, Any] = msgspec.json.decode(load_table("parameters"))
    return table


@cache
def profile_table() -> list[dict[str, Any]]:
    """StructureDefinitions of the profiles and extensions of R4, as differentials without prose."""
    table: list[dict[str, Any]] = msgspec.json.Decoder(float_hook=Decimal).decode(load_table("profiles"))
    return table
