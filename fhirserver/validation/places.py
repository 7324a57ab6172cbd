"""The objects in a resource, and of each its type, its names and its expression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Definitions
from fhirserver.validation.reading import Json
from fhirserver.validation.references import Container

Step = tuple[str, int | None]  # a JSON property, and the place in it where it is an array
Steps = tuple[Step, ...]


class Place(NamedTuple):
    """An element of a resource, or of a resource in it.

    `paths` are its names from each type around it: the given name in a contact of a Patient is
    `Patient.contact.name.given`, `HumanName.given` and `string`.
    """

    value: Any
    sibling: Json | None
    type: str
    paths: tuple[str, ...]
    expression: str
    keys: tuple[str | int, ...]  # within its resource
    container: Container

    @property
    def node(self) -> Json:
        """What holds the parts of it; those of a primitive stand in `_name`."""
        return self.value if type(self.value) is dict else self.sibling or {}


def objects(resource: Json) -> Iterator[tuple[Steps, Json]]:
    """Every object of a resource with the way to it, in the order of the resource."""
    ahead: list[tuple[Steps, Json]] = [((), resource)]
    while ahead:
        steps, node = ahead.pop()
        yield steps, node
        inner: list[tuple[Steps, Json]] = []
        for key, value in node.items():
            if type(value) is dict:
                inner.append(((*steps, (key, None)), value))
            elif type(value) is list:
                inner += [((*steps, (key, i)), each) for i, each in enumerate(value) if type(each) is dict]
        if inner:
            ahead += reversed(inner)


def at(resource: Json, steps: Iterable[Step], container: Container, definitions: Definitions) -> Place:
    """The element that steps lead to."""
    place = _outermost(resource, container)
    for step in steps:
        place = _inner(place, step, definitions)
    return place


def _outermost(resource: Json, container: Container) -> Place:
    type_ = resource["resourceType"]
    return Place(resource, None, type_, (type_,), "", (), container)


def _inner(place: Place, step: Step, definitions: Definitions) -> Place:
    """The element one step further; a resource within a resource begins anew."""
    key, index = step
    bare = key.removeprefix("_")
    of = "Element" if definitions.primitive(place.type) else place.type
    element, type_ = definitions.types[of].by_key[bare]
    value, sibling = _item(place.node.get(bare), index), _item(place.node.get(f"_{bare}"), index)
    expression = f"{place.expression}.{element.name}" + ("" if index is None else f"[{index}]")
    if type_ in ("Resource", "DomainResource"):
        return _outermost(value, place.container.entered(value))._replace(expression=expression)
    paths = (*(f"{path}.{element.name}" for path in place.paths), type_)
    keys = (*place.keys, bare) if index is None else (*place.keys, bare, index)
    return Place(value, sibling, type_, paths, expression, keys, place.container)


def _item(value: Any, index: int | None) -> Any:
    if index is None or type(value) is not list:
        return value
    return value[index] if index < len(value) else None
