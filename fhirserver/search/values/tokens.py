"""Codes and identifiers in every form that a client may type. https://hl7.org/fhir/R4/search.html#token"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fhirserver.fhir.units import UCUM
from fhirserver.search.values import CACHE, LONGEST_CACHED, Forms
from fhirserver.search.values.strings import apart, unique

Json = dict[str, Any]

# What R4 publishes says `caseSensitive`, but for the tables of HL7 v2; `sid` are the systems of others.
_CASED = ("http://hl7.org/fhir/", "http://terminology.hl7.org/CodeSystem/")
_NOT_SAID = ("http://hl7.org/fhir/sid/", "http://terminology.hl7.org/CodeSystem/v2-")
_CASED_TOO = frozenset({UCUM, "http://dicom.nema.org/resources/ontology/DCM"})


def cased(system: str | None) -> bool:
    """Whether codes of a system are known to differ by their case. In doubt they do not, as R4 asks."""
    return system is not None and (
        system in _CASED_TOO or (system.startswith(_CASED) and not system.startswith(_NOT_SAID))
    )


def any_case(system: str | None, code: str) -> str | None:
    """What is stored beside a code that may be written in another case: it ends in a space, as no code does."""
    lower = code.casefold()
    return None if lower == code.upper() or cased(system) else f"{lower} "


def _token(system: str | None, code: str | None) -> tuple[str, ...]:
    if code is None:
        return () if system is None else (f"{system}|",)
    forms = name(code) if system is None else [f"{system}|{code}", code, f"{system}|"]
    lower = any_case(system, code)
    return tuple(forms) if lower is None else (*forms, f"{system or ''}|{lower}", lower)


def name(text: str) -> list[str]:
    """Of what has no system, and is the same in the same case only."""
    return [text, f"|{text}"]


_cached_token = lru_cache(CACHE)(_token)


def token(system: str | None, code: str | None) -> tuple[str, ...]:
    """Every form in which a client may ask for a code: `system|code`, `code`, `system|`, `|code`."""
    short = len(system or "") + len(code or "") <= LONGEST_CACHED
    return _cached_token(system, code) if short else _token(system, code)


def coding(value: Json) -> list[str]:
    return [*token(value.get("system"), value.get("code"))]


def coding_text(value: Json) -> list[str]:
    display = value.get("display")
    return [] if display is None else [apart(display)]


def concept(value: Json) -> list[str]:
    codings = value.get("coding")
    if not codings:
        return []
    if len(codings) == 1:
        return coding(codings[0])
    return unique([form for each in codings for form in token(each.get("system"), each.get("code"))])


def concept_text(value: Json) -> list[str]:
    text = value.get("text")
    found = [] if text is None else [apart(text)]
    for each in value.get("coding") or ():
        display = each.get("display")
        if display is not None and display != text:
            found.append(apart(display))
    return found if len(found) < 2 else unique(found)


def identifier(value: Json) -> list[str]:
    """With its case, as Identifier.value says: https://hl7.org/fhir/R4/datatypes.html#Identifier"""
    system, number = value.get("system"), value.get("value")
    if number is None:
        return [] if system is None else [f"{system}|"]
    return name(number) if system is None else [f"{system}|{number}", number, f"{system}|"]


def identifier_text(value: Json) -> list[str]:
    type_ = value.get("type")
    text = type_ and type_.get("text")
    return [apart(text)] if text else []


def identifier_of_type(value: Json) -> list[str]:
    """`system|code|value` for the modifier :of-type."""
    type_, number = value.get("type"), value.get("value")
    if not type_ or number is None:
        return []
    codings = type_.get("coding") or ()
    return [f"{each.get('system', '')}|{each['code']}|{number}" for each in codings if "code" in each]


def contact_point(value: Json) -> list[str]:
    """`phone|555-1`: R4 names no namespace here, R5 and the peers take ContactPoint.system."""
    return [*_token(value.get("system"), value.get("value"))]


def boolean(value: bool) -> list[str]:
    return ["true" if value else "false"]


def code(text: str) -> list[str]:
    return [*token(None, text)]


def code_of(system: str) -> Forms:
    """A code whose system is implied by its required binding."""
    return lambda text: [*token(system, text)]


def least_token(forms: list[str]) -> str:
    """What a token is sorted by: its code, without the system."""
    return forms[1] if _alone(forms) else min(_codes(forms))


def greatest_token(forms: list[str]) -> str:
    return forms[1] if _alone(forms) else max(_codes(forms))


def _alone(forms: list[str]) -> bool:
    """Whether they are all of one code in a system."""
    return len(forms) == 3 and forms[0] == forms[2] + forms[1]


def _codes(forms: list[str]) -> list[str]:
    return [form for form in forms if "|" not in form and form[-1:] != " "] or forms
