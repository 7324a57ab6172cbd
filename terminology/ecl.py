"""The expression constraint language of SNOMED CT, read into values: hierarchy, members, sets, refinement, dots.

Without counts of attributes and filters, which are refused by name.
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
NOT_HERE = {"{": "filters in braces ({{ }})", "[": "counts ([ ]) in this place"}
COUNTS = {("0", "0"): "none", ("0", "*"): "any", ("1", "*"): "some"}

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
    """It has an attribute with such a value; `comparison` is `=` or `!=`, of numbers also `<`, `<=`, `>`, `>=`.

    `reversed`: it is such a value of what `value` finds.
    """

    name: Focus
    comparison: str
    value: Focus | Literal
    reversed: bool = False


class Group(NamedTuple):
    """Attributes that stand in one group of relationships."""

    of: Expression


class Absent(NamedTuple):
    """None of these attributes or groups."""

    of: Expression


class Dotted(NamedTuple):
    """The values of an attribute."""

    of: Expression
    name: Focus


class Refined(NamedTuple):
    of: Expression
    by: Expression


Expression = Focus | Compound | Attribute | Group | Absent | Refined | Dotted
EVERY = Focus("", False, None)


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

    def _closed(self, sign: str = ")") -> None:
        if self._took(sign) is None:
            raise self._expected(sign)
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
            return Refined(first, self._refinements())
        while self._took("."):
            first = Dotted(first, self._focus())
        return self._joined(self._focus, first, ("AND", "OR", "MINUS", ","))

    def _refinements(self) -> Expression:
        return self._joined(self._refinement, self._refinement(), ("AND", "OR", ","))

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
        """An attribute, a group of them, or several in parentheses, after which no comparison stands."""
        count = self._count()
        if self._took("{"):
            self._deeper()
            found: Expression = Group(self._refinements())
            self._closed("}")
        elif self._now.text == "(" and not self._names():
            self._took("(")
            self._deeper()
            found = self._refinements()
            self._closed()
        else:
            found = self._attribute()
        return Absent(found) if count == "none" else EVERY if count == "any" else found

    def _count(self) -> str:
        """Of how many there are, only whether there are any is known."""
        begin = self._now.at
        if not self._took("["):
            return "some"
        least, most = self._number(), (self._took("."), self._took("."), self._number())[2]
        found = COUNTS.get((least, most))
        if found is None or not self._took("]"):
            raise self._refused("counts other than [0..0], [0..*] and [1..*] are not known here", begin)
        return found

    def _number(self) -> str:
        if self._now.kind == "code":
            self._place += 1
            return self._tokens[self._place - 1].text
        return self._took("*") or ""

    def _attribute(self) -> Attribute:
        reverse = self._took("R") is not None
        name = self._focus()
        comparison = self._took(*COMPARISONS)
        if comparison is None:
            raise self._expected("=")
        at, value = self._now.at, self._value(comparison)
        if reverse and (comparison != "=" or isinstance(value, Literal)):
            raise self._refused("reversed, an attribute is = an expression", at)
        return Attribute(name, comparison, value, reverse)

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
