"""One breach per row: what is wrong in it, the code that says so, and where."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.validate import Validator

VALIDATOR = Validator(r4(), required_codes())
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>hello</p></div>'

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "meta": {"versionId": "1", "lastUpdated": "2024-05-01T10:00:00.123Z", "profile": ["http://example.org/p|1"]},
    "text": {"status": "generated", "div": DIV},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinic"}],
    "extension": [{"url": "http://example.org/e", "valueDecimal": Decimal("1.00")}],
    "identifier": [{"use": "official", "system": "urn:oid:1.2.3", "value": "1"}],
    "active": True,
    "name": [{"family": "Chalmers", "given": ["Peter", None], "_given": [None, {"extension": [
        {"url": "http://example.org/unknown", "valueCode": "unknown"}]}]}],
    "gender": "male",
    "birthDate": "1974-12-25",
    "_birthDate": {"extension": [{"url": "http://example.org/t", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    "multipleBirthInteger": 2,
    "contact": [{"name": {"family": "du Marché", "given": ["Bénédicte", "A"]}}],
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/1", "type": "Practitioner"}],
    "communication": [{"language": {"text": "Nederlands"}}],
}  # fmt: skip
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "http://example.org/fhir/Patient/p1/_history/2"},
    "effectiveDateTime": "2024-02-29T23:59:60Z",
    "valueQuantity": {"value": Decimal("72.50"), "unit": "/min", "comparator": "<"},
}
CONDITION: dict[str, Any] = {
    "resourceType": "Condition",
    "clinicalStatus": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
    },
    "subject": {"reference": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d"},
}
BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "searchset",
    "total": 1,
    "entry": [{"fullUrl": "http://example.org/fhir/Patient/p1", "resource": PATIENT}, {"resource": OBSERVATION}],
}
PARAMETERS: dict[str, Any] = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "a", "valueUuid": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d"},
        {"name": "b", "resource": {"resourceType": "Binary", "contentType": "text/plain", "data": "aGk="}},
        {"name": "c", "part": [{"name": "d", "valueTime": "14:35:00.5"}, {"name": "e", "valueOid": "urn:oid:1.2.3"}]},
        {"name": "f", "valueInstant": "2015-02-07T13:28:17.239+02:00"},
        {"name": "g", "valueUrl": "https://example.org/a?b=c"},
        {"name": "h", "valuePositiveInt": 1},
        {"name": "i", "valueMarkdown": "# a\n\n* b"},
        {"name": "j", "valueId": "a-b.C"},
    ],
}
VALID = {r["resourceType"]: r for r in (PATIENT, OBSERVATION, CONDITION, BUNDLE, PARAMETERS)}
GONE = "(left out)"


@pytest.mark.parametrize("type_", sorted(VALID))
def test_the_resources_that_are_broken_below_are_valid(type_: str) -> None:
    assert VALIDATOR.issues(VALID[type_]) == []


def broken(start: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy in which `name.0.family` has another value, or is GONE."""
    node: Any = (copy := deepcopy(start))
    last: Any
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        node = node[step]
    if value is GONE:
        del node[last]
    elif isinstance(node, list):
        node[last : last + 1] = [value]
    else:
        node[last] = value
    return copy


