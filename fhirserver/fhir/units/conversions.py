"""What is asked of units: is it one, how much is it in base units, in another unit, and which of two is more.

Where the way between two units is a line (all but pH, decibel and the like), answers are exact, or as exact as is said.
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import NamedTuple

from fhirserver.fhir.units.amounts import base, canonical
from fhirserver.fhir.units.grammar import NoUnit
from fhirserver.fhir.units.scales import WIDE

KEPT = Context(prec=18)  # https://hl7.org/fhir/R4/datatypes.html#decimal
_LARGEST = 300  # powers of ten of a value


class Amount(NamedTuple):
    value: Decimal
    unit: str


class Conversion(NamedTuple):
    """From one unit to another: (value · times + plus) / over, in whole numbers."""

    times: Decimal
    plus: Decimal
    over: Decimal

    def of(self, value: Decimal) -> Decimal:
        """Rounded where the quotient does not end; as many digits as FHIR asks servers to keep."""
        return KEPT.divide(WIDE.add(WIDE.multiply(value, self.times), self.plus), self.over)


SAME = Conversion(Decimal(1), Decimal(0), Decimal(1))


@lru_cache(4096)
def fault(code: str) -> str | None:
    """Why a code is no unit of UCUM; None where it is one."""
    try:
        canonical(code)
    except NoUnit as error:
        return str(error)
    return None


def canonicalise(value: Decimal, code: str) -> Amount | None:
    """In base units, exact where 34 digits suffice; None where the code is no unit, or it is beyond all measure."""
    known = base(code)
    amount = None if known is None or _beyond(value) else known.of(value)
    return None if known is None or amount is None else Amount(amount, known.unit)


def convert(value: Decimal, one: str, other: str) -> Decimal | None:
    """A value in one unit in another, to 18 digits; None where it does not convert."""
    line = conversion(one, other)
    if _beyond(value):
        return None
    if line is not None:
        return line.of(value)
    ours, theirs = base(one), base(other)
    if ours is None or theirs is None or ours.unit != theirs.unit:
        return None
    amount = ours.of(value)
    reading = None if amount is None else theirs.reading(amount)
    return None if reading is None else KEPT.plus(reading)


def compare(value: Decimal, one: str, other_value: Decimal, other: str) -> int | None:
    """-1, 0 or 1: whether the first is less, the same or more; None where they are not of one kind.

    By the amounts that are measured: of two readings of pH, the higher one is less acid.
    """
    ours, theirs = base(one), base(other)
    if ours is None or theirs is None or ours.unit != theirs.unit or _beyond(value) or _beyond(other_value):
        return None
    amounts: tuple[Fraction | Decimal | None, Fraction | Decimal | None]
    if ours.line is not None and theirs.line is not None:
        (slope, intercept), (their_slope, their_intercept) = ours.line, theirs.line
        amounts = slope * Fraction(value) + intercept, their_slope * Fraction(other_value) + their_intercept
    else:
        amounts = ours.of(value), theirs.of(other_value)
    first, second = amounts
    if first is None or second is None:
        return None
    return (first > second) - (first < second)


def conversion(one: str, other: str) -> Conversion | None:
    """Between two codes of UCUM; None where there is none, or where it is no line: a mean of pH is no mean of acid."""
    ours, theirs = base(one), base(other)
    if ours is None or theirs is None or ours.unit != theirs.unit or ours.line is None or theirs.line is None:
        return None
    (slope, intercept), (their_slope, their_intercept) = ours.line, theirs.line
    times, plus = slope / their_slope, (intercept - their_intercept) / their_slope
    over = lcm(times.denominator, plus.denominator)
    return Conversion(Decimal(int(times * over)), Decimal(int(plus * over)), Decimal(over))


def _beyond(value: Decimal) -> bool:
    return not value.is_finite() or abs(value.adjusted()) > _LARGEST
