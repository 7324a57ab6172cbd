"""Units of UCUM in base units: `km` is 1000 of `m`, `mg/dL` is 10 of `g.m-3`, `Cel` is `K` from another zero.

The whole grammar: prefixes, exponents, products, quotients, parentheses, numbers and annotations. Arbitrary units such
as `[iU]` are base units of their own. What is no unit of UCUM is comparable with itself only. https://ucum.org/ucum
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache, lru_cache
from math import lcm
from typing import Any, NamedTuple

import msgspec

from fhirserver.fhir.definitions import load_table
from fhirserver.fhir.scales import DIGITS, SCALES, WIDE, Scale

UCUM = "http://unitsofmeasure.org"
_WORDS = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
CALENDAR = {word + ending: word for word in _WORDS for ending in ("", "s")}
_DURATIONS = {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}

LONGEST = 64  # characters of a code that is taken apart
MOST = Fraction(10**100)  # by which a unit may differ from its base units
_HIGHEST = 99  # exponent

_FACTOR = re.compile(r"(?!0+(?![0-9]))[0-9]{1,30}(?![0-9*^])")
_SIMPLE = re.compile(r"(10[*^]|(?:\[[^\[\]\s]*\]|[A-Za-z%'_])+)([+-]?[0-9]{1,2})?(?![0-9*^+-])")
_ANNOTATION = re.compile(r"\{[^{}]*\}")


class Canonical(NamedTuple):
    """A factor and the product of base units it multiplies: `km` is 1000 of (("m", 1),).

    On a `scale`, a value is first multiplied by `prefix`, then read off the scale.
    """

    factor: Fraction
    dimension: tuple[tuple[str, int], ...]
    scale: Scale | None = None
    prefix: Decimal = Decimal(1)


ONE = Canonical(Fraction(1), ())


class NoUnit(ValueError):
    """A text that is no unit of UCUM."""


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = msgspec.json.decode(load_table("ucum"))
    return table


@lru_cache(4096)
def canonical_unit(unit: str) -> Canonical:
    """Of a unit of FHIRPath, a calendar duration too. One of its own for what is unknown, or on a scale."""
    word = CALENDAR.get(unit)
    try:
        found = parse(_DURATIONS.get(word, "") if word else unit)
    except NoUnit:
        return Canonical(Fraction(1), ((word or unit, 1),))
    return found if found.scale is None else Canonical(Fraction(1), ((unit, 1),))


def parse(code: str) -> Canonical:
    """Raises NoUnit."""
    if not 0 < len(code) <= LONGEST or not code.isascii():
        raise NoUnit(code)
    return _Reader(code).whole()


class _Reader:
    """Stands at a place of the code, and reads on from there."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.at = 0

    def whole(self) -> Canonical:
        found = self.term()
        if self.at < len(self.code):
            raise NoUnit(self.code)
        return found

    def term(self) -> Canonical:
        found = _product(ONE, self.component(), -1) if self.take("/") else self.component()
        while True:
            if self.take("."):
                found = _product(found, self.component(), 1)
            elif self.take("/"):
                found = _product(found, self.component(), -1)
            else:
                return found

    def component(self) -> Canonical:
        """An annotation says something about a unit, and is the unit 1 where there is none."""
        if self.annotation():
            return ONE
        if self.take("("):
            found = self.term()
            if not self.take(")"):
                raise NoUnit(self.code)
        elif match := _FACTOR.match(self.code, self.at):
            self.at = match.end()
            found = Canonical(Fraction(int(match[0])), ())
        elif match := _SIMPLE.match(self.code, self.at):
            self.at = match.end()
            found = _power(_simple(match[1]), int(match[2] or 1))
        else:
            raise NoUnit(self.code)
        self.annotation()
        return found

    def annotation(self) -> bool:
        match = _ANNOTATION.match(self.code, self.at)
        self.at = match.end() if match else self.at
        return match is not None

    def take(self, mark: str) -> bool:
        found = self.code.startswith(mark, self.at)
        self.at += found
        return found


def _product(one: Canonical, other: Canonical, sign: int) -> Canonical:
    """A scale has no products, but with the number 1."""
    if one.scale is not None or other.scale is not None:
        if one == ONE and sign == 1:
            return other
        if other == ONE:
            return one
        raise NoUnit("a unit on a scale stands alone")
    powers = dict(one.dimension)
    for base_, power in other.dimension:
        powers[base_] = powers.get(base_, 0) + sign * power
    dimension = tuple(sorted((base_, power) for base_, power in powers.items() if power))
    return Canonical(_bounded(one.factor * other.factor**sign), dimension)


