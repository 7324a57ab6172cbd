"""The rules that a StructureDefinition states, compiled to one closure per type, each when it is first met.

Elements, JSON types, cardinality, choices, formats, required codes, reference targets, containment:
https://hl7.org/fhir/R4/json.html and https://hl7.org/fhir/R4/elementdefinition.html. What is right costs one dictionary
look-up and one call per property; where it is wrong, each level puts its own step before the expression.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fhirserver.fhir.definitions import Definitions, Element, TypeDefinition
from fhirserver.fhir.outcome import Issue
from fhirserver.fhir.xml import is_attribute
from fhirserver.validation.bindings import CONCEPTS, Codes, bound
from fhirserver.validation.narrative import narrative
from fhirserver.validation.primitives import PRIMITIVES, Check, Problem
from fhirserver.validation.properties import (
    MOST_ISSUES,
    Issues,
    Json,
    Rule,
    TypeCheck,
    extended,
    issue,
    many,
    missing,
    no_array,
    one,
    primitive,
    primitives,
    under,
    unknown,
)
from fhirserver.validation.references import Container, target
from fhirserver.validation.words import kind, nearest, one_of, shown


class Structure(dict[str, TypeCheck]):
    """The check of a type by its name."""

    def __init__(self, definitions: Definitions, codes: Codes) -> None:
        super().__init__()
        self.definitions = definitions
        self.codes = codes

    def __missing__(self, name: str) -> TypeCheck:
        self[name] = check = self._compile(self.definitions.types[name])
        return check

    def resource(self, value: object, container: Container | None = None) -> Issues:
        """A resource of whatever type it says it is."""
        if type(value) is not dict:
            return issue("structure", f"a resource is a JSON object, not {kind(value)}")
        type_ = value.get("resourceType")
        if type_ is None:
            return issue("required", "a resource says what it is: resourceType is missing")
        if type(type_) is not str or type_ not in self.definitions.resource_types:
            meant = nearest(type_, self.definitions.resource_types) if type(type_) is str else ""
            return issue("structure", f"{shown(type_)} is no resource type of FHIR R4{meant}")
        return self[type_](value, container or Container(value))

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
        name = definition.name
        find = rules.get

        def check(node: object, container: Container) -> Issues:
            if type(node) is not dict:
                return issue("structure", f"expected a JSON object ({name}), found {kind(node)}")
            if not node:
                return issue("structure", "an object is never empty; leave the element out")
            found: Issues = None
            for key, value in node.items():
                rule = find(key)
                problems = rule(value, node, container) if rule else unknown(key, definition, rules)
                if problems:
                    found = found + problems if found else problems
                    if len(found) >= MOST_ISSUES:
                        return found
            for key, element, keys in required:
                if key not in node and keys.isdisjoint(node):
                    found = (found or []) + missing(name, element)
            for element, types in choices:
                held = [key for key in node if key in types]
                if len(held) > 1 and len({types[key] for key in held}) > 1:
                    given = one_of(held)
                    problems = issue(
                        "structure", f"{element.name}[x] has one value; here are {given}", f".{element.name}"
                    )
                    found = (found or []) + problems
            return found

        return check

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
        more: list[Callable[[Json, Container], Problem | None]] = []
        if type_ == "Reference":
            more.append(target(element.targets.get(type_, ()), self.definitions.resource_types))
        if type_ in CONCEPTS and (binding := bound(element, self.codes)):
            concept = CONCEPTS[type_](binding)
            more.append(lambda value, container: concept(value))
        if not more:
            return self[type_]
        structure = self[type_]

        def check(value: Any, container: Container) -> Issues:
            if found := structure(value, container):
                return found
            for rule in more:
                if problem := rule(value, container):
                    return issue(*problem)
            return None

        return check

    def _extended(self, element: Element, key: str) -> Rule:
        return extended(element, key, self["Element"]) if element.many else one(element, self["Element"])

    def _contained(self, value: Any, node: Json, container: Container) -> Issues:
        """https://hl7.org/fhir/R4/references.html#contained"""
        if type(value) is not list or not value:
            return no_array("contained", "contained", value)
        if node is not container.resource:
            return issue("invariant", "a contained resource contains no others (dom-2)", ".contained")
        found: list[Issue] = []
        seen: set[str] = set()
        for index, inner in enumerate(value):
            problems = self.resource(inner, container) or []
            id_ = inner.get("id") if type(inner) is dict else None
            if not problems and id_ is None:
                problems = issue("required", "a contained resource has an id, so that it can be referred to", ".id")
            elif isinstance(id_, str) and id_ in seen:
                problems = problems + issue("value", f"two contained resources have the id {shown(id_)}", ".id")
            elif isinstance(id_, str):
                seen.add(id_)
            found += under(f".contained[{index}]", problems)
            if len(found) >= MOST_ISSUES:
                break
        return found
