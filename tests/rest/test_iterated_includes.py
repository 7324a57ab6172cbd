"""`_include` and `_revinclude` that iterate, and what is included by its canonical URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from conftest import Fhir, Serve


def ref(reference: str) -> dict[str, str]:
    return {"reference": reference}


def library(id_: str, version: str) -> dict[str, Any]:
    kind = {"coding": [{"code": "logic-library"}]}
    return {
        "resourceType": "Library",
        "id": id_,
        "url": "http://example.org/Library/x",
        "version": version,
        "status": "active",
        "type": kind,
    }


def organization(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Organization", "id": id_, "identifier": [{"value": id_}], **more}


def measure(id_: str, canonical: str) -> dict[str, Any]:
    return {"resourceType": "Measure", "id": id_, "status": "active", "library": [canonical]}


RESOURCES: list[dict[str, Any]] = [
    organization("top"),
    organization("mid", partOf=ref("Organization/top")),
    organization("low", partOf=ref("Organization/mid")),
    organization("a", partOf=ref("Organization/b")),
    organization("b", partOf=ref("Organization/a")),
    {"resourceType": "Patient", "id": "ada", "managingOrganization": ref("Organization/low")},
    {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}, "subject": ref("Patient/ada")},
    {
        "resourceType": "Provenance",
        "id": "p",
        "target": [ref("Observation/o/_history/1")],
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"who": ref("Organization/top")}],
    },
    library("one", "1.0"),
    library("two", "2.0"),
    measure("any", "http://example.org/Library/x"),
    measure("first", "http://example.org/Library/x|1.0"),
    measure("none", "http://example.org/Library/x|3.0"),
]


@pytest.fixture(scope="module")
def record(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in RESOURCES:
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    return fhir


def included(fhir: Fhir, path: str) -> list[str]:
    entries = fhir.bundle(path, headers={"Prefer": "handling=strict"}).get("entry", [])
    found = [
        f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries if e["search"]["mode"] == "include"
    ]
    assert len(set(found)) == len(found)
    return sorted(found)


UP = "Organization:partof"
CASES = [
    (f"Organization?_id=low&_include={UP}", ["Organization/mid"]),
    (f"Organization?_id=low&_include:iterate={UP}", ["Organization/mid", "Organization/top"]),
    (f"Organization?_id=low&_include:recurse={UP}", ["Organization/mid", "Organization/top"]),
    (f"Organization?_id=a&_include:iterate={UP}", ["Organization/b"]),
    (f"Organization?_id=a,b&_include:iterate={UP}", []),
    (f"Organization?_id=top&_revinclude={UP}", ["Organization/mid"]),
    (f"Organization?_id=top&_revinclude:iterate={UP}", ["Organization/low", "Organization/mid"]),
    (
        f"Organization?_id=top&_revinclude:iterate={UP}&_revinclude:iterate=Patient:organization",
        ["Organization/low", "Organization/mid", "Patient/ada"],
    ),
    (
        "Observation?_id=o&_include=Observation:subject&_include:iterate=Patient:organization",
        ["Organization/low", "Patient/ada"],
    ),
    (
        f"Observation?_id=o&_include=Observation:subject&_include:iterate=Patient:organization&_include:iterate={UP}",
        ["Organization/low", "Organization/mid", "Organization/top", "Patient/ada"],
    ),
    ("Provenance?_id=p&_include=Provenance:target", ["Observation/o"]),
    ("Provenance?_id=p&_include=Provenance:target&_include:iterate=Observation:*", ["Observation/o", "Patient/ada"]),
    ("Provenance?_id=p&_include=*", ["Observation/o", "Organization/top"]),
    (
        "Provenance?_id=p&_include:iterate=*",
        ["Observation/o", "Organization/low", "Organization/mid", "Organization/top", "Patient/ada"],
    ),
    ("Organization?_id=low&_revinclude=*", ["Patient/ada"]),
    ("?_type=Organization,Observation&_id=low,o&_revinclude=*", ["Patient/ada", "Provenance/p"]),
    ("Library?_id=one&_revinclude=*", ["Measure/any", "Measure/first"]),
    ("Measure?_id=any&_include=Measure:depends-on", ["Library/one", "Library/two"]),
    ("Measure?_id=first&_include=Measure:depends-on:Library", ["Library/one"]),
    ("Measure?_id=any,first&_include=Measure:depends-on", ["Library/one", "Library/two"]),
    ("Measure?_id=none&_include=Measure:depends-on", []),
    ("Measure?_id=first&_include=Measure:depends-on:Measure", []),
    ("Library?_id=one&_revinclude=Measure:depends-on", ["Measure/any", "Measure/first"]),
    ("Library?_id=two&_revinclude=Measure:depends-on", ["Measure/any"]),
    ("Library?_id=one,two&_revinclude=Measure:depends-on:Library", ["Measure/any", "Measure/first"]),
    ("Measure?_id=first&_revinclude=Measure:depends-on:Measure", []),
    (
        "Measure?_id=first&_include=Measure:depends-on&_revinclude:iterate=Measure:depends-on",
        ["Library/one", "Measure/any"],
    ),
]


@pytest.mark.parametrize(("path", "expected"), CASES)
def test_what_comes_along(record: Fhir, path: str, expected: list[str]) -> None:
    assert included(record, path) == expected


def test_what_was_deleted_ends_the_way(serve: Serve) -> None:
    fhir = serve().client
    for resource in RESOURCES[:3]:
        fhir.put(f"Organization/{resource['id']}", resource)
    fhir.delete("Organization/mid")
    assert included(fhir, f"Organization?_id=low&_include:iterate={UP}") == []


def test_what_is_here_already_does_not_count_as_included(record: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.interactions.search.INCLUDED", 2)
    assert included(record, f"Organization?_id=a,b,low,mid,top&_include={UP}&_revinclude={UP}") == []
    assert included(record, f"Organization?_id=a,b,low&_include:iterate={UP}") == [
        "Organization/mid",
        "Organization/top",
    ]
    refused = record.get(f"Organization?_id=a,b,low&_include:iterate={UP}&_revinclude=Patient:organization")
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (422, "too-costly")


@pytest.fixture(scope="module")
def graphs(serve: Serve) -> Fhir:
    return serve().client


NODES = 7
GRAPH = st.lists(st.integers(0, NODES - 1), min_size=NODES, max_size=NODES)
world = iter(range(1_000_000))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GRAPH, st.integers(0, NODES - 1))
def test_iterating_reaches_the_closure(graphs: Fhir, parents: list[int], start: int) -> None:
    name = f"w{next(world)}"
    entries = [
        {
            "resource": {
                "resourceType": "Organization",
                "identifier": [{"value": "x"}],
                "id": f"{name}-{i}",
                "partOf": ref(f"Organization/{name}-{p}"),
            },
            "request": {"method": "PUT", "url": f"Organization/{name}-{i}"},
        }
        for i, p in enumerate(parents)
    ]
    assert graphs.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}).status_code == 200
    up: set[int] = set()
    at = start
    while parents[at] not in up:
        up.add(at := parents[at])
    down = {start}
    while more := {i for i, p in enumerate(parents) if p in down} - down:
        down |= more
    for how, reached in (("_include", up), ("_revinclude", down)):
        expected = sorted(f"Organization/{name}-{i}" for i in reached - {start})
        assert included(graphs, f"Organization?_id={name}-{start}&{how}:iterate={UP}") == expected
