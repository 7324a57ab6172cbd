"""Apps that register themselves: https://www.rfc-editor.org/rfc/rfc7591"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from apps import EC, RSA, App, Smart
from people import Browser, inside, person

from smart_auth.server import Auth

if TYPE_CHECKING:
    from conftest import Serve

CB = "https://app.example/cb"
APP = {"client_name": "Growth", "redirect_uris": [CB], "token_endpoint_auth_method": "none"}


@pytest.fixture(scope="module")
def open_(serve: Serve) -> Iterator[Smart]:
    smart = Smart(serve(open=False, registration="open"))
    with smart.http:
        yield smart


@pytest.fixture(scope="module")
def browser(open_: Smart) -> Iterator[Browser]:
    open_.patients("ada")
    person(open_.settings, "ada", patient="ada", fhir_user="Patient/ada")
    browser = Browser(open_.settings)
    with browser.http:
        browser.log_in("ada")
        yield browser


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
def test_an_app_registers_and_is_let_in(open_: Smart, browser: Browser, method: str) -> None:
    answer = open_.http.post(
        "/register", json=APP | {"token_endpoint_auth_method": method, "unknown": [1], "purposes": ["TREAT"]}
    )
    said = answer.json()
    assert answer.status_code == 201, answer.text
    assert (said["client_name"], said["redirect_uris"], said["token_endpoint_auth_method"]) == ("Growth", [CB], method)
    assert ("client_secret" in said) == (method != "none")
    assert "purposes" not in said  # what it uses data for is for who runs the server to say
    app = App(open_, said["client_id"], browser)
    if method == "client_secret_basic":
        app.secret = said["client_secret"]
    secret = {"client_secret": said["client_secret"]} if method == "client_secret_post" else {}
    assert app.exchange(app.code(), **secret).json()["patient"] == "ada"


def test_who_registers_is_in_the_audit_trail(open_: Smart) -> None:
    id_ = open_.http.post("/register", json=APP).json()["client_id"]

    async def recorded(auth: Auth) -> list[dict[str, Any]]:
        return [each async for each in auth["events"].find({"subject": id_})]

    (event,) = inside(open_.settings, recorded)
    assert (event["kind"], event["details"]) == ("client-registered", {"address": "127.0.0.1", "name": "Growth"})
    open_.add_backend("auditor", "system/AuditEvent.rs")
    token = open_.ask(open_.assertion("auditor"), "system/AuditEvent.rs").json()["access_token"]
    found = [each["resource"] for each in open_.get("AuditEvent?_count=1000", token).json()["entry"]]
    said = [each for each in found if each["entity"][0]["what"].get("identifier") == {"value": id_}]
    assert [each["agent"][0]["network"]["address"] for each in said] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://127.0.0.1/keys", "127.0.0.1 is not on the public internet"),
        ("https://localhost/keys", "localhost is not on the public internet"),
        ("https://app.localhost:8443/keys", "app.localhost is not on the public internet"),
        ("https://localhost./keys", "localhost. is not on the public internet"),
        ("https://10.1.2.3./keys", "10.1.2.3. is not on the public internet"),
        ("https://xn--a/keys", "is not a URL"),
        ("https://app.example:99999/keys", "is not a URL of a server"),
        ("https://10.1.2.3/keys", "10.1.2.3 is not on the public internet"),
        ("https://[::1]/keys", "::1 is not on the public internet"),
        ("http://localhost:9000/keys", "http://localhost:9000/keys is not https"),
        ("http://app.example/keys", "jwks_uri is an https URL"),
    ],
)
def test_keys_lie_where_this_server_would_ask_for_them(open_: Smart, url: str, why: str) -> None:
    """Else nobody could log in, and would be told only then."""
    body = APP | {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": url}
    answer = open_.http.post("/register", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    assert why in answer.json()["error_description"]
    public = open_.http.post("/register", json=body | {"jwks_uri": "https://app.example/keys"})
    assert public.status_code == 201


def test_an_app_registers_its_keys(open_: Smart, browser: Browser) -> None:
    keys = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
    body = APP | {"token_endpoint_auth_method": "private_key_jwt", "jwks": keys}
    id_ = open_.http.post("/register", json=body).json()["client_id"]
    app = App(open_, id_, browser)
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    proof = {"client_assertion_type": kind, "client_assertion": open_.assertion(id_)}
    assert app.exchange(app.code(), **proof).status_code == 200


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": [CB + "#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://app.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["data:text/html,x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://user@app.example/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://@app.example/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app%2eexample/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://[::1]evil.example/"]}, "invalid_redirect_uri"),
        ({"client_uri": "https://hospital.example@evil.example/"}, "invalid_client_metadata"),
        ({"redirect_uris": ["https://evil.example\\.app.example/"]}, "invalid_redirect_uri"),
        ({"client_uri": "https://evil.example\\.app.example/"}, "invalid_client_metadata"),
        ({"redirect_uris": ["https://[::1"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://é.example/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [7]}, "invalid_client_metadata"),
        ({"redirect_uris": CB}, "invalid_client_metadata"),
        ({"redirect_uris": [CB] * 21}, "invalid_client_metadata"),
        ({"client_name": "\ud800"}, "invalid_request"),
        ({"client_name": "\u202egnp.exe"}, "invalid_client_metadata"),
        ({"client_name": {"$ne": 1}}, "invalid_client_metadata"),
        ({"client_name": "x" * 300}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["password"]}, "invalid_client_metadata"),
        ({"scope": "system/*.rs"}, "invalid_client_metadata"),
        ({"scope": "patient/Nothing.rs"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "tls"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": []}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"jwks": {"keys": []}}, "invalid_client_metadata"),
        ({"logo_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"client_uri": "https://[::1"}, "invalid_client_metadata"),
    ]
    + [
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks}, "invalid_client_metadata")
        for jwks in (
            [],
            {"keys": {}},
            {"keys": [1]},
            {"keys": [{}]},
            {"keys": [{"kty": "RSA"}]},
            {"keys": [{"kty": "RSA", "kid": "a", "n": 7, "e": "AQAB"}]},
            {"keys": [{"kty": "RSA", "kid": "a", "n": "é", "e": "AQAB"}]},
            {"keys": [{"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"}]},
            {"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]},
            {"keys": [RSA.as_dict(private=True)]},
            {"keys": [RSA.as_dict(private=False) | {"kid": ""}]},
            {"keys": [RSA.as_dict(private=False)] * 51},
        )
    ],
)
def test_what_makes_no_app(open_: Smart, changed: dict[str, Any], error: str) -> None:
    body = json.dumps({name: value for name, value in (APP | changed).items() if value is not None})
    answer = open_.http.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 90_000, b'"x"', b"null"])
def test_what_is_no_metadata(open_: Smart, body: bytes) -> None:
    answer = open_.http.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("settings", "is_open"),
    [
        ({"registration": "open"}, True),
        ({"registration": "off", "open": True}, False),
        ({"open": True}, True),
        ({}, False),
    ],
)
def test_the_setting_decides(serve: Serve, settings: dict[str, Any], is_open: bool) -> None:
    served = serve(**({"open": False} | settings))
    said = httpx.get(f"{served.settings.base_url}/.well-known/smart-configuration").json()
    answer = httpx.post(f"{served.settings.auth_url}/register", json=APP)
    assert ("registration_endpoint" in said) is is_open
    assert answer.status_code == (201 if is_open else 403)
