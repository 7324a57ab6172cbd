"""Whether a resource may be stored: the rules of its type. https://hl7.org/fhir/R4/validation.html"""

from __future__ import annotations

from fhirserver.fhir.definitions import Definitions
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.bindings import Codes
from fhirserver.validation.properties import MOST_ISSUES, under
from fhirserver.validation.structure import Structure


class Validator:
    """Compiled rules for the types of `definitions`, with the `codes` of required bindings; safe to share."""

    def __init__(self, definitions: Definitions, codes: Codes) -> None:
        self._structure = Structure(definitions, codes)

    def issues(self, resource: object) -> list[Issue]:
        """What is wrong, in the order of the resource, at most a hundred issues; empty when it is valid."""
        type_ = resource.get("resourceType") if isinstance(resource, dict) else None
        try:
            found = self._structure.resource(resource)
        except RecursionError:
            return [Issue("error", "too-costly", "the resource is nested too deeply", None)]
        if not found:
            return []
        known = isinstance(type_, str) and type_ in self._structure.definitions.resource_types
        located = under(str(type_), found) if known else [issue._replace(expression=None) for issue in found]
        return located[:MOST_ISSUES]
