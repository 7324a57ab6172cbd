"""Quantities and the units that FHIRPath itself needs: calendar durations and the common metric units of UCUM.

A unit that is not known here is comparable with itself only. http://hl7.org/fhirpath/N1/#quantity
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from fhirserver.fhir.fhirpath.error import FhirPathError

UCUM = "http://unitsofmeasure.org"
_WORDS = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
CALENDAR = {word + ending: word for word in _WORDS for ending in ("", "s")}
# UCUM's year and month are fixed lengths of time, so they are not calendar units.
_UCUM_DURATIONS = {"wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond"}
CALENDAR_UNITS = CALENDAR | _UCUM_DURATIONS

_PREFIXES = {"k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "M": 6, "G": 9}
_METRIC = {"m", "g", "s", "mol", "L", "l", "K", "Cel", "cal", "J", "Pa", "N", "W", "V", "Hz", "Bq", "[iU]", "eq", "osm"}
_ATOMS: dict[str, tuple[Fraction, str]] = {
    "L": (Fraction(1, 1000), "m3"),
    "l": (Fraction(1, 1000), "m3"),
    "min": (Fraction(60), "s"),
    "h": (Fraction(3600), "s"),
    "d": (Fraction(86400), "s"),
    "wk": (Fraction(604800), "s"),
    "minute": (Fraction(60), "s"),
    "hour": (Fraction(3600), "s"),
    "day": (Fraction(86400), "s"),
    "week": (Fraction(604800), "s"),
    "second": (Fraction(1), "s"),
    "millisecond": (Fraction(1, 1000), "s"),
    "[in_i]": (Fraction(254, 10000), "m"),
    "[ft_i]": (Fraction(3048, 10000), "m"),
    "[lb_av]": (Fraction(45359237, 100000), "g"),
    "[oz_av]": (Fraction(28349523125, 10**9), "g"),
    "t": (Fraction(10**6), "g"),
    "%": (Fraction(1, 100), "1"),
}
_TERM = re.compile(r"(/?)((?:\[[^\]]+\]|[^./()\[\]\d+-])+)([+-]?\d{1,2})?(?:\.|(?=/)|$)")


class Quantity(NamedTuple):
    value: Decimal
    unit: str

    def __str__(self) -> str:
        return f"{self.value} {self.unit}" if self.unit in CALENDAR else f"{self.value} '{self.unit}'"


class Canonical(NamedTuple):
    """A factor and the product of base units it multiplies: `km` is 1000 of (("m", 1),)."""

    factor: Fraction
    dimension: tuple[tuple[str, int], ...]


@lru_cache(1024)
def canonical_unit(unit: str) -> Canonical:
    unit = CALENDAR.get(unit, unit)
    if unit == "1":
        return Canonical(Fraction(1), ())
    factor, powers, end = Fraction(1), dict[str, int](), 0
    for match in _TERM.finditer(unit):
        if match.start() != end:
            break
        end = match.end()
        sign = -1 if match[1] else 1
        scale, base, power = _atom(match[2])
        exponent = int(match[3] or 1) * sign
        factor *= scale**exponent
        if base != "1":
            powers[base] = powers.get(base, 0) + power * exponent
    if end != len(unit):
        return Canonical(Fraction(1), ((unit, 1),))
    return Canonical(factor, tuple(sorted((base, power) for base, power in powers.items() if power)))


def _atom(text: str) -> tuple[Fraction, str, int]:
    for length in (0, 1, 2):
        prefix, atom = text[:length], text[length:]
        if prefix and (prefix not in _PREFIXES or atom not in _METRIC):
            continue
        if not prefix and atom not in _METRIC and atom not in _ATOMS:
            continue
        scale = Fraction(10) ** _PREFIXES[prefix] if prefix else Fraction(1)
        factor, base = _ATOMS.get(atom, (Fraction(1), atom))
        return (factor * scale, "m", 3) if base == "m3" else (factor * scale, base, 1)
    return Fraction(1), text, 1


def comparable(left: Quantity, right: Quantity) -> bool:
    return left.unit == right.unit or canonical_unit(left.unit).dimension == canonical_unit(right.unit).dimension


def common(left: Quantity, right: Quantity) -> tuple[Decimal | Fraction, Decimal | Fraction] | None:
    """The two values in one unit; None where there is none."""
    if left.unit == right.unit:
        return left.value, right.value
    ours, theirs = canonical_unit(left.unit), canonical_unit(right.unit)
    if ours.dimension != theirs.dimension:
        return None
    return exact(left.value) * ours.factor, exact(right.value) * theirs.factor


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
