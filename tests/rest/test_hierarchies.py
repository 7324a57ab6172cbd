""":above and :below of references over HTTP. https://hl7.org/fhir/R4/search.html#recursive"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search.criteria import Clause, Negation
from fhirserver.search.parameters import r4_registry

if TYPE_CHECKING:
    from conftest import Fhir, Serve

    from fhirserver.context import Caller
    from fhirserver.search.query import Query

STRICT = {"Prefer": "handling=strict"}
AFAR = "http://elsewhere.example.org/fhir/Location/campus"
PLACES = {"house": AFAR, "wing": "house", "ward": "wing", "bed": "ward", "annex": "house", "elsewhere": None}
PARENTS = {"trust": "trust", "clinic": "trust", "loop-a": "loop-b", "loop-b": "loop-a"}


def place(id_: str, whole: str | None) -> dict[str, Any]:
    reference = whole if whole is None or "/" in whole else f"Location/{whole}"
    return {"resourceType": "Location", "id": id_} | ({"partOf": {"reference": reference}} if reference else {})


def stay(id_: str, location: str, **more: Any) -> dict[str, Any]:
    at = [{"location": {"reference": location}}]
    return {
        "resourceType": "Encounter",
        "id": id_,
        "status": "finished",
        "class": {"code": "IMP"},
        "location": at,
    } | more


def world_of(base_url: str) -> list[dict[str, Any]]:
    return [
        *(place(id_, whole) for id_, whole in PLACES.items()),
        *(stay(f"at-{id_}", f"Location/{id_}") for id_ in PLACES),
        stay("at-campus", AFAR),
        stay("visit", "Location/annex", partOf={"reference": "Encounter/at-bed"}, subject={"reference": "Patient/a"}),
        {"resourceType": "Patient", "id": "a"},
        *(
            {
                "resourceType": "Organization",
                "id": id_,
                "name": id_,
                "partOf": {"reference": f"Organization/{whole}/_history/1"},
            }
            for id_, whole in PARENTS.items()
        ),
        *(
            {
                "resourceType": "Patient",
                "id": f"of-{id_}",
                "managingOrganization": {"reference": f"{base_url}/Organization/{id_}"},
            }
            for id_ in PARENTS
        ),
        {
            "resourceType": "Procedure",
            "id": "op",
            "status": "completed",
            "subject": {"reference": "Patient/a"},
            "location": {"reference": "Location/bed"},
        },
        {
            "resourceType": "Observation",
            "id": "pulse",
            "status": "final",
            "code": {"text": "pulse"},
            "encounter": {"reference": "Encounter/visit"},
        },
    ]


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in world_of(fhir.base_url):
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201, resource
    return fhir


EVERYWHERE = "at-house at-wing at-ward at-bed at-annex visit"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Encounter?location:below=Location/house", EVERYWHERE),
        ("Encounter?location:below=house", EVERYWHERE),
        ("Encounter?location:below=[base]/Location/house", EVERYWHERE),
        ("Encounter?location:below=Location/house/_history/1", EVERYWHERE),
        (f"Encounter?location:below={AFAR}", f"at-campus {EVERYWHERE}"),
        ("Encounter?location:below=wing", "at-wing at-ward at-bed"),
        ("Encounter?location:below=bed", "at-bed"),
        ("Encounter?location:below=ward,annex", "at-ward at-bed at-annex visit"),
        ("Encounter?location:above=ward", "at-ward at-wing at-house at-campus"),
        ("Encounter?location:above=house", "at-house at-campus"),
        (f"Encounter?location:above={AFAR}", "at-campus"),
        ("Encounter?location:above=bed&location:below=wing", "at-bed at-ward at-wing"),
        ("Encounter?location:below=unknown", ""),
        ("Location?partof:below=wing", "ward bed"),
        ("Location?partof:above=wing", "wing annex ward house"),
        ("Patient?organization:below=trust", "of-trust of-clinic"),
        ("Patient?organization:below=Organization/loop-a", "of-loop-a of-loop-b"),
        ("Patient?organization:above=loop-b", "of-loop-a of-loop-b"),
        ("Organization?partof:below=trust", "trust clinic"),
        ("Observation?encounter:below=at-bed", "pulse"),
        ("Observation?encounter:above=visit", "pulse"),
        ("Observation?encounter:above=at-bed", ""),
        ("Location?_has:Encounter:location:location:below=ward", "ward bed"),
        ("Observation?encounter.location:below=annex", "pulse"),
        ("Observation?encounter:Encounter.part-of.location:below=ward", "pulse"),
        ("?_type=Encounter&location:below=ward", "at-ward at-bed"),
        ("?_type=Encounter,Procedure&location:below=ward", "at-ward at-bed op"),
        ("Encounter?_has:Observation:encounter:encounter:below=at-bed", "visit"),
        ("Patient/a/Encounter?location:below=house", "visit"),
        ("Encounter?_filter=location ss ward", "at-ward at-bed"),
        ("Encounter?_filter=location sb ward and not (location re bed)", "at-ward at-wing at-house at-campus"),
        ("Encounter?_filter=not (location ss house)", "at-elsewhere at-campus"),
        ("Observation?_filter=encounter.location ss Location/house", "pulse"),
    ],
)
def test_hierarchies_are_walked(world: Fhir, query: str, found: str) -> None:
    assert sorted(world.ids(query.replace("[base]", world.base_url), headers=STRICT)) == sorted(found.split())


def test_what_may_not_be_seen_leads_nowhere(world: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it will be with an access law that lets no one see the wing."""

    def seen(caller: Caller, query: Query, permission: str = "s") -> Query:
        hidden = Negation(Clause(r4_registry()["Location"]["_id"], None, ("wing",)))
        return replace(query, criteria=(*query.criteria, hidden)) if query.type_ == "Location" else query

    monkeypatch.setattr("fhirserver.interactions.resolve.restrict", seen)
    assert sorted(world.ids("Encounter?location:below=house")) == ["at-annex", "at-house", "visit"]
    assert sorted(world.ids("Encounter?location:above=bed")) == ["at-bed", "at-ward", "at-wing"]


