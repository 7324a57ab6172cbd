"""Search expressions that are more than paths: `name.first().given`, `iif(…)`, a `where` of any condition.

They are evaluated by FHIRPath as it is, in bounded time; what they may find is known beforehand. An expression that
ends in an error on some resource finds nothing there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Definitions, r4
from fhirserver.fhir.fhirpath import FhirPathError, Hooks, Node, finder
from fhirserver.fhir.fhirpath.check import End, check
from fhirserver.fhir.fhirpath.parse import Binary, Call, Expr, External, Index, Member, TypeOperation, children
from fhirserver.fhir.fhirpath.parse import parse as parse_fhirpath
from fhirserver.fhir.outcome import invalid

Json = dict[str, Any]

MAX_STEPS = 100_000  # of one expression on one resource
CHANGING = frozenset({"now", "today", "timeOfDay"})
ELSEWHERE = frozenset({"memberOf", "conformsTo"})
CONSTANTS = ("vs-", "ext-")
VARIABLES = frozenset({"resource", "rootResource", "context", "ucum", "sct", "loinc"})
CASTS = frozenset({"is", "as", "ofType"})
COUNTS = frozenset({"exists", "empty", "count"})

log = logging.getLogger(__name__)


class Evaluated(NamedTuple):
    """A step to what an expression finds from an element of a type."""

    tree: Expr
    type: str


class OfType(NamedTuple):
    """Of what was found: values of exactly this type."""

    type: str


class Part(NamedTuple):
    """One side of a union: the step, whether it starts from the resource, and what it may find (None: anything)."""

    step: Evaluated
    absolute: bool
    ends: tuple[End, ...]


@lru_cache(maxsize=1024)
def parts(definitions: Definitions, text: str, type_: str, start: str | None) -> tuple[Part, ...]:
    """What an expression finds in a type, or from an element of it (`start`); none where it is about other types.

    Raises a 400 Outcome with the position where it is no FHIRPath, or not about the resource alone.
    """
    try:
        return tuple(_parts(definitions, parse_fhirpath(text), type_, start))
    except FhirPathError as error:
        place = "" if error.position is None else f" at position {error.position + 1}"
        raise invalid(f"{error.message}{place} of the search expression {text[:500]!r}") from error


def _parts(definitions: Definitions, tree: Expr, type_: str, start: str | None) -> Iterator[Part]:
    if isinstance(tree, Binary) and tree.operator == "|":
        yield from _parts(definitions, tree.left, type_, start)
        yield from _parts(definitions, tree.right, type_, start)
        return
    head = _head(tree)
    named = isinstance(head, Member) and head.name in definitions.types and head.name[:1].isupper()
    absolute = isinstance(head, Member) and definitions.is_a(type_, head.name)
    if named and not absolute:
        return
    _check_pure(Call(tree, "$find", (), 0))
    on = type_ if absolute or start is None else start
    ends = check(tree, on, definitions, resource=type_)
    step = Evaluated(tree, on)
    evaluator(step)  # what cannot be compiled is refused here
    yield Part(step, absolute and start is not None, _concrete(definitions, ends))


def _head(tree: Expr) -> Expr:
    """Where an expression begins: `Patient` in `Patient.name.first()`."""
    match tree:
        case Member(target=inner) | Call(target=inner) if inner is not None:
            return _head(inner)
        case Index(target=inner) | Binary(left=inner) | TypeOperation(operand=inner):
            return _head(inner)
    return tree


def _concrete(definitions: Definitions, ends: tuple[End, ...] | None) -> tuple[End, ...]:
    """Where only the data can say it, any data type."""
    if ends is not None and all(end.type not in ("Element", "Resource", "DomainResource") for end in ends):
        return tuple({end.type: end for end in ends}.values())
    types = definitions.types.items()
    return tuple(End(name) for name, each in types if each.kind in ("primitive-type", "complex-type"))


def _check_pure(tree: Expr) -> None:
    """What a resource says must not change without it: no clock, no other resource, no variable from outside."""
    if isinstance(tree, Call):
        if tree.name in CHANGING:
            message = f"{tree.name}() changes with time, and a resource is indexed when it is written"
            raise FhirPathError(message, tree.position)
        if tree.name in ELSEWHERE:
            raise FhirPathError(f"{tree.name}() asks what lies outside of the resource", tree.position)
    if isinstance(tree, External) and tree.name not in VARIABLES and not tree.name.startswith(CONSTANTS):
        raise FhirPathError(f"%{tree.name} is not defined in search expressions", tree.position)
    for child in children(tree):
        if _resolved(child) and not _asks_type(tree, child):
            message = "resolve() leads to another resource, of which only the type may be asked: `resolve() is Patient`"
            raise FhirPathError(message, child.position)
        _check_pure(child)


def _asks_type(tree: Expr, child: Expr) -> bool:
    cast = isinstance(child, Call) and child.name in CASTS
    return isinstance(tree, TypeOperation) or (isinstance(tree, Call) and tree.name in (COUNTS if cast else CASTS))


def _resolved(tree: Expr) -> bool:
    """Whether it stands for other resources."""
    if isinstance(tree, Call) and tree.name in ("as", "ofType"):
        return tree.target is not None and _resolved(tree.target)
    return isinstance(tree, Call) and tree.name == "resolve"


def type_of(target: str) -> str | None:
    """`Patient/1`, `http://other.org/fhir/Patient/1/_history/2`: the type that a reference says it leads to."""
    steps = target.partition("/_history/")[0].rsplit("/", 2)
    return steps[-2] if len(steps) > 1 else None


def _stub(target: str) -> Json | None:
    """What a reference leads to, as far as the reference itself says it."""
    type_ = type_of(target)
    return None if type_ is None else {"resourceType": type_}


_HOOKS = Hooks(resolve=_stub)
# What functions make has a System type; it is indexed as the FHIR type of that name.
_SYSTEM = {f"System.{name}": name[:1].lower() + name[1:] for name in ("Boolean", "String", "Integer", "Decimal")}
_SYSTEM |= {"System.Date": "date", "System.DateTime": "dateTime", "System.Time": "time", "System.Quantity": "Quantity"}


@lru_cache(maxsize=1024)
def evaluator(step: Evaluated) -> Callable[[Json, Json], list[Node]]:
    """What the step finds from an element of a resource."""
    find = finder(step.tree, r4(), hooks=_HOOKS, steps=MAX_STEPS)
    said: list[str] = []

    def run(element: Json, resource: Json) -> list[Node]:
        try:
            found = find(element, step.type, resource)
        except FhirPathError as error:
            if not said:  # once, for there may be a million of them
                said.append(f"{resource.get('resourceType')}/{resource.get('id')}")
                log.warning("a search expression finds nothing in %s: %s", said[0], error)
            return []
        for node in found:
            node.type = _SYSTEM.get(node.type, node.type)
        return found

    return run
