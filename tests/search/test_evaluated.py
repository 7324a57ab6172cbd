"""Expressions of search parameters find what FHIRPath finds, whether they are paths or have to be evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.fhirpath import FhirPathError, compile_expression
from fhirserver.search import evaluation
from fhirserver.search.evaluation import Evaluated
from fhirserver.search.expressions import parse, routes
from fhirserver.search.index import Indexer, raw_function
from fhirserver.search.parameters import Parameter, Registry, r4_registry

BORN = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
Resource = dict[str, Any]

ADA: Resource = {
    "resourceType": "Patient",
    "id": "a",
    "active": True,
    "birthDate": "1990-01-01",
    "_birthDate": {"extension": [{"url": BORN, "valueDateTime": "1990-01-01T03:00:00Z"}]},
    "name": [
        {"use": "nickname", "given": ["Ada", "Bea"], "family": "Lovelace", "period": {"start": "2001"}},
        {"use": "official", "given": ["Cleo"]},
        {"family": "Stone", "_given": [{"extension": [{"url": "http://x", "valueString": "masked"}]}], "given": [None]},
    ],
    "contact": [{"gender": "male", "name": {"family": "Byron"}}],
    "managingOrganization": {"reference": "Organization/o"},
    "generalPractitioner": [{"reference": "Practitioner/p"}, {"reference": "http://x/fhir/Organization/q"}],
    "multipleBirthInteger": 2,
    "extension": [
        {"url": "http://x/dose", "valueQuantity": {"value": 5, "unit": "mg"}},
        {"url": "http://x/note", "valueString": "a note"},
    ],
}


def found(expression: str, resource: Resource) -> set[bytes]:
    """What the index function finds, as JSON."""
    parameter = Parameter("x", "string", "http://x", ("Patient",), expression)
    raw = raw_function(r4(), Registry(r4(), [parameter]), "Patient")(resource)
    return {json.encode(value) for _, value, _ in raw}


def evaluated(expression: str, resource: Resource) -> set[bytes]:
    try:
        values = compile_expression(expression)(resource)
    except FhirPathError:
        return set()
    return {json.encode(value) for value in values if value is not None}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("Patient.name.first().given", ["Ada", "Bea"]),
        ("Patient.name.last().family", ["Stone"]),
        ("Patient.name.given[0]", ["Ada"]),
        ("Patient.name[0].given[1]", ["Bea"]),
        ("(Patient.name.family | Patient.name.given)[0]", ["Lovelace"]),
        ("Patient.name.where(given = 'Cleo').use", ["official"]),
        ("Patient.name.where(use = 'nickname' and period.start > @2000).given", ["Ada", "Bea"]),
        ("Patient.name.where(use = 'usual' or family.startsWith('St')).family", ["Stone"]),
        ("Patient.name.where(given.count() > 1).family", ["Lovelace"]),
        ("iif(Patient.active, Patient.name.family.first(), Patient.name.text)", ["Lovelace"]),
        ("Patient.name.take(2).select(given.first() & ' ' & family)", ["Ada Lovelace", "Cleo "]),
        ("Patient.name.select(family.upper())", ["LOVELACE", "STONE"]),
        ("Patient.name.family.upper()", []),  # of several texts there is no upper()
        ("Patient.birthDate.extension('" + BORN + "').value", ["1990-01-01T03:00:00Z"]),
        ("Patient.birthDate.where(hasExtension('" + BORN + "'))", ["1990-01-01"]),
        ("Patient.name.given.extension.where(url = 'http://x').value", ["masked"]),
        ("Patient.extension('http://x/note').value.ofType(string)", ["a note"]),
        ("(Patient.extension('http://x/note').value as string).lower()", ["a note"]),
        ("Patient.generalPractitioner.where(resolve() is Organization and reference.exists())", [
            {"reference": "http://x/fhir/Organization/q"}
        ]),
        ("Patient.generalPractitioner.where(resolve().ofType(Practitioner).exists()).reference", ["Practitioner/p"]),
        ("Patient.name.exists()", [True]),
        ("Patient.deceased.exists().not()", [True]),
        ("Patient.name.given.count()", [4]),
        ("Patient.multipleBirth.ofType(integer) + 1", [3]),
        ("Patient.birthDate + 1 year", ["1991-01-01"]),
        ("Patient.birthDate.toString().substring(0, 4)", ["1990"]),
        ("Encounter.type.first() | Patient.name.first().family", ["Lovelace"]),
        ("%resource.name.first().family", ["Lovelace"]),
        ("name.first().family", ["Lovelace"]),
        ("Patient.name.single().family", []),
    ],
)  # fmt: skip
def test_what_expressions_find(expression: str, values: list[Any]) -> None:
    assert found(expression, ADA) == {json.encode(value) for value in values}
    if "Encounter" not in expression and "resolve()" not in expression:  # here both are told by the name alone
        assert evaluated(expression, ADA) == found(expression, ADA)


NAMES = ("use", "given", "family", "period.start", "given.first()", "given[0]", "family.lower()", "given.id")
PICKS = ("", ".first()", ".last()", "[0]", "[1]", ".tail()", ".skip(1)", ".take(2)", ".distinct()", ".single()")
CONDITIONS = (
    "use = 'official'", "use != 'official'", "given = 'Ada'", "given.exists()", "family.exists().not()",
    "period.start > '2000'", "given.count() > 1", "family.startsWith('L')", "$this.use in ('official' | 'usual')",
)  # fmt: skip


@st.composite
def unions(draw: st.DrawFn) -> list[str]:
    """The sides of one: each is evaluated by itself, so that an error ends it alone."""
    pick = st.sampled_from(PICKS)
    path = "Patient.name" + draw(pick)
    for condition in draw(st.lists(st.sampled_from(CONDITIONS), max_size=2)):
        path += f".where({condition})" + draw(pick)
    path += "." + draw(st.sampled_from(NAMES))
    other = "Patient.contact" + draw(pick) + ".name" + draw(pick) + ".family"
    both = f"({path} | {other}).distinct(){draw(pick)}"
    return draw(st.sampled_from([[path], [path, other], [both], [f"iif({path}.exists(), {path}, {other})"]]))


texts = st.sampled_from(["Ada", "Bea", "Lovelace", "Stone"])
names = st.fixed_dictionaries(
    {},
    optional={
        "use": st.sampled_from(["official", "usual", "old"]),
        "family": texts,
        "given": st.lists(texts, min_size=1, max_size=3),
        "period": st.just({"start": "2001-02"}),
    },
)
patients = st.fixed_dictionaries(
    {"resourceType": st.just("Patient")},
    optional={
        "name": st.lists(names, min_size=1, max_size=3),
        "contact": st.lists(st.fixed_dictionaries({"name": names}), min_size=1, max_size=2),
    },
)


@settings(max_examples=400, deadline=None)
@given(unions(), patients)
def test_an_expression_finds_what_fhirpath_finds(sides: list[str], patient: Resource) -> None:
    assert found(" | ".join(sides), patient) == {value for side in sides for value in evaluated(side, patient)}


def test_no_published_parameter_has_to_be_evaluated() -> None:
    for type_ in r4().resource_types:
        for parameter in r4_registry()[type_].values():
            for route in routes(r4(), parse(parameter.expression), type_) if parameter.expression else ():
                assert not any(isinstance(step, Evaluated) for step in route.steps), parameter


def test_the_system_of_a_code_is_known_however_it_is_reached() -> None:
    def tokens(expression: str) -> Any:
        parameter = Parameter("x", "token", "http://x", ("Patient",), expression)
        return Indexer(r4(), Registry(r4(), [parameter]), "").entry(ADA).search["x"]

    assert tokens("Patient.contact.first().gender") == tokens("Patient.contact.gender")
    assert "http://hl7.org/fhir/administrative-gender|male" in tokens("Patient.contact.first().gender")


@pytest.mark.parametrize(
    "expression",
    [
        "Bundle.entry.where(%resource.entry.where(fullUrl = 'x').exists()).fullUrl",
        "Bundle.entry.select(%resource.entry.fullUrl | fullUrl).first()",
        "Bundle.descendants().where(%resource.descendants().count() > 1).ofType(uri)",
        "Bundle.entry.aggregate($total | fullUrl, {}).count()",
        "Bundle.entry.select(%resource.entry.fullUrl.join(',').matches('x')).first()",
    ],
)
def test_an_expression_that_would_not_end_finds_nothing(expression: str, caplog: pytest.LogCaptureFixture) -> None:
    """The size of a Bundle squared is more than a server has time for; that it was given up is said once."""
    bundle = {"resourceType": "Bundle", "id": "b", "entry": [{"fullUrl": f"urn:{i}"} for i in range(20_000)]}
    (step,) = {
        s for route in routes(r4(), parse(expression), "Bundle") for s in route.steps if isinstance(s, Evaluated)
    }
    evaluation.evaluator.cache_clear()
    for _ in range(2):
        assert evaluation.evaluator(step)(bundle, bundle) == []
    assert caplog.text.count("too many steps") == 1
    assert "Bundle/b" in caplog.text
