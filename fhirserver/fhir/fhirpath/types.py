"""Types of items: System types and FHIR types, and the questions `is`, `as` and `ofType` ask of them.

http://hl7.org/fhirpath/N1/#types, https://hl7.org/fhir/R4/fhirpath.html#types
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhirserver.fhir.definitions import Definitions
from fhirserver.fhir.fhirpath.elements import Node
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.quantities import Quantity
from fhirserver.fhir.fhirpath.temporal import Temporal

SYSTEM_TYPES = {"Any", "Boolean", "Integer", "Decimal", "String", "Quantity", "Date", "DateTime", "Time"}
_NAMES = {bool: "Boolean", int: "Integer", Decimal: "Decimal", str: "String", Quantity: "Quantity"}
_TEMPORAL = {"date": "Date", "dateTime": "DateTime", "time": "Time"}
_ALIASES = {"SimpleQuantity": "Quantity", "MoneyQuantity": "Quantity"}

TypeTest = Callable[[Any], bool]


def type_of(item: Any) -> tuple[str, str]:
    """Namespace and name; an anonymous type of a resource is a BackboneElement."""
    if type(item) is Node:
        return "FHIR", "BackboneElement" if "." in item.type else item.type
    if type(item) is Temporal:
        return "System", _TEMPORAL[item.kind]
    return "System", _NAMES.get(type(item), "Any")


def type_test(name: str, definitions: Definitions, position: int, *, exact_primitives: bool = False) -> TypeTest:
    """Whether an item is of a type; `exact_primitives`: a code is no string for ofType, though it `is` one."""
    namespace, _, plain = name.rpartition(".")
    plain = _ALIASES.get(plain, plain)
    fhir = plain in definitions.types and namespace in ("", "FHIR")
    system = plain in SYSTEM_TYPES and namespace in ("", "System")
    if not fhir and not system and namespace not in ("System", "FHIR"):
        raise FhirPathError(f"{name} is no type of FHIR or FHIRPath", position)
    exact = exact_primitives and definitions.primitive(plain)
    answers: dict[str, bool] = {}

    def test(item: Any) -> bool:
        if type(item) is not Node:
            return system and (plain == "Any" or type_of(item)[1] == plain)
        if not fhir:
            return False
        answer = answers.get(item.type)
        if answer is None:
            answer = item.type == plain if exact else definitions.is_a(item.type, plain)
            answers[item.type] = answer
        return answer

    return test
