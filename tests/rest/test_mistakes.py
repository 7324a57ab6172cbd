"""What is typed at two in the morning, and the sentence that helps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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


STRICT = {"Prefer": "handling=strict"}
NOWHERE = "so that nothing matches Medication/1; it may refer to Group, Device, Patient, Location"


# what a search is told where it is lenient, and refused for where it is strict
@pytest.mark.parametrize(
    ("path", "place", "said"),
    [
        ("Observation?subject=Medication/1", "http.subject", NOWHERE),
        ("Observation?encounter.subject=Medication/1", "http.encounter.subject", "never refers to a Medication"),
        ("?_type=Observation,Condition&subject=Medication/1", "http.subject", "never refers to a Medication"),
        ("Patient?_id=a b!", "http._id", "_id: 'a b!' is no id"),
        ("Patient/1/Observation?_id:not=a_b", "http._id:not", "_id:not: 'a_b' is no id"),
        ("Patient?nme=x", "http.nme", "did you mean name?"),
        ("Patient?organization.nme=x", "http.organization.nme", "did you mean name?"),
        ("Patient?name:exact=", "http.name:exact", "name: has no value"),
        ("Patient?_filter=", "http._filter", "_filter: has no value"),
        ("Patient?_query=", "http._query", "_query: has no value"),
        ("Patient?_type=", "http._type", "_type: has no value"),
        ("?_type=&_id=1", "http._type", "_type: has no value"),
        ("Patient?_pretty=foo", "http._pretty", "'foo' is neither true nor false"),
        ("Patient?_summary=true&_elements=name", "http._summary", "_elements says which parts are wanted"),
    ],
)
def test_a_search_names_the_parameter_of_the_url(fhir: Fhir, path: str, place: str, said: str) -> None:
    fhir.put("Patient/1", {"resourceType": "Patient", "id": "1"})
    bundle = fhir.bundle(path)
    (issue,) = bundle["entry"][-1]["resource"]["issue"]
    assert (issue["severity"], issue["expression"]) == ("warning", [place])
    assert said in issue["diagnostics"]
    refused = fhir.get(path, headers=STRICT)
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (400, [place])
    assert said in refused.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("path", ["Patient/1", "Patient/_history", "Patient"])
def test_elements_may_be_named_one_by_one(fhir: Fhir, path: str) -> None:
    whole = {"resourceType": "Patient", "id": "1", "gender": "female", "birthDate": "1815-12-10", "language": "en"}
    fhir.put("Patient/1", whole)
    answer = fhir.bundle(f"{path}?_elements=gender&_elements=birthDate,nmae")
    resource = answer if path == "Patient/1" else answer["entry"][0]["resource"]
    assert resource.keys() - {"meta"} == {"resourceType", "id", "gender", "birthDate"}


@pytest.mark.parametrize("path", ["Patient/1?_elements=nmae", "Patient/_history?_elements=nmae"])
def test_elements_that_are_none_are_refused_where_that_is_asked_for(fhir: Fhir, path: str) -> None:
    fhir.put("Patient/1", {"resourceType": "Patient", "id": "1"})
    assert fhir.get(path).status_code == 200
    refused = fhir.get(path, headers=STRICT)
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (400, ["http._elements"])
    assert "did you mean name?" in refused.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("path", "status", "place"),
    [
        ("Observation?date=soon", 400, "http.date"),
        ("Observation?subject:Medication=1", 400, "http.subject:Medication"),
        ("Observation?subject:Medication.code=1", 400, "http.subject:Medication.code"),
        ("Observation?code:in=http://example.org/none", 400, "http.code:in"),
        ("Patient?_has:Observation:patient:code:in=http://example.org/none", 400,
         "http._has:Observation:patient:code:in"),
        ("Patient?organization:below=Organization/1&general-practitioner:below=Practitioner/1", 400,
         "http.general-practitioner:below"),
        ("Patient?_list=$current-problems", 400, "http._list"),
        ("Patient?_sort=nme", 400, "http._sort"),
        ("Patient?_sort=_score", 400, "http._sort"),
        ("Patient?_cursor=AAAA", 400, "http._cursor"),
        ("Patient?_format=ttl", 406, "http._format"),
        ("Patient/1?_elements=" + ",".join(map(str, range(1001))), 400, "http._elements"),
        ("_history?_elements=" + ",".join(map(str, range(1001))), 400, "http._elements"),
        ("?_type=Nonsense", 400, "http._type"),
        ("Medication?code=x&_contained=true&_sort=code", 400, "http._sort"),
        ("Medication?_text=x&_contained=true", 400, "http._text"),
        ("?_type=Medication,Patient&_contained=true", 400, "http._contained"),
        ("Patient/_history?_count=x", 400, "http._count"),
        ("Patient/_history?_since=soon", 400, "http._since"),
        ("Patient/1/$everything?start=soon", 400, "http.start"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_parameter_of_the_url(fhir: Fhir, path: str, status: int, place: str) -> None:
    fhir.put("Patient/1", {"resourceType": "Patient", "id": "1"})
    refused = fhir.get(path)
    assert (refused.status_code, refused.json()["issue"][0].get("expression")) == (status, [place])


@pytest.mark.parametrize("body", [{}, {"parameter": [{"name": "max", "valuePositiveInt": 1}]}])
def test_what_is_missing_is_named_where_it_would_stand(fhir: Fhir, body: dict[str, Any]) -> None:
    answer = fhir.post("Observation/$lastn", {"resourceType": "Parameters"} | body)
    assert answer.json()["issue"][0]["expression"] == ["Parameters.parameter.where(name = 'patient')"]
    asked = fhir.request("POST", "Observation/$lastn")
    assert asked.json()["issue"][0]["expression"] == ["http.patient"]


def test_what_is_asked_in_a_bundle_is_named_by_its_entry(fhir: Fhir) -> None:
    entry = {"request": {"method": "GET", "url": "Patient?birthdate=soon"}}
    answer = fhir.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}).json()
    assert answer["entry"][0]["response"]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[0]"]


def test_a_byte_order_mark_is_passed_over(fhir: Fhir) -> None:
    answer = fhir.post("Patient", content=b"\xef\xbb\xbf" + PATIENT.encode(), headers={"Content-Type": JSON})
    assert answer.status_code == 201, answer.text


def test_what_is_not_utf_8_is_found_where_it_is(fhir: Fhir) -> None:
    body = json.dumps({"resourceType": "Patient", "name": [{"family": "Müller"}]}, ensure_ascii=False)
    answer = fhir.post("Patient", content=body.encode("latin-1"), headers={"Content-Type": JSON})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["location"] == [f"line 1, column {body.index('ü') + 1}"]
