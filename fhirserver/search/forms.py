"""What the values of a search parameter are stored as, by its type and the FHIR types that its expression reaches.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fhirserver.fhir.definitions import Definitions, required_codes
from fhirserver.search.expressions import Route, member, parse, routes
from fhirserver.search.parameters import Parameter
from fhirserver.search.values import Forms, dates, positions, quantities, references, strings, tokens

Json = dict[str, Any]

FAMILY = ":family"  # not stored by itself: a family name is found by each of its words

# (parameter type, FHIR type) → what is stored under the code, and under the code with a suffix. A type that is not
# listed is treated as what it derives from: Age as Quantity, code as string.
FORMS: Mapping[tuple[str, str], Mapping[str, Forms]] = {
    ("token", "CodeableConcept"): {"": tokens.concept, ":text": tokens.concept_text},
    ("token", "Coding"): {"": tokens.coding, ":text": tokens.coding_text},
    ("token", "Identifier"): {
        "": tokens.identifier,
        ":text": tokens.identifier_text,
        ":of-type": tokens.identifier_of_type,
    },
    ("token", "ContactPoint"): {"": tokens.contact_point},
    ("token", "boolean"): {"": tokens.boolean},
    ("token", "string"): {"": tokens.code},
    ("token", "uri"): {"": tokens.name},
    ("string", "string"): {"": strings.string},
    ("string", "HumanName"): {"": strings.human_name, FAMILY: strings.family},
    ("string", "Address"): {"": strings.address},
    ("date", "date"): {"": dates.date},
    ("date", "dateTime"): {"": dates.date},
    ("date", "instant"): {"": dates.date},
    ("date", "Period"): {"": dates.period},
    ("date", "Timing"): {"": dates.timing},
    ("number", "integer"): {"": quantities.number},
    ("number", "decimal"): {"": quantities.number},
    ("number", "Range"): {"": quantities.number_range},
    ("quantity", "Quantity"): {"": quantities.quantity},
    ("quantity", "Money"): {"": quantities.money},
    ("quantity", "Range"): {"": quantities.quantity_range},
    ("quantity", "SampledData"): {"": quantities.sampled_data},
    ("uri", "uri"): {"": references.uri},
    ("uri", "canonical"): {"": references.canonical},
    ("special", "BackboneElement"): {"": positions.position},
    ("reference", "canonical"): {"": references.canonical},
    ("reference", "uri"): {"": references.uri},
}

# Choice types that a published expression reaches although the parameter cannot say anything about them.
NO_FORMS: Mapping[tuple[str, str], str] = {
    ("date", "Age"): "an age is no point in time",
    ("date", "Range"): "an age range is no point in time",
    ("date", "string"): "free text such as 'last summer'",
    ("token", "Quantity"): "Group.characteristic.value[x]: a quantity is no code",
    ("token", "Range"): "Group.characteristic.value[x]: a range is no code",
    ("token", "Reference"): "Group.characteristic.value[x]: a reference is no code",
    ("reference", "Attachment"): "Consent.source[x]: an attachment is not referred to",
}

# What has several values in one.
SEVERAL = frozenset({("token", "CodeableConcept"), ("string", "HumanName"), ("string", "Address")})


class Ends:
    """Where the expressions of parameters end, and what is made of a value there; references are those of a server."""

    def __init__(self, definitions: Definitions, base_url: str) -> None:
        self.definitions = definitions
        self._reference: Mapping[str, Forms] = {
            "": references.reference_from(base_url),
            ":identifier": references.reference_identifier,
        }
        self._family = definitions.types["HumanName"].by_name["family"]

    def of(self, parameter: Parameter, route: Route) -> Iterator[tuple[Route, Mapping[str, Forms]]]:
        """The routes on which values are found: an Extension stands for its value."""
        further = member(self.definitions, route, "value") if route.type == "Extension" else [route]
        for end in further:
            forms = self.forms(parameter, end)
            if forms:
                yield end, forms

    def forms(self, parameter: Parameter, route: Route) -> Mapping[str, Forms]:
        """The functions that turn a value at the end of this route into stored values; none for NO_FORMS."""
        if (parameter.type, route.type) in NO_FORMS:
            return {}
        if parameter.type == "reference" and route.type == "Reference":
            return self._reference
        if parameter.type == "reference" and route.type == "Resource":
            return {"": _inline(frozenset(parameter.targets))}
        if parameter.type == "string" and route.element is self._family:
            return {"": strings.string, FAMILY: strings.string}
        system = implied_system(route)
        if parameter.type == "token" and route.type == "code" and system is not None:
            return {"": tokens.code_of(system)}
        type_: str | None = route.type
        while type_ is not None:
            if (parameter.type, type_) in FORMS:
                return FORMS[parameter.type, type_]
            definition = self.definitions.types.get(type_)
            type_ = definition.base if definition else None
        return {}


@lru_cache(4096)
def repeats(definitions: Definitions, parameter: Parameter, type_: str) -> bool:
    """Whether one resource may have several values of a parameter."""
    found = routes(definitions, parse(parameter.expression), type_)
    return not one_place(found) or any((parameter.type, route.type) in SEVERAL for route in found)


def one_place(found: Sequence[Route]) -> bool:
    """Whether these lead to one element that does not repeat: of a choice of types it has one."""
    places = {(route.steps[:-1], route.element and route.element.name) for route in found}
    return len(places) < 2 and not any(route.repeats for route in found)


@lru_cache(4096)
def case_matters(definitions: Definitions, parameter: Parameter, type_: str) -> bool:
    """Whether all values differ by their case. https://hl7.org/fhir/R4/search.html#token"""
    if parameter.type != "token" or not parameter.expression:
        return parameter.type == "reference"
    return all(
        route.type in ("Identifier", "boolean")
        or definitions.is_a(route.type, "uri")
        or (route.type == "code" and tokens.cased(implied_system(route)))
        for route in routes(definitions, parse(parameter.expression), type_)
    )


@lru_cache(4096)
def boolean(definitions: Definitions, parameter: Parameter, type_: str) -> bool:
    """Whether all values are true or false."""
    if parameter.type != "token" or not parameter.expression:
        return False
    found = routes(definitions, parse(parameter.expression), type_)
    return bool(found) and all(route.type == "boolean" for route in found)


def implied_system(route: Route) -> str | None:
    """The system of a `code`, where its required binding leaves no doubt."""
    binding = route.element.binding if route.element else None
    if binding is None or binding.strength != "required":
        return None
    systems = required_codes().get(binding.value_set, {})
    return next(iter(systems)) if len(systems) == 1 else None


def _inline(targets: frozenset[str]) -> Forms:
    def forms(resource: Json) -> list[str]:
        return references.inline_resource(resource) if resource.get("resourceType") in targets else []

    return forms
