"""Search expressions, parsed and typed: nearly all are unions of paths, which need no evaluation.

https://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.expression. Against a type, each path becomes
concrete: JSON properties, filters, and the FHIR type found at its end. What is more than paths is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from fhirserver.fhir.definitions import Definitions, Element
from fhirserver.search.evaluation import Evaluated, OfType, Part, parts

_LONGEST_PATH = 12  # Python nests at most 20 blocks; nothing published needs more than 6 steps
_DEEPEST = 20
_TIMES = frozenset({"date", "dateTime", "instant", "time"})  # which are equal to others than their text

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<number>\d+)|(?P<word>%?[A-Za-z_]\w*|`[^`]+`)|(?P<sign>!=|[().\[\]|=,]))",
    re.ASCII,
)


class Member(NamedTuple):
    """`.name`; the first of a path may name the type itself, or `%resource`."""

    name: str


class As(NamedTuple):
    type: str


class Index(NamedTuple):
    number: int


class Equals(NamedTuple):
    """`where(use = 'home')`"""

    name: str
    literal: str | bool


class RefersTo(NamedTuple):
    """`where(resolve() is Patient)`: the type is told by the reference, nothing is fetched."""

    type: str


class HasExtension(NamedTuple):
    url: str


class Present(NamedTuple):
    """`X.exists() and X != false`: true or false, never absent."""

    name: str


Filter = Equals | RefersTo | HasExtension
Step = Member | As | Index | Filter | Present
Path = tuple[Step, ...]


class NotPaths(Exception):
    """The expression is more than a union of paths, or leads nowhere as such."""


class Parsed(NamedTuple):
    """`paths` is None where the expression must be evaluated."""

    text: str
    paths: tuple[Path, ...] | None


@lru_cache(maxsize=4096)
def parse(expression: str) -> Parsed:
    try:
        return Parsed(expression, _Parser(expression).whole())
    except NotPaths:
        return Parsed(expression, None)


class _Parser:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = list(self._scan())
        self.at = 0
        self.depth = 0

    def _scan(self) -> Iterator[tuple[str, str, int]]:
        position, end = 0, len(self.expression.rstrip())
        while position < end:
            match = _TOKEN.match(self.expression, position)
            if match is None:
                raise NotPaths
            kind = match.lastgroup or ""
            yield kind, match[kind], match.start(kind)
            position = match.end()
        yield "end", "", end

    def next(self) -> str:
        text = self.tokens[self.at][1]
        self.at += 1
        return text

    def take(self, text: str) -> bool:
        if self.tokens[self.at][1] != text:
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise NotPaths

    def kind(self, kind: str) -> str:
        if self.tokens[self.at][0] != kind:
            raise NotPaths
        return self.next()

    def whole(self) -> tuple[Path, ...]:
        paths = self.union()
        if self.tokens[self.at][0] != "end":
            raise NotPaths
        if any(len(path) > _LONGEST_PATH for path in paths):
            raise NotPaths
        return paths

    def union(self) -> tuple[Path, ...]:
        paths = self.typed()
        while self.take("|"):
            paths += self.typed()
        return paths

    def typed(self) -> tuple[Path, ...]:
        paths = self.path()
        if self.take("as"):
            type_ = self.type_name()
            return tuple((*path, As(type_)) for path in paths)
        return paths

    def type_name(self) -> str:
        name = self.kind("word")
        return self.kind("word") if name in ("FHIR", "System") and self.take(".") else name

    def path(self) -> tuple[Path, ...]:
        if self.take("("):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise NotPaths
            paths = self.union()
            self.expect(")")
            self.depth -= 1
        else:
            paths = ((Member(self.name()),),)
        while True:
            if self.take("["):
                if len(paths) > 1:
                    raise NotPaths
                number = Index(int(self.kind("number")))
                self.expect("]")
                paths = tuple((*path, number) for path in paths)
            elif not self.take("."):
                return paths
            elif self.tokens[self.at][1] == "exists":
                return tuple(self.present(path) for path in paths)
            else:
                more = self.step()
                paths = tuple(path + more for path in paths)

    def name(self) -> str:
        return self.kind("word").strip("`")

    def step(self) -> Path:
        name = self.name()
        if not self.take("("):
            return (Member(name),)
        steps: Path
        if name in ("as", "ofType"):
            steps = (As(self.type_name()),)
        elif name == "extension":
            steps = (Member("extension"), Equals("url", self.string()))
        elif name == "where":
            steps = (self.condition(),)
        else:
            raise NotPaths
        self.expect(")")
        return steps

    def condition(self) -> Step:
        name = self.name()
        if name == "resolve" and self.take("("):
            self.expect(")")
            self.expect("is")
            return RefersTo(self.type_name())
        if name == "hasExtension" and self.take("("):
            url = self.string()
            self.expect(")")
            return HasExtension(url)
        self.expect("=")
        if self.tokens[self.at][1] in ("true", "false"):
            return Equals(name, self.next() == "true")
        return Equals(name, self.string())

    def string(self) -> str:
        return re.sub(r"\\(.)", r"\1", self.kind("string")[1:-1])

    def present(self, path: Path) -> Path:
        for text in ("exists", "(", ")", "and"):
            self.expect(text)
        last = path[-1]
        if self.path() != (path,) or not isinstance(last, Member):
            raise NotPaths
        self.expect("!=")
        self.expect("false")
        return (*path[:-1], Present(last.name))


class Get(NamedTuple):
    """A JSON property; `number` picks one item of an array."""

    key: str
    many: bool
    number: int | None = None
    primitive: bool = False

    @property
    def repeats(self) -> bool:
        return self.many and self.number is None


class Truth(NamedTuple):
    """Whether one of these properties holds anything but false."""

    keys: tuple[str, ...]


Access = Get | Filter | Truth | Evaluated | OfType


class Route(NamedTuple):
    """How to come from an object to values of one FHIR type. `element` is where the last property is defined."""

    steps: tuple[Access, ...]
    type: str
    element: Element | None = None
    from_resource: bool = False

    @property
    def repeats(self) -> bool:
        """Whether more than one value may lie there."""
        return any(isinstance(step, Evaluated) or (isinstance(step, Get) and step.repeats) for step in self.steps)


def routes(definitions: Definitions, parsed: Parsed, type_: str, start: str | None = None) -> list[Route]:
    """The concrete routes of an expression that applies to a type; none where it speaks of other types only.

    `start` is the type that relative paths, those of a composite's components, begin at.
    Raises a 400 Outcome with the position where it is no FHIRPath or leads nowhere.
    """
    if parsed.paths is not None:
        with suppress(NotPaths):
            return [route for path in parsed.paths for route in _routes(definitions, path, type_, start)]
    return [route for part in parts(definitions, parsed.text, type_, start) for route in _evaluated(part)]


def _evaluated(part: Part) -> Iterator[Route]:
    """One for each type that may be found."""
    for type_, element in part.ends:
        yield Route((part.step, OfType(type_)), type_, element, part.absolute)


def _routes(definitions: Definitions, path: Path, type_: str, start: str | None) -> list[Route]:
    head, rest = path[0], path[1:]
    if not isinstance(head, Member):
        found = [Route((), start or type_)]
        rest = path
    elif head.name == "%resource" or definitions.is_a(type_, head.name):
        found = [Route((), type_, None, from_resource=start is not None)]
    elif head.name in definitions.types and head.name[0].isupper():
        return []
    else:
        found = member(definitions, Route((), start or type_), head.name)
    for step in rest:
        if not found:
            break
        found = [further for route in found for further in _further(definitions, route, step)]
    if not found:
        raise NotPaths
    return found


def _further(definitions: Definitions, route: Route, step: Step) -> list[Route]:
    match step:
        case Member(name):
            return member(definitions, route, name)
        case As(name):
            wanted = name if name in definitions.types else name[0].lower() + name[1:]  # `DateTime` is published too
            return [route] if definitions.is_a(route.type, wanted) else []
        case Index(number):
            last = route.steps[-1] if route.steps else None
            if not isinstance(last, Get) or any(isinstance(step, Get) and step.repeats for step in route.steps[:-1]):
                return []  # one of all that are found, not one of each
            return [route._replace(steps=(*route.steps[:-1], last._replace(number=number)))] if last.many else [route]
        case Present(name):
            ends = (found.steps[-1] for found in member(definitions, route, name))
            keys = tuple(end.key for end in ends if isinstance(end, Get) and not end.many)
            return [route._replace(steps=(*route.steps, Truth(keys)), type="boolean", element=None)] if keys else []
        case RefersTo():
            return [route._replace(steps=(*route.steps, step))] if route.type == "Reference" else []
        case Equals(name):
            known = member(definitions, route, name)
            plain = len(known) == 1 and known[0].type not in _TIMES and known[0].element and not known[0].element.many
            return [route._replace(steps=(*route.steps, step))] if plain else []
        case HasExtension():
            primitive = definitions.primitive(route.type)  # its extensions stand beside it
            return [] if primitive else [route._replace(steps=(*route.steps, step))]


def member(definitions: Definitions, route: Route, name: str) -> list[Route]:
    """The route one element further: one for each type that the element may have.

    `valueDateTime` is no FHIRPath, but what US Core publishes for the value of that type.
    """
    definition = definitions.types.get(route.type)
    element, types = definition.by_name.get(name) if definition else None, None
    if definition is not None and element is None and name in definition.by_key:
        element, *types = definition.by_key[name]
    if element is None:
        return []
    return [
        Route((*route.steps, get), type_, element, route.from_resource)
        for type_ in types or element.types
        for get in (Get(element.key(type_), element.many, None, definitions.primitive(type_)),)
    ]


def reference_targets(definitions: Definitions, parsed: Parsed, type_: str) -> frozenset[str]:
    """The types that the references found by an expression may lead to."""
    targets: set[str] = set()
    for route in routes(definitions, parsed, type_):
        filters = [step.type for step in route.steps if isinstance(step, RefersTo)]
        allowed = filters or (route.element.targets.get(route.type, ()) if route.element else ())
        targets.update(allowed or ("Resource",))
    return definitions.resource_types if "Resource" in targets else frozenset(targets)
