"""Apps on phones and desktops, from registration to a lost device: https://www.rfc-editor.org/rfc/rfc8252"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from apps import App, Smart
from people import Browser, person

if TYPE_CHECKING:
    from conftest import Serve

OWN, IPV4, IPV6 = "com.example.app:/cb", "http://127.0.0.1/cb", "http://[::1]/cb?from=hm"
APP = {"client_name": "Diary", "redirect_uris": [OWN, IPV4, IPV6], "token_endpoint_auth_method": "none"}
PHONE = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"
LAPTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(scope="module")
def open_(serve: Serve) -> Iterator[Smart]:
    smart = Smart(serve(open=False, registration="open"))
    with smart.http:
        smart.patients("ada")
        person(smart.settings, "ada", patient="ada", fhir_user="Patient/ada")
        yield smart


@pytest.fixture(scope="module")
def browsers(open_: Smart) -> Iterator[list[Browser]]:
    """Ada's, on her phone and on her laptop."""
    found = [Browser(open_.settings), Browser(open_.settings)]
    for browser, agent in zip(found, (PHONE, LAPTOP), strict=True):
        browser.http.headers["User-Agent"] = agent
        assert browser.log_in("ada").status_code == 200
    yield found
    for browser in found:
        browser.http.close()


def registered(smart: Smart, browser: Browser, **changed: Any) -> App:
    answer = smart.http.post("/register", json=APP | changed)
    assert answer.status_code == 201, answer.text
    app = App(smart, answer.json()["client_id"], browser, answer.json().get("client_secret"))
    app.redirect_uri = OWN
    return app


def let_in(app: App) -> dict[str, Any]:
    """The tokens of an app that the person allows; the browser leads to exactly the URI that was asked for."""
    asked = app.authorize()
    assert "/consent?" in asked.headers["location"]  # each time: nobody knows which app has the scheme or the port
    to = app.agree(asked).headers["location"]
    assert to.startswith(app.redirect_uri)
    code = parse_qs(urlsplit(to).query)["code"][0]
    tokens = app.exchange(code)
    assert tokens.status_code == 200, tokens.text
    found: dict[str, Any] = tokens.json()
    return found


@pytest.mark.parametrize(
    "uri",
    [OWN, IPV4, "http://127.0.0.1:51004/cb", "http://127.0.0.1:65535/cb", "http://[::1]:8080/cb?from=hm"],
)
def test_an_app_registers_itself_is_let_in_and_renews_its_access(
    open_: Smart, browsers: list[Browser], uri: str
) -> None:
    app = registered(open_, browsers[0])
    app.redirect_uri = uri
    first = let_in(app)
    assert open_.get("Patient/ada", first["access_token"]).status_code == 200
    second = app.refresh(first["refresh_token"]).json()
    assert open_.get("Patient/ada", second["access_token"]).status_code == 200
    assert app.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:070/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:51004/other",
        "http://127.0.0.1:51004/cb?x=1",
        "http://127.0.0.1:51004/cb#x",
        "http://127.0.0.1:51004@evil.example/cb",
        "http://x@127.0.0.1:51004/cb",
        "http://127.0.0.1:51004.evil.example/cb",
        "http://127.0.0.2:51004/cb",
        "http://localhost:51004/cb",
        "https://127.0.0.1:51004/cb",
        "http://[::1]:51004/cb",
        "com.example.app:/other",
        "com.example.app://cb",
    ],
)
def test_but_for_the_port_it_is_letter_by_letter(open_: Smart, browsers: list[Browser], uri: str) -> None:
    app = registered(open_, browsers[0])
    answer = app.authorize(redirect_uri=uri)
    assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_a_port_is_free_where_none_is_registered_and_nobody_has_a_secret(open_: Smart, browsers: list[Browser]) -> None:
    fixed = registered(open_, browsers[0], redirect_uris=["http://127.0.0.1:9000/cb"])
    assert fixed.authorize(redirect_uri="http://127.0.0.1:9001/cb").status_code == 400
    server = registered(open_, browsers[0], token_endpoint_auth_method="client_secret_basic")
    assert server.authorize(redirect_uri="http://127.0.0.1:9001/cb").status_code == 400
    app = registered(open_, browsers[0])
    code = parse_qs(
        urlsplit(app.agree(app.authorize(redirect_uri="http://127.0.0.1:9001/cb")).headers["location"]).query
    )["code"][0]
    assert app.exchange(code, redirect_uri="http://127.0.0.1:9002/cb").json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://app.example/x",
        "http://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "app:/cb",
        "about:blank",
    ],
)
def test_a_redirect_that_is_nobodys_own_is_refused_with_a_sentence(open_: Smart, uri: str) -> None:
    answer = open_.http.post("/register", json=APP | {"redirect_uris": [uri]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")
    assert "nor has it a scheme like com.example.app" in answer.json()["error_description"]


def accesses(browser: Browser, app: App) -> list[dict[str, Any]]:
    said = browser.get("/account", headers={"Accept": "application/json"}).json()
    found: list[dict[str, Any]] = next(each["accesses"] for each in said["apps"] if each["client"] == app.id)
    return found


def test_a_lost_phone_is_ended_and_the_laptop_goes_on(open_: Smart, browsers: list[Browser]) -> None:
    phone = registered(open_, browsers[0])
    laptop = App(open_, phone.id, browsers[1])
    laptop.redirect_uri = "http://127.0.0.1:40000/cb"
    lost, kept = let_in(phone), let_in(laptop)
    listed = accesses(browsers[1], phone)
    assert [each["device"] for each in listed] == ["Firefox on Linux", "Chrome on Android"]
    page = browsers[1].get("/account").text
    assert "Chrome on Android since" in page
    stranger = person(open_.settings, "eve")
    other = Browser(open_.settings)
    with other.http:
        other.log_in(stranger.login)
        ended = {"client": phone.id, "grant": listed[1]["grant"]}
        assert other.json("/account/apps/end", ended).status_code == 404
    assert browsers[1].submit("/account/apps/end", ended, "/account").status_code == 303
    assert [each["device"] for each in accesses(browsers[1], phone)] == ["Firefox on Linux"]
    assert open_.get("Patient/ada", lost["access_token"]).status_code == 401
    assert phone.refresh(lost["refresh_token"]).json()["error"] == "invalid_grant"
    assert open_.get("Patient/ada", kept["access_token"]).status_code == 200
    assert laptop.refresh(kept["refresh_token"]).status_code == 200
    assert browsers[1].json("/account/apps/end", ended).status_code == 404


def test_an_app_that_was_ended_on_one_device_asks_again(open_: Smart, browsers: list[Browser]) -> None:
    app = registered(open_, browsers[0], redirect_uris=["https://app.example/cb"])
    app.redirect_uri = "https://app.example/cb"
    let_in(app)
    assert "code=" in app.authorize().headers["location"], "remembered"
    (_, first) = accesses(browsers[0], app)
    assert browsers[0].json("/account/apps/end", {"client": app.id, "grant": first["grant"]}).status_code == 200
    assert "/consent?" in app.authorize().headers["location"]
    assert len(accesses(browsers[0], app)) == 1


def test_devices_that_registered_by_themselves_are_apart(open_: Smart, browsers: list[Browser]) -> None:
    apps = [registered(open_, browser) for browser in browsers]
    tokens = [let_in(app) for app in apps]
    assert [len(accesses(browsers[0], app)) for app in apps] == [1, 1]
    assert browsers[0].submit("/account/apps/end", {"client": apps[0].id}, "/account").status_code == 303
    assert [open_.get("Patient/ada", each["access_token"]).status_code for each in tokens] == [401, 200]
