"""FHIRPath Patch: https://hl7.org/fhir/R4/fhirpatch.html"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Definitions, Element
from fhirserver.fhir.fhirpath import Expression, FhirPathError, Node, compile_expression
from fhirserver.fhir.fhirpath.elements import Place, sibling_place
from fhirserver.fhir.fhirpath.parse import Member
from fhirserver.fhir.fhirpath.scope import MAX_STEPS
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.patch.parameters import Parts, insert, pair, put, store
from fhirserver.fhir.patch.rules import MAX_OPERATIONS, blank, identity


def fhirpath_patch(resource: dict[str, Any], parameters: Any, definitions: Definitions) -> dict[str, Any]:
    """The resource after all operations of a Parameters resource, one after the other."""
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise Outcome(400, "invalid", "a FHIRPath Patch is a Parameters resource")
    operations = parameters.get("parameter", [])
    if not isinstance(operations, list):
        raise Outcome(400, "invalid", "Parameters.parameter is an array", "Parameters.parameter")
    if len(operations) > MAX_OPERATIONS:
        raise Outcome(400, "too-costly", f"a patch may have at most {MAX_OPERATIONS} operations")
    result: dict[str, Any] = copy.deepcopy(resource)
    steps = MAX_STEPS // max(1, len(operations) // 10)  # one budget for all paths: they come from outside
    for i, parameter in enumerate(operations):
        parts = Parts(i, parameter, definitions)
        operation = _OPERATIONS.get(parts.type)
        if operation is None:
            raise parts.malformed(f"{parts.type!r} is no operation; add, insert, delete, replace and move are")
        operation(_Target(result, parts, definitions, steps))
        if identity(result) != identity(resource):
            raise parts.refused("the type and the id of a resource stay as they are")
    return result


class _Held(NamedTuple):
    """An element in its place: the object that holds it, its property there, its position if it repeats."""

    holder: dict[str, Any]
    key: str
    position: int | None
    element: Element


class _Target:
    """The resource that an operation works on, and where in it the path leads."""

    def __init__(self, resource: dict[str, Any], parts: Parts, definitions: Definitions, steps: int) -> None:
        self.resource = resource
        self.parts = parts
        self.definitions = definitions
        self.steps = steps

    def expression(self, path: str) -> Expression:
        try:
            return compile_expression(path, self.definitions, on=self.resource["resourceType"])
        except FhirPathError as error:
            raise self.parts.malformed(str(error)) from error

    def nodes(self, path: str) -> list[Node]:
        expression = self.expression(path)
        try:
            return expression.nodes(self.resource, steps=self.steps)
        except FhirPathError as error:
            raise self.parts.refused(str(error)) from error

    def single(self, path: str) -> Node:
        nodes = self.nodes(path)
        if len(nodes) != 1:
            raise self.parts.refused(f"the path matches {len(nodes)} elements where one is needed")
        if not nodes[0].place and nodes[0].value is not self.resource:
            raise self.parts.refused("the path gives a value, not an element of the resource")
        return nodes[0]

    def held(self, node: Node) -> _Held:
        element = self.element(node.place)
        *above, last = node.place
        index = last if isinstance(last, int) else None
        key = last if index is None else above.pop()
        return _Held(self.object(tuple(above)), str(key), index, element)

    def element(self, place: Place) -> Element:
        """The definition of what lies at a place."""
        type_: str = self.resource["resourceType"]
        value: Any = self.resource
        element: Element | None = None
        for key in place:
            if isinstance(key, int):
                value = value[key] if isinstance(value, list) and key < len(value) else None
                continue
            type_ = value["resourceType"] if type_ == "Resource" else type_
            value = value.get(key)  # None where a primitive has extensions only
            if key.startswith("_"):
                type_ = "Element"  # an id or an extension of a primitive
                continue
            element, type_ = self.definitions.types[type_].by_key[key]
        if element is None:
            raise self.parts.refused("the whole resource cannot be patched; use an update")
        return element

    def object(self, place: Place) -> dict[str, Any]:
        """The object at a place; the sibling of a primitive is made where it is absent."""
        target: Any = self.resource
        for i, key in enumerate(place):
            if isinstance(target, list):
                target += [None] * (int(key) + 1 - len(target))
                target[int(key)] = {} if target[int(key)] is None else target[int(key)]
                target = target[int(key)]
            else:
                target = target.setdefault(str(key), [] if isinstance((*place, "")[i + 1], int) else {})
        found: dict[str, Any] = target
        return found

    def below(self, node: Node) -> dict[str, Any]:
        """The object that holds the children of an element."""
        return self.object(sibling_place(node.place) if self.definitions.primitive(node.type) else node.place)

    def array(self) -> _Held:
        """The list that the path names as a whole: insert and move work on it."""
        path = self.parts.path
        tree = self.expression(path).tree
        if not isinstance(tree, Member) or (tree.target is None and tree.name in self.definitions.types):
            raise self.parts.refused("the path names no list as a whole")
        node = self.single(path[: tree.position].rstrip().removesuffix(".") or "$this")
        element = self.parts.child(node.type, tree.name)
        if element is None or not element.many:
            raise self.parts.refused(f"{tree.name} is no list")
        return _Held(self.below(node), tree.name, None, element)

    def clear(self, place: Place) -> None:
        """The objects that a deletion left empty go too."""
        above: list[Any] = [self.resource]
        for key in place[:-2] if isinstance(place[-1], int) else place[:-1]:
            above.append(above[-1][key])
        for depth in range(len(above) - 1, 0, -1):
            holder, key = above[depth - 1], place[depth - 1]
            if not blank(above[depth]):
                return
            if isinstance(holder, list) and str(place[depth - 2]).startswith("_"):
                holder[int(key)] = None  # a place beside a primitive
            else:
                del holder[key]


def _add(target: _Target) -> None:
    parts = target.parts
    node, name = target.single(parts.path), parts.text("name")
    element = parts.child(node.type, name)
    if element is None:
        raise parts.refused(f"{node.type} has no element {name}")
    value = parts.value(element)
    if not put(target.below(node), element, value):
        raise parts.refused(f"{element.name} is there already; replace it")


def _insert(target: _Target) -> None:
    parts = target.parts
    held, index = target.array(), parts.number("index")
    count = len(pair(held.holder, held.key)[0])
    if index > count:
        raise parts.refused(f"the list has {count} items, so nothing can be inserted at {index}")
    insert(held.holder, held.element, index, parts.value(held.element))


def _delete(target: _Target) -> None:
    """Deleting what is not there is no error."""
    if not target.nodes(target.parts.path):
        return
    node = target.single(target.parts.path)
    holder, key, index, _ = target.held(node)
    if index is None:
        holder.pop(key, None)
        holder.pop(f"_{key}", None)
    else:
        items, siblings = pair(holder, key)
        del items[index], siblings[index]
        store(holder, key, items, siblings)
    target.clear(node.place)


def _replace(target: _Target) -> None:
    holder, key, index, element = target.held(target.single(target.parts.path))
    value = target.parts.value(element)
    if index is None:
        holder.pop(key, None)
        holder.pop(f"_{key}", None)
        put(holder, element, value)
    else:
        items, siblings = pair(holder, key)
        items[index], siblings[index] = value.json, value.sibling
        store(holder, key, items, siblings)


def _move(target: _Target) -> None:
    parts = target.parts
    holder, key, _, _ = target.array()
    source, destination = parts.number("source"), parts.number("destination")
    items, siblings = pair(holder, key)
    if max(source, destination) >= len(items):
        raise parts.refused(f"the list has {len(items)} items, so {source} cannot move to {destination}")
    items.insert(destination, items.pop(source))
    siblings.insert(destination, siblings.pop(source))
    store(holder, key, items, siblings)


_OPERATIONS: dict[str, Callable[[_Target], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}
