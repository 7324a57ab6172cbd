"""Releases as their publishers give them out: LOINC, RxNorm, ICD-10-CM, CVX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import publishers
import pytest
from asking import Load, filtered, looked_up, named, properties
from loading import loader

if TYPE_CHECKING:
    from conftest import Fhir, Serve

SYSTEMS = {
    "loinc": "http://loinc.org",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "icd-10-cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "cvx": "http://hl7.org/fhir/sid/cvx",
}
VERSIONS = {"loinc": "2.10", "rxnorm": "01052026", "icd-10-cm": "2026", "cvx": "2025-09-30"}
MADE = {
    "loinc": publishers.loinc,
    "rxnorm": publishers.rxnorm,
    "icd-10-cm": publishers.icd10cm,
    "cvx": publishers.cvx,
}

RF2 = "id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId"


@pytest.fixture(scope="module")
def world(serve: Serve) -> tuple[Fhir, Load]:
    return loader(serve())


@pytest.fixture(scope="module")
def fhir(world: tuple[Fhir, Load], tmp_path_factory: pytest.TempPathFactory) -> Fhir:
    client, load = world
    for kind, make in MADE.items():
        done = load(kind, make(tmp_path_factory.mktemp(kind)))
        assert done.exit_code == 0, done.output
        assert f"{SYSTEMS[kind]}|{VERSIONS[kind]} is current now" in done.output
    return client


@pytest.mark.parametrize(
    ("kind", "code", "display", "inactive", "expected"),
    [
        (
            "loinc",
            "1-1",
            "Sugar [Mass/volume] in Blood",
            False,
            {("CLASS", "CHEM"), ("COMPONENT", "LP10-1"), ("parent", "LP10-1")},
        ),
        ("loinc", "2-9", 'Sugar "sweet", in Urine', True, {("STATUS", "DEPRECATED")}),
        ("loinc", "LP11-9", "Blood", False, set()),
        ("loinc", "LP1-0", "Laboratory", False, {("child", "LP10-1")}),
        ("loinc", "3-7", "How is the mood", False, {("answer-list", "LL5-5")}),
        ("loinc", "LL6-3", "Elsewhere", False, set()),
        ("loinc", "LA7-2", "Good", False, set()),
        ("rxnorm", "100", "sugarol", False, {("TTY", "IN"), ("STY", "T121")}),
        (
            *("rxnorm", "200", "sugarol 5 MG Oral Tablet", False),
            {("TTY", "SCD"), ("has_ingredient", "100"), ("parent", "400"), ("NDC", "00000000001")},
        ),
        ("rxnorm", "300", "sugarol 1 MG Oral Tablet", True, {("SUPPRESS", "O")}),
        ("icd-10-cm", "A00.0", "White sugar", False, {("parent", "A00"), ("inclusionTerm", "Refined sugar")}),
        ("icd-10-cm", "A00.11XA", "Muscovado, initial encounter", False, {("parent", "A00.11")}),
        ("icd-10-cm", "A00.12XS", "Other, sequela", False, {("parent", "A00.12")}),
        ("icd-10-cm", "A01.XXXA", "Honey, initial encounter", False, {("parent", "A01")}),
        ("icd-10-cm", "A00", "Sugar", False, {("parent", "A00-A09"), ("excludes1", "salt (B00)")}),
        ("icd-10-cm", "A00-A09", "Sugars (A00-A09)", False, {("parent", "1")}),
        ("cvx", "01", "DTP", True, {("VaccineStatus", "Inactive")}),
        ("cvx", "213", "SARS", False, {("notes", "Not for children."), ("nonvaccine", False)}),
        ("cvx", "998", "no vaccine", False, {("nonvaccine", True)}),
    ],
)
def test_what_a_release_says_of_a_code(
    fhir: Fhir, kind: str, code: str, display: str, inactive: bool, expected: set[tuple[str, Any]]
) -> None:
    found = looked_up(fhir, code, SYSTEMS[kind])
    assert named(found, "display") == [display]
    assert named(found, "version") == [VERSIONS[kind]]
    assert expected | {("inactive", inactive)} <= properties(found)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("loinc", "1-2"), ("rxnorm", "900"), ("icd-10-cm", "A00.12XA"), ("icd-10-cm", "A00.11XS"), ("cvx", "1")],
)
def test_what_is_not_in_a_release(fhir: Fhir, kind: str, code: str) -> None:
    answer = fhir.get("CodeSystem/$validate-code", params={"url": SYSTEMS[kind], "code": code}).json()
    assert named(answer, "result") == [False]


@pytest.mark.parametrize(
    ("kind", "filters", "codes"),
    [
        ("loinc", [("concept", "descendent-of", "LP10-1")], "1-1 2-9"),
        ("loinc", [("ancestor", "=", "LP1-0")], "1-1 2-9 LP10-1 LP1-0"),
        ("loinc", [("parent", "=", "LP10-1")], "1-1 2-9"),
        ("loinc", [("COMPONENT", "=", "LP10-1")], "1-1 2-9"),
        ("loinc", [("COMPONENT", "=", "Sugar"), ("METHOD_TYP", "=", "Strip")], "2-9"),
        ("loinc", [("CLASSTYPE", "=", "4")], "3-7"),
        ("loinc", [("copyright", "=", "3rdParty")], "3-7"),
        ("loinc", [("LIST", "=", "LL5-5")], "LA7-2 LA6-4"),
        ("loinc", [("answers-for", "=", "3-7")], "LA7-2 LA6-4"),
        ("loinc", [("answer-list", "exists", "true")], "3-7"),
        ("rxnorm", [("TTY", "in", "IN,SCDF")], "100 400"),
        ("rxnorm", [("has_ingredient", "=", "100")], "200"),
        ("rxnorm", [("has_ingredient", "=", "CUI:100")], "200"),
        ("rxnorm", [("concept", "is-a", "400")], "200 400"),
        ("rxnorm", [("STY", "=", "Pharmacologic Substance")], "100"),
        ("icd-10-cm", [("concept", "is-a", "A00.1")], "A00.1 A00.11 A00.11XA A00.11XD A00.12 A00.12XS"),
        ("icd-10-cm", [("concept", "descendent-of", "A02.017")], "A02.017A"),
        ("icd-10-cm", [("concept", "descendent-of", "A02.019")], "A02.019A A02.019D A02.019S"),
        ("icd-10-cm", [("concept", "is-a", "1"), ("code", "regex", "A01.*")], "A01 A01.XXXA"),
        ("cvx", [("VaccineStatus", "=", "Active")], "213 998"),
    ],
)
def test_filters_of_a_release(fhir: Fhir, kind: str, filters: list[tuple[str, str, str]], codes: str) -> None:
    assert filtered(fhir, *filters, system=SYSTEMS[kind]) == codes.split()


def test_names_in_other_languages(fhir: Fhir) -> None:
    names = {"1-1": "Zucker:MCnc:Pt:Blut:Qn", "2-9": "Zucker im Urin", "3-7": "Stimmung"}
    for code, name in names.items():
        assert named(looked_up(fhir, code, SYSTEMS["loinc"], displayLanguage="de"), "display") == [name]
    assert named(looked_up(fhir, "2-9", SYSTEMS["loinc"], displayLanguage="de-DE"), "display") == ["Zucker im Urin"]


def test_other_names_are_names_too(fhir: Fhir) -> None:
    for display, result in (("sweet PILL", True), ("sugarol 5 mg tablet", True), ("SUGAROL TABLET", False)):
        asked = {"url": SYSTEMS["rxnorm"], "code": "200", "display": display}
        assert named(fhir.get("CodeSystem/$validate-code", params=asked).json(), "result") == [result]
    assert filtered(fhir, system=SYSTEMS["loinc"], filter=("String", "sugar blood")) == ["1-1"]


def test_blocks_are_not_for_use(fhir: Fhir) -> None:
    asked = {"url": SYSTEMS["icd-10-cm"], "code": "A00-A09", "abstract": "false"}
    assert named(fhir.get("CodeSystem/$validate-code", params=asked).json(), "result") == [False]


@pytest.mark.parametrize(
    ("kind", "name", "text", "reason"),
    [
        ("cvx", "cvx.txt", "01|DTP|x\n", "line 1 is none of CVX"),
        ("cvx", "cvx.txt", "01|DTP|x||Active|False|soon\n", "say it with --version"),
        ("icd-10-cm", "x-tabular.xml", "<ICD10CM.tabular><version>1", "is not well-formed"),
        ("icd-10-cm", "other.xml", "<a/>", "there is no tabular list"),
        ("loinc", "Loinc.csv", "LOINC_NUM,COMPONENT\n1-1,x\n", "has no column LONG_COMMON_NAME"),
        ("rxnorm", "RXNCONSO.RRF", "100|ENG|\n", "line 1: 3 columns are too few"),
        ("rxnorm", "other.RRF", "", "there is no RXNCONSO.RRF"),
        ("snomed", "sct2_Concept_Snapshot_X.txt", f"{RF2}\n1\n", "row 2: 1 columns instead of 5"),
        ("snomed", "sct2_Concept_Snapshot_X.txt", f"{RF2}\n", "does not end with the date"),
    ],
)
def test_what_is_no_release_is_said_in_a_sentence(
    world: tuple[Fhir, Load], tmp_path: Path, kind: str, name: str, text: str, reason: str
) -> None:
    (tmp_path / name).write_text(text)
    done = world[1](kind, tmp_path)
    assert done.exit_code == 1
    assert reason in done.output


def test_a_version_can_be_said(world: tuple[Fhir, Load], tmp_path: Path) -> None:
    client, load = world
    path = tmp_path / "cvx.txt"
    path.write_text("05|measles|measles, made up||Active|False|\n")
    assert "|of-mine is current now: 1 concepts" in load("cvx", path, "--version", "of-mine").output
    assert named(looked_up(client, "05", SYSTEMS["cvx"]), "version") == ["of-mine"]


@pytest.mark.parametrize(
    ("url", "codes"),
    [
        ("http://loinc.org/vs", "1-1 2-9 3-7 LP10-1 LP11-9 LP1-0 LL5-5 LA7-2 LA6-4 LL6-3"),
        ("http://loinc.org/vs/LP10-1", "1-1 2-9 LP10-1"),
        ("http://loinc.org/vs/LL5-5", "LA7-2 LA6-4"),
        ("http://loinc.org/vs/LL5-5|2.10", "LA7-2 LA6-4"),
        ("http://loinc.org/vs/LL6-3", ""),
    ],
)
def test_loinc_has_value_sets_that_nobody_stored(fhir: Fhir, url: str, codes: str) -> None:
    answer = fhir.get("ValueSet/$expand", params={"url": url})
    assert answer.status_code == 200, answer.text
    assert [each["code"] for each in answer.json()["expansion"].get("contains", [])] == codes.split()


def test_a_value_set_of_a_code_that_is_not_there(fhir: Fhir) -> None:
    for code in ("LP99-9", "LL99-9"):
        answer = fhir.get("ValueSet/$expand", params={"url": f"http://loinc.org/vs/{code}"})
        assert answer.status_code == 400, answer.text
        assert f"'{code}' is not a code of code system" in answer.json()["issue"][0]["diagnostics"]
