"""Which index answers a search, and that it looks at little more than what it finds: by the database's own account.

3,600 observations and 900 conditions of 30 patients, and what MongoDB's planner makes of them. No time is measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from brief import briefly

from fhirserver.assembly import contexts
from fhirserver.context import OPERATOR
from fhirserver.fhir.units import UCUM
from fhirserver.interactions.load import load

PATIENTS, EACH, CODES = 30, 120, 4
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
PAIN = f"{LOINC}|c0"


def observation(patient: int, number: int) -> dict[str, Any]:
    """One code of small values, of which six are 9; a panel without any value; one of large values, one below 0."""
    code, day = number % CODES, 1 + number % 28
    resource = {
        "resourceType": "Observation",
        "id": f"o{number:04d}-{patient}",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": f"c{code}"}], "text": "sign"},
        "subject": {"reference": f"Patient/p{patient}"},
        "effectiveDateTime": f"20{10 + number % 10}-{1 + patient % 12:02d}-{day:02d}T08:00:00Z",
    }
    if code != 1:
        value = 9 if number % 60 == 0 and patient % 10 == 0 else number % 8 + (0, 0, 100, -100)[code]
        resource["valueQuantity"] = {"value": value, "unit": "g", "system": UCUM, "code": "g"}
    return resource


def condition(patient: int, number: int) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": f"c{number:04d}-{patient}",
        "code": {"coding": [{"system": SNOMED, "code": f"s{number % 3}"}]},
        "subject": {"reference": f"Patient/p{patient}"},
        "onsetDateTime": f"20{10 + number % 10}-05-{1 + patient % 28:02d}",
    }


def record(patient: int) -> list[dict[str, Any]]:
    return [
        {"resourceType": "Patient", "id": f"p{patient}", "identifier": [{"system": "urn:mrn", "value": f"m{patient}"}]},
        *(observation(patient, number) for number in range(EACH)),
        *(condition(patient, number) for number in range(EACH // CODES)),
    ]


@pytest.fixture(scope="module")
def world(serve):
    served = serve()

    async def filled() -> None:
        async with contexts(served.settings) as found:
            ctx = replace(found[""], caller=OPERATOR)
            receipt = await load(ctx, [each for patient in range(PATIENTS) for each in record(patient)])
            assert not receipt.failed
            assert not receipt.missing

    briefly(filled())
    return served.client


# A search → the index, how many keys for each result at most, and how many beside them: one row more than the page is
# found, and an index is left one key behind its end.
PLANS = {
    "Observation?patient=p3&_sort=-date": ("patient-date", 1, 3),
    "Observation?subject=Patient/p3&_sort=-date": ("patient-date", 1, 3),
    "Observation?patient=p3": ("compartments", 1, 3),
    "Observation?subject=Patient/p3&status=final": ("compartments", 1, 3),
    f"Observation?patient=p3&code={PAIN}&_sort=-date": ("code-patient", 1.5, 3),
    f"Observation?subject=Patient/p3&code={PAIN}&_sort=-date": ("code-patient", 1.5, 3),
    f"Observation?patient=p3&code={PAIN}&date=2014&_sort=-date": ("patient-date", 2, 3),
    f"Observation?patient=p3&code={PAIN}&value-quantity=ge4": ("code-patient", 2.5, 3),
    f"Observation?code={PAIN}&_sort=-date": ("code-date", 1, 3),
    f"Observation?code={PAIN}&date=2012-05&_sort=-date": ("code-date", 1, 3),
    f"Observation?code={PAIN}&date=sa2017&date=lt2019-03&_sort=-date": ("code-date", 1, 3),
    f"Observation?code={PAIN}&date=2030&_sort=-date": ("code-date", 1, 1),
    f"Observation?code={PAIN}": ("code-id", 1, 3),
    f"Observation?code={PAIN}&value-quantity=gt8": ("code-value", 1, 3),
    f"Observation?code={PAIN}&value-quantity=gt20": ("code-value", 1, 3),
    f"Observation?code={PAIN}&value-quantity=lt0": ("code-value", 1, 3),
    f"Observation?code={LOINC}|c1&value-quantity=gt5": ("code-value", 1, 3),
    f"Observation?code={PAIN}&value-quantity=gt8500|{UCUM}|mg": ("code-value", 1, 9),
    f"Condition?code={SNOMED}|s1&_sort=-onset-date": ("code-onset", 1, 3),
    f"Condition?code={SNOMED}|s1&onset-date=2013&_sort=-onset-date": ("code-onset", 1, 3),
    "Condition?patient=p3": ("compartments", 1, 3),
    "Condition?subject=Patient/p3": ("compartments", 1, 3),
    "Patient?identifier=urn:mrn|m7": ("search", 1, 3),
    "Observation?_sort=-_lastUpdated": ("updated", 1, 3),
    "Observation": ("_id_", 1, 3),
}


def steps(world, search: str) -> list[dict[str, list[Any]]]:
    """What the database was asked, the last one for the page."""
    type_, _, query = search.partition("?")
    answer = world.get(f"{type_}/$explain?{query}")
    assert answer.status_code == 200, answer.text
    found = [each["part"] for each in answer.json()["parameter"] if each["name"] == "step"]
    return [{part["name"]: part.get("part") or [*part.values()][-1] for part in step} for step in found]


@pytest.mark.parametrize(("search", "expected"), PLANS.items(), ids=[*PLANS])
def test_plan(world, search, expected):
    index, times, beside = expected
    (step,) = steps(world, search)
    used = {part["name"]: part.get("valueString") for part in step["index"]}
    assert (used["name"], step["keysExamined"] <= times * step["returned"] + beside) == (index, True), step


@pytest.mark.parametrize("far", [f"Condition:patient:code={SNOMED}|s1", f"Observation:patient:code={PAIN}"])
def test_has_reads_one_key_for_each_patient(world, far):
    found, near = steps(world, f"Patient?_has:{far}&_sort=-birthdate")
    assert (found["documentsExamined"], near["returned"]) == (0, 21)
    assert found["keysExamined"] <= PATIENTS + 1


@pytest.mark.parametrize("far", [f"Condition:patient:code={SNOMED}|s1", f"Observation:patient:code={PAIN}"])
def test_a_page_of_has_reads_no_more_than_it_needs(world, far):
    near, probe = steps(world, f"Patient?_has:{far}&_count=2")
    assert (near["returned"], probe["returned"], probe["documentsExamined"]) == (6, 6, 0)
    assert max(near["keysExamined"], probe["keysExamined"]) <= 8 < PATIENTS


def test_what_nothing_refers_to_is_not_walked_through(world):
    found = steps(world, "Patient?_has:Observation:patient:code=none&_count=1")
    assert [step["returned"] for step in found] == [4, 0, 0, 0]
    assert sum(step["keysExamined"] for step in found) <= 4 + 4
