"""SMART apps in a real browser, let in by people: the sample app, the official JavaScript client, the Python one."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import pytest
from brief import briefly
from looking import looked_at

from fhirserver import sandbox
from fhirserver.assembly import contexts
from fhirserver.context import OPERATOR
from fhirserver.interactions.load import load
from smart_auth import clients, tokens, users
from smart_auth.clients import Client

if TYPE_CHECKING:
    from conftest import Serve, Served
    from playwright.sync_api import Browser, Page

SCRIPT = Path(__file__).parent.parent / "js" / "fhirclient" / "fhir-client.min.js"
PHONE = {"width": 390, "height": 844}


class World(NamedTuple):
    """`elsewhere` is another origin, on which an app of somebody else lives; `practice` a token of the practitioner,
    `audit` one of a system that keeps its audit trail here."""

    served: Served
    elsewhere: str
    base: str
    passwords: dict[str, str]
    practice: str
    audit: str


def resources() -> list[dict[str, Any]]:
    def pulse(number: int, patient: str) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "id": f"{patient}-{number}",
            "status": "final",
            "code": {"text": "Pulse"},
            "subject": {"reference": f"Patient/{patient}"},
            "effectiveDateTime": f"2026-01-{number:02}",
            "valueQuantity": {"value": 60 + number, "unit": "/min"},
        }

    def patient(id_: str, given: str, family: str) -> dict[str, Any]:
        return {"resourceType": "Patient", "id": id_, "name": [{"given": [given], "family": family}]}

    people = [patient("ada", "Ada", "Lovelace"), patient("alan", "Alan", "Turing")]
    doctor = {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Seacole"}]}
    return [*people, doctor, *(pulse(n, "ada") for n in range(1, 4)), pulse(1, "alan")]


@pytest.fixture(scope="module")
def world(serve: Serve, elsewhere: str) -> World:
    served = serve(open=False, demo=1)
    theirs = Client(
        "their-app",
        "Their app",
        datetime.now(UTC),
        redirect_uris=(f"{elsewhere}/app/index.html", f"{elsewhere}/app/back.html"),
        launch_uri=f"{elsewhere}/app/launch.html",
        scope=sandbox.READS,
    )

    async def furnished() -> tuple[list[sandbox.Login], str, str]:
        async with contexts(served.settings) as found:
            ctx = replace(found[""], caller=OPERATOR)
            assert not (await load(ctx, resources())).failed
            await clients.add(ctx.auth, theirs)
            logins = await sandbox.furnish(ctx)
            practitioner = await users.by_login(ctx.auth, "practitioner")
            assert practitioner is not None
            hour = timedelta(hours=1)
            grant = await tokens.begin(ctx.auth, theirs.id, "user/*.rs", hour, user=practitioner.id)
            keeps = await tokens.begin(ctx.auth, "pacs", "system/AuditEvent.c", hour)
            found = [(grant, "user/*.rs"), (keeps, "system/AuditEvent.c")]
            practice, audit = [(await tokens.issue(ctx.auth, *each, hour, None)).access for each in found]
            return logins, practice, audit

    logins, practice, audit = briefly(furnished())
    passwords = {each.login: each.password for each in logins}
    return World(served, elsewhere, served.settings.base_url.removesuffix("/fhir"), passwords, practice, audit)


@pytest.fixture
def page(world: World, chromium: Browser) -> Iterator[Page]:
    """A phone that nobody is logged in on. What fails in a page fails the test.

    The world is made before the browser, whose driver keeps an event loop running in this thread.
    """
    context = chromium.new_context(viewport=PHONE)
    page = context.new_page()
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert wrong == []


def log_in(page: Page, world: World, who: str) -> None:
    page.fill("input[name=login]", who)
    page.fill("input[name=password]", world.passwords[who])
    page.get_by_role("button", name="Log in", exact=True).click()


def allow(page: Page) -> None:
    page.get_by_role("button", name="Allow", exact=True).click()


def opened_about(page: Page, world: World, app: str, name: str) -> None:
    """As an EHR does it: a practitioner opens the app about a patient."""
    page.goto(f"{world.base}/auth/open?{urlencode({'client_id': app})}")
    log_in(page, world, "practitioner")
    page.fill("#text", name)
    page.get_by_role("button", name="Find", exact=True).click()
    looked_at(page, "Open an app")
    page.locator(".pick").first.click()


# the sample app


def test_a_patient_connects_the_sample_app(page: Page, world: World) -> None:
    page.goto(f"{world.base}/sample/")
    looked_at(page, "Sample SMART app")
    page.click("#launch")
    log_in(page, world, "patient")
    allow(page)
    page.locator("#record").wait_for()
    assert page.inner_text("#patient") == "Ada Lovelace"
    page.locator("#observations tr").nth(2).wait_for()
    page.click("summary")
    looked_at(page, "Sample SMART app")
    assert page.locator("#observations tr").first.inner_text().split() == ["Pulse", "63", "/min", "2026-01-03"]
    page.reload()  # the token is kept for this window
    page.locator("#record").wait_for()
    assert page.url == f"{world.base}/sample/"


def test_a_practitioner_opens_the_sample_app_about_a_patient(page: Page, world: World) -> None:
    opened_about(page, world, sandbox.SAMPLE, "Turing")
    allow(page)
    page.locator("#record").wait_for()
    assert page.inner_text("#patient") == "Alan Turing"


def test_a_patient_sees_who_looked_and_who_broke_the_glass(page: Page, world: World) -> None:
    doctor = {"Authorization": f"Bearer {world.practice}"}
    fhir = world.served.client
    assert fhir.get("Observation?patient=ada", headers=doctor).status_code == 200
    said = {"reason": "unconscious in the ambulance"}
    assert fhir.request("POST", "Patient/ada/$break-glass", params=said, headers=doctor).status_code == 200
    page.goto(f"{world.base}/sample/")
    page.click("#launch")
    log_in(page, world, "patient")
    allow(page)
    page.locator("#looks tr").nth(1).wait_for()
    looked_at(page, "Sample SMART app")
    rows = [row.rpartition("\t")[0] for row in page.locator("#looks").inner_text().splitlines()]
    assert rows[:2] == [
        "Seacole\tOpened it in an emergency: unconscious in the ambulance",
        "Seacole\tSearched: Observation",
    ]
    assert not [row for row in rows if row.startswith("Ada")]


def noted(*agents: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What another system says of Alan's record."""
    event = {"resourceType": "AuditEvent", "type": {"code": "110103"}, "recorded": "2026-01-01T23:30:00-02:00"}
    event |= {"agent": [*agents], "source": {"observer": {"display": "PACS"}}}
    return event | {"entity": [{"what": {"reference": "Patient/alan"}}]} | more


