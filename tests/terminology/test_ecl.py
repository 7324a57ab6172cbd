"""The expression constraint language: how it is read, and what it finds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import rf2
from asking import SNOMED, Load, named
from hypothesis import given
from hypothesis import strategies as st
from loading import loader

from fhirserver.fhir.outcome import Outcome
from terminology import ecl
from terminology.ecl import EVERY, Absent, Attribute, Compound, Dotted, Focus, Group, Literal, Refined

if TYPE_CHECKING:
    from conftest import Fhir, Serve

A, B, C = (Focus("", False, code) for code in "123")


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("1", A),
        (" 1 |a (b) AND c| ", A),
        ("<< 1", Focus("<<", False, "1")),
        (">>!1", Focus(">>!", False, "1")),
        ("^1", Focus("", True, "1")),
        ("<^*", Focus("<", True, None)),
        ("(1)", Focus("", False, A)),
        ("1 OR 2 or 3", Compound("OR", (A, B, C))),
        ("1, 2 AND 3", Compound("AND", (A, B, C))),
        ("1 MINUS 2", Compound("MINUS", (A, B))),
        ("1 /* both */ and 2", Compound("AND", (A, B))),
        ("(1 OR 2) MINUS 3", Compound("MINUS", (Focus("", False, Compound("OR", (A, B))), C))),
        ("1: 2 |site| = 3", Refined(A, Attribute(B, "=", C))),
        ("1: 2 != <3", Refined(A, Attribute(B, "!=", Focus("<", False, "3")))),
        ("*: 2 = *", Refined(Focus("", False, None), Attribute(B, "=", Focus("", False, None)))),
        ("1: 2 >= #-5.5", Refined(A, Attribute(B, ">=", Literal(True, "-5.5")))),
        ('1: 2 = "a \\" (b"', Refined(A, Attribute(B, "=", Literal(False, 'a " (b')))),
        ("1: 2=3, 2=1", Refined(A, Compound("AND", (Attribute(B, "=", C), Attribute(B, "=", A))))),
        (
            "1: 2=3 AND (2=1 OR 3=1)",
            Refined(
                A,
                Compound(
                    "AND",
                    (Attribute(B, "=", C), Compound("OR", (Attribute(B, "=", A), Attribute(C, "=", A)))),
                ),
            ),
        ),
        (
            "1: (2 OR 3) = 1",
            Refined(A, Attribute(Focus("", False, Compound("OR", (B, C))), "=", A)),
        ),
        ("1: {2=3}", Refined(A, Group(Attribute(B, "=", C)))),
        ("1: {2=3, 3=1}", Refined(A, Group(Compound("AND", (Attribute(B, "=", C), Attribute(C, "=", A)))))),
        ("1: [0..0] 2=*", Refined(A, Absent(Attribute(B, "=", EVERY)))),
        ("1: [1..*] {[1..*] 2=3}", Refined(A, Group(Attribute(B, "=", C)))),
        ("1: [0..*] 2=3", Refined(A, EVERY)),
        ("1: R 2 = 3", Refined(A, Attribute(B, "=", C, True))),
        ("1 . 2 . 3", Dotted(Dotted(A, B), C)),
        ("1 . 2 OR 3", Compound("OR", (Dotted(A, B), C))),
        ("1: 2 = (1: 2 = 3)", Refined(A, Attribute(B, "=", Focus("", False, Refined(A, Attribute(B, "=", C)))))),
    ],
)
def test_it_is_read_into_values(text: str, expression: ecl.Expression) -> None:
    assert ecl.parse(text) == expression


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a concept, \\*, or \\( is expected, at its end"),
        ("<< heart", "a concept.* at character 4, 'heart'"),
        ("1 OR 2 AND 3", "OR and AND need parentheses, at character 8"),
        ("1 MINUS 2 MINUS 3", "MINUS and MINUS need parentheses"),
        ("(1", "\\) is expected, at its end"),
        ("1 2", "AND, OR, MINUS, a refinement or the end is expected, at character 3"),
        ('1 {{ term = "x" }}', "filters in braces"),
        ("1: [0..1] 2 = 3", "counts other than .* at character 4"),
        ("1: [1] 2 = 3", "counts other than"),
        ("[0..0] 1", "counts .* in this place"),
        ("1: {2 = 3", "} is expected"),
        ("1: R 2 != 3", "reversed, an attribute is = an expression"),
        ("1: R 2 = #3", "reversed, an attribute is = an expression"),
        ("1 .", "a concept"),
        ("1: 2", "= is expected"),
        ("1: 2 < 3", "a number is expected"),
        ('1: 2 < "x"', "a text is not compared by <"),
        ("1 |heart", "this cannot be read, at character 3"),
        ("(" * 40 + "1" + ")" * 40, "more than 32 parentheses deep"),
        ("1: " + "(" * 40 + "2=3" + ")" * 40, "more than 32 parentheses deep"),
        ("1 OR " * 3000 + "1", "at most 10,000 characters"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, reason: str) -> None:
    with pytest.raises(Outcome, match=reason) as refusal:
        ecl.parse(text)
    assert refusal.value.status == 400


@given(st.text(alphabet='12<>^*()|:=,!#"{}. ANDORMIUS/', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Outcome):
        ecl.parse(text)


# what it finds


@pytest.fixture(scope="module")
def fhir(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Fhir:
    client: Fhir
    load: Load
    client, load = loader(serve())
    done = load("snomed", rf2.release(tmp_path_factory.mktemp("rf2")))
    assert done.exit_code == 0, done.output
    return client


def expanded(fhir: Fhir, url: str) -> list[str]:
    answer = fhir.get("ValueSet/$expand", params={"url": url})
    assert answer.status_code == 200, answer.text
    return [each["code"] for each in answer.json()["expansion"].get("contains", [])]


EVERY = " ".join(rf2.CONCEPTS)


@pytest.mark.parametrize(
    ("constraint", "codes"),
    [
        ("50", "50"),
        ("*", EVERY),
        ("< 20 |Disorder|", "30 40 50"),
        ("<<20", "20 30 40 50"),
        ("<! 20", "30 40"),
        ("<<! 20", "20 30 40"),
        ("> 50", "10 20 30 40"),
        (">> 50", "10 20 30 40 50"),
        (">! 50", "30 40"),
        (">>! 50", "30 40 50"),
        ("< (20 OR 30)", "30 40 50"),
        ("< (30 OR 40)", "50"),
        (">! (50 OR 72)", "30 40 71"),
        ("< *", " ".join(code for code, said in rf2.CONCEPTS.items() if said[2])),
        ("<< *", EVERY),
        ("^ 90", "30 50"),
        ("^ *", "30 50"),
        ("^ (90 OR 80)", "30 50"),
        ("< ^ 90", "50"),
        (">> ^ 90", "10 20 30 40 50"),
        ("<< 20 AND ^ 90", "30 50"),
        ("30 OR 71", "30 71"),
        ("<< 20 MINUS << 40", "20 30"),
        ("<< 20 MINUS (^ 90 OR 20)", "40"),
        ("<< 20: 80 = 71", "30"),
        ("<< 20: 80 = << 71", "30 50"),
        ("<< 20: 80 = < 71", "50"),
        ("* : 80 != 71", "50"),
        ("* : 80 != << 70", ""),
        ("* : 80 = *", "30 50"),
        ("* : 80 != *", ""),
        ("* : * = 72", "50"),
        ("* : << 80 = 72", "50"),
        ("* : 20 = 72", ""),
        ("* : 20 = *", ""),
        ("* : 20 != 72", ""),
        ("* : 20 > #1", ""),
        ("* : 80 = 71 OR 80 = 72", "30 50"),
        ("* : 80 = 71, 80 = 72", ""),
        ("* : 80 = (72 MINUS 71)", "50"),
        ("* : 81 = #500", "95"),
        ("* : 81 = #500.0", "95"),
        ("* : 81 >= #500, 81 < #500.5", "95"),
        ("* : 81 > #500", ""),
        ("* : 81 != #5", "95"),
        ('* : 81 = "500"', "95"),
        ('* : 81 != "500"', ""),
        ("* : 80 > #5", "30 50"),
        ("* : {80 = 72}", "50"),
        ("* : {80 = 72, 82 = 71}", "50"),
        ("* : 80 = 72, 82 = 72", "50"),
        ("* : {80 = 72, 82 = 72}", ""),
        ("* : {80 = 72 OR 82 = 72}", "50"),
        ("* : {80 = 72, 82 != 72}", "50"),
        ("* : {* = 72, * = 71}", "50"),
        ("* : [0..0] {80 = 72, 82 = 71}, 80 = *", "30"),
        ("<< 20 : [0..0] 80 = *", "20 40"),
        ("<< 20 : [0..*] 80 = 71", "20 30 40 50"),
        ("* : R 80 = << 20", "71 72"),
        ("< 71 : R 80 = << 20", "72"),
        ("<< 20 . 80", "71 72"),
        ("30 . 20", ""),
        ("40 . 80", ""),
        ("(<< 20 . 80) MINUS 71", "72"),
    ],
)
def test_it_finds_concepts(fhir: Fhir, constraint: str, codes: str) -> None:
    assert expanded(fhir, f"{SNOMED}?fhir_vs=ecl/{constraint}") == codes.split()


def test_it_may_be_percent_encoded_and_has_a_version(fhir: Fhir) -> None:
    assert expanded(fhir, f"{SNOMED}?fhir_vs=ecl/{quote('<< 20 |Disorder|')}") == ["20", "30", "40", "50"]
    version = f"{SNOMED}/{rf2.EDITION}/version/{rf2.DATE}"
    assert expanded(fhir, f"{version}?fhir_vs=isa/30") == ["30", "50"]
    assert expanded(fhir, f"{SNOMED}/{rf2.EDITION}?fhir_vs=refset/90") == ["30", "50"]
    assert expanded(fhir, f"{SNOMED}?fhir_vs") == EVERY.split()
    missing = fhir.get("ValueSet/$expand", params={"url": f"{SNOMED}/{rf2.EDITION}/version/20250101?fhir_vs=isa/30"})
    assert missing.status_code == 400
    assert "which is not here" in missing.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ("=ecl/< 51", 400, "'51' is not a code of code system"),
        ("=ecl/> *", 400, "of every concept is not known"),
        ("=ecl/< 20 OR", 400, "at its end"),
        ("=isa/51", 400, "'51' is not a code"),
        ("=refset/51", 400, "'51' is not a code"),
        ("=refset", 400, "900000000000455006"),
        ("=ecl/*: {R 80 = 71, 80 = 71}", 400, "a reversed attribute has no group"),
        ("=ecl/*: {[0..0] 80 = 71, 80 = 72}", 400, "in a group are attributes"),
        ("=colour/red", 404, "is not known here"),
        ("=ecl/", 404, "is not known here"),
    ],
)
def test_what_it_cannot_find_is_said(fhir: Fhir, what: str, status: int, reason: str) -> None:
    answer = fhir.get("ValueSet/$expand", params={"url": f"{SNOMED}?fhir_vs{what}"})
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(("code", "result"), [("50", True), ("40", False), ("51", False)])
def test_a_code_is_validated_without_an_expansion(fhir: Fhir, code: str, result: bool) -> None:
    asked = {"url": f"{SNOMED}?fhir_vs=ecl/< 20: 80 = << 71", "system": SNOMED, "code": code}
    assert named(fhir.get("ValueSet/$validate-code", params=asked).json(), "result") == [result]


def test_a_search_takes_an_implicit_value_set(fhir: Fhir) -> None:
    status = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
    for id_, code in (("a", "50"), ("b", "40")):
        coded = {"clinicalStatus": status, "code": {"coding": [{"system": SNOMED, "code": code}]}}
        condition = {"resourceType": "Condition", "id": id_, "subject": {"reference": "Patient/1"}} | coded
        assert fhir.put(f"Condition/{id_}", condition).status_code == 201
    found = fhir.get("Condition", params={"code:in": f"{SNOMED}?fhir_vs=ecl/^ 90"}).json()
    assert [each["resource"]["id"] for each in found["entry"]] == ["a"]
