"""`healthmate client …` and `healthmate launch-token`, as who runs the server types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apps import EC, RSA, App, Smart
from brief import briefly
from click.testing import CliRunner, Result
from people import Browser, person

from fhirserver import telemetry
from fhirserver.cli import main
from fhirserver.process import prepare
from smart_auth.server import Auth


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The levels that the log was told, while the tests keep their own."""
    levels: list[str] = []
    monkeypatch.setattr(telemetry, "configure", levels.append)
    return levels


@pytest.fixture(scope="module", autouse=True)
def begun(smart: Smart) -> None:
    """As `healthmate serve --port …` does before it serves: commands are told no port."""
    briefly(prepare(smart.settings, lambda line: None))


def run(smart: Smart, *arguments: str, **more: str) -> Result:
    assert smart.settings.mongodb_url
    url = smart.settings.mongodb_url.get_secret_value()
    variables = {"MONGODB_URL": url, "DATABASE": smart.settings.database} | more
    environment = {f"HEALTHMATE_{name}": value for name, value in variables.items()}
    return CliRunner().invoke(main, [*arguments], env=environment)


def printed(smart: Smart, *arguments: str) -> Any:
    result = run(smart, *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_backend_service_is_registered_by_its_keys(smart: Smart, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}))
    added = printed(smart, "client", "add", "Nightly", "--backend", "--jwks", str(file), "--scope", "system/*.rs")
    assert added["grant_types"] == ["client_credentials"]
    answer = smart.ask(smart.assertion(added["client_id"]))
    token = answer.json()["access_token"]
    assert smart.get("Patient", token).status_code == 200
    assert added in printed(smart, "client", "list")
    assert run(smart, "client", "remove", added["client_id"]).exit_code == 0
    assert run(smart, "client", "remove", added["client_id"]).exit_code == 1
    assert smart.ask(smart.assertion(added["client_id"])).status_code == 401
    assert added not in printed(smart, "client", "list")


