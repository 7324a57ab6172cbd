"""What follows from a query for the sake of an index changes nothing of what is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from queries import BASE, NOW, read

from fhirserver.fhir.definitions import r4
from fhirserver.fhir.units import UCUM
from fhirserver.search.bounds import FEW, by_id, narrowed
from fhirserver.search.criteria import Clause, Reference
from fhirserver.search.filters import query_filter
from fhirserver.search.index import Indexer
from fhirserver.search.parameters import r4_registry
from fhirserver.search.query import Query
from fhirserver.search.readers import PREFIXES

Json = dict[str, Any]
REGISTRY = r4_registry()
INDEXER = Indexer(r4(), REGISTRY, BASE)

moments = st.datetimes(datetime(2024, 1, 1), datetime(2024, 3, 2))
dates = st.builds(lambda at, length: at.isoformat(timespec="seconds")[:length], moments, st.sampled_from([4, 7, 10]))
numbers = st.integers(-20, 20).map(lambda number: Decimal(number) / 10)
units = st.sampled_from(["mg", "g", "kg", "[pH]", "mol/L", "Cel", "K"])
quantities = st.fixed_dictionaries(
    {"value": numbers},
    optional={
        "comparator": st.sampled_from(["<", "<=", ">", ">="]),
        "system": st.sampled_from([UCUM, "urn:units"]),
        "code": units,
        "unit": units,
    },
)
samples = st.builds(
    lambda zero, data: {"origin": {"value": zero, "system": UCUM, "code": "mg"}, "data": " ".join(map(str, data))},
    numbers,
    st.lists(st.integers(-3, 3), min_size=1, max_size=3),
)
references = st.sampled_from(["Patient/1", "Patient/2", "Patient/1/_history/2", "Group/1", "http://else.org/Patient/1"])
observations = st.fixed_dictionaries(
    {"code": st.sampled_from(["a", "b"]).map(lambda code: {"coding": [{"code": code}]})},
    optional={  # what only an unchecked resource has, too: two of a choice
        "effectiveDateTime": dates,
        "effectivePeriod": st.fixed_dictionaries({}, optional={"start": dates, "end": dates}),
        "valueQuantity": quantities,
        "valueSampledData": samples,
        "subject": references.map(lambda text: {"reference": text}),
    },
)
asked_dates = st.builds(lambda prefix, text: f"date={prefix}{text}", st.sampled_from(PREFIXES), dates)
asked_values = st.builds(
    lambda prefix, number, unit: f"value-quantity={prefix}{number}{unit}",
    st.sampled_from(PREFIXES),
    numbers,
    st.just("") | units.map(lambda unit: f"|{UCUM}|{unit}") | units.map(lambda unit: f"||{unit}"),
)
asked_subjects = st.builds(
    lambda code, text: f"{code}={text}",
    st.sampled_from(["subject", "patient"]),
    references | st.just("Patient/1,Patient/2") | st.just("1"),
)
searches = st.lists(asked_dates | asked_values | asked_subjects, max_size=4).map(lambda parts: "&".join(parts))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=st.lists(observations, min_size=1, max_size=12), asked=st.lists(searches, min_size=1, max_size=12))
def test_a_filter_that_knows_the_indexes_finds_the_same(
    collection: Collection[Json], fill: Callable[[list[Json]], None], world: list[Json], asked: list[str]
) -> None:
    resources = [{"resourceType": "Observation", "id": str(i), **each} for i, each in enumerate(world)]
    fill([{"_id": each["id"], **INDEXER.entry(each)._asdict()} for each in resources])
    for text in asked:
        query = read("Observation", f"code=a&{text}", strict=False)
        plain = query_filter(query, NOW)
        both = [
            {each["_id"] for each in collection.find(filter_, {"_id": 1})}
            for filter_ in (plain, by_id(query, narrowed(query, plain, REGISTRY), REGISTRY))
        ]
        assert both[0] == both[1], text


def test_what_is_known_of_the_keys_of_an_index_is_said() -> None:
    query = read("Observation", f"code=a&subject=Patient/1&date=2024-05&value-quantity=gt5|{UCUM}|mg")
    said = narrowed(query, query_filter(query, NOW), REGISTRY)
    assert said["search.patient"] == said["sort.patient"] == {"$in": ["Patient/1"]}
    assert set(said["sort.date"]) == {"$gte", "$lt"}
    assert str(said["sort.value-quantity:base"]["$not"]["$lte"]) == "0.005"
    assert "sort.value-quantity:point" not in said


def test_nothing_is_said_where_no_index_would_hear_it() -> None:
    for type_, text in [
        ("Observation", "date=2024-05&value-quantity=5"),
        ("Observation", "patient=Patient/1"),
        ("Observation", "code:not=a&date=2024-05"),
        ("Observation", "code=a&date=2024-05,2024-07&value-quantity=ne5&subject=Group/1"),
        ("Encounter", "patient=Patient/1&date=2024-05"),
    ]:
        query = read(type_, text)
        plain = query_filter(query, NOW)
        said = narrowed(query, plain, REGISTRY)
        assert {key for key in said if key.startswith("sort.")} <= {"sort.value-quantity:point"}, text
        assert len(said) <= len(plain) + 1


def test_a_long_list_of_a_chain_is_said_once() -> None:
    parameters = REGISTRY["Observation"]
    forms = tuple(f"Patient/{number}" for number in range(FEW + 1))
    clauses = [Clause(parameters["subject"], None, (Reference(forms),)), *read("Observation", "code=a").criteria]
    query = Query("Observation", criteria=tuple(clauses))
    plain = query_filter(query, NOW)
    assert narrowed(query, plain, REGISTRY) == plain


def test_what_is_asked_of_a_patient_without_an_order_lies_in_the_compartment() -> None:
    for text, said in [
        ("patient=Patient/1", ["Patient/1"]),
        ("subject=Patient/1,Patient/2&status=final", ["Patient/1", "Patient/2"]),
        ("encounter=Encounter/1", ["Encounter/1"]),
        ("subject=Group/1", None),
        ("subject=Patient/1,Group/1", None),
        ("patient=Patient/1/_history/2", None),
        ("patient=http://else.org/Patient/1", None),
        ("patient=Patient/1&_sort=-date", None),
        ("focus=Patient/1", None),
    ]:
        query = read("Observation", text)
        filter_ = by_id(query, query_filter(query, NOW), REGISTRY)
        assert filter_.get("compartments") == (said and {"$in": said}), text