def div(inner: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'


P, O, C, B, R = PATIENT, OBSERVATION, CONDITION, BUNDLE, PARAMETERS  # noqa: E741
EXTENDED = {"extension": [{"url": "http://example.org/e", "valueCode": "e"}]}
DATE_EXTENSION = {"extension": [{"url": "http://example.org/t", "valueDateTime": "1974-12-25T14:35:45"}]}

BREACHES: list[tuple[dict[str, Any], str, object, str, str | None]] = [
    # the resource and its elements
    (P, "resourceType", "Pateint", "structure", None),
    (P, "resourceType", "DomainResource", "structure", None),
    (P, "resourceType", GONE, "required", None),
    (P, "resourceType", 5, "structure", None),
    (P, "brithDate", "1974-12-25", "structure", "Patient.brithDate"),
    (P, "a b", 1, "structure", "Patient"),
    (P, "contact.0.name.given_names", ["x"], "structure", "Patient.contact[0].name.given_names"),
    (P, "meta.resourceType", "Meta", "structure", "Patient.meta.resourceType"),
    (P, "_contact", [{"id": "1"}], "structure", "Patient.contact"),
    (P, "identifier.0._id", {"extension": [{"url": "u:x", "valueCode": "a"}]}, "structure", "Patient.identifier[0].id"),
    (P, "extension.0._url", {"id": "a"}, "structure", "Patient.extension[0].url"),
    (P, "text._div", {"id": "a"}, "structure", "Patient.text.div"),
    # JSON types
    (P, "name", {"family": "x"}, "structure", "Patient.name"),
    (P, "name.0.given", "Peter", "structure", "Patient.name[0].given"),
    (P, "name.0.family", ["x"], "structure", "Patient.name[0].family"),
    (P, "name.0", "Peter", "structure", "Patient.name[0]"),
    (P, "name.0", None, "structure", "Patient.name[0]"),
    (P, "maritalStatus", [{"text": "x"}], "structure", "Patient.maritalStatus"),
    (P, "maritalStatus", None, "structure", "Patient.maritalStatus"),
    (P, "birthDate", None, "structure", "Patient.birthDate"),
    (P, "active", "true", "structure", "Patient.active"),
    (P, "active", 1, "structure", "Patient.active"),
    (P, "birthDate", 1974, "structure", "Patient.birthDate"),
    (P, "gender", {"code": "male"}, "structure", "Patient.gender"),
    (P, "multipleBirthInteger", "2", "structure", "Patient.multipleBirth"),
    (P, "multipleBirthInteger", True, "structure", "Patient.multipleBirth"),
    (O, "valueQuantity.value", "72.5", "structure", "Observation.value.value"),
    (O, "valueQuantity.value", False, "structure", "Observation.value.value"),
    (O, "valueQuantity", Decimal("7.5"), "structure", "Observation.value"),
    # emptiness and cardinality
    (P, "name", [], "structure", "Patient.name"),
    (P, "name.0", {}, "structure", "Patient.name[0]"),
    (P, "name.0.given", [], "structure", "Patient.name[0].given"),
    (P, "name.0.family", "", "value", "Patient.name[0].family"),
    (P, "gender", "", "value", "Patient.gender"),
    (P, "birthDate", "", "value", "Patient.birthDate"),
    (O, "status", GONE, "required", "Observation.status"),
    (O, "code", GONE, "required", "Observation.code"),
    (P, "communication.0", {"preferred": True}, "required", "Patient.communication[0].language"),
    (P, "extension.0.url", GONE, "required", "Patient.extension[0].url"),
    (P, "text.status", GONE, "required", "Patient.text.status"),
    # choices
    (O, "valueString", "high", "structure", "Observation.value"),
    (O, "_valueInteger", EXTENDED, "structure", "Observation.value"),
    (O, "valueAddress", {"city": "x"}, "structure", "Observation.value"),
    (O, "value", "x", "structure", "Observation.value"),
    (P, "multipleBirthBoolean", True, "structure", "Patient.multipleBirth"),
    # dates and times
    (P, "birthDate", "2023-02-29", "value", "Patient.birthDate"),
    (P, "birthDate", "1900-02-29", "value", "Patient.birthDate"),
    (P, "birthDate", "2024-04-31", "value", "Patient.birthDate"),
    (P, "birthDate", "2024-13", "value", "Patient.birthDate"),
    (P, "birthDate", "24-01-01", "value", "Patient.birthDate"),
    (P, "birthDate", "0000", "value", "Patient.birthDate"),
    (P, "birthDate", "2024-W01-1", "value", "Patient.birthDate"),
    (P, "birthDate", "2024-01-01\n", "value", "Patient.birthDate"),
    (P, "birthDate", "２０２４", "value", "Patient.birthDate"),
    (P, "birthDate", "1974-12-25T00:00:00Z", "value", "Patient.birthDate"),
    (O, "effectiveDateTime", "2024-05-01T10:00:00", "value", "Observation.effective"),
    (O, "effectiveDateTime", "2024-05-01T10:00Z", "value", "Observation.effective"),
    (O, "effectiveDateTime", "2024-05-01T24:00:00Z", "value", "Observation.effective"),
    (O, "effectiveDateTime", "2023-02-29T10:00:00Z", "value", "Observation.effective"),
    (O, "effectiveDateTime", "2024-05-01T10:00:00+15:00", "value", "Observation.effective"),
    (P, "meta.lastUpdated", "2024-05-01", "value", "Patient.meta.lastUpdated"),
    (R, "parameter.3.valueInstant", "2024-05-01T10:00:00", "value", "Parameters.parameter[3].value"),
    (R, "parameter.2.part.0.valueTime", "14:35", "value", "Parameters.parameter[2].part[0].value"),
    (R, "parameter.2.part.0.valueTime", "14:35:00Z", "value", "Parameters.parameter[2].part[0].value"),
    # other formats
    (P, "id", "a/b", "value", "Patient.id"),
    (P, "id", "x" * 65, "value", "Patient.id"),
    (R, "parameter.7.valueId", "a_b", "value", "Parameters.parameter[7].value"),
    (R, "parameter.0.valueUuid", "urn:uuid:04121321-4AF5-424c-a0e1-ed3aab1c349d", "value",
     "Parameters.parameter[0].value"),
    (R, "parameter.2.part.1.valueOid", "1.2.3", "value", "Parameters.parameter[2].part[1].value"),
    (R, "parameter.2.part.1.valueOid", "urn:oid:1.02.3", "value", "Parameters.parameter[2].part[1].value"),
    (R, "parameter.4.valueUrl", "https://a b", "value", "Parameters.parameter[4].value"),
    (P, "identifier.0.system", "urn:oid:1.2.3 ", "value", "Patient.identifier[0].system"),
    (P, "identifier.0.system", "a\u00a0b", "value", "Patient.identifier[0].system"),
    (P, "meta.profile.0", "http://exa mple.org", "value", "Patient.meta.profile[0]"),
    (O, "code.coding.0.code", " 8867-4", "value", "Observation.code.coding[0].code"),
    (O, "code.coding.0.code", "a  b", "value", "Observation.code.coding[0].code"),
    (O, "code.coding.0.code", "a\tb", "value", "Observation.code.coding[0].code"),
    (P, "name.0.family", "a\x00b", "value", "Patient.name[0].family"),
    (P, "name.0.family", "a\x1bb", "value", "Patient.name[0].family"),
    (P, "name.0.family", "a\ufffeb", "value", "Patient.name[0].family"),
    (P, "name.0.family", "x" * (1024 * 1024 + 1), "too-long", "Patient.name[0].family"),
    (R, "parameter.6.valueMarkdown", "\x07", "value", "Parameters.parameter[6].value"),
    (R, "parameter.1.resource.data", "aGk", "value", "Parameters.parameter[1].resource.data"),
    (R, "parameter.1.resource.data", "aGk=!", "value", "Parameters.parameter[1].resource.data"),
    (R, "parameter.1.resource.data", "é", "value", "Parameters.parameter[1].resource.data"),
    (R, "parameter.1.resource.data", "   ", "value", "Parameters.parameter[1].resource.data"),
    (P, "multipleBirthInteger", 2**31, "value", "Patient.multipleBirth"),
    (P, "multipleBirthInteger", Decimal("2.0"), "value", "Patient.multipleBirth"),
    (R, "parameter.5.valuePositiveInt", 0, "value", "Parameters.parameter[5].value"),
    (B, "total", -1, "value", "Bundle.total"),
    (O, "valueQuantity.value", Decimal("NaN"), "value", "Observation.value.value"),
    # extensions of primitives
    (P, "_birthDate", "x", "structure", "Patient.birthDate"),
    (P, "_birthDate", [{"id": "a"}], "structure", "Patient.birthDate"),
    (P, "_birthDate", {}, "structure", "Patient.birthDate"),
    (P, "_birthDate", {"value": "x"}, "structure", "Patient.birthDate.value"),
    (P, "_birthDate", DATE_EXTENSION, "value", "Patient.birthDate.extension[0].value"),
    (P, "name.0._given", {"id": "a"}, "structure", "Patient.name[0].given"),
    (P, "name.0._given", [None, None], "structure", "Patient.name[0].given[1]"),
    (P, "name.0._given", GONE, "structure", "Patient.name[0].given[1]"),
    (P, "name.0._given", [{"id": "a"}], "structure", "Patient.name[0].given[1]"),
    (P, "name.0._given", [], "structure", "Patient.name[0].given"),
    (P, "name.0._given.1", "x", "structure", "Patient.name[0].given[1]"),
    (P, "contact.0.name._given", [None, 5], "structure", "Patient.contact[0].name.given[1]"),
    (P, "name.0._prefix", [None], "structure", "Patient.name[0].prefix"),
    (P, "name.0._given", [None, {"id": "a"}], "structure", "Patient.name[0].given[1]"),
    (P, "maritalStatus", {"id": "a"}, "structure", "Patient.maritalStatus"),
    (P, "name.0", {"id": "a"}, "structure", "Patient.name[0]"),
    (P, "name.0.id", "a b", "value", "Patient.name[0].id"),
    # required codes
    (P, "language", "en_US", "code-invalid", "Patient.language"),
    (P, "language", "plain English", "code-invalid", "Patient.language"),
    (P, "gender", "mail", "code-invalid", "Patient.gender"),
    (P, "name.0.use", "Official", "code-invalid", "Patient.name[0].use"),
    (O, "status", "done", "code-invalid", "Observation.status"),
    (O, "valueQuantity.comparator", "=", "code-invalid", "Observation.value.comparator"),
    (C, "clinicalStatus.coding.0.code", "alive", "code-invalid", "Condition.clinicalStatus"),
    (C, "clinicalStatus.coding.0.system", "http://loinc.org", "code-invalid", "Condition.clinicalStatus"),
    (C, "clinicalStatus.coding.0.system", GONE, "code-invalid", "Condition.clinicalStatus"),
    (C, "clinicalStatus", {"text": "active"}, "code-invalid", "Condition.clinicalStatus"),
    # references and containment
    (O, "subject.reference", "Practitioner/1", "value", "Observation.subject"),
    (O, "subject.reference", "http://example.org/fhir/Practitioner/1/_history/2", "value", "Observation.subject"),
    (O, "subject.reference", "Practitioner?identifier=1", "value", "Observation.subject"),
    (O, "subject.reference", "Pateint/1", "value", "Observation.subject"),
    (O, "subject.reference", "Patient", "value", "Observation.subject"),
    (O, "subject.reference", "Patient/1/2", "value", "Observation.subject"),
    (O, "subject.reference", "Patient/a_b", "value", "Observation.subject"),
    (O, "subject.reference", "http://example.org/Patient/a b", "value", "Observation.subject"),
    (O, "subject", {"type": "Practitioner", "display": "x"}, "value", "Observation.subject"),
    (O, "subject.type", "Group", "value", "Observation.subject"),
    (O, "subject.reference", "#", "value", "Observation.subject"),
    (O, "referenceRange", [{"low": {"value": 1, "comparator": "<"}}], "invariant", "Observation.referenceRange[0].low"),
    (P, "managingOrganization.reference", "#x", "invariant", "Patient.managingOrganization"),
    (P, "generalPractitioner.0.type", "Organization", "value", "Patient.generalPractitioner[0]"),
    (P, "contained.0", {"resourceType": "Device", "id": "o"}, "value", "Patient.managingOrganization"),
    (P, "contained.0.contained", [{"resourceType": "Device"}], "invariant", "Patient.contained[0].contained"),
    (P, "contained.0.resourceType", "Nothing", "structure", "Patient.contained[0]"),
    (P, "contained.0.active", "yes", "structure", "Patient.contained[0].active"),
    (O, "contained", [], "structure", "Observation.contained"),
    (P, "contained", {"resourceType": "Device"}, "structure", "Patient.contained"),
    (P, "contained.1", {"resourceType": "Device"}, "required", "Patient.contained[1].id"),
    (P, "contained.1", {"resourceType": "Organization", "id": "o", "name": "x"}, "value", "Patient.contained[1].id"),
    # narrative
    (P, "text.div", 5, "structure", "Patient.text.div"),
    (P, "text.div", "<p>x</p>", "invariant", "Patient.text.div"),
    (P, "text.div", "<div>x</div>", "invariant", "Patient.text.div"),
    (P, "text.div", div("<p>x"), "invariant", "Patient.text.div"),
    (P, "text.div", div("&nbsp;"), "invariant", "Patient.text.div"),
    (P, "text.div", div("<script>1</script>"), "invariant", "Patient.text.div"),
    (P, "text.div", div('<b onclick="1">x</b>'), "invariant", "Patient.text.div"),
    (P, "text.div", div('<a href="java\tscript:x">x</a>'), "invariant", "Patient.text.div"),
    (P, "text.div", div('<b style="width: expression(1)">x</b>'), "invariant", "Patient.text.div"),
    (P, "text.div", div('<svg xmlns="http://www.w3.org/2000/svg"/>'), "invariant", "Patient.text.div"),
    (P, "text.div", f"<!DOCTYPE div>{DIV}", "invariant", "Patient.text.div"),
    (P, "text.div", f'<!DOCTYPE d [<!ENTITY a "b">]>{div("&a;")}', "invariant", "Patient.text.div"),
    (P, "text.div", f'<?xml-stylesheet href="a"?>{DIV}', "invariant", "Patient.text.div"),
    (P, "text.div", div("<![CDATA[><img src='x' onerror='alert(1)'/>]]>"), "invariant", "Patient.text.div"),
    (P, "text.div", div("<!--><img src='x' onerror='alert(1)'/>-->"), "invariant", "Patient.text.div"),
    (P, "text.div", div("<!---><img src='x' onerror='alert(1)'/>-->"), "invariant", "Patient.text.div"),
    (P, "text.div", div("<?php x ?>"), "invariant", "Patient.text.div"),
    # resources in resources
    (B, "entry.0.resource.gender", "mail", "code-invalid", "Bundle.entry[0].resource.gender"),
    (B, "entry.1.resource", {"resourceType": "Foo"}, "structure", "Bundle.entry[1].resource"),
    (B, "entry.1.resource", {"id": "x"}, "required", "Bundle.entry[1].resource"),
    (B, "entry.1.resource", "x", "structure", "Bundle.entry[1].resource"),
    (B, "entry.1.resource.subject.reference", "#o", "invariant", "Bundle.entry[1].resource.subject"),
    (R, "parameter.1.resource.contentType", GONE, "required", "Parameters.parameter[1].resource.contentType"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "path", "value", "code", "expression"),
    BREACHES,
    ids=[f"{start['resourceType']}.{path}={str(value)[:30]!r}" for start, path, value, *_ in BREACHES],
)
def test_a_breach_is_one_issue(
    start: dict[str, Any], path: str, value: object, code: str, expression: str | None
) -> None:
    issues = VALIDATOR.issues(broken(start, path, value))
    assert [(issue.severity, issue.code, issue.expression) for issue in issues] == [("error", code, expression)]
    assert 10 < len(issues[0].diagnostics) < 600


@pytest.mark.parametrize("value", [None, [], "x", 5, [{}]])
def test_a_resource_is_an_object(value: object) -> None:
    (issue,) = VALIDATOR.issues(value)
    assert (issue.code, issue.expression) == ("structure", None)


@pytest.mark.parametrize(
    ("start", "path", "value", "words"),
    [
        (P, "brithDate", "x", 'did you mean "birthDate"?'),
        (P, "resourceType", "Pateint", 'did you mean "Patient"?'),
        (P, "gender", "femal", 'did you mean "female"?'),
        (P, "birthDate", "2023-02-29", "2023-02 has 28 days"),
        (O, "effectiveDateTime", "2024-05-01T10:00:00", "a time needs its time zone"),
        (O, "valueQuantity", 5, "expected a JSON object (Quantity), found a number"),
        (P, "birthDate", None, "expected a JSON string (date), found null"),
        (P, "name", {"text": "x"}, "name repeats: expected an array, found an object"),
        (P, "_name", {"text": "x"}, "Patient has no _name"),
        (P, "text.div", div("&nbsp;"), "Entity 'nbsp' not defined"),
        (P, "text.div", div('<svg xmlns="http://www.w3.org/2000/svg"/>'), "may not hold <svg>"),
        (P, "text.div", div("\ud800"), "characters that are none"),
        (O, "valueInteger", 5, "one value; here are valueInteger, valueQuantity"),
        (O, "valueAddress", 5, "never Address; it is CodeableConcept, Period, Quantity"),
        (O, "effectiveDateTime", "x", "(effectiveDateTime)"),
        (O, "subject.reference", "Practitioner/1", "it may point at Device, Group, Location, Patient"),
        (C, "clinicalStatus.coding.0.system", "u:x", "has the system http://terminology.hl7.org/CodeSystem/condition"),
    ],
)
def test_an_issue_says_what_helps(start: dict[str, Any], path: str, value: object, words: str) -> None:
    (issue,) = VALIDATOR.issues(broken(start, path, value))
    assert words in issue.diagnostics


@pytest.mark.parametrize(
    ("start", "path", "value"),
    [
        (P, "birthDate", "2000-02-29"),
        (P, "birthDate", "1974"),
        (P, "name.0.family", "a\tb\r\nc\u00a0é 🙂"),
        (P, "name.0.family", " "),
        (P, "name.0.family", "é" * 1024 * 1024),
        (O, "subject.reference", "Practitioner/1?x"),
        (O, "subject.reference", "Patient/1#name"),
        (O, "subject.reference", "urn:oid:1.2.3"),
        (O, "subject.reference", "https://example.org/a/b?c=d#e"),
        (P, "contact.0.name._given", [None, {"id": "a"}, EXTENDED]),
        (P, "contact.0.name._given", [{"id": "a"}]),
        (O, "_valueQuantity", GONE),
        (O, "valueQuantity.value", Decimal("1E+3")),
        (O, "valueQuantity.value", 10**40),
        (O, "subject", {"reference": "Patient?identifier=http://example.org|1"}),
        (O, "subject", {"reference": "http://example.org/anything", "type": "Patient"}),
        (O, "subject", {"identifier": {"value": "1"}, "type": "http://hl7.org/fhir/StructureDefinition/Patient"}),
        (O, "code.coding.0.code", "a b"),
        (R, "parameter.1.resource.data", "aGk =\n"),
        (P, "text.div", div('<a href="data.html">x</a><!-- note --><img src="data:image/png;base64,AA==" alt="x"/>')),
    ],
)
def test_unusual_and_right(start: dict[str, Any], path: str, value: object) -> None:
    resource = broken(start, path, value) if value is not GONE else start
    assert VALIDATOR.issues(resource) == []


def test_an_extension_may_stand_for_a_required_value() -> None:
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "error"}]
    }
    resource = broken(OBSERVATION, "status", GONE) | {"_status": absent}
    assert VALIDATOR.issues(resource) == []


