"""How many there are: counted, estimated, or not said; and `_maxresults`, the most that all pages together have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fhirserver.search.filters import counting

if TYPE_CHECKING:
    from conftest import Fhir, Serve

COUNT = 40


@pytest.fixture(scope="module")
def basics(serve: Serve) -> Fhir:
    """40 Basics, every fourth of code b, and five that were deleted; three Patients."""
    fhir = serve().client
    for number in range(COUNT + 5):
        code = {"text": "x", "coding": [{"code": "b" if number % 4 == 0 else "a"}]}
        fhir.put(f"Basic/n{number:02}", {"resourceType": "Basic", "id": f"n{number:02}", "code": code})
    for number in range(COUNT, COUNT + 5):
        fhir.delete(f"Basic/n{number}")
    fhir.put("Practitioner/d", {"resourceType": "Practitioner", "id": "d"})
    fhir.put("Location/l", {"resourceType": "Location", "id": "l", "name": "Ward"})
    for name in ("p0", "p1", "p2"):
        fhir.put(f"Patient/{name}", {"resourceType": "Patient", "id": name})
    return fhir


@pytest.fixture
def rough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates as of a large collection."""
    monkeypatch.setattr("fhirserver.store.estimates.COUNTED", 5)
    monkeypatch.setattr("fhirserver.store.estimates.SMALL", 0)
    monkeypatch.setattr("fhirserver.store.estimates.SAMPLE", 20)


def notes(bundle: dict[str, Any]) -> str:
    outcomes = [e["resource"]["issue"] for e in bundle.get("entry", []) if e["search"]["mode"] == "outcome"]
    return " ".join(issue["diagnostics"] for issues in outcomes for issue in issues)


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("Basic?_count=3", None),
        ("Basic?_count=3&_total=none", None),
        ("Basic?_count=100", 40),
        ("Basic?_count=100&_total=none", None),
        ("Basic?_count=3&_total=accurate", 40),
        ("Basic?_count=3&_total=accurate&code=b", 10),
        ("Basic?_count=3&_total=accurate&code:not=b", 30),
        ("Basic?_count=3&_total=accurate&code:missing=true", 0),
        ("Basic?_count=3&_total=accurate&_id=n00,n41", 1),
        ("Basic?_count=0", 40),
        ("Basic?_summary=count&code=b", 10),
        ("Basic?_summary=count&_total=none", 40),
        ("?_type=Basic,Patient&_summary=count", 43),
        ("?_type=Basic,Patient&_count=2&_total=accurate", 43),
        ("Basic?_summary=count&_maxresults=7", 7),
        ("Basic?_count=2&_maxresults=7&_total=accurate", 7),
        ("Basic?_count=2&_maxresults=700&_total=accurate", 40),
        ("Basic?_maxresults=7", 7),
        ("?_type=Basic,Patient&_count=2&_maxresults=41&_total=accurate", 41),
    ],
)
def test_totals(basics: Fhir, query: str, total: int | None) -> None:
    assert basics.bundle(query).get("total") == total


def test_an_estimate_of_few_is_a_count(basics: Fhir) -> None:
    bundle = basics.bundle("Basic?code=b&_count=3&_total=estimate")
    assert (bundle["total"], notes(bundle)) == (10, "")


def test_an_estimate_of_a_type_is_its_size_with_what_was_deleted(basics: Fhir) -> None:
    bundle = basics.bundle("Basic?_count=3&_total=estimate")
    assert bundle["total"] == COUNT + 5
    assert "those that were deleted too" in notes(bundle)
    bounded = basics.bundle(f"Basic?_count=3&_total=estimate&_maxresults={COUNT + 1}")
    assert bounded["total"] == COUNT + 1
    assert "those that were deleted too" in notes(bounded)
    several = notes(basics.bundle("?_type=Basic,Patient,Practitioner,Location&_count=1&_total=estimate"))
    assert several.count("that is stored") == 3
    assert several.endswith("and 1 more in this way")


@pytest.mark.usefixtures("rough")
def test_an_estimate_of_many_is_a_share_and_says_so(basics: Fhir) -> None:
    bundle = basics.bundle("Basic?code=a&_count=3&_total=estimate")
    assert 6 <= bundle["total"] <= COUNT + 5
    assert "at least 5 match" in notes(bundle)
    assert "of 20 Basic picked at random do" in notes(bundle)
    assert basics.bundle("?_type=Basic,Patient&_summary=count&_total=estimate&_lastUpdated=gt2000")["total"] >= 9


@pytest.mark.usefixtures("rough")
def test_an_estimate_in_a_transaction_is_a_count(basics: Fhir) -> None:
    get = {"request": {"method": "GET", "url": "Basic?code=a&_count=3&_total=estimate"}}
    answer = basics.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [get]}).json()
    assert answer["entry"][0]["resource"]["total"] == 30


@pytest.mark.parametrize(("most", "count", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 5, [2]), (1, 1, [1])])
@pytest.mark.parametrize("search", ["Basic?code=a", "Basic?_sort=-_lastUpdated", "?_type=Patient,Basic&_sort=_id"])
def test_all_pages_together_have_at_most_so_many(
    basics: Fhir, search: str, most: int, count: int, sizes: list[int]
) -> None:
    page, seen = basics.bundle(f"{search}&_count={count}&_maxresults={most}"), []
    while True:
        seen.append([e["resource"]["id"] for e in page["entry"]])
        urls = {link["relation"]: link["url"] for link in page["link"]}
        if "next" not in urls:
            break
        page = basics.bundle(urls["next"])
    assert [*map(len, seen)] == sizes
    assert [id_ for ids in seen for id_ in ids] == basics.ids(f"{search}&_count=100")[:most]
    if len(seen) > 1:
        page = basics.bundle(urls["previous"])
        assert [e["resource"]["id"] for e in page["entry"]] == basics.ids(f"{search}&_count=100")[
            sum(sizes[:-1]) - count : sum(sizes[:-1])
        ]
        again = {link["relation"]: link["url"] for link in page["link"]}
        assert [e["resource"]["id"] for e in basics.bundle(again["next"])["entry"]] == seen[-1]


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "9999999999"])
def test_what_is_no_number_of_results(basics: Fhir, value: str) -> None:
    answer = basics.get(f"Basic?_maxresults={value}")
    assert answer.status_code == 400
    assert "_maxresults" in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("filter_", "same"),
    [
        ({"deleted": None, "search.code": {"$in": ["a"]}}, False),
        ({"deleted": None, "compartments": {"$eq": "Patient/1"}}, False),
        ({"deleted": None}, True),
        ({"deleted": None, "search.code": {"$nin": ["a"]}}, True),
        ({"deleted": None, "search.code": {"$exists": False}}, True),
        ({"deleted": None, "_id": {"$in": ["a"]}}, True),
        ({"deleted": None, "$or": [{"search.code": {"$in": ["a"]}}, {"_id": {"$in": ["a"]}}]}, True),
    ],
)
def test_what_was_deleted_is_left_out_where_nothing_else_does_it(filter_: dict[str, Any], same: bool) -> None:
    assert (counting(filter_) == filter_) is same
