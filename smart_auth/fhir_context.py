"""What else is open where an EHR opens an app: an order, an imaging study, a Questionnaire by its canonical URL.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#fhir-context
"""

from __future__ import annotations

import json
import re
from typing import Any

from fhirserver.fhir.definitions import r4
from fhirserver.fhir.ids import ID

MOST = 20
LONGEST = 1_000  # characters of a text
LONGEST_IDENTIFIER = 2_000  # characters of JSON
LEVELS = 8  # of an identifier: type.coding[0].code has four
OF_THEIR_OWN = ("Patient", "Encounter")  # the launch says them as `patient` and `encounter`
LAUNCH = "launch"  # the one role that SMART defines, and that of what names none
_uri = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[\x21-\x7e]+")
_element = re.compile(r"[a-z][A-Za-z]*")
_identifier = frozenset(("use", "type", "system", "value", "period", "assigner"))


def wrong(value: Any) -> str:
    """What fhirContext should be instead; empty where it is right."""
    if not isinstance(value, list) or len(value) > MOST:
        return f"is a list of at most {MOST} objects"
    found = ((number, _wrong(each)) for number, each in enumerate(value))
    return next((f"[{number}]: {why}" for number, why in found if why), "")


def _wrong(item: Any) -> str:
    if not isinstance(item, dict) or item.keys().isdisjoint(("reference", "canonical", "identifier")):
        return "an object with a reference, a canonical or an identifier"
    unknown = sorted({*item} - {*_members})
    if unknown:
        return f"{unknown[0][:100]} is none of {', '.join(_members)}"
    for name, value in item.items():
        said, right = _members[name]
        if not right(value):
            return f"{name} is {said}"
    return _contrary(item)


def _contrary(item: dict[str, Any]) -> str:
    """What its members say together."""
    referred = item["reference"].partition("/")[0] if "reference" in item else None
    type_ = item.get("type", referred)
    if referred not in (None, type_):
        return f"type is that of the reference, {referred}"
    if type_ in OF_THEIR_OWN and item.get("role", LAUNCH) == LAUNCH:
        return f"{type_} has another role than {LAUNCH}: the one that is open is {type_.lower()}, beside fhirContext"
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()


def _is_reference(value: Any) -> bool:
    type_, _, id_ = value.partition("/") if isinstance(value, str) else ("", "", "")
    return _is_type(type_) and ID.fullmatch(id_) is not None


def _is_uri(value: Any) -> bool:
    return _is_text(value) and _uri.fullmatch(value) is not None


def _is_identifier(value: Any) -> bool:
    if not isinstance(value, dict) or not {*value} <= _identifier or value.keys().isdisjoint(("system", "value")):
        return False
    return len(json.dumps(value)) <= LONGEST_IDENTIFIER and _is_plain(value)


def _is_plain(value: Any, levels: int = LEVELS) -> bool:
    """As the elements of an Identifier are: texts, and objects and lists of them."""
    if not isinstance(value, dict | list):
        return _is_text(value)
    within = [*value.values()] if isinstance(value, dict) else value
    named = not isinstance(value, dict) or all(_element.fullmatch(name) for name in value)
    return bool(levels and within and named) and all(_is_plain(each, levels - 1) for each in within)


def _is_type(value: Any) -> bool:
    return isinstance(value, str) and value in r4().resource_types


def _is_role(value: Any) -> bool:
    return value == LAUNCH or _is_uri(value)


_members = {
    "reference": ("relative: a type of FHIR R4 and an id, ImagingStudy/123", _is_reference),
    "canonical": ("a canonical URL, with or without a version", _is_uri),
    "identifier": ("an Identifier of FHIR, with a system or a value", _is_identifier),
    "type": ("a type of FHIR R4", _is_type),
    "role": (f"{LAUNCH} or an absolute URI", _is_role),
}
