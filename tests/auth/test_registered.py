"""Administrators register apps and services, by a page or as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from apps import RSA, App, Smart
from people import PASSWORD, Browser, person

CB = "https://app.example/cb"


@pytest.fixture(scope="module")
def admin(smart: Smart) -> Iterator[Browser]:
    person(smart.settings, "root", roles=("admin", "patient"), patient="root")
    browser = Browser(smart.settings)
    with browser.http:
        assert browser.log_in("root").status_code == 200
        yield browser


def test_a_page_registers_an_app_and_shows_its_secret_once(smart: Smart, admin: Browser) -> None:
    form = {"client_name": "Growth <b>", "kind": "confidential", "redirect_uris": f"{CB}\r\ncom.example.app:/cb\r\n"}
    page = admin.submit("/clients", {"password": PASSWORD} | form)
    assert (page.status_code, "Growth &lt;b&gt;" in page.text) == (200, True)
    id_, secret = re.findall(r"<code>([^<]+)</code>", page.text)
    assert "id_token" in App(smart, id_, admin, secret).tokens(scope="openid")
    assert secret not in admin.get("/clients").text
    gone = admin.submit("/clients/remove", {"client_id": id_}, page="/clients")
    assert (gone.status_code, gone.headers["location"]) == (303, f"{smart.issuer}/clients")
    assert id_ not in admin.get("/clients").text


def test_a_page_registers_what_a_service_uses_data_for(admin: Browser) -> None:
    form = {"client_name": "Trial", "kind": "backend", "jwks_uri": "https://trial.example/keys", "scope": "system/*.rs"}
    for unknown in ("hresch", "FUN", "HRESCH, FUN"):
        refused = admin.submit("/clients", {"password": PASSWORD} | form | {"purposes": unknown})
        assert (refused.status_code, "v3-PurposeOfUse" in refused.text) == (400, True), unknown
    page = admin.submit("/clients", {"password": PASSWORD} | form | {"purposes": "HRESCH, CLINTRCH"})
    assert (page.status_code, "for HRESCH, CLINTRCH" in page.text) == (200, True)


def test_a_service_is_registered_as_json(smart: Smart, admin: Browser) -> None:
    body = {"client_id": "nightly", "client_name": "Nightly", "token_endpoint_auth_method": "private_key_jwt"}
    body |= {
        "grant_types": ["client_credentials"],
        "scope": "system/*.rs",
        "jwks": {"keys": [RSA.as_dict(private=False)]},
    }
    assert admin.again("/clients", body).status_code == 201
    assert smart.ask(smart.assertion("nightly")).status_code == 200
    listed = admin.get("/clients", headers={"Accept": "application/json"}).json()["clients"]
    assert "nightly" in [each["client_id"] for each in listed]
    assert admin.again("/clients", body).json()["error"] == "invalid_client_metadata"
    for grants in (["client_credentials"], ["client_credentials", "refresh_token"]):
        refused = admin.again("/clients", body | {"client_id": "people", "grant_types": grants, "scope": "user/*.rs"})
        assert "user/*.rs is for people" in refused.json()["error_description"], grants
    for purposes in (["FUN"], ["HRESCH", "fun"], [""], "HRESCH", [1], {"HRESCH": 1}):
        refused = admin.again("/clients", body | {"client_id": "fun", "purposes": purposes})
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata"), purposes
    assert admin.json("/clients/remove", {"client_id": "nightly"}).json() == {"removed": True}
    assert admin.json("/clients/remove", {"client_id": "nightly"}).status_code == 404
    assert smart.ask(smart.assertion("nightly")).status_code == 401


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"kind": "public"}, "redirect_uris"),
        ({"kind": "other", "redirect_uris": CB}, None),
        ({"kind": "public", "redirect_uris": "javascript:alert(1)"}, "redirect_uris"),
        ({"kind": "public", "redirect_uris": CB, "scope": "patient/*"}, "scope"),
        ({"kind": "backend", "scope": "system/*.rs"}, "jwks_uri"),
    ],
)
def test_what_cannot_be_registered_is_said_on_the_page(admin: Browser, form: dict[str, Any], field: str | None) -> None:
    page = admin.submit("/clients", {"password": PASSWORD, "client_name": "x"} | form)
    assert (page.status_code, 'role="alert"' in page.text) == (400, True)
    assert 'id="client_name" name="client_name" value="x"' in page.text  # as it was typed
    wrong = re.findall(r'name="(\w+)"[^<]*aria-invalid="true"', page.text)
    assert wrong == ([field] if field else [])


def test_administrators_see_which_apps_registered_themselves(smart: Smart, admin: Browser) -> None:
    smart.add("uninvited", redirect_uris=(CB,), dynamic=True)
    smart.add("invited", redirect_uris=(CB,))
    listed = admin.get("/clients", headers={"Accept": "application/json"}).json()["clients"]
    said = {each["client_id"]: each["dynamic"] for each in listed}
    assert (said["uninvited"], said["invited"]) == (True, False)
    assert admin.get("/clients").text.count("registered itself") == 1


def test_others_register_nothing(smart: Smart) -> None:
    person(smart.settings, "eve", patient="eve")
    browser = Browser(smart.settings)
    with browser.http:
        assert browser.json("/clients", {}).status_code == 401
        browser.log_in("eve")
        assert browser.json("/clients", {}).status_code == 403
        assert browser.get("/clients").status_code == 403
        assert browser.json("/clients/remove", {"client_id": "x"}).status_code == 403


def test_an_app_administers_only_where_it_was_let_into_everything(smart: Smart, admin: Browser) -> None:
    smart.add("console", redirect_uris=(CB,))
    for scope, status in (("user/Observation.rs", 403), ("user/*.rs", 403), ("user/*.cruds", 200)):
        token = App(smart, "console", admin).tokens(scope=scope, prompt="consent")["access_token"]
        assert smart.get("_jobs", token).status_code == status, scope
