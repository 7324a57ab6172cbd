"""Releases of large code systems: loaded as an operator does, asked as a client does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rf2
from asking import Load, filtered, looked_up, named, properties
from loading import loader, run
from pymongo import MongoClient

if TYPE_CHECKING:
    from conftest import Fhir, Serve

SNOMED = "http://snomed.info/sct"
VERSION = f"{SNOMED}/{rf2.EDITION}/version/{rf2.DATE}"


@pytest.fixture(scope="module")
def world(serve: Serve) -> tuple[Fhir, Load]:
    return loader(serve())


@pytest.fixture(scope="module")
def fhir(world: tuple[Fhir, Load], tmp_path_factory: pytest.TempPathFactory) -> Fhir:
    """With the small SNOMED CT."""
    client, load = world
    done = load("snomed", rf2.release(tmp_path_factory.mktemp("rf2")))
    assert done.exit_code == 0, done.output
    assert f"{VERSION} is current now: {len(rf2.CONCEPTS)} concepts." in done.output
    return client


def test_a_code_is_described_as_the_release_does(fhir: Fhir) -> None:
    found = looked_up(fhir, "50")
    assert named(found, "display") == ["Heart attack"]
    assert named(found, "version") == [VERSION]
    names = [{p["name"]: p.get("valueString") for p in part}["value"] for part in named(found, "designation")]
    assert names == ["Heart attack", "Heart attack (disorder)", "Myocardial infarction", 'Herz"infarkt']
    assert {("parent", "30"), ("parent", "40"), ("80", "72"), ("inactive", False)} <= properties(found)
    assert {("child", "30"), ("child", "40")} <= properties(looked_up(fhir, "20"))
    assert ("inactive", True) in properties(looked_up(fhir, "60"))
    assert ("81", 500) in properties(looked_up(fhir, "95"))
    assert named(looked_up(fhir, "50", displayLanguage="de"), "display") == ['Herz"infarkt']


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        ({"code": "50"}, True),
        ({"code": "50", "display": "myocardial  INFARCTION"}, True),
        ({"code": "50", "display": "Broken heart"}, False),
        ({"code": "51"}, False),
        ({"code": "50", "version": VERSION}, True),
        ({"code": "50", "version": f"{SNOMED}/{rf2.EDITION}"}, True),
        ({"code": "50", "version": f"{SNOMED}/{rf2.CORE}"}, False),
    ],
)
def test_codes_and_names_are_checked(fhir: Fhir, asked: dict[str, str], result: bool) -> None:
    answer = fhir.get("CodeSystem/$validate-code", params={"url": SNOMED} | asked).json()
    assert named(answer, "result") == [result], answer


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        ("20", "50", "subsumes"),
        ("50", "20", "subsumed-by"),
        ("30", "40", "not-subsumed"),
        ("50", "50", "equivalent"),
        ("10", "60", "not-subsumed"),
    ],
)
def test_subsumption_goes_all_the_way(fhir: Fhir, a: str, b: str, outcome: str) -> None:
    answer = fhir.get("CodeSystem/$subsumes", params={"system": SNOMED, "codeA": a, "codeB": b}).json()
    assert named(answer, "outcome") == [outcome]


@pytest.mark.parametrize(
    ("filters", "codes"),
    [
        ([("concept", "is-a", "20")], "20 30 40 50"),
        ([("concept", "descendent-of", "20")], "30 40 50"),
        ([("concept", "is-not-a", "10")], "60"),
        ([("concept", "generalizes", "50")], "10 20 30 40 50"),
        ([("concept", "in", "90")], "30 50"),
        ([("concept", "in", "30, 40")], "30 40"),
        ([("concept", "is-a", "20"), ("concept", "not-in", "30,40")], "20 50"),
        ([("80", "=", "72")], "50"),
        ([("80", "exists", "true")], "30 50"),
        ([("80", "exists", "false"), ("concept", "is-a", "20")], "20 40"),
        ([("parent", "=", "20")], "30 40"),
        ([("child", "=", "50")], "30 40"),
        ([("display", "=", "Heart")], "71"),
        ([("display", "regex", ".*[Hh]eart.*"), ("concept", "is-a", "20")], "30 50"),
        ([("80", "regex", "7.")], "30 50"),
        ([("code", "regex", "5.*")], "50"),
    ],
)
def test_filters_are_answered_by_the_database(fhir: Fhir, filters: list[tuple[str, str, str]], codes: str) -> None:
    assert filtered(fhir, *filters) == codes.split()


def test_a_search_finds_what_is_below(fhir: Fhir) -> None:
    for id_, code in (("a", "50"), ("b", "40"), ("c", "60")):
        condition = {
            "resourceType": "Condition",
            "id": id_,
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
            },
            "code": {"coding": [{"system": SNOMED, "code": code}]},
        }
        assert fhir.put(f"Condition/{id_}", condition).status_code == 201
    assert sorted(fhir.ids(f"Condition?code:below={SNOMED}|30")) == ["a"]
    assert sorted(fhir.ids(f"Condition?code:below={SNOMED}|20")) == ["a", "b"]
    assert sorted(fhir.ids(f"Condition?code:above={SNOMED}|50")) == ["a", "b"]


@pytest.mark.parametrize(
    ("filters", "wanted", "codes"),
    [
        ([], {"count": ("Integer", 3)}, "10 20 30"),
        ([], {"count": ("Integer", 3), "offset": ("Integer", 12)}, "90 95"),
        ([], {"count": ("Integer", 3), "offset": ("Integer", 99)}, ""),
        ([], {"count": ("Integer", 0)}, ""),
        ([], {"filter": ("String", "heart")}, "71 95 50 72 60 30"),
        ([], {"filter": ("String", "hea att")}, "50 60"),
        ([], {"filter": ("String", "hea att"), "activeOnly": ("Boolean", True)}, "50"),
        ([], {"filter": ("String", "infarction myo")}, "50"),
        ([], {"filter": ("String", "heart"), "count": ("Integer", 2), "offset": ("Integer", 1)}, "95 50"),
        ([("concept", "is-a", "20")], {"filter": ("String", "HEART")}, "50 30"),
        ([("concept", "is-a", "20")], {"count": ("Integer", 2), "offset": ("Integer", 1)}, "30 40"),
        ([("concept", "is-a", "20")], {"filter": ("String", "(")}, ""),
    ],
)
def test_expansions_come_in_pages_and_by_words(
    fhir: Fhir, filters: list[tuple[str, str, str]], wanted: dict[str, tuple[str, Any]], codes: str
) -> None:
    assert filtered(fhir, *filters, **wanted) == codes.split()


def test_the_total_is_of_all_pages(fhir: Fhir) -> None:
    value_set = {
        "resourceType": "ValueSet",
        "id": "below",
        "url": "urn:test:below",
        "status": "active",
        "compose": {
            "include": [{"system": SNOMED, "filter": [{"property": "concept", "op": "is-a", "value": "20"}]}],
        },
    }
    assert fhir.put("ValueSet/below", value_set).status_code == 201
    for page, total in (
        (":", 4),
        ("count=1", 4),
        ("count=1&offset=3", 4),
        ("count=9&offset=9", 4),
        ("filter=heart", 2),
    ):
        expansion = fhir.get(f"ValueSet/below/$expand?{page.strip(':')}").json()["expansion"]
        assert expansion["total"] == total, page
        if "contains" in expansion:
            assert {"name": "version", "valueUri": f"{SNOMED}|{VERSION}"} in expansion["parameter"]
    nested = fhir.get("ValueSet/below/$expand?excludeNested=false").json()["expansion"]["contains"]
    assert [each["code"] for each in nested] == ["20"]
    assert sorted(fhir.ids("Condition?code:in=urn:test:below")) == ["a", "b"]
    held = {"url": "urn:test:below", "system": SNOMED, "code": "50"}
    assert named(fhir.get("ValueSet/$validate-code", params=held).json(), "result") == [True]
    held["code"] = "71"
    assert named(fhir.get("ValueSet/$validate-code", params=held).json(), "result") == [False]


def test_what_is_no_filter_is_refused_with_a_reason(fhir: Fhir) -> None:
    for filter_, reason in (
        (("concept", "is-a", "51"), "'51' is not a code of code system"),
        (("colour", "=", "red"), "no property 'colour'"),
        (("80", "exists", "maybe"), "true or false"),
        (("80", "regex", "("), "not a regular expression"),
    ):
        include = {"system": SNOMED, "filter": [dict(zip(("property", "op", "value"), filter_, strict=True))]}
        value_set = {"resourceType": "ValueSet", "status": "active", "compose": {"include": [include]}}
        parameters = {"resourceType": "Parameters", "parameter": [{"name": "valueSet", "resource": value_set}]}
        answer = fhir.post("ValueSet/$expand", parameters)
        assert answer.status_code == 400, answer.text
        assert reason in answer.json()["issue"][0]["diagnostics"]


def test_versions_lie_side_by_side_and_the_last_one_loaded_is_current(
    fhir: Fhir, world: tuple[Fhir, Load], tmp_path: Path
) -> None:
    _, load = world
    later = rf2.release(tmp_path / "later", "20260701", without=["50"])
    archive = Path(shutil.make_archive(str(tmp_path / "SnomedCT_Later"), "zip", later))
    done = load("snomed", archive)
    assert done.exit_code == 0, done.output
    question = {"url": SNOMED, "code": "50"}
    assert named(fhir.get("CodeSystem/$validate-code", params=question).json(), "result") == [False]
    earlier = fhir.get("CodeSystem/$validate-code", params=question | {"version": VERSION}).json()
    assert named(earlier, "result") == [True]
    again = load("snomed", rf2.release(tmp_path / "again"))
    assert "was here already, unchanged; it is current now" in again.output
    assert named(fhir.get("CodeSystem/$validate-code", params=question).json(), "result") == [True]


def test_a_resource_without_its_concepts_does_not_hide_the_release(fhir: Fhir) -> None:
    resource = {"resourceType": "CodeSystem", "id": "sct", "url": SNOMED, "status": "active", "content": "not-present"}
    assert fhir.put("CodeSystem/sct", resource).status_code == 201
    assert named(looked_up(fhir, "50"), "display") == ["Heart attack"]


def test_what_is_no_release_is_said(world: tuple[Fhir, Load], tmp_path: Path) -> None:
    _, load = world
    (tmp_path / "empty").mkdir()
    done = load("snomed", tmp_path / "empty")
    assert done.exit_code == 1
    assert "there is no file of concepts" in done.output


def test_a_corrected_file_takes_the_place_of_its_version(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    client, load = loader(served)
    first = tmp_path / "cvx.txt"
    first.write_text("05|measles|measles, made up||Active|False|2026/01/01\n")
    corrected = tmp_path / "corrected.txt"
    corrected.write_text("05|Measles|measles, made up||Active|False|2026/01/01\n")
    cvx = "http://hl7.org/fhir/sid/cvx"
    for path, display in ((first, "measles"), (corrected, "Measles")):
        assert load("cvx", path).exit_code == 0
        assert named(looked_up(client, "05", cvx), "display") == [display]
    assert run(served, "terminology").output == f"{cvx}|2026-01-01: CVX, 1 concepts\n"


def test_releases_are_listed_and_removed(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    client, load = loader(served)
    cvx = "http://hl7.org/fhir/sid/cvx"
    for year in (2025, 2026):
        path = tmp_path / f"{year}.txt"
        path.write_text(f"05|measles of {year}|made up||Active|False|{year}/01/01\n")
        assert load("cvx", path).exit_code == 0
    assert run(served, "terminology").output.splitlines() == [
        f"{cvx}|2026-01-01: CVX, 1 concepts",
        f"{cvx}|2025-01-01: CVX, 1 concepts, an earlier one",
    ]
    assert named(looked_up(client, "05", cvx), "display") == ["measles of 2026"]
    assert run(served, "terminology", "--remove", f"{cvx}|2026-01-01").exit_code == 0
    assert named(looked_up(client, "05", cvx), "display") == ["measles of 2025"]
    again = run(served, "terminology", "--remove", f"{cvx}|2026-01-01")
    assert again.exit_code == 1
    assert "is not kept here" in again.output


def test_a_load_stops_before_the_disk_is_full(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    path = tmp_path / "cvx.txt"
    path.write_text("05|measles|measles, made up||Active|False|2026/01/01\n")
    done = run(served, "load-terminology", "cvx", str(path), HEALTHMATE_SPARE_DISK_MB="100000000")
    assert done.exit_code == 1
    assert "the disk of the database is full" in done.output


def test_check_looks_at_releases(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    _, load = loader(served)
    path = tmp_path / "cvx.txt"
    path.write_text("05|measles|made up||Active|False|2026/01/01\n06|rubella|made up||Active|False|2026/01/01\n")
    assert load("cvx", path).exit_code == 0
    assert "ok    http://hl7.org/fhir/sid/cvx|2026-01-01: 2 concepts" in run(served, "check").output
    assert served.settings.mongodb_url is not None
    with MongoClient[dict[str, Any]](served.settings.mongodb_url.get_secret_value()) as client:
        (row,) = client[served.settings.database]["releases"].find()
        collection = client[served.settings.database][f"releases.{row['_id']}"]
        collection.drop_index("line")
        assert "FAIL  http://hl7.org/fhir/sid/cvx|2026-01-01 lacks the index line" in run(served, "check").output
        collection.delete_one({"_id": "05"})
        assert "has 1 of its 2 concepts" in run(served, "check").output