def test_what_was_deleted_leads_nowhere(world: Fhir) -> None:
    for id_, whole in {"attic": "elsewhere", "box": "attic"}.items():
        world.put(f"Location/{id_}", place(id_, whole))
    assert set(world.ids("Location?partof:below=elsewhere")) == {"attic", "box"}
    world.delete("Location/attic")
    assert world.ids("Location?partof:below=elsewhere") == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("Observation?patient:below=1", "patient:below: what it refers to has no hierarchy"),
        ("Observation?subject:below=Patient/1", "subject:below: Patient/1 is in no hierarchy that is followed"),
        ("Observation?subject:below=Location/1,Patient/1", "resources of type Location are parts of others"),
        ("Encounter?location:below=http://example.org/place", "http://example.org/place is in no hierarchy"),
        ("Observation?_filter=patient ss 1", "patient:below: what it refers to has no hierarchy"),
        ("Encounter?location.partof.name:below=x", "the modifier :below is not supported here"),
    ],
)
def test_what_has_no_hierarchy_is_refused(world: Fhir, query: str, sentence: str) -> None:
    answer = world.get(query)
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["code"]) == (400, "not-supported")
    assert sentence in issue["diagnostics"]


@pytest.mark.parametrize(
    ("limit", "query", "sentence"),
    [
        ("DEEPEST", "below=house", "location:below: the hierarchy of Location is more than 2 levels deep there"),
        ("DEEPEST", "above=bed", "location:above: the hierarchy of Location is more than 2 levels deep there"),
        ("MOST", "below=house", "location:below: the hierarchy of Location has more than 2 resources there"),
        ("MOST", "above=bed", "location:above: the hierarchy of Location has more than 2 resources there"),
    ],
)
def test_a_hierarchy_is_bounded(
    world: Fhir, monkeypatch: pytest.MonkeyPatch, limit: str, query: str, sentence: str
) -> None:
    monkeypatch.setattr(f"fhirserver.interactions.hierarchies.{limit}", 2)
    answer = world.get(f"Encounter?location:{query}")
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["code"], issue["diagnostics"]) == (422, "too-costly", sentence)


def test_a_condition_takes_a_hierarchy(world: Fhir) -> None:
    condition = {"If-None-Exist": "location:below=ward&status=finished&class=IMP&_id=at-bed"}
    assert world.post("Encounter", stay("", "Location/bed") | {"id": "x"}, headers=condition).status_code == 200


def test_a_condition_is_not_led_over_what_the_same_transaction_deletes(world: Fhir) -> None:
    for id_, whole in {"cellar": "elsewhere", "shelf": "cellar"}.items():
        world.put(f"Location/{id_}", place(id_, whole))
    world.put("Encounter/at-shelf", stay("at-shelf", "Location/shelf"))
    created = {"method": "POST", "url": "Encounter", "ifNoneExist": "location:below=cellar"}
    entries = [{"resource": stay("", "Location/cellar") | {"id": "y"}, "request": created}]
    found = world.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}).json()
    assert found["entry"][0]["response"]["status"].startswith("200")
    leaving = {"request": {"method": "DELETE", "url": "Location/shelf"}}
    found = world.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [leaving, *entries]}).json()
    assert [each["response"]["status"][:3] for each in found["entry"]] == ["204", "201"]


# the law: what is below is the transitive closure, whatever the shape


@pytest.fixture(scope="module")
def forest(serve: Serve) -> Fhir:
    return serve().client


NAMES = [f"n{number}" for number in range(7)]


def closure(parents: dict[str, str | None], start: str, *, upwards: bool) -> set[str]:
    """Naively: everything from which the start is reached, or that the start reaches."""

    def ancestry(name: str) -> set[str]:
        found, at = {name}, parents[name]
        while at is not None and at not in found:
            found.add(at)
            at = parents[at]
        return found

    return ancestry(start) if upwards else {name for name in parents if start in ancestry(name)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parents=st.fixed_dictionaries({name: st.none() | st.sampled_from(NAMES) for name in NAMES}),
    start=st.sampled_from(NAMES),
    upwards=st.booleans(),
)
def test_below_and_above_are_closures(forest: Fhir, parents: dict[str, str | None], start: str, upwards: bool) -> None:
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for name, whole in parents.items()
        for each in (place(name, whole), stay(name, f"Location/{name}"))
    ]
    answer = forest.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert answer.status_code == 200
    found = forest.ids(f"Encounter?location:{'above' if upwards else 'below'}={start}")
    assert sorted(found) == sorted(closure(parents, start, upwards=upwards))