def test_what_other_systems_note_is_shown_as_far_as_they_say_it(page: Page, world: World) -> None:
    about = {"what": {"reference": "Patient/alan"}}
    why = about | {"detail": [{"type": "reason", "valueBase64Binary": "aGk="}]}
    sparse = [
        noted({"requestor": False}),
        noted({"requestor": True, "name": "Dr. No"}, entity=[why, {"query": "w6k="}], outcome="4"),
        noted(
            {"requestor": False, "who": {"display": "<img src=x onerror=alert(1)>"}}, subtype=[{"display": "Export"}]
        ),
        noted({"requestor": True, "who": {"reference": "Organization/lab"}}),
    ]
    for event in sparse:
        answer = world.served.client.post("AuditEvent", event, headers={"Authorization": f"Bearer {world.audit}"})
        assert answer.status_code == 201, answer.text
    opened_about(page, world, sandbox.SAMPLE, "Turing")
    allow(page)
    page.locator("#looked").wait_for()
    looked_at(page, "Sample SMART app")
    rows = [row for row in page.locator("#looks").inner_text().splitlines() if row.endswith("\t2026-01-02 01:30")]
    assert {row.rpartition("\t")[0] for row in rows} == {
        "Somebody who has no name here\tDid something else: Patient",
        "Dr. No\tDid something else: Patient: it failed",
        "<img src=x onerror=alert(1)>\tExport: Patient",
        "Organization/lab\tDid something else: Patient",
    }
    assert "The service pacs\tAdded: AuditEvent" in page.inner_text("#looks")


