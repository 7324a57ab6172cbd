"""Worlds of random resources, asked many questions: the server finds what the reference implementation finds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from queries import BASE, NOW, read

from fhirserver.fhir.definitions import r4
from fhirserver.search.criteria import PREFIXES
from fhirserver.search.filters import query_filter
from fhirserver.search.index import Indexer
from fhirserver.search.parameters import r4_registry

Json = dict[str, Any]
INDEXER = Indexer(r4(), r4_registry(), BASE)


def written(moment: datetime, length: int, zone: str) -> str:
    return moment.isoformat(timespec="milliseconds")[:length] + (zone if length > 10 else "")


moments = st.datetimes(datetime(2023, 12, 30), datetime(2024, 3, 2)) | st.datetimes(
    datetime(1950, 1, 2), datetime(2040, 1, 1)
)
zones = st.sampled_from(["Z", "+02:00", "-05:00", "+14:00"])
dates = st.builds(written, moments, st.sampled_from([4, 7, 10, 19, 23]), zones)
date_texts = st.builds(written, moments, st.sampled_from([4, 7, 10, 16, 19, 23]), zones)
numbers = st.decimals(-12, 12, places=1) | st.decimals(-6, 6, places=2) | st.integers(-110, 110).map(Decimal)
names = st.text("aAeEéÉñöçb -", min_size=1, max_size=5).map(lambda text: f"x{text}x")

effective = dates.map(lambda text: {"effectiveDateTime": text}) | st.fixed_dictionaries(
    {}, optional={"start": dates, "end": dates}
).map(lambda value: {"effectivePeriod": value} if value else {})
amounts = st.fixed_dictionaries(
    {}, optional={"value": numbers, "comparator": st.sampled_from(["<", "<=", ">", ">="])}
).map(lambda value: {"valueQuantity": value} if value else {})
predictions = st.lists(numbers, max_size=3).map(
    lambda values: {"prediction": [{"probabilityDecimal": value} for value in values]} if values else {}
)
families = st.lists(names, max_size=3).map(lambda texts: {"name": [{"family": t} for t in texts]} if texts else {})

Ranges = Callable[[Json], Any]
CASES = [
    ("Observation", "date", effective, date_texts, reference.dates, reference.date_matches),
    ("Observation", "value-quantity", amounts, numbers.map(str), reference.quantities, reference.number_matches),
    ("RiskAssessment", "probability", predictions, numbers.map(str), reference.probabilities, reference.number_matches),
]
worlds = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def put(fill: Callable[[list[Json]], None], type_: str, world: list[Json]) -> list[Json]:
    resources = [{"resourceType": type_, "id": str(i), **elements} for i, elements in enumerate(world)]
    fill([{"_id": resource["id"], **INDEXER.entry(resource)._asdict()} for resource in resources])
    return resources


def found(collection: Collection[Json], type_: str, text: str) -> set[str]:
    return {each["_id"] for each in collection.find(query_filter(read(type_, text), NOW), {"_id": 1})}


@pytest.mark.parametrize(("type_", "code", "elements", "texts", "targets", "matches"), CASES)
@worlds
@given(data=st.data())
def test_prefixes(
    collection: Collection[Json],
    fill: Callable[[list[Json]], None],
    data: st.DataObject,
    type_: str,
    code: str,
    elements: st.SearchStrategy[Json],
    texts: st.SearchStrategy[str],
    targets: Ranges,
    matches: Callable[..., bool],
) -> None:
    resources = put(fill, type_, data.draw(st.lists(elements, min_size=3, max_size=12)))
    for text in data.draw(st.lists(texts, min_size=5, max_size=5)):
        for prefix in PREFIXES:
            expected = {r["id"] for r in resources if any(matches(prefix, text, t, NOW) for t in targets(r))}
            assert found(collection, type_, f"{code}={prefix}{text}") == expected, (prefix, text, resources)


@worlds
@given(world=st.lists(families, min_size=3, max_size=12), texts=st.lists(names, min_size=5, max_size=5))
def test_strings(
    collection: Collection[Json], fill: Callable[[list[Json]], None], world: list[Json], texts: list[str]
) -> None:
    resources = put(fill, "Patient", world)
    for text in [part for name in texts for part in (name, name[:2].strip(), name[1:-1].strip()) if part]:
        for modifier, matches in reference.STRINGS.items():
            expected = {r["id"] for r in resources if any(matches(text, name) for name in reference.families(r))}
            assert found(collection, "Patient", f"family{modifier}={quote(text)}") == expected, (modifier, text)
