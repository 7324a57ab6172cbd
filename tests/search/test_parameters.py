"""The registry of search parameters: https://hl7.org/fhir/R4/searchparameter-registry.html"""

import pytest

from fhirserver.fhir.definitions import r4, search_table
from fhirserver.fhir.outcome import Outcome
from fhirserver.search.parameters import LEFT_OUT, Parameter, check, r4_registry

REGISTRY = r4_registry()


def test_every_published_parameter_is_in_the_registry_or_left_out_with_a_reason() -> None:
    published = {row["url"] for row in search_table()["parameters"]}
    assert {parameter.url for parameter in REGISTRY.parameters} | set(LEFT_OUT) == published
    assert len(REGISTRY.parameters) == 1383


def test_every_expression_finds_something_on_every_type_it_is_for() -> None:
    for parameter in r4_registry(full_text=False).parameters:
        check(r4(), parameter)


def test_every_type_has_the_parameters_of_all_resources() -> None:
    for type_ in r4().resource_types:
        assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} <= set(REGISTRY[type_])
        assert not {"_query", "_filter", "_list"} & set(REGISTRY[type_])
        assert "_content" in REGISTRY[type_]
        assert ("_text" in REGISTRY[type_]) == r4().is_a(type_, "DomainResource")
        assert not {"_text", "_content"} & set(r4_registry(full_text=False)[type_])


def test_a_composite_carries_the_parameters_of_its_slots() -> None:
    composite = REGISTRY["Observation"]["code-value-quantity"]
    assert [(slot.code, slot.type, path) for slot, path in composite.components] == [
        ("code", "token", "code"),
        ("value-quantity", "quantity", "value.as(Quantity)"),
    ]


@pytest.mark.parametrize(
    ("type_", "code", "targets"),
    [
        ("Observation", "patient", {"Patient"}),
        ("Observation", "subject", {"Patient", "Group", "Device", "Location"}),
        ("Immunization", "patient", {"Patient"}),
        ("ActivityDefinition", "composed-of", {"Library", "Questionnaire", "StructureDefinition"}),
        ("RequestGroup", "instantiates-canonical", set(r4().resource_types)),
        ("DiagnosticReport", "assessed-condition", set(r4().resource_types)),
    ],
)
def test_a_reference_parameter_knows_where_it_may_lead(type_: str, code: str, targets: set[str]) -> None:
    assert targets <= set(REGISTRY.reference_targets(type_, code))
    if code in ("patient", "subject"):
        assert targets == set(REGISTRY.reference_targets(type_, code))


NICKNAME = Parameter(
    "nickname", "string", "http://example.org/nickname", ("Patient",), "Patient.name.where(use='nickname')"
)


def test_a_registry_with_one_more_parameter_leaves_the_first_alone() -> None:
    more = REGISTRY.with_(NICKNAME)
    assert more["Patient"]["nickname"] is NICKNAME
    assert "nickname" not in REGISTRY["Patient"]
    assert more.with_(NICKNAME).parameters == more.parameters


def test_a_parameter_with_any_target_leads_everywhere() -> None:
    anything = Parameter("x", "reference", "http://example.org/x", ("Basic",), "Basic.subject", ("Any",))
    assert set(REGISTRY.with_(anything).reference_targets("Basic", "x")) == r4().resource_types


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Patient.name.frist()", "frist() is no function of FHIRPath at position 14"),
        ("Patient.name.first(1)", "first() takes 0 arguments, not 1 at position 14"),
        ("Patient.name where", "'where' stands where the end of the expression is expected at position 14"),
        ("Patient.", "the expression ends where a name is expected at position 9"),
        ("Patient.name[x]", "Patient has no element x at position 14"),
        ("Patient.name.where(use='home'", "the expression ends where ')' is expected at position 30"),
        ("(Patient.name", "the expression ends where ')' is expected at position 14"),
        ("Patient.name.given ; 1", "'; 1' is not FHIRPath at position 20"),
        ("Patient" + ".contact" * 20, "Patient.contact has no element contact at position 17"),
        ("Patient.nonsense", "Patient has no element nonsense at position 9"),
        ("Patient.name.where(nonsense='x')", "HumanName has no element nonsense at position 20"),
        ("Patient.name.first().where(period.strat > @2020)", "Period has no element strat at position 35"),
        ("(" * 101 + "Patient" + ")" * 101, "nested more than 100 levels deep at position 101"),
        ("(" * 200_000, "at most 20000 characters"),
        ("Patiant.name", "Patient has no element Patiant at position 1"),
        ("Encounter.status", "says nothing about Patient"),
        ("Encounter.type.first()", "says nothing about Patient"),
        ("Patient.gender.where(resolve() is Patient)", "resolve() is asked of references, not of code at position 22"),
        (
            "Patient.link.other.resolve().name",
            "of which only the type may be asked: `resolve() is Patient` at position 20",
        ),
        ("Patient.link.other.resolve()", "of which only the type may be asked"),
        ("Patient.link.other.where(resolve().exists())", "of which only the type may be asked"),
        (
            "Patient.birthDate > today()",
            "today() changes with time, and a resource is indexed when it is written at position 21",
        ),
        (
            "Patient.maritalStatus.memberOf('http://x')",
            "memberOf() asks what lies outside of the resource at position 23",
        ),
        ("Patient.name.where(use = %mine)", "%mine is not defined in search expressions at position 26"),
        ("", "the expression ends where a value or a name is expected at position 1"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_with_its_place(expression: str, message: str) -> None:
    with pytest.raises(Outcome) as refusal:
        REGISTRY.with_(NICKNAME._replace(expression=expression))
    assert refusal.value.status == 400
    assert message in str(refusal.value)


@pytest.mark.parametrize("code", ["", "a.b", "$where", "a b", "search.name", "x" * 65, "a:exact"])
def test_a_code_that_could_not_be_a_field_name_is_refused(code: str) -> None:
    with pytest.raises(Outcome):
        REGISTRY.with_(NICKNAME._replace(code=code))
