"""The values of an element of an object, whichever way JSON writes them. https://hl7.org/fhir/R4/json.html"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirserver.fhir.definitions import Definitions, Element
from fhirserver.validation.findings import Issues
from fhirserver.validation.references import Container

Json = dict[str, Any]
Found = tuple[Any, Json | None, str, int | None]  # a value, its `_name`, its type, its place in an array
Read = Callable[[Json], list[Found]]
Ask = Callable[[Any, Json | None, Container], Issues]  # a question to a value and what stands in its `_name`


def reader(element: Element, definitions: Definitions) -> Read:
    """The values of an element of an object."""
    if element.choice:
        return _choice(element, definitions)
    (type_,) = element.types
    key, many = element.name, element.many
    if type_ in ("Resource", "DomainResource"):
        return _resources(key, many)
    if definitions.primitive(type_):
        return _primitives(key, type_) if many else _primitive(key, type_)
    if not many:
        return lambda node: [(node[key], None, type_, None)] if key in node else []
    return lambda node: [(value, None, type_, i) for i, value in enumerate(node[key])] if key in node else []


def _primitive(key: str, type_: str) -> Read:
    beside = f"_{key}"

    def read(node: Json) -> list[Found]:
        if key in node or beside in node:
            return [(node.get(key), node.get(beside), type_, None)]
        return []

    return read


def _primitives(key: str, type_: str) -> Read:
    beside = f"_{key}"

    def read(node: Json) -> list[Found]:
        values, extras = node.get(key, ()), node.get(beside, ())
        if not extras:
            return [(value, None, type_, i) for i, value in enumerate(values)]
        both = range(max(len(values), len(extras)))
        return [
            (values[i] if i < len(values) else None, extras[i] if i < len(extras) else None, type_, i) for i in both
        ]

    return read


def _resources(key: str, many: bool) -> Read:
    def read(node: Json) -> list[Found]:
        if key not in node:
            return []
        if not many:
            return [(node[key], None, node[key]["resourceType"], None)]
        return [(each, None, each["resourceType"], i) for i, each in enumerate(node[key])]

    return read


def _choice(element: Element, definitions: Definitions) -> Read:
    keys: dict[str, str] = {}
    for type_ in element.types:
        keys[element.key(type_)] = type_
        if definitions.primitive(type_):
            keys["_" + element.key(type_)] = type_

    def read(node: Json) -> list[Found]:
        for key in node:
            if key in keys:
                bare = key.removeprefix("_")
                return [(node.get(bare), node.get(f"_{bare}"), keys[key], None)]
        return []

    return read
