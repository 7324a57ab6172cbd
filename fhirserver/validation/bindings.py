"""Required bindings: the codes that may stand in an element. https://hl7.org/fhir/R4/terminologies.html#required

A value set of more codes than a table can hold is checked by how its codes are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Binding, Element
from fhirserver.validation.findings import Finding, Problem, Question
from fhirserver.validation.primitives import Check
from fhirserver.validation.references import Container
from fhirserver.validation.words import nearest, one_of, shown

Systems = dict[str, frozenset[str]]
Codes = Mapping[str, Systems]
Concept = Callable[[dict[str, Any]], Problem | None]


class Written(NamedTuple):
    """Codes that are known by how they are written."""

    system: str
    right: Callable[[str], object]
    said: str


# R4 prefers common languages, and allows none but those of BCP 47: elementdefinition-maxValueSet
LANGUAGES = "http://hl7.org/fhir/ValueSet/languages"
_language = Written(
    "urn:ietf:bcp:47",
    re.compile(r"(?:[A-Za-z]{2,8}|[xXiI](?=-))(?:-[A-Za-z0-9]{1,8})*").fullmatch,
    "a language is written as BCP 47 says: en, en-US, zh-Hant",
)

_NAME = r"[A-Za-z0-9!#$&^_.+*-]{1,127}"
WRITTEN: dict[str, Written] = {
    "http://hl7.org/fhir/ValueSet/all-languages": _language,
    "http://hl7.org/fhir/ValueSet/mimetypes": Written(
        "urn:ietf:bcp:13",
        re.compile(rf"{_NAME}/{_NAME}(?: ?;[^\x00-\x1f]*)?|xml|json|ttl").fullmatch,
        "a MIME type is written type/subtype: https://www.rfc-editor.org/rfc/rfc6838",
    ),
    "http://hl7.org/fhir/ValueSet/currencies": Written(
        "urn:iso:std:iso:4217", re.compile(r"[A-Z]{3}").fullmatch, "a currency is three capital letters of ISO 4217"
    ),
}


def written(element: Element) -> Check | None:
    """The check of a binding to codes that are known by how they are written."""
    if element.binding is None:
        return None
    value_set = element.binding.value_set.partition("|")[0]
    known = WRITTEN.get(value_set) if element.binding.strength == "required" else None
    known = _language if value_set == LANGUAGES else known
    if known is None:
        return None
    _, right, said = known

    def check(value: object) -> Problem | None:
        if type(value) is str and right(value):
            return None
        return Problem("code-invalid", f"{shown(value)}: {said}", "binding")

    return check


class Bound:
    """The codes of one required binding: `codes` alone for `code` elements, `systems` for codings."""

    def __init__(self, value_set: str, systems: Systems) -> None:
        self.value_set = value_set.partition("|")[0]
        self.systems = systems
        self.codes = frozenset[str]().union(*systems.values())

    def refusal(self, code: object) -> Problem:
        meant = nearest(code, self.codes) if isinstance(code, str) else ""
        allowed = one_of(self.codes)
        said = f"{shown(code)} is not in the value set {self.value_set}{meant}; its codes: {allowed}"
        return Problem("code-invalid", said, "binding")

    def coding(self, coding: dict[str, Any]) -> Problem | None:
        """A Coding, or a Quantity by the code of its unit."""
        system, code = coding.get("system"), coding.get("code")
        if code in self.systems.get(system, ()) if system is not None else False:
            return None
        if code in self.codes:
            systems = one_of(system for system, codes in self.systems.items() if code in codes)
            said = f"the code {shown(code)} has the system {systems}; here it is {shown(system)}"
            return Problem("code-invalid", said, "binding")
        return self.refusal(code)

    def concept(self, concept: dict[str, Any]) -> Problem | None:
        codings = concept.get("coding", ())
        problems = [self.coding(coding) for coding in codings]
        if not problems:
            said = f"a code from {self.value_set} is required, one of {one_of(self.codes)}"
            return Problem("code-invalid", said, "binding")
        return None if None in problems else problems[0]


def bound(element: Element, codes: Codes) -> Bound | None:
    """The codes an element must take its value from, where they are known."""
    if element.binding is None or element.binding.strength != "required":
        return None
    value_set = element.binding.value_set
    systems = codes.get(value_set) or codes.get(value_set.partition("|")[0])
    return Bound(value_set, systems) if systems else None


def asked(binding: Binding, type_: str) -> Callable[[Any, Container], list[Finding]]:
    """A question about each value, for the terminology service."""
    strength, value_set = binding.strength, binding.value_set

    def ask(value: Any, container: Container) -> list[Finding]:
        return [Question(strength, value_set, type_, value)]

    return ask


CONCEPTS: dict[str, Callable[[Bound], Concept]] = {
    "CodeableConcept": lambda bound: bound.concept,
    "Coding": lambda bound: bound.coding,
    "Quantity": lambda bound: bound.coding,
}
