"""The expression constraint language of SNOMED CT, read into values: hierarchy, members, AND, OR, MINUS, refinement.

Without cardinalities, groups, dots and filters, which are refused by name.
https://confluence.ihtsdotools.org/display/DOCECL
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from fhirserver.fhir.outcome import Outcome, invalid

LONGEST = 10_000  # characters
DEEPEST = 32  # parentheses
HIERARCHY = ("<<!", ">>!", "<<", ">>", "<!", ">!", "<", ">")
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
NOT_HERE = {
    "{": "groups of attributes and filters ({ })",
    "[": "cardinalities ([ ])",
    ".": "dotted attributes",
    "R": "reversed attributes (R)",
}

_token = re.compile(
    r"""(?P<space>(?:\s|/\*.*?\*/)+)
    | (?P<code>\d+)
    | (?P<term>\|[^|]*\|)
    | (?P<number>\#[+-]?\d+(?:\.\d+)?)
    | (?P<text>"(?:[^"\\]|\\["\\])*")
    | (?P<sign><<!|>>!|!=|<=|>=|<<|>>|<!|>!|[<>=^*():,{}\[\].])
    | (?P<word>[A-Za-z]+)""",
    re.VERBOSE | re.DOTALL,
)


class Focus(NamedTuple):
    """A code, `None` for every one, or what is in parentheses; `member`: those in such a reference set."""

    operator: str
    member: bool
    of: str | Expression | None


class Compound(NamedTuple):
    """`AND`, `OR` or `MINUS`; of refinements, too."""

    joint: str
    parts: tuple[Expression, ...]


class Literal(NamedTuple):
    """`#5` or `"text"`."""

    number: bool
    text: str


class Attribute(NamedTuple):
    """It has an attribute with such a value; `comparison` is `=` or `!=`, of numbers also `<`, `<=`, `>`, `>=`."""

    name: Focus
    comparison: str
    value: Focus | Literal


class Refined(NamedTuple):
    of: Expression
    by: Expression


Expression = Focus | Compound | Attribute | Refined


class Token(NamedTuple):
    kind: str
    text: str
    at: int


@lru_cache(256)
def parse(text: str) -> Expression:
    """Raises a 400 Outcome that says where it cannot be read."""
    if len(text) > LONGEST:
        raise invalid(f"an expression constraint has at most {LONGEST:,} characters")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*self._read()]
        self._place = 0
        self._depth = 0

    def _read(self) -> list[Token]:
        found, at = [], 0
        while at < len(self._text):
            match = _token.match(self._text, at)
            if match is None:
                raise self._refused("this cannot be read", at)
            kind = match.lastgroup or ""
            if kind not in ("space", "term"):
                found.append(Token(kind, match[0], at))
            at = match.end()
        return [*found, Token("end", "", at)]

    def _refused(self, why: str, at: int) -> Outcome:
        here = self._text[at : at + 40]
        where = f"at character {at + 1}, {here!r}" if here else "at its end"
        return invalid(f"expression constraint: {why}, {where}")

    # one token after the other

    @property
    def _now(self) -> Token:
        return self._tokens[self._place]

    def _took(self, *texts: str) -> str | None:
        """The next token, where it is one of these; words in any case."""
        text = self._now.text.upper() if self._now.kind == "word" else self._now.text
        if self._now.kind in ("sign", "word") and text in texts:
            self._place += 1
            return text
        return None

    def _expected(self, what: str) -> Outcome:
        known = NOT_HERE.get(self._now.text.upper())
        if known is not None:
            return self._refused(f"{known} are not known here", self._now.at)
        return self._refused(f"{what} is expected", self._now.at)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._refused(f"more than {DEEPEST} parentheses deep", self._now.at)

    def _closed(self) -> None:
        if self._took(")") is None:
            raise self._expected(")")
        self._depth -= 1

    # the grammar

    def whole(self) -> Expression:
        found = self._expression()
        if self._now.kind != "end":
            raise self._expected("AND, OR, MINUS, a refinement or the end")
        return found

    def _expression(self) -> Expression:
        first: Expression = self._focus()
        if self._took(":"):
            first = Refined(first, self._joined(self._refinement, self._refinement(), ("AND", "OR", ",")))
        else:
            first = self._joined(self._focus, first, ("AND", "OR", "MINUS", ","))
        return first

    def _joined(self, part: Callable[[], Expression], first: Expression, joints: tuple[str, ...]) -> Expression:
        """Of one kind; others need parentheses, and MINUS has two sides."""
        parts, kind = [first], ""
        while joint := self._took(*joints):
            joint = "AND" if joint == "," else joint
            if kind and (joint != kind or kind == "MINUS"):
                raise self._refused(f"{kind} and {joint} need parentheses", self._tokens[self._place - 1].at)
            kind = joint
            parts.append(part())
        return Compound(kind, tuple(parts)) if kind else first

    def _focus(self) -> Focus:
        operator = self._took(*HIERARCHY) or ""
        member = self._took("^") is not None
        if self._took("*"):
            return Focus(operator, member, None)
        if self._took("("):
            self._deeper()
            inner = self._expression()
            self._closed()
            return Focus(operator, member, inner)
        if self._now.kind != "code":
            raise self._expected("a concept, *, or (")
        code = self._now.text
        self._place += 1
        return Focus(operator, member, code)

    def _refinement(self) -> Expression:
        """An attribute, or several in parentheses, after which no comparison stands."""
        if self._now.text == "(" and not self._names():
            self._took("(")
            self._deeper()
            found = self._joined(self._refinement, self._refinement(), ("AND", "OR", ","))
            self._closed()
            return found
        name = self._focus()
        comparison = self._took(*COMPARISONS)
        if comparison is None:
            raise self._expected("=")
        return Attribute(name, comparison, self._value(comparison))

    def _names(self) -> bool:
        """Whether these parentheses hold the name of an attribute."""
        open_ = 0
        for place in range(self._place, len(self._tokens) - 1):
            open_ += {"(": 1, ")": -1}.get(self._tokens[place].text, 0)
            if not open_:
                return self._tokens[place + 1].text in COMPARISONS
        return False

    def _value(self, comparison: str) -> Focus | Literal:
        token = self._now
        if token.kind in ("number", "text"):
            self._place += 1
            number = token.kind == "number"
            if not number and comparison not in ("=", "!="):
                raise self._refused(f"a text is not compared by {comparison}", token.at)
            return Literal(number, token.text[1:] if number else re.sub(r"\\(.)", r"\1", token.text[1:-1]))
        if comparison not in ("=", "!="):
            raise self._refused("a number is expected", token.at)
        return self._focus()
