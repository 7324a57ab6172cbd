"""A Binary goes in and out in its own media type, and cannot harm the browser that opens it."""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    import httpx
    from conftest import Fhir

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256))
CDA = b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>'
PATIENT = b'{"resourceType":"Patient"}'


def sent(fhir: Fhir, method: str, path: str, content: bytes, media: str, **headers: str) -> httpx.Response:
    return fhir.request(method, path, content=content, headers={"Content-Type": media, **headers})


@pytest.fixture(scope="module")
def scan(fhir: Fhir) -> Fhir:
    answer = sent(fhir, "PUT", "Binary/scan", PNG, "image/png", **{"X-Security-Context": "Patient/ada"})
    assert answer.status_code == 201, answer.text
    return fhir


ACCEPTED = [
    (None, "image/png"),
    ("*/*", "image/png"),
    ("image/png", "image/png"),
    ("image/*,*/*;q=0.8", "image/png"),
    ("text/plain", "image/png"),
    ("application/json", "image/png"),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "image/png"),
    ("application/fhir+json;q=0,*/*", "image/png"),
    ("application/fhir+json", "application/fhir+json"),
    ("application/fhir+json;q=0.5, image/png;q=0.1", "application/fhir+json"),
    ("application/fhir+xml", "application/fhir+xml"),
    ("application/json+fhir", "application/fhir+json"),
]


@pytest.mark.parametrize(("accept", "media"), ACCEPTED)
@pytest.mark.parametrize("path", ["Binary/scan", "Binary/scan/_history/1"])
def test_what_is_read(scan: Fhir, path: str, accept: str | None, media: str) -> None:
    answer = scan.get(path, headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, media)
    assert answer.headers["etag"] == 'W/"1"'
    assert (answer.content == PNG) == (media == "image/png")


def test_content_is_safe_to_open(scan: Fhir) -> None:
    page = b"<script>alert(1)</script>"
    sent(scan, "PUT", "Binary/page", page, "text/html; charset=utf-8")
    answer = scan.get("Binary/page", headers={"Accept-Encoding": "gzip"})
    assert (answer.content, answer.headers["content-type"]) == (page, "text/html; charset=utf-8")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["content-disposition"] == "attachment"
    evil = {"resourceType": "Binary", "id": "evil", "contentType": "text/html\r\nX-Evil: 1", "data": "aGk="}
    assert scan.put("Binary/evil", evil).status_code == 400
    assert scan.put("Binary/evil", evil | {"contentType": "odd"}).status_code == 400
    assert scan.put("Binary/evil", evil | {"contentType": "ttl"}).status_code == 201  # R4 has it; HTTP has not
    assert scan.get("Binary/evil").headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "query", ["_format=json", "_format=xml", "_summary=false", "_elements=contentType", "_pretty=true"]
)
def test_who_asks_for_a_resource_gets_one(scan: Fhir, query: str) -> None:
    answer = scan.get(f"Binary/scan?{query}")
    assert answer.headers["content-type"].startswith("application/fhir+")


def test_conditions_heads_and_refusals(scan: Fhir) -> None:
    assert scan.get("Binary/scan", headers={"If-None-Match": 'W/"1"'}).status_code == 304
    head = scan.request("HEAD", "Binary/scan")
    assert (head.headers["content-type"], head.headers["content-length"]) == ("image/png", str(len(PNG)))
    missing = scan.get("Binary/nowhere", headers={"Accept": "image/png"})
    assert (missing.status_code, missing.json()["resourceType"]) == (404, "OperationOutcome")
    assert scan.bundle("Binary?_id=scan")["entry"][0]["resource"]["contentType"] == "image/png"
    assert scan.get("Binary/scan/_history").json()["type"] == "history"
    assert scan.get("Binary/_history").json()["type"] == "history"
    assert scan.get("Patient/x", headers={"Accept": "image/png"}).status_code == 406


def resource(fhir: Fhir, path: str) -> dict[str, Any]:
    return fhir.bundle(path, headers={"Accept": "application/fhir+json"})


