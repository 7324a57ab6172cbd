"""US Core and IPS as an operator loads them: their examples keep what the server asks, codes and all."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from brief import briefly
from official import IPS, US_CORE, beside

from fhirserver.assembly import contexts
from fhirserver.context import OPERATOR
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.files import Resource, opened, package
from fhirserver.interactions.load import load
from tests.validation.packages import examples

if TYPE_CHECKING:
    from conftest import Fhir, Serve

# a fullUrl that is not of the resource in its entry
WRONG = {"Bundle-docref-example-2", "Bundle-66c8856b-ba11-4876-8aa8-467aad8c11a2"}


@pytest.fixture(scope="module")
def fhir(serve: Serve) -> Fhir:
    served = serve(validation="profiles")

    async def loaded() -> None:
        async with contexts(served.settings) as (found):
            ctx = replace(found[""], caller=OPERATOR)
            for path in (US_CORE, IPS):
                assert (await load(ctx, conformance(path))).failed == []

    briefly(loaded())
    return served.client


def conformance(path: Path) -> Iterator[Resource]:
    source = opened(path)
    with source.raw:
        yield from package(source, r4(), lambda part: pytest.fail(str(part)))


def errors(fhir: Fhir, resource: Any) -> list[dict[str, Any]]:
    answer = fhir.post("$validate", content=json.encode(resource), headers={"Content-Type": "application/fhir+json"})
    assert answer.status_code == 200, answer.text
    return [issue for issue in answer.json()["issue"] if issue["severity"] == "error"]


@beside(US_CORE, IPS)
@pytest.mark.parametrize("path", [US_CORE, IPS], ids=["US Core", "IPS"])
def test_the_examples_are_right(fhir: Fhir, path: Path) -> None:
    found = {name: errors(fhir, each) for name, each in examples(path).items()}
    assert {name for name, issues in found.items() if issues} == (WRONG if path == US_CORE else set())


CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
RACE = {"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3"}}
CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"


@beside(US_CORE, IPS)
@pytest.mark.parametrize(
    ("name", "elements", "place", "rule"),
    [
        ("Patient-example", {"gender": None}, "Patient.gender", "cardinality-min"),
        (
            "Patient-example",
            {"extension": [{"url": CORE + "us-core-race", "extension": [RACE]}]},
            "Patient.extension[0].extension",
            "cardinality-min",
        ),
        (
            "Patient-example",
            {"extension": [{"url": CORE + "us-core-race", "extension": [RACE, {"url": "text", "valueCode": "White"}]}]},
            "Patient.extension[0].extension[1].value",
            "type",
        ),
        ("Condition-condition-duodenal-ulcer", {"category": None}, "Condition.category", "cardinality-min"),
        (
            "Condition-condition-duodenal-ulcer",
            {"category": [{"coding": [{"system": CATEGORY, "code": "encounter-diagnosis"}]}]},
            "Condition.category",
            "cardinality-min",
        ),
    ],
)
def test_what_breaks_them_is_found(fhir: Fhir, name: str, elements: dict[str, Any], place: str, rule: str) -> None:
    resource = deepcopy(examples(US_CORE)[name]) | elements
    found = errors(fhir, {key: value for key, value in resource.items() if value is not None})
    assert (place, rule) in [(each["expression"][0], each["details"]["coding"][0]["code"]) for each in found]