def test_a_service_is_registered_with_what_it_uses_data_for(smart: Smart, tmp_path: Path) -> None:
    """Whoever denies research keeps it from such a service, and from one of which nobody knows what it is for."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [RSA.as_dict(private=False)]}))
    common = ("--backend", "--jwks", str(file), "--scope", "system/*.rs")
    no_research = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"text": "privacy"}],
        "patient": {"reference": "Patient/deny"},
        "policyRule": {"text": "as it is"},
        "provision": {
            "type": "deny",
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}],
        },
    }
    smart.patients("deny")
    filler = smart.ask(smart.assertion("filler"), "system/*.cruds").json()["access_token"]
    smart.fhir.create(no_research, headers={"Authorization": f"Bearer {filler}"})
    for purposes, status in ((("CLINTRCH",), 404), (("HPAYMT",), 200), (("HPAYMT", "HRESCH"), 404), ((), 404)):
        asked = [word for each in purposes for word in ("--purpose", each)]
        added = printed(smart, "client", "add", "Service", *common, *asked)
        assert added.get("purposes", []) == [*purposes]
        token = smart.ask(smart.assertion(added["client_id"])).json()["access_token"]
        assert smart.get("Patient/deny", token).status_code == status, purposes
    assert "v3-PurposeOfUse" in run(smart, "client", "add", "Service", *common, "--purpose", "FUN").output


def test_an_app_with_a_secret_and_a_launch(smart: Smart) -> None:
    uris = ("--redirect-uri", "https://app.example/cb", "--launch-uri", "https://app.example/launch?x=1")
    added = printed(smart, "client", "add", "Growth", "--id", "growth", "--confidential", *uris)
    assert added["client_id"] == "growth"
    assert all("client_secret" not in each for each in printed(smart, "client", "list"))
    smart.patients("ada")
    person(smart.settings, "ada", patient="ada")
    opened = printed(smart, "launch-token", "--user", "Ada", "--patient", "ada", "--client", "growth")
    assert opened["iss"] == smart.settings.base_url
    assert opened["url"].startswith("https://app.example/launch?x=1&iss=")
    browser = Browser(smart.settings)
    with browser.http:
        browser.log_in("ada")
        app = App(smart, "growth", browser, added["client_secret"])
        body = app.tokens(scope="launch patient/*.rs", launch=opened["launch"])
        assert body["patient"] == "ada"

    async def launched(auth: Auth) -> list[tuple[str, str]]:
        found = await auth["events"].find({"kind": "launch", "details.client": "growth"}).to_list()
        return [(each["actor"], each["details"]["patient"]) for each in found]

    assert smart.inside(launched) == [("operator", "ada")]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "x"], 1, "redirect_uris"),
        (["add", "x", "--redirect-uri", "http://a.example/"], 1, "neither https"),
        (["add", "x", "--backend"], 2, "--scope"),
        (["add", "x", "--backend", "--scope", "system/*.rs"], 1, "jwks"),
        (["add", "x", "--backend", "--scope", "system/Nothing.rs", "--jwks-uri", "https://a.example/"], 1, "no scope"),
        (
            ["add", "x", "--asymmetric", "--redirect-uri", "https://a.example/", "--jwks", __file__],
            1,
            "commands.py: line 1",
        ),
        (
            ["add", "x", "--backend", "--scope", "patient/*.rs", "--jwks-uri", "https://a.example/"],
            1,
            "patient/*.rs is",
        ),
        (["add", "x", "--id", "a b", "--redirect-uri", "https://a.example/"], 1, "client_id"),
    ],
)
def test_what_cannot_be_registered_is_said(smart: Smart, arguments: list[str], code: int, said: str) -> None:
    result = run(smart, "client", *arguments)
    assert (result.exit_code, said in result.stderr) == (code, True), result.output


def test_an_id_is_taken_once_and_nobody_launches_as_a_stranger(smart: Smart) -> None:
    arguments = ("client", "add", "x", "--id", "once", "--redirect-uri", "https://a.example/")
    assert [run(smart, *arguments).exit_code for _ in range(2)] == [0, 1]
    assert run(smart, "launch-token", "--user", "nobody", "--patient", "p").exit_code == 1
    assert run(smart, "launch-token", "--user", "ada", "--patient", "../p").exit_code == 1
    smart.patients("other")
    smart.visit("theirs", "other")
    refused = run(smart, "launch-token", "--user", "ada", "--patient", "ada", "--encounter", "theirs")
    assert (refused.exit_code, "Encounter/theirs is not there, or not one of Patient/ada" in refused.stderr) == (
        1,
        True,
    )
    for patient in ("other", "not-there"):
        refused = run(smart, "launch-token", "--user", "ada", "--patient", patient)
        assert (refused.exit_code, f"Patient/{patient} is not there" in refused.stderr) == (1, True)


def test_a_token_for_a_record_says_whose(smart: Smart) -> None:
    smart.patients("ada")
    refused = run(smart, "token", "--scope", "patient/*.rs")
    assert (refused.exit_code, "patient/*.rs shows nothing without --patient" in refused.stderr) == (2, True)
    refused = run(smart, "token", "--scope", "user/*.rs")
    assert (refused.exit_code, "user/*.rs shows nothing without --user" in refused.stderr) == (2, True)
    refused = run(smart, "token", "--scope", " ")
    assert (refused.exit_code, "--scope is empty" in refused.stderr) == (2, True)
    token = run(smart, "token", "--scope", "patient/*.rs", "--patient", "ada").stdout.strip()
    assert smart.get("Patient/ada", token).status_code == 200


def test_a_command_logs_what_goes_wrong_unless_more_is_wanted(smart: Smart, log: list[str]) -> None:
    assert run(smart, "audit", "verify").exit_code == 0
    assert log[-1] == "warning"
    assert run(smart, "audit", "verify", LOG_LEVEL="info").exit_code == 0
    assert log[-1] == "info"


def test_a_launch_names_the_base_that_is_set_or_served_and_never_a_guess(smart: Smart) -> None:
    person(smart.settings, "eve")
    public = "https://record.example/fhir"
    result = run(smart, "launch-token", "--user", "eve", BASE_URL=public)
    assert json.loads(result.stdout)["iss"] == public
    never_served = {"DATABASE": f"{smart.settings.database[:30]}-never"}
    for command in (("launch-token", "--user", "eve"), ("token",)):
        refused = run(smart, *command, **never_served)
        assert (refused.exit_code, "no server has begun" in refused.stderr) == (1, True), refused.output
