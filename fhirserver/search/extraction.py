"""Routes through a resource written out as one Python function, so that reading a value costs what `dict.get` costs.

Routes that begin alike share the walk. Nothing of a resource or a request gets into the source: property names come
from the definitions, literals of expressions as `repr`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import invalid
from fhirserver.search.evaluation import Evaluated, OfType, evaluator, type_of
from fhirserver.search.expressions import Access, Equals, Get, HasExtension, RefersTo, Route, Truth

Json = dict[str, Any]
Lines = Iterator[str]

_LONGEST_CACHED = 128


Write = Callable[[str], Iterable[str]]


class Leaf(NamedTuple):
    """What to write where a route ends.

    `write` gets the name of a variable: the value, or what `function` (see `Source.name`) makes of it; leaves with
    the same function share its result and must not change it. `last`: after everything below has been read.
    """

    route: Route
    write: Write
    function: str | None = None
    last: bool = False


class Source:
    """The function being written: fresh variable names, and the Python objects that it refers to."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"refers_to": refers_to, "has_extension": has_extension}
        self._numbers = count()
        self._known: dict[int, str] = {}

    def fresh(self) -> str:
        return f"v{next(self._numbers)}"

    def name(self, value: Callable[..., Any]) -> str:
        """The name under which generated code finds a function."""
        if id(value) not in self._known:
            self._known[id(value)] = f"f{len(self._known)}"
            self.names[self._known[id(value)]] = value
        return self._known[id(value)]

    def walk(self, leaves: Iterable[Leaf]) -> Lines:
        """The statements that reach every leaf from `resource`."""
        absolute_first = sorted(leaves, key=lambda leaf: not leaf.route.from_resource)
        yield from self._block([(leaf.route.steps, leaf) for leaf in absolute_first], "resource")

    def _block(self, leaves: Iterable[tuple[tuple[Access, ...], Leaf]], variable: str) -> Lines:
        here: dict[str | None, list[Leaf]] = {}
        last: list[Leaf] = []
        branches: dict[Access, list[tuple[tuple[Access, ...], Leaf]]] = {}
        for steps, leaf in leaves:
            if steps:
                branches.setdefault(steps[0], []).append((steps[1:], leaf))
            elif leaf.last:
                last.append(leaf)
            else:
                here.setdefault(leaf.function, []).append(leaf)
        for function, each in here.items():
            value = variable
            if function is not None:
                value = self.fresh()
                yield f"{value} = {function}({variable})"
            for leaf in each:
                yield from leaf.write(value)
        for step, inner in branches.items():
            opening, reached = self._open(step, variable)
            yield from opening
            depth = "    " * (opening[-1].count("    ") + 1)
            for line in self._block(inner, reached):
                yield depth + line
        for leaf in last:
            yield from leaf.write(variable)

    def _open(self, step: Access, variable: str) -> tuple[list[str], str]:
        match step:
            case Equals(name, literal):
                return [f"if {variable}.get({name!r}) == {literal!r}:"], variable
            case RefersTo(type_):
                return [f"if refers_to({variable}) == {type_!r}:"], variable
            case HasExtension(url):
                return [f"if has_extension({variable}, {url!r}):"], variable
        value = self.fresh()
        match step:
            case Evaluated():
                return [f"for {value} in {self.name(evaluator(step))}({variable}, resource):"], value
            case OfType(type_):
                found = f"{variable}.value if {variable}.type == {type_!r} else None"
                return [f"{value} = {found}", f"if {value} is not None:"], value
            case Truth(keys):
                # a loop of one turn: the value is there even when it is false
                held = " or ".join(f"{variable}.get({key!r}, False) is not False" for key in keys)
                return [f"for {value} in ({held},):"], value
            case Get(key, False):
                return [f"{value} = {variable}.get({key!r})", f"if {value} is not None:"], value
            case Get(key, True, None):
                opening = [f"for {value} in {variable}.get({key!r}) or ():"]
            case Get(key, True, number):
                opening = [f"for {value} in ({variable}.get({key!r}) or ())[{number}:][:1]:"]
        # JSON writes null where an item of a primitive array has extensions only
        return [*opening, f"    if {value} is not None:"] if step.primitive else opening, value

    def function(self, name: str, lines: Iterable[str]) -> Callable[[Json], Any]:
        """The function of one argument, `resource`, with these statements."""
        source = "\n".join((f"def {name}(resource):", *(f"    {line}" for line in lines)))
        try:
            exec(compile(source, f"<{name}>", "exec"), self.names)  # noqa: S102 - no user text in the source, see above
        except SyntaxError as error:  # Python nests no more than 20 blocks
            raise invalid(f"the search expressions of {name} are nested too deeply: {error.msg}") from error
        function: Callable[[Json], Any] = self.names[name]
        return function


def refers_to(reference: Json) -> str | None:
    """The type that a reference leads to, told without following it."""
    target = reference.get("reference")
    if not target:
        return reference.get("type")
    short = len(target) <= _LONGEST_CACHED
    return (_cached_type_of(target) if short else type_of(target)) or reference.get("type")


_cached_type_of = lru_cache(maxsize=65_536)(type_of)


def has_extension(value: Json, url: str) -> bool:
    return any(extension.get("url") == url for extension in value.get("extension") or ())