def _power(unit: Canonical, exponent: int) -> Canonical:
    if exponent == 1:
        return unit
    if unit.scale is not None or not 0 < abs(exponent) <= _HIGHEST:
        raise NoUnit("a unit on a scale has no powers")
    return Canonical(
        _bounded(unit.factor**exponent), tuple((base_, power * exponent) for base_, power in unit.dimension)
    )


def _bounded(factor: Fraction) -> Fraction:
    """Beyond all measure there are no units: only numbers that cost much to work with."""
    if not 1 / MOST <= factor <= MOST:
        raise NoUnit("beyond all measure")
    return factor


def _simple(text: str) -> Canonical:
    """A unit as it is, or a metric one with a prefix: `cd` is the candela, no prefixed day."""
    found = _atom(text)
    if found is not None:
        return found
    for length in (1, 2):
        prefix, atom = _table()["prefixes"].get(text[:length]), text[length:]
        if prefix is not None and _metric(atom) and (found := _atom(atom)) is not None:
            if found.scale is not None:
                return found._replace(prefix=Decimal(prefix))
            return found._replace(factor=found.factor * Fraction(prefix))
    raise NoUnit(text)


def _metric(atom: str) -> bool:
    return atom in _table()["base"] or _table()["units"].get(atom, {}).get("metric", False)


@lru_cache(4096)  # what a client invents is remembered too
def _atom(text: str) -> Canonical | None:
    if text in _table()["base"]:
        return Canonical(Fraction(1), ((text, 1),))
    said = _table()["units"].get(text)
    if said is None:
        return None
    if said.get("arbitrary") and said["unit"] == "1":
        return Canonical(Fraction(1), ((text, 1),))
    defined = _Reader(said["unit"]).whole()
    scale = SCALES[said["scale"]] if "scale" in said else None
    return Canonical(Fraction(said["value"]) * defined.factor, defined.dimension, scale)


class Base(NamedTuple):
    """What a quantity in some unit is in base units: so many times its value, of this unit; by a scale before."""

    factor: Fraction
    unit: str
    numerator: Decimal
    denominator: Decimal
    scale: Scale | None = None
    prefix: Decimal = Decimal(1)

    def of(self, value: Decimal | int) -> Decimal | None:
        """Exact where 34 digits suffice; None beyond all measure."""
        read = Decimal(value) if self.scale is None else self.scale.read(WIDE.multiply(value, self.prefix))
        return None if read is None else DIGITS.divide(WIDE.multiply(read, self.numerator), self.denominator)

    @property
    def line(self) -> tuple[Fraction, Fraction] | None:
        """The slope and the intercept of the way to base units; None where it is no line: pH, dB."""
        if self.scale is None:
            return self.factor, Fraction(0)
        if self.scale.offset is None:
            return None
        return self.factor * Fraction(self.prefix), self.factor * Fraction(self.scale.offset)

    @property
    def falling(self) -> bool:
        """Whether more in this unit is less in base units: pH."""
        return self.scale is not None and self.scale.falling


@lru_cache(4096)
def base(code: str) -> Base | None:
    """The base units of a UCUM code; None where it is no unit of UCUM, or beyond all measure."""
    try:
        factor, dimension, scale, prefix = parse(code)
    except NoUnit:
        return None
    unit = ".".join(f"{each}{'' if power == 1 else power}" for each, power in dimension) or "1"
    return Base(factor, unit, Decimal(factor.numerator), Decimal(factor.denominator), scale, prefix)


class Conversion(NamedTuple):
    """From one unit to another: (value · times + plus) / over, in whole numbers."""

    times: Decimal
    plus: Decimal
    over: Decimal

    def of(self, value: Decimal) -> Decimal:
        """Rounded where the quotient does not end; as many digits as FHIR asks servers to keep."""
        return KEPT.divide(WIDE.add(WIDE.multiply(value, self.times), self.plus), self.over)


KEPT = Context(prec=18)  # https://hl7.org/fhir/R4/datatypes.html#decimal
SAME = Conversion(Decimal(1), Decimal(0), Decimal(1))


def conversion(one: str, other: str) -> Conversion | None:
    """Between two codes of UCUM; None where there is none, or where it is no line: a mean of pH is no mean of acid."""
    ours, theirs = base(one), base(other)
    if ours is None or theirs is None or ours.unit != theirs.unit or ours.line is None or theirs.line is None:
        return None
    (slope, intercept), (their_slope, their_intercept) = ours.line, theirs.line
    times, plus = slope / their_slope, (intercept - their_intercept) / their_slope
    over = lcm(times.denominator, plus.denominator)
    return Conversion(Decimal(int(times * over)), Decimal(int(plus * over)), Decimal(over))
