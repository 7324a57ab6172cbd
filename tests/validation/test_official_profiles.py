"""The examples of US Core and IPS keep the profiles that they say they keep."""

from __future__ import annotations

from typing import Any

from fhirserver.fhir.outcome import Issue
from fhirserver.validation.references import Container
from tests.validation.packages import IPS, US_CORE, beside, examples, profiles

Json = dict[str, Any]


def errors(resource: Json, claimed: list[str]) -> list[Issue]:
    known = profiles()
    container = Container(resource, profiles=known)
    found = [each for url in claimed for each in known[url].check(resource, container) or ()]
    return [each for each in found if isinstance(each, Issue) and each.severity == "error"]


@beside
def test_the_examples_of_us_core_keep_the_profiles_that_they_claim() -> None:
    known = profiles()
    claims = {
        name: [url for url in each.get("meta", {}).get("profile", ()) if url in known]
        for name, each in examples(US_CORE).items()
    }
    assert sum(map(len, claims.values())) == 174
    refused = {name: found for name, urls in claims.items() if (found := errors(examples(US_CORE)[name], urls))}
    assert refused == {}


IPS_PROFILES = "http://hl7.org/fhir/uv/ips/StructureDefinition/"
OTHERS = {  # examples of another profile than that of their type
    "Device-ips-example-imaging-1": "Device-observer-uv-ips",
    "Media-media-example-smile": "Media-observation-uv-ips",
    "Observation-alcohol-use-example": "Observation-alcoholuse-uv-ips",
    "Observation-hemoglobin": "Observation-results-laboratory-uv-ips",
    "Observation-ips-example-imaging-1": "Observation-results-radiology-uv-ips",
    "Observation-ips-example-imaging-4": "Observation-results-radiology-uv-ips",
    "Observation-pathology-cancer": "Observation-results-pathology-uv-ips",
    "Observation-pregnancy-edd-example": "Observation-pregnancy-edd-uv-ips",
    "Observation-pregnancy-outcome-example": "Observation-pregnancy-outcome-uv-ips",
    "Observation-pregnancy-status-example": "Observation-pregnancy-status-uv-ips",
    "Observation-serum-creatinine-adult": "Observation-results-laboratory-uv-ips",
    "Observation-tobacco-use-example": "Observation-tobaccouse-uv-ips",
    "Observation-urine-wbc-range": "Observation-results-laboratory-uv-ips",
}


@beside
def test_the_examples_of_ips_keep_the_profile_of_their_kind() -> None:
    refused = {}
    for name, each in examples(IPS).items():
        profile = OTHERS.get(name, f"{each['resourceType']}-uv-ips")
        if found := errors(each, [IPS_PROFILES + profile]):
            refused[name] = found
    assert refused == {}
