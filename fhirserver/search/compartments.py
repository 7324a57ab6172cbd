"""Whose record a resource belongs to: https://hl7.org/fhir/R4/compartmentdefinition.html

Membership is read off the index values: a second walk of the resource would find the same references.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from fhirserver.fhir.definitions import search_table
from fhirserver.fhir.references import parse

_ITSELF = "{def}"

# Of one patient each, by their parameter `patient`, although R4 has them in no compartment: the law of access counts
# them to the patient's record. US Core wants a patient's implants to be found under patient/Device.rs.
OF_A_PATIENT = ("Contract", "Device", "GuidanceResponse", "Task")

# The compartment of a patient who is not here, or of whom only a name or an identifier is known.
SOMEBODY = "Patient/"
ABOUT = ("beneficiary", "for", "individual", "patient", "subject")  # the elements that say who that is


@cache
def compartments() -> tuple[str, ...]:
    """Patient, Encounter, Practitioner, RelatedPerson, Device."""
    return tuple(_table())


@cache
def types_in(compartment: str) -> tuple[str, ...]:
    """The types of which a compartment may hold resources, its own among them."""
    return tuple(sorted({*_table()[compartment], compartment}))


@cache
def types_with(compartment: str) -> tuple[str, ...]:
    """The same with those that are counted to a patient's record."""
    return tuple(sorted({*types_in(compartment), *(OF_A_PATIENT if compartment == "Patient" else ())}))


@cache
def parameters_for(compartment: str, type_: str) -> tuple[str, ...]:
    """The parameters through which a resource of a type is in a compartment; none where it never is."""
    return tuple(code for code in _table()[compartment].get(type_, ()) if code != _ITSELF)


def memberships(resource: Mapping[str, Any], search: Mapping[str, Any]) -> list[str]:
    """The compartments of a resource: Patient/1 is in its own, and so is what refers to it as the table says.

    Only references of the compartment's type count: an Observation performed by a Patient is in that Patient's.
    With it are those that it is counted to beside the table, and `SOMEBODY` where it is in no patient's.
    """
    type_, id_ = resource["resourceType"], resource.get("id")
    found = {f"{type_}/{id_}": None} if id_ and type_ in compartments() else {}
    elsewhere = False
    for code, prefixes in _by_parameter(type_):
        if code not in search:
            continue
        for reference in search[code]:
            if reference.startswith(prefixes) and reference.count("/") == 1:
                found[reference] = None
            elif SOMEBODY in prefixes and "/Patient/" in reference:
                elsewhere = True
    nobodys = type_ != "Patient" and not any(each.startswith(SOMEBODY) for each in found)
    if nobodys and (elsewhere or any(_may_be_a_patient(each, resource) for each in _about(resource))):
        found[SOMEBODY] = None
    return list(found)


def _about(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The references that say whom a resource is about, where its type may be about a patient."""
    if not _by_parameter(resource["resourceType"]):
        return
    for element in ABOUT:
        value = resource.get(element)
        yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict))


def _may_be_a_patient(reference: Mapping[str, Any], resource: Mapping[str, Any]) -> bool:
    """Of a reference to no patient here: whether it does not say that it is to something else."""
    type_, text = reference.get("type"), reference.get("reference")
    if isinstance(text, str) and text.startswith("#"):
        inside = (each for each in resource.get("contained", ()) if each.get("id") == text[1:])
        type_ = next((each["resourceType"] for each in inside), type_)
    elif isinstance(text, str) and (literal := parse(text)) is not None:
        type_ = literal.type
    return type_ in (None, "Patient")


def secured(resource: Mapping[str, Any], base_url: str) -> list[str]:
    """A Binary is with its security context: https://hl7.org/fhir/R4/binary.html#security"""
    context = resource.get("securityContext") if resource["resourceType"] == "Binary" else None
    reference = context.get("reference") if isinstance(context, dict) else None
    if not isinstance(reference, str):
        return []
    return [reference.removeprefix(f"{base_url}/").partition("/_history/")[0]]


def members_by(type_: str, code: str) -> tuple[str, ...]:
    """How references by a parameter begin that make a resource a member of what they lead to."""
    return next((prefixes for each, prefixes in _by_parameter(type_) if each == code), ())


def _table() -> Mapping[str, Mapping[str, list[str]]]:
    table: Mapping[str, Mapping[str, list[str]]] = search_table()["compartments"]
    return table


@cache
def _by_parameter(type_: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """((code, reference prefixes), ...): `performer` may lead into the compartments of Patient and of Practitioner."""
    prefixes: dict[str, list[str]] = {}
    for compartment in compartments():
        for code in parameters_for(compartment, type_):
            prefixes.setdefault(code, []).append(f"{compartment}/")
    if type_ in OF_A_PATIENT:
        prefixes.setdefault("patient", []).append("Patient/")
    return tuple((code, tuple(each)) for code, each in prefixes.items())
