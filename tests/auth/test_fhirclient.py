"""SMART's own Python client is let in, from an EHR and by itself. https://github.com/smart-on-fhir/client-py"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apps import Smart, agreed
from fhirclient.client import FHIRClient
from fhirclient.models.observation import Observation
from people import Browser, person

CB = "https://app.example/cb"
PULSE = {"resourceType": "Observation", "id": "pulse", "status": "final", "code": {"text": "pulse"}}


@pytest.fixture(scope="module")
def browser(smart: Smart) -> Iterator[Browser]:
    smart.add("growth", redirect_uris=(CB,))
    smart.patients("ada", "bob")
    token = smart.ask(smart.assertion("filler"), "system/*.cruds").json()["access_token"]
    for id_ in ("ada", "bob"):
        pulse = PULSE | {"id": f"pulse-{id_}", "subject": {"reference": f"Patient/{id_}"}}
        bearer = {"Authorization": f"Bearer {token}"}
        assert smart.fhir.put(f"Observation/pulse-{id_}", pulse, headers=bearer).status_code == 201
    person(smart.settings, "ada", patient="ada", fhir_user="Patient/ada")
    browser = Browser(smart.settings)
    with browser.http:
        browser.log_in("ada")
        yield browser


def let_in(smart: Smart, browser: Browser, **settings: Any) -> FHIRClient:
    app = {"app_id": "growth", "api_base": smart.fhir.base_url, "redirect_uri": CB} | settings
    client = FHIRClient(settings=app)
    assert not client.prepare()
    answer = browser.get(client.authorize_url)
    if "/consent?" in answer.headers["location"]:
        answer = agreed(browser, answer)
    client.handle_callback(answer.headers["location"])
    assert client.ready
    return client


def test_it_is_let_in_by_itself_and_sees_one_patient(smart: Smart, browser: Browser) -> None:
    client = let_in(smart, browser, scope="openid fhirUser offline_access launch/patient patient/*.rs")
    assert client.patient.name[0].family == "Ada"
    found = Observation.where({}).perform_resources_iter(client.server)
    assert [each.id for each in found] == ["pulse-ada"]
    assert client.reauthorize()
    assert client.patient.id == "ada"


def test_an_ehr_opens_it(smart: Smart, browser: Browser) -> None:
    launch = browser.json("/launch", {"patient": "ada"}).json()["launch"]
    client = let_in(smart, browser, launch_token=launch, scope="launch patient/*.rs")
    assert client.patient.id == "ada"