def test_issues_come_in_order_and_end_at_a_hundred() -> None:
    resource = broken(PATIENT, "name", [{"use": "x", "given": [""] * 3}] * 5_000) | {"gender": "x"}
    issues = VALIDATOR.issues(resource)
    assert len(issues) == 100
    assert [issue.expression for issue in issues[:5]] == [
        "Patient.name[0].use",
        "Patient.name[0].given[0]",
        "Patient.name[0].given[1]",
        "Patient.name[0].given[2]",
        "Patient.name[1].use",
    ]


def test_depth_is_bounded() -> None:
    item: dict[str, Any] = {"linkId": "1", "type": "group"}
    for _ in range(5_000):
        item = {"linkId": "1", "type": "group", "item": [item]}
    (issue,) = VALIDATOR.issues({"resourceType": "Questionnaire", "status": "draft", "item": [item]})
    assert issue.code == "too-costly"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("subject.reference", "http://" + "a?/" * 300_000 + " "),
        ("subject.reference", "http://" + "a/" * 500_000 + " "),
        ("subject.reference", "a" * 1_000_000),
        ("code.coding.0.code", "a " * 500_000),
        ("effectiveDateTime", "2024-05-01T10:00:00." + "0" * 1_000_000),
        ("code.coding.0.system", "a" * 1_000_000 + " "),
        ("text", {"status": "generated", "div": "<div>" * 200_000}),
        ("text", {"status": "generated", "div": div("<b>x</b>" * 100_000)}),
        ("x" * 1_000_000, 1),
        ("note", [{"text": "x", **{f"autor{i}": 1 for i in range(1000)}}] * 1000),
        ("note", [{"text": "x", "_text": [None] * 100_000}]),
        ("contained", [{"resourceType": "Patient", "id": str(i)} for i in range(50_000)]),
    ],
)
@pytest.mark.timeout(20)  # what is exponential or quadratic takes minutes
def test_long_values_come_to_an_end(path: str, value: object) -> None:
    assert isinstance(VALIDATOR.issues(broken(OBSERVATION, path, value)), list)


def test_value_sets_that_are_not_known_are_not_checked() -> None:
    assert Validator(r4(), {}).issues(broken(PATIENT, "gender", "mail")) == []
