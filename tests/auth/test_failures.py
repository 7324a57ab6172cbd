"""Who tries to log in and fails: the owner of the account sees it, the ledger has it, and a flood does not fill it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import bcrypt
import pytest
from apps import App, Smart, landed
from authenticator import Passkey
from people import PASSWORD, Browser, code, letters, person

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.validate import Validator
from smart_auth import failures, throttle, users
from smart_auth.server import Auth

TYPED = "my bank's password, typed into the wrong field"
VALIDATOR = Validator(r4(), required_codes())
Event = dict[str, Any]


@pytest.fixture(scope="module")
def smart(serve: Any, tmp_path_factory: Any) -> Any:
    data = tmp_path_factory.mktemp("data")
    smart = Smart(serve(open=False, trusted_hosts=("127.0.0.1",), login_failures_per_address=10_000, data=data))
    with smart.http:
        smart.patients("ada")
        yield smart


def told(smart: Smart, query: str) -> list[Event]:
    """What the ledger has, the latest first."""
    token = smart.ask(smart.assertion("filler"), "system/*.cruds").json()["access_token"]
    answer = smart.get(f"AuditEvent?_count=1000&_sort=-date&{query}", token)
    assert answer.status_code == 200, answer.text
    found = [each["resource"] for each in answer.json().get("entry", [])]
    assert [VALIDATOR.issues(each) for each in found] == [[]] * len(found)
    return found


def about(smart: Smart, account: str) -> list[tuple[str, str, str]]:
    """What happened to an account, as the ledger says it: what, its DICOM code, the outcome; the earliest first."""
    found = told(smart, "type=http://dicom.nema.org/resources/ontology/DCM|")
    mine = [each for each in found if {"identifier": {"value": account}} == each["entity"][0]["what"]]
    return [(each["entity"][0]["description"], each["subtype"][0]["code"], each["outcome"]) for each in mine][::-1]


def seen(browser: Browser) -> list[str]:
    """What the person reads of it, the earliest first."""
    body = browser.get("/account", headers={"Accept": "application/json"}).json()
    return [each["kind"] for each in body["events"]][::-1]


def test_the_owner_sees_who_failed(smart: Smart) -> None:
    account = person(smart.settings, "ada", patient="ada", fhir_user="Patient/ada").id
    browser = Browser(smart.settings)
    assert browser.log_in("ada", TYPED).status_code == 401
    assert browser.log_in("ada").status_code == 200
    assert browser.json("/logout", {}).status_code == 200
    expected = [("log-in-failed", "110122", "4"), ("log-in", "110122", "0"), ("log-out", "110123", "0")]
    assert about(smart, account) == expected
    failed = told(smart, "outcome=4&subtype=110122")[0]
    assert failed["agent"] == [
        {"who": {"display": "not known"}, "requestor": True, "network": {"address": "127.0.0.1", "type": "2"}}
    ]
    assert browser.log_in("ada").status_code == 200
    assert seen(browser) == ["log-in-failed", "log-in", "log-out", "log-in"]
    assert "Somebody tried to log in and failed<br>" in browser.get("/account").text


def test_a_name_that_is_none_is_not_kept_and_the_event_is_about_nobody(smart: Smart) -> None:
    before = len(told(smart, "outcome=4&subtype=110122"))
    assert Browser(smart.settings).log_in(TYPED, "x").status_code == 401
    found = told(smart, "outcome=4&subtype=110122")
    assert len(found) == before + 1
    assert found[0]["entity"][0]["what"] == {"display": "no account"}

    async def kept(auth: Auth) -> str:
        names = await auth.database.list_collection_names()
        return str([each for name in names async for each in auth.database[name].find()])

    assert TYPED not in smart.inside(kept)
    assert all(TYPED not in json.encode(each).decode() for each in found)


def test_there_is_the_same_work_for_a_name_that_is_none(smart: Smart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands to the database, counted: what differs in number differs in time."""
    person(smart.settings, "grace")
    browser, counts = Browser(smart.settings), []
    asked: list[str] = []
    record, counted = failures.events.record, failures.counted

    async def recorded(*args: Any, **more: Any) -> None:
        asked.append("event")
        await record(*args, **more)

    async def counting(*args: Any) -> int:
        asked.append("count")
        return await counted(*args)

    monkeypatch.setattr("smart_auth.events.record", recorded)
    monkeypatch.setattr("smart_auth.failures.counted", counting)
    for name in ("grace", "nobody"):
        asked.clear()
        assert browser.log_in(name, "wrong").status_code == 401
        counts.append([*asked])
    assert counts == [["count", "event"]] * 2


