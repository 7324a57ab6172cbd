"""Batches and transactions with something wrong in any place: refused whole, or done whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from garbage import KNOWN_TYPES, accepts, dumped, mutated, search_values, texts, values
from hypothesis import strategies as st
from samples import sample
from wire import JSON

FULL_URLS = (
    "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d",
    "urn:uuid:a",
    "http://localhost/fhir/Patient/b-1",
    "Patient/1",
)
urls = (
    st.sampled_from(
        (
            "Patient",
            "Patient/b-1",
            "Patient/b-2",
            "Observation/b-1",
            "Patient?identifier=a|b",
            "Patient?_id=b-1",
            "Patient/b-1/_history/1",
            "Patient/b-1/$everything",
            "$nothing",
            "_history",
            "metadata",
            "Patient/_search",
            "/",
            "",
            "//",
            "?",
            "Patient/%ff",
            "Patient/%00",
            "Patient?name=%ff",
            "Patient?name=%ed%a0%80",
            "http://[",
            "http://elsewhere/fhir/Patient",
            "urn:uuid:a",
            "../Patient",
            "Patient/" + "x" * 70,
            "Patient?" + "a=b&" * 3_000,
        )
    )
    | texts
    | search_values.map(lambda value: f"Patient?name={value}")
)
methods = st.sampled_from(("GET", "HEAD", "POST", "POST", "PUT", "PUT", "PATCH", "DELETE", "get", "", "OPTIONS"))
conditions = st.sampled_from(
    ("identifier=a|b", "_id=b-1", "", "?", "nothing=1", "name=%ff", "name=%ed%a0%80", "_sort=x", "name:exact", "=")
)
etags = st.sampled_from(('W/"1"', "*", "", "x", 'W/"' + "9" * 300 + '"', '"a","b"'))
patches = st.sampled_from(
    (
        {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W10="},
        {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "*"},
        {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "é"},
        {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": 1},
        {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "/////w=="},
        {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "MQ=="},
        {"resourceType": "Binary", "contentType": ["x"]},
        {"resourceType": "Parameters"},
        {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": []}]},
    )
)
links = st.sampled_from(
    (*FULL_URLS, "Patient?identifier=a|b", "Patient?", "Nothing?a=b", "Patient?name=%ff", "Patient/b-1", "#")
)


@st.composite
def resource(draw: st.DrawFn) -> Any:
    match draw(st.integers(0, 5)):
        case 0:
            return draw(patches)
        case 1:
            found: Any = {
                "resourceType": "Observation",
                "id": "b-1",
                "status": "final",
                "code": {"text": "x"},
                "subject": {"reference": draw(links)},
                "text": {
                    "status": "generated",
                    "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{draw(links)}">x</a></div>',
                },
            }
            return found
        case 2:
            return sample(draw(st.sampled_from(KNOWN_TYPES)), draw(st.integers(0, 99))) | {"id": "b-1"}
    return {"resourceType": "Patient", "id": draw(st.sampled_from(("b-1", "b-2"))), "link": []} | draw(
        st.sampled_from(
            (
                {},
                {"identifier": [{"system": "a", "value": "b"}]},
                {"managingOrganization": {"reference": "urn:uuid:a"}},
                {"meta": {"source": "urn:uuid:a"}},
            )
        )
    )


@st.composite
def entry(draw: st.DrawFn) -> Any:
    request = {"method": draw(methods), "url": draw(urls)}
    for name, strategy in (
        ("ifNoneExist", conditions),
        ("ifMatch", etags),
        ("ifNoneMatch", etags),
        ("ifModifiedSince", texts | st.just("0001-01-01T00:00:00+14:00") | st.just("9999-12-31T23:59:59-14:00")),
    ):
        if draw(st.integers(0, 3)) == 0:
            request[name] = draw(strategy)
    out = {"request": request}
    if draw(st.booleans()):
        out["fullUrl"] = draw(st.sampled_from(FULL_URLS) | texts)
    if draw(st.integers(0, 4)):
        out["resource"] = draw(resource())
    return out


@st.composite
def valid_entry(draw: st.DrawFn) -> Any:
    """One that may well go through, so that what comes later in a transaction is reached."""
    number = draw(st.integers(0, 5))
    body = {"resourceType": "Patient", "id": f"v-{number}", "identifier": [{"system": "s", "value": f"{number}"}]}
    link = draw(
        st.sampled_from(("urn:uuid:1", "urn:uuid:2", "Patient?identifier=s|1", "Patient/v-1", "Patient?_id=v-1,v-2"))
    )
    made = body | {"link": [{"other": {"reference": link}, "type": "seealso"}]}
    method, url = draw(
        st.sampled_from(
            (
                ("POST", "Patient"),
                ("PUT", f"Patient/v-{number}"),
                ("PUT", f"Patient?identifier=s|{number}"),
                ("DELETE", f"Patient/v-{number}"),
                ("DELETE", f"Patient?identifier=s|{number}"),
                ("GET", f"Patient/v-{number}"),
                ("GET", f"Patient?identifier=s|{number}&_include=*"),
                ("PATCH", f"Patient/v-{number}"),
            )
        )
    )
    out: dict[str, Any] = {"request": {"method": method, "url": url}}
    if method == "POST" and draw(st.booleans()):
        out["request"]["ifNoneExist"] = f"identifier=s|{number}"
    if method in ("POST", "PUT"):
        out |= {"resource": draw(st.sampled_from((body, made))), "fullUrl": f"urn:uuid:{number}"}
    if method == "PATCH":
        out["resource"] = draw(patches)
    return out


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_any_bundle(fuzz, world, kind):
    def law(drawn: tuple[bytes, Any, Any]) -> None:
        body, accept, prefer = drawn
        reply = world.refuses_whole("POST", "/", body, (b"Content-Type", JSON), accept, prefer)
        if reply.status == 200:
            answers = reply.resource.get("entry", [])
            assert all(answer["response"]["status"] < "5" for answer in answers), answers

    entries = st.lists(entry() | valid_entry() | valid_entry(), max_size=5)
    whole = entries.map(lambda entries: {"resourceType": "Bundle", "type": kind, "entry": entries})
    prefers = st.sampled_from(((b"Prefer", b"return=representation"), (b"Prefer", b"handling=strict")))
    fuzz(st.tuples(dumped(whole) | dumped(mutated(whole, 2)), accepts, prefers), law, short=150)


def test_any_entry(fuzz, world):
    def law(drawn: tuple[str, Any]) -> None:
        kind, entries = drawn
        body = json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()
        world.refuses_whole("POST", "/", body, (b"Content-Type", JSON))

    fuzz(st.tuples(st.sampled_from(("batch", "transaction")), values | st.lists(values, max_size=3)), law)


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("url", ["Patient", "Patient?name=x", "Nothing", ""])
def test_a_thousand_entries(world, kind, url):
    entry = {"request": {"method": "GET", "url": url}}
    body = json.dumps(
        {"resourceType": "Bundle", "type": kind, "entry": [entry] * (1_000 if url in ("Nothing", "") else 200)}
    )
    world.refuses_whole("POST", "/", body.encode(), (b"Content-Type", JSON))


def test_an_entry_that_refers_to_itself(world):
    url = "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d"
    patient = {"resourceType": "Patient", "link": [{"other": {"reference": url}, "type": "seealso"}]}
    entry = {"fullUrl": url, "resource": patient, "request": {"method": "POST", "url": "Patient"}}
    body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode()
    assert world.refuses_whole("POST", "/", body, (b"Content-Type", JSON)).status == 200
