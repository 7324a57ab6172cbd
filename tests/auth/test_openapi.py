"""The OpenAPI document of the accounts says what is there, and what is there does what it says."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from apps import RSA, Smart
from people import PASSWORD, Browser, person

from smart_auth import (
    account,
    administration,
    api_keys,
    emails,
    granted,
    launches,
    login,
    passkeys,
    registered,
    reset,
    second_factor,
    signup,
    statistics,
)
from smart_auth.app import ROUTES
from smart_auth.openapi import ENDPOINTS, QUERIES, Described

PAGES_ONLY = {  # what a page needs besides
    ("get", path)
    for path in (
        "/login",
        "/login/second",
        "/signup",
        "/signup/sent",
        "/confirm",
        "/reset",
        "/reset/new",
        "/account/authenticator",
        "/account/recovery-codes",
        "/account/email",
        "/account/password",
        "/account/passkeys/remove",
        "/account/email/confirm",
        "/smart-style.json",
    )
} | {("post", "/users/{id}"), ("post", "/users/{id}/remove")}
LEADING = {  # on, who loads again what a form was sent to: to the page that has the form
    "/account/authenticator/new": "/account/authenticator",
    "/account/authenticator/remove": "/account/authenticator",
    "/account/sessions/end": "/account",
    "/account/apps/end": "/account",
    "/users/{id}/remove": "/users/{id}",
    "/users/{id}/logout": "/users/{id}",
    "/users/{id}/second-factor/remove": "/users/{id}",
    "/invitations": "/users",
    "/api-keys/end": "/api-keys",
    "/clients/remove": "/clients",
    "/grants/end": "/grants",
}
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def people(smart: Smart) -> dict[str, Browser]:
    found = {"anyone": Browser(smart.settings)}
    for role in ("patient", "admin"):
        person(smart.settings, f"{role}@example.org", roles=[role])
        found[role] = Browser(smart.settings)
        found[role].log_in(f"{role}@example.org")
    return found


def ask(browser: Browser, each: Described, body: Any) -> int:
    """How it is answered, which the document says."""
    path = each.path.replace("{id}", "nobody")
    if each.method in ("get", "delete"):
        url = browser.base + path
        status = browser.http.request(each.method.upper(), url, headers=JSON).status_code
    else:
        status = browser.json(path, body, each.method.upper()).status_code
    document = browser.get("/openapi.json").json()["paths"][each.path][each.method]
    assert str(status) in document["responses"], (each, status)
    return status


def test_all_that_is_there_is_described(smart: Smart) -> None:
    rooms = (
        *(account, administration, api_keys, granted, launches, login, passkeys, registered, reset, second_factor),
        *(emails, signup, statistics),
    )
    there = {(m.lower(), path) for room in rooms for path, methods in room.ROUTES.items() for m in methods}
    assert there - PAGES_ONLY - {("get", path) for path in LEADING} == {(each.method, each.path) for each in ENDPOINTS}
    document = smart.http.get("/openapi.json").json()
    assert document["servers"] == [{"url": smart.issuer}]
    assert document["paths"]["/users/{id}"]["patch"]["parameters"][0]["name"] == "id"
    asked = {path: [each["name"] for each in document["paths"][path]["get"]["parameters"]] for path in QUERIES}
    assert asked == {"/users": ["text", "after"], "/grants": ["user", "client", "before"]}
    assert document["components"]["securitySchemes"]["session"]["name"] == "session-auth"


def test_a_form_that_was_sent_and_is_loaded_again_leads_to_its_page(smart: Smart) -> None:
    for path, page in LEADING.items():
        answer = smart.http.get(path.replace("{id}", "nobody"))
        to = smart.issuer + page.replace("{id}", "nobody")
        assert (answer.status_code, answer.headers["location"]) == (303, to), path


VALUES: dict[str, Any] = {  # of the fields of the document
    "password": PASSWORD,
    "new_password": "amber walrus 5 counts the slow waves",
    "name": "Somebody",
    "roles": ["patient"],
    "patient": "1",
    "fhirUser": "Patient/1",
    "proxyFor": ["2"],
    "role": "patient",
    "scope": "system/*.rs",
    "days": 7,
    "redirect_uris": ["https://app.example/cb"],
    "client_name": "Walked",
    "grant_types": ["authorization_code"],
    "launch_uri": "https://app.example/launch",
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": {"keys": [RSA.as_dict(private=False)]},
    "disabled": False,
    "end_others": True,
    "keep_passkeys": [],
    "intent": "x",
    "smart_style_url": "https://app.example/style.json",
    "need_patient_banner": True,
    "fhirContext": [{"reference": "ImagingStudy/1"}],
    "credential": {"id": "x"},
    **dict.fromkeys(("code", "invitation", "session", "client", "client_id", "grant", "id", "encounter"), "x"),
    **dict.fromkeys(("passkey", "next"), "x"),
}
OF_NOTHING = {  # what is made up there is refused as such; that the real thing is taken is shown elsewhere
    "/login/second": "log in first",
    "/login/passkey": "no answer of an authenticator",
    "/signup": "this invitation is not known",
    "/confirm": "this link was used before",
    "/reset/new": "this link was used before",
    "/account/email/confirm": "this link was used before",
    "/account/sessions/end": "there is no such session",
    "/account/apps/end": "there is no such access",
    "/account/authenticator": "begin with a new key",
    "/account/recovery-codes": "none is set up",
    "/account/passkeys": "no answer of an authenticator",
    "/account/passkeys/remove": "there is no such passkey",
    "/api-keys/end": "there is no such key",
    "/grants/end": "there is no such grant",
    "/launch": "Patient/1 is not there",
}


@pytest.mark.parametrize(
    "each", [each for each in ENDPOINTS if each.needed or each.more], ids=lambda each: f"{each.method} {each.path}"
)
def test_all_its_fields_are_understood(smart: Smart, each: Described) -> None:
    login_ = f"{each.method}:{each.path}"
    id_ = person(smart.settings, login_, roles=["admin"]).id
    browser = Browser(smart.settings)
    with browser.http:
        browser.log_in(login_)
        document = browser.get("/openapi.json").json()["paths"][each.path][each.method]
        fields = document["requestBody"]["content"]["application/json"]["schema"]["properties"]
        own = {"login": login_ if each.who == "anyone" else "else", "email": f"{uuid4()}@example.org"}
        body = {name: (VALUES | own)[name] for name in fields}
        other = person(smart.settings, f"other:{login_}").id if "{id}" in each.path else id_
        answer = browser.json(each.path.replace("{id}", other), body, each.method.upper())
    if each.path in OF_NOTHING:
        assert OF_NOTHING[each.path] in answer.json()["error_description"]
    else:
        assert answer.status_code in (200, 201), answer.text


def test_a_head_is_answered_as_a_get_without_a_body(smart: Smart) -> None:
    person(smart.settings, "heads", roles=["admin"])
    anyone, admin = Browser(smart.settings), Browser(smart.settings)
    admin.log_in("heads")
    for path in ROUTES:
        for browser in (anyone, admin):
            url = browser.base + path.replace("{id}", "nobody")
            got, head = browser.http.get(url), browser.http.head(url)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert [head.headers.get(name) for name in ("content-type", "allow", "location")] == [
                got.headers.get(name) for name in ("content-type", "allow", "location")
            ], path


def test_who_takes_json_alone_gets_no_page(smart: Smart, people: dict[str, Browser]) -> None:
    there = [path for path, methods in ROUTES.items() if "GET" in methods and "{" not in path]
    for path in there:
        for browser in (people["anyone"], people["admin"]):
            answer = browser.get(path, headers=JSON)
            assert "text/html" not in answer.headers.get("content-type", ""), path
    assert people["anyone"].get("/login", headers=JSON).status_code == 406
    assert people["anyone"].get("/login", headers={"Accept": "application/json, */*"}).status_code == 200


def test_a_body_that_is_no_json_or_too_long_is_refused(people: dict[str, Browser]) -> None:
    browser = people["anyone"]
    assert (
        browser.http.post(f"{browser.base}/login", content="login", headers={"Content-Type": "text/plain"}).status_code
        == 415
    )
    assert browser.json("/login", {"login": "x" * 200_000}).status_code == 413


@pytest.mark.parametrize("each", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_it_asks_for_who_it_says_and_what_it_says(people: dict[str, Browser], each: Described) -> None:
    if each.who != "anyone":
        assert ask(people["anyone"], each, {}) == 401
    if each.who == "administrator":
        assert ask(people["patient"], each, {}) == 403
    allowed = people["admin" if each.who == "administrator" else "patient" if each.who == "person" else "anyone"]
    if each.needed:
        assert ask(allowed, each, {}) in (400, 401, 404)
        assert ask(allowed, each, dict.fromkeys(each.needed, 7)) in (400, 401, 404)
    elif each.path != "/logout" and "{id}" not in each.path:
        assert ask(allowed, each, {}) in (200, 201)
