"""`start` and `end` of $everything are about when care took place; what has no date is always there."""

from __future__ import annotations

import pytest

from fhirserver.search.care_dates import CARE_DATES
from fhirserver.search.compartments import types_in
from fhirserver.search.parameters import r4_registry


@pytest.fixture(scope="module")
def world(fhir):
    fhir.put("Patient/ada", {"resourceType": "Patient", "id": "ada"})
    ada = {"reference": "Patient/ada"}
    pulse = {"resourceType": "Observation", "status": "final", "code": {"text": "pulse"}, "subject": ada}
    for id_, day in (("o1", "2020-05-01"), ("o2", "2022-05-01"), ("o3", "2024-05-01")):
        fhir.put(f"Observation/{id_}", pulse | {"id": id_, "effectiveDateTime": day})
    daily = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}
    fhir.put("Observation/undated", pulse | {"id": "undated", "effectiveTiming": daily})
    stay = {
        "resourceType": "Encounter",
        "id": "stay",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "subject": ada,
    }
    fhir.put("Encounter/stay", stay | {"period": {"start": "2021-01-01"}})
    consent = {"resourceType": "Flag", "id": "flag", "status": "active", "code": {"text": "x"}, "subject": ada}
    fhir.put("Flag/flag", consent)
    letter = {"resourceType": "DocumentReference", "status": "current", "subject": ada, "date": "2024-05-01T00:00:00Z"}
    about = {"content": [{"attachment": {"title": "x"}}], "context": {"period": {"start": "2020-05", "end": "2020-05"}}}
    fhir.put("DocumentReference/letter", letter | about | {"id": "letter"})
    return fhir


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "ada letter stay flag o1 o2 o3 undated"),
        ("start=2022", "ada stay flag o2 o3 undated"),
        ("end=2020-05-01", "ada letter flag o1 undated"),
        ("end=2020-04-30", "ada flag undated"),
        ("start=2022-05-01&end=2022-05-01", "ada stay flag o2 undated"),
        ("start=2022-05-02&end=2024-04", "ada stay flag undated"),
        ("start=2022&_type=Observation", "o2 o3 undated"),
        ("start=2022&_type=Observation&_since=2990", ""),
    ],
)
def test_care_within_the_range(world, query, found):
    assert world.ids(f"Patient/ada/$everything?{query}") == found.split()


def test_pages_keep_the_range(world):
    bundle = world.bundle("Patient/ada/$everything?start=2022&_count=4")
    (next_,) = (link["url"] for link in bundle["link"] if link["relation"] == "next")
    assert world.ids(next_) == ["o3", "undated"]


@pytest.mark.parametrize(
    "query", ["start=soon", "end=2024-13", "start=2024&end=2023", "start=2020&start=2021", "start=soon&_type=Claim"]
)
def test_what_is_no_range_is_refused(world, query):
    assert world.get(f"Patient/ada/$everything?{query}").status_code == 400


def test_the_table_names_dates_of_the_compartment():
    for type_, code in CARE_DATES.items():
        assert type_ in types_in("Patient"), type_
        assert r4_registry()[type_][code].type == "date", type_
