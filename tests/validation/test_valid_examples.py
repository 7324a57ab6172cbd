"""The official examples are valid, except those that break the specification themselves."""

from __future__ import annotations

from official import EXAMPLES, beside, examples

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.validate import Validator

BROKEN = {
    "ActivityDefinition-blood-tubes-supply": "ActivityDefinition.text.div",  # a narrative that says nothing (txt-2)
    "ActivityDefinition-heart-valve-replacement": "ActivityDefinition.text.div",
    "EventDefinition-example": "EventDefinition.text.div",
    "Questionnaire-zika-virus-exposure-assessment": "Questionnaire.text.div",
    "Bundle-10bb101f-a121-4264-a920-67be9cb82c74": "Bundle.entry[2].fullUrl",  # …/Patient/pat12 is the Patient pat2
    "Bundle-3a0707d3-549e-4467-b8b8-5a2ab3800efe": "Bundle.entry[3].fullUrl",
    "Bundle-lri-example": "Bundle.entry[1].fullUrl",
    "DeviceMetric-example": "DeviceMetric.parent",  # points at a DeviceDefinition; only Device is allowed
    "DeviceUseStatement-example": "DeviceUseStatement.reasonReference[0]",  # points at a Procedure
    "MedicationRequest-medrx0301": "MedicationRequest.dispenseRequest.performer",  # a Practitioner, not an Organization
    "Observation-clinical-gender": "Observation.performer[0]",  # an Encounter performs nothing
    "Questionnaire-qs1": "Questionnaire.item[0].item[0].linkId",  # items without linkId
}


@beside(EXAMPLES)
def test_the_official_examples_are_valid_but_for_the_broken_ones() -> None:
    validator = Validator(r4(), required_codes())
    refused = {}
    for name, example in examples().items():
        if issues := validator.issues(json.resource(example)):
            refused[name] = issues[0].expression
    assert len(examples()) == 711
    assert refused == BROKEN


# where URIs are not what they say they are
RELATIVE = {
    "Library-zika-virus-intervention-logic": "Library.dataRequirement[0].codeFilter[0].valueSet",  # urn:oid:X.Y.Z
    "Organization-2.16.840.1.113883.19.5": "Organization.identifier[0].value",
}


@beside(EXAMPLES)
def test_what_is_asked_beyond_that_is_kept_by_the_official_examples() -> None:
    validator = Validator(r4(), required_codes())
    refused = {}
    for name, example in examples().items():
        errors = [each for each in validator.thorough(json.resource(example)).issues if each.severity == "error"]
        if errors and name not in BROKEN:
            refused[name] = errors[0].expression
    assert refused == RELATIVE
