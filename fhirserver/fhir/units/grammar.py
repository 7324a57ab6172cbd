"""A code of UCUM taken apart: prefixes, exponents, products, quotients, parentheses, numbers and annotations.

https://ucum.org/ucum#section-Grammar-of-Units-and-Unit-Terms. What is no code is refused with a sentence that says why.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fhirserver.fhir.units.table import table

LONGEST = 255  # characters of a code that is taken apart
DEEPEST = 32  # parentheses within parentheses

_FACTOR = re.compile(r"(?!0+(?![0-9]))[0-9]{1,30}(?![0-9*^])")
_SIMPLE = re.compile(r"(10[*^]|(?:\[[^\[\]\s]*\]|[A-Za-z%'_])+)([+-]?[0-9]{1,2})?(?![0-9*^+-])")
_ANNOTATION = re.compile(r"\{([^{}\x00-\x1f\x7f]*)\}")

# what is often written, and what is meant
_MEANT = {
    "mmHg": "mm[Hg]",
    "cmH2O": "cm[H2O]",
    "degC": "Cel",
    "degF": "[degF]",
    "IU": "[iU]",
    "mcg": "ug",
    "cc": "mL",
    "lb": "[lb_av]",
    "lbs": "[lb_av]",
    "in": "[in_i]",
    "ft": "[ft_i]",
    "oz": "[oz_av]",
    "bpm": "/min",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "minute": "min",
    "minutes": "min",
    "hr": "h",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
    "week": "wk",
    "weeks": "wk",
    "month": "mo",
    "months": "mo",
    "year": "a",
    "years": "a",
    "yr": "a",
    "percent": "%",
}
_LETTERS = {"µ": "u", "μ": "u", "°": "Cel or deg", "²": "2", "³": "3", "Å": "Ao", "Ω": "Ohm", "·": ".", "×": "."}


class NoUnit(ValueError):
    """A text that is no unit of UCUM, and why."""


class Unit(NamedTuple):
    """A unit of the table, maybe with a prefix, to some power."""

    prefix: str
    atom: str
    exponent: int = 1


class Part(NamedTuple):
    """What a term is multiplied with, or divided by. An annotation says something about it; alone it is the unit 1."""

    what: Unit | int | Term | None
    divides: bool = False
    note: str | None = None


class Term(NamedTuple):
    """A product, read from left to right."""

    parts: tuple[Part, ...]


def parse(code: str) -> Term:
    """Raises NoUnit."""
    if not code:
        raise NoUnit("there is no unit: the unit of a mere number is 1")
    if len(code) > LONGEST:
        raise NoUnit(f"a unit has at most {LONGEST} characters")
    for letter in code:
        if not letter.isascii():
            meant = f"; {_LETTERS[letter]} is how UCUM writes it" if letter in _LETTERS else ""
            raise NoUnit(f"{letter!r} is no character of UCUM{meant}")
    if code in _MEANT:
        raise NoUnit(f"{code!r} is no unit of UCUM; {_MEANT[code]} is")
    return _Reader(code).whole()


class _Reader:
    """Stands at a place of the code, and reads on from there."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.at = 0
        self.depth = 0

    def whole(self) -> Term:
        found = self.term()
        if self.at < len(self.code):
            raise self.refusal("the end, or . or / before what follows")
        return found

    def term(self) -> Term:
        parts = [self.part(divides=self.take("/"))]
        while True:
            if self.take("."):
                parts.append(self.part(divides=False))
            elif self.take("/"):
                parts.append(self.part(divides=True))
            else:
                return Term(tuple(parts))

    def part(self, *, divides: bool) -> Part:
        if (note := self.annotation()) is not None:
            return Part(None, divides, note)
        what: Unit | int | Term
        if self.take("("):
            what = self.group()
        elif match := _FACTOR.match(self.code, self.at):
            self.at = match.end()
            what = int(match[0])
        elif match := _SIMPLE.match(self.code, self.at):
            self.at = match.end()
            what = _simple(match[1], int(match[2] or 1))
        else:
            raise self.refusal("a unit")
        return Part(what, divides, self.annotation())

    def group(self) -> Term:
        self.depth += 1
        if self.depth > DEEPEST:
            raise NoUnit(f"there are more than {DEEPEST} parentheses within each other")
        found = self.term()
        if not self.take(")"):
            raise self.refusal(")")
        self.depth -= 1
        return found

    def annotation(self) -> str | None:
        match = _ANNOTATION.match(self.code, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[1]

    def take(self, mark: str) -> bool:
        found = self.code.startswith(mark, self.at)
        self.at += found
        return found

    def refusal(self, expected: str) -> NoUnit:
        there = repr(self.code[self.at :][:20]) if self.at < len(self.code) else "the end"
        return NoUnit(f"at character {self.at + 1} is {there}, and {expected} is expected")


def _simple(text: str, exponent: int) -> Unit:
    """A unit as it is, or a metric one with a prefix: `cd` is the candela, no prefixed day."""
    known = table()
    if exponent == 0:
        raise NoUnit(f"{text[:40]!r} to the power of 0 is no unit")
    if text in known.atoms:
        return Unit("", text, exponent)
    for length in (1, 2):
        prefix, atom = text[:length], known.atoms.get(text[length:])
        if prefix in known.prefixes and atom is not None:
            if text[length:] in known.base or atom.metric:
                return Unit(prefix, text[length:], exponent)
            raise NoUnit(f"{text[length:]!r} takes no prefix, and {text!r} is no unit of UCUM")
    meant = f"; {_MEANT[text]} is" if text in _MEANT else ""
    raise NoUnit(f"{text[:40]!r} is no unit of UCUM{meant}")
