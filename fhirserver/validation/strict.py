"""What $validate and profiles ask beyond what a write must keep: URIs that are absolute, units that are units.

Much that is stored elsewhere is not so, and harms nobody who stores it. https://hl7.org/fhir/R4/datatypes.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fhirserver.fhir.definitions import Definitions, TypeDefinition
from fhirserver.fhir.ids import URIS
from fhirserver.fhir.outcome import Issue
from fhirserver.fhir.units import UCUM, fault
from fhirserver.validation.findings import Finding, Problem, issue, located
from fhirserver.validation.primitives import Check, urn
from fhirserver.validation.references import Container
from fhirserver.validation.words import shown

Ask = Callable[[Any, Container], list[Finding]]

_absolute = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]")


def strict(definition: TypeDefinition, definitions: Definitions) -> list[Ask]:
    """Of a value of a type."""
    found: list[Ask] = []
    if "extension" in definition.by_name and definition.name != "Extension":
        found.append(_extensions)
    if definition.name in OF_TYPE:
        found.append(OF_TYPE[definition.name])
    if definitions.is_a(definition.name, "Quantity"):
        found.append(_unit)
    return found


def canonical(value: object) -> Problem | None:
    """https://hl7.org/fhir/R4/references.html#canonical"""
    if type(value) is not str or value[:1] == "#" or _absolute.match(value):
        return urn(value)
    said = f"{shown(value)} is no canonical URL: it is absolute, or #id of what is contained"
    return Problem("value", said, "uri", severity="warning")  # examples of the specification have Library/id


def _relative(text: Any) -> bool:
    return type(text) is str and _absolute.match(text) is None


def _extensions(node: dict[str, Any], container: Container) -> list[Finding]:
    """Within an extension, others may have names instead. https://hl7.org/fhir/R4/extensibility.html"""
    found: list[Finding] = []
    for name in ("extension", "modifierExtension"):
        for index, each in enumerate(node.get(name, ())):
            if _relative(each.get("url")):
                said = f"{shown(each['url'])} names no definition: the url of an extension is absolute"
                found += issue("value", said, "uri", f".{name}[{index}].url")
    return found


def _coding(node: dict[str, Any], container: Container) -> list[Finding]:
    if not _relative(node.get("system")):
        return []
    said = f"{shown(node['system'])} names no code system: the system of a Coding is an absolute URI"
    return issue("value", said, "uri", ".system")


def _reference(node: dict[str, Any], container: Container) -> list[Finding]:
    problem = urn(node.get("reference"))
    return located(problem, ".reference") if problem else []


def _identifier(node: dict[str, Any], container: Container) -> list[Finding]:
    system, value = node.get("system"), node.get("value")
    if _relative(system):
        return issue(
            "value", f"{shown(system)} names no system: that of an Identifier is an absolute URI", "uri", ".system"
        )
    if system == URIS and _relative(value):
        said = f"an identifier of {URIS} is an absolute URI, and {shown(value)} is none"
        return issue("value", said, "uri", ".value")
    return []


def _unit(node: dict[str, Any], container: Container) -> list[Finding]:
    why = fault(node["code"]) if node.get("system") == UCUM and "code" in node else None
    return [Issue("warning", "code-invalid", why, ".code", rule="unit")] if why else []


OF_TYPE: dict[str, Ask] = {"Coding": _coding, "Identifier": _identifier, "Reference": _reference}
OF_PRIMITIVE: dict[str, Check] = {"canonical": canonical, "uri": urn, "url": urn}
