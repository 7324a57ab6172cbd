"""Small valid resources of every type, made from the definitions by a seed."""

from __future__ import annotations

from random import Random
from typing import Any

from fhirserver.fhir import json
from fhirserver.fhir.definitions import Element, TypeDefinition, r4, required_codes
from fhirserver.validation.validate import Validator

R4 = r4()
TYPES = sorted(R4.resource_types)
PRIMITIVES: dict[str, Any] = {
    "base64Binary": "aGk=",
    "boolean": True,
    "canonical": "http://example.org/fhir/StructureDefinition/x|1.0",
    "code": "en",
    "date": "2024-05-01",
    "dateTime": "2024-05-01T10:00:00Z",
    "decimal": 1.5,
    "id": "a-1",
    "instant": "2024-05-01T10:00:00.123Z",
    "integer": 3,
    "markdown": "*text*",
    "oid": "urn:oid:1.2.3",
    "positiveInt": 2,
    "string": "Text",
    "time": "10:00:00",
    "unsignedInt": 0,
    "uri": "http://example.org/a",
    "url": "http://example.org/b",
    "uuid": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>',
}
EXTENSION = {"url": "http://example.org/x", "valueString": "x"}
LEFT_OUT = ("id", "meta", "extension", "modifierExtension", "contained", "implicitRules", "text", "language")
DEPTH = 4


# what their invariants ask beyond that
ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance"
NEEDED: dict[str, dict[str, Any]] = {
    "AllergyIntolerance": {
        "clinicalStatus": {"coding": [{"system": f"{ALLERGY}-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{ALLERGY}-verification", "code": "confirmed"}]},
    },
    "Appointment": {"participant": [{"type": [{"text": "x"}], "status": "accepted"}], "status": "proposed"},
    "AppointmentResponse": {"actor": {"display": "x"}},
    "CapabilityStatement": {"rest": [{"mode": "server"}], "kind": "requirements", "description": "x"},
    "Consent": {"policyRule": {"text": "x"}},
    "EventDefinition": {"trigger": [{"type": "named-event", "name": "x"}]},
    "ImmunizationRecommendation": {
        "recommendation": [{"vaccineCode": [{"text": "x"}], "forecastStatus": {"text": "x"}}]
    },
    "InsurancePlan": {"name": "x"},
    "Linkage": {"item": [{"type": "source", "resource": {"display": "x"}}] * 2},
    "MolecularSequence": {"coordinateSystem": 0},
    "Organization": {"name": "x"},
    "StructureDefinition": {
        "type": "Patient",
        "kind": "resource",
        "abstract": False,
        "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "differential": {"element": [{"id": "Patient", "path": "Patient"}]},
    },
    "TerminologyCapabilities": {"kind": "requirements", "description": "x"},
}
MIME = "http://hl7.org/fhir/ValueSet/mimetypes"
ATTEMPTS = 60
VALIDATOR = Validator(R4, required_codes())


def sample(type_: str, seed: int, share: float = 0.2) -> dict[str, Any]:
    """A valid resource with all that it must have, and a share of what it may have."""
    for attempt in range(ATTEMPTS):
        random = Random(seed + attempt * 1_000)
        less = share * (1 - attempt / ATTEMPTS)
        found = {"resourceType": type_} | _object(random, R4.types[type_], less, 0) | NEEDED.get(type_, {})
        issues = VALIDATOR.issues(json.resource(json.encode(found)))
        if not issues:
            return found
    raise AssertionError(f"no sample of {type_}: {issues}")


def _object(random: Random, definition: TypeDefinition, share: float, depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for element in definition.elements:
        wanted = element.min > 0 or (element.name not in LEFT_OUT and depth < DEPTH and random.random() < share)
        possible = [type_ for type_ in element.types if type_ in PRIMITIVES or _composed(type_)]
        if not wanted or not possible or element.max == 0:
            continue
        type_ = random.choice(possible)
        value = _value(random, element, type_, share / 2, depth + 1)
        out[element.key(type_)] = [value] if element.many else value
    return out


def _composed(type_: str) -> bool:
    definition = R4.types.get(type_)
    return definition is not None and definition.kind in ("complex-type", "backbone") and not definition.abstract


def _value(random: Random, element: Element, type_: str, share: float, depth: int) -> Any:
    codes = required_codes().get(element.binding.value_set if element.binding else "")
    if codes and element.binding and element.binding.strength == "required":
        system = random.choice(sorted(codes))
        code = random.choice(sorted(codes[system]))
        if type_ == "code":
            return code
        if type_ == "Coding":
            return {"system": system, "code": code}
        if type_ == "CodeableConcept":
            return {"coding": [{"system": system, "code": code}]}
    if type_ == "Reference":
        target = random.choice(element.targets.get("Reference", ("Patient",)))
        return {"reference": f"{'Patient' if target == 'Resource' else target}/1"}
    if type_ == "Extension":
        return EXTENSION
    if element.binding and element.binding.value_set.startswith(MIME):
        return "text/plain"
    if type_ in PRIMITIVES:
        return PRIMITIVES[type_]
    return _object(random, R4.types[type_], max(share, 0.05), depth) or {"extension": [EXTENSION]}
