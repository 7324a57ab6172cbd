"""How many hand-made breaches are found, of every kind of rule that docs/validation.md lists for the types of R4.

One breach per row, beside those of test_breaches.py and test_invariants.py; each is to be found where it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.validate import Validator
from tests.validation import test_breaches

Json = dict[str, Any]
VALIDATOR = Validator(r4(), required_codes())
DOCS = Path(__file__).parents[2] / "docs" / "validation.md"
LEAST = 0.97


def patient(**said: Any) -> Json:
    return {"resourceType": "Patient", **said}


def observation(**said: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **said}


def narrated(inner: str) -> Json:
    return patient(text={"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'})


def entry(**said: Any) -> Json:
    return {"resourceType": "Bundle", "type": "collection", "entry": [said]}


def deep(levels: int) -> Json:
    item: Json = {"linkId": "1", "type": "group"}
    for _ in range(levels):
        item = {"linkId": "1", "type": "group", "item": [item]}
    return {"resourceType": "Questionnaire", "status": "draft", "item": [item]}


STRING = {"url": "http://example.org/e", "valueString": "x"}
UCUM, UUID = "http://unitsofmeasure.org", "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d"
ORGANIZATION = {"resourceType": "Organization", "id": "o", "name": "x"}

# the rule, the resource, and where it is broken
ROWS: list[tuple[str, Any, str | None]] = [
    ("resource-type", {"id": "x"}, None),
    ("resource-type", {"resourceType": "patient"}, None),
    ("resource-type", {"resourceType": "BackboneElement"}, None),
    ("json-type", observation(component={"code": {"text": "x"}}), "Observation.component"),
    ("json-type", observation(note="x"), "Observation.note"),
    ("json-type", observation(valueBoolean="false"), "Observation.value"),
    ("json-type", patient(link=[["x"]]), "Patient.link[0]"),
    (
        "unknown-element",
        patient(name=[{"text": "x", "modifierExtension": [STRING]}]),
        "Patient.name[0].modifierExtension",
    ),
    ("unknown-element", patient(_gender={"modifierExtension": [STRING]}), "Patient.gender.modifierExtension"),
    ("unknown-element", patient(_gender={"value": "male"}), "Patient.gender.value"),
    ("unknown-element", patient(_resourceType={"id": "a"}), "Patient.resourceType"),
    ("unknown-element", {"resourceType": "Binary", "contentType": "text/plain", "text": {}}, "Binary.text"),
    ("unknown-element", observation(fhir_comments=["x"]), "Observation.fhir_comments"),
    ("choice-type", observation(valueCode="x"), "Observation.value"),
    ("choice-type", patient(deceased=True), "Patient.deceased"),
    ("choice-type", patient(deceasedBoolean=True, _deceasedDateTime={"extension": [STRING]}), "Patient.deceased"),
    ("choice-type", patient(extension=[STRING | {"valueCode": "x"}]), "Patient.extension[0].value"),
    ("cardinality-min", {"resourceType": "Encounter", "status": "planned"}, "Encounter.class"),
    (
        "cardinality-min",
        {"resourceType": "Medication", "ingredient": [{"isActive": True}]},
        "Medication.ingredient[0].item",
    ),
    ("cardinality-min", {"resourceType": "Linkage"}, "Linkage.item"),
    ("empty", patient(contact=[{}]), "Patient.contact[0]"),
    ("empty", patient(contact=[{"id": "a"}]), "Patient.contact[0]"),
    ("empty", patient(_birthDate={"id": "a"}), "Patient.birthDate"),
    ("empty", patient(name=[{"given": [""]}]), "Patient.name[0].given[0]"),
    ("empty", observation(identifier=[]), "Observation.identifier"),
    ("format", patient(birthDate="25.12.1974"), "Patient.birthDate"),
    ("format", patient(birthDate="1974-1-5"), "Patient.birthDate"),
    ("format", observation(issued="2024-05-01T10:00Z"), "Observation.issued"),
    (
        "format",
        observation(component=[{"code": {"text": "x"}, "valueTime": "25:00:00"}]),
        "Observation.component[0].value",
    ),
    ("format", patient(implicitRules="http://a b"), "Patient.implicitRules"),
    ("format", patient(meta={"versionId": "1/2"}), "Patient.meta.versionId"),
    ("format", patient(name=[{"id": "a b", "text": "x"}]), "Patient.name[0].id"),
    ("format", patient(photo=[{"contentType": "image/png", "hash": "z!"}]), "Patient.photo[0].hash"),
    ("format", patient(identifier=[{"system": "urn:oid:1.2.x", "value": "1"}]), "Patient.identifier[0].system"),
    (
        "format",
        patient(identifier=[{"system": UUID.upper()[:9].lower() + "X", "value": "1"}]),
        "Patient.identifier[0].system",
    ),
    ("format", observation(subject={"reference": "urn:uuid:1"}), "Observation.subject.reference"),
    ("value-range", patient(telecom=[{"system": "phone", "rank": 0}]), "Patient.telecom[0].rank"),
    ("value-range", patient(multipleBirthInteger=-(2**31) - 1), "Patient.multipleBirth"),
    ("value-range", patient(photo=[{"contentType": "image/png", "size": -1}]), "Patient.photo[0].size"),
    ("max-length", observation(valueString="x" * (1024 * 1024 + 1)), "Observation.value"),
    ("max-length", observation(note=[{"text": "x" * (1024 * 1024 + 1)}]), "Observation.note[0].text"),
    ("binding", patient(language="en_GB"), "Patient.language"),
    ("binding", patient(address=[{"use": "office", "text": "x"}]), "Patient.address[0].use"),
    ("binding", patient(photo=[{"contentType": "png"}]), "Patient.photo[0].contentType"),
    (
        "binding",
        {"resourceType": "Invoice", "status": "issued", "totalNet": {"currency": "EURO"}},
        "Invoice.totalNet.currency",
    ),
    ("reference-format", observation(subject={"reference": "foo"}), "Observation.subject"),
    ("reference-format", observation(subject={"reference": "Patient/"}), "Observation.subject"),
    ("reference-format", observation(subject={"reference": f"Patient/{'a' * 65}"}), "Observation.subject"),
    ("reference-format", observation(subject={"reference": "http://example.org/Patient/a b"}), "Observation.subject"),
    ("reference-target", observation(encounter={"reference": "Patient/1"}), "Observation.encounter"),
    ("reference-target", observation(device={"type": "Patient", "display": "x"}), "Observation.device"),
    (
        "reference-target",
        patient(link=[{"other": {"reference": "Person/1"}, "type": "refer"}]),
        "Patient.link[0].other",
    ),
    ("reference-contained", observation(subject={"reference": "#p"}), "Observation.subject"),
    ("contained", patient(contained=[{"resourceType": "Organization", "name": "x"}]), "Patient.contained[0].id"),
    (
        "contained",
        patient(contained=[ORGANIZATION, ORGANIZATION], managingOrganization={"reference": "#o"}),
        "Patient.contained[1].id",
    ),
    (
        "contained",
        patient(contained=[ORGANIZATION | {"contained": [ORGANIZATION]}], managingOrganization={"reference": "#o"}),
        "Patient.contained[0].contained",
    ),
    ("narrative", narrated('<iframe src="x"/>a'), "Patient.text.div"),
    ("narrative", narrated("<form>a</form>"), "Patient.text.div"),
    ("narrative", narrated("<object>a</object>"), "Patient.text.div"),
    ("narrative", narrated('<link href="x"/>a'), "Patient.text.div"),
    ("narrative", narrated("<style>a</style>"), "Patient.text.div"),
    ("narrative", narrated('<input value="a"/>a'), "Patient.text.div"),
    ("narrative", narrated('<img src="x" onload="a()"/>'), "Patient.text.div"),
    ("narrative", narrated('<a href=" JavaScript:alert(1)">a</a>'), "Patient.text.div"),
    ("narrative", narrated('<a href="data:text/html,x">a</a>'), "Patient.text.div"),
    ("narrative", narrated('<p xmlns="u:x">a</p>'), "Patient.text.div"),
    ("narrative", narrated(" \n "), "Patient.text.div"),
    (
        "invariant",
        {
            "resourceType": "Encounter",
            "status": "planned",
            "class": {"code": "AMB"},
            "period": {"start": "2024-02", "end": "2024-01"},
        },
        "Encounter.period",
    ),
    ("invariant", observation(valueQuantity={"value": 1, "code": "mg"}), "Observation.value"),
    ("invariant", observation(valueRange={"low": {"value": 2}, "high": {"value": 1}}), "Observation.value"),
    ("invariant", observation(valueString="x", dataAbsentReason={"text": "x"}), "Observation"),
    ("invariant", observation(referenceRange=[{"type": {"text": "x"}}]), "Observation.referenceRange[0]"),
    ("invariant", patient(extension=[{"url": "http://example.org/e"}]), "Patient.extension[0]"),
    ("invariant", patient(contact=[{"gender": "male"}]), "Patient.contact[0]"),
    ("invariant", {"resourceType": "Organization"}, "Organization"),
    ("invariant", {"resourceType": "Bundle", "type": "collection", "total": 1}, "Bundle"),
    ("bundle-fullurl", entry(fullUrl="Patient/1", resource=patient(id="1")), "Bundle.entry[0].fullUrl"),
    (
        "bundle-fullurl",
        entry(fullUrl="http://example.org/fhir/Patient/2", resource=patient(id="1")),
        "Bundle.entry[0].fullUrl",
    ),
    (
        "bundle-reference",
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c3490",
                    "request": {"method": "POST", "url": "Observation"},
                    "resource": observation(subject={"reference": UUID}),
                }
            ],
        },
        "Bundle.entry[0].resource.subject",
    ),
    ("depth", deep(3_000), None),
    ("uri", patient(extension=[STRING | {"url": "race"}]), "Patient.extension[0].url"),
    ("uri", patient(_gender={"extension": [STRING | {"url": "sex"}]}), "Patient.gender.extension[0].url"),
    ("uri", patient(modifierExtension=[STRING | {"url": "#not"}]), "Patient.modifierExtension[0].url"),
    ("uri", observation(code={"coding": [{"system": "loinc", "code": "x"}]}), "Observation.code.coding[0].system"),
    ("uri", observation(code={"coding": [{"system": "#local", "code": "x"}]}), "Observation.code.coding[0].system"),
    ("uri", patient(identifier=[{"system": "mrn", "value": "1"}]), "Patient.identifier[0].system"),
    ("uri", patient(identifier=[{"system": "urn:ietf:rfc:3986", "value": "1.2.3"}]), "Patient.identifier[0].value"),
    ("uri", patient(meta={"profile": ["us-core-patient"]}), "Patient.meta.profile[0]"),
    (
        "uri",
        {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "phq-9"},
        "QuestionnaireResponse.questionnaire",
    ),
    ("unit", observation(valueQuantity={"value": 1, "system": UCUM, "code": "mmHg"}), "Observation.value.code"),
    (
        "unit",
        observation(valueRange={"low": {"value": 1, "system": UCUM, "code": "mcg"}}),
        "Observation.value.low.code",
    ),
]


def made() -> list[tuple[str | None, Any, str | None]]:
    """Of all tables; the others do not name the rule."""
    others = [
        (None, test_breaches.broken(start, path, value), expression)
        for start, path, value, _, expression in test_breaches.BREACHES
    ]
    return [*ROWS, *others]


def found(rule: str | None, resource: Any, expression: str | None) -> bool:
    issues = VALIDATOR.thorough(resource).issues
    wrong = [each for each in issues if each.severity == "error" or each.rule in ("unit", "uri")]
    return any(each.expression == expression and rule in (None, each.rule) for each in wrong)


@pytest.mark.parametrize(("rule", "resource", "expression"), ROWS, ids=[f"{row[0]} {row[2]}" for row in ROWS])
def test_a_breach_is_found(rule: str, resource: Any, expression: str | None) -> None:
    assert found(rule, json.resource(json.encode(resource)) if rule != "depth" else resource, expression)


def test_nearly_all_breaches_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    rows = made()
    missed = [(rule, expression) for rule, resource, expression in rows if not found(rule, resource, expression)]
    rate = 1 - len(missed) / len(rows)
    with capsys.disabled():
        print(f"\n{len(rows)} breaches, {rate:.1%} found; missed: {missed}")
    assert len(rows) >= 150
    assert rate >= LEAST


def test_every_rule_that_is_documented_is_broken_here() -> None:
    """Those of profiles and of terminology have tests of their own."""
    _, listed = DOCS.read_text().split("## Rules")
    documented = set()
    for row in re.findall(r"^\| (`.*?) \|", listed.split("Of codes, where")[0], re.MULTILINE):
        documented |= set(re.findall(r"`([a-z-]+)`", row))
    assert documented == {rule for rule, *_ in ROWS}
