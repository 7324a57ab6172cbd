"""Chains and `_has` as values: what is read, what is refused. https://hl7.org/fhir/R4/search.html#chaining"""

from __future__ import annotations

from dataclasses import replace

import pytest
from queries import NOW, read

from fhirserver.fhir.outcome import Outcome
from fhirserver.search.chains import MAX_HOPS
from fhirserver.search.criteria import Chain, Clause, Criterion
from fhirserver.search.filters import query_filter
from fhirserver.search.query import Query


def written(criterion: Criterion, type_: str) -> str:
    """`subject→(Patient.name Location.name)`; `_has` as `←`."""
    if isinstance(criterion, Clause):
        modifier = f":{criterion.modifier}" if criterion.modifier else ""
        return f"{type_}.{criterion.parameter.code}{modifier}"
    assert isinstance(criterion, Chain)
    others = sorted(written(other, far) for far, other in criterion.others)
    return f"{criterion.parameter.code}{'←' if criterion.reverse else '→'}({' '.join(others)})"


READ = [
    ("Observation", "subject:Patient.name=x", "subject→(Patient.name)"),
    ("Observation", "subject:Patient.name:exact=x", "subject→(Patient.name:exact)"),
    ("Observation", "subject:Patient.birthdate=ge2000", "subject→(Patient.birthdate)"),
    ("Observation", "patient.name=x", "patient→(Patient.name)"),
    ("Observation", "patient.name:missing=true", "patient→(Patient.name:missing)"),
    ("Observation", "patient.gender:not=male", "patient→(Patient.gender:not)"),
    ("Observation", "patient.identifier:of-type=a|b|c", "patient→(Patient.identifier:of-type)"),
    ("Observation", "patient._id=1", "patient→(Patient._id)"),
    ("Observation", "patient._tag=x", "patient→(Patient._tag)"),
    ("Observation", "patient._lastUpdated=gt2000", "patient→(Patient._lastUpdated)"),
    ("Observation", "subject.name=x", "subject→(Location.name Patient.name)"),
    ("Observation", "subject.gender=x", "subject→(Patient.gender)"),
    ("Observation", "subject._id=1", "subject→(Device._id Group._id Location._id Patient._id)"),
    ("Observation", "patient.organization.name=x", "patient→(organization→(Organization.name))"),
    (
        "Observation",
        "subject:Patient.general-practitioner:Practitioner.name=x",
        "subject→(general-practitioner→(Practitioner.name))",
    ),
    ("Observation", "patient.organization=Organization/1", "patient→(Patient.organization)"),
    ("Observation", "has-member.code-value-quantity=a$gt1", "has-member→(Observation.code-value-quantity)"),
    ("DiagnosticReport", "assessed-condition:Condition.code=x", "assessed-condition→(Condition.code)"),
    ("Condition", "_has:DiagnosticReport:assessed-condition:code=x", "assessed-condition←(DiagnosticReport.code)"),
    ("Observation", "derived-from:Observation.value-quantity=gt5||mg", "derived-from→(Observation.value-quantity)"),
    ("Organization", "partof." * MAX_HOPS + "name=x", "partof→(" * MAX_HOPS + "Organization.name" + ")" * MAX_HOPS),
    ("Organization", "_has:Organization:partof:" * 7 + "name=x", "partof←(" * 7 + "Organization.name" + ")" * 7),
    (
        "Organization",
        "partof._has:Organization:partof:" * 4 + "name=x",
        "partof→(partof←(" * 4 + "Organization.name" + ")" * 8,
    ),
    ("Patient", "_has:Observation:patient:code=8867-4", "patient←(Observation.code)"),
    ("Patient", "_has:Observation:subject:code:text=x", "subject←(Observation.code:text)"),
    ("Patient", "_has:Observation:patient:date:missing=true", "patient←(Observation.date:missing)"),
    (
        "Patient",
        "_has:Observation:patient:_has:AuditEvent:entity:agent=Practitioner/1",
        "patient←(entity←(AuditEvent.agent))",
    ),
    (
        "Patient",
        "_has:Observation:patient:performer:Practitioner.name:exact=x",
        "patient←(performer→(Practitioner.name:exact))",
    ),
    ("Observation", "patient._has:Group:member:_id=1", "patient→(member←(Group._id))"),
    ("Observation", "subject:Patient._has:Group:member:code=1", "subject→(member←(Group.code))"),
]


@pytest.mark.parametrize(("type_", "text", "expected"), READ)
def test_chains_are_read(type_: str, text: str, expected: str) -> None:
    query = read(type_, text)
    assert [written(chain, type_) for chain in query.criteria] == [expected]
    assert query.ignored == ()
    assert [f"{name}={value}" for name, value in query.used] == [text]


