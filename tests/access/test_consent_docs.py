"""docs/consent.md keeps its word: who sees what under each of its Consents."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from consent_rules import ACT_CODE, CONFIDENTIALITY, SNOMED, coding
from record import code, pulse, put, resource, to
from seam import person, service

from fhirserver.consents.provisions import read

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps

TEXT = (Path(__file__).parent.parent.parent / "docs" / "consent.md").read_text()
EXAMPLES = re.findall(r"([^\n]+):\n\n```json\n(.*?)```\n\n```seen\n(.*?)```", TEXT, re.DOTALL)
NAMES = ("Observation/pulse", "Observation/hiv", "Condition/depression")
RECORD = [
    resource("Practitioner/doctor"),
    resource("Practitioner/nurse"),
    resource("Organization/clinic", name="Clinic"),
    resource("PractitionerRole/nurse", practitioner=to("Practitioner/nurse"), organization=to("Organization/clinic")),
    resource("Patient/p", generalPractitioner=[to("Practitioner/doctor")]),
    pulse("pulse", "p", 60, performer=[to("Practitioner/nurse"), to("Organization/clinic")]),
    pulse("hiv", "p", 61, code=code("HIV", "75622-1"), effectiveDateTime="2025-06-01")
    | {"meta": {"security": [coding(ACT_CODE, "HIV")]}},
    resource(
        "Condition/depression",
        subject=to("Patient/p"),
        code=code("Depression", "35489007", SNOMED),
        meta={"security": [coding(CONFIDENTIALITY, "R")]},
    ),
]


@pytest.fixture(scope="module")
def people(serve: Serve, apps: Apps) -> Mapping[str, Fhir]:
    """`open` stores; the others are those of the page."""
    served = serve(open=False)
    running = serve(database=served.settings.database)
    for each in RECORD:
        put(running.client, each)
    service(served, "study", "HRESCH")
    values: dict[str, dict[str, Any]] = {
        "doctor": {"roles": ["practitioner"], "fhir_user": "Practitioner/doctor"},
        "nurse": {"roles": ["practitioner"], "fhir_user": "Practitioner/nurse"},
        "mother": {"roles": ["patient"], "fhir_user": "RelatedPerson/mother", "proxy_for": ["p"]},
        "patient": {"roles": ["patient"], "patient": "p"},
    }
    found = {each: apps(served, "user/*.cruds", user=person(served, each, **value)) for each, value in values.items()}
    return {**found, "study": apps(served, "system/*.rs", client="study"), "open": running.client}


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == TEXT.count("```json") >= 6


@pytest.mark.parametrize(("body", "seen"), [each[1:] for each in EXAMPLES], ids=[each[0] for each in EXAMPLES])
def test_an_example_says_who_sees_what(people: Mapping[str, Fhir], body: str, seen: str) -> None:
    consent = json.loads(body)
    assert read(consent, "").unclear == ()
    stored = people["patient"].create(consent)
    expected = {who: {*names.split()} for who, _, names in (line.partition(":") for line in seen.strip().splitlines())}
    assert {*expected} == {"doctor", "nurse", "mother", "study"}
    try:
        for who, names in expected.items():
            assert {name for name in NAMES if people[who].get(name).status_code == 200} == names, who
            found = {f"{type_}/{id_}" for type_ in ("Observation", "Condition") for id_ in people[who].ids(type_)}
            assert found == names, who
        assert all(people["patient"].get(name).status_code == 200 for name in NAMES)
    finally:
        assert people["patient"].delete(f"Consent/{stored['id']}").status_code == 204
