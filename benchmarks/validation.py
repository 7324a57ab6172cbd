"""Validation per second and core: the base alone, and with the profiles that resources claim; the memory of profiles.

Run: python -m benchmarks.validation [FOLDER], a folder with the official packages of US Core and IPS; without one, the
base alone is measured. Prints JSON. CPU time, one process, best of three rounds.
"""

from __future__ import annotations

import gc
import json as standard
import resource as system
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.index import OBSERVATION, PATIENT, ROUNDS, per_second
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.conformance import conformance
from fhirserver.validation.profiles import Profile, Profiles, published
from fhirserver.validation.references import Container
from fhirserver.validation.validate import Validator

Json = dict[str, Any]
PACKAGES = Path(__file__).parents[2] / "shared" / "data" / "packages"
US_CORE, IPS = "hl7.fhir.us.core-6.1.0.tgz", "hl7.fhir.uv.ips-1.1.0.tgz"


def package(path: Path) -> Iterator[tuple[str, Json]]:
    """The resources of a package by their place in it."""
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member)
            name = member.name.removeprefix("package/example/").removeprefix("package/")
            if content is not None and "-" in name and "/" not in name and name.endswith(".json"):
                found = json.decode(content.read())
                if isinstance(found, dict) and "resourceType" in found:
                    yield member.name, found


def profiles(folder: Path) -> Profiles:
    """Those of R4, US Core and IPS."""
    definitions = (each for name in (US_CORE, IPS) for _, each in package(folder / name))
    ours = (Profile(each, r4()) for each in definitions if each["resourceType"] == "StructureDefinition")
    return Profiles([*published().values(), *ours])


def megabytes() -> float:
    """The most memory that this process had so far."""
    gc.collect()
    return system.getrusage(system.RUSAGE_SELF).ru_maxrss / 1024


def all_of(work: Callable[[Json], Any], resources: list[Json]) -> float:
    """Resources per second when each is taken once a round."""
    best = 0.0
    for _ in range(ROUNDS):
        start = time.process_time()
        for each in resources:
            work(each)
        best = max(best, len(resources) / (time.process_time() - start))
    return best


def with_profiles(folder: Path, validator: Validator) -> Json:
    before = megabytes()
    known = profiles(folder)
    claiming = [each for name, each in package(folder / US_CORE) if "/example/" in name and claimed(each, known)]

    def both(resource: Json) -> None:
        if not validator.issues(resource):
            conformance(resource, (), known, r4())

    def alone(resource: Json) -> None:
        conformance(resource, (), known, r4())

    for each in known.values():  # every profile is compiled, though few are used
        value = {"resourceType": each.type} if each.type in r4().resource_types else {}
        each.check(value, Container(value or PATIENT, profiles=known))
    figures = {"base": validator.issues, "profiles": alone, "both": both}
    rates = {f"{name}_per_second": round(all_of(work, claiming)) for name, work in figures.items()}
    slowest = min(per_second(both, each) for each in slow(both, claiming))
    return {
        "examples_of_us_core": len(claiming),
        **rates,
        "slowest_per_second": round(slowest),
        "profiles_known": len({each.url for each in known.values()}),
        "megabytes_of_profiles": round(megabytes() - before),
        "megabytes": round(megabytes()),
    }


def claimed(resource: Json, known: Profiles) -> bool:
    return any(url in known for url in resource.get("meta", {}).get("profile", ()))


def slow(work: Callable[[Json], Any], resources: list[Json]) -> list[Json]:
    """The three that take longest."""

    def taken(resource: Json) -> float:
        start = time.process_time()
        work(resource)
        return time.process_time() - start

    return sorted(resources, key=taken)[-3:]


def deep_slices() -> Json:
    """A profile of a thousand slices on a thousand values: seconds until it is refused or done."""
    names = [f"s{i}" for i in range(1000)]
    slices = [
        {"path": "Observation.category", "sliceName": name, "patternCodeableConcept": {"coding": [{"code": name}]}}
        for name in names
    ]
    slicing = {"discriminator": [{"type": "pattern", "path": "$this"}], "rules": "closed"}
    elements = [{"path": "Observation.category", "slicing": slicing}, *slices]
    base = "http://hl7.org/fhir/StructureDefinition/Observation"
    url = "http://example.org/slices"
    definition = {"url": url, "type": "Observation", "baseDefinition": base, "differential": {"element": elements}}
    known = Profiles([Profile(definition, r4())])
    resource = OBSERVATION | {"category": [{"coding": [{"code": "none"}]} for _ in names]}
    start = time.process_time()
    conformance(resource, [url], known, r4())
    return {"values": len(names), "slices": len(names), "seconds": round(time.process_time() - start, 2)}


def main(arguments: list[str]) -> None:
    validator = Validator(r4(), required_codes())
    small = {"Patient": PATIENT, "Observation": OBSERVATION}
    found: Json = {f"{name}_per_second": round(per_second(validator.issues, each)) for name, each in small.items()}
    folder = Path(arguments[0]) if arguments else PACKAGES
    if (folder / US_CORE).exists() and (folder / IPS).exists():
        found["profiles"] = with_profiles(folder, validator)
    found["deep_slices"] = deep_slices()
    print(standard.dumps(found, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
