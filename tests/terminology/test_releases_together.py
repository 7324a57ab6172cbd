"""A release is a code system like others: by its OID, with supplements, in closure tables, in the version asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import rf2
from asking import looked_up, named
from loading import loader

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
SNOMED, OID = "http://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96"
VERSION = f"{SNOMED}/{rf2.EDITION}/version/{rf2.DATE}"
BELOW = f"{SNOMED}?fhir_vs=isa/20"


@pytest.fixture(scope="module")
def fhir(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Fhir:
    client, load = loader(serve())
    done = load("snomed", rf2.release(tmp_path_factory.mktemp("rf2")))
    assert done.exit_code == 0, done.output
    return client


def closure(fhir: Fhir, *codes: str, system: str = SNOMED) -> set[tuple[str, str]]:
    concepts = [{"name": "concept", "valueCoding": {"system": system, "code": each}} for each in codes]
    parameters = [{"name": "name", "valueString": "heart"}, *concepts]
    answer = fhir.post("$closure", {"resourceType": "Parameters", "parameter": parameters})
    assert answer.status_code == 200, answer.text
    elements = [each for group in answer.json().get("group", []) for each in group["element"]]
    return {(each["code"], target["code"]) for each in elements for target in each["target"]}


def test_a_closure_table_of_a_release(fhir: Fhir) -> None:
    assert closure(fhir) == set()
    assert closure(fhir, "50", "60") == set()
    assert closure(fhir, "20", "30") == {("50", "20"), ("50", "30"), ("30", "20")}
    assert closure(fhir, "40") == {("50", "40"), ("40", "20")}


def test_it_is_known_by_its_oid(fhir: Fhir) -> None:
    assert named(looked_up(fhir, "50", system=OID), "display") == ["Heart attack"]
    asked = {"url": BELOW, "system": OID, "code": "50"}
    assert named(fhir.get("ValueSet/$validate-code", params=asked).json(), "result") == [True]


@pytest.mark.parametrize(
    ("parameter", "version", "status"),
    [
        ("system-version", VERSION, 200),
        ("force-system-version", f"{SNOMED}/{rf2.EDITION}", 200),
        ("check-system-version", f"{SNOMED}/{rf2.CORE}", 400),
    ],
)
def test_its_version_may_be_asked(fhir: Fhir, parameter: str, version: str, status: int) -> None:
    answer = fhir.get("ValueSet/$expand", params={"url": BELOW, parameter: f"{SNOMED}|{version}"})
    assert answer.status_code == status, answer.text


def test_its_systems_may_be_left_out(fhir: Fhir) -> None:
    answer = fhir.get("ValueSet/$expand", params={"url": BELOW, "exclude-system": SNOMED})
    assert answer.json()["expansion"]["total"] == 0


def test_it_is_listed(fhir: Fhir) -> None:
    systems = fhir.get("metadata?mode=terminology").json()["codeSystem"]
    (snomed,) = [each for each in systems if each["uri"] == SNOMED]
    assert snomed["version"] == [{"code": VERSION, "isDefault": True}]


def test_a_supplement_adds_names_to_its_pages(fhir: Fhir) -> None:
    supplement = {
        "resourceType": "CodeSystem",
        "id": "french",
        "url": "http://example.org/french",
        "status": "active",
        "content": "supplement",
        "supplements": SNOMED,
        "concept": [{"code": "50", "designation": [{"language": "fr", "value": "Infarctus"}]}],
    }
    fhir.put("CodeSystem/french", supplement)
    assert named(looked_up(fhir, "50", displayLanguage="fr"), "display") == ["Infarctus"]
    asked = {"url": BELOW, "displayLanguage": "fr", "count": "10"}
    found = fhir.get("ValueSet/$expand", params=asked).json()["expansion"]["contains"]
    assert {each["code"]: each["display"] for each in found}["50"] == "Infarctus"
    assert closure(fhir, "10") == {(each, "10") for each in ("20", "30", "40", "50")}, "its hierarchy is as it was"
