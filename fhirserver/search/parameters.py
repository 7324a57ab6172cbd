"""Search parameters as values, and the registry that says which a type has.

https://hl7.org/fhir/R4/searchparameter.html. A registry never changes: `with_` gives a new one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Definitions, r4, search_table
from fhirserver.fhir.outcome import invalid
from fhirserver.search.expressions import parse, reference_targets, routes

# Published parameters that nothing here answers, and why. What is not in the registry is unknown to a client.
LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "http://hl7.org/fhir/SearchParameter/Resource-query": "names an operation-like query: no expression",
        "http://hl7.org/fhir/SearchParameter/filter": "a language of its own, search/filter_language.py: no expression",
        "http://hl7.org/fhir/SearchParameter/patient-extensions-Patient-age": "no expression",
        "http://hl7.org/fhir/SearchParameter/patient-extensions-Patient-birthOrderBoolean": "no expression",
    }
)

# `_text` and `_content`: their values are words (search/words.py), so they have no expression. They may be left out.
FULL_TEXT = frozenset(
    {
        "http://hl7.org/fhir/SearchParameter/DomainResource-text",
        "http://hl7.org/fhir/SearchParameter/Resource-content",
    }
)

# Expressions of composite slots that are published wrongly: these two are exchanged.
CORRECTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"http://hl7.org/fhir/SearchParameter/DocumentReference-relationship": ("target", "code")}
)

NEAR = "http://hl7.org/fhir/SearchParameter/Location-near"  # of type special, the only one that is served
TYPES = frozenset({"token", "string", "reference", "date", "number", "quantity", "uri", "composite"})

_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EVERY_TYPE = ("Resource", "DomainResource")


class Uses(NamedTuple):
    """What its definition says may be asked of a custom parameter; None: nothing said, all that its type allows."""

    modifiers: tuple[str, ...] | None = None
    comparators: tuple[str, ...] | None = None
    multiple_or: bool = True
    multiple_and: bool = True
    chain: tuple[str, ...] | None = None


FREE = Uses()


class Parameter(NamedTuple):
    """`targets` are the types a reference may lead to; `components` the slots of a composite with their expressions."""

    code: str
    type: str
    url: str
    base: tuple[str, ...]
    expression: str
    targets: tuple[str, ...] = ()
    components: tuple[tuple[Parameter, str], ...] = ()
    uses: Uses = FREE


class Registry:
    """`registry["Patient"]["birthdate"]`: the parameters of each type by code, `_id` and its like included."""

    def __init__(self, definitions: Definitions, parameters: Iterable[Parameter]) -> None:
        self.definitions = definitions
        self.parameters = tuple(parameters)
        by_type: dict[str, dict[str, Parameter]] = {type_: {} for type_ in sorted(definitions.resource_types)}
        for parameter in self.parameters:
            for type_ in by_type if "Resource" in parameter.base else parameter.base:
                if type_ in by_type:
                    by_type[type_][parameter.code] = self._narrowed(parameter, type_)
                elif type_ in _EVERY_TYPE:
                    for each, known in by_type.items():
                        if definitions.is_a(each, type_):
                            known[parameter.code] = self._narrowed(parameter, each)
        self._by_type = {type_: MappingProxyType(known) for type_, known in by_type.items()}

    def __getitem__(self, type_: str) -> Mapping[str, Parameter]:
        return self._by_type[type_]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_type)

    def __contains__(self, type_: object) -> bool:
        return type_ in self._by_type

    def with_(self, parameter: Parameter) -> Registry:
        """A registry that has this parameter too, in place of one with the same URL or the same code on a type.

        Raises a 400 Outcome that names the expression and the position where it cannot be read.
        """
        check(self.definitions, parameter)
        return Registry(self.definitions, (*(p for p in self.parameters if p.url != parameter.url), parameter))

    def reference_targets(self, type_: str, code: str) -> tuple[str, ...]:
        """The types that a reference parameter leads to from this type; every type where it does not say."""
        targets = self[type_][code].targets
        return tuple(self._by_type) if not targets or "Any" in targets or "Resource" in targets else targets

    def _narrowed(self, parameter: Parameter, type_: str) -> Parameter:
        """`patient` may lead to Group somewhere; from Observation it leads to Patient only."""
        if parameter.type != "reference":
            return parameter
        possible = reference_targets(self.definitions, parse(parameter.expression), type_)
        targets = tuple(target for target in parameter.targets if target in possible)
        return parameter._replace(targets=targets or parameter.targets or tuple(sorted(possible)))


def check(definitions: Definitions, parameter: Parameter) -> None:
    """Raises a 400 Outcome where a parameter, a custom one say, cannot be used."""
    if not _CODE.fullmatch(parameter.code):
        raise invalid(f"{parameter.code[:80]!r} cannot be the code of a search parameter", "SearchParameter.code")
    if parameter.type not in TYPES and parameter.url != NEAR:
        raise invalid(f"search parameters of type {parameter.type[:80]!r} are not known", "SearchParameter.type")
    parsed = parse(parameter.expression)
    for type_ in parameter.base:
        found = routes(definitions, parsed, type_)
        if not found:
            raise invalid(f"the search expression {parameter.expression[:500]!r} says nothing about {type_}")
        for base in found:
            for _, expression in parameter.components:
                routes(definitions, parse(expression), type_, base.type)


def from_table(table: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters of a table of slim SearchParameters, components linked."""
    slim = {row["url"]: row for row in table["parameters"] if row["url"] not in LEFT_OUT}
    plain = {url: _plain(row) for url, row in slim.items()}

    def components(url: str) -> tuple[tuple[Parameter, str], ...]:
        parts = slim[url].get("component", ())
        expressions = CORRECTIONS.get(url) or tuple(part["expression"] for part in parts)
        return tuple((plain[part["definition"]], each) for part, each in zip(parts, expressions, strict=True))

    return tuple(parameter._replace(components=components(url)) for url, parameter in plain.items())


def _plain(row: Mapping[str, Any]) -> Parameter:
    base, targets = tuple(row["base"]), tuple(row.get("target", ()))
    return Parameter(row["code"], row["type"], row["url"], base, row.get("expression", ""), targets)


@cache
def r4_registry(*, full_text: bool = True) -> Registry:
    """The parameters of FHIR 4.0.1 as published, but for those LEFT_OUT. https://hl7.org/fhir/R4/searchparameter-registry.html"""
    published = from_table(search_table())
    return Registry(r4(), (parameter for parameter in published if full_text or parameter.url not in FULL_TEXT))
