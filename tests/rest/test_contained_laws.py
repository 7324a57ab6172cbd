"""Searches of contained resources, and chains into them, against the same said of each plain resource in turn."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from conftest import Fhir

Json = dict[str, Any]
CODES, NAMES, STATES = "abc", ("Ax", "Ay", "Bz"), ("active", "inactive")
CONTAINERS = ("MedicationDispense", "MedicationRequest")


class Place(NamedTuple):
    """A resource, and the one that contains it."""

    resource: Json
    container: Json | None = None


def to(reference: str) -> Json:
    return {"reference": reference}


def medication(rng: random.Random, id_: str, makers: list[str]) -> Json:
    coded = {"coding": [{"code": code} for code in rng.sample(CODES, rng.randint(1, 2))]}
    found: Json = {"resourceType": "Medication", "id": id_, "code": coded}
    if rng.random() < 0.7:
        found["status"] = rng.choice(STATES)
    if rng.random() < 0.7:
        found["manufacturer"] = to(rng.choice(makers))
    return found


def maker(rng: random.Random, id_: str, parts: list[str]) -> Json:
    found = {"resourceType": "Organization", "id": id_, "name": rng.choice(NAMES)}
    return found | ({"partOf": to(rng.choice(parts))} if rng.random() < 0.5 else {})


def container(rng: random.Random, number: int) -> Json:
    inner = [f"m{i}" for i in range(rng.randint(0, 3))]
    makers = [f"o{i}" for i in range(rng.randint(0, 2))]
    companies = [f"#{each}" for each in makers] + ["Organization/x0", "Organization/x1"]
    contained = [medication(rng, id_, companies) for id_ in inner]
    contained += [maker(rng, id_, companies) for id_ in makers]
    type_ = CONTAINERS[number % 2]
    found: Json = {"resourceType": type_, "id": f"r{number:03}", "status": "completed", "subject": to("Patient/p")}
    found |= {"intent": "order"} if type_ == "MedicationRequest" else {}
    found["medicationReference"] = to(rng.choice([f"#{id_}" for id_ in inner] + ["Medication/y0", "Medication/y1"]))
    held = [to(f"#{each['id']}") for each in contained]
    found |= {"supportingInformation": held, "contained": contained} if held else {}
    return found


def corpus() -> list[Json]:
    rng = random.Random(20261125)
    found = [maker(rng, f"x{i}", ["Organization/x0"]) for i in range(2)]
    found += [medication(rng, f"y{i}", ["Organization/x0", "Organization/x1"]) for i in range(2)]
    return found + [container(rng, number) for number in range(60)]


CORPUS = corpus()
STORED = {f"{each['resourceType']}/{each['id']}": Place(each) for each in CORPUS}
INSIDE = [Place(inner, each) for each in CORPUS for inner in each.get("contained", ())]


def target(place: Place, element: str) -> Place | None:
    reference = place.resource.get(element, {}).get("reference")
    if reference is None or not reference.startswith("#"):
        return STORED.get(reference)
    holder = place.container or place.resource
    (found,) = [each for each in holder["contained"] if each["id"] == reference[1:]]
    return Place(found, holder)


Predicate = Callable[[Place], bool]


def has_code(code: str) -> Predicate:
    return lambda place: any(each["code"] == code for each in place.resource["code"]["coding"])


def led(element: str, predicate: Predicate) -> Predicate:
    def holds(place: Place) -> bool:
        found = target(place, element)
        return found is not None and predicate(found)

    return holds


def named(start: str) -> Predicate:
    return lambda place: place.resource["name"].lower().startswith(start)


def present(element: str, wanted: bool) -> Predicate:
    return lambda place: (element in place.resource) == wanted


def made(name: str, start: str) -> tuple[str, str, Predicate]:
    chain = {"name": led("manufacturer", named(start)), "partof.name": led("manufacturer", led("partOf", named(start)))}
    return f"manufacturer.{name}", start, chain[name]


codes = st.sampled_from(CODES)
said = st.one_of(
    codes.map(lambda code: ("code", code, has_code(code))),
    codes.map(lambda code: ("code:not", code, lambda place: not has_code(code)(place))),
    st.sampled_from(STATES).map(lambda s: ("status", s, lambda place: place.resource.get("status") == s)),
    st.booleans().map(lambda b: ("status:missing", str(b).lower(), present("status", not b))),
    st.booleans().map(lambda b: ("manufacturer:missing", str(b).lower(), present("manufacturer", not b))),
    st.sampled_from(["m0", "m1", "y0"]).map(lambda i: ("_id", i, lambda place: place.resource["id"] == i)),
    st.builds(made, st.sampled_from(["name", "partof.name"]), st.sampled_from(["a", "ax", "b"])),
)


@pytest.fixture(scope="module")
def record(fhir: Fhir) -> Fhir:
    puts = [
        {"request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}, "resource": each}
        for each in [{"resourceType": "Patient", "id": "p"}, *CORPUS]
    ]
    answer = fhir.post("", {"resourceType": "Bundle", "type": "batch", "entry": puts})
    assert {each["response"]["status"][:3] for each in answer.json()["entry"]} == {"201"}
    return fhir


def walked(fhir: Fhir, path: str, params: list[tuple[str, str]]) -> list[str]:
    """The URLs of the matches of all pages."""
    bundle = fhir.get(path, params=params).json()
    found: list[str] = []
    while True:
        found += [each["fullUrl"].removeprefix(f"{fhir.base_url}/") for each in bundle.get("entry", ())]
        following = [each["url"] for each in bundle["link"] if each["relation"] == "next"]
        if not following:
            return found
        bundle = fhir.bundle(following[0])


def url(place: Place, alone: bool) -> str:
    holder = place.container or place.resource
    name = f"{holder['resourceType']}/{holder['id']}"
    return f"{name}#{place.resource['id']}" if alone and place.container else name


over_http = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@over_http
@given(st.lists(said, max_size=3), st.sampled_from(["true", "both"]), st.booleans(), st.sampled_from([3, 20, 200]))
def test_what_is_contained_is_found_as_if_it_stood_alone(
    record: Fhir, asked: list[tuple[str, str, Predicate]], contained: str, alone: bool, count: int
) -> None:
    params = [(name, value) for name, value, _ in asked] + [("_contained", contained), ("_count", str(count))]
    params.append(("_containedType", "contained" if alone else "container"))
    places = INSIDE + ([*STORED.values()] if contained == "both" else [])
    medications = [place for place in places if place.resource["resourceType"] == "Medication"]
    expected = {url(place, alone) for place in medications if all(holds(place) for _, _, holds in asked)}
    found = walked(record, "Medication", params)
    assert sorted(found) == sorted(expected)
    order = [(each.partition("/")[0], each.partition("/")[2].partition("#")) for each in found]
    assert order == sorted(order)
    counted = record.get("Medication", params=[*params, ("_summary", "count")]).json()
    assert counted["total"] == len(expected)


@over_http
@given(st.lists(said, min_size=1, max_size=2), st.sampled_from(CONTAINERS))
def test_a_chain_leads_wherever_the_reference_does(
    record: Fhir, asked: list[tuple[str, str, Predicate]], type_: str
) -> None:
    params = [(f"medication.{name}", value) for name, value, _ in asked] + [("_count", "200")]
    places = [place for place in STORED.values() if place.resource["resourceType"] == type_]
    tests = [led("medicationReference", holds) for _, _, holds in asked]
    expected = [url(place, False) for place in places if all(holds(place) for holds in tests)]
    assert walked(record, type_, params) == sorted(expected)
