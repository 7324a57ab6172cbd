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
        ("Patient.name.first()", "the function first(), which search parameters do not use, at position 14"),
        ("Patient.name where", "something that search parameters do not use at position 14"),
        ("Patient.", "a name is missing at position 9"),
        ("Patient.name[x]", "an index is missing at position 14"),
        ("Patient.name.where(use=1)", "a text in quotes is missing at position 24"),
        ("Patient.name.where(use='home'", "')' is missing at position 30"),
        ("Patient.name + 1", "an unexpected character at position 13"),
        ("(Patient.name", "')' is missing at position 14"),
        (
            "Patient.active.exists() and Patient.gender != false",
            "X.exists() and X != false` at position 29",
        ),
        ("Patient" + ".contact" * 20, "a path of more than 12 steps"),
        ("Patient.nonsense", "the search expression path Patient.nonsense leads nowhere from Patient"),
        ("Patient.name.where(nonsense='x')", "leads nowhere from Patient"),
        ("(" * 200_000, "more than 20 nested parentheses"),
        ("Patiant.name", "leads nowhere from Patient"),
        ("Encounter.status", "says nothing about Patient"),
        ("Patient.gender.where(resolve() is Patient)", "leads nowhere from Patient"),
        ("", "a name is missing at position 1"),
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
