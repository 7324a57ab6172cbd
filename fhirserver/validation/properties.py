"""What may stand in a JSON property: one value or an array of them, null only where an extension stands for the value.

https://hl7.org/fhir/R4/json.html. A rule gives None or the issues; their expressions begin at the object that holds
the property, and each level above puts its own step before them, so that what is right pays for no expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fhirserver.fhir.definitions import Element, TypeDefinition
from fhirserver.validation.findings import Finding, Issues, Problem, full, issue, located, under
from fhirserver.validation.primitives import Check
from fhirserver.validation.references import Container
from fhirserver.validation.words import kind, nearest, one_of, shown

Json = dict[str, Any]
TypeCheck = Callable[[object, Container], Issues]  # a value of a type
Rule = Callable[[Any, Json, Container], Issues]  # a JSON property: its value, and the object it stands in

_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def no_array(key: str, name: str, value: object) -> list[Finding]:
    if type(value) is list:
        return issue("structure", f"the array {key} is empty; leave it out", "empty", f".{name}")
    return issue("structure", f"{key} repeats: expected an array, found {kind(value)}", "json-type", f".{name}")


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
                if full(found):
                    break
        return found

    return check


def primitive(element: Element, key: str, value_check: Check) -> Rule:
    step = f".{element.name}"
    choice = element.choice

    def check(value: Any, node: Json, container: Container) -> Issues:
        problem = value_check(value)
        if problem is None:
            return None
        return located(problem._replace(said=f"{problem.said} ({key})") if choice else problem, step)

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
                found = (found or []) + located(problem, f".{name}[{index}]")
                if full(found):
                    break
        return found

    return check


def extended_one(element: Element, key: str, item: TypeCheck) -> Rule:
    """`_birthDate`: the id and extensions of the value in `birthDate`."""
    step = f".{element.name}"

    def check(value: Any, node: Json, container: Container) -> Issues:
        found = item(value, container) or (None if key in node else _alone(key, value))
        return under(step, found) if found else None

    return check


def _alone(key: str, extra: Any) -> Issues:
    """ele-1"""
    if len(extra) > 1 or "id" not in extra:
        return None
    return issue("structure", f"{key} has neither a value nor an extension, but an id alone", "empty", "", "ele-1")


def extended(element: Element, key: str, item: TypeCheck) -> Rule:
    """`_given`: ids and extensions of the values in `given`. https://hl7.org/fhir/R4/json.html#primitive"""
    name = element.name

    def check(value: Any, node: Json, container: Container) -> Issues:
        if type(value) is not list or not value:
            return no_array("_" + key, name, value)
        values = node.get(key)
        values = values if type(values) is list else []
        found: list[Finding] = []
        for index, extra in enumerate(value):
            if extra is not None:
                problems = item(extra, container)
                if not problems and (index >= len(values) or values[index] is None):
                    problems = _alone(key, extra)
                if problems:
                    found += under(f".{name}[{index}]", problems)
            elif index < len(values) and values[index] is None:
                found += issue("structure", f"{key} and _{key} are both null here", "empty", f".{name}[{index}]")
            if full(found):
                break
        if key not in node and all(extra is None for extra in value):
            found += issue("structure", f"_{key} holds nothing but null", "empty", f".{name}")
        return found

    return check


def _null(key: str, index: int, node: Json) -> Problem | None:
    """null stands for a value that has only extensions; where both are null, the rule of `_key` says so."""
    extra = node.get("_" + key, ...)
    if extra is not ... and (type(extra) is not list or not extra or index < len(extra)):
        return None
    return Problem("structure", f"{key}[{index}] is null and _{key}[{index}] does not extend it", "empty")


def missing(name: str, element: Element) -> list[Finding]:
    keys = one_of(element.key(type_) for type_ in element.types)
    which = f"{element.name}[x] (one of {keys})" if element.choice else element.name
    return issue("required", f"{name} needs {which}", "cardinality-min", f".{element.name}")


def unknown(key: object, definition: TypeDefinition, rules: dict[str, Rule]) -> list[Finding]:
    if not isinstance(key, str):
        return issue("structure", f"{kind(key)} is no name of a property", "unknown-element")
    name, choices = definition.name, [element for element in definition.elements if element.choice]
    step = f".{key}" if _identifier.fullmatch(key) else ""
    bare = key.removeprefix("_")
    if key != bare and bare in rules:
        said = f"{name} has no {key}: ids and extensions of {bare} are not written this way"
        return issue("structure", said, "unknown-element", f".{bare}")
    for element in choices:
        if bare.startswith(element.name) and bare[len(element.name) :][:1].isupper():
            types = one_of(element.types)
            wrong = bare[len(element.name) :][:60]
            said = f"{element.name}[x] of {name} is never {wrong}; it is {types}"
            return issue("structure", said, "choice-type", f".{element.name}")
        if bare == element.name:
            keys = one_of(element.key(type_) for type_ in element.types)
            return issue("structure", f"{bare} of {name} is written with its type: {keys}", "choice-type", f".{bare}")
    return issue("structure", f"{name} has no element {shown(key)}{nearest(key, rules)}", "unknown-element", step)
