"""Queries against indexed resources in a real MongoDB, as a table; and the shapes of some filters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from pymongo.collection import Collection
from queries import BASE, NOW, read

from fhirserver.fhir.definitions import r4
from fhirserver.search.filters import criterion_filter, in_compartment, query_filter
from fhirserver.search.includes import fields, forward, reverse
from fhirserver.search.index import Indexer
from fhirserver.search.mongo import conjunction
from fhirserver.search.parameters import r4_registry

Document = dict[str, Any]

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


def observation(id_: str, **elements: Any) -> Document:
    return {"resourceType": "Observation", "id": id_, "status": "final"} | elements


def concept(code: str, display: str, system: str | None = LOINC) -> Document:
    coding = {"code": code, "display": display} | ({"system": system} if system else {})
    return {"coding": [coding]}


def amount(value: str, unit: str, code: str | None = None) -> Document:
    return {"value": Decimal(value), "unit": unit} | ({"system": UCUM, "code": code} if code else {})


RESOURCES = [
    observation(
        "a",
        code=concept("8867-4", "Heart rate"),
        subject={"reference": "Patient/1"},
        effectiveDateTime="2024-05-17",
        valueQuantity=amount("72", "beats/minute", "/min"),
    ),
    observation(
        "b",
        code=concept("8867-4", "Coeur: fréquence", None),
        subject={"reference": "Patient/2/_history/3"},
        effectivePeriod={"start": "2024-05", "end": "2024-06"},
        valueQuantity=amount("5.4", "mg"),
    ),
    observation(
        "c",
        status="amended",
        code=concept("85354-9", "Blood pressure panel"),
        subject={"reference": "http://other.org/Patient/1", "identifier": {"system": "http://mrn", "value": "7"}},
        effectiveInstant="2024-05-17T10:00:00.500+02:00",
        component=[
            {"code": concept("8480-6", "Systolic"), "valueQuantity": amount("120", "mmHg", "mm[Hg]")},
            {"code": concept("8462-4", "Diastolic"), "valueQuantity": amount("80", "mmHg", "mm[Hg]")},
        ],
    ),
    observation(
        "d", code={"text": "Tension  HEADACHE (ache)"}, subject={"reference": "Group/1"}, valueString="Straße 5%"
    ),
    {
        "resourceType": "Patient",
        "id": "1",
        "active": True,
        "name": [{"family": "Çelik", "given": ["Eve", "Mary Ann"]}],
        "identifier": [
            {
                "system": "http://mrn",
                "value": "12",
                "type": {"coding": [{"system": "http://t", "code": "MR"}], "text": "Medical record"},
            },
            {"value": "n|13"},
        ],
        "birthDate": "1970-01-01",
        "telecom": [{"system": "phone", "value": "555-1234"}],
        "meta": {"tag": [{"system": "http://tags", "code": "vip"}], "profile": ["http://a.org/p"]},
    },
    {"resourceType": "Patient", "id": "2", "name": [{"text": "eve o'hara, jr."}], "gender": "female"},
    {"resourceType": "Patient", "id": "3", "deleted": True},
]

FOUND = [
    # token
    ("Observation", "code=8867-4", "ab"),
    ("Observation", f"code={LOINC}|8867-4", "a"),
    ("Observation", f"code={LOINC}|", "ac"),
    ("Observation", "code=|8867-4", "b"),
    ("Observation", "code=8867-4,85354-9", "abc"),
    ("Observation", "code=8867-4&code=85354-9", ""),
    ("Observation", "code:not=8867-4", "cd"),
    ("Observation", "code:not=8867-4,85354-9", "d"),
    ("Observation", "code:text=heart", "a"),
    ("Observation", "code:text=RATE", "a"),
    ("Observation", "code:text=art", ""),
    ("Observation", "code:text=frequence", "b"),
    ("Observation", "code:text=tension headache", "d"),
    ("Observation", "code:text=tension.headache", "d"),
    ("Observation", "code:text=tension..ache", ""),
    ("Observation", "code:text=heart,blood", "ac"),
    ("Observation", "status=final", "abd"),
    ("Observation", "status=http://hl7.org/fhir/observation-status|final", "abd"),
    ("Observation", "status:not=final", "c"),
    ("Observation", "component-code=8480-6", "c"),
    ("Patient", "identifier=http://mrn|12", "1"),
    ("Patient", "identifier=12", "1"),
    ("Patient", "identifier=|12", ""),
    ("Patient", r"identifier=n\|13", "1"),
    ("Patient", "identifier:of-type=http://t|MR|12", "1"),
    ("Patient", "identifier:of-type=http://t|MR|13", ""),
    ("Patient", "identifier:text=medical", "1"),
    ("Patient", "active=true", "1"),
    ("Patient", "active=false", ""),
    ("Patient", "active:not=true", "2"),
    ("Patient", "telecom=555-1234", "1"),
    ("Patient", "_tag=http://tags|vip", "1"),
    ("Patient", "_profile=http://a.org/p", "1"),
    ("Patient", "_id=1,3", "1"),
    ("Patient", "_id:not=1", "2"),
    ("Patient", "_id:missing=true", ""),
    ("Patient", "", "12"),
    # missing
    ("Patient", "gender:missing=true", "1"),
    ("Patient", "gender:missing=false", "2"),
    ("Observation", "date:missing=true", "d"),
    ("Observation", "subject:missing=true", ""),
    ("Observation", "component-code-value-quantity:missing=false", "c"),
    ("Patient", "_lastUpdated:missing=false", "12"),
    # string
    ("Patient", "name=eve", "12"),
    ("Patient", "name=celik", "1"),
    ("Patient", "name=ÇELIK", "1"),
    ("Patient", "name=mary  ann", "1"),
    ("Patient", "name=ann", ""),
    ("Patient", "name:contains=ann", "1"),
    ("Patient", "name:contains=oha", "2"),
    ("Patient", r"name:contains=a\, jr.", "2"),
    ("Patient", "name:contains=^e", ""),
    ("Patient", "name:contains=e.*a", ""),
    ("Patient", r"name:contains=hara\, jr", "2"),
    ("Patient", "name:exact=Eve", "1"),
    ("Patient", "name:exact=eve", ""),
    ("Patient", "name=mary,celik", "1"),
    ("Patient", "given=eve&family=celik", "1"),
    ("Observation", "value-string=STRASSE", "d"),
    ("Observation", "value-string:contains=5%25", "d"),
    # reference
    ("Observation", "subject=Patient/1", "a"),
    ("Observation", f"subject={BASE}/Patient/1", "a"),
    ("Observation", "subject=http://other.org/Patient/1", "c"),
    ("Observation", "subject=1", "ad"),
    ("Observation", "subject:Group=1", "d"),
    ("Observation", "subject:Patient=2", "b"),
    ("Observation", "patient=1", "a"),
    ("Observation", "subject=Group/1&patient:missing=true", "d"),
    ("Observation", "subject=Patient/2", "b"),
    ("Observation", "subject=Patient/2/_history/3", "b"),
    ("Observation", "subject=Patient/2/_history/2", ""),
    ("Observation", "subject:identifier=http://mrn|7", "c"),
    ("Observation", "subject:identifier=http://mrn|8", ""),
    # date: a is a day, b two months, c half a second at 08:00 UTC
    ("Observation", "date=2024", "abc"),
    ("Observation", "date=2024-05", "ac"),
    ("Observation", "date=2024-05-17", "ac"),
    ("Observation", "date=2024-05-17T08:00Z", "c"),
    ("Observation", "date=2024-05-17T10:00:00+02:00", "c"),
    ("Observation", "date=2024-05-17T08:00:00.500Z", "c"),
    ("Observation", "date=2024-05-17T08:00:00.501Z", ""),
    ("Observation", "date=ap2024-05-17T08:00:00.500Z", "abc"),
    ("Observation", "date=ne2024-05", "b"),
    ("Observation", "date=gt2024-05", "b"),
    ("Observation", "date=ge2024-05", "abc"),
    ("Observation", "date=lt2024-05-17", "b"),
    ("Observation", "date=le2024-05-17", "abc"),
    ("Observation", "date=sa2024-04", "abc"),
    ("Observation", "date=sa2024-05-16", "ac"),
    ("Observation", "date=eb2024-07", "abc"),
    ("Observation", "date=eb2024-06-30", "ac"),
    ("Observation", "date=ge2024-05-17&date=lt2024-05-18", "abc"),
    ("Observation", "date=2023,2024-06", ""),
    ("Patient", "birthdate=1970", "1"),
    ("Patient", "birthdate=lt1970-01-02", "1"),
    ("Patient", "_lastUpdated=2025", "12"),
    ("Patient", "_lastUpdated=ge2025-06-01T00:00:00Z", "12"),
    ("Patient", "_lastUpdated=gt2025-06-01T00:00:00.000Z", ""),
    ("Patient", "_lastUpdated=gt2024&_lastUpdated=lt2026&_lastUpdated=ne2023", "12"),
    # quantity
    ("Observation", f"value-quantity=72|{UCUM}|/min", "a"),
    ("Observation", "value-quantity=72||/min", "a"),
    ("Observation", "value-quantity=72||beats/minute", "a"),
    ("Observation", "value-quantity=72.0", "a"),
    ("Observation", "value-quantity=7e1", "a"),
    ("Observation", "value-quantity=5.40||mg", "b"),
    ("Observation", f"value-quantity=5.4|{UCUM}|mg", ""),
    ("Observation", "value-quantity=5", "b"),
    ("Observation", "value-quantity=gt5", "ab"),
    ("Observation", "value-quantity=ne72", "b"),
    ("Observation", "value-quantity=lt5.4,ge72", "a"),
    # composite
    ("Observation", "component-code-value-quantity=8480-6$gt100", "c"),
    ("Observation", "component-code-value-quantity=8462-4$gt100", ""),
    ("Observation", f"component-code-value-quantity={LOINC}|8462-4$80|{UCUM}|mm[Hg]", "c"),
    ("Observation", "component-code-value-quantity=8462-4$gt100,8480-6$120", "c"),
    ("Observation", "code-value-quantity=8867-4$lt10,8867-4$gt70", "ab"),
    ("Observation", "code-value-date=8867-4$2024", ""),
    ("Observation", "combo-code-value-quantity=8480-6$120", "c"),
    # together
    ("Observation", f"code={LOINC}|8867-4&patient=Patient/1&date=ge2024", "a"),
    ("Observation", "code=8867-4&date=2024&date=ge2024-05-20", "b"),
]


@pytest.fixture(scope="module")
def search(collection: Collection[Document], fill: Callable[[list[Document]], None]) -> Callable[[str, str], str]:
    indexer = Indexer(r4(), r4_registry(), BASE)
    documents = []
    for resource in RESOURCES:
        entry = indexer.entry(resource)._asdict() if "deleted" not in resource else {"deleted": True}
        documents.append(
            {"_id": resource["id"], "type": resource["resourceType"], "updated": datetime(2025, 6, 1, tzinfo=UTC)}
            | entry
        )
    fill(documents)
    collection.create_index({"search.$**": 1})

    def search(type_: str, text: str) -> str:
        filter_ = conjunction([query_filter(read(type_, text), NOW), {"type": type_}])
        return "".join(sorted(document["_id"] for document in collection.find(filter_)))

    return search


@pytest.mark.parametrize(("type_", "text", "found"), FOUND)
def test_what_a_query_finds(search: Callable[[str, str], str], type_: str, text: str, found: str) -> None:
    assert search(type_, text) == found


SHAPES: list[tuple[str, Document]] = [
    ("", {}),
    ("code=a,b|c", {"search.code": {"$in": ["a", "a ", "b|c "]}}),
    ("code=8867-4", {"search.code": {"$in": ["8867-4"]}}),
    ("status=final", {"search.status": {"$in": ["final"]}}),
    ("identifier=http://mrn|aB", {"search.identifier": {"$in": ["http://mrn|aB"]}}),
    (
        "category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs",
        {"search.category": {"$in": ["http://terminology.hl7.org/CodeSystem/observation-category|vital-signs"]}},
    ),
    ("code=http://x|aB", {"search.code": {"$in": ["http://x|ab "]}}),
    ("code:not=a", {"search.code": {"$nin": ["a", "a "]}}),
    ("code=a&code=b", {"search.code": {"$in": ["a", "a "]}, "$and": [{"search.code": {"$in": ["b", "b "]}}]}),
    ("code:text=A+b", {"search.code:text": {"$regex": r"(?:^| )a\+b"}}),
    ("code:text=A.b", {"search.code:text": {"$regex": r"(?:^| )a\ b"}}),
    ("value-string=Ä ", {"search.value-string": {"$elemMatch": {"$gte": "a", "$lt": "a\U0010ffff"}}}),
    ("value-string:contains=$x", {"search.value-string": {"$regex": r"\$x"}}),
    ("value-string:exact=$where", {"search.value-string:exact": {"$in": ["$where"]}}),
    ("patient=1", {"search.patient": {"$in": ["Patient/1"]}}),
    ("subject:identifier=s|v", {"search.subject:identifier": {"$in": ["s|v"]}}),
    ("date:missing=true", {"search.date": {"$exists": False}}),
    ("_id=a", {"_id": {"$in": ["a"]}}),
    (
        "value-quantity=gt5||mg",
        {"search.value-quantity": {"$elemMatch": {"hi": {"$gt": Decimal128("5")}, "unit": {"$eq": "mg"}}}},
    ),
    (
        "_lastUpdated=ge2024&_lastUpdated=lt2025",
        {
            "updated": {"$gte": datetime(2024, 1, 1, tzinfo=UTC)},
            "$and": [{"updated": {"$lt": datetime(2025, 1, 1, tzinfo=UTC)}}],
        },
    ),
]


@pytest.mark.parametrize(("text", "expected"), SHAPES)
def test_shapes(text: str, expected: Document) -> None:
    assert query_filter(read("Observation", text), NOW) == {"deleted": None} | expected


def test_conjunction_keeps_every_condition() -> None:
    a, b, c = {"x": 1}, {"x": 2}, {"$and": [{"x": 3}], "y": 4}
    assert conjunction([a, b, c]) == {"x": 1, "$and": [{"x": 3}, {"x": 2}], "y": 4}
    assert conjunction([c, c, a]) == {"x": 1, "y": 4, "$and": [{"x": 3}, c]}
    assert c == {"$and": [{"x": 3}], "y": 4}


def test_a_compartment_restricts() -> None:
    assert in_compartment("Patient/1") == {"compartments": {"$eq": "Patient/1"}}


def test_includes_follow_local_references() -> None:
    query = read("Observation", "_include=Observation:subject:Patient&_include=Observation:performer")
    documents = [
        {"search": {"subject": ["Patient/1", "Patient/1/_history/2"], "performer": ["Practitioner/7", "urn:uuid:1"]}},
        {"search": {"subject": ["Group/1", "http://other.org/Patient/9"]}},
        {},
    ]
    assert fields(query.type_, query.includes, (), r4_registry()) == ("search.subject", "search.performer")
    assert forward(query.type_, query.includes, documents, r4_registry()) == [
        ("Patient", {"_id": {"$in": ["1"]}}),
        ("Practitioner", {"_id": {"$in": ["7"]}}),
    ]


def test_revincludes_find_what_refers_to_the_matches() -> None:
    query = read(
        "Patient", "_revinclude=Observation:subject&_revinclude=Observation:performer&_revinclude=Account:patient"
    )
    parameters = r4_registry()
    references = {"$in": ["Patient/1", "Patient/2"]}
    found = reverse(query.type_, query.revincludes, [{"_id": "1"}, {"_id": "2"}], parameters)
    assert [(source, criterion_filter(criterion, NOW)) for source, criterion in found] == [
        ("Observation", {"$or": [{"search.subject": references}, {"search.performer": references}]}),
        ("Account", {"search.patient": references}),
    ]
    assert reverse(query.type_, query.revincludes, [], parameters) == []
    assert fields("Patient", (), query.revincludes, parameters) == ()
    by_url = read("Questionnaire", "_revinclude=QuestionnaireResponse:questionnaire").revincludes
    assert fields("Questionnaire", (), by_url, parameters) == ("search.url", "search.version")
