"""The official examples are valid, except those that break the specification themselves."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.validate import Validator

EXAMPLES = Path(__file__).parents[3] / "shared" / "data" / "examples-r4.tar.xz"

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


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the official examples are not beside the repository")
def test_the_official_examples_are_valid_but_for_the_broken_ones() -> None:
    validator = Validator(r4(), required_codes())
    count, refused = 0, {}
    with tarfile.open(EXAMPLES) as archive:
        for member in archive:
            if content := archive.extractfile(member):
                count += 1
                if issues := validator.issues(json.resource(content.read())):
                    refused[Path(member.name).stem] = issues[0].expression
    assert count == 711
    assert refused == BROKEN


# where URIs are not what they say they are
RELATIVE = {
    "Library-zika-virus-intervention-logic": "Library.dataRequirement[0].codeFilter[0].valueSet",  # urn:oid:X.Y.Z
    "Organization-2.16.840.1.113883.19.5": "Organization.identifier[0].value",
}


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the official examples are not beside the repository")
def test_what_is_asked_beyond_that_is_kept_by_the_official_examples() -> None:
    validator = Validator(r4(), required_codes())
    refused = {}
    with tarfile.open(EXAMPLES) as archive:
        for member in archive:
            if content := archive.extractfile(member):
                resource = json.resource(content.read())
                errors = [each for each in validator.thorough(resource).issues if each.severity == "error"]
                if errors and Path(member.name).stem not in BROKEN:
                    refused[Path(member.name).stem] = errors[0].expression
    assert refused == RELATIVE
