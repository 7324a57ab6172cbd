"""Units in base units: `km` is 1000 of `m`, `mg/dL` is 10 of `g.m-3`, `Cel` is `K` from another zero.

Arbitrary units such as `[iU]` are base units of their own.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from typing import NamedTuple

from fhirserver.fhir.units.grammar import NoUnit, Part, Term, Unit, parse
from fhirserver.fhir.units.scales import DIGITS, FINE, SCALES, WIDE, Scale
from fhirserver.fhir.units.table import table

MOST = Fraction(10**100)  # by which a unit may differ from its base units


class Canonical(NamedTuple):
    """A factor and the product of base units it multiplies: `km` is 1000 of (("m", 1),).

    On a `scale`, a value is first multiplied by `prefix`, then read off the scale.
    """

    factor: Fraction
    dimension: tuple[tuple[str, int], ...]
    scale: Scale | None = None
    prefix: Decimal = Decimal(1)


ONE = Canonical(Fraction(1), ())


def canonical(code: str) -> Canonical:
    """Raises NoUnit."""
    return _of_term(parse(code))


def _of_term(term: Term) -> Canonical:
    found = ONE
    for part in term.parts:
        found = _product(found, _of_part(part), -1 if part.divides else 1)
    return found


def _of_part(part: Part) -> Canonical:
    match part.what:
        case None:
            return ONE
        case Term():
            return _of_term(part.what)
        case Unit():
            return _of_unit(part.what)
        case number:
            return Canonical(Fraction(number), ())


def _product(one: Canonical, other: Canonical, sign: int) -> Canonical:
    """A scale has no products, but with the number 1."""
    if one.scale is not None or other.scale is not None:
        if one == ONE and sign == 1:
            return other
        if other == ONE:
            return one
        raise NoUnit("a unit on a scale (Cel, [pH], B) stands alone: it is not multiplied, and divides nothing")
    powers = dict(one.dimension)
    for base_, power in other.dimension:
        powers[base_] = powers.get(base_, 0) + sign * power
    dimension = tuple(sorted((base_, power) for base_, power in powers.items() if power))
    return Canonical(_bounded(one.factor * other.factor**sign), dimension)


def _power(unit: Canonical, exponent: int) -> Canonical:
    if exponent == 1:
        return unit
    if unit.scale is not None:
        raise NoUnit("a unit on a scale (Cel, [pH], B) has no powers")
    return Canonical(
        _bounded(unit.factor**exponent), tuple((base_, power * exponent) for base_, power in unit.dimension)
    )


def _bounded(factor: Fraction) -> Fraction:
    """Beyond all measure there are no units: only numbers that cost much to work with."""
    if not 1 / MOST <= factor <= MOST:
        raise NoUnit("the unit is beyond all measure")
    return factor


def _of_unit(unit: Unit) -> Canonical:
    found = _atom(unit.atom)
    if unit.prefix:
        value = table().prefixes[unit.prefix].value
        if found.scale is not None:
            found = found._replace(prefix=Decimal(value))
        else:
            found = found._replace(factor=found.factor * Fraction(value))
    return _power(found, unit.exponent)


@cache
def _atom(code: str) -> Canonical:
    if code in table().base:
        return Canonical(Fraction(1), ((code, 1),))
    said = table().units[code]
    if said.arbitrary and said.unit == "1":
        return Canonical(Fraction(1), ((code, 1),))
    defined = canonical(said.unit)
    scale = SCALES[said.scale] if said.scale is not None else None
    return Canonical(Fraction(said.value) * defined.factor, defined.dimension, scale)


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

    def reading(self, amount: Decimal) -> Decimal | None:
        """What so many base units are in this unit; None where no reading gives them."""
        read = FINE.divide(WIDE.multiply(amount, self.denominator), self.numerator)
        reading = read if self.scale is None else self.scale.reading(read)
        return None if reading is None else FINE.divide(reading, self.prefix)

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
        factor, dimension, scale, prefix = canonical(code)
    except NoUnit:
        return None
    unit = ".".join(f"{each}{'' if power == 1 else power}" for each, power in dimension) or "1"
    return Base(factor, unit, Decimal(factor.numerator), Decimal(factor.denominator), scale, prefix)
