"""An app pushes its authorization request, and the browser brings a reference to it: RFC 9126."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from apps import EC, RSA, App, Smart, landed
from people import Browser, person

from smart_auth.credentials import ASSERTION
from smart_auth.server import Auth, digest

CB = ("https://app.example/cb",)


@pytest.fixture(scope="module")
def browser(smart: Smart) -> Iterator[Browser]:
    smart.patients("ada")
    person(smart.settings, "ada", patient="ada", fhir_user="Patient/ada")
    smart.add("public", redirect_uris=CB)
    smart.add("other", redirect_uris=CB)
    smart.add("confidential", method="client_secret_basic", secret=digest("s3cret"), redirect_uris=CB)
    jwks = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
    smart.add("asymmetric", method="private_key_jwt", jwks=jwks, redirect_uris=CB)
    found = Browser(smart.settings)
    with found.http:
        assert found.log_in("ada").status_code == 200
        yield found


@pytest.fixture
def app(smart: Smart, browser: Browser) -> App:
    return App(smart, "public", browser)


def pushed(app: App, **changed: Any) -> httpx.Response:
    return app.post("/par", app.asked(**changed))


def uri(answer: httpx.Response) -> str:
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["request_uri"]
    return found


def brought(app: App, request_uri: str, **more: str) -> httpx.Response:
    return app.browser.get("/authorize", params={"client_id": app.id, "request_uri": request_uri, **more})


def test_what_was_pushed_is_what_is_asked(app: App, smart: Smart) -> None:
    answer = pushed(app)
    assert answer.json()["expires_in"] == 60
    assert answer.headers["cache-control"] == "no-store"
    begun = brought(app, uri(answer), scope="patient/*.cruds", redirect_uri="https://evil.example/")
    told = landed(app.agree(begun))
    assert told["state"] == app.asked()["state"]
    body = app.exchange(told["code"]).json()
    assert {*body["scope"].split()} == {*app.asked()["scope"].split()}
    assert smart.http.get("/.well-known/openid-configuration").json()["pushed_authorization_request_endpoint"] == (
        f"{smart.issuer}/par"
    )


def test_who_is_not_logged_in_keeps_the_request(app: App, smart: Smart) -> None:
    stranger = App(smart, "public", Browser(smart.settings))
    to_log_in = brought(stranger, uri(pushed(stranger)))
    assert to_log_in.headers["location"].startswith(f"{smart.issuer}/login?next=")
    fields = {"login": "ada", "password": "violet otter 7 climbs the quiet hill"}
    page = to_log_in.headers["location"]
    back = stranger.browser.submit("/login", fields | {"next": httpx.URL(page).params["next"]}, page)
    again = stranger.browser.get(back.headers["location"])
    assert "/consent?" in again.headers["location"] or "code" in landed(again)


def test_it_is_good_once_whoever_is_first(app: App) -> None:
    app.tokens()  # so that it is remembered
    request_uri = uri(pushed(app))
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: brought(app, request_uri).status_code, range(8)))
    assert sorted(statuses) == [303] + [400] * 7


def test_it_lasts_a_minute(app: App, smart: Smart) -> None:
    request_uri = uri(pushed(app))

    async def age(auth: Auth) -> None:
        await auth["pushed"].update_many({}, {"$set": {"expires": auth.now() - timedelta(seconds=1)}})

    smart.inside(age)
    assert brought(app, request_uri).status_code == 400


def test_it_is_for_the_client_that_pushed_it(app: App, smart: Smart) -> None:
    request_uri = uri(pushed(app))
    other = App(smart, "other", app.browser)
    refused = brought(other, request_uri)
    assert (refused.status_code, "location" in refused.headers) == (400, False)
    assert brought(app, request_uri).status_code == 303  # nobody else uses it up


def test_clients_prove_themselves_as_they_are_registered(app: App, smart: Smart) -> None:
    confidential = App(smart, "confidential", app.browser, "s3cret")
    assert brought(confidential, uri(pushed(confidential))).status_code == 303
    confidential.secret = "wrong"
    assert pushed(confidential).status_code == 401
    assert smart.http.post("/par", data=confidential.asked()).status_code == 401
    asymmetric = App(smart, "asymmetric", app.browser)
    for audience in (f"{smart.issuer}/par", smart.issuer, f"{smart.issuer}/token"):
        signed = {"client_assertion": smart.assertion("asymmetric", aud=audience), "client_assertion_type": ASSERTION}
        assert uri(asymmetric.post("/par", asymmetric.asked() | signed))
    elsewhere = {"client_assertion": smart.assertion("asymmetric", aud="https://evil.example")}
    elsewhere |= {"client_assertion_type": ASSERTION}
    assert asymmetric.post("/par", asymmetric.asked() | elsewhere).status_code == 401
    smart.add_backend("backend")
    assert smart.ask(smart.assertion("backend", aud=f"{smart.issuer}/par")).status_code == 401


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, 400, "invalid_request"),
        ({"redirect_uri": "https://evil.example/"}, 400, "invalid_request"),
        ({"code_challenge": None}, 400, "invalid_request"),
        ({"response_type": "token"}, 400, "unsupported_response_type"),
        ({"scope": "nonsense"}, 400, "invalid_scope"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"more": "x" * 9_000}, 413, "invalid_request"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_wrong_is_told_where_it_is_pushed(app: App, changed: dict[str, Any], status: int, error: str) -> None:
    answer = pushed(app, **changed)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("request_uri", ["", "unknown", "x" * 5_000, "\x00", "$ne"])
def test_a_reference_to_nothing_is_shown_here(app: App, request_uri: str) -> None:
    answer = brought(app, "urn:ietf:params:oauth:request_uri:" + request_uri)
    assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_odd_names_are_pushed_and_mean_nothing(app: App) -> None:
    odd = {"a.b": "1", "$set": "2", "a\x00b": "3", "": "4"}
    assert brought(app, uri(app.post("/par", app.asked() | odd))).status_code == 303
