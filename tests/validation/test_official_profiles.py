"""The examples of US Core and IPS keep the profiles that they say they keep."""

from __future__ import annotations

from collections import Counter
from typing import Any

from official import EXAMPLES, IPS, US_CORE, beside
from official import examples as examples_of_r4

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.conformance import claims, conformance
from fhirserver.validation.places import objects
from fhirserver.validation.profiles import published
from fhirserver.validation.references import Container
from tests.validation.packages import examples, of_ips, profiles
from tests.validation.test_valid_examples import BROKEN

Json = dict[str, Any]


def errors(resource: Json, claimed: list[str]) -> list[Issue]:
    known = profiles()
    container = Container(resource, profiles=known)
    found = [each for url in claimed for each in known[url].check(resource, container) or ()]
    return [each for each in found if isinstance(each, Issue) and each.severity == "error"]


@beside(US_CORE, IPS)
def test_the_examples_of_us_core_keep_the_profiles_that_they_claim() -> None:
    known = profiles()
    claims = {
        name: [url for url in each.get("meta", {}).get("profile", ()) if url in known]
        for name, each in examples(US_CORE).items()
    }
    assert sum(map(len, claims.values())) == 174
    refused = {name: found for name, urls in claims.items() if (found := errors(examples(US_CORE)[name], urls))}
    assert refused == {}


@beside(US_CORE, IPS)
def test_the_examples_of_ips_keep_the_profile_of_their_kind() -> None:
    refused = {}
    for name, each in examples(IPS).items():
        if found := errors(each, [of_ips(name, each)]):
            refused[name] = found
    assert refused == {}


@beside(EXAMPLES)
def test_the_examples_of_r4_keep_its_profiles_and_the_definitions_of_its_extensions() -> None:
    known, checked, refused = published(), Counter[str](), {}
    for name, example in examples_of_r4().items():
        if name in BROKEN:
            continue
        resource = json.resource(example)
        found = conformance(resource, [], known, r4())
        if wrong := [each for each in found if each.severity == "error"]:
            refused[name] = wrong
        checked.update(each["url"] for _, each in objects(resource) if each.get("url") in known)
        checked.update(url for url in claims(resource) if url in known)
    assert refused == {}
    assert len(checked) >= 39
