"""Whether a resource may be stored: the rules of its type. https://hl7.org/fhir/R4/validation.html"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from fhirserver.fhir.definitions import Definitions
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.bindings import Codes
from fhirserver.validation.findings import MOST_FINDINGS, MOST_ISSUES, Finding, Question, under
from fhirserver.validation.structure import Structure


class Found(NamedTuple):
    """What is known without asking anybody, and what the terminology service is to be asked."""

    issues: list[Issue]
    questions: list[Question]


class Validator:
    """Compiled rules for the types of `definitions`, with the `codes` of required bindings; safe to share."""

    def __init__(self, definitions: Definitions, codes: Codes) -> None:
        self._definitions = definitions
        self._codes = codes
        self._structure = Structure(definitions, codes)

    @cached_property
    def _thorough(self) -> Structure:
        return Structure(self._definitions, self._codes, thorough=True)

    def issues(self, resource: object) -> list[Issue]:
        """What is wrong, in the order of the resource, at most a hundred issues; empty when it is valid."""
        found = self._findings(resource, self._structure)
        return [each for each in found if isinstance(each, Issue)][:MOST_ISSUES]

    def thorough(self, resource: object) -> Found:
        """The same with warnings, and with what only a terminology service knows."""
        found = self._findings(resource, self._thorough)
        issues = [each for each in found if isinstance(each, Issue)]
        if len(found) >= MOST_FINDINGS:  # what is wrong behind them must not be missed
            issues += self.issues(resource)
        return Found(issues, [each for each in found if isinstance(each, Question)])

    def _findings(self, resource: object, structure: Structure) -> list[Finding]:
        type_ = resource.get("resourceType") if isinstance(resource, dict) else None
        try:
            found = structure.resource(resource)
        except RecursionError:
            return [Issue("error", "too-costly", "the resource is nested too deeply", None, rule="depth")]
        if not found:
            return []
        known = isinstance(type_, str) and type_ in self._definitions.resource_types
        return under(str(type_), found) if known else [issue._replace(expression=None) for issue in found]
