"""The rules that a StructureDefinition states, compiled to one closure per type, each when it is first met.

Elements, JSON types, cardinality, choices, formats, required codes, reference targets, containment, invariants:
https://hl7.org/fhir/R4/json.html and https://hl7.org/fhir/R4/elementdefinition.html. What is right costs one dictionary
look-up and one call per property; where it is wrong, each level puts its own step before the expression. What rests on
an element being right (the invariants of it and of what holds it) is asked only where it is: one cause is one issue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fhirserver.fhir.definitions import Constraint, Definitions, Element, TypeDefinition
from fhirserver.fhir.xml import is_attribute
from fhirserver.validation.bindings import CONCEPTS, Codes, asked, bound, written
from fhirserver.validation.bundles import bundle_rules
from fhirserver.validation.findings import Finding, Issues, Problem, full, issue, located, under, wrong
from fhirserver.validation.invariants import invariants
from fhirserver.validation.narrative import narrative
from fhirserver.validation.primitives import ELEMENT_ID, PRIMITIVES, Check
from fhirserver.validation.properties import (
    Json,
    Rule,
    TypeCheck,
    extended,
    extended_one,
    many,
    missing,
    no_array,
    one,
    primitive,
    primitives,
    unknown,
)
from fhirserver.validation.references import Container, target
from fhirserver.validation.strict import OF_PRIMITIVE, strict
from fhirserver.validation.words import kind, nearest, one_of, shown

Ask = Callable[[Any, Container], list[Finding]]


class Structure(dict[str, TypeCheck]):
    """The check of a type by its name. `thorough`: warnings too, and questions about bindings that are not required."""

    def __init__(self, definitions: Definitions, codes: Codes, *, thorough: bool = False) -> None:
        super().__init__()
        self.definitions = definitions
        self.codes = codes
        self.thorough = thorough

    def __missing__(self, name: str) -> TypeCheck:
        self[name] = check = self._compile(self.definitions.types[name])
        return check

    def resource(self, value: object, container: Container | None = None) -> Issues:
        """A resource of whatever type it says it is; in a `container`, one that is contained."""
        if type(value) is not dict:
            return issue("structure", f"a resource is a JSON object, not {kind(value)}", "json-type")
        type_ = value.get("resourceType")
        if type_ is None:
            return issue("required", "a resource says what it is: resourceType is missing", "resource-type")
        if type(type_) is not str or type_ not in self.definitions.resource_types:
            meant = nearest(type_, self.definitions.resource_types) if type(type_) is str else ""
            return issue("structure", f"{shown(type_)} is no resource type of FHIR R4{meant}", "resource-type")
        if container is None:
            return self[type_](value, Container(value))
        outer, container.inner = container.inner, value
        try:
            return self[type_](value, container)
        finally:
            container.inner = outer

    def _compile(self, definition: TypeDefinition) -> TypeCheck:
        rules = self._rules(definition)
        if definition.kind == "resource":
            rules["resourceType"] = lambda value, node, container: None
        required = [
            (element.key(element.types[0]), element, frozenset(keys) | frozenset(f"_{key}" for key in keys))
            for element in definition.elements
            if element.min and (keys := [element.key(type_) for type_ in element.types])
        ]
        choices = [
            (element, {mark + element.key(type_): type_ for type_ in element.types for mark in ("", "_")})
            for element in definition.elements
            if element.choice
        ]
        chosen = frozenset(key for _, types in choices for key in types)
        name = definition.name
        valued = definition.kind != "resource" and name != "Element"  # ele-1; a primitive has its value elsewhere
        find = rules.get
        rest = self._asked_of(definition)

        def check(node: object, container: Container) -> Issues:
            if type(node) is not dict:
                return issue("structure", f"expected a JSON object ({name}), found {kind(node)}", "json-type")
            if not node:
                return issue("structure", "an object is never empty; leave the element out", "empty")
            if valued and len(node) == 1 and "id" in node:
                return issue("structure", "an element is never an id alone; leave it out", "empty", "", "ele-1")
            found: Issues = None
            for key, value in node.items():
                rule = find(key)
                problems = rule(value, node, container) if rule else unknown(key, definition, rules)
                if problems:
                    found = found + problems if found else problems
                    if full(found):
                        return found
            for key, element, keys in required:
                if key not in node and keys.isdisjoint(node):
                    found = (found or []) + missing(name, element)
            if chosen and len(chosen.intersection(node)) > 1:
                for element, types in choices:
                    held = [key for key in node if key in types]
                    if len(held) > 1 and len({types[key] for key in held}) > 1:
                        said = f"{element.name}[x] has one value; here are {one_of(held)}"
                        found = (found or []) + issue("structure", said, "choice-type", f".{element.name}")
            if rest and not (found and wrong(found)):
                for each in rest:
                    if more := each(node, container):
                        found = found + more if found else more
            return found

        return check

    def _asked_of(self, definition: TypeDefinition) -> tuple[Ask, ...]:
        """Of a whole value of the type, once its parts are right."""
        found = invariants(definition.constraints, definition.name, self.definitions, warnings=self.thorough)
        rest: list[Ask] = [each.findings for each in found]
        if definition.name == "Bundle":
            rest.append(bundle_rules)
        if self.thorough:
            rest += strict(definition, self.definitions)
        return tuple(rest)

    def _rules(self, definition: TypeDefinition) -> dict[str, Rule]:
        """A rule per JSON property, compiled when its first value comes: types hold each other, few are used."""
        rules: dict[str, Rule] = {}

        def add(key: str, compile_: Callable[[], Rule]) -> None:
            def first(value: Any, node: Json, container: Container) -> Issues:
                rules[key] = rule = compile_()
                return rule(value, node, container)

            rules[key] = first

        for element in definition.elements:
            for type_ in element.types:
                key = element.key(type_)
                add(key, partial(self._rule, element, type_))
                if self.definitions.primitive(type_) and type_ != "xhtml" and not is_attribute(definition, element):
                    add("_" + key, partial(self._extended, element, key))
        return rules

    def _rule(self, element: Element, type_: str) -> Rule:
        if self.definitions.primitive(type_):
            key, check = element.key(type_), self._primitive(element, type_)
            return primitives(element, key, check) if element.many else primitive(element, key, check)
        if element.name == "contained" and type_ == "Resource":
            return self._contained
        item = self._item(element, type_)
        return many(element, item) if element.many else one(element, item)

    def _primitive(self, element: Element, type_: str) -> Check:
        check = narrative if type_ == "xhtml" else PRIMITIVES[type_]
        if element.name == "id" and type_ == "string":
            return ELEMENT_ID
        if self.thorough and (more := OF_PRIMITIVE.get(type_)):
            return lambda value: check(value) or more(value)
        if type_ == "code" and (how := written(element)):
            return lambda value: check(value) or how(value)
        binding = bound(element, self.codes) if type_ == "code" else None
        if binding is None:
            return check
        codes, refusal = binding.codes, binding.refusal

        def coded(value: object) -> Problem | None:
            if type(value) is str and value in codes:
                return None
            return check(value) or refusal(value)

        return coded

    def _item(self, element: Element, type_: str) -> TypeCheck:
        if type_ in ("Resource", "DomainResource"):
            return lambda value, container: self.resource(value)
        structure = self[type_]
        known = invariants(self._constraints(element, type_), type_, self.definitions, warnings=self.thorough)
        rest: list[Ask] = self._targets(element, type_) + self._bindings(element, type_)
        rest += [each.findings for each in known]
        if not rest:
            return structure

        def check(value: Any, container: Container) -> Issues:
            found = structure(value, container)
            if found and wrong(found):
                return found
            for each in rest:
                if more := each(value, container):
                    found = found + more if found else more
            return found

        return check

    def _constraints(self, element: Element, type_: str) -> tuple[Constraint, ...]:
        """Where an element repeats the content of another, that one's: https://hl7.org/fhir/R4/elementdefinition.html"""
        if self.definitions.types[type_].kind != "backbone":
            return element.constraints
        owner, _, name = type_.rpartition(".")
        return self.definitions.types[owner].by_name[name].constraints

    def _targets(self, element: Element, type_: str) -> list[Ask]:
        if type_ != "Reference":
            return []
        check = target(element.targets.get(type_, ()), self.definitions.resource_types)
        return [lambda value, container: located(problem) if (problem := check(value, container)) else []]

    def _bindings(self, element: Element, type_: str) -> list[Ask]:
        if type_ not in CONCEPTS or element.binding is None:
            return []
        if binding := bound(element, self.codes):
            concept = CONCEPTS[type_](binding)
            return [lambda value, container: located(problem) if (problem := concept(value)) else []]
        return [asked(element.binding, type_)] if self.thorough and element.binding.strength != "example" else []

    def _extended(self, element: Element, key: str) -> Rule:
        item = self["Element"]
        return extended(element, key, item) if element.many else extended_one(element, key, item)

    def _contained(self, value: Any, node: Json, container: Container) -> Issues:
        """https://hl7.org/fhir/R4/references.html#contained"""
        if type(value) is not list or not value:
            return no_array("contained", "contained", value)
        if node is not container.resource:
            said = "a contained resource contains no others (dom-2)"
            return issue("invariant", said, "contained", ".contained", "dom-2")
        found: list[Finding] = []
        seen: set[str] = set()
        for index, inner in enumerate(value):
            problems = self.resource(inner, container) or []
            id_ = inner.get("id") if type(inner) is dict else None
            if not wrong(problems) and id_ is None:
                said = "a contained resource has an id, so that it can be referred to"
                problems = issue("required", said, "contained", ".id")
            elif isinstance(id_, str) and id_ in seen:
                said = f"two contained resources have the id {shown(id_)}"
                problems = problems + issue("value", said, "contained", ".id")
            elif isinstance(id_, str):
                seen.add(id_)
            found += under(f".contained[{index}]", problems)
            if full(found):
                break
        return found
