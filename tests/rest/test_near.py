"""Locations by distance. https://hl7.org/fhir/R4/location.html#search"""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search.value_filters import EARTH_RADIUS

if TYPE_CHECKING:
    from conftest import Fhir, Serve

STRICT = {"Prefer": "handling=strict"}
PLACES = {
    "boston": (42.3601, -71.0589),
    "cambridge": (42.3736, -71.1097),
    "worcester": (42.2626, -71.8023),
    "newyork": (40.7128, -74.0060),
    "fiji": (-17.7134, 179.9),
    "samoa": (-17.7134, -179.9),
    "pole": (90, 0),
}


@pytest.fixture(scope="module")
def places(serve: Serve) -> Fhir:
    fhir = serve().client
    for id_, (latitude, longitude) in (PLACES | {"beyond": (91, 0)}).items():
        position = {"latitude": latitude, "longitude": longitude}
        answer = fhir.put(f"Location/{id_}", {"resourceType": "Location", "id": id_, "position": position})
        assert answer.status_code == 201
    fhir.put("Location/nowhere", {"resourceType": "Location", "id": "nowhere"})
    return fhir


CASES = [
    ("near=42.36|-71.06|10|km", ["boston", "cambridge"]),
    ("near=42.36|-71.06|1", ["boston"]),
    ("near=42.36|-71.06|1000|m", ["boston"]),
    ("near=42.36|-71.06", ["boston", "cambridge"]),
    ("near=42.36|-71.06|50|[mi_us]", ["boston", "cambridge", "worcester"]),
    ("near=42.36|-71.06|50|[mi_i]", ["boston", "cambridge", "worcester"]),
    ("near=42.36|-71.06|400|km", ["boston", "cambridge", "newyork", "worcester"]),
    ("near=42.3601|-71.0589|0|km", ["boston"]),
    ("near=-17.7|180|50|km", ["fiji", "samoa"]),
    ("near=-17.7|-180|50|km", ["fiji", "samoa"]),
    ("near=89.9|123|50|km", ["pole"]),
    ("near=0|0|30000|km", sorted(PLACES)),
    ("near=42.36|-71.06|1|km,40.7|-74|5|km", ["boston", "newyork"]),
    ("near=42.36|-71.06|100|km&near:missing=false&_id=worcester", ["worcester"]),
    ("near:missing=true", ["beyond", "nowhere"]),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
def test_what_is_near(places: Fhir, query: str, expected: list[str]) -> None:
    assert sorted(places.ids(f"Location?{query}", headers=STRICT)) == expected
    assert places.bundle(f"Location?{query}&_summary=count")["total"] == len(expected)


def test_a_chain_by_distance(places: Fhir) -> None:
    role = {"resourceType": "PractitionerRole", "location": [{"reference": "Location/boston"}]}
    id_ = places.create(role)["id"]
    assert places.ids("PractitionerRole?location.near=42.36|-71.06|1|km") == [id_]


REFUSED = [
    ("near=here", "is not a place"),
    ("near=42", "is not a place"),
    ("near=42|x|1|km", "is not a place"),
    ("near=91|0|1|km", "lies on no globe"),
    ("near=0|181|1|km", "lies on no globe"),
    ("near=0|0|1|kg", "is no length"),
    ("near=0|0|1|miles", "is no length"),
    ("near=0|0|-1|km", "is not a distance"),
    ("near=0|0|far|km", "is not a distance"),
    ("near=0|0|1|km|more", "is not a place"),
    ("near:exact=0|0", "the modifier :exact is not supported"),
    ("_sort=near", "near is special; it has no order"),
]


@pytest.mark.parametrize(("query", "sentence"), REFUSED)
def test_what_is_no_place(places: Fhir, query: str, sentence: str) -> None:
    answer = places.get(f"Location?{query}", headers=STRICT)
    assert answer.status_code == 400
    assert sentence in answer.json()["issue"][0]["diagnostics"]


def haversine(a: tuple[float, float], b: tuple[float, float]) -> float:
    (lat1, lon1), (lat2, lon2) = (tuple(map(radians, each)) for each in (a, b))
    h = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS * asin(min(1.0, sqrt(h)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-90, 90), st.integers(-180, 180), st.integers(1, 19_000))
def test_distance_is_that_of_the_globe(places: Fhir, latitude: int, longitude: int, kilometres: int) -> None:
    distances = {id_: haversine((latitude, longitude), place) / 1000 for id_, place in PLACES.items()}
    found = set(places.ids(f"Location?near={latitude}|{longitude}|{kilometres}|km"))
    certain = {id_ for id_, distance in distances.items() if distance < kilometres * 0.999}
    possible = {id_ for id_, distance in distances.items() if distance < kilometres * 1.001}
    assert certain <= found <= possible
