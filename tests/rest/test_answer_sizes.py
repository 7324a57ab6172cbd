"""Answers have a largest size: pages end early and go on exactly there, what cannot be cut is refused."""

from __future__ import annotations

from base64 import b64encode
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from fhirserver.interactions import pages as gathered
from fhirserver.interactions.sizes import AROUND, fitting
from fhirserver.store import finds, union
from fhirserver.store.finds import Find, Ordinary
from fhirserver.store.history import Newest
from fhirserver.store.resources import Store

if TYPE_CHECKING:
    from conftest import Fhir, Serve

MOST = 20_000
NAMES = [f"b{number}" for number in range(9)]
SUBJECT = {"reference": "Patient/p"}


@pytest.fixture(scope="module")
def small(serve: Serve) -> Fhir:
    """Nine Binaries and observations of about 6 kB, of one patient, and a Media that is larger than an answer."""
    fhir, rng = serve(max_response_bytes=MOST).client, Random(1)

    def text(size: int) -> str:
        return b64encode(rng.randbytes(size)).decode()

    patient: dict[str, Any] = {"resourceType": "Patient", "id": "p", "generalPractitioner": []}
    for name in NAMES:
        binary = {"resourceType": "Binary", "id": name, "contentType": "image/png", "data": text(4_500)}
        measured = {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": "x"}}
        who = {"resourceType": "Practitioner", "id": name, "name": [{"text": text(4_500)}]}
        patient["generalPractitioner"].append({"reference": f"Practitioner/{name}"})
        for each in (binary, measured | {"subject": SUBJECT, "note": [{"text": text(4_500)}]}, who):
            assert fhir.put(f"{each['resourceType']}/{name}", each).status_code == 201
    fhir.put("Patient/p", patient)
    large: dict[str, Any] = {
        "resourceType": "Media",
        "id": "large",
        "status": "completed",
        "content": {"contentType": "image/png"},
    }
    large["content"]["data"] = text(2 * MOST)
    assert fhir.put("Media/large", large | {"subject": SUBJECT}).status_code == 201
    return fhir


def pages(fhir: Fhir, url: str, relation: str = "next") -> list[list[str]]:
    """The references on each page, to the end of the links."""
    found = []
    while url:
        answer = fhir.get(url)
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        entries = [each["resource"] for each in bundle.get("entry", [])]
        assert len(answer.content) <= MOST + 1_000 or len(entries) == 1
        found.append([f"{each['resourceType']}/{each['id']}" for each in entries])
        url = next((link["url"] for link in bundle["link"] if link["relation"] == relation), "")
    return found


def there_and_back(fhir: Fhir, url: str) -> list[str]:
    """All that the pages have, in order; the same backwards."""
    forward = pages(fhir, url)
    assert len(forward) > 1
    last = url
    while link := next((each["url"] for each in fhir.bundle(last)["link"] if each["relation"] == "next"), ""):
        last = link
    back = pages(fhir, last, "previous")
    assert [name for page in reversed(back) for name in page] == [name for page in forward for name in page]
    return [name for page in forward for name in page]


@pytest.mark.parametrize("at_once", [2, 5, 201])
def test_a_page_of_a_search_ends_early_and_goes_on_there(
    small: Fhir, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """However many rows are asked for before sizes are looked at."""
    monkeypatch.setattr(gathered, "AT_ONCE", at_once)
    assert there_and_back(small, "Binary?_count=1000") == [f"Binary/{name}" for name in NAMES]
    assert there_and_back(small, "Binary?_count=4&_sort=-_id") == [f"Binary/{name}" for name in reversed(NAMES)]
    assert sorted(there_and_back(small, "Observation?_sort=patient,-_id")) == [f"Observation/{name}" for name in NAMES]
    together = there_and_back(small, "?_type=Binary,Observation&_count=1000")
    assert together == [f"{type_}/{name}" for type_ in ("Binary", "Observation") for name in NAMES]
    few = pages(small, "Observation?_count=1000&_maxresults=4")
    assert [len(page) for page in few] == [3, 1]


def test_a_page_that_is_walked_to_ends_early_and_goes_on_there(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    fhir, rng = serve(max_response_bytes=MOST).client, Random(2)
    for name in NAMES:
        text = b64encode(rng.randbytes(4_500)).decode()
        fhir.put(f"Patient/{name}", {"resourceType": "Patient", "id": name, "name": [{"text": text}]})
        coded = {"resourceType": "Condition", "id": name, "code": {"coding": [{"code": "cold"}]}}
        fhir.put(f"Condition/{name}", coded | {"subject": {"reference": f"Patient/{name}"}})
    for step in (2, 100):
        monkeypatch.setattr(gathered, "STEP", step)
        walked = there_and_back(fhir, "Patient?_has:Condition:patient:code=cold&_count=1000")
        assert walked == [f"Patient/{name}" for name in NAMES]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many documents each find read; a batch holds two, as if they were large."""
    alone, newest, ask, read = Ordinary.alone, Newest.alone, finds.documents, []

    async def asked(store: Store, command: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        found = await ask(store, command, **more)
        read.append(len(found))
        return found

    def in_twos(self: Ordinary, find: Find) -> dict[str, Any]:
        return alone(self, find) | {"batchSize": 2}

    def newest_in_twos(self: Newest, find: Find) -> dict[str, Any]:
        return newest(self, find) | {"cursor": {"batchSize": 2}}

    for module in (finds, union):
        monkeypatch.setattr(module, "documents", asked)
    monkeypatch.setattr(Ordinary, "alone", in_twos)
    monkeypatch.setattr(Newest, "alone", newest_in_twos)
    monkeypatch.setattr(union, "IN_ONE_BATCH", 2)
    return read


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("Binary?_count=1000", [f"Binary/{name}" for name in NAMES]),
        ("?_type=Binary,Observation&_sort=_id", [f"{type_}/{n}" for n in NAMES for type_ in ("Binary", "Observation")]),
        ("Observation?_sort=patient,-_id", [f"Observation/{name}" for name in reversed(NAMES)]),
        ("Observation?_sort=date,_id", [f"Observation/{name}" for name in NAMES]),
        ("?_type=Binary,Media,Observation", [*(f"Binary/{n}" for n in NAMES), "Media/large",
                                             *(f"Observation/{n}" for n in NAMES)]),
    ],
)  # fmt: skip
def test_what_has_no_room_is_not_read(small: Fhir, read: list[int], url: str, names: list[str]) -> None:
    assert there_and_back(small, url) == names
    assert max(read) == 4


@pytest.mark.parametrize("url", ["Patient/p/$everything", "Patient/$everything"])
def test_what_of_a_record_has_no_room_is_not_read(small: Fhir, read: list[int], url: str) -> None:
    found = [name for page in pages(small, f"{url}?_type=Patient,Observation,Media") for name in page]
    assert sorted(found) == sorted([*(f"Observation/{name}" for name in NAMES), "Media/large", "Patient/p"])
    assert max(read) <= 5  # with the patient


@pytest.mark.parametrize("asked", ["_include=Patient:general-practitioner", "_revinclude=Observation:subject"])
def test_what_would_come_with_a_page_and_does_not_fit_is_not_read(small: Fhir, read: list[int], asked: str) -> None:
    assert small.get(f"Patient?{asked}").status_code == 422
    assert small.get("Patient/p/$everything?_count=1").status_code == 422
    assert max(read) == 4


def test_a_total_is_of_all_pages(small: Fhir) -> None:
    assert "total" not in small.bundle("Binary?_count=1000&_total=none")
    assert small.bundle("Binary?_count=1000&_total=accurate")["total"] == len(NAMES)


def test_what_is_larger_than_an_answer_comes_alone(small: Fhir) -> None:
    assert pages(small, "?_type=Binary,Media")[-1] == ["Media/large"]
    assert small.get("Media/large").status_code == 200
    assert pages(small, "Media/large/_history") == [["Media/large"]]


@pytest.mark.parametrize("url", ["Binary/_history?_count=1000", "_history?_count=50"])
def test_a_page_of_a_history_ends_early(small: Fhir, url: str) -> None:
    found = [name for page in pages(small, url) for name in page]
    assert len(found) == len(set(found))
    assert {f"Binary/{name}" for name in NAMES} <= set(found)


@pytest.mark.parametrize("url", ["Basic/changed/_history?_count=1000", "Basic/_history?_count=50"])
def test_versions_that_have_no_room_are_not_read(serve: Serve, read: list[int], url: str) -> None:
    fhir, rng = serve(max_response_bytes=MOST).client, Random(4)
    for number in range(9):
        if number == 5:
            assert fhir.delete("Basic/changed").status_code == 204
            continue
        text = b64encode(rng.randbytes(30_000 if number == 2 else 4_500)).decode()
        basic = {"resourceType": "Basic", "id": "changed", "code": {"text": text}}
        assert fhir.put("Basic/changed", basic).status_code in (200, 201)
    read.clear()
    seen, sizes, link = [], [], url
    while link:
        answer = fhir.get(link)
        seen += [each["response"]["etag"] for each in answer.json()["entry"]]
        sizes.append(len(answer.content))
        link = next((each["url"] for each in answer.json()["link"] if each["relation"] == "next"), "")
    assert seen == [f'W/"{number}"' for number in range(9, 0, -1)]
    assert sorted(sizes)[-2] <= MOST + 1_000 < sorted(sizes)[-1]
    assert max(read) <= 8  # twice what fits, for a crash may have left each of them twice


@pytest.mark.parametrize("url", ["Patient/p/$everything", "Patient/$everything"])
def test_a_page_of_everything_ends_early(small: Fhir, url: str) -> None:
    found = [name for page in pages(small, f"{url}?_type=Patient,Observation,Media") for name in page]
    assert sorted(found) == sorted([*(f"Observation/{name}" for name in NAMES), "Media/large", "Patient/p"])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("Patient?_include=Patient:general-practitioner", "is larger than 20,000 bytes; lower _count"),
        ("Patient/p/$everything", "Patient/p and what it refers to are larger than 20,000 bytes; say _type"),
    ],
)
def test_what_comes_with_a_page_and_does_not_fit_is_refused(small: Fhir, url: str, said: str) -> None:
    answer = small.get(url)
    issue = answer.json()["issue"][0]
    assert (answer.status_code, issue["code"]) == (422, "too-costly")
    assert said in issue["diagnostics"]


def test_a_page_of_everything_is_as_small_as_what_it_refers_to_makes_it(serve: Serve) -> None:
    fhir, rng = serve(max_response_bytes=MOST).client, Random(3)
    fhir.put("Patient/q", {"resourceType": "Patient", "id": "q"})
    for name in NAMES:
        text = b64encode(rng.randbytes(3_000)).decode()
        fhir.put(f"Practitioner/{name}", {"resourceType": "Practitioner", "id": name, "name": [{"text": text}]})
        measured = {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": "x"}}
        who = {"subject": {"reference": "Patient/q"}, "performer": [{"reference": f"Practitioner/{name}"}]}
        fhir.put(f"Observation/{name}", measured | who | {"note": [{"text": text}]})
    for url in ("Patient/q/$everything", "Patient/$everything"):
        found = [name for page in pages(fhir, url) for name in page]
        assert sorted(found) == sorted(
            [f"{type_}/{name}" for type_ in ("Observation", "Practitioner") for name in NAMES] + ["Patient/q"]
        )


def test_the_newest_of_all_codes_are_refused_where_they_do_not_fit(small: Fhir) -> None:
    answer = small.get("Observation/$lastn?patient=Patient/p&code:text=x")
    issue = answer.json()["issue"][0]
    assert (answer.status_code, issue["code"]) == (422, "too-costly")
    assert "more than 20,000 bytes; lower max" in issue["diagnostics"]


def reading(kind: str, *urls: str) -> dict[str, Any]:
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def test_a_batch_answers_what_finds_room(small: Fhir) -> None:
    answer = small.post("", reading("batch", *(f"Binary/{name}" for name in NAMES), "Patient/p"))
    said = answer.json()["entry"]
    assert [each["response"]["status"][:3] for each in said] == ["200"] * 3 + ["422"] * 6 + ["200"]
    assert said[5]["response"]["outcome"]["issue"][0]["code"] == "too-costly"
    assert len(answer.content) < MOST + 5_000


def test_a_transaction_whose_answer_is_too_large_is_not_done(small: Fhir) -> None:
    bundle = reading("transaction", *(f"Binary/{name}" for name in NAMES))
    made = {"request": {"method": "PUT", "url": "Patient/new"}, "resource": {"resourceType": "Patient", "id": "new"}}
    bundle["entry"].append(made)
    answer = small.post("", bundle)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (422, ["Bundle.entry[3]"])
    assert small.get("Patient/new").status_code == 404


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_what_was_written_is_answered_without_the_resource_where_it_does_not_fit(small: Fhir, kind: str) -> None:
    entries = []
    for name in NAMES:
        resource = small.get(f"Observation/{name}").json() | {"status": "amended" if kind == "batch" else "final"}
        entries.append({"request": {"method": "PUT", "url": f"Observation/{name}"}, "resource": resource})
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    said = small.post("", bundle, headers={"Prefer": "return=representation"}).json()["entry"]
    assert {each["response"]["status"] for each in said} == {"200 OK"}
    assert ["resource" in each for each in said] == [True] * 3 + [False] * 6


@pytest.mark.parametrize(
    ("sizes", "most", "count"),
    [([], 10, 0), ([10_000], 10, 1), ([0] * 3, 2 * AROUND, 2), ([0] * 3, 3 * AROUND, 3), ([5, 10_000, 5], 9_000, 1)],
)
def test_how_many_fit(sizes: list[int], most: int, count: int) -> None:
    assert fitting(sizes, most) == count
