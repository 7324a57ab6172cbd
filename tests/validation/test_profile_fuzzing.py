"""Whatever a StructureDefinition says, checking by it ends, with findings and without an exception."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.fhir.definitions import r4
from fhirserver.validation.conformance import conformance
from fhirserver.validation.profiles import Profile, Profiles, published
from tests.validation.test_profiles import BASE, OBSERVATION, PATIENT, concept, extension, structure, with_extension

Json = dict[str, Any]

NAMES = """
    category code code.coding code.coding.system component component.code component.value[x] component.valueQuantity
    component.referenceRange component.referenceRange.low effective[x] effectivePeriod.start extension status id
    extension.value[x] meta.profile note.text status.extension subject subject.reference value[x] value[x].value
    valueQuantity valueQuantity.unit contained contained.id no.such valueNothing text.div modifierExtension.url
    hasMember
"""
WAYS = "$this code coding.code url value resolve() resolve().code reference extension('x').value ofType(x) .."
TYPES = "Quantity string CodeableConcept Reference Extension Nothing BackboneElement Patient"
paths = st.sampled_from(["", *NAMES.split()]).map(lambda name: f"Observation.{name}" if name else "Observation")
discriminators = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["value", "pattern", "type", "profile", "exists"]),
        "path": st.sampled_from(WAYS.split()),
    }
)
slicings = st.fixed_dictionaries(
    {"rules": st.sampled_from(["open", "closed", "openAtEnd"])},
    optional={"discriminator": st.lists(discriminators, max_size=2), "ordered": st.booleans()},
)
types = st.fixed_dictionaries(
    {"code": st.sampled_from(TYPES.split())},
    optional={
        "profile": st.lists(st.sampled_from([BASE + "p", BASE + "q", BASE + "e", PATIENT]), max_size=2),
        "targetProfile": st.lists(st.sampled_from([BASE + "p", BASE + "q", PATIENT]), max_size=2),
        "aggregation": st.lists(st.sampled_from(["contained", "bundled"]), max_size=1),
    },
)
said = st.sampled_from(
    [
        {"fixedCode": "final"},
        {"fixedQuantity": {"value": 1}},
        {"patternCodeableConcept": concept("8480-6")},
        {"minValueDate": "2024"},
        {"maxValueQuantity": {"value": 1, "unit": "x"}},
        {"minValueInteger": 3},
        {"maxLength": 3},
        {"contentReference": "#Observation.nothing"},
        {"binding": {"strength": "required"}},
        {"binding": {"strength": "required", "valueSet": "http://example.org/v"}},
        {"constraint": [{"key": "x-1", "severity": "error", "human": "x", "expression": "note.("}]},
        {"constraint": [{"key": "x-2", "severity": "error", "human": "x", "expression": "$this.value > 'a'"}]},
        {
            "constraint": [
                {"key": "x-3", "severity": "warning", "human": "x", "expression": "%resource.subject.resolve()"}
            ]
        },
    ]
)
elements = st.tuples(
    st.fixed_dictionaries(
        {"path": paths},
        optional={
            "id": paths.map(lambda path: path.replace("component", "component:a")),
            "sliceName": st.sampled_from(["a", "b", "a/b", "@default"]),
            "min": st.integers(0, 3),
            "max": st.sampled_from(["0", "1", "2", "*"]),
            "type": st.lists(types, min_size=1, max_size=2),
            "slicing": slicings,
        },
    ),
    said | st.just({}),
).map(lambda pair: pair[0] | pair[1])
resources = st.sampled_from(
    [
        OBSERVATION,
        with_extension(BASE + "e", valueString="x"),
        with_extension(BASE + "e", "_status", valueString="x"),
        {**OBSERVATION, "contained": [{"resourceType": "Patient", "id": "c"}], "subject": {"reference": "#c"}},
        {**OBSERVATION, "note": [{"_text": {"id": "x"}}], "hasMember": [{"display": "x"}, {"reference": "#"}]},
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(elements, max_size=8), st.lists(elements, max_size=4), resources, st.sampled_from(["q", "r"]))
def test_a_profile_of_any_elements_gives_findings(
    ours: list[Json], others: list[Json], resource: Json, of: str
) -> None:
    definitions = [
        structure("p", "Observation", *ours, base=BASE + of),
        structure("q", "Observation", *others),
        extension("e", {"path": "Extension.value[x]", "min": 1}),
    ]
    known = Profiles([*published().values(), *(Profile(each, r4()) for each in definitions)])
    for each in conformance(resource, [BASE + "p"], known, r4()):
        assert re.fullmatch(r"Observation(\.\w+(\[\d+\])?)*", each.expression or "")
