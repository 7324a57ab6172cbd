"""Official packages beside the repository, and the profiles in them."""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import Outcome
from fhirserver.validation.findings import Question
from fhirserver.validation.profiles import Profile, Profiles, published
from terminology.canonical import Candidate, Canonical
from terminology.kept import Terminology
from terminology.service import Read, Service
from terminology.verdicts import Asked, Rules, in_value_set

PACKAGES = Path(__file__).parents[3] / "shared" / "data" / "packages"
US_CORE, IPS = PACKAGES / "hl7.fhir.us.core-6.1.0.tgz", PACKAGES / "hl7.fhir.uv.ips-1.1.0.tgz"
beside = pytest.mark.skipif(not PACKAGES.exists(), reason="the official packages are not beside the repository")

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
    """Questions of validation, answered from packages."""

    def __init__(self, *packages: Path) -> None:
        self._service = Service(Packages(*packages), Terminology(), "http://example.org/fhir")

    async def refused(self, questions: Iterable[Question]) -> list[Question]:
        """Those where a required binding is known not to be kept."""
        return [each for each in questions if each.strength == "required" and not await self._kept(each)]

    async def _kept(self, question: Question) -> bool:
        asked = [*_codes(question)]
        value_set = self._service.named("ValueSet", question.value_set)
        present = (await self._service.gathered(value_set)).present
        rules = Rules(infer=question.type == "code")
        try:
            verdicts = [await in_value_set(self._service, value_set, present, each, rules) for each in asked]
        except Outcome:
            return True  # of value sets that are nowhere here
        return any(each.result or each.kind in ("invalid", "not-found") for each in verdicts)


def _codes(question: Question) -> Iterator[Asked]:
    value = question.value
    if question.type == "code":
        yield Asked(value)
    else:
        for each in value.get("coding", ()) if question.type == "CodeableConcept" else (value,):
            yield Asked(each.get("code", ""), each.get("system"))