def test_who_says_no_stays_alone(page: Page, world: World) -> None:
    page.goto(f"{world.base}/sample/")
    page.click("#launch")
    log_in(page, world, "patient")
    page.get_by_role("button", name="Do not allow").click()
    page.locator("#problem").wait_for()
    assert page.locator("#record").is_hidden()


def test_an_answer_of_a_stranger_is_refused(page: Page, world: World) -> None:
    page.goto(f"{world.base}/sample/?code=x&state=y")
    page.locator("#problem").wait_for()
    looked_at(page, "Sample SMART app")
    assert "belongs to no launch" in page.inner_text("#problem")


# the official JavaScript client, on a page of another origin

LAUNCH = """
FHIR.oauth2.authorize({{
  clientId: "their-app", scope: "{scope} patient/*.rs openid fhirUser", redirectUri: "index.html"{iss}
}});
"""
SHOW = """
FHIR.oauth2.ready()
  .then(async (client) => {
    const patient = await client.patient.read();
    const search = `Observation?patient=${client.patient.id}&_count=1`;
    const found = await client.request(search, { pageLimit: 0, flat: true });
    const values = found.map((each) => each.valueQuantity.value).sort();
    const said = { patient: patient.name[0].family, values, user: client.user.fhirUser };
    document.body.id = "ready";
    document.body.textContent = JSON.stringify(said);
  })
  .catch((error) => { document.body.id = "ready"; document.body.textContent = String(error); });
"""


def their_file(url: str) -> tuple[str, str]:
    """The content and the media type of a file of their app."""
    name, _, query = url.rpartition("/")[2].partition("?")
    if name == "fhir-client.min.js":
        return SCRIPT.read_text(), "text/javascript"
    if name == "back.html":
        return "<link rel=icon href=data:,>back", "text/html"
    if name == "launch.html":
        script = LAUNCH.format(scope="launch", iss="")
    elif "iss=" in query and "code=" not in query:
        script = LAUNCH.format(scope="launch/patient", iss=", iss: new URLSearchParams(location.search).get('iss')")
    else:
        script = SHOW
    html = f"<link rel=icon href=data:,><body><script src=fhir-client.min.js></script><script>{script}</script>"
    return html, "text/html"


class TheirFiles(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content, media = their_file(self.path)
        self.send_response(200)
        self.send_header("Content-Type", f"{media}; charset=utf-8")
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TheirFiles)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def shown(page: Page) -> Any:
    page.locator("body#ready").wait_for()
    return json.loads(page.inner_text("body"))


def test_the_javascript_client_launches_on_its_own(page: Page, world: World) -> None:
    page.goto(f"{world.elsewhere}/app/index.html?{urlencode({'iss': world.served.settings.base_url})}")
    log_in(page, world, "patient")
    allow(page)
    assert shown(page) == {"patient": "Lovelace", "values": [61, 62, 63], "user": "Patient/ada"}


def test_the_javascript_client_is_opened_by_an_ehr(page: Page, world: World) -> None:
    opened_about(page, world, "their-app", "Turing")
    allow(page)
    assert shown(page) == {"patient": "Turing", "values": [61], "user": "Practitioner/doc"}


# the Python client


def test_the_python_client_is_let_in(page: Page, world: World) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fhirclient import client
        from fhirclient.models.observation import Observation

    smart = client.FHIRClient(
        settings={
            "app_id": "their-app",
            "api_base": world.served.settings.base_url,
            "redirect_uri": f"{world.elsewhere}/app/back.html",
            "scope": "patient/*.rs openid fhirUser launch/patient",
        }
    )
    page.goto(smart.authorize_url)
    log_in(page, world, "patient")
    allow(page)
    page.wait_for_url(f"{world.elsewhere}/app/back.html?*code=*")
    smart.handle_callback(page.url)
    assert smart.ready
    assert smart.patient.name[0].family == "Lovelace"
    found = Observation.where({"patient": smart.patient_id}).perform_resources_iter(smart.server)
    assert sorted(each.valueQuantity.value for each in found) == [61, 62, 63]
