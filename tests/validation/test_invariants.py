"""Invariants and the rules of whole Bundles: what is broken, which constraint says so, and where."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.validate import Validator

Json = dict[str, Any]
VALIDATOR = Validator(r4(), required_codes())
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">hello</div>'
GONE = "(left out)"
EXTENDED: Json = {"extension": [{"url": "http://example.org/e", "valueCode": "e"}]}


def coded(code: str, system: str = LOINC) -> Json:
    return {"coding": [{"system": system, "code": code}]}


CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/condition-ver-status"

PATIENT: Json = {
    "resourceType": "Patient",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinic"}],
    "managingOrganization": {"reference": "#o"},
    "identifier": [{"value": "1", "period": {"start": "2020-01-01", "end": "2021-01-01"}}],
    "telecom": [{"system": "phone", "value": "1"}],
    "contact": [{"name": {"text": "x"}}],
    "photo": [{"contentType": "image/png", "data": "aGk="}],
    "extension": [{"url": "http://example.org/e", "valueString": "x"}],
}
OBSERVATION: Json = {
    "resourceType": "Observation",
    "status": "final",
    "code": coded("85354-9"),
    "valueString": "x",
    "effectiveTiming": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
    "referenceRange": [{"low": {"value": 1, "unit": "mg", "system": UCUM, "code": "mg"}, "high": {"value": 2}}],
    "component": [{"code": coded("8480-6"), "valueQuantity": {"value": 120, "system": UCUM, "code": "mm[Hg]"}}],
}
CONDITION: Json = {
    "resourceType": "Condition",
    "clinicalStatus": coded("active", CLINICAL),
    "verificationStatus": coded("confirmed", VERIFIED),
    "subject": {"reference": "Patient/1"},
    "onsetAge": {"value": 5, "system": UCUM, "code": "a"},
    "stage": [{"summary": {"text": "x"}}],
    "evidence": [{"code": [{"text": "x"}]}],
}
ALLERGY: Json = {
    "resourceType": "AllergyIntolerance",
    "clinicalStatus": coded("active", "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"),
    "verificationStatus": coded("confirmed", "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"),
    "patient": {"reference": "Patient/1"},
}
TIMED: Json = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/1"},
    "occurrenceTiming": {
        "repeat": {
            "duration": 1,
            "durationUnit": "h",
            "durationMax": 2,
            "count": 1,
            "countMax": 2,
            "frequency": 2,
            "period": 1,
            "periodUnit": "d",
            "periodMax": 2,
            "when": ["MORN"],
            "offset": 10,
        }
    },
}
QUESTIONNAIRE: Json = {
    "resourceType": "Questionnaire",
    "status": "draft",
    "name": "Asked",
    "item": [
        {
            "linkId": "a",
            "type": "group",
            "item": [{"linkId": "b", "type": "choice", "answerOption": [{"valueString": "x"}]}],
        },
        {"linkId": "c", "type": "string", "maxLength": 5, "text": "?"},
        {"linkId": "d", "type": "display", "text": "shown"},
        {
            "linkId": "e",
            "type": "boolean",
            "enableWhen": [{"question": "c", "operator": "exists", "answerBoolean": True}],
        },
    ],
}
VALUE_SET: Json = {
    "resourceType": "ValueSet",
    "url": "http://example.org/vs",
    "name": "Codes",
    "status": "draft",
    "compose": {"include": [{"system": LOINC, "concept": [{"code": "a"}]}]},
}
FILTER: Json = {"property": "a", "op": "=", "value": "b"}
TRANSACTION: Json = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "fullUrl": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d",
            "resource": {"resourceType": "Patient", "active": True},
            "request": {"method": "POST", "url": "Patient"},
        },
        {
            "fullUrl": "http://example.org/fhir/Observation/o",
            "resource": {
                "resourceType": "Observation",
                "id": "o",
                "status": "final",
                "code": {"text": "x"},
                "subject": {"reference": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d"},
            },
            "request": {"method": "PUT", "url": "Observation/o"},
        },
    ],
}
COMPOSITION: Json = {
    "resourceType": "Composition",
    "status": "final",
    "type": coded("1"),
    "date": "2024-01-01",
    "author": [{"display": "x"}],
    "title": "t",
    "section": [{"title": "s", "text": {"status": "generated", "div": DIV}}],
}
DOCUMENT: Json = {
    "resourceType": "Bundle",
    "identifier": {"system": "urn:x", "value": "1"},
    "timestamp": "2024-01-01T00:00:00Z",
    "type": "document",
    "entry": [{"fullUrl": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d", "resource": COMPOSITION}],
}
MESSAGE: Json = {
    "resourceType": "Bundle",
    "type": "message",
    "entry": [
        {
            "resource": {
                "resourceType": "MessageHeader",
                "eventCoding": {"code": "x"},
                "source": {"endpoint": "http://example.org"},
            }
        }
    ],
}
SEARCHSET: Json = {
    "resourceType": "Bundle",
    "type": "searchset",
    "total": 1,
    "entry": [{"search": {"mode": "match"}, "resource": {"resourceType": "Basic", "code": {"text": "x"}}}],
}
HISTORY: Json = {
    "resourceType": "Bundle",
    "type": "history",
    "entry": [{"request": {"method": "DELETE", "url": "Patient/1"}, "response": {"status": "204"}}],
}
ORGANIZATION: Json = {
    "resourceType": "Organization",
    "name": "x",
    "telecom": [{"system": "phone", "value": "1"}],
    "address": [{"city": "x"}],
}
STARTS = (
    *(PATIENT, OBSERVATION, CONDITION, ALLERGY, TIMED, QUESTIONNAIRE, VALUE_SET, TRANSACTION, DOCUMENT, MESSAGE),
    *(SEARCHSET, HISTORY, ORGANIZATION),
)


@pytest.mark.parametrize("start", STARTS, ids=[f"{each['resourceType']} {each.get('type', '')}" for each in STARTS])
def test_what_is_broken_below_is_valid(start: Json) -> None:
    assert VALIDATOR.issues(start) == []


def broken(start: Json, path: str, value: object) -> Json:
    """The resource with another value at a path, or none."""
    resource: Any = deepcopy(start)
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    node = resource
    for step in steps:
        node = node[step]
    if value is GONE:
        del node[last]
    elif isinstance(node, list) and last == len(node):
        node.append(value)
    else:
        node[last] = value
    return resource


P, OBS, C, T, Q = PATIENT, OBSERVATION, CONDITION, TRANSACTION, QUESTIONNAIRE
R = "ServiceRequest.occurrence.repeat"
REPEAT = "occurrenceTiming.repeat"
BREACHES: list[tuple[Json, str, object, str, str]] = [
    # what data types ask
    (P, "identifier.0.period.end", "2019", "per-1", "Patient.identifier[0].period"),
    (P, "telecom.0.system", GONE, "cpt-2", "Patient.telecom[0]"),
    (P, "photo.0.contentType", GONE, "att-1", "Patient.photo[0]"),
    (P, "extension.0.extension", [{"url": "a", "valueCode": "b"}], "ext-1", "Patient.extension[0]"),
    (P, "extension.0.valueString", GONE, "ext-1", "Patient.extension[0]"),
    (OBS, "referenceRange.0.low.system", GONE, "qty-3", "Observation.referenceRange[0].low"),
    (OBS, "component.0.valueQuantity.system", GONE, "qty-3", "Observation.component[0].value"),
    (C, "onsetAge.system", "urn:x", "age-1", "Condition.onset"),
    (C, "onsetAge.value", -1, "age-1", "Condition.onset"),
    (C, "onsetRange", {"low": {"value": 2}, "high": {"value": 1}}, "rng-2", "Condition.onset"),
    (OBS, "component.0.valueRatio", {"numerator": {"value": 1}}, "rat-1", "Observation.component[0].value"),
    (TIMED, f"{REPEAT}.durationUnit", GONE, "tim-1", R),
    (TIMED, f"{REPEAT}.periodUnit", GONE, "tim-2", R),
    (TIMED, f"{REPEAT}.duration", -1, "tim-4", R),
    (TIMED, f"{REPEAT}.period", -1, "tim-5", R),
    (TIMED, f"{REPEAT}.period", GONE, "tim-6", R),
    (TIMED, f"{REPEAT}.duration", GONE, "tim-7", R),
    (TIMED, f"{REPEAT}.count", GONE, "tim-8", R),
    (TIMED, f"{REPEAT}.when", ["C"], "tim-9", R),
    (TIMED, f"{REPEAT}.when", GONE, "tim-9", R),
    (TIMED, f"{REPEAT}.timeOfDay", ["10:00:00"], "tim-10", R),
    # what resources ask
    (P, "contact.0", {"relationship": [{"text": "x"}]}, "pat-1", "Patient.contact[0]"),
    (P, "managingOrganization", GONE, "dom-3", "Patient"),
    (P, "contained.0.meta", {"versionId": "1"}, "dom-4", "Patient"),
    (P, "contained.0.meta", {"security": [{"code": "R"}]}, "dom-5", "Patient"),
    (P, "contained.0.name", GONE, "org-1", "Patient.contained[0]"),
    (P, "text", {"status": "generated", "div": DIV.replace("hello", " ")}, "txt-2", "Patient.text.div"),
    (OBS, "dataAbsentReason", {"text": "x"}, "obs-6", "Observation"),
    (OBS, "component.0.code", coded("85354-9"), "obs-7", "Observation"),
    (OBS, "referenceRange.0", {"type": {"text": "x"}}, "obs-3", "Observation.referenceRange[0]"),
    (C, "verificationStatus.coding.0.code", "entered-in-error", "con-5", "Condition"),
    (C, "abatementString", "over", "con-4", "Condition"),
    (C, "stage.0", {"type": {"text": "x"}}, "con-1", "Condition.stage[0]"),
    (C, "evidence.0", EXTENDED, "con-2", "Condition.evidence[0]"),
    (ALLERGY, "clinicalStatus", GONE, "ait-1", "AllergyIntolerance"),
    (ALLERGY, "verificationStatus.coding.0.code", "entered-in-error", "ait-2", "AllergyIntolerance"),
    (ORGANIZATION, "name", GONE, "org-1", "Organization"),
    (ORGANIZATION, "telecom.0.use", "home", "org-3", "Organization.telecom[0]"),
    (ORGANIZATION, "address.0.use", "home", "org-2", "Organization.address[0]"),
    (Q, "item.0.item", GONE, "que-1", "Questionnaire.item[0]"),
    (Q, "item.1.linkId", "a", "que-2", "Questionnaire"),
    (Q, "item.2.code", [{"code": "x"}], "que-3", "Questionnaire.item[2]"),
    (Q, "item.3.answerOption", [{"valueString": "x"}], "que-5", "Questionnaire.item[3]"),
    (Q, "item.0.item.0.answerValueSet", "http://x", "que-4", "Questionnaire.item[0].item[0]"),
    (Q, "item.2.required", True, "que-6", "Questionnaire.item[2]"),
    (Q, "item.3.enableWhen.0.answerBoolean", GONE, "", "Questionnaire.item[3].enableWhen[0].answer"),
    (Q, "item.2.initial", [{"valueString": "x"}], "que-8", "Questionnaire.item[2]"),
    (Q, "item.2.readOnly", True, "que-9", "Questionnaire.item[2]"),
    (Q, "item.0.item.0.maxLength", 5, "que-10", "Questionnaire.item[0].item[0]"),
    (VALUE_SET, "compose.include.0", {"version": "1"}, "vsd-1", "ValueSet.compose.include[0]"),
    (VALUE_SET, "compose.include.0.filter", [FILTER], "vsd-3", "ValueSet.compose.include[0]"),
    # Bundles
    (T, "total", 1, "bdl-1", "Bundle"),
    (T, "entry.0.search", {"mode": "match"}, "bdl-2", "Bundle"),
    (T, "entry.0.request", GONE, "bdl-3", "Bundle"),
    (SEARCHSET, "entry.0.request", {"method": "GET", "url": "x"}, "bdl-3", "Bundle"),
    (HISTORY, "entry.0.response", GONE, "bdl-4", "Bundle"),
    (SEARCHSET, "entry.0.resource", GONE, "bdl-5", "Bundle.entry[0]"),
    (T, "entry.1.fullUrl", "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d", "bdl-7", "Bundle"),
    (T, "entry.1.fullUrl", "http://example.org/Observation/o/_history/1", "bdl-8", "Bundle.entry[1]"),
    (DOCUMENT, "identifier", GONE, "bdl-9", "Bundle"),
    (DOCUMENT, "timestamp", GONE, "bdl-10", "Bundle"),
    (DOCUMENT, "entry.0.resource", PATIENT, "bdl-11", "Bundle"),
    (MESSAGE, "entry.0.resource", PATIENT, "bdl-12", "Bundle"),
    (T, "entry.1.fullUrl", "Observation/o", "", "Bundle.entry[1].fullUrl"),
    (T, "entry.1.fullUrl", "http://example.org/fhir/Observation/other", "", "Bundle.entry[1].fullUrl"),
    (T, "entry.0.fullUrl", "urn:uuid:14121321-4af5-424c-a0e1-ed3aab1c349d", "", "Bundle.entry[1].resource.subject"),
    # codes that are known by how they are written
    (P, "photo.0.contentType", "a picture", "", "Patient.photo[0].contentType"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "path", "value", "constraint", "expression"),
    BREACHES,
    ids=[f"{row[3] or row[4]} {row[0]['resourceType']}.{row[1]}" for row in BREACHES],
)
def test_a_breach_is_one_issue(start: Json, path: str, value: object, constraint: str, expression: str) -> None:
    change = value
    if path == "onsetRange" or path.endswith(".valueRatio"):  # another choice, in the place of the one there is
        start = deepcopy(start)
        (start if path == "onsetRange" else start["component"][0]).pop(
            "onsetAge" if path == "onsetRange" else "valueQuantity"
        )
    issues = VALIDATOR.issues(broken(start, path, change))
    assert [(each.severity, each.constraint or "", each.expression) for each in issues] == [
        ("error", constraint, expression)
    ]
    assert issues[0].rule is not None


def test_what_is_recommended_is_a_warning() -> None:
    found = VALIDATOR.thorough({"resourceType": "Patient"}).issues
    assert [(each.severity, each.constraint, each.expression) for each in found] == [("warning", "dom-6", "Patient")]


def test_an_invariant_is_not_asked_of_what_is_wrong_already() -> None:
    period = {"start": "2020-13-01", "end": "2019"}
    (issue,) = VALIDATOR.issues({"resourceType": "Patient", "identifier": [{"period": period}]})
    assert issue.expression == "Patient.identifier[0].period.start"


def test_a_contained_resource_may_point_at_its_container() -> None:
    inner = {
        "resourceType": "Provenance",
        "id": "p",
        "target": [{"reference": "#"}],
        "recorded": "2024-01-01T00:00:00Z",
    }
    inner["agent"] = [{"who": {"display": "x"}}]
    assert VALIDATOR.issues({"resourceType": "Patient", "contained": [inner]}) == []


def test_what_only_terminology_knows_becomes_a_question() -> None:
    found = VALIDATOR.thorough({"resourceType": "Patient", "maritalStatus": coded("M", "urn:x")})
    (question,) = found.questions
    assert (question.strength, question.expression) == ("extensible", "Patient.maritalStatus")
    assert question.value_set.startswith("http://hl7.org/fhir/ValueSet/marital-status")
