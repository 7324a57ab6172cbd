"""What is stored for search, as tables: https://hl7.org/fhir/R4/search.html"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from bson import encode
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st
from official import EXAMPLES, beside, examples

from fhirserver.fhir import json
from fhirserver.fhir.dates import EARLIEST, LATEST
from fhirserver.fhir.definitions import r4
from fhirserver.search.compartments import SOMEBODY, compartments, parameters_for, types_in
from fhirserver.search.expressions import member, parse, routes
from fhirserver.search.forms import FORMS, NO_FORMS, case_matters, repeats
from fhirserver.search.generated import LAST
from fhirserver.search.index import Indexer, raw_function
from fhirserver.search.parameters import Parameter, r4_registry
from fhirserver.search.values import strings, tokens
from fhirserver.store.decimals import decimal128
from terminology.canonical import Canonical
from terminology.published import published, published_urls

BASE = "http://localhost:8000/fhir"
INDEXER = Indexer(r4(), r4_registry(), BASE)

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(low: str | datetime, high: str | datetime) -> dict[str, datetime]:
    return {end: at(text) if isinstance(text, str) else text for end, text in (("lo", low), ("hi", high))}


def between(low: str, high: str, *unit: str) -> dict[str, Any]:
    ends: dict[str, Any] = {"lo": Decimal128(low), "hi": Decimal128(high)}
    return {**ends, "unit": [*unit]} if unit else ends


def number(text: str) -> dict[str, Any]:
    return between(text, text)


def concept(*codes: str, text: str | None = None) -> dict[str, Any]:
    codings = [dict(zip(("system", "code", "display"), code.split("|"), strict=False)) for code in codes]
    found: dict[str, Any] = {"coding": codings} if codings else {}
    return found if text is None else {**found, "text": text}


PULSE = concept(f"{LOINC}|8867-4")
PULSE_FORMS = [f"{LOINC}|8867-4", "8867-4", f"{LOINC}|"]
BEATS = {"value": Decimal("72.0"), "unit": "beats/min", "system": UCUM, "code": "/min"}
BEATS_FORMS = between("72.0", "72.0", f"{UCUM}|/min", "/min", "beats/min")
BEATS_FORMS |= {"in": "s-1", "from": Decimal128("1.2"), "to": Decimal128("1.2")}

# resource, parameter (with suffix), stored values, or None where nothing is stored
TABLE: list[tuple[dict[str, Any], str, Any]] = [
    # token
    ({"resourceType": "Observation", "code": PULSE}, "code", PULSE_FORMS),
    ({"resourceType": "Observation", "code": concept("|x")}, "code", ["|x", "x", "|", "|x ", "x "]),
    ({"resourceType": "Observation", "code": {"coding": [{"code": "x"}]}}, "code", ["x", "|x", "|x ", "x "]),
    ({"resourceType": "Observation", "code": {"coding": [{"code": "1"}]}}, "code", ["1", "|1"]),
    (
        {"resourceType": "Observation", "code": concept("urn:s|R5")},
        "code",
        ["urn:s|R5", "R5", "urn:s|", "urn:s|r5 ", "r5 "],
    ),
    ({"resourceType": "Observation", "code": concept(f"{UCUM}|mL")}, "code", [f"{UCUM}|mL", "mL", f"{UCUM}|"]),
    (
        {"resourceType": "Patient", "telecom": [{"system": "email", "value": "A@B"}]},
        "email",
        ["email|A@B", "A@B", "email|", "email|a@b ", "a@b "],
    ),
    ({"resourceType": "Patient", "identifier": [{"system": "s", "value": "Ab"}]}, "identifier", ["s|Ab", "Ab", "s|"]),
    (
        {"resourceType": "Patient", "communication": [{"language": concept("l|en-US")}]},
        "language",
        ["l|en-US", "en-US", "l|", "l|en-us ", "en-us "],
    ),
    ({"resourceType": "Observation", "code": {"coding": [{"system": "urn:s"}]}}, "code", ["urn:s|"]),
    ({"resourceType": "Observation", "code": concept("s|1", "s|2")}, "code", ["s|1", "1", "s|", "s|2", "2"]),
    ({"resourceType": "Observation", "code": concept("s|a|Größe", text="A  b")}, "code:text", ["a b", "grosse"]),
    ({"resourceType": "Observation", "code": concept(text="pulse")}, "code", []),
    ({"resourceType": "Observation", "code": concept(text="pulse")}, "code:text", ["pulse"]),
    ({"resourceType": "Observation", "code": PULSE}, "code:text", None),
    ({"resourceType": "Observation"}, "code", None),
    (
        {"resourceType": "Observation", "code": PULSE, "component": [{"code": concept("s|1")}]},
        "combo-code",
        [*PULSE_FORMS, "s|1", "1", "s|"],
    ),
    (
        {"resourceType": "Observation", "status": "final"},
        "status",
        ["http://hl7.org/fhir/observation-status|final", "final", "http://hl7.org/fhir/observation-status|"],
    ),
    ({"resourceType": "Task", "intent": "order"}, "intent", ["order", "|order", "|order ", "order "]),
    ({"resourceType": "Patient", "active": True}, "active", ["true"]),
    ({"resourceType": "Patient", "active": False}, "active", ["false"]),
    ({"resourceType": "Patient"}, "deceased", ["false"]),
    ({"resourceType": "Patient", "deceasedBoolean": False}, "deceased", ["false"]),
    ({"resourceType": "Patient", "deceasedBoolean": True}, "deceased", ["true"]),
    ({"resourceType": "Patient", "deceasedDateTime": "2020"}, "deceased", ["true"]),
    ({"resourceType": "Patient", "deceasedDateTime": "2020"}, "death-date", [span("2020-01-01", "2021-01-01")]),
    ({"resourceType": "Patient", "identifier": [{"system": "s", "value": "1"}]}, "identifier", ["s|1", "1", "s|"]),
    ({"resourceType": "Patient", "identifier": [{"value": "1"}]}, "identifier", ["1", "|1"]),
    (
        {"resourceType": "Patient", "identifier": [{"value": "1", "type": concept("t|MR")}]},
        "identifier:of-type",
        ["t|MR|1"],
    ),
    ({"resourceType": "Patient", "identifier": [{"type": {"text": "A Card"}}]}, "identifier:text", ["a card"]),
    ({"resourceType": "Patient", "telecom": [{"system": "phone", "value": "1"}]}, "phone", ["phone|1", "1", "phone|"]),
    (
        {"resourceType": "Patient", "telecom": [{"system": "phone", "value": "1"}]},
        "telecom",
        ["phone|1", "1", "phone|"],
    ),
    ({"resourceType": "Patient", "telecom": [{"value": "1"}]}, "telecom", ["1", "|1"]),
    ({"resourceType": "Patient", "telecom": [{"system": "email", "value": "1"}]}, "phone", None),
    (
        {"resourceType": "Patient", "meta": {"tag": [{"system": "s", "code": "t"}]}},
        "_tag",
        ["s|t", "t", "s|", "s|t ", "t "],
    ),
    ({"resourceType": "Patient", "meta": {"tag": [{"display": "New"}]}}, "_tag:text", ["new"]),
    ({"resourceType": "Patient", "meta": {"security": [{"code": "R"}]}}, "_security", ["R", "|R", "|r ", "r "]),
    ({"resourceType": "Patient", "id": "1", "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}, "_id", None),
    ({"resourceType": "Patient", "id": "1", "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}, "_lastUpdated", None),
    ({"resourceType": "MessageHeader", "eventUri": "urn:e"}, "event", ["urn:e", "|urn:e"]),
    ({"resourceType": "ValueSet", "expansion": {"identifier": "urn:x"}}, "expansion", ["urn:x"]),
    (
        {"resourceType": "Device", "extension": [{"url": "http://example.org/x", "valueString": "y"}]},
        "din",
        None,
    ),
    # string
    ({"resourceType": "Patient", "name": [{"family": "Åström"}]}, "family", ["astrom"]),
    ({"resourceType": "Patient", "name": [{"family": "Åström"}]}, "family:exact", ["Åström"]),
    ({"resourceType": "Patient", "name": [{"given": ["Ann", None, "Lee"]}]}, "given", ["ann", "lee"]),
    ({"resourceType": "Patient", "name": [{"given": [None], "_given": [{"id": "x"}]}]}, "given", None),
    (
        {"resourceType": "Patient", "name": [{"family": "B", "given": ["A"], "text": "A B", "prefix": ["Dr"]}]},
        "name",
        ["b", "a b", "a", "dr"],
    ),
    ({"resourceType": "Patient", "name": [{"family": "O'Hara"}]}, "family", ["ohara"]),
    (
        {"resourceType": "Patient", "name": [{"family": "Smith-Jones"}]},
        "family",
        ["smithjones", "smith jones ", "jones "],
    ),
    ({"resourceType": "Patient", "name": [{"family": "Smith-Jones"}]}, "family:exact", ["Smith-Jones"]),
    ({"resourceType": "Patient", "name": [{"family": "van der Meer"}]}, "name", ["van der meer", "der meer ", "meer "]),
    ({"resourceType": "Patient", "name": [{"family": "van der Meer"}]}, "name:exact", ["van der Meer"]),
    ({"resourceType": "Patient", "name": [{"family": "van der Meer"}]}, "name:family", None),
    ({"resourceType": "Patient", "name": [{"given": ["Mary Ann"]}]}, "name", ["mary ann"]),
    ({"resourceType": "Patient", "name": [{"family": "…"}]}, "family", [""]),
    ({"resourceType": "Organization", "name": "St. Mary's/North"}, "name", ["st marysnorth", "st marys north "]),
    ({"resourceType": "Observation", "code": concept("s|a|Hb A1c/Hb.total")}, "code:text", ["hb a1c hb total"]),
    ({"resourceType": "Patient", "name": [{"family": "B"}, {"family": "b"}]}, "name:exact", ["B", "b"]),
    ({"resourceType": "Patient", "name": [{"family": "B"}, {"family": "b"}]}, "name", ["b"]),
    (
        {"resourceType": "Patient", "address": [{"line": ["1 High St", "Flat 2"], "city": "Leeds", "country": "GB"}]},
        "address",
        ["leeds", "gb", "1 high st", "flat 2"],
    ),
    ({"resourceType": "InsurancePlan", "name": "Gold"}, "name", ["gold"]),
    ({"resourceType": "Observation", "valueString": "High"}, "value-string", ["high"]),
    ({"resourceType": "Observation", "valueCodeableConcept": {"text": "High"}}, "value-string", ["high"]),
    # reference
    ({"resourceType": "Observation", "subject": {"reference": "Patient/1"}}, "subject", ["Patient/1"]),
    ({"resourceType": "Observation", "subject": {"reference": f"{BASE}/Patient/1"}}, "subject", ["Patient/1"]),
    ({"resourceType": "Observation", "subject": {"reference": "Patient/1"}}, "patient", ["Patient/1"]),
    ({"resourceType": "Observation", "subject": {"reference": "Group/1"}}, "patient", None),
    (
        {"resourceType": "Observation", "subject": {"reference": "http://x.org/Patient/1"}},
        "patient",
        ["http://x.org/Patient/1"],
    ),
    (
        {"resourceType": "Observation", "subject": {"reference": "Patient/1/_history/2"}},
        "patient",
        ["Patient/1", "Patient/1/_history/2"],
    ),
    (
        {"resourceType": "Observation", "subject": {"reference": "urn:uuid:1", "type": "Patient"}},
        "patient",
        ["urn:uuid:1"],
    ),
    ({"resourceType": "Observation", "subject": {"reference": "#p"}}, "subject", []),
    (
        {"resourceType": "Observation", "subject": {"type": "Patient", "identifier": {"system": "s", "value": "1"}}},
        "patient:identifier",
        ["s|1", "1", "s|"],
    ),
    ({"resourceType": "Observation", "subject": {"display": "Ann"}}, "subject", []),
    (
        {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Composition", "id": "c"}}]},
        "composition",
        ["Composition/c"],
    ),
    ({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Composition", "id": "c"}}]}, "message", []),
    (
        {"resourceType": "Bundle", "entry": [{"fullUrl": "urn:x"}, {"resource": {"resourceType": "Patient"}}]},
        "message",
        None,
    ),
    ({"resourceType": "ActivityDefinition", "library": ["http://l|1.0"]}, "depends-on", ["http://l|1.0", "http://l"]),
    (
        {"resourceType": "ActivityDefinition", "relatedArtifact": [{"type": "successor", "resource": "http://l"}]},
        "successor",
        ["http://l"],
    ),
    ({"resourceType": "ConceptMap", "sourceUri": "http://s"}, "source", None),
    ({"resourceType": "ConceptMap", "sourceUri": "http://s"}, "source-uri", ["http://s"]),
    (
        {
            "resourceType": "QuestionnaireResponse",
            "item": [
                {
                    "extension": [
                        {
                            "url": "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject",
                            "valueBoolean": True,
                        }
                    ],
                    "answer": [{"valueReference": {"reference": "Patient/9"}}, {"valueString": "x"}],
                },
                {"answer": [{"valueReference": {"reference": "Patient/8"}}]},
            ],
        },
        "item-subject",
        ["Patient/9"],
    ),
    (
        {
            "resourceType": "DiagnosticReport",
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/DiagnosticReport-geneticsAssessedCondition",
                    "valueReference": {"reference": "Condition/1"},
                }
            ],
        },
        "assessed-condition",
        ["Condition/1"],
    ),
    # date
    ({"resourceType": "Patient", "birthDate": "1974-12"}, "birthdate", [span("1974-12-01", "1975-01-01")]),
    ({"resourceType": "Patient", "birthDate": "last year"}, "birthdate", []),
    ({"resourceType": "Patient", "_birthDate": {"extension": []}}, "birthdate", None),
    (
        {"resourceType": "Observation", "effectiveDateTime": "2024-05-01T10:00:00+02:00"},
        "date",
        [span("2024-05-01T08:00:00", "2024-05-01T08:00:01")],
    ),
    ({"resourceType": "Observation", "effectivePeriod": {"start": "2024-05"}}, "date", [span("2024-05-01", LATEST)]),
    ({"resourceType": "Observation", "effectivePeriod": {"end": "2024-05"}}, "date", [span(EARLIEST, "2024-06-01")]),
    ({"resourceType": "Observation", "effectivePeriod": {"start": "2024", "end": "2023"}}, "date", []),
    ({"resourceType": "Observation", "effectivePeriod": {"extension": []}}, "date", []),
    (
        {"resourceType": "Observation", "effectiveInstant": "2024-05-01T10:00:00.25Z"},
        "date",
        [span("2024-05-01T10:00:00.250", "2024-05-01T10:00:00.260")],
    ),
    (
        {"resourceType": "ServiceRequest", "occurrenceTiming": {"event": ["2024-05-01", "2024-05-07"]}},
        "occurrence",
        [span("2024-05-01", "2024-05-08")],
    ),
    (
        {"resourceType": "ServiceRequest", "occurrenceTiming": {"repeat": {"boundsPeriod": {"start": "2024"}}}},
        "occurrence",
        [span("2024-01-01", LATEST)],
    ),
    ({"resourceType": "Procedure", "performedString": "last summer"}, "date", None),
    # number
    (
        {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": Decimal("0.10")}]},
        "probability",
        [number("0.10")],
    ),
    (
        {"resourceType": "RiskAssessment", "prediction": [{"probabilityRange": {"low": {"value": 1}}}]},
        "probability",
        [between("1", "Infinity")],
    ),
    ({"resourceType": "MolecularSequence", "variant": [{"start": 7}]}, "variant-start", [number("7")]),
    (
        {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": Decimal("0." + "1" * 40)}]},
        "probability",
        [number("0." + "1" * 34)],
    ),
    (
        {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": Decimal("1E+9999")}]},
        "probability",
        [number("Infinity")],
    ),
    # quantity
    ({"resourceType": "Observation", "valueQuantity": BEATS}, "value-quantity", [BEATS_FORMS]),
    ({"resourceType": "Observation", "valueQuantity": {"value": 5}}, "value-quantity", [{**number("5"), "unit": []}]),
    (
        {"resourceType": "Observation", "valueQuantity": {"value": 5, "unit": "mg"}},
        "value-quantity",
        [between("5", "5", "mg")],
    ),
    (
        {"resourceType": "Observation", "valueQuantity": {"value": 5, "comparator": "<", "code": "mg"}},
        "value-quantity",
        [between("-Infinity", "5", "mg")],
    ),
    (
        {"resourceType": "Observation", "valueQuantity": {"value": 5, "comparator": ">=", "code": "mg"}},
        "value-quantity",
        [between("5", "Infinity", "mg")],
    ),
    ({"resourceType": "Observation", "valueQuantity": {"unit": "mg"}}, "value-quantity", []),
    (
        {
            "resourceType": "Observation",
            "valueSampledData": {"origin": {"value": 10, "unit": "mV"}, "factor": Decimal("0.5"), "data": "2 E -4 L 8"},
        },
        "value-quantity",
        [between("8.0", "14.0", "mV")],
    ),
    (
        {"resourceType": "Invoice", "totalNet": {"value": Decimal("9.50"), "currency": "EUR"}},
        "totalnet",
        [between("9.50", "9.50", "urn:iso:std:iso:4217|EUR", "EUR")],
    ),
    (
        {"resourceType": "Condition", "onsetAge": {"value": 52, "unit": "years", "system": UCUM, "code": "a"}},
        "onset-age",
        [
            between("52", "52", f"{UCUM}|a", "a", "years")
            | {"in": "s", "from": Decimal128("1640995200"), "to": Decimal128("1640995200")}
        ],
    ),
    (
        {"resourceType": "Condition", "onsetRange": {"low": {"value": 40, "unit": "a"}}},
        "onset-age",
        [between("40", "Infinity", "a")],
    ),
    # uri
    ({"resourceType": "ValueSet", "url": "http://v"}, "url", ["http://v"]),
    ({"resourceType": "Patient", "meta": {"profile": ["http://p|2"]}}, "_profile", ["http://p|2", "http://p"]),
    ({"resourceType": "Patient", "meta": {"source": "urn:s#1"}}, "_source", ["urn:s#1"]),
    # composite
    (
        {"resourceType": "Observation", "code": PULSE, "valueQuantity": BEATS},
        "code-value-quantity",
        [{"code": PULSE_FORMS, "value-quantity": [BEATS_FORMS]}],
    ),
    ({"resourceType": "Observation", "code": PULSE}, "code-value-quantity", None),
    (
        {"resourceType": "Observation", "code": PULSE, "valueString": "Öl"},
        "code-value-string",
        [{"code": PULSE_FORMS, "value-string": ["ol"]}],
    ),
    (
        {
            "resourceType": "Observation",
            "code": concept("s|bp"),
            "component": [{"code": PULSE, "valueQuantity": BEATS}, {"code": concept("s|x")}, {"valueQuantity": BEATS}],
        },
        "combo-code-value-quantity",
        [{"combo-code": PULSE_FORMS, "combo-value-quantity": [BEATS_FORMS]}],
    ),
    (
        {
            "resourceType": "DocumentReference",
            "relatesTo": [{"code": "appends", "target": {"reference": "DocumentReference/1"}}],
        },
        "relationship",
        [
            {
                "relatesto": ["DocumentReference/1"],
                "relation": [
                    "http://hl7.org/fhir/document-relationship-type|appends",
                    "appends",
                    "http://hl7.org/fhir/document-relationship-type|",
                ],
            }
        ],
    ),
    (
        {
            "resourceType": "MolecularSequence",
            "referenceSeq": {"chromosome": concept("s|1")},
            "variant": [{"start": 1, "end": 2}, {"start": 3}, {"start": 4, "end": 5}],
        },
        "chromosome-variant-coordinate",
        [
            {"chromosome": ["s|1", "1", "s|"], "variant-start": [number(low)], "variant-end": [number(high)]}
            for low, high in (("1", "2"), ("4", "5"))
        ],
    ),
]


@pytest.mark.parametrize(
    ("resource", "key", "stored"), TABLE, ids=[f"{row[0]['resourceType']}.{row[1]}-{i}" for i, row in enumerate(TABLE)]
)
def test_what_is_stored(resource: dict[str, Any], key: str, stored: Any) -> None:
    assert INDEXER.entry(resource).search.get(key) == stored


@pytest.mark.parametrize(
    ("resource", "code", "scalar"),
    [
        ({"resourceType": "Observation", "code": concept("s|b", "s|a")}, "code", "a"),
        ({"resourceType": "Observation", "code": PULSE}, "code", "8867-4"),
        ({"resourceType": "Observation", "code": concept(text="Pulse")}, "code", "pulse"),
        ({"resourceType": "Observation", "code": {"coding": [{"system": "s"}]}}, "code", "s|"),
        ({"resourceType": "Patient", "telecom": [{"value": "3"}, {"value": "2"}, {"value": "1"}]}, "telecom", "1"),
        ({"resourceType": "Patient", "name": [{"family": "Z"}, {"family": "Ä"}]}, "family", "a"),
        ({"resourceType": "Patient", "name": [{"family": "Z"}, {"family": "Ä"}]}, "family:last", "z"),
        ({"resourceType": "Patient", "name": [{"family": "van der Meer"}]}, "family", "van der meer"),
        ({"resourceType": "Patient", "name": [{"family": "van der Meer"}]}, "family:last", None),
        ({"resourceType": "Patient", "name": [{"family": "Z"}, {"family": "z"}]}, "family:last", None),
        ({"resourceType": "Observation", "code": concept("s|b", "s|a")}, "code:last", "b"),
        ({"resourceType": "Observation", "code": PULSE}, "code:last", None),
        ({"resourceType": "Patient", "telecom": [{"value": "3"}, {"value": "2"}, {"value": "1"}]}, "telecom:last", "3"),
        (
            {"resourceType": "Observation", "subject": {"reference": "Patient/1/_history/2"}},
            "subject:last",
            None,
        ),
        (
            {"resourceType": "Goal", "target": [{"dueDate": "2025"}, {"dueDate": "2024-05"}]},
            "target-date:last",
            at("2025-01-01"),
        ),
        ({"resourceType": "Patient", "birthDate": "1974-12"}, "birthdate", at("1974-12-01")),
        ({"resourceType": "Observation", "valueQuantity": BEATS}, "value-quantity", Decimal128("72.0")),
        (
            {
                "resourceType": "Observation",
                "component": [{"valueQuantity": {"value": 10}}, {"valueQuantity": {"value": 9}}],
            },
            "component-value-quantity",
            Decimal128("9"),
        ),
        (
            {
                "resourceType": "Observation",
                "component": [{"valueQuantity": {"value": 9}}, {"valueQuantity": {"value": 10}}],
            },
            "component-value-quantity:last",
            Decimal128("10"),
        ),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/1"}}, "subject", "Patient/1"),
        ({"resourceType": "Observation", "subject": {"display": "Ann"}}, "subject", None),
        ({"resourceType": "Observation", "code": PULSE, "valueQuantity": BEATS}, "code-value-quantity", None),
    ],
)
def test_what_is_sorted_by(resource: dict[str, Any], code: str, scalar: Any) -> None:
    assert INDEXER.entry(resource).sort.get(code) == scalar


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"resourceType": "Patient", "id": "1"}, ["Patient/1"]),
        ({"resourceType": "Patient"}, []),
        (
            {"resourceType": "Patient", "id": "1", "link": [{"other": {"reference": "Patient/2"}, "type": "seealso"}]},
            ["Patient/1", "Patient/2"],
        ),
        ({"resourceType": "Encounter", "id": "e"}, ["Encounter/e"]),
        (
            {
                "resourceType": "Observation",
                "id": "o",
                "subject": {"reference": f"{BASE}/Patient/1/_history/3"},
                "performer": [
                    {"reference": "Practitioner/7"},
                    {"reference": "Patient/2"},
                    {"reference": "Organization/3"},
                ],
                "encounter": {"reference": "Encounter/e"},
            },
            ["Encounter/e", "Patient/1", "Patient/2", "Practitioner/7"],
        ),
        ({"resourceType": "Observation", "subject": {"reference": "http://x.org/Patient/1"}}, [SOMEBODY]),
        ({"resourceType": "Observation", "subject": {"display": "Ada"}}, [SOMEBODY]),
        ({"resourceType": "Task", "for": {"type": "Patient", "identifier": {"value": "1"}}}, [SOMEBODY]),
        ({"resourceType": "Observation", "subject": {"type": "Device", "identifier": {"value": "1"}}}, []),
        ({"resourceType": "Observation", "subject": {"reference": "Group/1"}}, []),
        (
            {
                "resourceType": "Observation",
                "subject": {"reference": "Patient/1"},
                "performer": [{"reference": "http://x.org/Patient/1"}],
            },
            ["Patient/1"],
        ),
        ({"resourceType": "Medication", "id": "m"}, []),
    ],
)
def test_whose_record_a_resource_belongs_to(resource: dict[str, Any], expected: list[str]) -> None:
    assert sorted(INDEXER.entry(resource).compartments) == expected


def test_compartments_speak_of_types_and_parameters_that_exist() -> None:
    assert set(compartments()) == {"Device", "Encounter", "Patient", "Practitioner", "RelatedPerson"}
    assert parameters_for("Patient", "Observation") == ("subject", "performer")
    assert parameters_for("Patient", "Medication") == ()
    for compartment in compartments():
        assert compartment in types_in(compartment)
        for type_ in types_in(compartment):
            for code in parameters_for(compartment, type_):
                assert r4_registry()[type_][code].type == "reference", f"{compartment}: {type_}.{code}"


def test_every_combination_of_parameter_and_value_type_has_forms_or_a_reason() -> None:
    met: set[tuple[str, str]] = set()
    for type_ in r4().resource_types:
        for parameter in r4_registry(full_text=False)[type_].values():
            found = [(parameter, route) for route in routes(r4(), parse(parameter.expression), type_)]
            if parameter.components:
                found = [
                    (component, route)
                    for _, base in found
                    for component, expression in parameter.components
                    for route in routes(r4(), parse(expression), type_, base.type)
                ]
            ends = [(p, e) for p, r in found for e in (member(r4(), r, "value") if r.type == "Extension" else [r])]
            assert any(INDEXER.ends.forms(each, end) for each, end in ends), f"{type_}.{parameter.code} stores nothing"
            for each, route in found:
                if route.type != "Extension" and not INDEXER.ends.forms(each, route):
                    met.add((each.type, route.type))
    assert met == set(NO_FORMS)
    assert not set(FORMS) & set(NO_FORMS)


def test_a_new_parameter_is_indexed_like_the_published_ones() -> None:
    race = Parameter(
        "race",
        "token",
        "http://example.org/race",
        ("Patient",),
        "Patient.extension.where(url='http://example.org/race').extension.where(url='category').value",
    )
    indexer = Indexer(r4(), r4_registry().with_(race), BASE)
    inner = {"url": "category", "valueCoding": {"system": "s", "code": "c"}}
    patient = {"resourceType": "Patient", "extension": [{"url": "http://example.org/race", "extension": [inner]}]}
    assert indexer.entry(patient).search["race"] == ["s|c", "c", "s|", "s|c ", "c "]


@given(st.text(max_size=40))
def test_folding_is_done_once(text: str) -> None:
    assert strings.fold(strings.fold(text)) == strings.fold(text)
    assert strings.fold(text.upper().lower()) == strings.fold(text.lower())


def test_folding_is_bounded() -> None:
    assert len(strings.fold("ä" * 100_000)) == len(strings.fold("a" * 100_000)) == strings.LONGEST_FOLDED


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.integers())
def test_every_number_can_be_stored(value: Decimal | int) -> None:
    stored = decimal128(value).to_decimal()
    assert stored.is_infinite() or abs(stored - Decimal(value)) <= max(
        abs(Decimal(value)) * Decimal("1E-33"), Decimal("1E-6000")
    )


# Against the official examples


@cache
def decoded() -> dict[str, dict[str, Any]]:
    return {name: json.resource(example) for name, example in examples().items()}


@beside(EXAMPLES)
def test_every_official_example_is_indexed_and_can_be_stored() -> None:
    for name, resource in decoded().items():
        found = INDEXER.entry(resource)
        assert encode({"search": found.search, "sort": found.sort, "compartments": found.compartments}), name
        assert not any("." in key or key.startswith("$") for key in found.search)
        for code, scalar in found.sort.items():
            assert scalar is not None, f"{name}: {code}"
            assert code.partition(":")[0] in found.search
            if code.endswith(LAST):
                smallest = found.sort[code.removesuffix(LAST)]
                assert sorted([scalar, smallest], key=comparable)[0] == smallest != scalar, (name, code)
    assert len(decoded()) > 700


def comparable(value: Any) -> Any:
    return value.to_decimal() if isinstance(value, Decimal128) else value


def _plain(parameter: Parameter) -> bool:
    """What has one stored value for each."""
    return parameter.type in ("string", "date", "number", "quantity", "uri") and bool(parameter.expression)


@beside(EXAMPLES)
def test_what_does_not_repeat_has_one_value_in_every_example() -> None:
    seen = set()
    for name, resource in decoded().items():
        type_, found = resource["resourceType"], INDEXER.entry(resource).search
        for code, parameter in r4_registry()[type_].items():
            if code in found and _plain(parameter) and not repeats(r4(), parameter, type_):
                assert len([each for each in found[code] if str(each)[-1:] != " "]) <= 1, (name, code)
                seen.add((type_, code))
    assert len(seen) > 100


def test_case_counts_where_what_is_published_says_so() -> None:
    """But for a supplement, and for a few code systems under addresses of their own, whose case is not relied on."""
    said = {url: published(Canonical("CodeSystem", url)) or {} for url in published_urls("CodeSystem")}
    differing = {url for url, each in said.items() if (each.get("caseSensitive") is True) != tokens.cased(url)}
    assert len(said) > 1000
    assert len(differing) < 12
    assert not [url for url in differing if tokens.cased(url) and said[url].get("content") != "supplement"]


@pytest.mark.parametrize(
    ("type_", "code", "case"),
    [
        ("Patient", "gender", True),
        ("Patient", "identifier", True),
        ("Patient", "active", True),
        ("Observation", "status", True),
        ("MessageHeader", "event", False),
        ("Observation", "code", False),
        ("Patient", "email", False),
        ("Task", "intent", False),
        ("ValueSet", "version", False),
    ],
)
def test_whether_case_counts_wherever_a_parameter_looks(type_: str, code: str, case: bool) -> None:
    assert case_matters(r4(), r4_registry()[type_][code], type_) == case


@pytest.mark.parametrize(
    ("type_", "code", "several"),
    [
        ("Observation", "date", False),
        ("Observation", "status", False),
        ("Observation", "subject", False),
        ("Observation", "patient", False),
        ("Observation", "value-quantity", False),
        ("Patient", "birthdate", False),
        ("Patient", "deceased", False),
        ("Observation", "code", True),
        ("Observation", "combo-value-quantity", True),
        ("Patient", "family", True),
        ("Patient", "name", True),
        ("Location", "address", True),
        ("Location", "address-city", False),
        ("Goal", "target-date", True),
        ("Condition", "evidence", True),
    ],
)
def test_what_repeats(type_: str, code: str, several: bool) -> None:
    assert repeats(r4(), r4_registry()[type_][code], type_) == several


@beside(EXAMPLES)
def test_the_raw_values_are_those_that_fhirpathpy_finds() -> None:
    """Another implementation, the same expressions, on a sample of examples: every parameter of their types.

    It refuses `as` on collections and has no hasExtension(): both are spelled otherwise. It cannot resolve().
    """
    fhirpathpy = pytest.importorskip("fhirpathpy")
    model = pytest.importorskip("fhirpathpy.models").models["r4"]
    compiled = cache(lambda expression: fhirpathpy.compile(expression, model))
    differences = []
    compared = 0
    for name, resource in list(decoded().items())[::8]:
        type_ = resource["resourceType"]
        raw = raw_function(r4(), r4_registry(), type_)(resource)
        for code, parameter in r4_registry(full_text=False)[type_].items():
            if parameter.components or "resolve()" in parameter.expression:
                continue
            text = re.sub(r"\(([\w.]+) as (\w+)\)", r"\1.ofType(\2)", parameter.expression).replace(".as(", ".ofType(")
            text = text.replace("Resource.", f"{type_}.")
            text = re.sub(r"hasExtension\(([^)]*)\)", r"extension(\1).exists()", text)
            terms = [term for term in text.split(" | ") if term.startswith(f"{type_}.") or term[0].islower()]
            expected = [value for term in terms for value in compiled(term)(resource)]
            found = [value for each, value, _ in raw if each == code]
            compared += len(found)
            if sorted(map(repr, found)) != sorted(map(repr, expected)):
                differences.append((name, code, found, expected))
    assert differences == []
    assert compared > 500
