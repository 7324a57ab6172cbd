"""Histories: https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

import time
from urllib.parse import quote


def pages(fhir, path: str) -> list[list[str]]:
    found = []
    url: str | None = path
    while url:
        bundle = fhir.bundle(url)
        found.append([f"{e['request']['method']} {e['fullUrl'].rsplit('/', 2)[-1]}" for e in bundle.get("entry", [])])
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return found


def make(fhir, type_: str, id_: str, versions: int) -> None:
    for _ in range(versions):
        assert fhir.put(f"{type_}/{id_}", {"resourceType": type_, "id": id_}).status_code in (200, 201)
        time.sleep(0.002)


def test_the_history_of_one_resource_is_newest_first_and_counted(fhir):
    make(fhir, "Patient", "one", 3)
    fhir.delete("Patient/one")
    bundle = fhir.bundle("Patient/one/_history")
    assert (bundle["type"], bundle["total"]) == ("history", 4)
    assert [e["response"]["etag"] for e in bundle["entry"]] == ['W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']
    assert [e["request"]["method"] for e in bundle["entry"]] == ["DELETE", "PUT", "PUT", "POST"]
    assert "resource" not in bundle["entry"][0]
    assert bundle["entry"][3]["resource"]["meta"]["versionId"] == "1"
    assert fhir.get("Patient/never/_history").status_code == 404


def test_pages_of_a_type_hold_every_version_once(fhir):
    assert pages(fhir, "Location/_history?_count=3") == [[]]
    for number in range(4):
        make(fhir, "Location", f"o{number}", 2)
    split = pages(fhir, "Location/_history?_count=3")
    assert [len(page) for page in split] == [3, 3, 2]
    rows = [row for page in split for row in page]
    assert rows == [f"{method} o{number}" for number in (3, 2, 1, 0) for method in ("PUT", "POST")]


def test_the_history_of_everything(fhir):
    make(fhir, "Patient", "all-p", 1)
    make(fhir, "Practitioner", "all-q", 1)
    newest = fhir.bundle("_history?_count=2")["entry"]
    assert [e["fullUrl"].rsplit("/", 1)[1] for e in newest] == ["all-q", "all-p"]
    everything = [row for page in pages(fhir, "_history?_count=5") for row in page]
    assert len(everything) == len(pages(fhir, "_history?_count=1000")[0])


def test_since_and_at(fhir):
    make(fhir, "Patient", "t", 1)
    first = fhir.get("Patient/t").json()["meta"]["lastUpdated"]
    time.sleep(0.05)
    make(fhir, "Patient", "t", 1)
    second = fhir.get("Patient/t").json()["meta"]["lastUpdated"]
    time.sleep(0.05)
    make(fhir, "Patient", "t", 1)

    def versions(query: str) -> list[str]:
        entries = fhir.bundle(f"Patient/t/_history?{query}").get("entry", [])
        return [e["response"]["etag"][3:-1] for e in entries]

    assert versions(f"_since={quote(second)}") == ["3", "2"]
    assert versions("_since=2000") == ["3", "2", "1"]
    assert versions("_since=2990") == []
    assert versions(f"_at={quote(first)}") == ["1"]
    assert versions(f"_at={quote(second)}") == ["2"]
    assert versions(f"_at={second[:4]}") == ["3", "2", "1"]
    assert versions("_at=2990") == ["3"]
    assert versions("_at=1990") == []
    assert versions("_count=0") == []
    rows = [row for page in pages(fhir, f"Patient/_history?_at={second[:4]}&_count=2") for row in page]
    assert rows.count("PUT t") + rows.count("POST t") == 3


def test_pages_of_one_resource_hold_what_is_asked_by_the_rules_read_naively(fhir):
    make(fhir, "Patient", "windows", 5)
    entries = fhir.bundle("Patient/windows/_history")["entry"]
    times = [e["response"]["lastModified"] for e in reversed(entries)]  # of versions 1 to 5
    for number, time_ in enumerate(times):
        current, since = [number + 1], [*range(len(times), number, -1)]
        for query, expected in ((f"_at={time_}", current), (f"_since={time_}", since)):
            rows = [row for page in pages(fhir, f"Patient/windows/_history?{query}&_count=1") for row in page]
            assert rows == ["POST windows" if version == 1 else "PUT windows" for version in expected], query
            whole = fhir.bundle(f"Patient/windows/_history?{query}")["entry"]
            assert [e["response"]["etag"] for e in whole] == [f'W/"{version}"' for version in expected]


def test_bad_parameters_are_refused(fhir):
    assert fhir.get("Patient/_history?_since=then").status_code == 400
    assert fhir.get("Patient/_history?_count=-1").status_code == 400
    assert fhir.get("Patient/_history?_cursor=AAAA").status_code == 400
    strict = {"Prefer": "handling=strict"}
    assert fhir.get("Patient/_history?nonsense=1").status_code == 200
    assert fhir.get("Patient/_history?nonsense=1", headers=strict).status_code == 400


def test_a_cursor_is_not_good_elsewhere(fhir):
    make(fhir, "Patient", "other", 1)
    make(fhir, "Patient", "c", 2)
    link = next(x["url"] for x in fhir.bundle("Patient/_history?_count=1")["link"] if x["relation"] == "next")
    cursor = link.rsplit("_cursor=", 1)[1]
    elsewhere = fhir.get(f"Patient/other/_history?_cursor={cursor}")
    assert elsewhere.status_code == 400, elsewhere.text
    forged = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    assert fhir.get(f"Patient/_history?_cursor={forged}").status_code == 400


def test_a_history_says_what_it_used(fhir):
    fhir.put("Patient/used", {"resourceType": "Patient", "id": "used"})
    assert fhir.bundle("Patient/used/_history?_sort=x&_count=1")["link"][0]["url"].endswith("/_history?_count=1")


def test_a_history_in_parts(fhir):
    fhir.put("Patient/parts", {"resourceType": "Patient", "id": "parts", "active": True, "gender": "other"})
    fhir.delete("Patient/parts")
    deletion, whole = fhir.bundle("Patient/parts/_history")["entry"]
    assert "resource" not in deletion
    assert {"active", "gender"} <= whole["resource"].keys()
    _, part = fhir.bundle("Patient/parts/_history?_elements=active")["entry"]
    assert part["resource"].keys() == {"resourceType", "id", "meta", "active"}
    assert part["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
