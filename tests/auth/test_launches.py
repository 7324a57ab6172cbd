"""An EHR opens an app about a patient: https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from apps import App, Smart, landed
from people import Browser, person

from smart_auth.server import Auth, digest

SCOPE = "launch openid fhirUser patient/Patient.rs"


@pytest.fixture(scope="module")
def browser(smart: Smart) -> Iterator[Browser]:
    smart.patients("ada", "eve")
    smart.visit("e", "ada")
    smart.visit("of-eve", "eve")
    person(smart.settings, "ada", patient="ada", fhir_user="Patient/ada")
    cb = ("https://app.example/cb",)
    smart.add("growth", redirect_uris=cb, launch_uri="https://app.example/launch")
    smart.add("plain", redirect_uris=cb)
    browser = Browser(smart.settings)
    with browser.http:
        assert browser.log_in("ada").status_code == 200
        yield browser


@pytest.fixture
def app(smart: Smart, browser: Browser) -> App:
    return App(smart, "growth", browser)


def begun(app: App, **context: Any) -> dict[str, Any]:
    answer = app.browser.json("/launch", {"patient": "ada"} | context)
    assert answer.status_code == 201, answer.text
    launch: dict[str, Any] = answer.json()
    return launch


def test_the_app_is_opened_with_what_is_open(app: App) -> None:
    order = [{"reference": "ServiceRequest/o", "role": "launch"}]
    context = {"encounter": "e", "intent": "order-review", "fhirContext": order, "need_patient_banner": False}
    opened = begun(app, client_id="growth", **context)
    url = urlsplit(opened["url"])
    assert (url.netloc, url.path) == ("app.example", "/launch")
    assert parse_qs(url.query) == {"iss": [app.smart.fhir.base_url], "launch": [opened["launch"]]}
    body = app.tokens(scope=SCOPE, launch=opened["launch"])
    assert body["patient"] == "ada"
    assert {name: body[name] for name in context} == context
    assert app.smart.http.get(body["smart_style_url"]).json()["color_background"] == "#ffffff"
    assert "launch" in body["scope"].split()


def test_what_a_launch_does_not_have_is_said(app: App) -> None:
    refused = app.browser.json("/launch", {"patient": "ada", "need_patient_baner": False})
    assert (refused.status_code, refused.json()["error_description"].split(";")[0]) == (
        400,
        "need_patient_baner is no field of this",
    )


def test_a_banner_and_a_style_are_said_anyway(app: App) -> None:
    body = app.tokens(scope=SCOPE, launch=begun(app)["launch"])
    assert (body["need_patient_banner"], body["patient"]) == (True, "ada")
    own = begun(app, smart_style_url="https://ehr.example/style.json")["launch"]
    assert app.tokens(scope=SCOPE, launch=own)["smart_style_url"] == "https://ehr.example/style.json"


def test_a_launch_is_used_once_whoever_is_first(app: App) -> None:
    app.tokens(scope=SCOPE, launch=begun(app)["launch"])  # so that it is remembered
    launch = begun(app)["launch"]
    late, *windows = [App(app.smart, app.id, app.browser) for _ in range(9)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda window: landed(window.authorize(scope=SCOPE, launch=launch)), windows))
    assert sorted("code" in told for told in answers) == [False] * 7 + [True]
    assert landed(late.authorize(scope=SCOPE, launch=launch))["error"] == "invalid_request"


def test_who_presses_the_button_twice_gets_to_the_app(app: App) -> None:
    asked = app.authorize(scope=SCOPE, launch=begun(app)["launch"], prompt="consent")
    with ThreadPoolExecutor(2) as pool:
        answers = [landed(answer) for answer in pool.map(app.agree, [asked, asked])]
    assert [app.exchange(told["code"]).json()["patient"] for told in answers] == ["ada", "ada"]


def test_a_launch_waits_some_minutes(app: App) -> None:
    launch = begun(app)["launch"]

    async def age(auth: Auth) -> None:
        ago = {"$set": {"expires": auth.now() - timedelta(seconds=1)}}
        assert (await auth["launches"].update_one({"_id": digest(launch)}, ago)).modified_count == 1

    app.smart.inside(age)
    assert landed(app.authorize(scope=SCOPE, launch=launch))["error"] == "invalid_request"


def test_a_launch_is_for_who_began_it(app: App, smart: Smart) -> None:
    launch = begun(app)["launch"]
    person(smart.settings, "eve", patient="eve")
    browser = Browser(smart.settings)
    with browser.http:
        browser.log_in("eve")
        answer = App(smart, "growth", browser).authorize(scope=SCOPE, launch=launch)
        assert landed(answer)["error"] == "access_denied"
        assert browser.json("/launch", {"patient": "ada"}).status_code == 403


def test_a_launch_of_an_app_is_for_no_other(app: App, smart: Smart) -> None:
    launch = begun(app, client_id="growth")["launch"]
    answer = App(smart, "plain", app.browser).authorize(scope=SCOPE, launch=launch)
    assert landed(answer)["error"] == "access_denied"
    assert app.tokens(scope=SCOPE, launch=launch)["patient"] == "ada"


def test_who_opens_an_app_about_a_patient_reads_whom_and_is_asked_once(app: App, smart: Smart) -> None:
    """Also where the app works with what the person may see, and not with one record."""
    person(smart.settings, "both", patient="ada", proxy_for=["eve"], roles=["proxy"])
    app.browser = Browser(smart.settings)
    with app.browser.http:
        app.browser.log_in("both")
        scope = "launch openid user/*.rs"
        asked = app.authorize(scope=scope, launch=begun(app)["launch"])
        page = app.browser.get(asked.headers["location"]).text
        assert "HealthMate, and is opened about the record of <strong>Ada" in page
        assert app.exchange(landed(app.agree(asked))["code"]).json()["patient"] == "ada"
        for patient in ("ada", "eve"):
            again = landed(app.authorize(scope=scope, launch=begun(app, patient=patient)["launch"], prompt="none"))
            assert app.exchange(again["code"]).json()["patient"] == patient
        of_one = app.authorize(scope="launch user/*.rs patient/*.rs", launch=begun(app)["launch"])
        assert "wants to work with the record of <strong>Ada" in app.browser.get(of_one.headers["location"]).text


@pytest.mark.parametrize("visit", ["of-eve", "gone"])
def test_a_launch_is_about_a_visit_of_its_patient(app: App, visit: str) -> None:
    """Which visits others have is not told."""
    refused = app.browser.json("/launch", {"patient": "ada", "encounter": visit})
    assert (refused.status_code, refused.json()["error"]) == (403, "access_denied")
    assert f"Encounter/{visit} is not there, or not one of Patient/ada" in refused.json()["error_description"]


def test_nobody_launches_without_a_session(smart: Smart) -> None:
    assert smart.http.post("/launch", json={"patient": "ada"}).status_code == 401


@pytest.mark.parametrize(
    "context",
    [
        {"patient": "../x"},
        {"patient": ["ada"]},
        {"patient": {"$ne": 1}},
        {"encounter": "x" * 65},
        {"encounter": "e", "patient": None},
        {"intent": ""},
        {"intent": "\ud800"},
        {"need_patient_banner": "yes"},
        {"smart_style_url": "javascript:alert(1)"},
        {"smart_style_url": "http://ehr.example/"},
        {"client_id": "nobody"},
        {"client_id": "plain"},
        {"client_id": 7},
    ],
)
def test_a_context_that_is_none(app: App, context: dict[str, Any]) -> None:
    answer = app.browser.json("/launch", {"patient": "ada"} | context)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


ROLE = "https://ehr.example/role/"
QUESTIONNAIRE = {"canonical": "https://ehr.example/Questionnaire/phq-9|2.1", "type": "Questionnaire"}
ORDER = {"identifier": {"system": "urn:orders", "value": "17", "type": {"coding": [{"code": "PLAC"}]}}}


@pytest.mark.parametrize(
    "item",
    [
        {"reference": "ImagingStudy/123"},
        QUESTIONNAIRE | {"role": f"{ROLE}to-display"},
        ORDER | {"type": "ServiceRequest", "role": "launch"},
        ORDER | {"reference": "ServiceRequest/17"},
        {"reference": "Patient/eve", "role": f"{ROLE}mother"},
        {"reference": "Encounter/before", "type": "Encounter", "role": "urn:uuid:6f8e4a0e-0a54-4d0a-8f60-8d6d1f7d0f1a"},
        {"identifier": {"value": "mrn"}, "type": "Patient", "role": f"{ROLE}donor"},
    ],
)
def test_what_else_is_open_is_told_as_it_is(app: App, item: dict[str, Any]) -> None:
    """https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#fhir-context"""
    assert app.tokens(scope=SCOPE, launch=begun(app, fhirContext=[item])["launch"])["fhirContext"] == [item]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("x", "an object with a reference, a canonical or an identifier"),
        ({"type": "Patient", "role": ROLE}, "an object with a reference, a canonical or an identifier"),
        ({"reference": "https://evil.example/Observation/1"}, "reference is relative"),
        ({"reference": "Nothing/1"}, "reference is relative"),
        ({"reference": ["Observation/1"]}, "reference is relative"),
        ({"canonical": "phq-9"}, "canonical is a canonical URL"),
        ({"identifier": {"use": "official"}}, "identifier is an Identifier of FHIR"),
        ({"identifier": {"value": 7}}, "identifier is an Identifier of FHIR"),
        ({"identifier": {"value": "7", "more": "x"}}, "identifier is an Identifier of FHIR"),
        ({"identifier": {"value": "7", "type": {"$ne": "x"}}}, "identifier is an Identifier of FHIR"),
        ({"identifier": {"value": "7", "type": {"text": "x" * 2000}}}, "identifier is an Identifier of FHIR"),
        ({"identifier": {"value": json.loads("[" * 900 + '"x"' + "]" * 900)}}, "identifier is an Identifier of FHIR"),
        (QUESTIONNAIRE | {"type": ["Questionnaire"]}, "type is a type of FHIR R4"),
        ({"reference": "Observation/1", "type": "Condition"}, "type is that of the reference, Observation"),
        ({"reference": "Observation/1", "role": 7}, "role is launch or an absolute URI"),
        ({"reference": "Observation/1", "role": ""}, "role is launch or an absolute URI"),
        ({"reference": "Observation/1", "role": "mother"}, "role is launch or an absolute URI"),
        ({"reference": "Observation/1", "more": 99999999999999999999999}, "more is none of reference"),
        ({"reference": "Patient/eve"}, "Patient has another role than launch"),
        ({"reference": "Encounter/e", "role": "launch"}, "Encounter has another role than launch"),
        ({"identifier": {"value": "mrn"}, "type": "Patient"}, "Patient has another role than launch"),
    ],
)
def test_what_else_is_open_has_a_form(app: App, item: Any, said: str) -> None:
    refused = app.browser.json("/launch", {"patient": "ada", "fhirContext": [{"reference": "Observation/1"}, item]})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert refused.json()["error_description"].startswith(f"fhirContext [1]: {said}")


@pytest.mark.parametrize("value", ["x", {"reference": "Observation/1"}, [{"reference": "Observation/1"}] * 21])
def test_what_else_is_open_is_a_list(app: App, value: Any) -> None:
    assert app.browser.json("/launch", {"patient": "ada", "fhirContext": value}).status_code == 400
