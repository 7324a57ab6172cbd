"""Worlds of random resources, asked many questions: the server finds what the reference implementation finds.

`make fuzz` takes ten times as many worlds.
"""

from __future__ import annotations

import os
from collections import Counter
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
from fhirserver.fhir.units import UCUM
from fhirserver.search.filters import query_filter
from fhirserver.search.index import Indexer
from fhirserver.search.parameters import r4_registry
from fhirserver.search.readers import PREFIXES

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
names = st.text("aAeEéÉñöçb  --'’.", min_size=1, max_size=5).map(lambda text: f"x{text}x")

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
WORLDS = int(os.environ.get("HEALTHMATE_REFERENCE_WORLDS", "40"))
worlds = settings(max_examples=WORLDS, deadline=None, suppress_health_check=list(HealthCheck))


def put(fill: Callable[[list[Json]], None], type_: str, world: list[Json]) -> list[Json]:
    resources = [{"resourceType": type_, "id": str(i), **elements} for i, elements in enumerate(world)]
    fill([{"_id": resource["id"], **INDEXER.entry(resource)._asdict()} for resource in resources])
    return resources


asked: Counter[str] = Counter()


def found(collection: Collection[Json], type_: str, text: str) -> set[str]:
    asked[" and ".join(sorted({pair.partition("=")[0].partition(":")[0] for pair in text.split("&")}))] += 1
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
    for text in [
        part for name in texts for part in (name, name[:2].strip(), name[1:-1].strip()) if reference.plain(part)
    ]:
        for modifier, matches in reference.STRINGS.items():
            expected = {r["id"] for r in resources if any(matches(text, name) for name in reference.families(r))}
            assert found(collection, "Patient", f"family{modifier}={quote(text)}") == expected, (modifier, text)


# several values, several parameters, modifiers: tokens, references, units

codings = st.fixed_dictionaries(
    {}, optional={"system": st.sampled_from(["urn:a", "urn:b", UCUM]), "code": st.sampled_from("xyzXY1")}
).filter(bool)
concepts = st.lists(codings, min_size=1, max_size=3).map(lambda each: {"coding": each})
PEOPLE = ["Practitioner/1", "Organization/1", "Patient/2", f"{BASE}/Practitioner/1", "http://else.org/Practitioner/1"]
units = st.sampled_from(
    [
        {"system": UCUM, "code": "mg", "unit": "mg"},
        {"system": UCUM, "code": "g", "unit": "gram"},
        {"system": UCUM, "code": "ug"},
        {"system": UCUM, "code": "[foos_42]"},
        {"system": "urn:other", "code": "mg"},
        {"unit": "mg"},
        {},
    ]
)
magnitudes = st.builds(lambda number, power: number.scaleb(power), numbers, st.sampled_from([-3, 0, 0, 3]))
measures = st.builds(
    lambda value, unit, more: {"value": value, **unit, **more},
    magnitudes,
    units,
    st.just({}) | st.sampled_from(["<", "<=", ">", ">="]).map(lambda comparator: {"comparator": comparator}),
).map(lambda quantity: {"valueQuantity": quantity})
observations = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    effective | st.just({}),
    measures | st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "component": st.lists(measures, min_size=1, max_size=3),
            "category": st.lists(concepts, min_size=1, max_size=2),
            "performer": st.lists(st.sampled_from(PEOPLE).map(lambda url: {"reference": url}), min_size=1, max_size=2),
        },
    ),
)
prefixes = st.sampled_from(["", *PREFIXES])
MORE = ["|x", "|X", "|z", "urn:c|x", f"{UCUM}|x", f"{UCUM}|X"]
VALUES: dict[str, st.SearchStrategy[str]] = {
    "category": st.sampled_from(
        ["x", "y", "X", "1", "nothing", "urn:a|x", "urn:a|X", "urn:A|x", "urn:b|y", "urn:a|", *MORE]
    ),
    "performer": st.sampled_from([*PEOPLE, "1", "2", "3", "Organization/2", f"{BASE}/Patient/2"]),
    "date": st.builds(lambda prefix, text: prefix + text, prefixes, date_texts),
    "combo-value-quantity": st.builds(
        lambda prefix, number, unit: f"{prefix}{number:f}{unit}",
        prefixes,
        magnitudes,
        st.sampled_from(
            ["", f"|{UCUM}|mg", f"|{UCUM}|g", f"|{UCUM}|ug", f"|{UCUM}|[foos_42]", "||mg", "|urn:other|mg"]
        ),
    ),
}
MODIFIERS = {"category": ["", "", "missing", "not"]}


@st.composite
def clauses(draw: st.DrawFn) -> reference.Clause:
    name = draw(st.sampled_from(sorted(VALUES)))
    modifier = draw(st.sampled_from(MODIFIERS.get(name, ["", "", "missing"])))
    if modifier == "missing":
        return reference.Clause(name, modifier, (draw(st.sampled_from(["true", "false"])),))
    return reference.Clause(name, modifier, tuple(draw(st.lists(VALUES[name], min_size=1, max_size=3))))


@worlds
@given(
    world=st.lists(observations, min_size=5, max_size=15),
    searches=st.lists(st.lists(clauses(), min_size=1, max_size=3), min_size=15, max_size=30),
)
def test_clauses(
    collection: Collection[Json],
    fill: Callable[[list[Json]], None],
    world: list[Json],
    searches: list[list[reference.Clause]],
) -> None:
    resources = put(fill, "Observation", world)
    for search in searches:
        text = "&".join(f"{clause.name}={quote(','.join(clause.values))}" for clause in search)
        expected = {r["id"] for r in resources if all(reference.meets(r, clause, BASE, NOW) for clause in search)}
        assert found(collection, "Observation", text) == expected, (search, resources)


def test_there_were_questions_enough(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the whole file is run."""
    if any("test_against_reference" in argument and "::" in argument for argument in request.config.args):
        pytest.skip("only a part of the questions was asked")
    with capsys.disabled():
        print(f"\n{asked.total():,} searches answered as the reference implementation answers them: {dict(asked)}")
    assert asked.total() >= 5_000
