"""Official packages beside the repository, and the profiles in them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.validation.profiles import Profile, Profiles, published

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
