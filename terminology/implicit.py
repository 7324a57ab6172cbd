"""Value sets that nobody has to store: what their URLs say is what they are.

https://hl7.org/fhir/R4/snomedct.html#implicit, https://hl7.org/fhir/R4/loinc.html#implicit, https://hl7.org/fhir/R4/ucum.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fhirserver.fhir.units import UCUM, fault
from terminology.canonical import Canonical
from terminology.concepts import Filter
from terminology.value_sets import ValueSet

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
REFERENCE_SETS = "900000000000455006"

_snomed = re.compile(rf"({SNOMED}(?:/\d+(?:/version/\d+)?)?)\?fhir_vs(?:=(?P<what>.*))?", re.DOTALL)
_loinc = re.compile(rf"{LOINC}/vs(?:/(?P<code>(?:LP|LL)[\w-]+))?")
_ucum = re.compile(rf"{UCUM}/vs(?:/(?P<unit>.+))?")


def implicit(asked: Canonical) -> ValueSet | None:
    """None where the URL says nothing."""
    if asked.type != "ValueSet":
        return None
    if found := _snomed.fullmatch(asked.url):
        filters = _of_snomed(found["what"])
        edition = None if found[1] == SNOMED else found[1]
        return None if filters is None else _value_set(asked, "SNOMED CT", SNOMED, edition, filters)
    if found := _loinc.fullmatch(asked.url):
        code = found["code"]
        of_list = code is not None and code.startswith("LL")
        filters = [] if code is None else [Filter("LIST" if of_list else "ancestor", "=", code)]
        return _value_set(asked, "LOINC", LOINC, asked.version, filters)
    if found := _ucum.fullmatch(asked.url):
        unit = found["unit"]
        filters = [] if unit is None else [Filter("canonical", "=", unit)]
        return None if unit and fault(unit) else _value_set(asked, "UCUM", UCUM, asked.version, filters)
    return None


def whole(code_system: Mapping[str, Any]) -> ValueSet:
    """https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.valueSet"""
    url, _, version = code_system["valueSet"].partition("|")
    said = {name: code_system[name] for name in ("name", "title", "status", "experimental") if name in code_system}
    include = {"system": code_system["url"], "version": code_system.get("version")}
    compose = {"include": [{key: value for key, value in include.items() if value}]}
    version = version or code_system.get("version", "")
    return ValueSet(
        {
            "resourceType": "ValueSet",
            "url": url,
            **({"version": version} if version else {}),
            **said,
            "compose": compose,
        }
    )


def _of_snomed(what: str | None) -> list[Filter] | None:
    if what is None:
        return []
    kind, _, rest = what.partition("/")
    rest = unquote(rest).strip()
    if kind == "isa" and rest:
        return [Filter("concept", "is-a", rest)]
    if kind == "ecl" and rest:
        return [Filter("constraint", "=", rest)]
    if kind == "refset":
        return [Filter("constraint", "=", f"^ {rest}" if rest else f"< {REFERENCE_SETS}")]
    return None


def _value_set(asked: Canonical, name: str, system: str, version: str | None, filters: list[Filter]) -> ValueSet:
    include = {"system": system, "version": version, "filter": [each._asdict() for each in filters]}
    return ValueSet(
        {
            "resourceType": "ValueSet",
            "url": asked.url,
            "title": f"Part of {name}" if filters else f"All of {name}",
            "status": "active",
            "compose": {"include": [{key: value for key, value in include.items() if value}]},
        }
    )
