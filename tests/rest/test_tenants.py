"""Tenants share a server and nothing else: each of `HEALTHMATE_TENANTS` has a base and a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fhirserver.cli import main
from fhirserver.settings import Settings

if TYPE_CHECKING:
    from conftest import Fhir, Serve

PATIENT = {"resourceType": "Patient", "id": "p", "name": [{"family": "Lovelace"}]}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "Patient/p"},
}


def two(serve: Serve, *names: str) -> Iterator[tuple[Fhir, Fhir]]:
    client = serve(tenants=",".join(names)).client
    one, other = (type(client)(f"{client.base_url}/{name}") for name in names)
    with one.http, other.http:
        yield one, other


@pytest.fixture(scope="module")
def tenants(serve: Serve) -> Iterator[tuple[Fhir, Fhir]]:
    yield from two(serve, "north", "south")


def transaction(*resources: dict[str, Any]) -> dict[str, Any]:
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def test_each_tenant_has_its_own_record(tenants: tuple[Fhir, Fhir]) -> None:
    north, south = tenants
    assert north.put("Patient/own", PATIENT | {"id": "own"}).status_code == 201
    assert north.get("Patient/own").status_code == 200
    assert south.get("Patient/own").status_code == 404
    assert south.put("Patient/own", PATIENT | {"id": "own"}).json()["meta"]["versionId"] == "1"


def test_links_and_locations_stay_with_the_tenant(tenants: tuple[Fhir, Fhir]) -> None:
    north, south = tenants
    created = north.post("Patient", PATIENT)
    assert created.headers["location"].startswith(f"{north.base_url}/Patient/")
    north.post("Patient", PATIENT)
    page = north.bundle("Patient?_count=1")
    links = {link["relation"]: link["url"] for link in page["link"]}
    assert all(url.startswith(f"{north.base_url}/") for url in links.values())
    assert page["entry"][0]["fullUrl"].startswith(f"{north.base_url}/")
    assert north.get(links["next"]).status_code == 200
    forged = links["next"].replace("/north/", "/south/")
    assert south.get(forged).status_code == 400, "a page link of one tenant is no good for another"
    statement = north.get("metadata").json()
    assert statement["implementation"]["url"] == north.base_url


def test_a_reference_to_another_tenant_is_a_foreign_url(tenants: tuple[Fhir, Fhir]) -> None:
    north, south = tenants
    south.put("Patient/other", PATIENT | {"id": "other"})
    north.put("Patient/other", PATIENT | {"id": "other"})
    foreign = {"subject": {"reference": f"{south.base_url}/Patient/other"}}
    north.put("Observation/foreign", OBSERVATION | foreign | {"id": "foreign"})
    assert north.ids("Observation?subject=Patient/other") == []
    assert north.ids(f"Observation?subject={south.base_url}/Patient/other") == ["foreign"]
    page = north.bundle("Observation?_id=foreign&_include=Observation:subject")
    assert [entry["search"]["mode"] for entry in page["entry"]] == ["match"]


@pytest.mark.parametrize(
    "path", ["Patient", "metadata", "east/Patient", "north%2FPatient", "%6Eorth/Patient", "North/Patient", ""]
)
def test_what_names_no_tenant_is_not_found(tenants: tuple[Fhir, Fhir], path: str) -> None:
    base = tenants[0].base_url.removesuffix("/north")
    answer = tenants[0].get(f"{base}/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/fhir+json; charset=utf-8")
    assert answer.json()["issue"][0]["diagnostics"] == "the FHIR API of a tenant is at [base]/[tenant]"
    assert tenants[0].request("HEAD", f"{base}/{path}").content == b""


LOOKS = (
    "Patient/p",
    "Patient/p/_history",
    "Patient/p/_history/1",
    "Patient?_summary=count",
    "Patient?name=lovelace",
    "Observation?patient.name=love&_include=*",
    "Patient?_has:Observation:patient:code=8867-4&_revinclude=Observation:patient",
    "Patient/p/$everything",
    "Patient/p/Observation",
    "?_type=Patient,Observation",
    "_history",
    "Observation/_history",
    "metadata",
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["put", "observe", "delete", "transaction", "conditional"]), max_size=5))
def test_nothing_leaks_across(witnesses: tuple[Fhir, Fhir], deeds: list[str]) -> None:
    """Whatever is done in one tenant, every path of the other answers the same, byte for byte, but for what is new
    in every answer."""
    actor, witness = witnesses
    before = [seen(witness, path) for path in LOOKS]
    for deed in deeds:
        do(actor, deed)
    assert [seen(witness, path) for path in LOOKS] == before


@pytest.fixture(scope="module")
def witnesses(serve: Serve) -> Iterator[tuple[Fhir, Fhir]]:
    yield from two(serve, "actor", "witness")


def do(fhir: Fhir, deed: str) -> None:
    match deed:
        case "put":
            answer = fhir.put("Patient/p", PATIENT)
        case "observe":
            answer = fhir.put("Observation/o", OBSERVATION)
        case "delete":
            answer = fhir.delete("Patient/p")
        case "transaction":
            answer = fhir.post("", transaction(PATIENT, OBSERVATION))
        case _:
            answer = fhir.post("Patient", PATIENT, headers={"If-None-Exist": "name=lovelace"})
    assert answer.status_code < 300 or answer.status_code == 412, answer.text


def seen(fhir: Fhir, path: str) -> tuple[int, Any]:
    answer = fhir.get(path)
    body = answer.json()
    if body["resourceType"] == "Bundle":
        body.pop("id")
        body.pop("meta")
    return answer.status_code, body


@pytest.mark.parametrize("names", ["North", "1st", "a/b", "a,a", "Patient", "x" * 25, "ä", "-a"])
def test_names_that_cannot_be_tenants(names: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"tenants": names})


def test_partitions_are_settings() -> None:
    given_ = {"tenants": " a, b ", "secret": "s", "base_url": "http://h/fhir/", "database": "d"}
    whole = Settings.model_validate(given_)
    parts = whole.partitions()
    assert list(parts) == ["a", "b"]
    assert (parts["a"].database, parts["a"].base_url, parts["a"].tenants) == ("d-a", "http://h/fhir/a", ())
    assert len({part.secret.get_secret_value() for part in (whole, *parts.values()) if part.secret}) == 3
    assert Settings().partitions() == {"": Settings()}


@pytest.mark.parametrize(
    ("configured", "options", "sentence"),
    [
        ("a,b", [], "one of a, b"),
        ("a,b", ["--tenant", "c"], "one of a, b"),
        ("", ["--tenant", "a"], "there are no tenants"),
    ],
)
def test_a_command_names_the_tenant(configured: str, options: list[str], sentence: str) -> None:
    done = CliRunner().invoke(main, ["check", *options], env={"HEALTHMATE_TENANTS": configured})
    assert done.exit_code == 2
    assert sentence in done.output
