"""Quantities in any unit of UCUM over HTTP. https://hl7.org/fhir/R4/search.html#quantity"""

from __future__ import annotations

import pytest

UCUM = "http://unitsofmeasure.org"


@pytest.fixture(scope="module")
def world(fhir):
    stored = (("warm", 98.6, "[degF]"), ("mild", 37.0, "Cel"), ("odd", 5, "furlongs"), ("acid", 7.2, "[pH]"))
    for id_, value, code in stored:
        quantity = {"value": value, "system": UCUM, "code": code, "unit": code}
        resource = {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": id_}}
        fhir.put(f"Observation/{id_}", resource | {"valueQuantity": quantity})
    return fhir


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (f"37|{UCUM}|Cel", {"warm", "mild"}),
        (f"310.15|{UCUM}|K", {"warm", "mild"}),
        (f"lt7.3|{UCUM}|[pH]", {"acid"}),
        (f"gt50|{UCUM}|nmol/L", {"acid"}),
        (f"5|{UCUM}|furlongs", {"odd"}),
        ("98.6||[degF]", {"warm"}),
    ],
)
def test_a_quantity_is_found_in_every_unit(world, asked: str, expected: set[str]) -> None:
    assert set(world.ids(f"Observation?value-quantity={asked}")) == expected


@pytest.mark.parametrize("query", [f"value-quantity=5|{UCUM}|furlongs", f"code-value-quantity=x$5|{UCUM}|furlongs"])
def test_a_unit_that_is_none_is_named_in_the_answer(world, query: str) -> None:
    bundle = world.bundle(f"Observation?{query}", headers={"Prefer": "handling=strict"})
    (outcome,) = [entry["resource"] for entry in bundle["entry"] if entry["search"]["mode"] == "outcome"]
    (issue,) = outcome["issue"]
    assert (issue["severity"], issue["code"]) == ("warning", "code-invalid")
    assert "'furlongs' is no unit of UCUM" in issue["diagnostics"]


def test_a_unit_of_ucum_needs_no_word(world):
    bundle = world.bundle(f"Observation?value-quantity=37|{UCUM}|Cel")
    assert {entry["search"]["mode"] for entry in bundle["entry"]} == {"match"}
