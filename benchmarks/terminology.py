"""Questions to the terminology service per second and core, in process: what $lookup, $validate-code and others ask.

Run: python -m benchmarks.terminology. Prints JSON. CPU time, one process, best of three rounds, each question about
another code of the code system than the one before. What a whole request costs is in `benchmarks.load`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from itertools import cycle
from typing import Any

from terminology.canonical import Candidate, Canonical
from terminology.expansions import Wanted, expansion
from terminology.kept import Terminology
from terminology.releases.release import Release
from terminology.service import Read, Service
from terminology.verdicts import Asked, Rules, in_code_system, in_value_set

Json = dict[str, Any]
Ask = Callable[[str], Awaitable[object]]
SECONDS, ROUNDS, BATCH = 0.3, 3, 500
SYSTEM = Canonical("CodeSystem", "http://terminology.hl7.org/CodeSystem/v3-RoleCode")  # 400 codes, five levels
FILTERED = Canonical("ValueSet", "http://terminology.hl7.org/ValueSet/v3-PersonalRelationshipRoleType")
LISTED = Canonical("ValueSet", "http://hl7.org/fhir/ValueSet/observation-status")
STATUS = "http://hl7.org/fhir/observation-status"
NESTED = Canonical("ValueSet", "http://hl7.org/fhir/ValueSet/relatedperson-relationshiptype")


class Nothing:
    """A `terminology.service.Source` of a database where nothing is stored: all is what R4 publishes."""

    async def maps(self, sources: Collection[str], targets: Collection[str]) -> list[Canonical]:
        return []

    async def named(self, identifier: str) -> list[Canonical]:
        return []

    async def candidates(self, asked: Collection[Canonical]) -> Mapping[Canonical, Candidate | None]:
        return dict.fromkeys(asked)

    async def read(self, type_: str, ids: Collection[str]) -> Mapping[str, Read]:
        return {}

    async def release(self, key: str) -> Release | None:
        return None


async def per_second(kept: Terminology, ask: Ask, codes: Iterable[str]) -> int:
    best, ahead = 0.0, cycle([*codes])
    for _ in range(ROUNDS):
        done, start = 0, time.process_time()
        while (elapsed := time.process_time() - start) < SECONDS:
            kept.heard()
            for _ in range(BATCH):
                await ask(next(ahead))
            done += BATCH
        best = max(best, done / elapsed)
    return round(best)


def questions(service: Service) -> dict[str, Ask]:
    rules = Rules()

    async def lookup(code: str) -> object:
        system = await service.system(SYSTEM)
        return None if system is None else await system.concept(code)

    async def in_system(code: str) -> object:
        return await in_code_system(await service.system(SYSTEM), Asked(code, SYSTEM.url), rules)

    async def subsumes(code: str) -> object:
        system = await service.system(SYSTEM)
        return system is not None and await system.subsumes("FAMMEMB", code)

    def in_set(value_set: Canonical, system: str) -> Ask:
        async def ask(code: str) -> object:
            present = (await service.gathered(value_set)).present
            return await in_value_set(service, value_set, present, Asked(code, system), rules)

        return ask

    async def expanded(_: str) -> object:
        return await expansion(FILTERED, (await service.gathered(FILTERED)).present, Wanted())

    return {
        "lookup": lookup,
        "validate_code_in_code_system": in_system,
        "validate_code_in_filtered_value_set": in_set(FILTERED, SYSTEM.url),
        "validate_code_in_whole_value_set": in_set(LISTED, STATUS),
        "validate_code_in_nested_value_set": in_set(NESTED, SYSTEM.url),
        "subsumes": subsumes,
        "expand_109_codes": expanded,
    }


async def measure() -> Json:
    kept = Terminology()
    service = Service(Nothing(), kept, "http://localhost/fhir")
    system = await service.system(SYSTEM)
    if system is None:
        raise SystemExit(f"{SYSTEM} is not published")
    codes = sorted(await system.selected(()))
    return {f"{name}_per_second": await per_second(kept, ask, codes) for name, ask in questions(service).items()}


def main() -> None:
    print(json.dumps(asyncio.run(measure()), indent=2))


if __name__ == "__main__":
    main()
