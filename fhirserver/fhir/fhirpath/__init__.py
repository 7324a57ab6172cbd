"""FHIRPath: expressions over resources, compiled once and run many times.

    names = compile_expression("name.where(use = 'official').given")
    names({"resourceType": "Patient", "name": [{"use": "official", "given": ["Eve"]}]})  # ["Eve"]

http://hl7.org/fhirpath/N1/, https://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

from fhirserver.fhir.definitions import Definitions, r4
from fhirserver.fhir.fhirpath.check import check
from fhirserver.fhir.fhirpath.compile import Compiler
from fhirserver.fhir.fhirpath.elements import Elements, LocatedElements, Node, path_text
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.operators import Run, Truth
from fhirserver.fhir.fhirpath.parse import Expr, parse
from fhirserver.fhir.fhirpath.quantities import Quantity
from fhirserver.fhir.fhirpath.scope import MAX_STEPS, NO_HOOKS, Hooks, Scope
from fhirserver.fhir.fhirpath.temporal import Temporal
from fhirserver.fhir.fhirpath.types import type_of
from fhirserver.fhir.units import CALENDAR, UCUM

__all__ = ["Expression", "FhirPathError", "Finder", "Hooks", "Node", "compile_expression", "finder", "path_text"]


class Expression:
    """One expression, ready to run. Raises FhirPathError where the data does not allow an answer."""

    def __init__(self, text: str, definitions: Definitions) -> None:
        self.text = text
        self.definitions = definitions
        self.tree: Expr = parse(text)
        self._elements = _elements(definitions)
        compiler = Compiler(self._elements)
        self._run: Run = compiler.collection(self.tree)
        self._truth: Truth = compiler.truth(self.tree)

    @cached_property
    def _located(self) -> Run:
        return Compiler(LocatedElements(self.definitions)).collection(self.tree)

    def __call__(self, resource: dict[str, Any], /, *, hooks: Hooks = NO_HOOKS, **environment: Any) -> list[Any]:
        """The values as JSON. `environment` are further %variables: JSON values or lists of them."""
        scope = _scope(self._elements, resource, hooks, environment)
        return [_json(item) for item in self._run([scope.context], scope)]

    def boolean(self, resource: dict[str, Any], /, *, hooks: Hooks = NO_HOOKS, **environment: Any) -> bool:
        """Whether the answer is true; an empty answer is false (unlike in `holds`)."""
        scope = _scope(self._elements, resource, hooks, environment)
        return self._truth([scope.context], scope) is True

    def nodes(
        self, resource: dict[str, Any], /, *, hooks: Hooks = NO_HOOKS, steps: int = MAX_STEPS, **environment: Any
    ) -> list[Node]:
        """The elements of the resource that the expression finds, each with its type and place.

        Values that are no elements (a sum, a literal) have a System type and no place.
        """
        scope = _scope(LocatedElements(self.definitions), resource, hooks, environment)
        scope.steps = steps
        return [_node(item) for item in self._located([scope.context], scope)]

    def holds(self, element: Node, resource: Node, root: Node, hooks: Hooks = NO_HOOKS) -> bool:
        """An invariant on an element of `resource` (contained ones: in `root`): broken only where it is false.

        An empty answer passes: https://hl7.org/fhir/R4/conformance-rules.html#constraints speaks of "true", and
        published invariants rely on absent elements not breaking them.
        """
        return self._truth([element], Scope(self._elements, element, resource, root, hooks)) is not False

    def holds_within(
        self, steps: int, element: Node, resource: Node, root: Node, hooks: Hooks = NO_HOOKS
    ) -> tuple[bool, int]:
        """The same for an invariant from outside, which must end: and how many of the steps it took."""
        scope = Scope(self._elements, element, resource, root, hooks, None, steps)
        return self._truth([element], scope) is not False, steps - scope.steps


@lru_cache(8192)
def compile_expression(text: str, definitions: Definitions | None = None, *, on: str | None = None) -> Expression:
    """`on` names the type that the expression is meant for, and asks for the strict check of its paths.

    Raises FhirPathError with the position where the text is no FHIRPath.
    """
    definitions = definitions or r4()
    expression = Expression(text, definitions)
    if on is not None:
        check(expression.tree, on, definitions)
    return expression


Finder = Callable[[dict[str, Any], str, dict[str, Any]], list[Node]]


def finder(tree: Expr, definitions: Definitions, *, hooks: Hooks, steps: int) -> Finder:
    """A function of an element, its type and its resource, which answers what is found from there, with types.

    It ends after so many steps: FhirPathError.
    """
    elements = _elements(definitions)
    run = Compiler(elements, metered=True).collection(tree)

    def find(element: dict[str, Any], type_: str, resource: dict[str, Any]) -> list[Node]:
        root = elements.root(resource)
        focus = root if element is resource else Node(element, type_)
        return [_node(item) for item in run([focus], Scope(elements, focus, root, root, hooks, None, steps))]

    return find


@lru_cache(16)
def _elements(definitions: Definitions) -> Elements:
    """The tables of routes are shared by all expressions."""
    return Elements(definitions)


def _scope(elements: Elements, resource: dict[str, Any], hooks: Hooks, environment: dict[str, Any]) -> Scope:
    """The resource is context, %resource and %rootResource at once."""
    root = elements.root(resource)
    return Scope(elements, root, root, root, hooks, environment, MAX_STEPS)


def _json(item: Any) -> Any:
    if type(item) is Node:
        return item.value
    if type(item) is Temporal:
        return item.text
    if type(item) is Quantity:
        coded = {} if item.unit in CALENDAR else {"system": UCUM, "code": item.unit}
        return {"value": item.value, "unit": item.unit, **coded}
    return item


def _node(item: Any) -> Node:
    return item if type(item) is Node else Node(_json(item), ".".join(type_of(item)))