CONTENTS = [
    (PNG, "image/png", "image/png"),
    (b"", "text/plain", "text/plain"),
    (b"hi", "text/plain;charset=UTF-8", "text/plain;charset=UTF-8"),
    (b"a=b&c", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
    (b"[]", "application/json-patch+json", "application/json-patch+json"),
    (CDA, "application/xml", "application/xml"),
    (PATIENT, "application/fhir+json", "application/fhir+json"),
    (b"{broken", "application/json", "application/json"),
]


@pytest.mark.parametrize(("content", "media", "kept"), CONTENTS)
def test_what_is_sent_is_kept_as_it_is(fhir: Fhir, content: bytes, media: str, kept: str) -> None:
    answer = sent(fhir, "POST", "Binary", content, media)
    assert answer.status_code == 201, answer.text
    path = f"Binary/{answer.json()['id']}"
    found = resource(fhir, path)
    assert (found["contentType"], base64.b64decode(found.get("data", ""))) == (kept, content)
    assert fhir.get(path).content == content
    assert fhir.get(path).headers["content-type"] == kept


def test_a_binary_resource_is_a_resource(fhir: Fhir) -> None:
    binary = b'{"resourceType" : "Binary", "id": "b", "contentType": "text/plain", "data": "aGk="}'
    assert sent(fhir, "PUT", "Binary/b", binary, "application/json").status_code == 201
    assert fhir.get("Binary/b").text == "hi"
    parts = b'<id value="x"/><contentType value="text/plain"/><data value="aGk="/>'
    xml = b'<Binary xmlns="http://hl7.org/fhir">%b</Binary>' % parts
    assert sent(fhir, "PUT", "Binary/x", xml, "application/fhir+xml").status_code == 201
    assert fhir.get("Binary/x").text == "hi"
    assert sent(fhir, "PUT", "Binary/other", binary, "application/json").status_code == 400


def test_updates_versions_and_the_security_context(scan: Fhir) -> None:
    assert resource(scan, "Binary/scan")["securityContext"] == {"reference": "Patient/ada"}
    sent(scan, "PUT", "Binary/film", b"one", "text/plain")
    answer = sent(scan, "PUT", "Binary/film", b"two", "text/plain", **{"If-Match": 'W/"1"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert sent(scan, "PUT", "Binary/film", b"x", "text/plain", **{"If-Match": 'W/"1"'}).status_code == 412
    assert [scan.get(f"Binary/film/_history/{n}").text for n in (1, 2)] == ["one", "two"]


REFUSED = [("", 415), ("nonsense", 415), ("text/html\u00e9", 415), ("a/b; c", 415), ("image/png; x=(", 415)]


@pytest.mark.parametrize(("media", "status"), REFUSED)
def test_what_has_no_media_type_is_refused(fhir: Fhir, media: str, status: int) -> None:
    answer = fhir.request("POST", "Binary", content=b"x", headers={"Content-Type": media.encode("latin-1")})
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_come_back(fhir: Fhir, content: bytes) -> None:
    assert sent(fhir, "PUT", "Binary/any", content, "application/octet-stream").status_code in (200, 201)
    assert fhir.get("Binary/any").content == content


def test_an_extension_may_stand_in_the_place_of_the_media_type(fhir: Fhir) -> None:
    said = {"extension": [{"url": "http://example.org/unknown", "valueBoolean": True}]}
    assert fhir.put("Binary/u", {"resourceType": "Binary", "id": "u", "_contentType": said, "data": "aGk="}).is_success
    answer = fhir.get("Binary/u")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert answer.content == b"hi"


@pytest.mark.parametrize("context", ["ada", "Patient/", "Patient/1 Patient/2", "urn:uuid:1", "http://", "x" * 5_000])
def test_a_security_context_that_secures_nothing_is_refused(fhir: Fhir, context: str) -> None:
    answer = sent(fhir, "POST", "Binary", b"hi", "text/plain", **{"X-Security-Context": context})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Binary.securityContext.reference"]


def test_what_may_be_sent_can_be_kept(fhir: Fhir) -> None:
    """The content lies in the database once, so that base64 of 10 MB, which hardly compresses, fits a document."""
    film = random.Random(1).randbytes(9_900_000)
    assert sent(fhir, "PUT", "Binary/long-film", film, "video/mp4").status_code == 201
    assert fhir.get("Binary/long-film").content == film
