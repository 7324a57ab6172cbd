"""The index values of a resource: what a search looks at instead of the resource.

For each type one Python function is generated from the expressions of its search parameters. A key is there
whenever the element is, even if nothing in it can be searched for: that is what `:missing` asks.
https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Definitions
from fhirserver.search import bundled, contained
from fhirserver.search.attachments import CONTENTS, DOCUMENT, LOCATION, contents
from fhirserver.search.compartments import memberships, secured
from fhirserver.search.expressions import parse, routes
from fhirserver.search.extraction import Leaf, Source, Write
from fhirserver.search.forms import Ends
from fhirserver.search.generated import Function, function
from fhirserver.search.parameters import Registry
from fhirserver.search.serving import SERVING, TEAM, serving
from fhirserver.search.words import Reader

Json = dict[str, Any]

# Of the way in which values are made. It goes up with every change after which a search may miss what was stored
# before: servers say then what is to be indexed again (store/editions.py). tests/search/test_edition.py notices it.
EDITION = 4


class Entry(NamedTuple):
    """What is stored beside a resource: `search` values, one or two `sort` scalars per parameter, compartments."""

    search: Json
    sort: Json
    compartments: list[str]


class Indexer:
    """Knows the parameters of every type; each type's function is generated when it is first needed."""

    def __init__(self, definitions: Definitions, registry: Registry, base_url: str, generation: int = 0) -> None:
        self.definitions = definitions
        self.registry = registry
        self.base_url = base_url
        self.generation = generation
        self.writing = 0
        self.leading = contained.Leading()
        self._reader = Reader(definitions)
        self.ends = Ends(definitions, base_url)
        self._functions: dict[str, Function] = {}
        self._referring = cache(self._generate_referring)

    def renewed(self, registry: Registry, generation: int) -> Indexer:
        """The indexer of the next generation of parameters; functions of types whose parameters are the same stay."""
        other = Indexer(self.definitions, registry, self.base_url, generation)
        known = self._functions.items()
        other.ends = self.ends
        other.leading = self.leading
        other._functions = {type_: each for type_, each in known if registry[type_] == self.registry[type_]}
        return other

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """From making an entry to the end of the write that stores it: until then this generation is not over here."""
        self.writing += 1
        try:
            yield
        finally:
            self.writing -= 1

    def entry(self, resource: Json) -> Entry:
        type_ = resource["resourceType"]
        if "contained" in resource:
            resource = contained.typed(resource)
        search, sort = self._values(resource)
        if "_content" in self.registry[type_]:
            search |= {code: words for code, words in self._reader.said(resource).stored() if words}
        if type_ == DOCUMENT and (held := contents(search.get(LOCATION, ()), self.base_url)):
            search[CONTENTS] = held
        if type_ == TEAM and (there := serving(resource, self.base_url)):
            search[SERVING] = there
        belongs = memberships(resource, search) + secured(resource, self.base_url)
        if "contained" in resource:
            inside = contained.stored(resource, lambda inner: self._values(inner)[0], self._references)
            self.leading.add(type_, inside.get(contained.REFERRED, ()))
            search |= inside
        elif type_ == "Bundle":
            inside = bundled.stored(resource, lambda inner: self._values(inner)[0], self._references)
            self.leading.add(type_, inside.get(contained.REFERRED, ()))
            search |= inside
            belongs += filter(None, (bundled.patient_of(resource, self.base_url),))
        return Entry(search, sort, belongs)

    def _values(self, resource: Json) -> tuple[Json, Json]:
        """`search` and `sort`."""
        type_ = resource["resourceType"]
        return (self._functions.get(type_) or self._generate(type_))(resource)

    def _references(self, resource: Json) -> Iterator[tuple[str, str]]:
        """(code, target) of what the parameters of type reference find; canonicals too."""
        for code, value, _ in self._referring(resource["resourceType"])(resource):
            target = value.get("reference") if isinstance(value, dict) else value
            if isinstance(target, str):
                yield code, target

    def _generate_referring(self, type_: str) -> Callable[[Json], list[tuple[str, Any, str]]]:
        return raw_function(self.definitions, self.registry, type_, "reference")

    def _generate(self, type_: str) -> Function:
        found = self._functions[type_] = function(self.registry, self.ends, type_)
        return found


def raw_function(
    definitions: Definitions, registry: Registry, type_: str, only: str | None = None
) -> Callable[[Json], list[tuple[str, Any, str]]]:
    """Answers (code, value, FHIR type) for all that the expressions of a type's parameters find, but composites.

    `only`: those of one type of parameter.
    """
    source = Source()

    def keep(code: str, fhir_type: str) -> Write:
        return lambda value: [f"found.append(({code!r}, {value}, {fhir_type!r}))"]

    leaves = [
        Leaf(route, keep(code, route.type))
        for code, parameter in registry[type_].items()
        if not parameter.components and parameter.expression and only in (None, parameter.type)
        for route in routes(definitions, parse(parameter.expression), type_)
    ]
    return source.function(type_, ["found = []", *source.walk(leaves), "return found"])
