"""metadata?mode=terminology: what it lists is there, and what it says can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from terminology.canonical import Canonical
from terminology.published import published_definition, published_versions

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
COLORS = "http://example.org/colors"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"
# of each parameter of $expand, a value that it takes
VALUES = {
    "valueSetVersion": "4.0.1",
    "filter": "fem",
    "date": "2999",
    "offset": "0",
    "count": "2",
    "designation": "de",
    "displayLanguage": "de",
    "exclude-system": "urn:x",
    "system-version": "urn:x|1",
    "check-system-version": "urn:x|1",
    "force-system-version": "urn:x|1",
}


def colors(id_: str, version: str, **more: Any) -> Json:
    said = {"resourceType": "CodeSystem", "id": id_, "url": COLORS, "version": version, "status": "active"}
    return said | {"content": "complete", "concept": [{"code": "red"}]} | more


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in (colors("c1", "1"), colors("c10", "10"), colors("c2", "2"), colors("c11", "11", status="draft")):
        assert fhir.put(f"CodeSystem/{resource['id']}", resource).status_code == 201
    assert fhir.put("CodeSystem/none", colors("none", "1", url="urn:none", content="not-present")).status_code == 201
    return fhir


@pytest.fixture(scope="module")
def statement(world: Fhir) -> Json:
    answer = world.get("metadata?mode=terminology")
    assert answer.status_code == 200
    found: Json = answer.json()
    return found


def test_stored_code_systems_are_listed_with_their_versions(statement: Json) -> None:
    systems = {each["uri"]: each.get("version", []) for each in statement["codeSystem"]}
    assert len(systems) == len(statement["codeSystem"])
    assert {each["code"]: each["isDefault"] for each in systems[COLORS]} == {
        "1": False,
        "2": False,
        "10": True,
        "11": False,
    }
    assert "urn:none" not in systems
    assert "http://snomed.info/sct" not in systems
    assert systems["http://hl7.org/fhir/administrative-gender"] == [{"code": "4.0.1", "isDefault": True}]
    assert "http://unitsofmeasure.org" in systems


def test_all_that_is_published_and_listed_has_its_codes() -> None:
    for url, version in published_versions().items():
        found: Any = published_definition(Canonical("CodeSystem", url, version))
        assert found.usable, url


def test_every_parameter_of_an_expansion_is_taken(world: Fhir, statement: Json) -> None:
    names = [each["name"] for each in statement["expansion"]["parameter"] if each["name"] not in ("url", "valueSet")]
    for name in names:
        answer = world.get("ValueSet/$expand", params={"url": GENDERS, name: VALUES.get(name, "true")})
        assert answer.status_code == 200, (name, answer.text)


def test_whoever_has_no_token_sees_what_is_published(serve: Serve) -> None:
    closed = serve(open=False).client
    systems = {each["uri"] for each in closed.get("metadata?mode=terminology").json()["codeSystem"]}
    assert "http://hl7.org/fhir/administrative-gender" in systems
    assert COLORS not in systems


def test_units_are_composed(statement: Json) -> None:
    (units,) = [each for each in statement["codeSystem"] if each["uri"] == "http://unitsofmeasure.org"]
    assert units["version"] == [{"code": "2.2", "isDefault": True, "compositional": True}]
