"""Resources as FHIRPath sees them: elements with a type, and the way from an element to its children.

https://hl7.org/fhir/R4/fhirpath.html: choice elements go by their short name (`value`), a primitive's extensions
come from its `_name` sibling, a resource inside a resource has the type that it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from fhirserver.fhir.definitions import Definitions

Place = tuple[str | int, ...]


class Node(msgspec.Struct, gc=False, eq=False):
    """One element. `sibling` is what `_name` says of a primitive; `place` are the JSON keys that lead to it."""

    value: Any
    type: str
    sibling: dict[str, Any] | None = None
    place: Place = ()


class Route(NamedTuple):
    """Where a type keeps a child: the JSON property, its sibling if it is primitive, and its type."""

    key: str
    sibling: str | None
    type: str
    resource: bool


TYPE_INFO = "SimpleTypeInfo"  # what type() answers: http://hl7.org/fhirpath/N1/#reflection

Step = Callable[[list[Any]], list[Any]]


class Elements:
    """The children of elements, by the definitions."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._routes: dict[tuple[str, str], tuple[Route, ...]] = {}
        self._all: dict[str, tuple[Route, ...]] = {}

    def routes(self, type_: str, name: str) -> tuple[Route, ...]:
        found = self._routes.get((type_, name))
        if found is None:
            definition = self.definitions.types.get(type_)
            element = definition.by_name.get(name) if definition else None
            types = element.types if element else ()
            found = tuple(self._route(element.key(child), child) for child in types) if element else ()
            if type_ == TYPE_INFO and name in ("namespace", "name"):
                found = (self._route(name, "string"),)
            self._routes[type_, name] = found
        return found

    def all_routes(self, type_: str) -> tuple[Route, ...]:
        found = self._all.get(type_)
        if found is None:
            definition = self.definitions.types.get(type_)
            names = definition.by_name if definition else ()
            found = self._all[type_] = tuple(route for name in names for route in self.routes(type_, name))
        return found

    def _route(self, key: str, type_: str) -> Route:
        primitive = self.definitions.primitive(type_)
        return Route(key, "_" + key if primitive else None, type_, type_ in ("Resource", "DomainResource"))

    def step(self, name: str) -> Step:
        """From elements to their children of one name: the busiest loop there is, so the usual case is spelled out.

        `plain` holds, for types with one type of child that is no resource: its key, its sibling, its type.
        """
        plain: dict[str, tuple[str, str, str] | None] = {}
        routes_of, follow = self.routes, self.follow

        def run(nodes: list[Any]) -> list[Any]:
            out: list[Any] = []
            for node in nodes:
                if type(node) is not Node:
                    continue
                value = node.value
                type_ = node.type
                if type(value) is not dict:
                    if node.sibling is not None:
                        primitive_children(node, name, out)
                    continue
                if type_ not in plain:
                    plain[type_] = plain_route(routes_of(type_, name))
                route = plain[type_]
                if route is not None:
                    key, sibling, child = route
                    if sibling not in value:
                        found = value.get(key)
                        if type(found) is list:
                            out += [Node(item, child) for item in found]
                        elif found is not None:
                            out.append(Node(found, child))
                        continue
                for way in routes_of(type_, name):
                    if way.key in value or way.sibling in value:
                        follow(node, value, way, out)
            return out

        return run

    def presence(self, name: str) -> Callable[[list[Any]], bool]:
        """Whether any of the elements has a child of this name."""
        step = self.step(name)
        table: dict[str, tuple[str, ...]] = {}

        def run(nodes: list[Any]) -> bool:
            for node in nodes:
                if type(node) is Node and type(node.value) is dict:
                    keys = table.get(node.type)
                    if keys is None:
                        routes = self.routes(node.type, name)
                        keys = table[node.type] = tuple(key for r in routes for key in (r.key, r.sibling) if key)
                    value = node.value
                    for key in keys:
                        if key in value and value[key] is not None and value[key] != []:
                            return True
                elif step([node]):
                    return True
            return False

        return run

    def follow(self, node: Node, value: dict[str, Any], route: Route, out: list[Any]) -> None:
        key, sibling_key, type_, resource = route
        found = value.get(key)
        if sibling_key is None or sibling_key not in value:
            if type(found) is list:
                if resource:
                    out.extend([Node(item, self.resource_type(item, type_)) for item in found])
                else:
                    out.extend([Node(item, type_) for item in found])
            elif found is not None:
                out.append(Node(found, self.resource_type(found, type_) if resource else type_))
        else:
            extra = value[sibling_key]
            if type(found) is list or type(extra) is list:
                found = found if type(found) is list else []
                extra = extra if type(extra) is list else []
                for i in range(max(len(found), len(extra))):
                    item = found[i] if i < len(found) else None
                    other = extra[i] if i < len(extra) else None
                    out.append(Node(item, type_, other if type(other) is dict else None))
            else:
                out.append(Node(found, type_, extra if type(extra) is dict else None))

    def resource_type(self, value: Any, otherwise: str) -> str:
        if type(value) is dict:
            named = value.get("resourceType")
            if type(named) is str and named in self.definitions.resource_types:
                return named
        return otherwise

    def children(self, nodes: list[Any]) -> list[Any]:
        out: list[Any] = []
        for node in nodes:
            if type(node) is not Node:
                continue
            value = node.value
            if type(value) is dict:
                for route in self.all_routes(node.type):
                    if route.key in value or (route.sibling is not None and route.sibling in value):
                        self.follow(node, value, route, out)
            elif node.sibling is not None:
                primitive_children(node, "id", out)
                primitive_children(node, "extension", out)
        return out

    def root(self, resource: dict[str, Any]) -> Node:
        return Node(resource, self.resource_type(resource, "Element"))


