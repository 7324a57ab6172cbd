"""The application around the FHIR API: probes, and who an open server answers."""

from __future__ import annotations

import httpx
import pytest


def test_the_process_says_that_it_lives_and_is_ready(fhir):
    root = fhir.base_url.removesuffix("/fhir")
    assert httpx.get(f"{root}/healthz").text == "ok\n"
    assert httpx.get(f"{root}/readyz").text == "ready\n"
    nothing = httpx.get(f"{root}/nothing")
    assert (nothing.status_code, "/fhir/metadata" in nothing.text) == (404, True)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("localhost.evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_an_open_server_answers_under_its_own_name_only(fhir, host, status):
    """A web page that rebinds its name to 127.0.0.1 reads no records."""
    assert fhir.get("metadata", headers={"Host": host}).status_code == status


def test_a_closed_server_answers_under_any_name(serve):
    assert serve(open=False).client.get("metadata", headers={"Host": "fhir.example"}).status_code == 200
