"""Contained resources: chains lead into them, and `_contained` finds them. https://hl7.org/fhir/R4/search.html#contained"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir

RX = "http://example.org/medications"
STRICT = {"Prefer": "handling=strict"}
Json = dict[str, Any]


def to(reference: str) -> Json:
    return {"reference": reference}


def coded(*codes: str) -> Json:
    return {"coding": [{"system": RX, "code": code} for code in codes]}


def medication(id_: str, *codes: str, **more: Any) -> Json:
    return {"resourceType": "Medication", "id": id_, "code": coded(*codes), **more}


def organization(id_: str, name: str, **more: Any) -> Json:
    return {"resourceType": "Organization", "id": id_, "name": name, **more}


def request(id_: str, *inside: Json, medication: str = "#m", patient: str = "Patient/ada", **more: Any) -> Json:
    found = {"resourceType": "MedicationRequest", "id": id_, "status": "active", "intent": "order"}
    found |= {"subject": to(patient), "medicationReference": to(medication), **more}
    return found | ({"contained": [*inside]} if inside else {})


RESOURCES: list[Json] = [
    {"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}], "gender": "female"},
    organization("acme", "Acme"),
    medication("plain", "abc", manufacturer=to("Organization/acme")),
    medication("made", "xyz", manufacturer=to("#o"), contained=[organization("o", "Bolt")]),
    request("r1", medication("m", "abc", ingredient=[{"itemCodeableConcept": coded("salt")}])),
    request("r2", medication("m", "xyz", manufacturer=to("Organization/acme"))),
    request("r3", medication("m", "abc", manufacturer=to("#o")), organization("o", "Bolt", partOf=to("#top")),
            organization("top", "Cog")),
    request("r4", medication="Medication/plain"),
    request("r5", medication="Medication/made"),
    request("r6", medication("m", "abc"), medication("n", "xyz", manufacturer=to("#o")), organization("o", "Bolt"),
            {"resourceType": "Condition", "id": "c", "subject": to("Patient/ada"), "code": coded("ill")},
            reasonReference=[to("#c")], supportingInformation=[to("#n")]),
    {
        "resourceType": "Observation", "id": "o1", "status": "final", "code": coded("pulse"), "subject": to("#p"),
        "effectiveDateTime": "2024-01-01",
        "contained": [{
            "resourceType": "Patient", "id": "p", "name": [{"family": "Émile"}], "birthDate": "1990-05",
            "identifier": [{"system": "urn:mrn", "value": "7"}],
        }],
    },
    {
        "resourceType": "Observation", "id": "o2", "status": "final", "code": coded("pulse"),
        "subject": to("Patient/ada"), "effectiveDateTime": "2024-02-01",
    },
    {
        "resourceType": "DiagnosticReport", "id": "d", "status": "final", "code": coded("panel"),
        "subject": to("Patient/ada"), "result": [to("#high"), to("#low")],
        "contained": [
            {"resourceType": "Observation", "id": id_, "status": status, "code": coded("pulse"),
             "subject": to("Patient/ada"), "valueQuantity": {"value": value, "unit": "/min"}}
            for id_, status, value in (("high", "final", 90), ("low", "preliminary", 50))
        ],
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def record(fhir: Fhir) -> Fhir:
    for resource in RESOURCES:
        answer = fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


# chains


@pytest.mark.parametrize(
    ("search", "matches"),
    [
        ("MedicationRequest?medication.code=abc", "r1 r3 r4 r6"),
        (f"MedicationRequest?medication.code={RX}|xyz", "r2 r5"),
        ("MedicationRequest?medication:Medication.ingredient-code=salt", "r1"),
        ("MedicationRequest?medication.ingredient-code:missing=true", "r2 r3 r4 r5 r6"),
        ("MedicationRequest?medication.code:not=abc", "r2 r5"),
        ("MedicationRequest?medication._id=m", "r1 r2 r3 r6"),
        ("MedicationRequest?medication.manufacturer.name=acme", "r2 r4"),  # from what is contained to what is not
        ("MedicationRequest?medication.manufacturer.name=bolt", "r3 r5"),  # within, and from without into it
        ("MedicationRequest?medication.manufacturer.partof.name=cog", "r3"),
        ("MedicationRequest?medication.manufacturer.partof=Organization/acme", ""),
        ("MedicationRequest?medication.manufacturer:missing=true", "r1 r6"),
        ("MedicationRequest?patient.name=love&medication.code=xyz", "r2 r5"),
        ("MedicationRequest?_filter=medication[code eq abc].manufacturer.name eq bolt", "r3"),
        ("MedicationRequest?_filter=medication.code eq abc and not (medication.manufacturer pr true)", "r1 r6"),
        ("Observation?patient.name=emil", "o1"),
        ("Observation?subject:Patient.birthdate=1990", "o1"),
        ("Observation?subject:Patient.birthdate=lt1990", ""),
        ("Observation?subject.identifier=urn:mrn|7", "o1"),
        ("Observation?subject.name:contains=mil", "o1"),
        ("Observation?patient:missing=true", ""),
        ("DiagnosticReport?result.status=final&result.value-quantity=lt60", "d"),  # each of one, not both
        ("DiagnosticReport?_filter=result[status eq final].value-quantity lt 60", ""),
        ("DiagnosticReport?_filter=result[status eq final].value-quantity gt 60", "d"),
        ("DiagnosticReport?result.code-value-quantity=pulse$gt80", "d"),
        ("DiagnosticReport?result.code-value-quantity=panel$gt80", ""),
        ("DiagnosticReport?result.patient.name=lovelace", "d"),
        ("Medication?manufacturer.name=bolt", "made"),
        ("Patient?_has:Observation:patient:code=pulse&_has:MedicationRequest:patient:medication.code=xyz", "ada"),
        ("Patient?_has:DiagnosticReport:patient:result.status=preliminary", "ada"),
    ],
)
def test_a_chain_is_evaluated_inside_contained_resources(record: Fhir, search: str, matches: str) -> None:
    assert " ".join(sorted(record.ids(search, headers=STRICT))) == matches
