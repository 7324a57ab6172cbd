"""Web pages of other origins: https://fetch.spec.whatwg.org/#http-cors-protocol"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

ALLOW = "Access-Control-Allow-Origin"
PAGE = {"Origin": "https://app.example"}
TOKEN = {"Authorization": "Bearer nothing"}
QUESTION = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}


def asked(fhir: Fhir, method: str = "GET", **headers: Any) -> httpx.Response:
    return fhir.request(method, "Patient/p", headers=headers)


@pytest.fixture(scope="module")
def closed(serve: Serve) -> Fhir:
    return serve(open=False).client


@pytest.fixture(scope="module")
def choosy(serve: Serve) -> Fhir:
    return serve(open=False, cors_origins=("https://app.example",)).client


def test_a_page_that_brings_a_token_reads_the_answer(closed: Fhir, fhir: Fhir) -> None:
    for server in (closed, fhir):
        answer = asked(server, **PAGE, **TOKEN)
        assert (answer.status_code, answer.headers[ALLOW]) == (401, "*")
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        may = asked(server, "OPTIONS", **PAGE, **QUESTION)
        assert (may.status_code, may.headers[ALLOW]) == (204, "*")
        assert "PUT" in may.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in may.headers["Access-Control-Allow-Headers"]
    assert asked(closed, **PAGE).headers[ALLOW] == "*"


def test_an_open_server_is_not_read_by_pages_of_elsewhere(fhir: Fhir) -> None:
    assert ALLOW not in asked(fhir, **PAGE).headers
    question = QUESTION | {"Access-Control-Request-Headers": "content-type"}
    assert ALLOW not in asked(fhir, "OPTIONS", **PAGE, **question).headers


def test_origins_can_be_chosen(choosy: Fhir) -> None:
    answer = asked(choosy, **PAGE)
    assert (answer.headers[ALLOW], "Origin" in answer.headers["Vary"]) == ("https://app.example", True)
    assert asked(choosy, "OPTIONS", **PAGE, **QUESTION).headers[ALLOW] == "https://app.example"
    for origin in ("https://app.example.evil.example", "https://APP.example", "null", ""):
        assert ALLOW not in asked(choosy, Origin=origin).headers
        assert ALLOW not in asked(choosy, "OPTIONS", **({"Origin": origin} | QUESTION)).headers


def test_who_is_no_page_is_told_nothing_of_it(closed: Fhir) -> None:
    assert ALLOW not in asked(closed).headers
    assert asked(closed, "OPTIONS").status_code == 405
    assert asked(closed, "OPTIONS", **PAGE).status_code == 405


def test_the_capability_statement_says_where_to_log_in(closed: Fhir) -> None:
    security = closed.get("metadata").json()["rest"][0]["security"]
    root = closed.base_url.removesuffix("/fhir")
    uris = {each["url"]: each["valueUri"] for each in security["extension"][0]["extension"]}
    assert (uris["authorize"], uris["token"]) == (f"{root}/auth/authorize", f"{root}/auth/token")
    assert (security["cors"], security["service"][0]["coding"][0]["code"]) == (True, "SMART-on-FHIR")
