"""The strict check: does every path of an expression exist in the definitions?

Search parameters and patches from outside are checked, so that a slip of the pen is an answer and not an empty result.
http://hl7.org/fhirpath/N1/#type-safety-and-strict-evaluation
"""

from __future__ import annotations

from typing import NamedTuple

from fhirserver.fhir.definitions import Definitions, Element
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.functions import FUNCTIONS
from fhirserver.fhir.fhirpath.operators import TRUTHS
from fhirserver.fhir.fhirpath.parse import (
    Binary,
    Call,
    Expr,
    External,
    Index,
    Literal,
    Member,
    TypeOperation,
    Variable,
    children,
    type_argument,
)
from fhirserver.fhir.fhirpath.projections import TRUTH_FUNCTIONS

_ORDERED_ONLY = {"first", "last", "tail", "skip", "take"}
_KEEPING = {"where", "trace", "distinct", "sort", "exclude", "intersect", "repeat", *_ORDERED_ONLY, "single"}
_ONE = {"first", "last", "single"}
_OPEN = {"Resource", "DomainResource", "Element", "BackboneElement"}  # what lies in them only the data can say
_REFERRING = {"Reference", "canonical", "uri", "url", "string", *_OPEN}


class End(NamedTuple):
    """A FHIR type, and the element that has it; none for what functions make."""

    type: str
    element: Element | None = None


class Shape(NamedTuple):
    """What a collection may hold (None: unknown), more than one item or not, in an order or not."""

    ends: tuple[End, ...] | None = None
    many: bool = False
    ordered: bool = True

    @property
    def types(self) -> frozenset[str] | None:
        return None if self.ends is None else frozenset(end.type for end in self.ends)


_UNKNOWN = Shape()


def check(tree: Expr, on: str, definitions: Definitions, *, resource: str | None = None) -> tuple[End, ...] | None:
    """What an expression may find, None where only the data can say; `on` is the type of the focus.

    Raises FhirPathError at the first name that cannot be.
    """
    return _Check(definitions, resource or on).shape(tree, Shape((End(on),))).ends


class _Check:
    def __init__(self, definitions: Definitions, resource: str) -> None:
        self.definitions = definitions
        self.resource = resource

    def shape(self, node: Expr, focus: Shape) -> Shape:
        match node:
            case Variable("$this"):
                return focus
            case External(name):
                return Shape((End(self.resource),)) if name == "resource" else _UNKNOWN
            case Literal((bool(),)):
                return _one("boolean")
            case Literal((str(),)):
                return _one("string")
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
                return _either(ours, theirs)
            case _:
                for child in children(node):
                    self.shape(child, focus)
                if isinstance(node, TypeOperation) or (isinstance(node, Binary) and node.operator in TRUTHS):
                    return _one("boolean")
                return _one("string") if isinstance(node, Binary) and node.operator == "&" else _UNKNOWN

    def member(self, node: Member, focus: Shape) -> Shape:
        name = node.name
        if node.target is None and name in self.definitions.types and name[:1].isupper():
            if focus.types is not None and not any(self.related(type_, name) for type_ in focus.types):
                raise FhirPathError(f"{' or '.join(sorted(focus.types))} is no {name}", node.position)
            return focus
        target = focus if node.target is None else self.shape(node.target, focus)
        if target.types is None or target.types & _OPEN:
            return target._replace(ends=None)
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
        ends = tuple(End(type_, element) for element in elements for type_ in element.types)
        return Shape(ends, target.many or any(element.many for element in elements), target.ordered)

    def call(self, node: Call, focus: Shape) -> Shape:
        target = focus if node.target is None else self.shape(node.target, focus)
        name = node.name
        if name in ("is", "as", "ofType"):
            if name == "is":
                return _one("boolean")
            return self.cast(target, type_argument(node.arguments[0]))
        inner = target._replace(many=False) if name in _KEEPING or name in _LAMBDAS else focus
        arguments = [self.shape(argument, inner) for argument in node.arguments]
        if name in ("children", "descendants"):
            return Shape(None, many=True, ordered=False)
        if name in _ORDERED_ONLY:
            self.order(target, f"{name}()", node.position)
        if name == "repeat":
            return Shape(None, many=True)
        if name in _KEEPING:
            return target._replace(many=target.many and name not in _ONE)
        if name == "resolve" and target.types is not None and target.types.isdisjoint(_REFERRING):
            kinds = " or ".join(sorted(target.types))
            raise FhirPathError(f"resolve() is asked of references, not of {kinds}", node.position)
        return self.result(name, target, arguments)

    def result(self, name: str, target: Shape, arguments: list[Shape]) -> Shape:
        match name, arguments:
            case "select", [only]:
                return only._replace(many=only.many or target.many)
            case "iif", [_, one, *others]:
                return _either(one, *others)
            case "union" | "combine", [other]:
                return _either(target, other)
            case "extension", _:
                return Shape((End("Extension"),), many=True)
            case "getValue", _:
                return target
        type_ = RESULTS.get(name)
        return _UNKNOWN if type_ is None else _one(type_)._replace(many=name in ("split", "toChars"))

    def cast(self, shape: Shape, name: str) -> Shape:
        """Where the type is not expected there: that type all the same."""
        plain = name.rpartition(".")[2]
        if plain not in self.definitions.types:
            return shape._replace(ends=None)
        kept = [end for end in shape.ends or () if self.definitions.is_a(end.type, plain)]
        more = [end._replace(type=plain) for end in shape.ends or () if self.definitions.is_a(plain, end.type)]
        return shape._replace(ends=tuple(kept or more[:1] or [End(plain)]))

    def order(self, shape: Shape, name: str, position: int) -> None:
        if not shape.ordered:
            raise FhirPathError(f"{name} needs an order, and children have none", position)

    def related(self, type_: str, other: str) -> bool:
        return self.definitions.is_a(type_, other) or self.definitions.is_a(other, type_)


def _one(type_: str) -> Shape:
    return Shape((End(type_),))


def _either(*shapes: Shape) -> Shape:
    if any(shape.ends is None for shape in shapes):
        return Shape(None, many=True)
    return Shape(tuple(end for shape in shapes for end in shape.ends or ()), many=True)


_LAMBDAS = {"select", "all", "exists", "aggregate"}
# What functions answer, as the FHIR type of that System type.
RESULTS = {
    **dict.fromkeys(TRUTH_FUNCTIONS, "boolean"),
    **dict.fromkeys((name for name in FUNCTIONS if name.startswith("convertsTo")), "boolean"),
    **dict.fromkeys(("subsetOf", "supersetOf", "isDistinct", "allTrue", "anyTrue", "allFalse", "anyFalse"), "boolean"),
    **dict.fromkeys(("count", "indexOf", "lastIndexOf", "length", "toInteger", "precision"), "integer"),
    **dict.fromkeys(("upper", "lower", "trim", "substring", "replace", "replaceMatches", "join", "split"), "string"),
    **dict.fromkeys(("toChars", "toString", "encode", "decode", "escape", "unescape"), "string"),
    "toDecimal": "decimal",
    "toDate": "date",
    "toDateTime": "dateTime",
    "toTime": "time",
    "toQuantity": "Quantity",
    "toBoolean": "boolean",
}
