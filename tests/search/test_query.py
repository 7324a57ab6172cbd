"""Query strings as values: what is read, what is refused, what is reported. https://hl7.org/fhir/R4/search.html"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queries import BASE, NOW, read, read_each

from fhirserver.fhir.outcome import Outcome
from fhirserver.search.canonicals import UNVERSIONED, VERSIONS
from fhirserver.search.coded import BEGINNING, URL_ABOVE, URL_BELOW
from fhirserver.search.criteria import RESOLVED, Composite, Dates, Number, Quantity, Reference, Token
from fhirserver.search.filters import query_filter
from fhirserver.search.includes import Include
from fhirserver.search.parameters import r4_registry
from fhirserver.search.query_string import parse
from fhirserver.search.readers import VALUES
from fhirserver.search.value_filters import FILTERS


def token(system: str | None, code: str | None) -> Token:
    """Of which nobody knows that its case matters."""
    return Token(system, code, any_case=True)


LOINC = "http://loinc.org"


def number(text: str, low: str, high: str, prefix: str = "eq") -> Number:
    return Number(prefix, Decimal(text), Decimal(low), Decimal(high))


def day(year: int, month: int = 1, day: int = 1, *time: int) -> datetime:
    return datetime(year, month, day, *time, tzinfo=UTC)


VALUE_TABLE: list[tuple[str, str, list[Any]]] = [
    # token
    ("Observation", "code=8867-4", [token(None, "8867-4")]),
    ("Observation", f"code={LOINC}|8867-4", [token(LOINC, "8867-4")]),
    ("Observation", f"code={LOINC}|", [token(LOINC, None)]),
    ("Observation", "code=|8867-4", [token("", "8867-4")]),
    ("Observation", "code=a,b", [token(None, "a"), token(None, "b")]),
    ("Observation", r"code=a\,b", [token(None, "a,b")]),
    ("Observation", r"code=a\|b", [token(None, "a|b")]),
    ("Observation", r"code=s\|t|c", [token("s|t", "c")]),
    ("Observation", r"code=a\$b", [token(None, "a$b")]),
    ("Observation", r"code=a\\,b", [token(None, "a\\"), token(None, "b")]),
    ("Observation", r"code=a\\\,b", [token(None, "a\\,b")]),
    ("Observation", r"code=a\b", [token(None, r"a\b")]),
    ("Observation", "code=a\\", [token(None, "a\\")]),
    ("Observation", "code=$where", [token(None, "$where")]),
    ("Observation", "code:not=a", [token(None, "a")]),
    ("Observation", "code:text=Heart rate", ["Heart rate"]),
    ("Patient", "identifier:of-type=http://t|MR|12", ["http://t|MR|12"]),
    ("Patient", r"identifier:of-type=http://t|MR|1\|2", ["http://t|MR|1|2"]),
    ("Patient", "active=true", [Token(None, "true")]),
    ("Patient", "_id=1,2", ["1", "2"]),
    ("Patient", "_tag=http://t|x", [token("http://t", "x")]),
    # string and uri
    ("Patient", "name=Eve", ["Eve"]),
    ("Patient", "name=Eve,Adam", ["Eve", "Adam"]),
    ("Patient", r"name=Eve\,Adam", ["Eve,Adam"]),
    ("Patient", "name:exact=Ève", ["Ève"]),
    ("Patient", "name:contains=v", ["v"]),
    ("Patient", "name=a|b$c", ["a|b$c"]),
    ("Device", "url=http://a.org/x|1", ["http://a.org/x|1"]),
    ("Patient", "_profile=http://a.org/p", ["http://a.org/p"]),
    # missing
    ("Patient", "name:missing=true", [True]),
    ("Observation", "date:missing=false", [False]),
    # dates
    ("Observation", "date=2024", [Dates("eq", day(2024), day(2025))]),
    ("Observation", "date=ge2024-02", [Dates("ge", day(2024, 2), day(2024, 3))]),
    ("Observation", "date=ne2024-02-29", [Dates("ne", day(2024, 2, 29), day(2024, 3))]),
    ("Observation", "date=lt2024-02-29T10:00Z", [Dates("lt", day(2024, 2, 29, 10), day(2024, 2, 29, 10, 1))]),
    (
        "Observation",
        "date=sa2024-01-01T00:00:00+01:00",
        [Dates("sa", day(2023, 12, 31, 23), day(2023, 12, 31, 23, 0, 1))],
    ),
    ("Observation", "date=eb2024,ap2025", [Dates("eb", day(2024), day(2025)), Dates("ap", day(2025), day(2026))]),
    ("Observation", "_lastUpdated=gt2024", [Dates("gt", day(2024), day(2025))]),
    # numbers
    ("RiskAssessment", "probability=100", [number("100", "99.5", "100.5")]),
    ("RiskAssessment", "probability=100.00", [number("100.00", "99.995", "100.005")]),
    ("RiskAssessment", "probability=1e2", [number("1E+2", "5E+1", "1.5E+2")]),
    ("RiskAssessment", "probability=5.40", [number("5.40", "5.395", "5.405")]),
    ("RiskAssessment", "probability=gt-0.8", [number("-0.8", "-0.85", "-0.75", "gt")]),
    ("RiskAssessment", "probability=le1E-3", [number("0.001", "0.0005", "0.0015", "le")]),
    ("RiskAssessment", "probability=" + "9" * 33, [number("9" * 33, "9" * 32 + "8.5", "9" * 33 + ".5")]),
    # quantities
    ("Observation", "value-quantity=5.4", [Quantity(number("5.4", "5.35", "5.45"), None)]),
    ("Observation", "value-quantity=5.4||mg", [Quantity(number("5.4", "5.35", "5.45"), "mg")]),
    ("Observation", "value-quantity=5.4||", [Quantity(number("5.4", "5.35", "5.45"), None)]),
    ("Observation", "value-quantity=ap5|http://u|mg", [Quantity(number("5", "4.5", "5.5", "ap"), "http://u|mg")]),
    # references
    ("Observation", "patient=Patient/1", [Reference(("Patient/1",))]),
    ("Observation", "patient=1", [Reference(("Patient/1",))]),
    ("Observation", "subject:Patient=1", [Reference(("Patient/1",))]),
    ("Observation", "subject:Patient=Patient/1", [Reference(("Patient/1",))]),
    ("Observation", f"subject={BASE}/Patient/1", [Reference(("Patient/1",))]),
    ("Observation", "subject=http://other.org/Patient/1", [Reference(("http://other.org/Patient/1",))]),
    ("Observation", "subject=urn:uuid:1-2", [Reference(("urn:uuid:1-2",))]),
    ("Observation", "subject=Patient/1/_history/2", [Reference(("Patient/1/_history/2",))]),
    ("Observation", "subject=Patient/1,Group/2", [Reference(("Patient/1",)), Reference(("Group/2",))]),
    ("QuestionnaireResponse", "questionnaire=http://a.org/q|1.0", [Reference(("http://a.org/q|1.0",))]),
    ("Observation", "subject:identifier=http://s|7", [Token("http://s", "7")]),
    # composites
    (
        "Observation",
        f"code-value-quantity={LOINC}|8480-6$gt100||mm[Hg]",
        [Composite((token(LOINC, "8480-6"), Quantity(number("100", "99.5", "100.5", "gt"), "mm[Hg]")))],
    ),
    (
        "Observation",
        r"code-value-concept=a\$b$c,d$e",
        [Composite((token(None, "a$b"), token(None, "c"))), Composite((token(None, "d"), token(None, "e")))],
    ),
]


@pytest.mark.parametrize(("type_", "text", "expected"), VALUE_TABLE)
def test_values_are_read(type_: str, text: str, expected: list[Any]) -> None:
    query = read(type_, text)
    assert [list(clause.values) for clause in query.criteria] == [expected]
    assert query.ignored == ()
    assert len(query.used) == 1


def test_an_id_alone_may_be_of_any_target() -> None:
    clause = read("Observation", "subject=1").criteria[0]
    assert sorted(clause.values[0].forms) == ["Device/1", "Group/1", "Location/1", "Patient/1"]  # type: ignore[union-attr]
    anything = read("Provenance", "target=1").criteria[0]
    assert len(anything.values[0].forms) >= 145  # type: ignore[union-attr]


REFUSED = [
    ("Observation", "date=yesterday", "date: 'yesterday' is not a date: write YYYY, YYYY-MM, "),
    ("Observation", "date=xx", "date: 'xx' is not a prefix"),
    ("Observation", "date=2024-13", "date: '2024-13' is not a date"),
    ("Observation", "date=GE2024", "date: 'GE' is not a prefix"),
    ("Observation", "date=ge", "date: '' is not a date"),
    ("Observation", "_lastUpdated=x", "_lastUpdated: 'x' is not a date"),
    ("RiskAssessment", "probability=xx5", "probability: 'xx' is not a prefix"),
    ("RiskAssessment", "probability=high", "probability: 'high' is not a number"),
    ("RiskAssessment", "probability=1,x", "probability: 'x' is not a number"),
    ("RiskAssessment", "probability=NaN", "probability: 'NaN' is not a number"),
    ("RiskAssessment", "probability=" + "1" * 34, "more than 33 digits"),
    ("RiskAssessment", "probability=1e99999", "an exponent beyond"),
    ("RiskAssessment", "probability=1e-99999", "an exponent beyond"),
    ("RiskAssessment", "probability=٣", "is not a number"),
    ("Observation", "value-quantity=5|mg", "value-quantity: '5|mg' is not a quantity"),
    ("Observation", "value-quantity=5|http://u|", "is not a quantity"),
    ("Observation", "value-quantity=5|a|b|c", "is not a quantity"),
    ("Patient", "name=\u0301", "name: '\u0301' has nothing that is compared"),
    ("Patient", "name=Ada,\u0301", "has nothing that is compared"),
    ("Patient", "name:contains=\u0301\u0308", "has nothing that is compared"),
    ("Observation", "code:text=\u0301", "has nothing that is compared"),
    ("Observation", "subject:Patient.name=\u0301", "has nothing that is compared"),
    ("Patient", '_filter=name co "\u0301"', "has nothing that is compared"),
    ("Patient", '_filter=name sw "\u0301"', "has nothing that is compared"),
    ("Observation", "code=a,,b", "code: one of its values is empty"),
    ("Observation", "code=|", "code: '|' is not a token"),
    ("Observation", "code=a|b|c", "is not a token"),
    ("Patient", "identifier:of-type=a|b", "write system|code|value"),
    ("Patient", "identifier:of-type=a||b", "write system|code|value"),
    ("Patient", "name:missing=yes", "name:missing: 'yes' is neither true nor false"),
    ("Patient", "name:missing=true,false", "is either true or false"),
    ("Observation", "subject=a b", "subject: 'a b' is not a reference"),
    ("Observation", "subject=Nothing/1", "Nothing is not a resource type"),
    ("Observation", "subject:Patient=Group/1", "is not a reference to Patient"),
    ("Observation", "subject:Group=http://a.org/Patient/1", "http://a.org/Patient/1 is not a reference to Group"),
    ("Observation", "subject=../../etc", "is not a reference"),
    ("Observation", "code-value-quantity=a", "write code$value-quantity"),
    ("Observation", "code-value-quantity=a$1$2", "write code$value-quantity"),
    ("Observation", "code-value-quantity=a$", "write code$value-quantity"),
    ("Observation", "code-value-quantity=a$xx1", "'xx' is not a prefix"),
    ("Observation", "_count=-1", "_count: '-1' is not a whole number"),
    ("Observation", "_count=x", "_count: 'x' is not a whole number"),
    ("Observation", "_count=²", "is not a whole number"),
    ("Observation", "_count=1&_count=2", "_count: stands twice"),
    ("Patient", "_query=current-high-risk&name=a", "_query: current-high-risk is no query that is known here"),
    ("Observation", "_total=maybe", "_total: 'maybe' is none of none, estimate, accurate"),
    ("Observation", "_summary=yes", "_summary: 'yes' is none of"),
    ("Observation", "_sort=dat", "_sort: dat is not a search parameter of Observation here; did you mean date"),
    ("Observation", "_sort=date,", "_sort: one of its keys is empty"),
    ("Observation", "_sort=-", "_sort: one of its keys is empty"),
    ("Observation", "_sort=date,-date", "_sort: date stands in it both ways, ascending and descending"),
    ("Patient", "_sort=-name&_sort=birthdate&_sort=name", "_sort: name stands in it both ways"),
    ("Patient", "_revinclude:iterate=*", "_revinclude:iterate: * brings what refers to the matches of a type"),
    ("Patient", "_contained=true&_revinclude=*", "_revinclude: * brings what refers to the matches of a type"),
    ("Observation", "_sort=--date", "_sort: -date is not a search parameter"),
    ("Observation", "_sort=code-value-quantity", "_sort: code-value-quantity is composite; it has no order"),
    ("Observation", "_sort=date,status,code,patient,subject", "_sort: at most 4 keys"),
    ("Observation", "_elements=a,,b", "_elements: 'a,,b' is not a list of elements"),
    ("Observation", "_elements=$where", "is not a list of elements"),
    ("Observation", "_include=subject", "_include: 'subject' is not an inclusion"),
    ("Observation", "_include=a:b:c:d", "is not an inclusion"),
    ("Patient", "name=a%00b", "name: a NUL or half a surrogate pair is no text"),
    ("Patient", "name=" + "x" * 5000, "name: a value has at most 4096 characters"),
    ("Patient", "name=" + "x" * 1_100_000, "at most 1,000,000 characters"),
    ("Patient", "_id=" + ",".join("x" * 1001), "_id: a search has at most 1000 values"),
    ("Patient", "_elements=" + ",".join("x" * 1001), "_elements: a search has at most 1000 of them"),
    ("Patient", "&".join(["name=x"] * 201), "at most 200 parameters"),
    ("Observation", "code:exact=1", "code:exact: the modifier :exact is not supported here"),
    ("Observation", "code:=1", "code:: the modifier : is not supported here"),
    ("Patient", "name:contain=1", "did you mean contains"),
    ("Observation", "patient:Group=1", "patient:Group: the modifier :Group is not supported here"),
    ("Observation", "date:exact=2024", "date:exact: the modifier :exact is not supported here; it takes :missing"),
    ("Patient", "name:in=x", "name:in: the modifier :in is not supported here; it takes :missing, :exact, :contains"),
    ("Patient", "_filter:not=name eq a", "_filter:not: the modifier :not is not supported here; it takes none"),
    ("Patient", "_query:exact=a", "_query:exact: the modifier :exact is not supported here; it takes none"),
    ("Patient", "_type:not=Patient", "_type:not: the modifier :not is not supported here; it takes none"),
    ("Observation", "_count:exact=1", "_count:exact: the modifier :exact is not supported here"),
    ("Observation", "_include:again=Observation:subject", "_include:again: the modifier :again is not supported"),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("type_", "text", "sentence"), REFUSED)
def test_bad_values_are_refused_with_a_sentence(type_: str, text: str, sentence: str, strict: bool) -> None:
    with pytest.raises(Outcome) as refusal:
        read(type_, text, strict=strict)
    assert refusal.value.status == 400
    assert sentence in refusal.value.issues[0].diagnostics
    if text.count("&") < 100 and len(text) < 1_000_000:  # it is about all of them
        *_, last = text.split("&")
        assert refusal.value.issues[0].expression in {f"http.{each.partition('=')[0]}" for each in (text, last)}


# (type, query, how it begins, what may be there or not); what finds nothing is kept
IMPOSSIBLE = [
    ("Observation", "subject=Medication/1", "subject: subject of Observation never refers to a Medication, so that"),
    ("Observation", "subject=Patient/1,Medication/1", "nothing matches Medication/1; it may refer to Group, Device"),
    ("Observation", f"subject={BASE}/Medication/1", "never refers to a Medication"),
    ("Bundle", "composition=1", "composition: composition of Bundle is a whole resource and no reference"),
    ("Bundle", "message=MessageHeader/1", "message of Bundle is a whole resource and no reference, so that no value"),
    ("Observation", "patient=Group/1/_history/2", "patient: patient of Observation never refers to a Group"),
    ("Observation", "encounter.subject=Medication/1", "encounter.subject: subject of Encounter never refers to a Me"),
    ("Patient", "_has:Observation:patient:encounter=Patient/1", "encounter of Observation never refers to a Patient"),
    (
        "Observation",
        '_filter=subject re "Medication/1"',
        "_filter: subject of Observation never refers to a",
    ),
    ("Observation", '_filter=not (code eq a or subject re "Medication/1")', "subject of Observation never refers to a"),
    ("MedicationRequest", "subject=Medication/1&_contained=true", "never refers to a Medication"),
    ("Patient", "_id=a b!", "_id: 'a b!' is no id, which has 1 to 64 letters, digits, '-' and '.': nothing matches it"),
    ("Patient", "_id=" + "a" * 65, "is no id"),
    ("Patient", "_id=1,Patient/1", "_id: 'Patient/1' is no id"),
    ("Patient", "_id:not=a_b", "_id:not: 'a_b' is no id"),
    ("Observation", "patient._id=a_b", "patient._id: 'a_b' is no id"),
    ("Observation", "subject._id=a_b", "subject._id: 'a_b' is no id"),
    ("Patient", "_filter=_id eq a_b", "_filter: 'a_b' is no id"),
]


@pytest.mark.parametrize(("type_", "text", "sentence"), IMPOSSIBLE)
def test_what_nothing_can_have_is_refused_or_told(type_: str, text: str, sentence: str) -> None:
    with pytest.raises(Outcome) as refusal:
        read(type_, text)
    (issue,) = refusal.value.issues
    name = text.partition("=")[0]
    assert (refusal.value.status, issue.code, issue.expression) == (400, "value", f"http.{name}")
    assert sentence in issue.diagnostics
    query = read(type_, text, strict=False)
    assert query.ignored == (issue._replace(severity="warning"),)
    assert (len(query.criteria), query.used[0][0]) == (1, name)


UNKNOWN = [
    ("Observation", "value-quantity=", "value-quantity: has no value"),
    ("Observation", "code=", "code: has no value"),
    ("Observation", "code= ", "code: has no value"),
    ("Observation", "_count=", "_count: has no value"),
    ("Observation", "_sort=", "_sort: has no value"),
    ("Observation", "_include:iterate=", "_include:iterate: has no value"),
    ("Observation", "_pretty=1", "_pretty: '1' is neither true nor false"),
    ("Observation", "Code=1", "Code is not a search parameter of Observation here; did you mean code"),
    ("Observation", "_ID=1", "_ID is not a search parameter of Observation here; did you mean _id"),
    ("Observation", "_inclde=Observation:subject", "here; did you mean _include"),
    ("Observation", "_revInclude=Observation:subject", "here; did you mean _revinclude"),
    ("Observation", "cod=1", "cod is not a search parameter of Observation here; did you mean code"),
    ("Observation", "$where=1", "$where is not a search parameter"),
    ("Observation", "=1", "an empty name is no search parameter of Observation"),
    ("Observation", "patient.=1", "an empty name is no search parameter of Patient"),
    ("Binary", "_text=x", "_text is not a search parameter"),
    ("Observation", "_include:iterate=Observation:code", "_include: Observation:code names no reference known here"),
    ("Bundle", "_include=Bundle:composition", "_include: Bundle:composition names no reference known here"),
    ("Composition", "_revinclude=Bundle:composition", "_revinclude: Bundle:composition names no reference known here"),
    ("Observation", "_include=Observation:code", "_include: Observation:code names no reference known here"),
    ("Observation", "_include=Nothing:code", "_include: Nothing:code names no reference"),
    ("Observation", "_include=Observation:subject:Nothing", "names no reference"),
    ("Observation", "_include=Observation:patient:Group", "names no reference"),
    ("Patient", "_revinclude=Observation:encounter", "_revinclude: Observation:encounter is no reference to Patient"),
    ("Patient", "_revinclude=Observation:code", "_revinclude: Observation:code names no reference known here"),
    ("Patient", "_revinclude=Observation:subject:Group", "leads to Group, which is not what is searched; _revinclude"),
    ("Patient", "_include=Observation:subject", "starts from Observation, which is not what is searched"),
]


@pytest.mark.parametrize(("type_", "text", "sentence"), UNKNOWN)
def test_unknown_names_are_refused_or_reported(type_: str, text: str, sentence: str) -> None:
    with pytest.raises(Outcome) as refusal:
        read(type_, text)
    assert (refusal.value.status, refusal.value.issues[0].code) == (400, "not-supported")
    assert sentence in refusal.value.issues[0].diagnostics
    query = read(type_, f"{text}&_id=1", strict=False)
    where = f"http.{text.partition('=')[0]}"
    assert (refusal.value.issues[0].expression, query.ignored[0].expression) == (where, where)
    assert query.used == (("_id", "1"),)
    assert [issue.severity for issue in query.ignored] == ["warning"]
    assert sentence in query.ignored[0].diagnostics


def test_what_is_contained_is_asked_for_by_a_value() -> None:
    for query in read_each(("Medication", "Observation"), "_contained=", strict=False):
        assert (query.contained, len(query.ignored)) == ("false", 1)
    query = read("Medication", "_contained=&_sort=code", strict=False)
    assert (query.contained, [key.code for key in query.sort], len(query.ignored)) == ("false", ["code"], 1)
    text = "_contained=true&_containedType=&_include=MedicationRequest:patient"
    query = read("Medication", text, strict=False)
    assert (query.contained_type, len(query.includes), len(query.ignored)) == ("container", 1, 1)


# (type, query, how it begins, what stays of it)
UNUSED = [
    (
        "Patient",
        "_elements=name,nmae",
        "_elements: nmae is no element at the top of what is searched; did you mean",
        "",
    ),
    ("Patient", "_elements=name.family", "did you mean name?", ""),
    ("Patient", "_elements=Observation.code", "_elements: Observation.code is no element", ""),
    ("Observation", "_elements=valueQuantities", "did you mean valueQuantity", ""),
    ("Patient", "_summary=true&_elements=name", "_summary=true: _elements says which parts are wanted", "_summary"),
    ("Patient", "_elements=name&_summary=text", "_summary=text: _elements says", "_summary"),
    ("Observation", "_summary=text&_include=Observation:subject", "cannot be mixed with _summary=text", "_include"),
    ("Patient", "_revinclude:iterate=Observation:subject&_summary=text", "cannot be mixed", "_revinclude:iterate"),
    ("Medication", "_containedType=contained", "says what is answered by _contained", "_containedType"),
    ("Medication", "_contained=false&_containedType=container", "says what is answered", "_containedType"),
]


@pytest.mark.parametrize(("type_", "text", "sentence", "dropped"), UNUSED)
def test_what_has_no_effect_is_reported_or_refused(type_: str, text: str, sentence: str, dropped: str) -> None:
    with pytest.raises(Outcome) as refusal:
        read(type_, text)
    assert (refusal.value.status, refusal.value.issues[0].code) == (400, "not-supported")
    assert sentence in str(refusal.value)
    query = read(type_, text, strict=False)
    (issue,) = query.ignored
    where = f"http.{dropped or '_elements'}"
    assert (refusal.value.issues[0].expression, issue.expression) == (where, where)
    assert sentence in issue.diagnostics
    assert dropped not in dict(query.used)
    assert (query.summary == "false") == (dropped in ("", "_summary", "_containedType"))
    assert (query.includes, query.revincludes) == ((), ())
    assert query.elements == (("name",) if "_elements=name" in text and "name.family" not in text else ())


def test_elements_that_are_none_leave_the_summary() -> None:
    query = read("Patient", "_summary=text&_elements=nmae", strict=False)
    assert (query.summary, query.elements, len(query.ignored)) == ("text", (), 1)


def test_what_was_meant_is_looked_up_for_a_few_names_alone() -> None:
    ignored = read("Patient", "_elements=nmae,naem,nmae,gendre,biirthDate,phoot", strict=False).ignored
    assert [" mean " in issue.diagnostics for issue in ignored] == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("Binary", "_include=*"),
        ("Patient", "active=http://hl7.org/fhir/special-values|true"),
        ("Patient", "_elements=name,Patient.birthDate,id,meta,resourceType"),
        ("Patient", "_elements=name&_id=" + ",".join("x" * 1000)),
        ("Observation", "_elements=valueQuantity,value"),
        ("Observation", "_elements=code,name&_include=Observation:subject"),
        ("Patient", "_elements=name&_summary=count"),
        ("Patient", "_elements=name&_summary=false"),
        ("Observation", "_sort=date&_sort=date"),
        ("Patient", "_include:iterate=Organization:partof"),
        ("Observation", "subject=http://elsewhere.org/Medication/1"),
        ("Observation", "subject=urn:uuid:1-2,Patient/1/_history/1"),
        ("Provenance", "target=Medication/1"),
        ("AuditEvent", "entity.subject=Medication/1"),
        ("Observation", "subject:missing=true"),
    ],
)
def test_what_has_an_effect_is_not_reported(type_: str, text: str) -> None:
    assert read(type_, text).ignored == ()


def test_result_parameters() -> None:
    query = read(
        "Observation",
        "code=a&code=b&_sort=-date,status&_count=0&_total=accurate&_elements=id,Observation.code"
        "&_format=json&_pretty=true&_contained=false&_include=Observation:subject:Patient"
        "&_revinclude=Provenance:target&_cursor=xyz",
    )
    assert [clause.parameter.code for clause in query.criteria] == ["code", "code"]
    assert [(key.code, key.descending) for key in query.sort] == [("date", True), ("status", False)]
    assert (query.count, query.total, query.summary, query.elements) == (
        0,
        "accurate",
        "false",
        ("id", "Observation.code"),
    )
    assert query.includes == (Include("Observation", "subject", "Patient"),)
    assert query.revincludes == (Include("Provenance", "target"),)
    assert query.cursor == "xyz"
    assert read("Observation", "_summary=data").summary == "data"
    assert "_cursor" not in dict(query.used)
    assert ("_format", "json") in query.used


def test_a_page_has_a_largest_size_and_says_so() -> None:
    query = read("Observation", "_count=5000")
    assert query.count == 1000
    assert query.used == (("_count", "1000"),)
    assert (query.ignored[0].severity, query.ignored[0].expression) == ("information", "http._count")
    assert read("Observation", "").count == 20


def test_a_star_includes_by_every_reference_that_fits() -> None:
    assert {each.code for each in read("Observation", "_include=Observation:*").includes} >= {"subject", "encounter"}
    codes = {each.code for each in read("Patient", "_revinclude=Observation:*").revincludes}
    assert codes >= {"subject", "patient", "performer"}
    assert "encounter" not in codes


OWN = {  # no client can say these
    ("reference", UNVERSIONED),
    ("uri", UNVERSIONED),
    ("reference", VERSIONS),
    ("token", BEGINNING),
    ("token", URL_BELOW),
    ("token", URL_ABOVE),
}


def test_every_value_that_can_be_read_can_be_found() -> None:
    assert VALUES.keys() == FILTERS.keys() - OWN | RESOLVED
    assert RESOLVED.isdisjoint(FILTERS)


NAMES = """code date value-quantity subject code-value-quantity _id _lastUpdated _sort _count _include status:not
code:text subject:identifier subject:Patient date:missing _elements value-string value-string:contains
_profile _has $where"""
names = st.text(max_size=12) | st.sampled_from(NAMES.split())
anything = st.text(max_size=20) | st.text("0123456789-:TZ.+|,$\\gelt ", max_size=20)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(names, anything), max_size=4), st.booleans())
def test_whatever_is_typed_there_is_a_filter_or_a_refusal(pairs: list[tuple[str, str]], strict: bool) -> None:
    refusal = None
    try:
        query = parse(
            "Observation", pairs, r4_registry(), strict=strict, base_url=BASE, default_count=20, max_count=1000
        )
    except Outcome as outcome:
        refusal = outcome
    if refusal is None:
        check_operators(query_filter(query, NOW))
    else:
        assert refusal.status == 400
        assert all(issue.diagnostics.encode() for issue in refusal.issues)


OPERATORS = {
    "$in",
    "$nin",
    "$eq",
    "$gte",
    "$lt",
    "$gt",
    "$lte",
    "$not",
    "$or",
    "$and",
    "$exists",
    "$elemMatch",
    "$regex",
}


def check_operators(filter_: Any) -> None:
    """Nothing that was typed became a key."""
    if isinstance(filter_, dict):
        for key, value in filter_.items():
            known = key in OPERATORS or key in {"deleted", "_id", "updated", "lo", "hi", "unit"}
            code = key.removeprefix("search.").partition(":")[0]
            assert known or code in r4_registry()["Observation"]
            check_operators(value)
    elif isinstance(filter_, list):
        for each in filter_:
            check_operators(each)
