"""The strict check: does every path of an expression exist in the definitions?

Search parameters and patches from outside are checked, so that a slip of the pen is an answer and not an empty result.
http://hl7.org/fhirpath/N1/#type-safety-and-strict-evaluation
"""

from __future__ import annotations

from typing import NamedTuple

from fhirserver.fhir.definitions import Definitions
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.parse import (
    Binary,
    Call,
    Expr,
    Index,
    Member,
    TypeOperation,
    Variable,
    children,
    type_argument,
)

_ORDERED_ONLY = {"first", "last", "tail", "skip", "take"}
_KEEPING = {"where", "trace", "distinct", "sort", "exclude", "intersect", "repeat", *_ORDERED_ONLY, "single"}
_ONE = {"first", "last", "single"}
_OPEN = {"Resource", "DomainResource", "Element", "BackboneElement"}  # what lies in them only the data can say


class Shape(NamedTuple):
    """What a collection may hold: FHIR types (None: unknown), more than one item or not, in an order or not."""

    types: frozenset[str] | None = None
    many: bool = False
    ordered: bool = True


_UNKNOWN = Shape()


def check(tree: Expr, on: str, definitions: Definitions) -> None:
    """Raises FhirPathError at the first name that cannot be; `on` is the type of the focus."""
    _Check(definitions).shape(tree, Shape(frozenset((on,))))


class _Check:
    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions

    def shape(self, node: Expr, focus: Shape) -> Shape:
        match node:
            case Variable("$this"):
                return focus
            case Member():
                return self.member(node, focus)
            case Call():
                return self.call(node, focus)
            case TypeOperation("as", operand, name):
                return self.cast(self.shape(operand, focus), name)
            case Index(target, index):
                shape = self.shape(target, focus)
                self.shape(index, focus)
                self.order(shape, "[ ]", node.position)
                return shape._replace(many=False)
            case Binary("|", left, right):
                ours, theirs = self.shape(left, focus), self.shape(right, focus)
                known = ours.types is not None and theirs.types is not None
                types = (ours.types or frozenset()) | (theirs.types or frozenset()) if known else None
                return Shape(types, many=True)
            case _:
                for child in children(node):
                    self.shape(child, focus)
                return _UNKNOWN

    def member(self, node: Member, focus: Shape) -> Shape:
        name = node.name
        if node.target is None and name in self.definitions.types and name[:1].isupper():
            if focus.types is not None and not any(self.related(type_, name) for type_ in focus.types):
                raise FhirPathError(f"{' or '.join(sorted(focus.types))} is no {name}", node.position)
            return focus
        target = focus if node.target is None else self.shape(node.target, focus)
        if target.types is None or target.types & _OPEN:
            return Shape(None, target.many, target.ordered)
        elements = [
            element
            for type_ in target.types
            if (definition := self.definitions.types.get(type_)) and (element := definition.by_name.get(name))
        ]
        if not elements and all(self.definitions.primitive(type_) for type_ in target.types):
            base = self.definitions.types["Element"].by_name.get(name)
            elements = [base] if base else []
        if not elements:
            raise FhirPathError(f"{' or '.join(sorted(target.types))} has no element {name}", node.position)
        types = frozenset(type_ for element in elements for type_ in element.types)
        return Shape(types, target.many or any(element.many for element in elements), target.ordered)

    def call(self, node: Call, focus: Shape) -> Shape:
        target = focus if node.target is None else self.shape(node.target, focus)
        name = node.name
        if name in ("is", "as", "ofType"):
            if name == "is":
                return _UNKNOWN
            return self.cast(target, type_argument(node.arguments[0]))
        for argument in node.arguments:
            self.shape(argument, target._replace(many=False) if name in _KEEPING or name in _LAMBDAS else focus)
        if name in ("children", "descendants"):
            return Shape(None, many=True, ordered=False)
        if name in _ORDERED_ONLY:
            self.order(target, f"{name}()", node.position)
        if name == "repeat":
            return Shape(None, many=True)
        if name in _KEEPING:
            return target._replace(many=target.many and name not in _ONE)
        return _UNKNOWN

    def cast(self, shape: Shape, name: str) -> Shape:
        plain = name.rpartition(".")[2]
        return shape._replace(types=frozenset((plain,)) if plain in self.definitions.types else None)

    def order(self, shape: Shape, name: str, position: int) -> None:
        if not shape.ordered:
            raise FhirPathError(f"{name} needs an order, and children have none", position)

    def related(self, type_: str, other: str) -> bool:
        return self.definitions.is_a(type_, other) or self.definitions.is_a(other, type_)


_LAMBDAS = {"select", "all", "exists", "aggregate"}
