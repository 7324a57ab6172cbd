"""What is typed at two in the morning, and the sentence that helps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Fhir

JSON, XML, FORM = "application/fhir+json", "application/fhir+xml", "application/x-www-form-urlencoded"
PATIENT = '{"resourceType":"Patient"}'


@pytest.mark.parametrize(
    ("method", "path", "media", "body", "status", "said"),
    [
        ("POST", "Patient", FORM, PATIENT, 415, "add -H 'Content-Type: application/fhir+json'"),
        ("POST", "Patient", XML, PATIENT, 400, "Content-Type says xml, but the body looks like json"),
        ("POST", "Patient", JSON, "  <Patient/>", 400, "Content-Type says json, but the body looks like xml"),
        ("POST", "patient", JSON, PATIENT, 404, "patient is not a resource type of FHIR R4; did you mean Patient?"),
        ("GET", "Patients/1", JSON, "", 404, "did you mean Patient?"),
        ("GET", "medicationrequest", JSON, "", 404, "did you mean MedicationRequest?"),
        ("GET", "Zebra", JSON, "", 404, "Zebra is not a resource type of FHIR R4"),
        ("PUT", "Patient", JSON, PATIENT, 412, "Patient/[id], or Patient?identifier=…"),
        ("DELETE", "Patient", JSON, "", 412, "it would match them all"),
        ("PUT", "Patient/1", JSON, PATIENT, 400, "the URL says Patient/1, the body has no id; it has to be the same"),
        ("PUT", "Patient/1", JSON, '{"resourceType":"Patient","id":"2"}', 400, "the body has id '2'"),
        ("PATCH", "Patient/1", "application/merge-patch+json", "{}", 415, "send application/json-patch+json"),
        ("PATCH", "Patient/1", JSON, '{"active":true}', 415, "PATCH takes application/json-patch+json"),
        ("POST", "Patient", "text/hl7v2", "MSH|", 415, f"send {JSON} or {XML}"),
        ("POST", "Patient/_search", "text/plain", "name=ada", 415, f"send {FORM}"),
        ("POST", "Patient/_search", JSON, "{}", 415, f"_search takes {FORM}"),
        ("GET", "Patient/1/$everything?_since=soon", JSON, "", 400, "_since: 'soon' is not a date"),
        ("GET", "Patient/1/$everything?start=gt2024", JSON, "", 400, "start: 'gt2024' is not a date"),
        ("GET", "Patient/1/$everything?end=2024-13", JSON, "", 400, "end: '2024-13' is not a date"),
        ("GET", "Patient/_history?_since=soon", JSON, "", 400, "_since: 'soon' is not a date"),
        ("GET", "Patient/1/_history?_at=soon", JSON, "", 400, "_at: 'soon' is not a date"),
    ],
)
def test_a_refusal_says_what_to_do(
    fhir: Fhir, method: str, path: str, media: str, body: str, status: int, said: str
) -> None:
    answer = fhir.request(method, path, content=body, headers={"Content-Type": media})
    assert answer.status_code == status, answer.text
    assert said in answer.json()["issue"][0]["diagnostics"]


def test_a_byte_order_mark_is_passed_over(fhir: Fhir) -> None:
    answer = fhir.post("Patient", content=b"\xef\xbb\xbf" + PATIENT.encode(), headers={"Content-Type": JSON})
    assert answer.status_code == 201, answer.text


def test_what_is_not_utf_8_is_found_where_it_is(fhir: Fhir) -> None:
    body = json.dumps({"resourceType": "Patient", "name": [{"family": "Müller"}]}, ensure_ascii=False)
    answer = fhir.post("Patient", content=body.encode("latin-1"), headers={"Content-Type": JSON})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["location"] == [f"line 1, column {body.index('ü') + 1}"]
