"""A `_filter` as criteria: its names and values, read against the parameters of a type.

A path is a chain; a filter in it says more about what the chain leads to, or about the same element of a composite:

    subject:Patient[active eq true].name co "pet"          the same Patient
    _has:Observation:patient[code eq a]:date gt 2024       the same Observation
    code-value-quantity[code eq a].value-quantity gt 5     the same component

https://hl7.org/fhir/R4/search_filter.html. What is not understood is refused, at its position: to ignore a part of an
expression would change its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fhirserver.fhir.outcome import Outcome
from fhirserver.search.canonicals import versioned
from fhirserver.search.chains import Chains
from fhirserver.search.comparisons import TERMINOLOGY, comparison, operators
from fhirserver.search.criteria import AllOf, AnyOf, Clause, Criterion, Negation, Within, kind
from fhirserver.search.filter_language import All, Any, Expression, Not, Step, Test, parse, refused
from fhirserver.search.forms import boolean, case_matters
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.readers import MAX_LENGTH, Typed, Unknown, missing, shown, unknown_parameter
from fhirserver.search.uses import check_operator

# https://hl7.org/fhir/R4/search_filter.html#params: names for the elements of composites, and of their components.
# The parameters that the page has for ServiceRequest are none of R4.
ELEMENTS: Mapping[tuple[str, str], tuple[str, Mapping[str, str]]] = {
    ("Group", "characteristic"): ("characteristic-value", {"code": "characteristic", "value": "value"}),
    ("DocumentReference", "relatesTo"): ("relationship", {"code": "relation", "target": "relatesto"}),
}

# Observation.related of older releases is two elements in R4: https://hl7.org/fhir/R4/observation.html
RELATED: Mapping[str, str] = {
    "has-component": "has-member",
    "has-member": "has-member",
    "derived-from": "derived-from",
}


class Scope(NamedTuple):
    """What names mean: the parameters of a type, or the components of one of its composites."""

    type_: str
    parameters: Mapping[str, Parameter]
    composite: bool = False


End = Callable[[Scope, Step], Criterion]


class Filters:
    """Reads the filters of one search; `chains` limits how far they lead."""

    def __init__(self, registry: Registry, chains: Chains, typed: Typed) -> None:
        self._registry = registry
        self._chains = chains
        self._typed = typed

    def read(self, type_: str, text: str) -> Criterion:
        """Raises a 400 Outcome that names the position."""
        return self._criterion(self._scope(type_), parse(text))

    def _scope(self, type_: str) -> Scope:
        return Scope(type_, self._registry[type_])

    def _criterion(self, scope: Scope, expression: Expression) -> Criterion:
        match expression:
            case All(parts):
                return AllOf(tuple(self._criterion(scope, part) for part in parts))
            case Any(parts):
                return AnyOf(tuple(self._criterion(scope, part) for part in parts))
            case Not(part):
                return Negation(self._criterion(scope, part))
            case Test():
                return self._test(scope, expression)

    def _test(self, scope: Scope, test: Test) -> Criterion:
        """`pr` and `ni` are about the whole set of values, the others about one of them."""

        def end(scope: Scope, step: Step) -> Criterion:
            clause = self._clause(scope, step, test)
            return clause if scope.composite else versioned(self._registry, scope.type_, clause)

        found = self._path(scope, test.path, end)
        nothing = test.operator == "ni" or (test.operator, test.value) == ("pr", "false")
        return Negation(found) if nothing else found

    def _path(self, scope: Scope, path: tuple[Step, ...], end: End) -> Criterion:
        step, *rest = path
        if not rest:
            return end(scope, step)
        following = tuple(rest)
        if scope.composite:
            raise refused(step.position, f"{shown(step.name)} is a component of a composite; no chain begins there")
        if step.filter is not None:
            if (scope.type_, step.name) == ("Observation", "related"):
                return self._path(scope, _related(step, following), end)
            if element := self._element(scope, step):
                composite, components = element
                inner = self._path(components, following, end)
                return Within(composite, AllOf((self._criterion(components, step.filter), inner)))

        def far(type_: str) -> Criterion:
            there = self._scope(type_)
            criterion = self._path(there, following, end)
            return AllOf((self._criterion(there, step.filter), criterion)) if step.filter else criterion

        try:
            return self._chains.through(scope.type_, step.name, _code(following[0]), far)
        except Unknown as unknown:
            raise refused(step.position, str(unknown), "not-supported") from unknown

    def _element(self, scope: Scope, step: Step) -> tuple[Parameter, Scope] | None:
        """The composite that a filtered step is an element of, and what names mean there."""
        code, names = ELEMENTS.get((scope.type_, step.name), (step.name, None))
        composite = scope.parameters.get(code)
        if composite is None or not composite.components:
            return None
        components = {component.code: component for component, _ in composite.components}
        named = {name: components[code] for name, code in names.items()} if names else components
        return composite, Scope(scope.type_, named, composite=True)

    def _clause(self, scope: Scope, step: Step, test: Test) -> Clause:
        parameter = scope.parameters.get(step.name)
        if parameter is None:
            unknown = unknown_parameter(scope.type_, step.name, scope.parameters)
            raise refused(step.position, str(unknown), "not-supported")
        asked = comparison(kind(parameter), test.operator)
        if test.operator != "pr" and asked is None:
            raise _senseless(parameter, test)
        if not test.value.strip() or len(test.value) > MAX_LENGTH:
            raise refused(test.value_position, f"a value has from 1 to {MAX_LENGTH} characters")
        exact = case_matters(self._registry.definitions, parameter, scope.type_)
        truth = boolean(self._registry.definitions, parameter, scope.type_)
        typed = self._typed._replace(parameter=parameter, any_case=not exact, boolean=truth)
        try:
            if asked is None:
                missing(test.value, typed)
                clause = Clause(parameter, "missing", (False,))
            else:
                clause = Clause(parameter, asked.modifier, (asked.read(test.value, typed),))
        except Outcome as refusal:
            raise refused(test.value_position, str(refusal)) from refusal
        try:
            check_operator(parameter, test.operator, clause.modifier, clause.values)
        except Outcome as refusal:
            raise refused(test.operator_position, str(refusal), "not-supported") from refusal
        return clause


def _code(step: Step) -> str:
    return step.name.partition(":")[0]


def _related(step: Step, following: tuple[Step, ...]) -> tuple[Step, ...]:
    """`related[type eq "has-component"].target`: the parameter that leads there."""
    match step.filter:
        case Test((Step("type", None),), "eq", value) if value in RELATED and following[0].name == "target":
            return (following[0]._replace(name=RELATED[value]), *following[1:])
    raise refused(step.position, f"write related[type eq …].target, with one of {', '.join(RELATED)}")


def _senseless(parameter: Parameter, test: Test) -> Outcome:
    known = operators(kind(parameter))
    if test.operator in TERMINOLOGY and kind(parameter) == "token":
        sentence = f"{test.operator} is not supported here"
    else:
        sentence = f"{test.operator} makes no sense for {parameter.code}, which is of type {parameter.type}"
    return refused(test.operator_position, f"{sentence}; use {', '.join(known)}", "not-supported")
