"""`_filter` over HTTP. https://hl7.org/fhir/R4/search_filter.html"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def ref(reference: str) -> dict[str, str]:
    return {"reference": reference}


def patient(id_: str, family: str, *given: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "name": [{"family": family, "given": list(given)}], **more}


def observation(id_: str, code: str, **more: Any) -> dict[str, Any]:
    coded = {"coding": [{"system": LOINC, "code": code}]}
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": coded, **more}


def quantity(value: float, code: str = "mg") -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": code, "system": UCUM, "code": code}}


def named(code: str) -> dict[str, Any]:
    return {"coding": [{"code": code}]}


WORLD: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "org", "name": "County (north] clinic"},
    patient(
        "ada",
        "Carpetta",
        "Ada",
        "Peter",
        gender="female",
        birthDate="1980-02-01",
        active=True,
        identifier=[{"system": "urn:mrn", "value": "A-17"}],
        managingOrganization=ref("Organization/org"),
    ),
    patient("ben", "O'Neil", "Peter", gender="male", birthDate="2014-10", active=False),
    patient(
        "cyd",
        "Müller-Lee",
        "Cyd",
        gender="female",
        birthDate="2015-01-05",
        telecom=[{"system": "phone", "value": "555-0101"}],
    ),
    {"resourceType": "Patient", "id": "dot"},
    observation("o1", "1234-5", subject=ref("Patient/ada"), effectiveDateTime="2024-01-10", **quantity(5.4)),
    observation("o2", "1234-5", subject=ref("Patient/ben"), effectiveDateTime="2024-02", **quantity(7)),
    observation(
        "o3",
        "999-9",
        subject=ref("Patient/ada"),
        effectivePeriod={"start": "2024-01-01", "end": "2024-03-31"},
        hasMember=[ref("Observation/o1"), ref("Observation/o2")],
    ),
    observation("o4", "888-8", derivedFrom=[ref("Observation/o3")], valueString="Blue (dark) ] [ x"),
    {
        "resourceType": "Group",
        "id": "g1",
        "type": "person",
        "actual": False,
        "characteristic": [
            {"code": named("gender"), "valueCodeableConcept": named("female"), "exclude": False},
            {"code": named("owner"), "valueCodeableConcept": named("clinic"), "exclude": False},
        ],
    },
    {
        "resourceType": "Group",
        "id": "g2",
        "type": "person",
        "actual": False,
        "characteristic": [{"code": named("owner"), "valueCodeableConcept": named("female"), "exclude": False}],
    },
    {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "content": [{"attachment": {"title": "x"}}],
        "relatesTo": [
            {"code": "replaces", "target": ref("DocumentReference/d2")},
            {"code": "signs", "target": ref("DocumentReference/d3")},
        ],
    },
    {
        "resourceType": "RiskAssessment",
        "id": "r1",
        "status": "final",
        "subject": ref("Patient/ada"),
        "prediction": [{"probabilityDecimal": 0.5}],
    },
    {
        "resourceType": "RiskAssessment",
        "id": "r2",
        "status": "final",
        "subject": ref("Patient/ben"),
        "prediction": [{"probabilityRange": {"low": {"value": 0.2}, "high": {"value": 0.3}}}],
    },
    {"resourceType": "ValueSet", "id": "v1", "status": "active", "url": "http://a.org/vs/one"},
    {"resourceType": "ValueSet", "id": "v2", "status": "active", "url": "http://b.org/vs/two"},
]


@pytest.fixture(scope="module")
def world(fhir):
    for resource in WORLD:
        answer = fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


def url(type_: str, expression: str) -> str:
    return f"{type_}?_filter={quote(expression)}"


FOUND = [
    # the page's own examples
    ("Patient", 'name co "pet"', "ada ben"),
    ("Patient", 'given eq "peter" and birthdate ge 2014-10-10', "ben"),
    ("Observation", "code eq http://loinc.org|1234-5", "o1 o2"),
    ("Observation", 'subject.name co "pet"', "o1 o2 o3"),
    ("Observation", 'related[type eq "has-component"].target pr true', "o3"),
    ("Observation", 'related[type eq "has-component"].target pr false', "o1 o2 o4"),
    ("Observation", "related[type eq has-component].target re Observation/1", ""),
    ("Observation", "related[type eq has-component].target re Observation/o2", "o3"),
    ("Observation", "related[type eq derived-from].target.code eq loinc|999-9", "o4"),
    # strings
    ("Patient", "family eq carpetta", "ada"),
    ("Patient", "family eq carpet", ""),
    ("Patient", 'family eq "MULLER-LEE"', "cyd"),
    ("Patient", "family sw CARP", "ada"),
    ("Patient", "family sw petta", ""),
    ("Patient", "family ew petta", "ada"),
    ("Patient", "family ew lee", "cyd"),
    ("Patient", "family ew carp", ""),
    ("Patient", "family co +", ""),
    ("Patient", "family co o'n", "ben"),
    ("Patient", "given ne peter", "ada cyd"),
    ("Patient", "family gt carpetta", "ben cyd"),
    ("Patient", "family ge carpetta", "ada ben cyd"),
    ("Patient", "family lt m", "ada"),
    ("Patient", "family le o'neil", "ada ben cyd"),
    ("Organization", 'name co "(north]"', "org"),
    ("Organization", 'name co "count\\u0079 ("', "org"),
    ("Observation", 'value-string ew "] [ x"', "o4"),
    ("Observation", 'value-string co "+,\\"\\\\"', ""),
    # tokens
    ("Patient", "gender eq female", "ada cyd"),
    ("Patient", "gender ne female", "ben"),
    ("Patient", "identifier eq urn:mrn|A-17", "ada"),
    ("Patient", "identifier sw a-", "ada"),
    ("Patient", "identifier sw urn:mrn|a-", "ada"),
    ("Patient", "identifier co urn", ""),
    ("Patient", "identifier ew 17", "ada"),
    ("Patient", "phone co 5-01", "cyd"),
    ("Patient", "active eq true", "ada"),
    ("Observation", "code eq loinc|1234-5", "o1 o2"),
    ("Observation", "code co 34", "o1 o2"),
    ("Observation", "code sw loinc|88", "o4"),
    ("Observation", "code co .", ""),
    # dates
    ("Patient", "birthdate eq 2014-10", "ben"),
    ("Patient", "birthdate ne 2014-10", "ada cyd"),
    ("Patient", "birthdate lt 2014-10", "ada"),
    ("Patient", "birthdate le 2014-10", "ada ben"),
    ("Patient", "birthdate gt 2014-10", "cyd"),
    ("Patient", "birthdate sa 2014", "cyd"),
    ("Patient", "birthdate eb 2014", "ada"),
    ("Patient", "birthdate co 2014-10-10", "ben"),
    ("Patient", "birthdate po 2014-10-10", "ben"),
    ("Patient", "birthdate ap 2014-10-10", "ben cyd"),
    ("Observation", "date po 2024-02", "o2 o3"),
    ("Observation", "date co 2024-02-03", "o2 o3"),
    ("Observation", "date co 2024-01-10", "o1 o3"),
    ("Observation", "date eq 2024-01", "o1"),
    ("Patient", "_lastUpdated gt 2020-01-01T00:00:00Z and active pr true", "ada ben"),
    ("Patient", "_lastUpdated po 2020", ""),
    # numbers and quantities
    ("RiskAssessment", "probability gt 0.4", "r1"),
    ("RiskAssessment", "probability eq 0.50", "r1"),
    ("RiskAssessment", "probability co 0.25", "r2"),
    ("RiskAssessment", "probability lt 0.25", "r2"),
    ("Observation", "value-quantity ge 5.4|ucum|mg", "o1 o2"),
    ("Observation", "value-quantity eq 5.4|http://unitsofmeasure.org|mg", "o1"),
    ("Observation", "value-quantity gt 5.4|ucum|mg", "o2"),
    ("Observation", "value-quantity ap 5|ucum|mg", "o1"),
    ("Observation", "value-quantity gt 1|ucum|kg", ""),
    # references, ids, uris, composites
    ("Observation", "subject re Patient/ada", "o1 o3"),
    ("Observation", "patient re ben", "o2"),
    ("Patient", "_id eq ada or _id eq dot", "ada dot"),
    ("Patient", "_id ne ada", "ben cyd dot"),
    ("ValueSet", "url sw http://a.org/", "v1"),
    ("ValueSet", "url ew /two", "v2"),
    ("ValueSet", "url eq http://a.org/vs/one", "v1"),
    ("ValueSet", "url ne http://a.org/vs/one", "v2"),
    ("ValueSet", "url co /vs/", "v1 v2"),
    ("Observation", "code-value-quantity eq loinc|1234-5$gt6|ucum|mg", "o2"),
    # elements of composites
    ("Observation", "code-value-quantity[code eq 1234-5].value-quantity lt 6", "o1"),
    ("Group", "characteristic[code eq gender].value eq female", "g1"),
    ("Group", "characteristic eq owner and value eq female", "g1 g2"),
    ("Group", "characteristic[not(code eq gender)].value eq female", "g2"),
    ("Group", "characteristic[code eq gender].value pr false", "g2"),
    ("DocumentReference", "relatesTo[code eq replaces].target re DocumentReference/d2", "d1"),
    ("DocumentReference", "relatesTo[code eq replaces].target re DocumentReference/d3", ""),
    # present or not
    ("Patient", "gender pr true", "ada ben cyd"),
    ("Patient", "gender pr false", "dot"),
    ("Observation", "subject pr false", "o4"),
    ("Observation", "subject.birthdate pr false", "o4"),
    # and, or, not
    ("Patient", "not (gender eq female)", "ben dot"),
    ("Patient", "not(gender eq female)and active pr false", "dot"),
    ("Patient", "NOT (not (gender eq female))", "ada cyd"),
    ("Patient", "_id eq ada or _id eq ben and gender eq male", "ben"),
    ("Patient", "_id eq ada or (_id eq ben and gender eq male)", "ada ben"),
    ("Patient", "gender eq male and given eq peter or gender pr false", "ben dot"),
    ("Patient", "  ( ( gender EQ male ) )  ", "ben"),
    ("Patient", "not (gender eq male or gender eq female)", "dot"),
    # chains
    ("Observation", "patient:Patient.birthdate lt 2000", "o1 o3"),
    ("Observation", "subject:Patient.organization.name co clinic", "o1 o3"),
    ("Observation", "not (subject:Patient.gender eq female)", "o2 o4"),
    ("Observation", 'subject:Patient[gender eq female and active eq true].name co "pet"', "o1 o3"),
    ("Observation", "subject:Patient[organization[name sw x].name pr true].name pr true", ""),
    ("Patient", "_has:Observation:patient:code eq 1234-5", "ada ben"),
    ("Patient", "not (_has:Observation:patient:code eq 999-9) and gender pr true", "ben cyd"),
    ("Patient", "_has:Observation:patient[code eq 1234-5]:value-quantity gt 6", "ben"),
    ("Patient", "_has:Observation:patient[code eq 999-9]:value-quantity gt 5", ""),
    ("Patient", "_has:Observation:patient[code eq 999-9]:has-member.value-quantity gt 6", "ada"),
    ("Patient", "not (_has:Observation:patient[not (code eq 999-9)]:date pr true)", "cyd dot"),
    ("Observation", "has-member.subject.family sw o'", "o3"),
]


@pytest.mark.parametrize(("type_", "expression", "found"), FOUND)
def test_what_a_filter_finds(world, type_, expression, found):
    assert world.ids(url(type_, expression)) == found.split()


REFUSED = [
    ("Patient", "name", "at character 5: it ends where an operator (eq, ne, "),
    ("Patient", "active eq yes", "at character 11: 'yes' is neither true nor false"),
    ("Patient", "name is x", "at character 6: 'is' stands where an operator"),
    ("Patient", "name=x", "at character 5: '=' stands where an operator"),
    ("Patient", "name eq", "at character 8: it ends where a value is expected"),
    ("Patient", "name eq )", "at character 9: ')' stands where a value is expected"),
    ("Patient", 'name eq"x"', "at character 8: '\"' stands where a space after eq is expected"),
    ("Patient", "name eq 'peter pan'", "at character 9: a string stands in double quotes"),
    ("Patient", 'name eq "x', "at character 9: the string does not end"),
    ("Patient", 'name eq "\\x"', "at character 9: is no JSON string"),
    ("Patient", 'name eq "\\u0000"', "at character 9: a NUL or half a surrogate pair is no text"),
    ("Patient", 'name eq "\\ud800"', "at character 9: a NUL or half a surrogate pair is no text"),
    ("Patient", 'name eq "x"y', "at character 12: 'y' stands where a space, ')', ']' or the end"),
    ("Patient", 'name eq ""', "at character 9: a value has from 1 to 4096 characters"),
    ("Patient", "name eq x gender eq male", "at character 11: 'gender' stands where 'and', 'or' or the end"),
    ("Patient", "name eq x and", "at character 14: it ends where a test"),
    ("Patient", "(name eq x", "at character 11: it ends where 'and', 'or' or ')' is expected"),
    ("Patient", "name eq x)", "at character 10: ')' stands where 'and', 'or' or the end of the filter"),
    ("Patient", "not name eq x", "at character 5: 'name' stands where '(' is expected"),
    ("Patient", "and name eq x", "at character 5: 'name' stands where an operator"),
    ("Patient", "nme eq x", "at character 1: nme is not a search parameter of Patient here; did you mean name?"),
    ("Patient", "name eq x or gendr eq y", "at character 14: gendr is not a search parameter of Patient"),
    ("Patient", "name:exact eq x", "at character 1: name:exact is not a search parameter"),
    ("Patient", "birthdate eq then", "at character 14: 'then' is not a date"),
    ("Patient", "birthdate eq ge2014", "at character 14: 'ge2014' is not a date"),
    (
        "Patient",
        "birthdate sw 2014",
        "at character 11: sw makes no sense for birthdate, which is of type date; use",
    ),
    ("Patient", "name sa x", "at character 6: sa makes no sense for name, which is of type string; use eq, ne, co"),
    ("Patient", "name po x", "at character 6: po makes no sense"),
    ("Patient", "gender gt a", "at character 8: gt makes no sense for gender, which is of type token"),
    ("Patient", "gender co http://a|", "at character 11: 'http://a|' has no code, of which a part is compared"),
    ("Patient", "gender pr maybe", "at character 11: 'maybe' is neither true nor false"),
    ("Patient", "name in http://a.org/vs", "at character 6: in makes no sense for name"),
    ("Patient", "birthdate ss 2014", "at character 11: ss makes no sense for birthdate"),
    (
        "Observation",
        "subject eq Patient/1",
        "at character 9: eq makes no sense for subject, which is of type",
    ),
    ("Observation", "subject re Nothing/1", "at character 12: Nothing is not a resource type"),
    ("Observation", "value-quantity gt big", "at character 19: 'big' is not a number"),
    ("Observation", "value-quantity co 5", "at character 16: co makes no sense"),
    ("Observation", "code-value-quantity eq a", "at character 24: 'a' is not a composite"),
    ("Observation", "code-value-quantity ne a$5", "at character 21: ne makes no sense"),
    ("Observation", "code.name eq x", "at character 1: code of Observation is of type token; a chain goes"),
    ("Observation", "subject[name eq x] eq y", "at character 19: a space stands where '.' and a name"),
    ("Observation", "subject[name eq x.name eq y", "at character 24: 'eq' stands where 'and', 'or' or ']'"),
    ("Observation", "subject. eq y", "at character 9: a space stands where the name of a search parameter"),
    ("Observation", "subject:Medication.code eq x", "at character 1: subject:Medication: subject of Observation never"),
    ("Observation", "subject:Patient.nme eq x", "at character 1: nme is not a search parameter of Patient here"),
    (
        "Observation",
        "related[type eq sequel-to].target pr true",
        "at character 1: write related[type eq …].target",
    ),
    ("Patient", "_has:Observation:code:code eq x", "at character 1: code of Observation is of type token"),
    ("Patient", "_has:Observation:patient[code eq x].code eq y", "at character 36: '.' stands where ':' and a name"),
    ("Patient", "_has:patient:code eq true", "at character 1: _has:patient: write _has:[type]:[parameter]"),
    ("Group", "characteristic[exclude eq true].value eq x", "at character 16: exclude is not a search parameter"),
    ("Organization", "partof." * 21 + "name eq x", "a chain has at most 20 hops"),
    ("Patient", "(" * 30 + "name eq x" + ")" * 30, "at character 21: nested more than 20 levels deep"),
    ("Patient", "name eq x and name eq x or " * 30 + "name eq x", "alternate more than 20 levels deep"),
    ("Patient", "name eq x or " * 200 + "name eq x", "a filter has at most 200 tests"),
    ("Patient", f'name eq "{"x" * 4097}"', "at character 9: a value has from 1 to 4096 characters"),
    ("Patient", f'name eq "{"x" * 17000}"', "a filter has at most 16,384 characters"),
]


@pytest.mark.parametrize(("type_", "expression", "sentence"), REFUSED)
def test_what_a_filter_refuses(world, type_, expression, sentence):
    answer = world.post(
        f"{type_}/_search",
        content=f"_filter={quote(expression)}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 400
    assert sentence in answer.json()["issue"][0]["diagnostics"]


def test_a_filter_stands_beside_others_and_everywhere(world):
    women = quote("gender eq female")
    assert world.ids(f"Patient?_filter={women}&name=pet") == ["ada"]
    assert world.ids(f"Patient?_filter={women}&_filter={quote('birthdate gt 2000')}") == ["cyd"]
    posted = world.post(
        "Patient/_search",
        content=f"_filter={women}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert posted.json()["total"] == 2
    assert world.ids("Patient/ada/Observation?_filter=" + quote("date po 2024-03")) == ["o3"]
    bundle = world.bundle(url("Observation", "subject.given eq peter and code sw 12") + "&_include=Observation:patient")
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == ["o1", "o2", "ada", "ben"]
    assert world.bundle(url("Patient", "gender pr true") + "&_summary=count")["total"] == 3


def test_pages_of_a_filter(world):
    first = world.bundle(url("Patient", "gender pr true or _id eq dot") + "&_count=2&_sort=-birthdate")
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    assert [entry["resource"]["id"] for entry in first["entry"]] == ["cyd", "ben"]
    assert world.ids(following) == ["ada", "dot"]
    assert world.get(following.replace("dot", "ben")).status_code == 400


def test_a_search_of_several_types_has_filters_that_all_of_them_understand(world):
    shared = f"?_type=Patient,Observation&_filter={quote('_id eq ada')}"
    assert world.ids(shared, headers={"Prefer": "handling=strict"}) == ["ada"]
    assert world.get(f"?_type=Patient,Observation&_filter={quote('gender pr true')}").status_code == 400


def test_a_filter_may_be_a_condition(world):
    made = {"resourceType": "Basic", "code": named("unique")}
    same = {"If-None-Exist": "_filter=" + quote("code eq unique and not (code eq other)")}
    first, again = (world.post("Basic", made, headers=same) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert world.delete(url("Basic", "code sw uniq")).status_code == 204
    assert world.ids("Basic?code=unique") == []


# A tree of tests finds what sets of single searches say.

TESTS = [
    ("gender eq female", "gender=female"),
    ("gender pr false", "gender:missing=true"),
    ("active eq true", "active=true"),
    ("active eq http://hl7.org/fhir/special-values|true", "active=http://hl7.org/fhir/special-values|true"),
    ("name co pet", "name:contains=pet"),
    ("family sw m", "family=m"),
    ("birthdate ge 2014-10-10", "birthdate=ge2014-10-10"),
    ("birthdate ne 1980-02-01", "birthdate=ne1980-02-01"),
    ("identifier eq urn:mrn|A-17", "identifier=urn:mrn|A-17"),
    ("organization re Organization/org", "organization=Organization/org"),
    ("organization.name sw county", "organization.name=county"),
    ("_has:Observation:patient:code eq 999-9", "_has:Observation:patient:code=999-9"),
    ("_id eq dot", "_id=dot"),
]

trees = st.recursive(
    st.integers(0, len(TESTS) - 1),
    lambda inner: st.one_of(st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)),
    max_leaves=8,
)


def written(tree: Any) -> str:
    match tree:
        case int():
            return TESTS[tree][0]
        case ("not", part):
            return f"not ({written(part)})"
        case (word, left, right):
            return f"({written(left)}) {word} ({written(right)})"
    raise AssertionError


def meant(tree: Any, sets: list[set[str]], all_: set[str]) -> set[str]:
    match tree:
        case int():
            return sets[tree]
        case ("not", part):
            return all_ - meant(part, sets, all_)
        case ("and", left, right):
            return meant(left, sets, all_) & meant(right, sets, all_)
        case (_, left, right):
            return meant(left, sets, all_) | meant(right, sets, all_)
    raise AssertionError


@pytest.fixture(scope="module")
def sets(world) -> list[set[str]]:
    return [set(world.ids(f"Patient?{quote(search, safe='=:')}")) for _, search in TESTS]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(trees)
def test_a_filter_is_the_algebra_of_its_tests(world, sets, tree):
    everybody = set(world.ids("Patient"))
    assert set(world.ids(url("Patient", written(tree)))) == meant(tree, sets, everybody)
