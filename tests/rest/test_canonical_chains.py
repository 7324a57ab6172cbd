"""Chains and `_has` through canonical URLs; and chains of conditions over what the same transaction deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

STRICT = {"Prefer": "handling=strict"}
PHQ = "http://example.org/Questionnaire/phq"
GAD = "http://example.org/Questionnaire/gad"


def questionnaire(id_: str, url: str, version: str | None, title: str) -> dict[str, Any]:
    found = {"resourceType": "Questionnaire", "id": id_, "url": url, "title": title, "status": "active"}
    return found | ({"version": version} if version else {})


def response(id_: str, canonical: str, status: str = "completed") -> dict[str, Any]:
    return {"resourceType": "QuestionnaireResponse", "id": id_, "questionnaire": canonical, "status": status}


def plan(id_: str, *canonicals: str) -> dict[str, Any]:
    found = {"resourceType": "CarePlan", "id": id_, "status": "active", "intent": "plan"}
    return found | {"subject": {"reference": "Patient/a"}, "instantiatesCanonical": list(canonicals)}


def definition(id_: str, version: str, title: str) -> dict[str, Any]:
    url = f"http://example.org/PlanDefinition/{id_[0]}"
    return {
        "resourceType": "PlanDefinition",
        "id": id_,
        "url": url,
        "version": version,
        "title": title,
        "status": "active",
    }


A, B = "http://example.org/PlanDefinition/a", "http://example.org/PlanDefinition/b"
RESOURCES = [
    questionnaire("phq1", PHQ, "1", "Old mood"),
    questionnaire("phq2", PHQ, "2", "New mood"),
    questionnaire("gad", GAD, None, "Worry"),
    response("any", PHQ),
    response("first", f"{PHQ}|1"),
    response("second", f"{PHQ}|2", "amended"),
    response("third", f"{PHQ}|3"),
    response("worry", GAD, "amended"),
    response("literal", "Questionnaire/gad"),
    response("nothing", "http://example.org/none"),
    definition("a1", "1", "Walk"),
    definition("a2", "2", "Run"),
    definition("b1", "1", "Swim"),
    plan("walks", f"{A}|1"),
    plan("runs", f"{A}|2"),
    plan("moves", A),
    plan("both", f"{A}|1", B),
    plan("many", f"{A}|1", f"{A}|2"),
    {"resourceType": "Patient", "id": "a"},
]


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in RESOURCES:
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201, resource
    return fhir


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("QuestionnaireResponse?questionnaire.title=old", "any first"),
        ("QuestionnaireResponse?questionnaire.title=new", "any second"),
        ("QuestionnaireResponse?questionnaire.title:contains=mood", "any first second"),
        ("QuestionnaireResponse?questionnaire.title=worry", "literal worry"),
        ("QuestionnaireResponse?questionnaire:Questionnaire.version=2", "any second"),
        ("QuestionnaireResponse?questionnaire.title=none", ""),
        ("QuestionnaireResponse?questionnaire.title=old&status=completed", "any first"),
        ("QuestionnaireResponse?_filter=not (questionnaire.title sw \"old\")", "literal nothing second third worry"),
        ("CarePlan?instantiates-canonical.title=walk", "both many moves walks"),
        ("CarePlan?instantiates-canonical:PlanDefinition.title=run", "many moves runs"),
        ("CarePlan?instantiates-canonical.title=swim", "both"),
        ("Patient?_has:CarePlan:patient:instantiates-canonical.title=swim", "a"),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=completed", "gad phq1 phq2"),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=amended", "gad phq2"),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=first", "phq1"),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=any", "phq1 phq2"),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=literal", "gad"),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=third,nothing", ""),
        ("PlanDefinition?_has:CarePlan:instantiates-canonical:_id=both", "a1 b1"),
        ("PlanDefinition?_has:CarePlan:instantiates-canonical:_id=many", "a1 a2"),
    ],
)  # fmt: skip
def test_a_chain_leads_through_a_url_and_the_version_that_it_names(world: Fhir, search: str, found: str) -> None:
    assert " ".join(sorted(world.ids(search, headers=STRICT))) == found
    assert world.bundle(search + "&_summary=count")["total"] == len(found.split())


def test_pages_of_it(world: Fhir) -> None:
    first = world.bundle("QuestionnaireResponse?questionnaire.title:contains=mood&_count=2&_sort=-_id")
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    assert [e["resource"]["id"] for e in first["entry"]] + world.ids(following) == ["second", "first", "any"]


def test_too_many_definitions_are_too_costly(world: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.interactions.chains.DEFINITIONS", 1)
    for search in ("QuestionnaireResponse?questionnaire.title:contains=mood",
                   "Questionnaire?_has:QuestionnaireResponse:questionnaire:status=completed"):  # fmt: skip
        refused = world.get(search)
        assert refused.status_code == 422
        assert "(1)" in refused.json()["issue"][0]["diagnostics"]


def test_many_canonicals_of_one_resource_are_too_costly(world: Fhir) -> None:
    world.put("CarePlan/broad", plan("broad", *(f"http://example.org/p/{number}|{number}" for number in range(1001))))
    for search, most in (
        ("PlanDefinition?_has:CarePlan:instantiates-canonical:_id=broad", "can hold (1,000)"),
        (
            "CarePlan?_id=broad&_include=CarePlan:instantiates-canonical:PlanDefinition",
            "more than 1,000 PlanDefinition resources",
        ),
    ):
        refused = world.get(search)
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (422, "too-costly")
        assert most in refused.json()["issue"][0]["diagnostics"]
    world.put("CarePlan/broad", plan("broad", A, *(f"http://example.org/p/{number}|{number}" for number in range(999))))
    assert sorted(world.ids("PlanDefinition?_has:CarePlan:instantiates-canonical:_id=broad")) == ["a1", "a2"]
    entries = world.bundle("CarePlan?_id=broad&_include=CarePlan:instantiates-canonical:PlanDefinition")["entry"]
    assert [each["resource"]["id"] for each in entries] == ["broad", "a1", "a2"]
    world.delete("CarePlan/broad")


# conditions in a transaction


def entry(method: str, url: str, resource: Any = None, **request: str) -> dict[str, Any]:
    found: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    return found | ({"resource": resource} if resource else {})


def sent(fhir: Fhir, *entries: dict[str, Any]) -> Any:
    return fhir.post("", {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)})


@pytest.fixture
def ward(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in (
        {"resourceType": "Organization", "id": "org", "name": "North"},
        {"resourceType": "Patient", "id": "ada", "managingOrganization": {"reference": "Organization/org"}},
    ):
        fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
    return fhir


def test_a_condition_does_not_lead_over_what_the_transaction_deletes(ward: Fhir) -> None:
    ada = {"resourceType": "Patient", "gender": "female"}
    condition = {"ifNoneExist": "organization.name=north"}
    assert ward.post("Patient", ada, headers={"If-None-Exist": "organization.name=north"}).status_code == 200
    answer = sent(ward, entry("POST", "Patient", ada, **condition), entry("DELETE", "Organization/org"))
    statuses = [each["response"]["status"][:3] for each in answer.json()["entry"]]
    assert statuses == ["201", "204"]


def test_nor_by_has_nor_over_what_a_condition_deletes(ward: Fhir) -> None:
    reverse = {"ifNoneExist": "_has:Patient:organization:_id=ada"}
    made = {"resourceType": "Organization", "name": "South"}
    answer = sent(
        ward, entry("POST", "Organization", made, **reverse), entry("DELETE", "Patient?organization.name=north")
    )
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == ["201", "204"]


def test_a_conditional_update_over_it_creates_and_one_of_it_is_refused(ward: Fhir) -> None:
    ada = {"resourceType": "Patient", "gender": "female"}
    update = entry("PUT", "Patient?organization.name=north", ada)
    answer = sent(ward, update, entry("DELETE", "Organization/org"))
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == ["201", "204"]
    twice = sent(ward, entry("PUT", "Patient?_id=ada", ada), entry("DELETE", "Patient/ada"))
    assert twice.status_code == 400


def test_a_conditional_reference_does_not_lead_over_it(ward: Fhir) -> None:
    pulse = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    pulse |= {"subject": {"reference": "Patient?organization.name=north"}}
    assert sent(ward, entry("POST", "Observation", pulse)).status_code == 200
    refused = sent(ward, entry("POST", "Observation", pulse), entry("DELETE", "Organization/org"))
    assert refused.status_code == 412
