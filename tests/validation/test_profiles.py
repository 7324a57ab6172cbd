"""What a profile adds to its type: a rule per row, with what breaks it and where that is said."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.fhir.fhirpath import Hooks
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.conformance import conformance
from fhirserver.validation.findings import Question
from fhirserver.validation.profiles import Profile, Profiles, published
from fhirserver.validation.validate import Validator

Json = dict[str, Any]
Said = list[tuple[str | None, str | None]]  # rule and expression

BASE, LOINC, UCUM = "http://example.org/profiles/", "http://loinc.org", "http://unitsofmeasure.org"
VALIDATOR = Validator(r4(), required_codes())


def structure(name: str, type_: str, *elements: Json, base: str | None = None, **rest: Any) -> Json:
    """A profile as a differential."""
    base = base or f"http://hl7.org/fhir/StructureDefinition/{type_}"
    return {
        "resourceType": "StructureDefinition",
        "url": BASE + name,
        "version": "1",
        "type": type_,
        "baseDefinition": base,
        "differential": {"element": list(elements)},
        **rest,
    }


def known(*definitions: Json) -> Profiles:
    return Profiles([*published().values(), *(Profile(each, r4()) for each in definitions)])


def problems(resource: Json, asked: list[str], profiles: Profiles) -> list[Issue]:
    """Where nothing is left to ask of a terminology server."""
    found = conformance(resource, asked, profiles, r4())
    assert not [each for each in found if isinstance(each, Question)]
    return [each for each in found if not isinstance(each, Question)]


def said(resource: Json, *definitions: Json, hooks: Hooks | None = None) -> Said:
    """What the last of the profiles says, errors alone; what is asked has to keep the rules of its type."""
    assert VALIDATOR.issues(resource) == []
    asked = [f"{BASE}p"] if any(each["url"] == f"{BASE}p" for each in definitions) else []
    found = conformance(resource, asked, known(*definitions), r4(), hooks or Hooks())
    return [
        (each.rule, each.expression) for each in found if not isinstance(each, Question) and each.severity == "error"
    ]


def concept(code: str, system: str = LOINC) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def quantity(value: str, unit: str = "mm[Hg]") -> Json:
    return {"value": Decimal(value), "system": UCUM, "code": unit}


OBSERVATION: Json = {
    "resourceType": "Observation",
    "status": "final",
    "category": [concept("a", "http://c"), concept("b", "http://c")],
    "code": concept("85354-9"),
    "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2024-05-01",
    "valueQuantity": quantity("120"),
    "note": [{"text": "one"}, {"text": "two"}],
    "component": [
        {"code": concept("8480-6"), "valueQuantity": quantity("120")},
        {"code": concept("8462-4"), "valueQuantity": quantity("80")},
    ],
}


def sliced(path: str, *slices: Json, kind: str = "pattern", at: str = "$this", **rules: Any) -> list[Json]:
    slicing = {"discriminator": [{"type": kind, "path": at}], "rules": "open", **rules}
    return [{"path": path, "slicing": slicing}, *slices]


def category(name: str, code: str | None = None, **more: Any) -> Json:
    pattern = {"patternCodeableConcept": {"coding": [{"code": code}]}} if code else {}
    return {"path": "Observation.category", "sliceName": name, **pattern, **more}


def component(name: str, code: str, *parts: Json, **more: Any) -> list[Json]:
    return [
        {"path": "Observation.component", "sliceName": name, **more},
        {"path": "Observation.component.code", "patternCodeableConcept": concept(code)},
        *parts,
    ]


A, B, C = (category(each, each) for each in "abc")
PATIENT = "http://hl7.org/fhir/StructureDefinition/Patient"
GROUP = "http://hl7.org/fhir/StructureDefinition/Group"

RULES: list[tuple[str, list[Json], Json, Said]] = [
    ("min", [{"path": "Observation.issued", "min": 1}], {}, [("cardinality-min", "Observation.issued")]),
    ("min of many", [{"path": "Observation.note", "min": 3}], {}, [("cardinality-min", "Observation.note")]),
    ("max", [{"path": "Observation.note", "max": "1"}], {}, [("cardinality-max", "Observation.note")]),
    ("max 0", [{"path": "Observation.note", "max": "0"}], {}, [("cardinality-max", "Observation.note")]),
    (
        "max 0 of a choice",
        [{"path": "Observation.value[x]", "max": "0"}],
        {},
        [("cardinality-max", "Observation.value")],
    ),
    (
        "within",
        [{"path": "Observation.note.time", "min": 1}],
        {},
        [("cardinality-min", f"Observation.note[{i}].time") for i in (0, 1)],
    ),
    ("fixed", [{"path": "Observation.status", "fixedCode": "amended"}], {}, [("fixed", "Observation.status")]),
    (
        "fixed, whole",
        [{"path": "Observation.code", "fixedCodeableConcept": {**concept("85354-9"), "text": "t"}}],
        {},
        [("fixed", "Observation.code")],
    ),
    (
        "pattern",
        [{"path": "Observation.code", "patternCodeableConcept": concept("1")}],
        {},
        [("pattern", "Observation.code")],
    ),
    (
        "pattern, kept",
        [{"path": "Observation.code", "patternCodeableConcept": {"coding": [{"code": "85354-9"}]}}],
        {},
        [],
    ),
    (
        "pattern on each",
        [{"path": "Observation.note", "patternAnnotation": {"text": "one"}}],
        {},
        [("pattern", "Observation.note[1]")],
    ),
    (
        "type of a choice",
        [{"path": "Observation.value[x]", "type": [{"code": "string"}]}],
        {},
        [("type", "Observation.value")],
    ),
    ("type by the name", [{"path": "Observation.valueString", "min": 1}], {}, [("type", "Observation.value")]),
    (
        "min value",
        [{"path": "Observation.valueQuantity.value", "minValueDecimal": Decimal(121)}],
        {},
        [("value-range", "Observation.value.value")],
    ),
    (
        "max value",
        [{"path": "Observation.valueQuantity", "maxValueQuantity": quantity("12", "kPa")}],
        {},
        [("value-range", "Observation.value")],
    ),
    ("max value, kept", [{"path": "Observation.valueQuantity", "maxValueQuantity": quantity("20", "kPa")}], {}, []),
    (
        "max value of another kind",
        [{"path": "Observation.valueQuantity", "maxValueQuantity": quantity("1", "kg")}],
        {},
        [],
    ),
    (
        "min date",
        [{"path": "Observation.effectiveDateTime", "minValueDateTime": "2024-06"}],
        {},
        [("value-range", "Observation.effective")],
    ),
    (
        "min date within",
        [{"path": "Observation.effectiveDateTime", "minValueDateTime": "2024-05-01T12:00:00Z"}],
        {},
        [],
    ),
    (
        "max length",
        [{"path": "Observation.note.text", "maxLength": 2}],
        {},
        [("max-length", f"Observation.note[{i}].text") for i in (0, 1)],
    ),
    (
        "invariant",
        [
            {
                "path": "Observation",
                "constraint": [{"key": "x-1", "severity": "error", "human": "No notes.", "expression": "note.empty()"}],
            }
        ],
        {},
        [("invariant", "Observation")],
    ),
    (
        "invariant of an element",
        [
            {
                "path": "Observation.note",
                "constraint": [
                    {
                        "key": "x-2",
                        "severity": "error",
                        "human": "Long.",
                        "expression": "text.length() > 2 and text.startsWith('o')",
                    }
                ],
            }
        ],
        {},
        [("invariant", "Observation.note[1]")],
    ),
    (
        "an invariant that cannot be asked",
        [
            {
                "path": "Observation",
                "constraint": [{"key": "x-3", "severity": "error", "human": "?", "expression": "note.("}],
            }
        ],
        {},
        [],
    ),
    (
        "target",
        [{"path": "Observation.subject", "type": [{"code": "Reference", "targetProfile": [GROUP]}]}],
        {},
        [("reference-target", "Observation.subject")],
    ),
    (
        "target, kept",
        [{"path": "Observation.subject", "type": [{"code": "Reference", "targetProfile": [PATIENT]}]}],
        {},
        [],
    ),
    (
        "aggregation",
        [{"path": "Observation.subject", "type": [{"code": "Reference", "aggregation": ["contained"]}]}],
        {},
        [("reference-aggregation", "Observation.subject.reference")],
    ),
    (
        "aggregation, kept",
        [{"path": "Observation.subject", "type": [{"code": "Reference", "aggregation": ["referenced"]}]}],
        {},
        [],
    ),
    (
        "versioning",
        [{"path": "Observation.subject", "type": [{"code": "Reference", "versioning": "specific"}]}],
        {},
        [("reference-aggregation", "Observation.subject.reference")],
    ),
    (
        "primitive extension",
        [{"path": "Observation.status.extension", "min": 1}],
        {},
        [("cardinality-min", "Observation.status.extension")],
    ),
    (
        "slice",
        sliced("Observation.category", A, category("c", "c", min=1)),
        {},
        [("cardinality-min", "Observation.category")],
    ),
    (
        "slice, too often",
        sliced("Observation.category", category("a", "a", max="1")),
        {"category": [concept("a"), concept("a")]},
        [("cardinality-max", "Observation.category")],
    ),
    (
        "slice, never",
        sliced("Observation.category", category("a", "a", max="0")),
        {},
        [("cardinality-max", "Observation.category")],
    ),
    ("closed", sliced("Observation.category", A, rules="closed"), {}, [("slicing", "Observation.category[1]")]),
    ("closed, kept", sliced("Observation.category", A, B, C, rules="closed"), {}, []),
    ("ordered", sliced("Observation.category", B, A, ordered=True), {}, [("slicing", "Observation.category[1]")]),
    ("ordered, kept", sliced("Observation.category", A, C, B, ordered=True), {}, []),
    (
        "open at the end",
        sliced("Observation.category", B, rules="openAtEnd"),
        {},
        [("slicing", "Observation.category[0]")],
    ),
    ("open at the end, kept", sliced("Observation.category", A, rules="openAtEnd"), {}, []),
    (
        "default",
        sliced(
            "Observation.category",
            A,
            category("@default"),
            {"path": "Observation.category.text", "min": 1},
            rules="closed",
        ),
        {},
        [("cardinality-min", "Observation.category[1].text")],
    ),
    (
        "by value",
        sliced(
            "Observation.component",
            *component("s", "8480-6", {"path": "Observation.component.value[x]", "max": "0"}),
            kind="value",
            at="code",
        ),
        {},
        [("cardinality-max", "Observation.component[0].value")],
    ),
    (
        "by a value within",
        sliced(
            "Observation.component",
            {"path": "Observation.component", "sliceName": "d", "max": "0"},
            {"path": "Observation.component.code.coding.code", "fixedCode": "8462-4"},
            kind="value",
            at="code.coding.code",
        ),
        {},
        [("cardinality-max", "Observation.component")],
    ),
    (
        "by a part of a value",
        sliced(
            "Observation.component",
            {"path": "Observation.component", "sliceName": "d", "max": "0"},
            {"path": "Observation.component.code.coding.code", "fixedCode": "8462-4"},
            kind="value",
            at="code",
        ),
        {},
        [("cardinality-max", "Observation.component")],
    ),
    (
        "by type",
        sliced(
            "Observation.value[x]",
            {"path": "Observation.value[x]", "sliceName": "q", "type": [{"code": "Quantity"}]},
            {"path": "Observation.value[x].unit", "min": 1},
            kind="type",
        ),
        {},
        [("cardinality-min", "Observation.value.unit")],
    ),
    (
        "by another type",
        sliced(
            "Observation.value[x]",
            {"path": "Observation.value[x]", "sliceName": "s", "type": [{"code": "string"}], "maxLength": 1},
            kind="type",
            rules="closed",
        ),
        {},
        [("slicing", "Observation.value")],
    ),
    (
        "by the type within",
        sliced(
            "Observation.component",
            {"path": "Observation.component", "sliceName": "q", "max": "1"},
            {"path": "Observation.component.value[x]", "type": [{"code": "Quantity"}]},
            kind="type",
            at="value",
        ),
        {},
        [("cardinality-max", "Observation.component")],
    ),
    (
        "by what exists",
        sliced(
            "Observation.component",
            {"path": "Observation.component", "sliceName": "i", "max": "0"},
            {"path": "Observation.component.interpretation", "min": 1},
            kind="exists",
            at="interpretation",
        ),
        {"component": [{"code": concept("1"), "interpretation": [concept("H")]}]},
        [("cardinality-max", "Observation.component")],
    ),
    (
        "by what does not exist",
        sliced(
            "Observation.component",
            {"path": "Observation.component", "sliceName": "i", "max": "0"},
            {"path": "Observation.component.interpretation", "max": "0"},
            kind="exists",
            at="interpretation",
        ),
        {},
        [("cardinality-max", "Observation.component")],
    ),
    (
        "by a type that is led to",
        sliced(
            "Observation.performer",
            {
                "path": "Observation.performer",
                "sliceName": "p",
                "max": "0",
                "type": [{"code": "Reference", "targetProfile": [PATIENT]}],
            },
            kind="type",
            at="resolve()",
        ),
        {"performer": [{"reference": "Patient/1"}, {"reference": "Practitioner/1"}]},
        [("cardinality-max", "Observation.performer")],
    ),
    (
        "by nothing but the content",
        [{"path": "Observation.component", "slicing": {"rules": "open"}}, *component("s", "8480-6", max="0")],
        {},
        [("cardinality-max", "Observation.component")],
    ),
    (
        "slices within slices",
        sliced(
            "Observation.component",
            *component(
                "s",
                "8480-6",
                {
                    "path": "Observation.component.interpretation",
                    "slicing": {"discriminator": [{"type": "pattern", "path": "$this"}], "rules": "open"},
                },
                {
                    "path": "Observation.component.interpretation",
                    "sliceName": "h",
                    "min": 1,
                    "patternCodeableConcept": concept("H"),
                },
            ),
            at="code",
        ),
        {},
        [("cardinality-min", "Observation.component[0].interpretation")],
    ),
    (
        "reslices",
        sliced(
            "Observation.category",
            category("a", "a", slicing={"discriminator": [{"type": "pattern", "path": "$this"}], "rules": "closed"}),
            category("a/x", patternCodeableConcept={"text": "x"}),
        ),
        {},
        [("slicing", "Observation.category[0]")],
    ),
    (
        "reslices, kept",
        sliced(
            "Observation.category",
            category("a", "a", slicing={"discriminator": [{"type": "pattern", "path": "$this"}], "rules": "closed"}),
            category("a/x", patternCodeableConcept=concept("a", "http://c")),
        ),
        {},
        [],
    ),
]


@pytest.mark.parametrize(("elements", "change", "expected"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_a_rule_of_a_profile(elements: list[Json], change: Json, expected: Said) -> None:
    assert sorted(said({**OBSERVATION, **change}, structure("p", "Observation", *elements))) == sorted(expected)


def test_issues_name_the_profile_and_the_constraint() -> None:
    constraint = {"key": "x-1", "severity": "warning", "human": "No notes.", "expression": "note.empty()"}
    profile = known(structure("p", "Observation", {"path": "Observation", "constraint": [constraint]}))
    (issue,) = problems(OBSERVATION, [f"{BASE}p|1"], profile)
    assert issue.json()["details"]["coding"][1:] == [
        {"system": "urn:healthmate:constraint", "code": "x-1"},
        {"system": "urn:healthmate:profile", "code": f"{BASE}p"},
    ]
    assert issue.severity == "warning"


def test_bindings_are_questions() -> None:
    maximal = {
        "url": "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet",
        "valueCanonical": "http://example.org/widest",
    }
    binding = {"strength": "extensible", "valueSet": "http://example.org/codes", "extension": [maximal]}
    profile = structure("p", "Observation", {"path": "Observation.code", "binding": binding})
    found = conformance(OBSERVATION, [BASE + "p"], known(profile), r4())
    assert found == [
        Question(
            "extensible",
            "http://example.org/codes",
            "CodeableConcept",
            OBSERVATION["code"],
            "Observation.code",
            BASE + "p",
        ),
        Question(
            "required",
            "http://example.org/widest",
            "CodeableConcept",
            OBSERVATION["code"],
            "Observation.code",
            BASE + "p",
        ),
    ]
    assert Profile(profile, r4()).needs == {"http://example.org/codes"}


def test_a_binding_that_the_type_has_is_not_asked_again() -> None:
    binding = {"strength": "required", "valueSet": "http://hl7.org/fhir/ValueSet/observation-status"}
    profile = structure("p", "Observation", {"path": "Observation.status", "binding": binding})
    assert conformance(OBSERVATION, [BASE + "p"], known(profile), r4()) == []


# profiles of profiles


def test_a_derived_profile_keeps_what_its_base_says() -> None:
    base = structure("base", "Observation", *sliced("Observation.category", category("c", "c", min=1)))
    derived = structure("p", "Observation", {"path": "Observation.issued", "min": 1}, base=BASE + "base")
    expected = [("cardinality-min", "Observation.category"), ("cardinality-min", "Observation.issued")]
    assert sorted(said(OBSERVATION, base, derived)) == expected


def test_a_derived_profile_names_the_slices_of_its_base() -> None:
    base = structure("base", "Observation", *sliced("Observation.component", *component("s", "8480-6"), at="code"))
    within = {"id": "Observation.component:s.interpretation", "path": "Observation.component.interpretation", "min": 1}
    derived = structure("p", "Observation", within, base=BASE + "base")
    assert said(OBSERVATION, base, derived) == [("cardinality-min", "Observation.component[0].interpretation")]


def test_a_profile_whose_base_is_not_known_is_not_checked() -> None:
    profile = structure("p", "Observation", {"path": "Observation.issued", "min": 1}, base=BASE + "absent")
    (issue,) = problems(OBSERVATION, [BASE + "p"], known(profile))
    assert (issue.severity, issue.rule) == ("warning", "profile-unknown")
    assert Profile(profile, r4()).needs == {BASE + "absent"}


def test_a_profile_of_another_type() -> None:
    assert said(OBSERVATION, structure("p", "Patient")) == [("type", "Observation")]


def test_types_with_profiles() -> None:
    money = structure("money", "Quantity", {"path": "Quantity.unit", "min": 1})
    type_ = {"code": "Quantity", "profile": [BASE + "money"]}
    profile = structure("p", "Observation", {"path": "Observation.value[x]", "type": [type_]})
    assert said(OBSERVATION, money, profile) == [("cardinality-min", "Observation.value.unit")]
    either = {"code": "Quantity", "profile": [BASE + "money", BASE + "other"]}
    profile = structure("p", "Observation", {"path": "Observation.value[x]", "type": [either]})
    assert said(OBSERVATION, money, structure("other", "Quantity", {"path": "Quantity.code", "max": "0"}), profile) == [
        ("type-profile", "Observation.value")
    ]
    assert said(OBSERVATION, money, structure("other", "Quantity", {"path": "Quantity.code", "min": 1}), profile) == []
    (issue,) = problems(OBSERVATION, [BASE + "p"], known(profile))
    assert (issue.severity, issue.rule) == ("warning", "profile-unknown")


# what references lead to

LED = structure("led", "Patient", {"path": "Patient.birthDate", "min": 1})
LEADS = structure(
    "p",
    "Observation",
    {"path": "Observation.subject", "type": [{"code": "Reference", "targetProfile": [BASE + "led"]}]},
)


def test_a_reference_into_the_contained_resources() -> None:
    contained = {"resourceType": "Patient", "id": "c", "name": [{"text": "Ada"}]}
    resource = {**OBSERVATION, "contained": [contained], "subject": {"reference": "#c"}}
    assert said(resource, LED, LEADS) == [("type-profile", "Observation.subject")]
    contained["birthDate"] = "1815-12-10"
    assert said(resource, LED, LEADS) == []


@pytest.mark.parametrize(("kind", "expected"), [("type", 2), ("profile", 1)])
def test_slices_of_the_contained_resources(kind: str, expected: int) -> None:
    """By type both are Patients; only one of them keeps the profile."""
    type_ = {"code": "Patient", "profile": [BASE + "led"]}
    slice_ = {"path": "Observation.contained", "sliceName": "patient", "max": "0", "type": [type_]}
    profile = structure("p", "Observation", *sliced("Observation.contained", slice_, kind=kind))
    ada = {"resourceType": "Patient", "id": "a", "birthDate": "1815-12-10"}
    bob = {"resourceType": "Patient", "id": "b", "active": True}
    resource = {
        **OBSERVATION,
        "contained": [ada, bob],
        "subject": {"reference": "#a"},
        "performer": [{"reference": "#b"}],
    }
    found = problems(resource, [BASE + "p"], known(LED, profile))
    (number,) = [each for each in found if each.expression == "Observation.contained"]
    assert "not allowed" in number.diagnostics
    assert len(found) == expected


def test_a_reference_that_the_caller_can_follow() -> None:
    patients = {"Patient/1": {"resourceType": "Patient"}}
    assert said(OBSERVATION, LED, LEADS, hooks=Hooks(patients.get)) == [("type-profile", "Observation.subject")]
    assert said(OBSERVATION, LED, LEADS) == []
    group = {**OBSERVATION, "subject": {"reference": "Group/1"}}
    assert said(group, LED, LEADS) == [("reference-target", "Observation.subject")]


def test_references_in_a_circle_end() -> None:
    profile = structure(
        "p",
        "Patient",
        {"path": "Patient.link.other", "type": [{"code": "Reference", "targetProfile": [BASE + "p"]}]},
        {"path": "Patient.birthDate", "min": 1},
    )
    patients: Json = {
        f"Patient/{i}": {
            "resourceType": "Patient",
            "birthDate": "1815-12-10",
            "link": [{"other": {"reference": f"Patient/{1 - i}"}, "type": "seealso"}],
        }
        for i in (0, 1)
    }
    assert said(patients["Patient/0"], profile, hooks=Hooks(patients.get)) == []


def test_slices_of_a_bundle_by_profile() -> None:
    entries = sliced(
        "Bundle.entry",
        {"path": "Bundle.entry", "sliceName": "patient", "min": 1},
        {"path": "Bundle.entry.resource", "min": 1, "type": [{"code": "Patient", "profile": [BASE + "led"]}]},
        kind="profile",
        at="resource",
    )
    profile = structure("p", "Bundle", *entries)
    patient: Json = {"resourceType": "Patient", "birthDate": "1815-12-10"}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": patient}, {"resource": OBSERVATION}],
    }
    assert said(bundle, LED, profile) == []
    del patient["birthDate"]
    patient["active"] = True
    assert said(bundle, LED, profile) == [("cardinality-min", "Bundle.entry")]


def test_a_profile_that_only_terminology_can_tell_is_no_breach() -> None:
    """The slice is of what keeps a profile, and that hangs on a code."""
    binding = {"strength": "required", "valueSet": "http://example.org/a"}
    coded = structure("coded", "Observation", {"path": "Observation.code", "binding": binding})
    entries = sliced(
        "Bundle.entry",
        {"path": "Bundle.entry", "sliceName": "coded", "min": 1},
        {"path": "Bundle.entry.resource", "type": [{"code": "Observation", "profile": [BASE + "coded"]}]},
        kind="profile",
        at="resource",
        rules="closed",
    )
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": OBSERVATION}]}
    profile = structure("p", "Bundle", *entries)
    assert said(bundle, coded, profile) == []
    assert said(bundle, coded, profile, hooks=Hooks(member_of=lambda value, url: True)) == []
    assert sorted(said(bundle, coded, profile, hooks=Hooks(member_of=lambda value, url: False))) == [
        ("cardinality-min", "Bundle.entry"),
        ("slicing", "Bundle.entry[0]"),
    ]


def test_references_between_the_entries_of_a_bundle() -> None:
    patient = {"resourceType": "Patient", "active": True}
    observation = {
        **OBSERVATION,
        "subject": {"reference": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d"},
        "meta": {"profile": [BASE + "p"]},
    }
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d", "resource": patient},
            {"resource": observation},
        ],
    }
    found = problems(bundle, [], known(LED, LEADS))
    assert [(each.rule, each.expression) for each in found] == [("type-profile", "Bundle.entry[1].resource.subject")]


def test_profiles_that_are_claimed_and_not_known() -> None:
    contained = {"resourceType": "Patient", "id": "c", "active": True, "meta": {"profile": [BASE + "absent"]}}
    resource = {**OBSERVATION, "contained": [contained], "subject": {"reference": "#c"}}
    (issue,) = problems(resource, [], known())
    assert issue.expression == "Observation.contained[0].meta.profile[0]"
    assert (issue.severity, issue.rule) == ("warning", "profile-unknown")


def test_deep_slices_are_bounded() -> None:
    names = [f"s{i}" for i in range(510)]
    slices = [category(name, name) for name in names]
    profile = structure("p", "Observation", *sliced("Observation.category", *slices, rules="closed"))
    resource = {**OBSERVATION, "category": [concept("none") for _ in names]}
    assert said(resource, profile) == [("depth", "Observation")]


# extensions


def extension(name: str, *elements: Json, **rest: Any) -> Json:
    context = rest.pop("context", [{"type": "element", "expression": "Observation"}])
    url = {"path": "Extension.url", "fixedUri": BASE + name}
    return structure(name, "Extension", *elements, url, context=context, **rest)


def with_extension(url: str, at: str | None = None, key: str = "extension", **value: Any) -> Json:
    resource = deepcopy(OBSERVATION)
    holder = resource if at is None else resource.setdefault(at, {})
    holder = holder[0] if isinstance(holder, list) else holder
    holder[key] = [{"url": url, **value}]
    return resource


E = BASE + "e"
STRING = {"path": "Extension.value[x]", "min": 1, "type": [{"code": "string"}]}
CODED = {"path": "Extension.value[x]", "binding": {"strength": "required", "valueSet": "http://example.org/codes"}}


@pytest.mark.parametrize(
    ("definition", "resource", "expected"),
    [
        (extension("e", STRING), with_extension(E, valueString="x"), []),
        (extension("e", STRING), with_extension(E, valueBoolean=True), [("type", "Observation.extension[0].value")]),
        (
            extension("e", STRING),
            with_extension(E, "code", valueString="x"),
            [("extension-context", "Observation.code.extension[0]")],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "CodeableConcept"}]),
            with_extension(E, "code", valueString="x"),
            [],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "Observation.code"}]),
            with_extension(E, "code", valueString="x"),
            [],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "Observation.component"}]),
            with_extension(E, "component", valueString="x"),
            [],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "BackboneElement"}]),
            with_extension(E, "component", valueString="x"),
            [],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "Element"}]),
            with_extension(E, "component", valueString="x"),
            [],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "DomainResource"}]),
            with_extension(E, valueString="x"),
            [],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "Observation.value[x]"}]),
            with_extension(E, "valueQuantity", valueString="x"),
            [],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "Observation.status"}]),
            with_extension(E, "_status", valueString="x"),
            [],
        ),
        (
            extension("e", context=[{"type": "element", "expression": "Observation.issued"}]),
            with_extension(E, "_status", valueString="x"),
            [("extension-context", "Observation.status.extension[0]")],
        ),
        (
            extension(
                "e", context=[{"type": "fhirpath", "expression": "Observation.component.where(value is Quantity)"}]
            ),
            with_extension(E, "component", valueString="x"),
            [],
        ),
        (
            extension(
                "e", context=[{"type": "fhirpath", "expression": "Observation.component.where(value is string)"}]
            ),
            with_extension(E, "component", valueString="x"),
            [("extension-context", "Observation.component[0].extension[0]")],
        ),
        (
            extension("e", contextInvariant=["status = 'amended'"]),
            with_extension(E, valueString="x"),
            [("extension-context", "Observation.extension[0]")],
        ),
        (extension("e", contextInvariant=["status = 'final'"]), with_extension(E, valueString="x"), []),
        (
            extension("e"),
            with_extension(E, key="modifierExtension", valueString="x"),
            [("extension-modifier", "Observation.modifierExtension[0]")],
        ),
        (
            extension("e", {"path": "Extension", "isModifier": True}),
            with_extension(E, valueString="x"),
            [("extension-modifier", "Observation.extension[0]")],
        ),
        (
            extension("e", {"path": "Extension", "isModifier": True}),
            with_extension(E, key="modifierExtension", valueString="x"),
            [],
        ),
        (
            extension(
                "e",
                {"path": "Extension.extension", "sliceName": "a", "min": 1},
                {"path": "Extension.extension.url", "fixedUri": "a"},
                {"path": "Extension.extension.value[x]", "type": [{"code": "string"}]},
            ),
            with_extension(E, extension=[{"url": "b", "valueString": "x"}]),
            [("cardinality-min", "Observation.extension[0].extension")],
        ),
        (
            extension(
                "e",
                {"path": "Extension.extension", "sliceName": "a", "min": 1},
                {"path": "Extension.extension.url", "fixedUri": "a"},
                {"path": "Extension.extension.value[x]", "type": [{"code": "string"}]},
            ),
            with_extension(E, extension=[{"url": "a", "valueCode": "x"}]),
            [("type", "Observation.extension[0].extension[0].value")],
        ),
        (
            extension("inner", context=[{"type": "extension", "expression": E}]),
            with_extension(E, extension=[{"url": BASE + "inner", "valueString": "x"}]),
            [],
        ),
        (
            extension("inner", context=[{"type": "extension", "expression": E}]),
            with_extension(BASE + "inner", valueString="x"),
            [("extension-context", "Observation.extension[0]")],
        ),
    ],
)
def test_an_extension_is_checked_by_its_definition(definition: Json, resource: Json, expected: Said) -> None:
    assert said(resource, definition) == expected


def test_a_profile_asks_for_an_extension() -> None:
    profile = structure(
        "p",
        "Observation",
        {"path": "Observation.extension", "sliceName": "e", "min": 1, "type": [{"code": "Extension", "profile": [E]}]},
    )
    definition = extension("e", STRING, CODED)
    assert said(OBSERVATION, definition, profile) == [("cardinality-min", "Observation.extension")]
    assert said(with_extension(E, valueString="x"), definition, profile) == []
    found = conformance(with_extension(E, valueString="x"), [], known(definition, profile), r4())
    assert [each.expression for each in found] == ["Observation.extension[0].value"]


def test_slices_told_by_an_extension() -> None:
    """A component is of the slice by what its extension says."""
    parts = [
        {"path": "Observation.component", "sliceName": "s", "max": "0"},
        {"path": "Observation.component.extension", "sliceName": "e", "type": [{"code": "Extension", "profile": [E]}]},
        {"path": "Observation.component.extension.value[x]", "fixedString": "x"},
    ]
    path = f"extension('{E}').value.ofType(string)"
    profile = structure("p", "Observation", *sliced("Observation.component", *parts, kind="value", at=path))
    definition = extension("e", context=[{"type": "element", "expression": "Element"}])
    number = [("cardinality-max", "Observation.component")]
    assert said(with_extension(E, "component", valueString="x"), definition, profile) == number
    assert said(with_extension(E, "component", valueString="y"), definition, profile) == []
    assert said(OBSERVATION, definition, profile) == []


def test_extensions_in_closed_slices_are_those_of_the_profile() -> None:
    closed = {"slicing": {"discriminator": [{"type": "value", "path": "url"}], "rules": "closed"}}
    type_ = [{"code": "Extension", "profile": [E]}]
    profile = structure(
        "p",
        "Observation",
        {"path": "Observation.extension", **closed},
        {"path": "Observation.extension", "sliceName": "e", "type": type_},
    )
    assert said(with_extension(E, valueString="x"), extension("e"), profile) == []
    other = with_extension("http://example.org/other", valueString="x")
    assert said(other, extension("e"), profile) == [("slicing", "Observation.extension[0]")]


@pytest.mark.parametrize(("key", "severity"), [("extension", "information"), ("modifierExtension", "warning")])
def test_an_extension_that_is_not_known(key: str, severity: str) -> None:
    (issue,) = conformance(with_extension("http://example.org/other", key=key, valueCode="x"), [], known(), r4())
    assert (issue.severity, issue.expression) == (severity, f"Observation.{key}[0].url")


def test_an_invariant_asks_for_a_profile() -> None:
    text = f"contained.all(conformsTo('{BASE}led'))"
    constraint = {"key": "x-1", "severity": "error", "human": "Led.", "expression": text}
    profile = structure("p", "Observation", {"path": "Observation", "constraint": [constraint]})
    contained = {"resourceType": "Patient", "id": "c", "active": True}
    resource = {**OBSERVATION, "contained": [contained], "subject": {"reference": "#c"}}
    assert said(resource, LED, profile) == [("invariant", "Observation")]
    contained["birthDate"] = "1815-12-10"
    assert said(resource, LED, profile) == []


def test_a_profile_of_all_resources() -> None:
    narrated = structure("p", "DomainResource", {"path": "DomainResource.text", "min": 1})
    assert said(OBSERVATION, narrated) == [("cardinality-min", "Observation.text")]


def bound(name: str, value_set: str, **more: Any) -> Json:
    binding = {"strength": "required", "valueSet": f"http://example.org/{value_set}"}
    return {"path": "Observation.category", "sliceName": name, "binding": binding, **more}


BOUND = structure(
    "p",
    "Observation",
    *sliced("Observation.category", bound("a", "a", min=1), bound("b", "b", max="0"), rules="closed"),
)


def test_of_slices_that_only_terminology_can_tell_it_is_asked_whether_one_is_there() -> None:
    assert said(OBSERVATION, BOUND) == []
    codings = [each["coding"][0] for each in OBSERVATION["category"]]
    asked = Question(
        "required", "http://example.org/a", "CodeableConcept", {"coding": codings}, "Observation.category", BASE + "p"
    )
    assert conformance(OBSERVATION, [BASE + "p"], known(BOUND), r4()) == [asked]
    assert said({**OBSERVATION, "category": [{"text": "a"}]}, BOUND) == [("cardinality-min", "Observation.category")]


def test_slices_that_the_caller_can_tell() -> None:
    def member_of(value: Json, value_set: str) -> bool:
        return bool(value["coding"][0]["code"] == value_set[-1])

    assert said(OBSERVATION, BOUND, hooks=Hooks(member_of=member_of)) == [("cardinality-max", "Observation.category")]
    other = {**OBSERVATION, "category": [concept("c")]}
    assert sorted(said(other, BOUND, hooks=Hooks(member_of=member_of))) == [
        ("cardinality-min", "Observation.category"),
        ("slicing", "Observation.category[0]"),
    ]


def test_the_entries_of_a_long_bundle_are_found_in_one_look() -> None:
    """Each of two thousand entries refers to all: what is looked up is not built for each."""
    observation = {**OBSERVATION, "meta": {"profile": [BASE + "p"]}}
    patients = [{"resourceType": "Patient", "id": str(i), "birthDate": "1815-12-10"} for i in range(2000)]
    entries = [
        each
        for patient in patients
        for each in (
            {"fullUrl": f"http://example.org/Patient/{patient['id']}", "resource": patient},
            {"resource": {**observation, "subject": {"reference": f"Patient/{patient['id']}"}}},
        )
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    assert conformance(bundle, [], known(LED, LEADS), r4()) == []


# what comes from outside must end


def test_an_invariant_that_takes_too_long_is_given_up() -> None:
    expression = "note.all(%resource.descendants().all(%resource.descendants().all(%resource.descendants().exists())))"
    constraint = {"key": "x-1", "severity": "error", "human": "Long.", "expression": expression}
    profile = structure("p", "Observation", {"path": "Observation", "constraint": [constraint]})
    (issue,) = problems(OBSERVATION, [BASE + "p"], known(profile))
    assert (issue.severity, issue.rule) == ("warning", "invariant")


def test_bases_of_bases_end() -> None:
    chain = [structure("0", "Patient")]
    chain += [structure(str(i), "Patient", base=f"{BASE}{i - 1}") for i in range(1, 200)]
    last = {**structure("p", "Patient"), "baseDefinition": f"{BASE}199"}
    (issue,) = problems({"resourceType": "Patient"}, [BASE + "p"], known(*chain, last))
    assert issue.rule == "profile-unknown"


def test_profiles_that_unfold_each_other_without_end_are_not_checked() -> None:
    """Each has two slices of the one before: a million elements after twenty."""
    definitions = [structure("0", "Extension", {"path": "Extension.value[x]", "max": "0"})]
    for i in range(1, 21):
        slices = [
            each
            for name in "ab"
            for each in (
                {
                    "path": "Extension.extension",
                    "sliceName": name,
                    "type": [{"code": "Extension", "profile": [f"{BASE}{i - 1}"]}],
                },
                {"path": "Extension.extension.id", "max": "0"},
            )
        ]
        definitions.append(structure(str(i), "Extension", *slices))
    resource = with_extension(f"{BASE}20", valueString="x")
    (issue,) = problems(resource, [], known(*definitions))
    assert (issue.severity, issue.rule) == ("warning", "profile-unknown")
