"""What may stand in a JSON property: one value or an array of them, null only where an extension stands for the value.

https://hl7.org/fhir/R4/json.html. A rule gives None or the issues; their expressions begin at the object that holds
the property, and each level above puts its own step before them, so that what is right pays for no expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from fhirserver.fhir.definitions import Element, TypeDefinition
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.primitives import Check, Problem
from fhirserver.validation.references import Container
from fhirserver.validation.words import kind, nearest, one_of, shown

MOST_ISSUES: Final = 100

Json = dict[str, Any]
Issues = list[Issue] | None
TypeCheck = Callable[[object, Container], Issues]  # a value of a type
Rule = Callable[[Any, Json, Container], Issues]  # a JSON property: its value, and the object it stands in

_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def issue(code: str, diagnostics: str, expression: str = "") -> list[Issue]:
    """One issue; its expression begins at the object being checked, as in `.name[0]`."""
    return [Issue("error", code, diagnostics, expression)]


def under(step: str, issues: list[Issue]) -> list[Issue]:
    return [issue._replace(expression=step + (issue.expression or "")) for issue in issues]


def no_array(key: str, name: str, value: object) -> list[Issue]:
    if type(value) is list:
        return issue("structure", f"the array {key} is empty; leave it out", f".{name}")
    return issue("structure", f"{key} repeats: expected an array, found {kind(value)}", f".{name}")


def one(element: Element, item: TypeCheck) -> Rule:
    step = f".{element.name}"

    def check(value: Any, node: Json, container: Container) -> Issues:
        found = item(value, container)
        return under(step, found) if found else None

    return check


def many(element: Element, item: TypeCheck) -> Rule:
    name = element.name

    def check(value: Any, node: Json, container: Container) -> Issues:
        if type(value) is not list or not value:
            return no_array(name, name, value)
        found: Issues = None
        for index, each in enumerate(value):
            if problems := item(each, container):
                problems = under(f".{name}[{index}]", problems)
                found = found + problems if found else problems
                if len(found) >= MOST_ISSUES:
                    break
        return found

    return check


def primitive(element: Element, key: str, value_check: Check) -> Rule:
    step = f".{element.name}"
    where = f" ({key})" if element.choice else ""

    def check(value: Any, node: Json, container: Container) -> Issues:
        problem = value_check(value)
        return issue(problem[0], problem[1] + where, step) if problem else None

    return check


def primitives(element: Element, key: str, value_check: Check) -> Rule:
    name = element.name

    def check(value: Any, node: Json, container: Container) -> Issues:
        if type(value) is not list or not value:
            return no_array(key, name, value)
        found: Issues = None
        for index, each in enumerate(value):
            problem = _null(key, index, node) if each is None else value_check(each)
            if problem:
                found = (found or []) + issue(*problem, f".{name}[{index}]")
                if len(found) >= MOST_ISSUES:
                    break
        return found

    return check


def extended(element: Element, key: str, item: TypeCheck) -> Rule:
    """`_given`: ids and extensions of the values in `given`. https://hl7.org/fhir/R4/json.html#primitive"""
    name = element.name

    def check(value: Any, node: Json, container: Container) -> Issues:
        if type(value) is not list or not value:
            return no_array("_" + key, name, value)
        values = node.get(key)
        values = values if type(values) is list else []
        found: list[Issue] = []
        for index, extra in enumerate(value):
            if extra is not None:
                if problems := item(extra, container):
                    found += under(f".{name}[{index}]", problems)
            elif index < len(values) and values[index] is None:
                found += issue("structure", f"{key} and _{key} are both null here", f".{name}[{index}]")
            if len(found) >= MOST_ISSUES:
                break
        if key not in node and all(extra is None for extra in value):
            found += issue("structure", f"_{key} holds nothing but null", f".{name}")
        return found

    return check


def _null(key: str, index: int, node: Json) -> Problem | None:
    """null stands for a value that has only extensions; where both are null, the rule of `_key` says so."""
    extra = node.get("_" + key, ...)
    if extra is not ... and (type(extra) is not list or not extra or index < len(extra)):
        return None
    return "structure", f"{key}[{index}] is null and _{key}[{index}] does not extend it"


def missing(name: str, element: Element) -> list[Issue]:
    keys = one_of(element.key(type_) for type_ in element.types)
    which = f"{element.name}[x] (one of {keys})" if element.choice else element.name
    return issue("required", f"{name} needs {which}", f".{element.name}")


def unknown(key: object, definition: TypeDefinition, rules: dict[str, Rule]) -> list[Issue]:
    if not isinstance(key, str):
        return issue("structure", f"{kind(key)} is no name of a property")
    name, choices = definition.name, [element for element in definition.elements if element.choice]
    step = f".{key}" if _identifier.fullmatch(key) else ""
    bare = key.removeprefix("_")
    if key != bare and bare in rules:
        said = f"{name} has no {key}: ids and extensions of {bare} are not written this way"
        return issue("structure", said, f".{bare}")
    for element in choices:
        if bare.startswith(element.name) and bare[len(element.name) :][:1].isupper():
            types = one_of(element.types)
            wrong = bare[len(element.name) :][:60]
            return issue(
                "structure", f"{element.name}[x] of {name} is never {wrong}; it is {types}", f".{element.name}"
            )
        if bare == element.name:
            keys = one_of(element.key(type_) for type_ in element.types)
            return issue("structure", f"{bare} of {name} is written with its type: {keys}", f".{bare}")
    return issue("structure", f"{name} has no element {shown(key)}{nearest(key, rules)}", step)
