"""The index values of contained resources, and what can be asked of them."""

from __future__ import annotations

from typing import Any

import pytest
from queries import read

from fhirserver.fhir.definitions import r4
from fhirserver.search import contained
from fhirserver.search.contained import HOPS, REFERRED, Leading, unasked
from fhirserver.search.index import Indexer
from fhirserver.search.parameters import r4_registry

INDEXER = Indexer(r4(), r4_registry(), "http://example.org/fhir")
Json = dict[str, Any]


def to(reference: str) -> Json:
    return {"reference": reference}


def search(*inside: Json, **more: Any) -> Json:
    return INDEXER.entry({"resourceType": "MedicationRequest", "id": "r", "contained": [*inside], **more}).search


MEDICATION = {"resourceType": "Medication", "id": "m", "code": {"coding": [{"code": "x"}]}, "manufacturer": to("#o")}
MAKER = {"resourceType": "Organization", "id": "o", "name": "Acme"}


def test_a_contained_resource_has_the_values_of_its_own_parameters_and_who_refers_to_it() -> None:
    found = search(MEDICATION, MAKER, medicationReference=to("#m"))
    (medication,) = found["#Medication"]
    maker = {key: value for key, value in found["#Organization"][0].items() if key != REFERRED}
    assert medication["_id"] == "m"
    assert medication["code"] == ["x", "|x", "|x ", "x "]
    assert medication[REFERRED] == ["medication"]
    assert medication["#Organization"] == [maker | {REFERRED: ["manufacturer"]}]
    assert maker["name"] == ["acme"]
    assert REFERRED not in found["#Organization"][0]  # the container does not refer to it itself
    assert found[REFERRED] == ["medication"]


def test_without_contained_resources_nothing_is_added() -> None:
    found = INDEXER.entry({"resourceType": "MedicationRequest", "medicationReference": to("Medication/1")}).search
    assert not [key for key in found if key.startswith("#")]


def test_the_type_of_a_local_reference_is_known() -> None:
    patient = {"resourceType": "Patient", "id": "p", "name": [{"family": "Ada"}]}
    found = search(patient, subject=to("#p"))
    assert found["#Patient"][0][REFERRED] == ["subject", "patient"]
    assert found["patient"] == []  # it is there, and leads nowhere else


def test_what_is_contained_refers_to_its_container_by_name() -> None:
    (provenance,) = search({"resourceType": "Provenance", "id": "v", "target": [to("#")]})["#Provenance"]
    assert provenance["target"] == ["MedicationRequest/r"]


def circle(size: int, name: str) -> list[Json]:
    """Each refers to all."""
    ids = [f"o{number}" for number in range(size)]
    members = [to(f"#{id_}") for id_ in ids]
    return [
        {"resourceType": "Group", "id": id_, "code": {"text": name}, "member": [{"entity": each} for each in members]}
        for id_ in ids
    ]


def depth(element: Json) -> int:
    return 1 + max((depth(inner) for inner in element.get("#Group", [])), default=0)


@pytest.mark.parametrize(("size", "name", "hops"), [(2, "x", HOPS), (15, "x" * 2000, 2), (40, "x" * 2000, 1)])
def test_circles_end(monkeypatch: pytest.MonkeyPatch, size: int, name: str, hops: int) -> None:
    groups = circle(size, name)
    assert depth(search(*groups)["#Group"][0]) == hops


def test_a_canonical_may_lead_to_what_is_contained() -> None:
    library = {"resourceType": "Library", "id": "l", "title": "Rules"}
    plan = {"resourceType": "PlanDefinition", "library": ["#l"], "contained": [library]}
    (found,) = INDEXER.entry(plan).search["#Library"]
    assert found[REFERRED] == ["depends-on"]


def test_what_leads_inside_is_learnt_once_and_its_absence_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(contained, "monotonic", lambda: now[0])
    leading = Leading()
    assert leading.known("Observation", "subject") is None
    leading.absent("Observation", "subject")
    assert leading.known("Observation", "subject") is False
    assert leading.known("Observation", "performer") is None
    now[0] += contained.FRESH_SECONDS
    assert leading.known("Observation", "subject") is None
    leading.absent("Observation", "subject")
    leading.add("Observation", ["subject"])
    assert leading.known("Observation", "subject") is True


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("code=x&value-quantity=gt5", None),
        ("subject:Patient._lastUpdated=gt2020", None),  # of what it refers to, wherever that is
        ("_filter=code eq x or _lastUpdated gt 2020", "_lastUpdated: a contained resource is as new as"),
        ("_filter=not (_lastUpdated gt 2020)", "_lastUpdated: "),
        ("_content=x", "_content: the words of contained resources"),
        ("_list=1", "_list: a list holds no contained"),
        ("_has:Provenance:target:agent=Practitioner/1", "_has: nothing but what contains them"),
    ],
)
def test_what_cannot_be_asked(query: str, reason: str | None) -> None:
    reasons = [found for each in read("Observation", query).criteria if (found := unasked(each))]
    assert [found[: len(reason or "")] for found in reasons] == ([] if reason is None else [reason])
