"""Documents and messages, found by what their first resource says: chains of `Bundle.composition` and `Bundle.message`.

https://hl7.org/fhir/R4/bundle.html#search
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
LOINC = "http://loinc.org"


def entry(url: str, resource: Json) -> Json:
    return {"fullUrl": url, "resource": resource}


def composition(title: str, code: str, patient: str, **more: Any) -> Json:
    return {
        "resourceType": "Composition",
        "status": "final",
        "type": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": patient},
        "date": "2024-05-01",
        "author": [{"reference": "Practitioner/house"}],
        "title": title,
    } | more


def patient(family: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "name": [{"family": family}], **more}


def document(id_: str, *entries: Json, type_: str = "document") -> Json:
    said = {"identifier": {"system": "urn:d", "value": id_}, "timestamp": "2024-05-01T00:00:00Z"}
    return {"resourceType": "Bundle", "id": id_, "type": type_, **said, "entry": [*entries]}


def header(event: str, focus: str) -> Json:
    source = {"name": "lab", "endpoint": "http://lab.example"}
    coding = {"system": "urn:events", "code": event}
    return {"resourceType": "MessageHeader", "eventCoding": coding, "source": source, "focus": [{"reference": focus}]}


PULSE = {"resourceType": "Observation", "status": "final", "code": {"coding": [{"system": LOINC, "code": "8867-4"}]}}
SERVER = "http://other.example/fhir"
WORLD = (
    {"resourceType": "Practitioner", "id": "house", "name": [{"family": "House"}]},
    patient("Stored", id="stored"),
    document(
        "summary",
        entry(
            "urn:uuid:c",
            composition("Summary", "60591-5", "urn:uuid:p", section=[{"entry": [{"reference": "urn:uuid:o"}]}]),
        ),
        entry("urn:uuid:p", patient("Lovelace", managingOrganization={"reference": "urn:uuid:org"})),
        entry("urn:uuid:o", PULSE | {"subject": {"reference": "urn:uuid:p"}}),
        entry("urn:uuid:org", {"resourceType": "Organization", "name": "Acme"}),
        entry("urn:uuid:q", patient("Nobody")),
    ),
    document(
        "letter",
        entry(f"{SERVER}/Composition/l", composition("Letter", "11503-0", "Patient/1", id="l", status="amended")),
        entry("http://third.example/fhir/Patient/1", patient("Third", id="1")),
        entry(f"{SERVER}/Patient/1", patient("Turing", id="1")),
    ),
    document("note", entry("urn:uuid:n", composition("Note", "11503-0", "Patient/stored"))),
    document("result", entry("urn:uuid:h", header("lab", "urn:uuid:o")), entry("urn:uuid:o", PULSE), type_="message"),
    document("heap", entry("urn:uuid:c", composition("Heap", "60591-5", "Patient/stored")), type_="collection"),
)


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in WORLD:
        answer = fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (f"composition.type={LOINC}|60591-5", {"summary"}),
        ("composition.type=11503-0", {"letter", "note"}),
        ("composition:Composition.title=summ", {"summary"}),
        ("composition.status:not=final", {"letter"}),
        ("composition.date=ge2024-05&composition.title:exact=Note", {"note"}),
        ("composition.date=lt2024", set()),
        ("composition._id=l", {"letter"}),
        ("composition.patient.family=lovelace", {"summary"}),
        ("composition.patient.name=nobody", set()),  # who is there, and is not its subject
        ("composition.subject:Patient.family=turing", {"letter"}),  # on the server of who refers
        ("composition.subject:Patient.family=third", set()),
        ("composition.patient.family=stored", {"note"}),  # a resource of this server
        ("composition.subject=Patient/stored", {"note"}),
        ("composition.author.family=house", {"summary", "letter", "note"}),
        ("composition.patient.organization.name=acme", {"summary"}),
        (f"composition.entry:Observation.code={LOINC}|8867-4", {"summary"}),
        ("composition.entry:Observation.patient.family=lovelace", {"summary"}),
        ("message.event=lab", {"result"}),
        ("message.focus:Observation.code=8867-4", {"result"}),
        ("message.event=other", set()),
        ("type=document&composition.title:missing=false", {"summary", "letter", "note"}),
        ('_filter=composition.title eq "Letter" or message.event eq lab', {"letter", "result"}),
        ("_filter=not (composition.type eq 11503-0) and type eq document", {"summary"}),
        ("composition.type=11503-0&_sort=-_id&_count=1&_total=accurate", {"note"}),
    ],
)
def test_a_document_is_found_by_what_its_composition_says(world: Fhir, query: str, ids: set[str]) -> None:
    answer = world.get(f"Bundle?{query}", headers={"Prefer": "handling=strict"})
    assert answer.status_code == 200, answer.text
    assert {each["resource"]["id"] for each in answer.json().get("entry", ())} == ids


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("Bundle?composition=Composition/l", "a chain asks it, as in composition.identifier"),
        ("Bundle?composition._lastUpdated=gt2020", "composition of Bundle is within the Bundle; _lastUpdated"),
        ("Bundle?composition._text=x", "composition of Bundle is within the Bundle; _text"),
        ("Bundle?composition:Patient.name=x", "composition of Bundle never refers to that"),
        ("Bundle?composition.name=x", "name is not a search parameter of Composition here"),
        ("Composition?_has:Bundle:composition:type=document", "holds whole resources"),
        ("Bundle?_include=Bundle:composition", "names no reference known here"),
    ],
)
def test_what_cannot_be_asked_of_it_is_told(world: Fhir, query: str, said: str) -> None:
    answer = world.get(query, headers={"Prefer": "handling=strict"})
    assert (answer.status_code, said in answer.json()["issue"][0]["diagnostics"]) == (400, True), answer.text


def test_a_document_says_something_else_when_it_is_changed(world: Fhir) -> None:
    first = document("changing", entry("urn:uuid:c", composition("Before", "1-8", "Patient/stored")))
    assert world.put("Bundle/changing", first).status_code == 201
    assert world.ids("Bundle?composition.title=before") == ["changing"]
    assert (
        world.put(
            "Bundle/changing", document("changing", entry("urn:uuid:c", composition("After", "1-8", "Patient/stored")))
        ).status_code
        == 200
    )
    assert world.ids("Bundle?composition.title=before") == []
    assert world.ids("Bundle?composition.title=after") == ["changing"]
    assert world.delete("Bundle/changing").status_code in (200, 204)
    assert world.ids("Bundle?composition.title=after") == []


def test_a_large_document_is_stored_and_found_by_its_composition(world: Fhir) -> None:
    """What does not fit into the values beside it is left out: what the first resource refers to, before itself."""
    urls = [f"urn:uuid:{number}" for number in range(4_000)]
    section = [{"entry": [{"reference": url} for url in urls]}]
    entries = [entry(url, PULSE | {"note": [{"text": "x" * 50}]}) for url in urls]
    large = document(
        "large", entry("urn:uuid:c", composition("Large", "1-8", "Patient/stored", section=section)), *entries
    )
    assert world.put("Bundle/large", large).status_code == 201
    assert world.ids("Bundle?composition.title=large") == ["large"]
