"""Our own operations are defined where the CapabilityStatement says; the server says what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.operations import OPERATIONS
from fhirserver.validation.validate import Validator

if TYPE_CHECKING:
    from conftest import Fhir

OWN = ["healthmate-explain", "healthmate-observation-series", "healthmate-stats"]
HL7 = "http://hl7.org/fhir/OperationDefinition/"


def test_every_definition_of_our_own_can_be_read_where_it_is_named(fhir: Fhir) -> None:
    rest = fhir.get("metadata").json()["rest"][0]
    levels = [("", rest), *((each["type"], each) for each in rest["resource"])]
    named = {(on, each["name"]): each["definition"] for on, level in levels for each in level.get("operation", [])}
    assert {(type_, name) for type_, name, _ in OPERATIONS} == set(named)
    own = {url for url in named.values() if not url.startswith(HL7)}
    assert {url.removeprefix(f"{fhir.base_url}/OperationDefinition/") for url in own} >= set(OWN)
    for url in own:
        definition = fhir.bundle(url)
        assert definition["url"] == url
        assert Validator(r4(), required_codes()).issues(definition) == []
        for (type_, name), said in named.items():
            if said == url:
                assert definition["code"] == name
                assert definition["system"] if not type_ else set(definition["resource"]) & {type_, "Resource"}


def test_a_definition_says_what_it_is_of(fhir: Fhir) -> None:
    series = fhir.bundle("OperationDefinition/healthmate-observation-series")
    assert (series["code"], series["resource"], series["type"]) == ("series", ["Observation"], True)
    assert (series["system"], series["instance"], series["affectsState"]) == (False, False, False)
    assert {"name": "code", "use": "in", "min": 1, "max": "1"}.items() <= series["parameter"][2].items()
    assert [part["name"] for part in series["parameter"][-2]["part"]][:2] == ["time", "value"]
    assert fhir.bundle("OperationDefinition/healthmate-explain")["resource"] == ["Resource"]
    assert '<id value="healthmate-stats"/>' in fhir.get("OperationDefinition/healthmate-stats?_format=xml").text
    assert "publisher" not in fhir.bundle("OperationDefinition/healthmate-stats?_elements=code")


DEFINITION = {
    "resourceType": "OperationDefinition",
    "id": OWN[0],
    "name": "Mine",
    "status": "draft",
    "kind": "operation",
    "code": "mine",
    "system": True,
    "type": False,
    "instance": False,
}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_it_cannot_be_written(fhir: Fhir, method: str) -> None:
    body = {"PUT": DEFINITION, "PATCH": {"resourceType": "Parameters"}}.get(method)
    answer = fhir.request(method, f"OperationDefinition/{OWN[0]}", **({"json": body} if body else {}))
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert "describes an operation of this server" in answer.json()["issue"][0]["diagnostics"]


def test_nor_by_a_transaction_but_others_can(fhir: Fhir) -> None:
    put = {"method": "PUT", "url": f"OperationDefinition/{OWN[0]}"}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": DEFINITION, "request": put}]}
    assert fhir.post("", bundle).status_code == 405
    assert fhir.put("OperationDefinition/mine", DEFINITION | {"id": "mine"}).status_code == 201
    assert fhir.get("OperationDefinition/mine").json()["name"] == "Mine"
    assert fhir.get("OperationDefinition/healthmate-nonsense").status_code == 404


def held(fhir: Fhir, query: str = "") -> dict[str, dict[str, Any]]:
    answer = fhir.bundle(f"$stats{query}")
    assert Validator(r4(), required_codes()).issues(answer) == []
    rows = {}
    for parameter in answer["parameter"]:
        parts = {part["name"]: next(v for k, v in part.items() if k != "name") for part in parameter["part"]}
        rows[parts.pop("name", "total")] = parts
    return rows


def test_what_the_server_holds(serve: Any) -> None:
    fhir = serve().client
    assert held(fhir)["total"]["resources"] == 0
    patient = {"resourceType": "Patient"}
    for number in range(5):
        fhir.put(f"Patient/{number}", patient | {"id": str(number)})
    fhir.put("Patient/1", patient | {"id": "1", "active": True})
    fhir.put("Organization/lab", {"resourceType": "Organization", "id": "lab", "name": "Lab"})
    fhir.delete("Patient/2")
    fhir.delete("Patient/3")
    rows = held(fhir)
    assert {name: rows["Patient"][name] for name in ("resources", "deleted", "versions")} == {
        "resources": 3,
        "deleted": 2,
        "versions": 3,
    }
    assert (rows["Organization"]["resources"], rows["Organization"]["deleted"]) == (1, 0)
    assert rows["total"]["resources"] == 4
    assert rows["total"]["bytes"] == rows["Patient"]["bytes"] + rows["Organization"]["bytes"]
    assert rows["total"]["databaseIndexes"] > 0
    assert set(held(fhir, "?_type=Organization,Basic")) == {"total", "Organization"}


@pytest.mark.parametrize(
    ("query", "sentence"), [("_type=Nonsense", "not a resource type"), ("x=1", "no parameter 'x'")]
)
def test_what_is_not_asked_rightly(fhir: Fhir, query: str, sentence: str) -> None:
    answer = fhir.get(f"$stats?{query}")
    assert answer.status_code == 400
    assert sentence in answer.json()["issue"][0]["diagnostics"]


def test_nobody_learns_of_it_unasked(serve: Any) -> None:
    closed = serve(open=False).client
    assert closed.get("$stats").status_code == 401
    assert closed.get(f"OperationDefinition/{OWN[0]}").status_code == 401