def test_every_wrong_password_is_answered_at_the_same_time(smart: Smart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nobody, of a hash from elsewhere, and in a flood of which no more is told."""
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    person(smart.settings, "imported", hash=old)
    waits: list[float] = []

    async def slept(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(failures, "LEAST", 1_000.0)
    monkeypatch.setattr(failures, "sleep", slept)
    browser = Browser(smart.settings)
    for login, told_ in (("imported", 100), ("nobody at all", 100), ("nobody else", 0)):
        monkeypatch.setattr(failures, "TOLD", told_)
        assert browser.log_in(login, "wrong").status_code == 401
    assert [0 < each < 1_000 for each in waits] == [True] * 3
    assert browser.log_in("imported").status_code == 200
    assert len(waits) == 3


def test_who_has_to_wait_is_counted_and_told_with_the_next_attempt(smart: Smart) -> None:
    account, browser = person(smart.settings, "joan").id, Browser(smart.settings)
    statuses = [browser.log_in("joan", "wrong").status_code for _ in range(9)]
    assert statuses == [401] * 5 + [429] * 4
    assert [kind for kind, _, _ in about(smart, account)] == ["log-in-failed"] * 5

    async def waited(auth: Auth) -> None:
        ago = {"$set": {"until": auth.now() - timedelta(seconds=1)}}
        await auth["throttle"].update_one({"_id": throttle.key("account", "joan")}, ago)

    smart.inside(waited)
    assert browser.log_in("joan").status_code == 200
    body = browser.get("/account", headers={"Accept": "application/json"}).json()
    turned = [each for each in body["events"] if each["kind"] == "log-ins-turned-away"]
    assert [each["count"] for each in turned] == [4]


def test_a_flood_of_guesses_does_not_fill_the_ledger(smart: Smart, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed() -> int:
        lately = smart.inside(failures.lately)
        return lately["failedLogIns"]

    monkeypatch.setattr(failures, "TOLD", 3)

    async def others(auth: Auth) -> None:
        await auth["failures"].delete_many({"subject": ""})

    smart.inside(others)
    events, count = len(told(smart, "outcome=4&subtype=110122")), failed()
    browser = Browser(smart.settings)
    for number in range(8):
        assert browser.log_in(f"nobody-{number}", "wrong").status_code == 401
    assert len(told(smart, "outcome=4&subtype=110122")) == events + 3
    assert failed() == count + 8


def test_a_disabled_account_has_its_failures(smart: Smart) -> None:
    account = person(smart.settings, "gone").id

    async def disabled(auth: Auth) -> None:
        await users.change(auth, account, {"disabled": True})

    smart.inside(disabled)
    assert Browser(smart.settings).log_in("gone").status_code == 401
    assert about(smart, account) == [("log-in-failed", "110122", "4")]


def test_a_wrong_second_step_is_told(smart: Smart) -> None:
    account, browser = person(smart.settings, "mary").id, Browser(smart.settings)
    assert browser.log_in("mary").status_code == 200

    async def with_second_factor(auth: Auth) -> None:
        await users.change(auth, account, {"totp": {"key": "GEZDGNBVGY3TQOJQ", "used": 0}})

    smart.inside(with_second_factor)
    other = Browser(smart.settings)
    assert other.log_in("mary").json()["second_factor"] is True
    assert other.json("/login/second", {"code": "nonsense"}).status_code == 401
    kinds = [kind for kind, _, outcome in about(smart, account) if outcome == "4"]
    assert kinds == ["second-factor-failed"]
    assert seen(browser)[-1] == "second-factor-failed"


def test_a_passkey_that_is_not_right_is_told(smart: Smart) -> None:
    account, browser = person(smart.settings, "lise").id, Browser(smart.settings)
    browser.log_in("lise")
    key = Passkey(browser.base.removesuffix("/auth"))
    options = browser.json("/account/passkeys/options", {"password": PASSWORD}).json()
    assert browser.json("/account/passkeys", {"credential": key.made(options)}).status_code == 200
    key.origin = "https://evil.example"
    other = Browser(smart.settings)
    options = other.json("/login/passkey/options", {}).json()
    assert other.json("/login/passkey", {"credential": key.shown(options)}).status_code == 401
    assert about(smart, account)[-1] == ("passkey-failed", "110122", "4")
    stranger = Passkey(browser.base.removesuffix("/auth"))
    options = other.json("/login/passkey/options", {}).json()
    assert other.json("/login/passkey", {"credential": stranger.shown(options)}).status_code == 401
    found = told(smart, "outcome=4&subtype=110122")[0]["entity"][0]
    assert (found["what"], found["description"]) == ({"display": "no account"}, "passkey-failed")


def test_a_reset_is_told_when_it_is_asked_for_and_when_it_is_done(smart: Smart) -> None:
    account, browser = person(smart.settings, "emmy@example.org", email="emmy@example.org").id, Browser(smart.settings)
    for name in ("emmy@example.org", "nobody@example.org"):
        assert browser.json("/reset", {"login": name}).status_code == 200
    link = code(letters(smart.settings, "emmy@example.org")[0])
    assert browser.json("/reset/new", {"code": link, "password": "seven lamps under a green bridge"}).status_code == 200
    assert [kind for kind, _, _ in about(smart, account)] == ["reset-asked", "password-reset"]


def test_the_patient_sees_who_opened_an_app_about_them(smart: Smart) -> None:
    smart.patients("bob")
    person(smart.settings, "bob", patient="bob", fhir_user="Patient/bob")
    account = person(smart.settings, "doctor", roles=["practitioner"], fhir_user="Practitioner/d").id
    cb = ("https://app.example/cb",)
    smart.add("growth", redirect_uris=cb, launch_uri="https://app.example/launch")
    browser = Browser(smart.settings)
    browser.log_in("doctor")
    smart.inside(lambda auth: auth["users"].update_one({"_id": account}, {"$set": {"roles": ["admin"]}}))
    assert browser.json("/launch", {"patient": "bob", "client_id": "growth"}).status_code == 201
    mine = Browser(smart.settings)
    mine.log_in("bob")
    app = App(smart, "growth", mine)
    token = app.tokens(scope="launch/patient patient/AuditEvent.rs")["access_token"]
    found = smart.get("AuditEvent?subtype=110120&agent=Practitioner/d", token).json()
    launched = [each["resource"] for each in found["entry"]]
    assert [each["type"]["code"] for each in launched] == ["110100"]
    assert launched[0]["agent"][0]["who"]["identifier"]["value"] == account
    assert "code" in landed(app.authorize(scope="launch/patient patient/AuditEvent.rs"))
    allowed = smart.get("AuditEvent?subtype=110137", token).json()
    assert [each["resource"]["entity"][0]["description"] for each in allowed["entry"]] == ["app-allowed"] * 2


def test_an_event_of_roles_says_which_there_were_and_are(smart: Smart) -> None:
    account = person(smart.settings, "climber", roles=["proxy", "patient"]).id
    person(smart.settings, "root", roles=["admin"])
    admin = Browser(smart.settings)
    admin.log_in("root")
    assert admin.again(f"/users/{account}", {"roles": ["practitioner"]}, "PATCH").status_code == 200
    assert admin.again(f"/users/{account}", {"name": "Climber"}, "PATCH").status_code == 200
    found = told(smart, "type=http://dicom.nema.org/resources/ontology/DCM|")
    said = [each["entity"][0].get("detail") for each in found[:2]]
    before, now = (
        {"type": kind, "valueString": text}
        for kind, text in (("rolesBefore", "patient, proxy"), ("roles", "practitioner"))
    )
    assert said == [None, [before, now]]
