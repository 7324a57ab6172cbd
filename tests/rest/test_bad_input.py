"""Input that fuzzing found to break something; each line once was a defect."""

from __future__ import annotations

import pytest
from lxml import etree

from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.fhir.json import decode
from fhirserver.validation.validate import Validator


@pytest.mark.parametrize("path", ["Patient?%00=x", "Patient?%1F=x", "Patient/%01", "Patient?name:%02=x", "%03"])
def test_a_refusal_quotes_control_characters_in_a_way_fhir_can_write(fhir, path):
    answer = fhir.get(path, headers={"Prefer": "handling=strict"})
    assert answer.status_code in (400, 404)
    assert Validator(r4(), required_codes()).issues(decode(answer.content)) == []
    as_xml = fhir.get(path, headers={"Prefer": "handling=strict", "Accept": "application/fhir+xml"})
    assert etree.fromstring(as_xml.content).tag == "{http://hl7.org/fhir}OperationOutcome"


@pytest.mark.parametrize("query", ["name=%ff", "_format=ttl", "&".join(["a=b"] * 3_000)])
def test_a_query_string_that_cannot_be_read_is_refused_in_the_representation_of_accept(fhir, query):
    answer = fhir.get(f"Patient?{query}", headers={"Accept": "application/fhir+xml"})
    assert answer.status_code in (400, 406)
    assert etree.fromstring(answer.content).tag == "{http://hl7.org/fhir}OperationOutcome"


@pytest.mark.parametrize("data", ["é", "*", "A", 1, None, ["W10="]])
def test_a_binary_patch_that_is_not_base64_is_refused(fhir, data):
    patient = fhir.create({"resourceType": "Patient"})
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    entry = {"request": {"method": "PATCH", "url": f"Patient/{patient['id']}"}, "resource": binary}
    answer = fhir.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert answer.json()["entry"][0]["response"]["status"] == "400"
    assert fhir.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).status_code == 400
