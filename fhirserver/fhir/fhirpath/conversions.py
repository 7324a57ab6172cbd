"""Conversion of values: toX() gives the value or nothing, convertsToX() says whether it would.

http://hl7.org/fhirpath/N1/#conversion
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhirserver.fhir.fhirpath import temporal
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.quantities import Quantity, combine
from fhirserver.fhir.fhirpath.scope import Scope
from fhirserver.fhir.fhirpath.temporal import Temporal
from fhirserver.fhir.fhirpath.values import MAX_INTEGER, is_number, single
from fhirserver.fhir.units import CALENDAR

Items = list[Any]

_TRUE = {"true", "t", "yes", "y", "1", "1.0"}
_FALSE = {"false", "f", "no", "n", "0", "0.0"}
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,60}(\.\d{1,60})?", re.ASCII)
_QUANTITY = re.compile(r"([+-]?\d{1,60}(?:\.\d{1,60})?)\s*(?:'([^']+)'|([a-zA-Z]+))?", re.ASCII)


def to_boolean(value: Any) -> bool | None:
    if type(value) is bool:
        return value
    if type(value) is str:
        text = value.lower()
        return True if text in _TRUE else False if text in _FALSE else None
    if is_number(value):
        return True if value == 1 else False if value == 0 else None
    return None


def to_integer(value: Any) -> int | None:
    if type(value) is bool or (type(value) is str and _INTEGER.fullmatch(value)):
        value = int(value)
    return value if type(value) is int and -MAX_INTEGER <= value < MAX_INTEGER else None


def to_decimal(value: Any) -> Decimal | None:
    if type(value) is bool or (type(value) is str and _DECIMAL.fullmatch(value)):
        return Decimal(value)
    return Decimal(value) if is_number(value) else None


def to_text(value: Any) -> str | None:
    """toString(): https://hl7.org/fhirpath/N1/#tostring-string"""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is Decimal:
        return format(value, "f") if abs(value.adjusted()) < 100 else str(value)
    if type(value) is Temporal:
        return value.text
    return str(value) if type(value) in (int, Quantity) else None


def to_date(value: Any) -> Temporal | None:
    moment = temporal.parse(value) if type(value) is str else value
    if type(moment) is not Temporal or moment.kind == "time":
        return None
    if type(value) is str and moment.kind != "date":
        return None
    return temporal.build("date", moment.fields[:3], None)


def to_date_time(value: Any) -> Temporal | None:
    moment = temporal.parse(value) if type(value) is str else value
    if type(moment) is not Temporal or moment.kind == "time":
        return None
    return moment._replace(kind="dateTime")


def to_time(value: Any) -> Temporal | None:
    moment = temporal.parse_time(value) if type(value) is str else value
    return moment if type(moment) is Temporal and moment.kind == "time" else None


def to_quantity(value: Any) -> Quantity | None:
    if type(value) is Quantity:
        return value
    if type(value) is bool or is_number(value):
        return Quantity(Decimal(value), "1")
    match = _QUANTITY.fullmatch(value) if type(value) is str else None
    if match is None or (match[3] is not None and match[3] not in CALENDAR):
        return None
    return Quantity(Decimal(match[1]), match[2] or match[3] or "1")


_TARGETS: dict[str, Callable[[Any], Any]] = {
    "Boolean": to_boolean,
    "Integer": to_integer,
    "Decimal": to_decimal,
    "String": to_text,
    "Date": to_date,
    "DateTime": to_date_time,
    "Time": to_time,
    "Quantity": to_quantity,
}


def _to(convert: Callable[[Any], Any]) -> Callable[..., Items]:
    def run(items: Items, scope: Scope) -> Items:
        value = convert(single(items))
        return [] if value is None else [value]

    return run


def _converts(convert: Callable[[Any], Any]) -> Callable[..., Items]:
    def run(items: Items, scope: Scope) -> Items:
        value = single(items)
        return [] if value is None else [convert(value) is not None]

    return run


def _to_quantity(items: Items, scope: Scope, unit: Items | None = None) -> Items:
    """toQuantity('mg') gives the quantity in that unit, or nothing."""
    value = to_quantity(single(items))
    wanted = single(unit) if unit else None
    if value is None or wanted is None:
        return [] if value is None else [value]
    if type(wanted) is not str:
        raise FhirPathError("a unit is a string")
    converted = combine(Quantity(Decimal(0), wanted), value, 1)
    return [] if converted is None else [converted]


CONVERSIONS: dict[str, tuple[Callable[..., Items], int, int]] = {
    **{f"to{name}": (_to(convert), 0, 0) for name, convert in _TARGETS.items()},
    **{f"convertsTo{name}": (_converts(convert), 0, 0) for name, convert in _TARGETS.items()},
    "toQuantity": (_to_quantity, 0, 1),
    "convertsToQuantity": (lambda *items: [bool(_to_quantity(*items))] if items[0] else [], 0, 1),
}
