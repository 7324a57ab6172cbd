"""Representations, encodings and limits of bodies."""

from __future__ import annotations

import gzip
import json

import pytest
from lxml import etree

PATIENT = {"resourceType": "Patient", "name": [{"family": "Ünïcode ✓"}], "active": True}
NAMESPACE = "{http://hl7.org/fhir}"


@pytest.mark.parametrize(
    ("accept", "query", "format_"),
    [
        (None, "", "json"),
        ("*/*", "", "json"),
        ("application/json", "", "json"),
        ("application/fhir+json; fhirVersion=4.0", "", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "", "xml"),
        ("text/html,*/*;q=0.1", "", "json"),
        ("application/fhir+xml", "", "xml"),
        ("application/xml;q=0.5, application/json", "", "json"),
        ("application/xml, application/json;q=0.2", "", "xml"),
        ("application/fhir+xml", "?_format=json", "json"),
        (None, "?_format=xml", "xml"),
        (None, "?_format=application/fhir+xml", "xml"),
        (None, "?_format=text/xml", "xml"),
        (None, "?_format=application/fhir%2Bjson", "json"),
        ("text/turtle", "", 406),
        ("application/fhir+json; fhirVersion=3.0", "", 406),
        ("application/json;q=0", "", 406),
        (None, "?_format=ttl", 406),
    ],
)
def test_the_client_chooses_the_representation(fhir, accept, query, format_):
    created = fhir.create(PATIENT)
    answer = fhir.get(f"Patient/{created['id']}{query}", headers={"Accept": accept} if accept else {})
    if format_ == 406:
        assert answer.status_code == 406
        assert answer.json()["issue"][0]["code"] == "not-supported"
    elif format_ == "xml":
        assert answer.headers["content-type"].startswith("application/fhir+xml")
        assert etree.fromstring(answer.content).find(f"{NAMESPACE}name/{NAMESPACE}family").get("value") == "Ünïcode ✓"
    else:
        assert answer.headers["content-type"].startswith("application/fhir+json")
        assert answer.json() == created


def test_a_write_that_could_not_be_answered_is_not_done(fhir):
    before = fhir.bundle("Patient?_summary=count")["total"]
    assert fhir.post("Patient", PATIENT, headers={"Accept": "image/png"}).status_code == 406
    assert fhir.bundle("Patient?_summary=count")["total"] == before


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/fhir+json", json.dumps(PATIENT), 201),
        ("application/json;charset=UTF-8", json.dumps(PATIENT), 201),
        ("application/fhir+xml", '<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>', 201),
        ("text/xml", '<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>', 201),
        ("text/plain", json.dumps(PATIENT), 415),
        ("application/json;charset=latin-1", json.dumps(PATIENT), 415),
        ("application/x-www-form-urlencoded", "a=b", 415),
        ("application/json-patch+json", "[]", 415),
        ("application/fhir+json", "", 400),
        ("application/fhir+json", "[]", 400),
        ("application/fhir+json", "{", 400),
        ("application/fhir+xml", "<Patient/>", 400),
        ("application/fhir+xml", "<!DOCTYPE x><Patient xmlns='http://hl7.org/fhir'/>", 400),
    ],
)
def test_bodies_are_read_by_their_content_type(fhir, content_type, body, status):
    answer = fhir.request("POST", "Patient", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    if status != 201:
        assert answer.json()["resourceType"] == "OperationOutcome"


def test_unparsable_json_is_located(fhir):
    text = '{"resourceType": "Patient",\n  "active": tru}'
    answer = fhir.request("POST", "Patient", content=text, headers={"Content-Type": "application/fhir+json"})
    issue = answer.json()["issue"][0]
    assert (answer.status_code, issue["location"]) == (400, ["line 2, column 17"])


def test_xml_out_of_place_is_located(fhir):
    text = """<Patient xmlns="http://hl7.org/fhir">\n  <gender value="male"/>\n  <active value="true"/>\n</Patient>"""
    answer = fhir.request("POST", "Patient", content=text, headers={"Content-Type": "application/fhir+xml"})
    issue = answer.json()["issue"][0]
    assert (answer.status_code, issue["location"], issue["expression"]) == (
        400,
        ["line 3, column 3"],
        ["Patient.active"],
    )


def test_a_duplicate_property_is_refused(fhir):
    text = '{"resourceType":"Patient","active":true,"active":false}'
    answer = fhir.request("POST", "Patient", content=text, headers={"Content-Type": "application/fhir+json"})
    assert answer.status_code == 400
    assert '"active" stands twice' in answer.json()["issue"][0]["diagnostics"]


def test_gzip_both_ways(fhir):
    many = {**PATIENT, "name": [{"family": f"Name{i}"} for i in range(200)]}
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    answer = fhir.request("POST", "Patient", content=gzip.compress(json.dumps(many).encode()), headers=headers)
    assert answer.status_code == 201
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()["name"]) == 200
    broken = fhir.request("POST", "Patient", content=b"not gzip", headers=headers)
    assert broken.status_code == 400
    short = fhir.request("POST", "Patient", content=gzip.compress(b"{}" * 99)[:-9], headers=headers)
    assert short.status_code == 400
    other = fhir.request("POST", "Patient", content=b"x", headers={**headers, "Content-Encoding": "br"})
    assert other.status_code == 415


