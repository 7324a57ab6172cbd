"""UCUM as a code system: $validate-code, $lookup and $expand of units, and searches by value sets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
UCUM = "http://unitsofmeasure.org"
UNITS, COMMON = "http://hl7.org/fhir/ValueSet/ucum-units", "http://hl7.org/fhir/ValueSet/ucum-common"
MASSES: Json = {
    "resourceType": "ValueSet",
    "id": "masses",
    "url": "http://example.org/ValueSet/masses",
    "status": "active",
    "compose": {"include": [{"system": UCUM, "filter": [{"property": "property", "op": "=", "value": "mass"}]}]},
}
TIMES_AND_LENGTHS: Json = {
    "resourceType": "ValueSet",
    "id": "times-and-lengths",
    "url": "http://example.org/ValueSet/times-and-lengths",
    "status": "active",
    "compose": {"include": [{"system": UCUM, "filter": [{"property": "canonical", "op": "in", "value": "s, km"}]}]},
}
LEFT_OUT: Json = {
    "resourceType": "ValueSet",
    "id": "left-out",
    "url": "http://example.org/ValueSet/left-out",
    "status": "active",
    "compose": {"include": [{"valueSet": [COMMON]}], "exclude": MASSES["compose"]["include"]},
}
WRONG_FILTER: Json = {
    "resourceType": "ValueSet",
    "id": "wrong-filter",
    "url": "http://example.org/ValueSet/wrong-filter",
    "status": "active",
    "compose": {"include": [{"system": UCUM, "filter": [{"property": "canonical", "op": "=", "value": "kilo"}]}]},
}
# as HL7's terminology package has it
WITHOUT_CODES: Json = {
    "resourceType": "CodeSystem",
    "id": "v3-ucum",
    "url": UCUM,
    "version": "2.0.1",
    "name": "Ucum",
    "status": "active",
    "content": "not-present",
}


@pytest.fixture(scope="module")
def units(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in (MASSES, TIMES_AND_LENGTHS, LEFT_OUT, WRONG_FILTER, WITHOUT_CODES):
        answer = fhir.request("PUT", f"{resource['resourceType']}/{resource['id']}", json=resource)
        assert answer.status_code == 201, answer.text
    for id_, system, code in (("mass", UCUM, "mg"), ("other", UCUM, "[oz_av]{wet}"), ("lab", "http://lab.org", "mg")):
        concept = {"coding": [{"system": system, "code": code}]}
        observation = {"resourceType": "Observation", "id": id_, "status": "final", "code": concept}
        answer = fhir.request("PUT", f"Observation/{id_}", json=observation)
        assert answer.status_code == 201, answer.text
    return fhir


def parameters(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found = {}
    for each in answer.json()["parameter"]:
        value = next((v for key, v in each.items() if key.startswith("value")), None)
        if each["name"] == "property":
            code, value = (next(v for key, v in part.items() if key.startswith("value")) for part in each["part"])
            found[f"property.{code}"] = value
        else:
            found[each["name"]] = value
    return found


@pytest.mark.parametrize(
    ("code", "display", "said"),
    [
        ("mg/dL", "milligram per deciliter", {"canonical": "g.m-3", "factor": 10}),
        ("mm[Hg]", "millimeter of mercury", {"canonical": "g.m-1.s-2", "factor": 133322}),
        ("kg", "kilogram", {"canonical": "g", "factor": 1000}),
        ("Cel", "degree Celsius", {"canonical": "K", "special": True, "property": "temperature"}),
        ("[iU]", "international unit", {"canonical": "[iU]", "arbitrary": True}),
        ("m/s.s", "meter per second times second", {"canonical": "m"}),
        ("kg{wet}/(m.s)", "kilogram (wet) per (meter second)", {"canonical": "g.m-1.s-1"}),
        ("dB", "decibel", {"canonical": "1"}),
    ],
)
def test_a_unit_is_looked_up(units: Fhir, code: str, display: str, said: Json) -> None:
    found = parameters(units.request("GET", "CodeSystem/$lookup", params={"system": UCUM, "code": code}))
    assert found["display"].lower() == display.lower()
    assert found["version"] == "2.2"
    assert {name: found[f"property.{name}"] for name in said} == said


def test_what_is_no_unit_is_not_looked_up(units: Fhir) -> None:
    answer = units.request("GET", "CodeSystem/$lookup", params={"system": UCUM, "code": "furlong/day"})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("code", "display", "result", "message"),
    [
        ("mg/dL", None, True, None),
        ("mg{any note}/dL", None, True, None),
        ("10*3/uL", None, True, None),
        ("mm[Hg]", "mmHg", True, None),
        ("mg", "MILLIGRAM", True, None),
        ("Cel", "°C", True, None),
        ("kg", "gram", False, "is called 'kilogram'"),
        ("[ppb]", None, True, "is inactive"),
        ("mmHg", None, False, "mm[Hg] is"),
        ("µg", None, False, "u is how UCUM writes it"),
        ("MG/DL", None, False, "is no unit of UCUM"),
        ("Cel/min", None, False, "on a scale"),
    ],
)
def test_a_unit_is_validated(units: Fhir, code: str, display: str | None, result: bool, message: str | None) -> None:
    asked = {"url": UCUM, "code": code} | ({"display": display} if display else {})
    found = parameters(units.request("GET", "CodeSystem/$validate-code", params=asked))
    assert found["result"] is result
    assert (message or "") in found.get("message", "")


@pytest.mark.parametrize(
    ("value_set", "code", "result"),
    [
        (UNITS, "mg/dL", True),
        (UNITS, "ug{free}/(24.h)", True),
        (UNITS, "furlong", False),
        (COMMON, "mg/dL", True),
        (COMMON, "furlong", False),
        (COMMON, "ug{free}/(24.h)", False),
        (f"{UCUM}/vs", "K", True),
        (f"{UCUM}/vs", "k", False),
        (f"{UCUM}/vs/mg/dL", "g/L", True),
        (f"{UCUM}/vs/mg/dL", "mmol/L", False),
        (f"{UCUM}/vs/Cel", "[degF]", True),
        (MASSES["url"], "[lb_av]", True),
        (MASSES["url"], "mL", False),
        (TIMES_AND_LENGTHS["url"], "[in_i]", True),
        (TIMES_AND_LENGTHS["url"], "a", True),
        (TIMES_AND_LENGTHS["url"], "g", False),
        (LEFT_OUT["url"], "mg", False),
        (LEFT_OUT["url"], "mL", True),
    ],
)
def test_a_unit_is_in_a_value_set(units: Fhir, value_set: str, code: str, result: bool) -> None:
    asked = {"url": value_set, "system": UCUM, "code": code}
    assert parameters(units.request("GET", "ValueSet/$validate-code", params=asked))["result"] is result


def test_a_value_set_of_no_unit_is_not_known(units: Fhir) -> None:
    asked = {"url": f"{UCUM}/vs/furlong", "system": UCUM, "code": "m"}
    assert units.request("GET", "ValueSet/$validate-code", params=asked).status_code == 404


def test_a_filter_names_a_unit(units: Fhir) -> None:
    asked = {"url": WRONG_FILTER["url"], "system": UCUM, "code": "m"}
    answer = units.request("GET", "ValueSet/$validate-code", params=asked)
    assert answer.status_code == 400
    assert "'kilo' is no unit of UCUM" in answer.text


def test_a_version_that_is_not_here_cannot_be_known(units: Fhir) -> None:
    asked = {"url": UCUM, "version": "1.9", "code": "m"}
    found = parameters(units.request("GET", "CodeSystem/$validate-code", params=asked))
    assert found["result"] is False


def test_units_are_neither_above_nor_below(units: Fhir) -> None:
    for other, outcome in (("kg", "not-subsumed"), ("g", "equivalent")):
        asked = {"system": UCUM, "codeA": "g", "codeB": other}
        assert parameters(units.request("GET", "CodeSystem/$subsumes", params=asked)) == {"outcome": outcome}


def test_an_expansion_shows_the_usual_units_and_says_that_there_are_more(units: Fhir) -> None:
    found = units.request("GET", "ValueSet/$expand", params={"url": UNITS, "filter": "milligram per dec"}).json()
    assert found["expansion"]["extension"][0]["url"].endswith("/valueset-unclosed")
    assert "total" not in found["expansion"]
    first = found["expansion"]["contains"][0]
    assert (first["system"], first["code"], first["display"]) == (UCUM, "mg/dL", "milligram per deciliter")
    masses = units.request("GET", "ValueSet/masses/$expand").json()["expansion"]["contains"]
    assert {"mg", "[lb_av]"} <= {each["code"] for each in masses}
    assert "mL" not in {each["code"] for each in masses}
    common = units.request("GET", "ValueSet/$expand", params={"url": COMMON, "count": "1"}).json()["expansion"]
    assert (common["total"], "extension" in common) == (1357, False)
    assert units.request("GET", "ValueSet/left-out/$expand").status_code == 422


@pytest.mark.parametrize(
    ("value_set", "status", "found"),
    [(UNITS, 200, {"mass", "other"}), (COMMON, 200, {"mass"}), (MASSES["url"], 422, set())],
)
def test_a_search_by_a_value_set_of_units(units: Fhir, value_set: str, status: int, found: set[str]) -> None:
    answer = units.request("GET", "Observation", params={"code:in": value_set})
    assert answer.status_code == status, answer.text
    assert {each["resource"]["id"] for each in answer.json().get("entry", ())} == found
