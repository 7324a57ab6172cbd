"""Wherever a body goes in or out, XML does: operations, batches, patches, searches, histories, refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lxml import etree

from fhirserver.fhir.definitions import r4
from fhirserver.fhir.xml import from_xml, to_xml

if TYPE_CHECKING:
    import httpx
    from conftest import Fhir, Serve

Json = dict[str, Any]
XML = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}


@pytest.fixture(scope="module")
def fhir(serve: Serve) -> Fhir:
    found = serve().client
    assert sent(found, "PUT", "Patient/ada", {"resourceType": "Patient", "id": "ada", "active": True})[0] == 201
    return found


def sent(fhir: Fhir, method: str, path: str, resource: Json | None = None, **headers: str) -> tuple[int, Json]:
    content = None if resource is None else to_xml(resource, r4())
    answer: httpx.Response = fhir.request(method, path, content=content, headers=XML | headers)
    assert answer.headers["content-type"].startswith("application/fhir+xml"), answer.text
    return answer.status_code, from_xml(answer.content, r4())


def parameters(**named: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": name, **said} for name, said in named.items()]}


def test_reads_searches_and_histories(fhir: Fhir) -> None:
    assert sent(fhir, "GET", "Patient/ada")[1]["active"] is True
    for path, kind in (("Patient?_id=ada", "searchset"), ("Patient/ada/_history", "history"), ("Patient", "searchset")):
        status, bundle = sent(fhir, "GET", path)
        assert (status, bundle["type"], bundle["entry"][0]["resource"]["id"]) == (200, kind, "ada")
    assert sent(fhir, "GET", "metadata")[1]["resourceType"] == "CapabilityStatement"


def test_a_batch(fhir: Fhir) -> None:
    entries = [
        {"request": {"method": "GET", "url": "Patient/ada"}},
        {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient", "gender": "other"}},
    ]
    status, bundle = sent(fhir, "POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert status == 200
    assert [each["response"]["status"][:3] for each in bundle["entry"]] == ["200", "201"]


def test_a_patch(fhir: Fhir) -> None:
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Patient.active"}]
    operation = parameters(operation={"part": [*parts, {"name": "value", "valueBoolean": False}]})
    assert sent(fhir, "PATCH", "Patient/ada", operation)[1]["active"] is False


def test_operations(fhir: Fhir) -> None:
    coding = {"system": "http://unitsofmeasure.org", "code": "mg"}
    asked = parameters(
        url={"valueUri": "http://hl7.org/fhir/ValueSet/ucum-units"},
        coding={"valueCoding": coding},
    )
    status, answer = sent(fhir, "POST", "ValueSet/$validate-code", asked)
    assert (status, answer["parameter"][0]) == (200, {"name": "result", "valueBoolean": True})
    status, expanded = sent(fhir, "GET", "ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender")
    assert (status, len(expanded["expansion"]["contains"])) == (200, 4)
    status, outcome = sent(fhir, "POST", "Patient/$validate", {"resourceType": "Patient", "gender": "mail"})
    assert (status, outcome["issue"][0]["expression"]) == (200, ["Patient.gender"])


@pytest.mark.parametrize(("path", "status"), [("Patient/none", 404), ("Patient?birthdate=x", 400), ("Nothing", 404)])
def test_refusals(fhir: Fhir, path: str, status: int) -> None:
    found, outcome = sent(fhir, "GET", path)
    assert (found, outcome["resourceType"]) == (status, "OperationOutcome")


def test_a_refused_body_says_where(fhir: Fhir) -> None:
    text = b'<Patient xmlns="http://hl7.org/fhir">\n  <name>\n    <familie value="x"/>\n  </name>\n</Patient>'
    answer = fhir.request("POST", "Patient", content=text, headers=XML)
    root = etree.fromstring(answer.content)
    location = root.find(".//{http://hl7.org/fhir}location")
    assert location is not None
    assert (answer.status_code, location.get("value")) == (400, "line 3, column 5")
