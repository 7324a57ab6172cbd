"""Required bindings: the codes that may stand in an element. https://hl7.org/fhir/R4/terminologies.html#required

A value set that the table does not hold (mime types, UCUM) cannot be checked here and passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirserver.fhir.definitions import Element
from fhirserver.validation.primitives import Problem
from fhirserver.validation.words import nearest, one_of, shown

Systems = dict[str, frozenset[str]]
Codes = Mapping[str, Systems]
Concept = Callable[[dict[str, Any]], Problem | None]


class Bound:
    """The codes of one required binding: `codes` alone for `code` elements, `systems` for codings."""

    def __init__(self, value_set: str, systems: Systems) -> None:
        self.value_set = value_set.partition("|")[0]
        self.systems = systems
        self.codes = frozenset[str]().union(*systems.values())

    def refusal(self, code: object) -> Problem:
        meant = nearest(code, self.codes) if isinstance(code, str) else ""
        allowed = one_of(self.codes)
        return "code-invalid", f"{shown(code)} is not in the value set {self.value_set}{meant}; its codes: {allowed}"

    def coding(self, coding: dict[str, Any]) -> Problem | None:
        """A Coding, or a Quantity by the code of its unit."""
        system, code = coding.get("system"), coding.get("code")
        if code in self.systems.get(system, ()) if system is not None else False:
            return None
        if code in self.codes:
            systems = one_of(system for system, codes in self.systems.items() if code in codes)
            return "code-invalid", f"the code {shown(code)} has the system {systems}; here it is {shown(system)}"
        return self.refusal(code)

    def concept(self, concept: dict[str, Any]) -> Problem | None:
        codings = concept.get("coding", ())
        problems = [self.coding(coding) for coding in codings]
        if not problems:
            return "code-invalid", f"a code from {self.value_set} is required, one of {one_of(self.codes)}"
        return None if None in problems else problems[0]


def bound(element: Element, codes: Codes) -> Bound | None:
    """The codes an element must take its value from, where they are known."""
    if element.binding is None or element.binding.strength != "required":
        return None
    value_set = element.binding.value_set
    systems = codes.get(value_set) or codes.get(value_set.partition("|")[0])
    return Bound(value_set, systems) if systems else None


CONCEPTS: dict[str, Callable[[Bound], Concept]] = {
    "CodeableConcept": lambda bound: bound.concept,
    "Coding": lambda bound: bound.coding,
    "Quantity": lambda bound: bound.coding,
}
