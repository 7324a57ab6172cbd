"""Invariants: FHIRPath that must be true of an element. https://hl7.org/fhir/R4/conformance-rules.html#constraints

What the structure has checked already is not asked again by FHIRPath, and what every element or resource has is asked
in Python: it is the same rule, a hundred times faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from fhirserver.fhir.definitions import Constraint, Definitions
from fhirserver.fhir.fhirpath import Expression, FhirPathError, Node
from fhirserver.fhir.fhirpath.invariants import invariant
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.findings import Finding
from fhirserver.validation.references import Container

# by the structure: no empty elements, contained resources, narratives, references into what is contained
CHECKED = frozenset({"ele-1", "dom-2", "txt-1", "txt-2", "ref-1"})
MOST_STEPS = 100_000
STEPS_OF_A_TRIAL = 10
COST_OF_FAILURE = 5_000
Holds = Callable[[Any, Container], bool]


class Invariant:
    """One constraint on the elements of one type, compiled when the first of them comes."""

    def __init__(
        self, constraint: Constraint, type_: str, definitions: Definitions, profile: str | None = None
    ) -> None:
        self._constraint, self._type, self._definitions, self._profile = constraint, type_, definitions, profile
        self._holds: Holds | None = IN_PYTHON.get(constraint.key)

    @cached_property
    def _expression(self) -> Expression:
        return invariant(self._constraint, self._definitions)

    def findings(self, value: Any, container: Container, sibling: dict[str, Any] | None = None) -> list[Finding]:
        """What is to say of a value, nothing where it holds."""
        if self._holds is not None:
            return [] if self._holds(value, container) else [self._broken()]
        nodes = self._nodes(value, container, sibling)
        try:
            return [] if self._true(nodes, container) else [self._broken()]
        except FhirPathError as error:
            if self._profile is not None:
                container.trials.spend(COST_OF_FAILURE)
            said = f"{self._constraint.key} cannot be evaluated here: {error}"
            return [self._issue("warning", "processing", said)]

    def _true(self, nodes: tuple[Node, Node, Node], container: Container) -> bool:
        """What a profile asks comes from outside, and has to end."""
        if self._profile is None:
            return self._expression.holds(*nodes, container.hooks)
        held, steps = self._expression.holds_within(MOST_STEPS, *nodes, container.hooks)
        container.trials.spend(1 + steps // STEPS_OF_A_TRIAL)
        return held

    def _nodes(self, value: Any, container: Container, sibling: dict[str, Any] | None) -> tuple[Node, Node, Node]:
        inner, outer = container.inner, container.resource
        resource = Node(inner, inner["resourceType"])
        root = resource if inner is outer else Node(outer, outer["resourceType"])
        return (resource if value is inner else Node(value, self._type, sibling)), resource, root

    def _broken(self) -> Issue:
        known = self._constraint
        return self._issue(known.severity, "invariant", f"{known.human.rstrip('.')} ({known.key})")

    def _issue(self, severity: str, code: str, said: str) -> Issue:
        return Issue(severity, code, said, "", rule="invariant", constraint=self._constraint.key, profile=self._profile)


def invariants(
    constraints: Iterable[Constraint], type_: str, definitions: Definitions, *, warnings: bool
) -> tuple[Invariant, ...]:
    """Those that the structure leaves to be asked."""
    return tuple(
        Invariant(each, type_, definitions)
        for each in constraints
        if each.key not in CHECKED and (warnings or each.severity == "error")
    )


# in Python


def _extension_or_value(extension: dict[str, Any], container: Container) -> bool:
    """ext-1"""
    return ("extension" in extension) is not any(key.startswith(("value", "_value")) for key in extension)


def _contained_is_referred_to(resource: dict[str, Any], container: Container) -> bool:
    """dom-3: a contained resource is referred to from the resource that contains it, or refers to it."""
    contained = resource.get("contained")
    if not contained:
        return True
    named, up = container.pointers()
    return all(f"#{inner.get('id')}" in named or id(inner) in up for inner in contained if type(inner) is dict)


def _contained_without(*names: str) -> Holds:
    """dom-4, dom-5"""

    def holds(resource: dict[str, Any], container: Container) -> bool:
        for inner in resource.get("contained", ()):
            meta = inner.get("meta") if type(inner) is dict else None
            if type(meta) is dict and any(name in meta for name in names):
                return False
        return True

    return holds


IN_PYTHON: dict[str, Holds] = {
    "ext-1": _extension_or_value,
    "dom-3": _contained_is_referred_to,
    "dom-4": _contained_without("versionId", "lastUpdated"),
    "dom-5": _contained_without("security"),
    "dom-6": lambda resource, container: type(resource.get("text")) is dict and "div" in resource["text"],
}
