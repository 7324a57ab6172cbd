"""Quantities with the units that FHIRPath knows: calendar durations and the units of UCUM.

http://hl7.org/fhirpath/N1/#quantity
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.units import CALENDAR, canonical_unit, conversion

# UCUM's year and month are fixed lengths of time, so they are not calendar units.
_UCUM_DURATIONS = {"wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond"}
CALENDAR_UNITS = CALENDAR | _UCUM_DURATIONS


class Quantity(NamedTuple):
    value: Decimal
    unit: str

    def __str__(self) -> str:
        return f"{self.value} {self.unit}" if self.unit in CALENDAR else f"{self.value} '{self.unit}'"


def comparable(left: Quantity, right: Quantity) -> bool:
    if left.unit == right.unit or canonical_unit(left.unit).dimension == canonical_unit(right.unit).dimension:
        return True
    return conversion(left.unit, right.unit) is not None


def common(left: Quantity, right: Quantity) -> tuple[Decimal | Fraction, Decimal | Fraction] | None:
    """The two values in one unit; None where there is none."""
    if left.unit == right.unit:
        return left.value, right.value
    ours, theirs = canonical_unit(left.unit), canonical_unit(right.unit)
    if ours.dimension != theirs.dimension:
        return _on_scales(left, right)
    return exact(left.value) * ours.factor, exact(right.value) * theirs.factor


def _on_scales(left: Quantity, right: Quantity) -> tuple[Fraction, Fraction] | None:
    """Where zero is elsewhere: 98.6 '[degF]' is 37 'Cel'."""
    change = conversion(right.unit, left.unit)
    if change is None:
        return None
    times, plus, over = map(Fraction, change)
    return exact(left.value), (exact(right.value) * times + plus) / over


def combine(left: Quantity, right: Quantity, sign: int) -> Quantity | None:
    """Sum or difference, in the unit of the left."""
    if left.unit == right.unit:
        return Quantity(left.value + sign * right.value, left.unit)
    ours, theirs = canonical_unit(left.unit), canonical_unit(right.unit)
    if ours.dimension != theirs.dimension:
        return None
    return Quantity(left.value + sign * _decimal(exact(right.value) * theirs.factor / ours.factor), left.unit)


def multiply(left: Quantity, right: Quantity, power: int) -> Quantity | None:
    """Product, or with power -1 the quotient, in base units."""
    if power < 0 and right.value == 0:
        return None
    ours, theirs = canonical_unit(left.unit), canonical_unit(right.unit)
    dimension = dict(ours.dimension)
    for base, exponent in theirs.dimension:
        dimension[base] = dimension.get(base, 0) + power * exponent
    value = exact(left.value) * ours.factor * (exact(right.value) * theirs.factor) ** power
    over = ".".join(base + (str(power) if power > 1 else "") for base, power in dimension.items() if power > 0)
    under = "".join(f"/{base}{-power if power < -1 else ''}" for base, power in dimension.items() if power < 0)
    return Quantity(_decimal(value), (over + under) or "1")


def exact(value: Decimal) -> Fraction:
    if abs(value.adjusted()) > 60 or len(value.as_tuple().digits) > 60:
        raise FhirPathError(f"{value:.3e} is too large or too small to convert between units")
    return Fraction(value)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
