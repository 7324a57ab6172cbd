"""The pages of accounts on a phone, in a browser that means what their headers say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from looking import Phone, looked_at
from playwright.sync_api import Page

from smart_auth import clients, totp
from smart_auth.codes import challenge
from tests.auth.people import PASSWORD, code, inside, letters, person

LONG = "somebody.with.a.long.name@hospital.example.org"
SCOPE = "openid launch/patient launch/encounter offline_access patient/Observation.rs patient/*.cruds"


@pytest.fixture(scope="module")
def served(serve: Any, tmp_path_factory: Any) -> Any:
    found = serve(data=tmp_path_factory.mktemp("data"), login_failures_per_address=1000)
    for id_, family in (("ada", "Byron"), ("yonath", "Yonath")):
        name = [{"given": ["Ada"], "family": family}]
        found.client.put(f"Patient/{id_}", {"resourceType": "Patient", "id": id_, "name": name})
    settings = found.settings
    person(settings, "ada@example.org", name="Ada Byron", patient="ada", fhir_user="Patient/ada")
    person(settings, "doc@example.org", name="Dr. Doolittle", roles=["practitioner"], fhir_user="Practitioner/1")
    person(settings, "eve@example.org")
    person(settings, LONG)
    person(settings, "root@example.org", name="Root", roles=["admin"])
    person(settings, "long-name", name="Prof. Dr. Maximiliane Friederike von Hohenzollern", roles=["admin"])
    app = clients.Client(id="app", name="Growth Chart", created=datetime.now(UTC), redirect_uris=(back(settings),))
    inside(settings, lambda auth: clients.add(auth, app))
    return found


def back(settings: Any) -> str:
    return str(settings.auth_url).replace("/auth", "/healthz")


def asked(settings: Any) -> str:
    query = {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": back(settings),
        "scope": SCOPE,
        "state": "s",
        "aud": settings.base_url,
        "code_challenge": challenge("v" * 43),
        "code_challenge_method": "S256",
    }
    return f"{settings.auth_url}/authorize?{urlencode(query)}"


def log_in(page: Page, login: str) -> None:
    page.fill("#login", login)
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Log in')")


def test_a_patient_lets_an_app_in(served: Any, phone: Phone) -> None:
    page = phone()
    page.goto(asked(served.settings))
    looked_at(page, "Log in")
    page.fill("#login", "ada@example.org")
    page.fill("#password", "wrong")
    page.click("button:text-is('Log in')")
    assert "wrong" in page.inner_text("[role=alert]")
    looked_at(page, "Log in")
    log_in(page, "ada@example.org")
    page.wait_for_url("**/consent?**")
    page.click("summary >> nth=0")
    looked_at(page, "Let Growth Chart in?")
    page.click("button:text-is('Allow')")
    page.wait_for_url("**/healthz?code=**")  # the form may lead to the app: no `form-action` forbids it
    page.goto(f"{served.settings.auth_url}/account")
    looked_at(page, "Your account")
    page.click("button:text-is('Take back')")
    assert "None." in page.inner_text("main")


def test_a_practitioner_chooses_a_patient(served: Any, phone: Phone) -> None:
    page = phone(dark=True)
    page.goto(asked(served.settings))
    log_in(page, "doc@example.org")
    page.wait_for_url("**/consent?**")
    looked_at(page, "Whose record?")
    page.fill("#text", "ada")
    page.click("button:text-is('Find')")
    looked_at(page, "Whose record?")
    page.click("button:has-text('Yonath')")
    looked_at(page, "Let Growth Chart in?")
    assert "Ada Yonath" in page.inner_text("main")


def test_a_second_step_and_a_passkey(served: Any, phone: Phone) -> None:
    base = served.settings.auth_url
    page = phone()
    page.goto(f"{base}/account")
    log_in(page, "eve@example.org")
    page.click("a:text-is('Add an authenticator')")
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Set up an authenticator')")
    looked_at(page, "Authenticator")
    key = page.inner_text("code")
    page.fill("#code", totp.code(key, totp.period(datetime.now(UTC))))
    page.click("button:text-is('Turn it on')")
    looked_at(page, "Your recovery codes")
    recovery = page.inner_text(".codes li >> nth=0")

    tools = page.context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    finger = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    finger |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": finger})
    page.goto(f"{base}/account")
    page.click("summary:text-is('Add a passkey')")
    page.fill("#passkey-password", "wrong")
    page.click("button:text-is('Add a passkey')")
    page.wait_for_selector("[role=alert]:visible")
    page.fill("#passkey-password", PASSWORD)
    page.click("button:text-is('Add a passkey')")
    page.wait_for_selector("a[aria-label='Remove This device']")
    looked_at(page, "Your account")
    page.click("a[aria-label='Remove This device']")
    looked_at(page, "Remove a passkey")
    page.fill("#password", "wrong")
    page.click("button:text-is('Remove it')")
    assert wrong(page) == ["password", "This is not the password of your account."]
    looked_at(page, "Remove a passkey")
    page.click("a:text-is('Back to your account')")
    page.click("button:text-is('Log out')")
    page.click("button:text-is('Log in with a passkey')")
    page.wait_for_url("**/account")

    page.click("button:text-is('Log out')")
    log_in(page, "eve@example.org")
    page.wait_for_url("**/login/second?**")
    looked_at(page, "One more step")
    page.fill("#code", recovery)
    page.click("button:text-is('Go on')")
    page.wait_for_url("**/account")


def wrong(page: Page) -> list[str]:
    """The field that is said to be wrong, and what describes it."""
    found = page.locator("[aria-invalid=true]")
    assert found.count() == 1
    assert found.bounding_box()["width"] > 300
    described = found.get_attribute("aria-describedby").split()
    return [str(found.get_attribute("name")), page.inner_text(f"#{described[-1]}")]


def test_what_is_wrong_is_said_of_its_field(served: Any, phone: Phone) -> None:
    base, page = served.settings.auth_url, phone()
    page.goto(f"{base}/account")
    log_in(page, LONG)
    page.click("a:text-is('Change the password')")
    looked_at(page, "Change your password")
    page.fill("#password", PASSWORD)
    page.fill("#new_password", "12345678")
    page.uncheck("[name=end_others]")
    page.click("button:text-is('Change the password')")
    field, why = wrong(page)
    assert (field, "too easy to guess" in why, page.is_checked("[name=end_others]")) == ("new_password", True, False)
    looked_at(page, "Change your password")
    page.goto(page.url)
    looked_at(page, "Change your password")
    page.click("a:text-is('Back to your account')")
    page.click("a:has-text('an e-mail address')")
    page.fill("#email", "a@b")
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Send the link')")
    assert wrong(page) == ["email", "This is not an e-mail address."]
    looked_at(page, "Another e-mail address")


def test_a_form_of_administrators_that_was_refused_is_still_open(served: Any, phone: Phone) -> None:
    base, page = served.settings.auth_url, phone()
    page.goto(f"{base}/users")
    log_in(page, "long-name")
    accounts = page.locator("header a:text-is('Accounts')").bounding_box()
    assert accounts["x"] + accounts["width"] <= page.viewport_size["width"]
    page.click("summary:text-is('Add an account')")
    page.fill("#email", "new@example.org")
    page.check("[name='role.proxy']")
    page.fill("#patient", "Patient/1")
    page.fill("#password-add", PASSWORD)
    page.click("button:text-is('Add')")
    assert wrong(page) == ["patient", "Patient is the id of a Patient, without Patient/ before it."]
    assert (page.input_value("#email"), page.is_checked("[name='role.proxy']")) == ("new@example.org", True)
    looked_at(page, "Accounts")
    page.goto(f"{base}/users")
    page.click("a:text-is('doc@example.org')")
    page.click("summary:text-is('Disable the account')")
    page.fill("#password-disable", "wrong")
    page.click("button:text-is('Disable')")
    assert wrong(page)[0] == "password"
    looked_at(page, "doc@example.org")
    page.goto(f"{base}/statistics")
    height = "cell => (cell.textContent = '1', cell.clientHeight) == (cell.textContent = '1234567', cell.clientHeight)"
    assert page.locator("td.number >> nth=0").evaluate(height)


def test_an_account_is_made_and_its_password_is_lost(served: Any, phone: Phone) -> None:
    base, page = served.settings.auth_url, phone()
    page.goto(f"{base}/signup")
    looked_at(page, "Make an account")
    page.fill("#email", "new@example.org")
    page.fill("#password", "password1")
    page.click("button:text-is('Make an account')")
    assert "too easy to guess" in page.inner_text("[role=alert]")
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Make an account')")
    looked_at(page, "Look into your mail")
    page.goto(f"{base}/confirm?code={code(letters(served.settings, 'new@example.org')[0])}")
    looked_at(page, "Confirm your address")
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Confirm')")
    looked_at(page, "Log in")
    page.click("a:text-is('Forgot your password?')")
    looked_at(page, "A new password")
    page.fill("#login", "new@example.org")
    page.click("button:text-is('Send the link')")
    link = letters(served.settings, "new@example.org", about="/reset/new")[0]
    page.goto(re.findall(r"http\S+", link)[0])
    looked_at(page, "Choose a new password")
    page.fill("#password", "seven lamps under the green bridge")
    page.click("button:text-is('Change the password')")
    looked_at(page, "Log in")


def test_an_administrator_looks_after_accounts(served: Any, phone: Phone) -> None:
    base, page = served.settings.auth_url, phone(dark=True)
    page.goto(f"{base}/users")
    log_in(page, "root@example.org")
    page.wait_for_url("**/users")
    for summary in page.query_selector_all("summary"):
        summary.click()
    looked_at(page, "Accounts")
    page.click("a:text-is('doc@example.org')")
    looked_at(page, "doc@example.org")
    page.click("a:text-is('All accounts')")
    page.click(f"a:text-is('{LONG}')")
    looked_at(page, LONG)
    page.goto(f"{base}/grants")
    looked_at(page, "Access in force")
    page.click("a:text-is('Statistics')")
    looked_at(page, "Statistics")
    page.goto(f"{base}/clients")
    looked_at(page, "Apps and services")
    page.goto(f"{base}/api-keys")
    page.fill("#name", "garmin")
    page.fill("#scope", "system/Observation.c")
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Make a key')")
    looked_at(page, "Keys of services")
    page.goto(f"{base}/authorize?client_id=none")
    looked_at(page, "That did not work")
