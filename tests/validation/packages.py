"""Official packages beside the repository, and the profiles in them."""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from official import IPS, US_CORE

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.fhirpath import Hooks
from fhirserver.fhir.outcome import Outcome
from fhirserver.validation.conformance import conformance
from fhirserver.validation.findings import Finding, Question
from fhirserver.validation.profiles import Profile, Profiles, published
from terminology.canonical import Candidate, Canonical
from terminology.kept import Terminology
from terminology.service import Read, Service
from terminology.verdicts import Asked, Rules, in_value_set

Json = dict[str, Any]


def resources(package: Path) -> Iterator[tuple[str, Json]]:
    """Every resource of a package by its place in it: `example/Patient-example.json`."""
    with tarfile.open(package) as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            content = archive.extractfile(member)
            if content and name.endswith(".json") and name.removeprefix("example/").count("/") == 0 and "-" in name:
                resource = json.resource(content.read())
                if "resourceType" in resource:
                    yield name, resource


@cache
def structure_definitions(package: Path) -> dict[str, Json]:
    """By URL."""
    found = (each for _, each in resources(package) if each["resourceType"] == "StructureDefinition")
    return {each["url"]: each for each in found}


@cache
def profiles() -> Profiles:
    """Those of R4, US Core and IPS."""
    known = (each for package in (US_CORE, IPS) for each in structure_definitions(package).values())
    return Profiles([*published().values(), *(Profile(each, r4()) for each in known)])


@cache
def examples(package: Path) -> dict[str, Json]:
    """By name: `Patient-example`."""
    return {Path(name).stem: resource for name, resource in resources(package) if name.startswith("example/")}


class Packages:
    """What the packages hold of terminology, as a source of the service."""

    def __init__(self, *packages: Path) -> None:
        kinds = ("CodeSystem", "ValueSet")
        found = [each for package in packages for _, each in resources(package) if each["resourceType"] in kinds]
        self._found = {(each["resourceType"], each["url"]): each for each in found}

    async def maps(self, systems: tuple[str, str | None]) -> list[Canonical]:
        return []

    async def candidates(self, asked: Collection[Canonical]) -> dict[Canonical, Candidate | None]:
        return {each: self._candidate(each) for each in asked}

    def _candidate(self, asked: Canonical) -> Candidate | None:
        found = self._found.get((asked.type, asked.url))
        if found is None:
            return None
        return Candidate(asked.url, 1, asked.url, found.get("version", ""), "active", datetime(2024, 5, 1, tzinfo=UTC))

    async def read(self, type_: str, ids: Collection[str]) -> dict[str, Read]:
        return {id_: Read(1, self._found[type_, id_]) for id_ in ids}

    async def release(self, key: str) -> None:
        return None


class Answers:
    """What terminology says, from packages."""

    def __init__(self, *packages: Path) -> None:
        self._service = Service(Packages(*packages), Terminology(), "http://example.org/fhir")
        self._known: dict[tuple[str, bytes], bool | None] = {}

    async def conformance(self, resource: Json, asked: Collection[str] = ()) -> list[Finding]:
        """What profiles say; which slices codes belong to is asked until it is known."""
        while True:
            open_: dict[tuple[str, bytes], Question] = {}

            def member_of(value: Any, value_set: str, open_: dict[tuple[str, bytes], Question] = open_) -> bool | None:
                key = value_set, json.encode(value)
                if key not in self._known:
                    type_ = "CodeableConcept" if isinstance(value, dict) and "code" not in value else "Coding"
                    open_[key] = Question("required", value_set, type_ if isinstance(value, dict) else "code", value)
                return self._known.get(key)

            found = conformance(resource, asked, profiles(), r4(), Hooks(member_of=member_of))
            if not open_:
                return found
            self._known |= {key: await self._kept(question) for key, question in open_.items()}

    async def refused(self, findings: Iterable[Finding]) -> list[Finding]:
        """Errors, and required bindings that are known not to be kept."""
        questions = [each for each in findings if isinstance(each, Question) and each.strength == "required"]
        broken: list[Finding] = [each for each in questions if await self._kept(each) is False]
        return [each for each in findings if each.severity == "error"] + broken

    async def _kept(self, question: Question) -> bool | None:
        asked = [*_codes(question)]
        value_set = self._service.named("ValueSet", question.value_set)
        present = (await self._service.gathered(value_set)).present
        rules = Rules(infer=question.type == "code")
        try:
            verdicts = [await in_value_set(self._service, value_set, present, each, rules) for each in asked]
        except Outcome:
            return None  # of value sets that are nowhere here
        if any(each.result or each.kind == "invalid" for each in verdicts):
            return True
        return None if any(each.kind == "not-found" for each in verdicts) else False


def _codes(question: Question) -> Iterator[Asked]:
    value = question.value
    if question.type == "code":
        yield Asked(value)
    else:
        for each in value.get("coding", ()) if question.type == "CodeableConcept" else (value,):
            yield Asked(each.get("code", ""), each.get("system"))


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


def of_ips(name: str, example: Json) -> str:
    """The profile that an example of IPS is of; none says so itself."""
    return IPS_PROFILES + OTHERS.get(name, f"{example['resourceType']}-uv-ips")
