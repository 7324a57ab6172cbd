"""Ways to say what a Consent says, for tables of them."""

from __future__ import annotations

from typing import Any

from record import resource, to

Json = dict[str, Any]

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
TYPES = "http://hl7.org/fhir/resource-types"
URI = "urn:ietf:rfc:3986"
CLIENT = "urn:healthmate:client"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"


def coding(system: str, code: str) -> Json:
    return {"system": system, "code": code}


def concept(system: str, code: str) -> Json:
    return {"coding": [coding(system, code)]}


def actor(who: str | Json) -> Json:
    """A reference, or the client_id of an app, or whatever stands in its place."""
    if isinstance(who, str):
        named: Json = dict(to(who)) if "/" in who else {"identifier": {"system": CLIENT, "value": who}}
    else:
        named = who
    return {"role": concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "PRCP"), "reference": named}


def said(type_: str | None, *parts: Json, **conditions: Any) -> Json:
    """A provision. Conditions are short: `actor="Practitioner/1"`, `purpose="HRESCH"`, `code=(system, code)`."""
    provision: Json = {} if type_ is None else {"type": type_}
    for name, values in conditions.items():
        listed = values if isinstance(values, list) else [values]
        provision |= WRITTEN[name](listed)
    return provision | ({"provision": [*parts]} if parts else {})


WRITTEN = {
    "actor": lambda each: {"actor": [actor(one) for one in each]},
    "purpose": lambda each: {"purpose": [coding(REASON, one) if isinstance(one, str) else one for one in each]},
    "action": lambda each: {"action": [concept(ACTION, one) if isinstance(one, str) else one for one in each]},
    "class_": lambda each: {"class": [coding(URI if ":" in one else TYPES, one) for one in each]},
    "code": lambda each: {"code": [concept(*one) if isinstance(one, tuple) else one for one in each]},
    "label": lambda each: {
        "securityLabel": [coding(CONFIDENTIALITY if len(one) == 1 else ACT_CODE, one) for one in each]
    },
    "period": lambda each: {"period": dict(zip(("start", "end"), each, strict=False))},
    "dates": lambda each: {"dataPeriod": {k: v for k, v in zip(("start", "end"), each, strict=False) if v}},
    "data": lambda each: {"data": [{"meaning": meaning, "reference": to(name)} for meaning, name in each]},
}


def deny(*parts: Json, **conditions: Any) -> Json:
    return said("deny", *parts, **conditions)


def permit(*parts: Json, **conditions: Any) -> Json:
    return said("permit", *parts, **conditions)


def consent(name: str, patient: str, provision: Json | None, /, **more: Any) -> Json:
    body: Json = {
        "status": "active",
        "scope": concept(SCOPE, "patient-privacy"),
        "category": [concept(LOINC, "59284-0")],
        "patient": to(f"Patient/{patient}"),
        "policyRule": concept(ACT_CODE, "OPTIN"),
    }
    return resource(f"Consent/{name}", **(body | ({"provision": provision} if provision else {}) | more))
