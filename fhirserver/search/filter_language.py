"""The language of `_filter`, from text to a tree; what its names mean depends on the type, and is read later.

    given eq "peter" and not (birthdate lt 2014-10-10 or subject:Patient[active eq true].name co pet)

`and` and `or` bind alike, from left to right. https://hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.search.readers import PREFIXES

MAX_CHARACTERS = 16_384
MAX_DEPTH = 20
MAX_TESTS = 200

OPERATORS = (*PREFIXES, "co", "sw", "ew", "pr", "po", "ss", "sb", "in", "ni", "re")

_space = re.compile(r"\s*")
_word = re.compile(r"[A-Za-z]+")
_logic = re.compile(r"(and|or)(?![^\s(])", re.IGNORECASE)
_not = re.compile(r"not(?![^\s(])", re.IGNORECASE)
_step = re.compile(r"_has:[A-Za-z]+:[A-Za-z0-9_-]+(?=[:\[])|[A-Za-z_][A-Za-z0-9_-]*(?::[A-Za-z]+)?")
_string = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_token = re.compile(r"[^\s)\]]+")
_unsayable = re.compile(r"[\0\ud800-\udfff]")


class Step(NamedTuple):
    """`subject`, `subject:Patient`, `_has:Observation:patient`; the filter is what must hold of what is there."""

    name: str
    filter: Expression | None
    position: int


class Test(NamedTuple):
    """`path operator value`; the positions are those of the operator and of the value."""

    path: tuple[Step, ...]
    operator: str
    value: str
    operator_position: int
    value_position: int


class All(NamedTuple):
    parts: tuple[Expression, ...]


class Any(NamedTuple):
    parts: tuple[Expression, ...]


class Not(NamedTuple):
    part: Expression


Expression = Test | All | Any | Not


def refused(position: int, sentence: str, code: str = "invalid") -> Outcome:
    return invalid(f"at character {position + 1}: {sentence}", code=code)


def parse(text: str) -> Expression:
    """Raises a 400 Outcome that names the position and what is expected there."""
    if len(text) > MAX_CHARACTERS:
        raise invalid(f"a filter has at most {MAX_CHARACTERS:,} characters", code="too-long")
    reader = _Reader(text)
    tree = reader.filter()
    if reader.at < len(text):
        raise reader.unexpected("'and', 'or' or the end of the filter")
    _check_depth(tree)
    return tree


class _Reader:
    """Stands at a place of the text, and reads on from there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.tests = 0

    def filter(self) -> Expression:
        """One or more terms with `and` or `or` between them."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise refused(self.at, f"nested more than {MAX_DEPTH} levels deep", "too-costly")
        tree = self.term()
        while word := self.take(_logic):
            tree = _joined(tree, All if word.lower() == "and" else Any, self.term())
        self.depth -= 1
        return tree

    def term(self) -> Expression:
        negated = self.take(_not) is not None
        if negated or self.ahead("("):
            self.expect("(")
            inner = self.filter()
            self.expect(")")
            return Not(inner) if negated else inner
        return self.test()

    def test(self) -> Test:
        self.tests += 1
        if self.tests > MAX_TESTS:
            raise refused(self.at, f"a filter has at most {MAX_TESTS} tests", "too-costly")
        path = self.path()
        self.skip()
        at = self.at
        operator = (self.take(_word) or "").lower()
        if operator not in OPERATORS or not self.text[at - 1].isspace():
            self.at = at
            raise self.unexpected(f"an operator ({', '.join(OPERATORS)})")
        if self.at < len(self.text) and not self.text[self.at].isspace():
            raise self.unexpected(f"a space after {operator}")
        self.skip()
        return Test(path, operator, self.value(), at, self.value_at)

    def path(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        while True:
            self.skip() if not steps else None
            at = self.at
            match = _step.match(self.text, at)
            if match is None:
                raise self.unexpected("the name of a search parameter" if steps else "a test, 'not (' or '('")
            self.at = match.end()
            inner = self.bracketed()
            steps.append(Step(match[0], inner, at))
            mark = ":" if match[0].startswith("_has:") else "."
            if not self.text.startswith(mark, self.at):
                if inner is not None:
                    raise self.unexpected(f"'{mark}' and a name")
                return tuple(steps)
            self.at += 1

    def bracketed(self) -> Expression | None:
        if not self.text.startswith("[", self.at):
            return None
        self.at += 1
        inner = self.filter()
        self.expect("]")
        return inner

    def value(self) -> str:
        """A JSON string, or what stands there up to a space, `)` or `]`."""
        self.value_at = self.at
        if not self.text.startswith('"', self.at):
            match = _token.match(self.text, self.at)
            if match is None:
                raise self.unexpected("a value")
            if match[0][0] == "'" != match[0]:
                raise refused(self.at, 'a string stands in double quotes: "')
            self.at = match.end()
            return match[0]
        match = _string.match(self.text, self.at)
        if match is None:
            raise refused(self.at, "the string does not end; '\"' is expected")
        try:
            said: str = json.loads(match[0])
        except ValueError as error:
            raise refused(self.at, 'is no JSON string; write \\" and \\\\ for " and \\') from error
        if _unsayable.search(said):
            raise refused(self.at, "a NUL or half a surrogate pair is no text")
        self.at = match.end()
        if self.at < len(self.text) and not (self.text[self.at].isspace() or self.text[self.at] in ")]"):
            raise self.unexpected("a space, ')', ']' or the end of the filter")
        return said

    def skip(self) -> None:
        match = _space.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def ahead(self, mark: str) -> bool:
        self.skip()
        return self.text.startswith(mark, self.at)

    def take(self, pattern: re.Pattern[str]) -> str | None:
        self.skip()
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[0]

    def expect(self, mark: str) -> None:
        if not self.ahead(mark):
            raise self.unexpected(f"'{mark}'" if mark == "(" else f"'and', 'or' or '{mark}'")
        self.at += 1

    def unexpected(self, expected: str) -> Outcome:
        match = re.compile(r"\w+|\S").match(self.text, self.at)
        found = f"{match[0][:40]!r} stands" if match else "a space stands" if self.at < len(self.text) else "it ends"
        return refused(self.at, f"{found} where {expected} is expected")


def _joined(left: Expression, by: type[All] | type[Any], right: Expression) -> Expression:
    return by((*left.parts, right)) if isinstance(left, by) else by((left, right))


def _check_depth(tree: Expression) -> None:
    level: list[Expression] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise invalid(f"'and', 'or' and 'not' alternate more than {MAX_DEPTH} levels deep", code="too-costly")


def _children(node: Expression) -> tuple[Expression, ...]:
    match node:
        case All(parts) | Any(parts):
            return parts
        case Not(part):
            return (part,)
        case Test(path):
            return tuple(step.filter for step in path if step.filter is not None)
