"""Scopes: what is one, what it permits, and that nothing granted exceeds what was asked or allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_auth.scopes import V1, Scope, described, granted, parse

LETTERS = st.sets(st.sampled_from("cruds"), min_size=1).map(lambda some: "".join(x for x in "cruds" if x in some))
CRITERIA = st.sets(st.sampled_from(["category=a|b", "category=x", "code=1", "status=final,amended", "_tag=t"]))
TYPES = ["Observation", "Condition", "DiagnosticReport"]


@st.composite
def texts(draw: st.DrawFn) -> str:
    type_ = draw(st.sampled_from(["*", *TYPES]))
    permissions = draw(LETTERS | st.sampled_from(sorted(V1)))
    criteria = draw(CRITERIA) if permissions not in V1 else set()
    if type_ == "*":
        criteria &= {"_tag=t"}
    if type_ == "Condition":
        criteria -= {"status=final,amended"}
    shown = f"?{'&'.join(sorted(criteria))}" if criteria else ""
    return f"{draw(st.sampled_from(['patient', 'user', 'system']))}/{type_}.{permissions}{shown}"


SCOPES = texts().map(parse)
LEVELS = st.sampled_from(["patient", "user", "system"])


def permits(scope: Scope | None, level: str, type_: str, permission: str, facts: set[str]) -> bool:
    """Of a resource of which these criteria are true."""
    return scope is not None and scope.level == level and scope.permits(type_, permission) and scope.criteria <= facts


@given(texts())
def test_a_scope_is_written_as_it_is_read(text: str) -> None:
    scope = parse(text)
    assert scope is not None, text
    assert parse(str(scope)) == scope


@given(SCOPES, SCOPES, LEVELS, st.sampled_from(TYPES), st.sampled_from("cruds"), CRITERIA)
def test_what_a_contained_scope_permits_the_other_permits(
    one: Scope, other: Scope, level: str, type_: str, permission: str, facts: set[str]
) -> None:
    if one.contains(other) and permits(other, level, type_, permission, facts):
        assert permits(one, level, type_, permission, facts)


@given(SCOPES, SCOPES, LEVELS, st.sampled_from(TYPES), st.sampled_from("cruds"), CRITERIA)
def test_what_is_within_two_scopes_is_what_both_permit(
    one: Scope, other: Scope, level: str, type_: str, permission: str, facts: set[str]
) -> None:
    both = one.within(other)
    asked = level, type_, permission, facts
    assert permits(both, *asked) == (permits(one, *asked) and permits(other, *asked))
    assert both is None or (one.contains(both) and other.contains(both))


@given(st.lists(texts(), max_size=4), st.lists(SCOPES, max_size=4))
def test_nothing_granted_exceeds_what_was_asked_or_what_is_allowed(asked: list[str], allowed: list[Scope]) -> None:
    wanted = [parse(each) for each in asked]
    for text in granted(" ".join(asked), allowed):
        scope = parse(text)
        assert scope is not None, text
        assert any(each is not None and each.contains(scope) for each in wanted)
        assert any(each.contains(scope) for each in allowed)


@given(st.lists(texts(), max_size=4), st.lists(SCOPES, max_size=4), st.sampled_from(TYPES), st.sampled_from("cruds"))
def test_all_that_was_asked_and_is_allowed_is_granted(
    asked: list[str], allowed: list[Scope], type_: str, permission: str
) -> None:
    facts = {"category=a|b", "category=x", "code=1", "status=final,amended", "_tag=t"}
    for level in ("patient", "user", "system"):
        one = level, type_, permission, facts
        expected = any(permits(parse(a), *one) for a in asked) and any(permits(b, *one) for b in allowed)
        assert any(permits(parse(text), *one) for text in granted(" ".join(asked), allowed)) == expected


@given(st.text(max_size=80) | st.from_regex(r"(patient|user)/[A-Z*][a-z]*\.[a-z*]+(\?.*)?"))
def test_anything_can_be_parsed(text: str) -> None:
    scope = parse(text)
    assert scope is None or parse(str(scope)) == scope


@pytest.mark.parametrize(
    "text",
    [
        "openid",
        "launch/patient",
        "system:Patient.read",
        "system/Patient",
        "patient/Observation.",
        "patient/Observation.sr",
        "patient/Observation.dus",
        "patient/Observation.rr",
        "patient/observation.rs",
        "patient/Foo.rs",
        "PATIENT/Observation.rs",
        "patient//Observation.rs",
        "patient/Observation.rs\n",
        "patient/Observation.rs?",
        "patient/Observation.rs?category",
        "patient/Observation.rs?category=",
        "patient/Observation.rs?category=%20",
        "patient/Observation.rs?category=%ff",
        "patient/Observation.rs?category=%00",
        "patient/Observation.rs?=x",
        "patient/Observation.rs?nonsense=x",
        "patient/Observation.rs?family=x",
        "patient/Observation.rs?category=x&",
        "patient/Observation.rs?patient.birthdate=1990",
        "patient/Observation.rs?code:in=http://example.org",
        "patient/Observation.rs?category:not=x",
        "patient/Observation.rs?_filter=x",
        "patient/Observation.rs?_has:Group:member:_id=1",
        "patient/Observation.rs?_include=Observation:subject",
        "patient/*.rs?category=x",
        "patient/Observation.read?category=x",
        "patient/Observation.rs ?category=x",
        "patient/Obsеrvation.rs",
    ],
)
def test_what_cannot_be_read_is_no_scope(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("asked", "allowed", "found"),
    [
        ("patient/*.read", "patient/*.rs", "patient/*.read"),
        ("patient/*.read openid", "patient/Observation.rs", "patient/Observation.rs"),
        ("patient/*.*", "patient/Condition.r patient/Observation.cud", "patient/Condition.r patient/Observation.cud"),
        ("user/Patient.write", "user/Patient.read", ""),
        ("system/Patient.write", "system:Patient.read", ""),
        ("system/*.rs", "system/Patient.rs", "system/Patient.rs"),
        ("user/Patient.rs", "patient/Patient.rs", ""),
        ("patient/Observation.rs?category=x", "patient/*.rs", "patient/Observation.rs?category=x"),
        ("patient/Observation.rs", "patient/Observation.rs?category=x", "patient/Observation.rs?category=x"),
        (
            "patient/Observation.rs?category=a%7Cb",
            "patient/Observation.rs?category=a|b",
            "patient/Observation.rs?category=a%7Cb",
        ),
    ],
)
def test_scopes_are_granted_as_far_as_they_are_allowed(asked: str, allowed: str, found: str) -> None:
    assert " ".join(granted(asked, [each for text in allowed.split() if (each := parse(text))])) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient/*.rs", "read everything"),
        ("patient/Observation.cruds", "read, add, change and delete measurements and test results"),
        ("user/ClaimResponse.r", "read claim response entries"),
        (
            "patient/Observation.s?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory,exam",
            "read measurements and test results (only: category is laboratory or exam)",
        ),
        *(
            (f"patient/Observation.rs?{criteria}", f"read measurements and test results (only: {said})")
            for criteria, said in (
                ("date=ge2024&date=lt2025-06", "date is 2024 or later; date is before 2025-06"),
                ("date=2024", "date is 2024"),
                ("date=nonsense", "date is nonsense"),
                ("value-quantity=gt5.4|http://unitsofmeasure.org|mg", "value-quantity is more than 5.4 mg"),
                ("value-quantity=le7,8||mg", "value-quantity is 7 or less or 8 mg"),
                ("code=http://loinc.org|", "code is http://loinc.org|"),
                ("_lastUpdated=gt2020-01-01", "last change is after 2020-01-01"),
            )
        ),
        ("patient/*.rs?_tag=urn:t|a", "read everything (only: tag is a)"),
        ("patient/RiskAssessment.r?probability=ge1", "read risk assessment entries (only: probability is 1 or more)"),
    ],
)
def test_scopes_are_said_in_plain_words(text: str, said: str) -> None:
    scope = parse(text)
    assert scope is not None
    assert described(scope) == said
