"""Text to syntax tree: a lexer and a precedence parser for FHIRPath N1.

http://hl7.org/fhirpath/N1/grammar.html, precedence: http://hl7.org/fhirpath/N1/#operator-precedence
Expressions come from users too, so length and nesting are bounded here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from fhirserver.fhir.fhirpath import temporal
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.quantities import Quantity
from fhirserver.fhir.units import CALENDAR

MAX_LENGTH = 20_000
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Literal:
    """`values` is empty for `{}`, otherwise one System value."""

    values: tuple[Any, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Variable:
    """$this, $index or $total."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class External:
    """%resource, %ucum, %`vs-name`, ..."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Member:
    """`target.name`; no target means the focus."""

    target: Expr | None
    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    target: Expr | None
    name: str
    arguments: tuple[Expr, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Index:
    target: Expr
    index: Expr
    position: int


@dataclass(frozen=True, slots=True)
class Unary:
    operator: str
    operand: Expr
    position: int


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Expr
    right: Expr
    position: int


@dataclass(frozen=True, slots=True)
class TypeOperation:
    """`operand is type` and `operand as type`."""

    operator: str
    operand: Expr
    type: str
    position: int


Expr = Literal | Variable | External | Member | Call | Index | Unary | Binary | TypeOperation


class Token(NamedTuple):
    kind: str
    text: str
    position: int


_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |@(?P<time>T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)
    |@(?P<date>\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<delimited>`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")
    |%(?P<external>[A-Za-z_][A-Za-z0-9_-]*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<variable>\$this|\$index|\$total)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<symbol><=|>=|!=|!~|[=~<>|&+\-*/.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

_PRECEDENCE = {
    operator: level
    for level, operators in enumerate(
        (
            ("implies",),
            ("or", "xor"),
            ("and",),
            ("in", "contains"),
            ("=", "!=", "~", "!~"),
            ("<", ">", "<=", ">="),
            ("|",),
            ("is", "as"),
            ("+", "-", "&"),
            ("*", "/", "div", "mod"),
        ),
        start=1,
    )
    for operator in operators
}


def parse(text: str) -> Expr:
    """Raises FhirPathError where the text is no FHIRPath expression."""
    if len(text) > MAX_LENGTH:
        raise FhirPathError(f"an expression may have at most {MAX_LENGTH} characters")
    parser = _Parser(list(_tokens(text)))
    tree = parser.expression(0)
    if parser.token.kind != "end":
        raise parser.unexpected("the end of the expression")
    _check_depth(tree)
    return tree


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FhirPathError(f"{text[position : position + 10]!r} is not FHIRPath", position)
        if text.startswith("/*", position) and match.lastgroup != "space":
            raise FhirPathError("the comment does not end", position)
        if match.lastgroup != "space":
            kind = str(match.lastgroup)
            yield Token(kind, match[kind], position)
        position = match.end()
    yield Token("end", "", position)


def _unescape(text: str) -> str:
    """What stands between the delimiters, escapes resolved."""
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPED.get(m[2], m[2]), text[1:-1])


def _check_depth(tree: Expr) -> None:
    level: list[Any] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in children(node)]
        if not level:
            return
    raise FhirPathError(f"the expression is nested more than {MAX_DEPTH} levels deep")


def children(node: Expr) -> tuple[Expr, ...]:
    match node:
        case Member(target):
            return () if target is None else (target,)
        case Call(target, _, arguments):
            return arguments if target is None else (target, *arguments)
        case Index(left, right) | Binary(_, left, right):
            return left, right
        case Unary(_, operand) | TypeOperation(_, operand):
            return (operand,)
        case _:
            return ()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.next = 0
        self.token = tokens[0]
        self.depth = 0

    def take(self) -> Token:
        taken = self.token
        if taken.kind != "end":
            self.next += 1
            self.token = self.tokens[self.next]
        return taken

    def symbol(self, text: str) -> bool:
        """Takes the symbol if it stands here."""
        if self.token.kind == "symbol" and self.token.text == text:
            self.take()
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.symbol(text):
            raise self.unexpected(f"'{text}'")

    def unexpected(self, expected: str) -> FhirPathError:
        found = "the expression ends" if self.token.kind == "end" else f"{self.token.text!r} stands"
        return FhirPathError(f"{found} where {expected} is expected", self.token.position)

    def expression(self, above: int) -> Expr:
        """Everything that binds tighter than `above`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FhirPathError(f"the expression is nested more than {MAX_DEPTH} levels deep", self.token.position)
        left = self.unary()
        while self.token.kind in ("symbol", "name"):
            operator = self.token.text
            level = _PRECEDENCE.get(operator, 0)
            if level <= above:
                break
            position = self.take().position
            if operator in ("is", "as"):
                left = TypeOperation(operator, left, self.type_specifier(), position)
            else:
                left = Binary(operator, left, self.expression(level), position)
        self.depth -= 1
        return left

    def unary(self) -> Expr:
        signs = []
        while self.token.kind == "symbol" and self.token.text in "+-":
            signs.append(self.take())
        operand = self.postfix()
        for sign in reversed(signs):
            operand = Unary(sign.text, operand, sign.position)
        return operand

    def postfix(self) -> Expr:
        left = self.term()
        while True:
            position = self.token.position
            if self.symbol("."):
                if self.token.kind == "variable":
                    left = Call(left, "select", (Variable(self.token.text, self.take().position),), position)
                else:
                    left = self.invocation(left)
            elif self.symbol("["):
                left = Index(left, self.expression(0), position)
                self.expect("]")
            else:
                return left

    def term(self) -> Expr:
        kind, text, position = self.token
        if kind == "symbol" and text == "(":
            self.take()
            inner = self.expression(0)
            self.expect(")")
            return inner
        if kind == "symbol" and text == "{":
            self.take()
            self.expect("}")
            return Literal((), position)
        if kind == "name" and text in ("true", "false"):
            self.take()
            return Literal((text == "true",), position)
        if kind in ("name", "delimited"):
            return self.invocation(None)
        if kind in ("end", "symbol"):
            raise self.unexpected("a value or a name")
        self.take()
        if kind == "variable":
            return Variable(text, position)
        if kind == "external":
            return External(_unescape(text) if text[0] in "`'\"" else text, position)
        if kind == "number":
            return self.number(text, position)
        if kind == "string":
            return Literal((_unescape(text),), position)
        moment = temporal.parse_time(text) if kind == "time" else temporal.parse(text)
        if moment is None:
            raise FhirPathError(f"@{text} is no date or time", position)
        return Literal((moment,), position)

    def number(self, text: str, position: int) -> Expr:
        if len(text) > 60:
            raise FhirPathError("a number may have at most 60 digits", position)
        kind, unit, _ = self.token
        if kind == "string":
            self.take()
            return Literal((Quantity(Decimal(text), _unescape(unit)),), position)
        if kind == "name" and unit in CALENDAR:
            self.take()
            return Literal((Quantity(Decimal(text), unit),), position)
        return Literal((Decimal(text) if "." in text else int(text),), position)

    def invocation(self, target: Expr | None) -> Expr:
        position = self.token.position
        name = self.identifier()
        if not self.symbol("("):
            return Member(target, name, position)
        arguments = []
        if not self.symbol(")"):
            arguments.append(self.expression(0))
            while self.symbol(","):
                arguments.append(self.expression(0))
            self.expect(")")
        return Call(target, name, tuple(arguments), position)

    def identifier(self) -> str:
        if self.token.kind == "name":
            return self.take().text
        if self.token.kind == "delimited":
            return _unescape(self.take().text)
        raise self.unexpected("a name")

    def type_specifier(self) -> str:
        name = self.identifier()
        while self.symbol("."):
            name += "." + self.identifier()
        return name


def type_argument(node: Expr) -> str:
    """The type that `ofType(FHIR.Patient)` names: the grammar reads it as a path."""
    if isinstance(node, Member):
        return node.name if node.target is None else f"{type_argument(node.target)}.{node.name}"
    raise FhirPathError("a type name such as Patient or System.String is expected", node.position)
