"""The common metric units of UCUM, taken apart: `km` is 1000 of `m`, `mg/dL` is 10 of `g.m-3`.

A unit that is not known here is comparable with itself only. https://ucum.org/ucum
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

UCUM = "http://unitsofmeasure.org"
_WORDS = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
CALENDAR = {word + ending: word for word in _WORDS for ending in ("", "s")}

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
    "[mi_i]": (Fraction(1609344, 1000), "m"),
    "[mi_us]": (Fraction(6336000, 3937), "m"),
    "[lb_av]": (Fraction(45359237, 100000), "g"),
    "[oz_av]": (Fraction(28349523125, 10**9), "g"),
    "t": (Fraction(10**6), "g"),
    "%": (Fraction(1, 100), "1"),
}
_TERM = re.compile(r"(/?)((?:\[[^\]]+\]|[^./()\[\]\d+-])+)([+-]?\d{1,2})?(?:\.|(?=/)|$)")
_DIGITS = Context(prec=34)
LONGEST = 64  # characters of a code that is taken apart for the index
MOST = Fraction(10**100)  # by which a unit may differ from its base units
_ANNOTATION = re.compile(r"\{[^{}]*\}")


class Canonical(NamedTuple):
    """A factor and the product of base units it multiplies: `km` is 1000 of (("m", 1),)."""

    factor: Fraction
    dimension: tuple[tuple[str, int], ...]


@lru_cache(1024)
def canonical_unit(unit: str) -> Canonical:
    unit = CALENDAR.get(unit, _ANNOTATION.sub("", unit) or "1")
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


class Base(NamedTuple):
    """What a quantity in some unit is in base units: so many times its value, of this unit."""

    factor: Fraction
    unit: str

    def of(self, value: Decimal | int) -> Decimal:
        """Exact where 34 digits suffice."""
        found = Fraction(value) * self.factor
        return _DIGITS.divide(Decimal(found.numerator), Decimal(found.denominator))


@lru_cache(1024)
def base(code: str) -> Base | None:
    """The base units of a UCUM code; None where it is not known, of its own kind, or beyond all measure."""
    if len(code) > LONGEST:
        return None
    factor, dimension = canonical_unit(code)
    own = dimension == ((code, 1),) and factor == 1 and code not in _METRIC
    if own or not 1 / MOST <= factor <= MOST:
        return None
    return Base(factor, ".".join(f"{unit}{'' if power == 1 else power}" for unit, power in dimension) or "1")