def test_a_gzip_bomb_and_a_long_body_are_refused(fhir):
    headers = {"Content-Type": "application/fhir+json"}
    bomb = gzip.compress(b" " * 200_000_000, compresslevel=9)
    answer = fhir.request("POST", "Patient", content=bomb, headers={**headers, "Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert fhir.request("POST", "Patient", content=b" " * 11_000_000, headers=headers).status_code == 413


def test_pretty_is_for_people(fhir):
    created = fhir.create(PATIENT)
    text = fhir.get(f"Patient/{created['id']}?_pretty=true").text
    assert '\n  "active": true' in text
    assert json.loads(text) == created
    assert fhir.get(f"Patient/{created['id']}?_pretty=true&_format=xml").text.count("\n") > 4


@pytest.mark.parametrize(
    ("query", "present", "absent"),
    [
        ("_summary=true", {"name", "gender"}, {"text", "contact"}),
        ("_summary=text", {"text"}, {"name", "gender", "contact"}),
        ("_summary=data", {"name", "contact"}, {"text"}),
        ("_summary=false", {"name", "contact", "text"}, set()),
        ("_elements=name", {"name"}, {"gender", "text", "contact"}),
        ("_elements=Patient.gender,name", {"name", "gender"}, {"text"}),
        ("_elements=nmae,name", {"name"}, {"gender", "text"}),
        ("_elements=nmae", {"name", "contact", "text"}, set()),
    ],
)
def test_a_part_is_marked_as_one(fhir, query, present, absent):
    whole = {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
        "name": [{"family": "Part"}],
        "gender": "other",
        "contact": [{"name": {"family": "C"}}],
    }
    created = fhir.create(whole)
    for part in (
        fhir.get(f"Patient/{created['id']}?{query}").json(),
        fhir.bundle(f"Patient?_id={created['id']}&{query}")["entry"][0]["resource"],
    ):
        assert present <= part.keys()
        assert not absent & part.keys()
        assert part["id"] == created["id"]
        tags = [tag["code"] for tag in part["meta"].get("tag", [])]
        assert tags == ([] if "text" in present and "name" in present else ["SUBSETTED"])


@pytest.mark.parametrize("query", ["_summary=true", "_elements=name"])
def test_a_part_is_not_written_back(fhir, query):
    created = fhir.create(PATIENT | {"maritalStatus": {"text": "kept"}})
    part = fhir.get(f"Patient/{created['id']}?{query}").json()
    refused = fhir.put(f"Patient/{created['id']}", part)
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (422, ["Patient.meta.tag"])
    assert fhir.get(f"Patient/{created['id']}").json() == created


def test_an_unknown_summary_is_refused(fhir):
    created = fhir.create(PATIENT)
    assert fhir.get(f"Patient/{created['id']}?_summary=some").status_code == 400


def test_a_form_says_how_to_answer(fhir):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = fhir.request("POST", "Patient/_search", content="_id=x&_format=xml&_pretty=true", headers=form)
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    assert answer.text.count("\n") > 5
    assert "OperationOutcome" not in answer.text  # as it would be if the search did not know these
    assert "Patient?_id=x&amp;_format=xml&amp;_pretty=true" in answer.text


def test_a_pretty_that_is_not_understood_is_reported_or_refused(fhir):
    page = fhir.bundle("Patient?_id=x&_pretty=foo&_format=json")
    (issue,) = page["entry"][-1]["resource"]["issue"]
    assert issue["diagnostics"] == "_pretty: 'foo' is neither true nor false; it was ignored"
    assert page["link"][0]["url"].endswith("Patient?_id=x&_format=json")
    for path in ("Patient?_id=x", "metadata?mode=terminology"):
        assert fhir.get(f"{path}&_pretty=foo", headers={"Prefer": "handling=strict"}).status_code == 400


def test_a_read_with_a_parameter_of_a_search_is_refused_where_that_is_asked_for(fhir):
    path = f"Patient/{fhir.create(PATIENT)['id']}?_summary=true"
    assert fhir.get(path, headers={"Prefer": "handling=strict"}).status_code == 200
    assert fhir.get(f"{path}&_include=*").status_code == 200
    refused = fhir.get(f"{path}&_include=*", headers={"Prefer": "handling=strict"})
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "not-supported")


def test_a_body_of_another_version_of_fhir_is_not_read(fhir):
    for version, status in (("3.0", 415), ("4.0", 201)):
        headers = {"Content-Type": f"application/fhir+json; fhirVersion={version}"}
        assert fhir.post("Patient", PATIENT, headers=headers).status_code == status


def test_a_json_patch_has_a_media_type_of_its_own(fhir):
    answer = fhir.patch("Patient/x", [], headers={"Content-Type": "application/json"})
    assert answer.status_code == 415
    assert "application/json-patch+json" in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.0, br", False), ("br", False)],
)
def test_gzip_is_for_those_who_accept_it(fhir, accepted, zipped):
    answer = fhir.get("metadata", headers={"Accept-Encoding": accepted})
    assert ("content-encoding" in answer.headers) == zipped
