"""The scales of UCUM's special units: what a reading is in the unit that the scale is defined by, and back.

https://ucum.org/ucum#section-Special-Units-on-non-ratio-Scales
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import NamedTuple

DIGITS = Context(prec=34)  # what is stored
WIDE = Context(prec=250)  # products are exact
FINE = Context(prec=50)  # logarithms
HIGHEST = 300  # powers of ten

Read = Callable[[Decimal], Decimal | None]


class Scale(NamedTuple):
    """`falling`: a higher reading is less. `offset`: what is added to a reading, where that is all that is done."""

    read: Read
    reading: Read
    falling: bool = False
    offset: Decimal | None = None


def _from(zero: str) -> Scale:
    """A scale of the same steps whose zero is elsewhere."""
    offset = Decimal(zero)
    return Scale(lambda value: WIDE.add(value, offset), lambda amount: WIDE.subtract(amount, offset), offset=offset)


def _logarithm(base: int, times: int = 1, *, falling: bool = False) -> Scale:
    """A reading is so many times the logarithm of the amount."""
    size = FINE.log10(Decimal(base))
    sign = -times if falling else times

    def read(value: Decimal) -> Decimal | None:
        exponent = FINE.divide(FINE.multiply(value, size), Decimal(sign))
        return None if abs(exponent) > HIGHEST else FINE.power(Decimal(10), exponent)

    def reading(amount: Decimal) -> Decimal | None:
        return None if amount <= 0 else FINE.divide(FINE.multiply(FINE.log10(amount), Decimal(sign)), size)

    return Scale(read, reading, falling)


def _exponential(value: Decimal) -> Decimal | None:
    return None if abs(value) > HIGHEST else FINE.exp(value)


def _natural(amount: Decimal) -> Decimal | None:
    return None if amount <= 0 else FINE.ln(amount)


def _angle(value: Decimal, full: float = 1.0) -> Decimal:
    return Decimal(math.atan(float(value) / 100) * full)


def _slope(amount: Decimal, full: float = 1.0) -> Decimal:
    return Decimal(100 * math.tan(float(amount) / full))


_TURN = 180 / math.pi
_natural_scale = Scale(_exponential, _natural)

# By the names that the table has for them. A value of UCUM is in radians for the dioptre, in degrees for a slope.
SCALES: Mapping[str, Scale] = {
    "Cel": _from("273.15"),
    "degF": _from("459.67"),
    "degRe": _from("218.52"),
    "pH": _logarithm(10, falling=True),
    "hpX": _logarithm(10, falling=True),
    "hpC": _logarithm(100, falling=True),
    "hpM": _logarithm(1000, falling=True),
    "hpQ": _logarithm(50000, falling=True),
    "lg": _logarithm(10),
    "lgTimes2": _logarithm(10, times=2),
    "ld": _logarithm(2),
    "ln": _natural_scale,
    "tanTimes100": Scale(_angle, _slope),
    "100tan": Scale(lambda value: _angle(value, _TURN), lambda amount: _slope(amount, _TURN)),
    "sqrt": Scale(lambda value: WIDE.multiply(value, value), lambda amount: None if amount < 0 else FINE.sqrt(amount)),
}
