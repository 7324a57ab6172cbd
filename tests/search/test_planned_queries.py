"""What a query asks of the database is worked out once, and is what it would be if worked out again."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

import pytest
from queries import NOW, read

from fhirserver.search.filters import counting
from fhirserver.search.mongo import conjunction
from fhirserver.search.paging import Cursor, keys
from fhirserver.search.parameters import Registry, r4_registry
from fhirserver.search.plans import bands_of, plan

REGISTRY = r4_registry()
SEARCHES = [
    ("Observation", "patient=Patient/1&code=http://loinc.org|8867-4&date=ge2020&_sort=-date"),
    ("Observation", "patient=1&status=final&_sort=date"),
    ("Observation", "date=ge2020,lt2010"),
    ("Patient", "name=jones&_sort=family,-birthdate"),
    ("Patient", ""),
]


@pytest.mark.parametrize(("type_", "text"), SEARCHES)
def test_a_query_is_worked_out_once(type_: str, text: str) -> None:
    query = read(type_, text)
    first = plan(query, REGISTRY, NOW)
    assert plan(query, REGISTRY, NOW + timedelta(days=1)) is first
    assert plan(replace(query), REGISTRY, NOW) == first
    assert keys(query) is keys(query)


@pytest.mark.parametrize("text", ["date=ap2020", "date=ge2020,ap2010"])
def test_what_is_near_a_date_depends_on_when_it_is_asked(text: str) -> None:
    query = read("Observation", text)
    first, later = plan(query, REGISTRY, NOW), plan(query, REGISTRY, NOW + timedelta(days=400))
    assert first.filter != later.filter
    assert plan(query, REGISTRY, NOW) == first


def test_other_search_parameters_make_another_plan() -> None:
    query = read("Observation", "patient=1")
    renewed = Registry(REGISTRY.definitions, REGISTRY.parameters)
    assert plan(query, renewed, NOW) is not plan(query, REGISTRY, NOW)


@pytest.mark.parametrize(("type_", "text"), SEARCHES)
def test_nobody_changes_what_is_kept(type_: str, text: str) -> None:
    query = read(type_, text)
    kept = plan(query, REGISTRY, NOW)
    before = deepcopy(kept[1:])
    counting(kept.filter)
    conjunction([kept.filter, {"deleted": False}, {"$and": [{"updated": NOW}]}])
    cursor = Cursor(tuple(None for _ in keys(query)), type_)
    assert bands_of([kept], cursor) != kept.first
    assert plan(query, REGISTRY, NOW)[1:] == before
