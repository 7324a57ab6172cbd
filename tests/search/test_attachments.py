"""Which Binary here an attachment is, whatever way its URL is written."""

from __future__ import annotations

import pytest

from fhirserver.search.attachments import contents

BASE = "http://localhost:8000/fhir"


@pytest.mark.parametrize(
    "url",
    [
        "Binary/x",
        "Binary/x#page=2",
        "Binary/x?_format=json",
        "Binary/x/",
        "/Binary/x",
        "./Binary/x",
        "/fhir/Binary/x",
        "Binary/%78",
        " Binary/x ",
        "Binary/x/_history/1",
        f"{BASE}/Binary/x",
        f"{BASE}//Binary/x",
        f"{BASE}/Binary/x/$binary-access-read",
        "http://LOCALHOST:8000/fhir/Binary/x",
        "https://localhost:8000/fhir/Binary/x",
    ],
)
def test_a_binary_here(url: str) -> None:
    assert contents([url], BASE) == ["Binary/x"]


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/fhir/Binary/x",
        "http://localhost:8001/fhir/Binary/x",
        "http://localhost:8000/Binary/x",
        "http://localhost:8000/fhirs/Binary/x",
        "http://[bad",
        "urn:oid:1.2.3",
        "Patient/Binary/x",
        "Binaries/x",
        "Binary/",
        "Binary/a b",
        "data:text/plain,Binary/x",
        "",
    ],
)
def test_none_here(url: str) -> None:
    assert contents([url], BASE) == []


def test_what_stands_before_the_server_may_speak_either_scheme() -> None:
    base = "https://fhir.example.org/r4"
    assert contents(["http://fhir.example.org/r4/Binary/x", "https://fhir.example.org:443/r4/Binary/y"], base) == [
        "Binary/x",
        "Binary/y",
    ]