def plain_route(routes: tuple[Route, ...]) -> tuple[str, str, str] | None:
    if len(routes) == 1 and not routes[0].resource:
        return routes[0].key, routes[0].sibling or "", routes[0].type
    return None


class LocatedElements(Elements):
    """The same, and every node knows the JSON keys that lead to it."""

    def step(self, name: str) -> Step:
        def run(nodes: list[Any]) -> list[Any]:
            out: list[Any] = []
            for node in nodes:
                if type(node) is Node and type(node.value) is dict:
                    for route in self.routes(node.type, name):
                        self.follow(node, node.value, route, out)
                elif type(node) is Node:
                    primitive_children(node, name, out)
            return out

        return run

    def follow(self, node: Node, value: dict[str, Any], route: Route, out: list[Any]) -> None:
        start = len(out)
        super().follow(node, value, route, out)
        many = type(value.get(route.key, value.get(f"_{route.key}"))) is list
        for i, child in enumerate(out[start:]):
            child.place = (*node.place, route.key, i) if many else (*node.place, route.key)


def primitive_children(node: Node, name: str, out: list[Any]) -> None:
    """A primitive has an id and extensions, and they stand in its sibling."""
    sibling = node.sibling or {}
    place = sibling_place(node.place)
    if name == "extension":
        extensions = sibling.get("extension")
        if type(extensions) is list:
            out.extend([Node(item, "Extension", None, (*place, "extension", i)) for i, item in enumerate(extensions)])
    elif name == "id" and "id" in sibling:
        out.append(Node(sibling["id"], "string", None, (*place, "id")))


def sibling_place(place: Place) -> Place:
    """Where `_name` lies: (..., "given", 1) → (..., "_given", 1)."""
    if not place:
        return place
    if isinstance(place[-1], int):
        return (*place[:-2], f"_{place[-2]}", place[-1])
    return (*place[:-1], f"_{place[-1]}")


def path_text(type_: str, place: Place) -> str:
    """`Patient.name[0].given[1]`: https://hl7.org/fhir/R4/fhirpath.html#simple"""
    return type_ + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)
