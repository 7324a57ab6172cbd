"""Functions on numbers, and the boundaries and precision of numbers and dates.

http://hl7.org/fhirpath/N1/#math-1, http://hl7.org/fhirpath/#lowboundaryprecision-integer-decimal--date--datetime--time
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from fhirserver.fhir.fhirpath import temporal
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.quantities import Quantity
from fhirserver.fhir.fhirpath.scope import Scope
from fhirserver.fhir.fhirpath.temporal import Temporal
from fhirserver.fhir.fhirpath.values import integer, is_number, kind, single

Items = list[Any]
Entry = tuple[Callable[..., Items], int, int]

MOST_DIGITS = 28  # of precision for boundaries and rounding


def _number(name: str, function: Callable[..., Any], least: int = 0, most: int | None = None) -> Entry:
    """A function of one number and its arguments; empty if any of them is, or where the result does not exist."""

    def run(items: Items, scope: Scope, *arguments: Items) -> Items:
        value = single(items, "a single number")
        values = [single(argument) for argument in arguments]
        if value is None or None in values:
            return []
        for operand in (value, *values):
            if not is_number(operand):
                raise FhirPathError(f"{name}() takes a number, not a {kind(operand)}")
        try:
            result = function(value, *values)
        except ArithmeticError:  # outside the domain, or beyond what a decimal holds
            return []
        return [] if result is None else [result]

    return run, least, least if most is None else most


def _absolute(items: Items, scope: Scope) -> Items:
    value = single(items)
    if type(value) is Quantity:
        return [Quantity(abs(value.value), value.unit)]
    return _number("abs", abs)[0](items, scope)


def _whole(rounding: str) -> Callable[[Any], int | None]:
    def run(value: Any) -> int | None:
        return integer(int(Decimal(value).quantize(Decimal(1), rounding)))

    return run


def _round(value: Any, places: Any = 0) -> Decimal:
    if type(places) is not int or not 0 <= places <= MOST_DIGITS:
        raise FhirPathError(f"round() takes a precision from 0 to {MOST_DIGITS}")
    return Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _logarithm(value: Any, base: Any) -> Decimal | None:
    if value <= 0 or base <= 0 or base == 1:
        return None
    with localcontext(prec=34):
        result = Decimal(value).ln() / Decimal(base).ln()
    return +result


def _power(value: Any, exponent: Any) -> Any:
    result = Decimal(value) ** Decimal(exponent)
    if type(value) is int and type(exponent) is int and exponent >= 0:
        return integer(int(result)) if result.adjusted() < MOST_DIGITS else None
    return result


def _precision(items: Items, scope: Scope) -> Items:
    """How many digits the value was written with."""
    value = single(items)
    if type(value) is Temporal:
        written = temporal.build(value.kind, value.fields, None).text  # the time zone is no part of it
        return [sum(character.isdigit() for character in written)]
    if is_number(value):
        exponent = Decimal(value).as_tuple().exponent
        return [max(0, -exponent) if isinstance(exponent, int) else 0]
    return []


def _boundary(*, high: bool) -> Callable[..., Items]:
    def run(items: Items, scope: Scope, precision: Items | None = None) -> Items:
        value = single(items)
        digits = single(precision) if precision else None
        if digits is not None and type(digits) is not int:
            raise FhirPathError("a precision is an integer")
        result: Any = None
        if type(value) is Temporal:
            result = temporal.boundary(value, digits, high=high)
        elif type(value) is Quantity:
            bound = _number_boundary(value.value, digits, high=high)
            result = None if bound is None else Quantity(bound, value.unit)
        elif is_number(value):
            result = _number_boundary(Decimal(value), digits, high=high)
        return [] if result is None else [result]

    return run


def _number_boundary(value: Decimal, digits: int | None, *, high: bool) -> Decimal | None:
    """Half a unit of the last place written, rounded outwards."""
    digits = 8 if digits is None else digits
    exponent = value.as_tuple().exponent
    if not 0 <= digits <= MOST_DIGITS or not isinstance(exponent, int) or abs(value.adjusted()) > MOST_DIGITS:
        return None
    half = Decimal(5).scaleb(min(exponent, 0) - 1)
    with localcontext(prec=100):
        bound = value + half if high else value - half
        return bound.quantize(Decimal(1).scaleb(-digits), ROUND_CEILING if high else ROUND_FLOOR)


NUMBERS: dict[str, Entry] = {
    "abs": (_absolute, 0, 0),
    "ceiling": _number("ceiling", _whole(ROUND_CEILING)),
    "floor": _number("floor", _whole(ROUND_FLOOR)),
    "truncate": _number("truncate", _whole(ROUND_DOWN)),
    "round": _number("round", _round, 0, 1),
    "exp": _number("exp", lambda value: Decimal(value).exp()),
    "ln": _number("ln", lambda value: Decimal(value).ln() if value > 0 else None),
    "log": _number("log", _logarithm, 1),
    "sqrt": _number("sqrt", lambda value: Decimal(value).sqrt() if value >= 0 else None),
    "power": _number("power", _power, 1),
    "precision": (_precision, 0, 0),
    "lowBoundary": (_boundary(high=False), 0, 1),
    "highBoundary": (_boundary(high=True), 0, 1),
}