UNKNOWN = [
    ("Observation", "patient.name=", "name: has no value"),
    ("Patient", "_has:Observation:patient:date=", "date: has no value"),
    ("Observation", "patient.nme=1", "nme is not a search parameter of Patient here; did you mean name?"),
    ("Observation", "subject:Patient.nme=1", "nme is not a search parameter of Patient here; did you mean name?"),
    ("Observation", "subject.nme=1", "nme is not a search parameter of "),
    ("Observation", "subject.nme=1", "did you mean name?"),
    ("Observation", "subjet.name=1", "subjet is not a search parameter of Observation here; did you mean subject"),
    ("Observation", "code.name=1", "code of Observation is of type token; a chain goes through references"),
    ("Observation", "patient.name.given=1", "name of Patient is of type string"),
    ("Observation", "subject.=1", "an empty name is no search parameter of"),
    ("Observation", ".name=1", "an empty name is no search parameter of Observation"),
    ("Observation", "patient._count=1", "_count is not a search parameter of Patient"),
    ("Observation", "patient.$where=1", "$where is not a search parameter of Patient"),
    ("Bundle", "composition._content=1", "composition of Bundle is within the Bundle; _content: the words of"),
    ("Composition", "_has:Bundle:composition:type=1", "composition of Bundle holds whole resources"),
    ("Patient", "_has=1", "write _has:Type:reference:parameter"),
    ("Patient", "_has:Observation:patient=1", "write _has:Type:reference:parameter"),
    ("Patient", "_has:Observation::code=1", "write _has:Type:reference:parameter"),
    ("Patient", "_has.name=1", "write _has:Type:reference:parameter"),
    ("Patient", "_has:Nothing:patient:code=1", "_has: Nothing is not a resource type"),
    ("Patient", "_has:Observation:patint:code=1", "patint is not a search parameter of Observation here; did you mean"),
    ("Patient", "_has:Observation:code:code=1", "code of Observation is of type token"),
    ("Patient", "_has:Observation:encounter:code=1", "encounter of Observation never refers to Patient"),
    (
        "Patient",
        "_has:Observation:patient:cod=1",
        "cod is not a search parameter of Observation here; did",
    ),
    ("Patient", "_has:Observation:patient:_has:x=1", "write _has:Type:reference:parameter"),
]


@pytest.mark.parametrize(("type_", "text", "sentence"), UNKNOWN)
def test_what_cannot_be_followed_is_refused_or_reported(type_: str, text: str, sentence: str) -> None:
    with pytest.raises(Outcome) as refusal:
        read(type_, text)
    assert (refusal.value.status, refusal.value.issues[0].code) == (400, "not-supported")
    assert sentence in refusal.value.issues[0].diagnostics
    assert refusal.value.issues[0].expression == f"http.{text.partition('=')[0]}"
    query = read(type_, f"{text}&_id=1", strict=False)
    assert query.ignored[0].expression == refusal.value.issues[0].expression
    assert (query.criteria[1:], query.used) == ((), (("_id", "1"),))
    assert sentence in query.ignored[0].diagnostics


REFUSED = [
    ("Observation", "subject:Medication.code=1", "subject of Observation never refers to that; it may refer to"),
    ("Observation", "subject:identifier.name=1", "subject:identifier: subject of Observation never refers to that"),
    ("Observation", "encounter.subject:Medication.code=1", "subject:Medication: subject of Encounter never"),
    ("Observation", "subject:.name=1", "subject of Observation never refers to that"),
    ("Observation", "patient.birthdate=then", "patient.birthdate: 'then' is not a date"),
    ("Observation", "patient.name:missing=maybe", "neither true nor false"),
    ("Observation", "patient.name:nonsense=1", "patient.name:nonsense: the modifier :nonsense is not supported here"),
    ("Patient", "_has:Observation:patient:date=x", "'x' is not a date"),
    ("Organization", "partof." * (MAX_HOPS + 1) + "name=x", f"a chain has at most {MAX_HOPS} hops"),
    ("Provenance", "target.focus.focus.code=x", "leads to too many types; name them, as in subject:Patient.name"),
    ("Observation", "patient.name=" + ",".join("x" * 1001), "at most 1000 values"),
    ("Observation", "_sort=subject.name", "_sort: subject.name is a chain; a search is sorted by parameters of"),
    ("Patient", "_sort=-_has:Observation:patient:date", "is a chain"),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("type_", "text", "sentence"), REFUSED)
def test_bad_chains_are_refused_with_a_sentence(type_: str, text: str, sentence: str, strict: bool) -> None:
    with pytest.raises(Outcome) as refusal:
        read(type_, text, strict=strict)
    assert refusal.value.status == 400
    assert sentence in refusal.value.issues[0].diagnostics
    assert refusal.value.issues[0].expression == f"http.{text.partition('=')[0][:80]}"


def test_a_value_is_read_by_the_types_that_can_read_it() -> None:
    """`target.date` is a date of most types; a type where the value makes no sense is left out."""
    (chain,) = read("Provenance", "target.status=active").criteria
    assert len(chain.others) > 50
    assert read("Observation", "subject.type=person").criteria[0].others[0][0] == "Group"


def test_a_query_with_chains_is_no_filter_yet() -> None:
    query = read("Observation", "patient.name=x")
    with pytest.raises(ValueError, match="resolve it first"):
        query_filter(query, NOW)
    assert query_filter(replace(query, criteria=()), NOW) == query_filter(Query("Observation"), NOW)
