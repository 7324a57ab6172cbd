"""`_list` over HTTP. https://hl7.org/fhir/R4/search.html#list"""

from __future__ import annotations

from typing import Any

import pytest

Json = dict[str, Any]


def list_(id_: str, *references: str, deleted: tuple[str, ...] = ()) -> Json:
    entries: list[Json] = [{"item": {"reference": each}} for each in references]
    entries += [{"item": {"reference": each}, "deleted": True} for each in deleted]
    head = {"resourceType": "List", "id": id_, "status": "current", "mode": "changes"}
    return head | ({"entry": entries} if entries else {})


@pytest.fixture(scope="module")
def world(fhir):
    for id_, family in (("ada", "Pet"), ("ben", "Pet"), ("cyd", "Lee"), ("gone", "Pet"), ("off", "Pet")):
        fhir.put(f"Patient/{id_}", {"resourceType": "Patient", "id": id_, "name": [{"family": family}]})
    for id_, patient in (("o1", "ada"), ("o2", "cyd"), ("o3", "off")):
        subject = {"reference": f"Patient/{patient}"}
        observation = {
            "resourceType": "Observation",
            "id": id_,
            "status": "final",
            "code": {"text": "x"},
            "subject": subject,
        }
        fhir.put(f"Observation/{id_}", observation)
    members = ["Patient/ada", f"{fhir.base_url}/Patient/ben", "Patient/gone", "Observation/o1"]
    others = ["Patient/unknown", "http://elsewhere.org/fhir/Patient/off"]
    for each in (
        list_("one", *members, *others, deleted=("Patient/off",)),
        list_("two", "Patient/cyd/_history/1"),
        list_("ids", "Patient/ada", "Observation/ben"),
        list_("empty"),
    ):
        answer = fhir.put(f"List/{each['id']}", each)
        assert answer.status_code == 201, answer.text
    fhir.delete("Patient/gone")
    fhir.put("List/past", list_("past", "Patient/ada"))
    fhir.delete("List/past")
    return fhir


CASES = [
    ("Patient?_list=one", {"ada", "ben"}),
    ("Patient?_list=List/one", {"ada", "ben"}),
    ("Patient?_list=two", {"cyd"}),
    ("Patient?_list=one,two", {"ada", "ben", "cyd"}),
    ("Patient?_list=one&_list=ids", {"ada"}),
    ("Patient?_list=one&_list=two", set()),
    ("Patient?_list=ids", {"ada"}),
    ("Patient?_list=empty", set()),
    ("Patient?_list=one&name=pet", {"ada", "ben"}),
    ("Patient?_list=two&name=pet", set()),
    ("Patient?_list=one&_id=ben,cyd", {"ben"}),
    ("Observation?_list=one", {"o1"}),
    ("Observation?_list=two", set()),
    ("Observation?patient._list=one", {"o1"}),
    ("Observation?subject:Patient._list=one,two", {"o1", "o2"}),
    ("Patient?_has:Observation:patient:_list=one", {"ada"}),
    ("?_list=one", {"ada", "ben", "o1"}),
    ("?_type=Observation,Patient&_list=one", {"ada", "ben", "o1"}),
    ("Patient/ada/Observation?_list=one", {"o1"}),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
def test_what_is_on_a_list_is_found(world, query: str, expected: set[str]) -> None:
    assert set(world.ids(query, headers={"Prefer": "handling=strict"})) == expected


def test_the_members_are_sorted_and_paged_like_others(world):
    first = world.bundle("Patient?_list=one,two&_sort=-_id&_count=2")
    assert [entry["resource"]["id"] for entry in first["entry"]] == ["cyd", "ben"]
    (next_,) = [link["url"] for link in first["link"] if link["relation"] == "next"]
    assert world.ids(next_) == ["ada"]


def test_a_change_of_the_list_counts_at_once(world):
    world.put("List/moving", list_("moving", "Patient/ada"))
    assert world.ids("Patient?_list=moving") == ["ada"]
    world.put("List/moving", list_("moving", "Patient/cyd", deleted=("Patient/ada",)))
    assert world.ids("Patient?_list=moving") == ["cyd"]


REFUSED = [
    ("Patient?_list=nowhere", 400, "not-found", "_list: List/nowhere is not known here"),
    ("Patient?_list=past", 400, "not-found", "List/past"),
    ("Patient?_list=one,nowhere", 400, "not-found", "List/nowhere"),
    ("Patient?_list=$current-problems", 400, "not-supported", "$current-problems is a list that a server works out"),
    ("Patient?_list=a b", 400, "invalid", "'a b' is not a List"),
    ("Patient?_list=Patient/1", 400, "invalid", "is not a List"),
    ("Patient?_list:not=one", 400, "not-supported", "the modifier :not is not supported here; it takes none"),
    ("Patient?_list:missing=true", 400, "not-supported", "modifier :missing"),
    ("Patient?_sort=_list", 400, "invalid", "_list is not a search parameter of Patient here"),
    (f"Patient?_list={','.join(f'l{i}' for i in range(21))}", 422, "too-costly", "at most 20 lists"),
]


@pytest.mark.parametrize(("query", "status", "code", "sentence"), REFUSED)
def test_refusals(world, query: str, status: int, code: str, sentence: str) -> None:
    answer = world.get(query, headers={"Prefer": "handling=strict"})
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["code"]) == (status, code), issue
    assert sentence in issue["diagnostics"]
    assert issue["diagnostics"].count("_list:") <= 1


def test_a_list_that_is_too_long_is_refused(world, monkeypatch):
    monkeypatch.setattr("fhirserver.interactions.resolve.LISTED", 1)
    answer = world.get("Patient?_list=one")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "too-costly")
