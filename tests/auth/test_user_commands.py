"""`healthmate user …`, as who runs the server types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from people import PASSWORD, Browser, code, person

from fhirserver import telemetry
from fhirserver.cli import main
from smart_auth import totp


@pytest.fixture(autouse=True)
def quiet_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "configure", lambda level: None)


@pytest.fixture(scope="module")
def served(serve: Any) -> Any:
    return serve(login_failures_per_address=10_000)


def run(served: Any, *arguments: str, typed: str | None = None) -> Result:
    url = served.settings.mongodb_url.get_secret_value()
    variables = {"MONGODB_URL": url, "DATABASE": served.settings.database, "PORT": str(served.settings.port)}
    environment = {f"HEALTHMATE_{name}": value for name, value in variables.items()}
    return CliRunner().invoke(main, ["user", *arguments], env=environment, input=typed)


def printed(served: Any, *arguments: str, typed: str | None = None) -> Any:
    result = run(served, *arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_first_administrator_chooses_a_password_by_a_link(served: Any) -> None:
    added = printed(served, "add", "root@example.org", "--role", "admin")
    assert (added["roles"], added["email"]) == (["admin"], "root@example.org")
    browser = Browser(served.settings)
    assert browser.json("/reset/new", {"code": code(added["link"]), "password": PASSWORD}).status_code == 200
    assert browser.log_in("root@example.org").status_code == 200
    assert browser.get("/users").status_code == 200
    again = printed(served, "link", "ROOT@example.org")
    assert browser.json("/reset/new", {"code": code(again["link"]), "password": PASSWORD}).status_code == 200


def test_an_account_with_a_password_is_changed_and_removed(served: Any) -> None:
    more = ("--fhir-user", "Practitioner/7", "--role", "practitioner", "--name", "Dr. Who", "--password-stdin")
    assert run(served, "add", "doc", *more, typed="12345678\n").exit_code == 1
    added = printed(served, "add", "doc", *more, typed=PASSWORD + "\n")
    assert "link" not in added
    assert run(served, "add", "doc").exit_code == 1
    assert run(served, "add", "a b").exit_code == 1
    assert run(served, "add", "bad@example", "--role", "admin").exit_code == 1
    browser = Browser(served.settings)
    assert browser.log_in("doc").status_code == 200
    changed = printed(served, "change", "doc", "--role", "proxy", "--proxy-for", "5", "--proxy-for", "6")
    assert (changed["roles"], changed["proxyFor"], changed["fhirUser"]) == (["proxy"], ["5", "6"], "Practitioner/7")
    assert browser.get("/account").status_code == 303
    assert printed(served, "change", "doc", "--disable")["disabled"] is True
    assert browser.log_in("doc").status_code == 401
    assert printed(served, "change", "doc", "--enable")["disabled"] is False
    assert printed(served, "change", "doc", "--email", "doc@example.org")["email"] == "doc@example.org"
    assert run(served, "change", "doc@example.org", "--email", "root@example.org").exit_code == 1
    assert run(served, "change", "doc", "--email", "nobody").exit_code == 1
    emptied = printed(served, "change", "doc", "--fhir-user", "", "--proxy-for", "", "--email", "")
    assert (emptied["fhirUser"], emptied["proxyFor"], emptied["email"]) == (None, [], None)
    assert printed(served, "change", "doc", "--patient", "5")["patient"] == "5"
    assert printed(served, "change", "doc", "--patient", "")["patient"] is None
    assert run(served, "change", "nobody", "--enable").exit_code == 1
    assert "doc" in [each["login"] for each in printed(served, "list")]
    assert printed(served, "remove", "doc") == {"removed": "doc"}
    assert run(served, "remove", "doc").exit_code == 1


def test_what_is_linked_before_its_address_is_confirmed_is_for_who_gets_the_link(served: Any) -> None:
    """Who made the account may be a stranger."""
    person(served.settings, "taken@example.org", verified=False, email="taken@example.org")
    assert "link" not in printed(served, "change", "taken@example.org", "--enable")
    changed = printed(served, "change", "taken@example.org", "--patient", "there")
    browser = Browser(served.settings)
    with browser.http:
        assert browser.log_in("taken@example.org").status_code == 401
        mine = "seven lamps under the green bridge"
        assert browser.json("/reset/new", {"code": code(changed["link"]), "password": mine}).status_code == 200
        assert browser.log_in("taken@example.org", mine).status_code == 200
    assert "link" not in printed(served, "change", "taken@example.org", "--patient", "there")


def test_who_is_not_in_the_record_is_said(served: Any) -> None:
    served.client.put("Patient/there", {"resourceType": "Patient", "id": "there"})
    added = run(served, "add", "typo", "--patient", "three", "--proxy-for", "there", "--proxy-for", "their")
    assert added.exit_code == 0
    assert added.stderr.splitlines() == [
        "Patient/three is not in the record yet",
        "Patient/their is not in the record yet",
    ]
    changed = run(served, "change", "typo", "--patient", "there", "--proxy-for", "there")
    assert (changed.exit_code, changed.stderr) == (0, "")
    assert json.loads(changed.stdout)["fhirUser"] == "Patient/there"
    nothing = run(served, "change", "typo")
    assert (nothing.exit_code, "say what to change" in nothing.stderr) == (2, True)


def test_a_second_step_that_was_lost_is_taken_away(served: Any) -> None:
    person(served.settings, "lost@example.org")
    browser = Browser(served.settings)
    with browser.http:
        browser.log_in("lost@example.org")
        key = browser.json("/account/authenticator/new", {"password": PASSWORD}).json()["key"]
        typed = totp.code(key, totp.period(datetime.now(UTC)))
        assert browser.json("/account/authenticator", {"code": typed}).status_code == 200
        assert browser.log_in("lost@example.org").json()["second_factor"] is True
        assert printed(served, "without-second-factor", "lost@example.org") == {"removed": True}
        assert "second_factor" not in browser.log_in("lost@example.org").json()


@pytest.mark.parametrize(
    "command",
    [
        ("user", "list"),
        ("user", "change", "ada", "--enable"),
        ("user", "link", "ada"),
        ("user", "without-second-factor", "ada"),
        ("user", "remove", "ada"),
        ("client", "list"),
        ("client", "remove", "app"),
        ("reindex",),
        ("terminology",),
        ("audit", "verify"),
    ],
    ids=" ".join,
)
def test_who_looks_for_what_is_not_there_makes_no_record(tmp_path: Path, command: tuple[str, ...]) -> None:
    data = tmp_path / "nowhere"
    result = CliRunner().invoke(main, [*command, "--data", str(data)], env={"HEALTHMATE_MONGODB_URL": None})
    assert (result.exit_code, f"There is no record in {data}" in result.stderr) == (2, True)
    assert not data.exists()
