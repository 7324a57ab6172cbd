"""A release as large as SNOMED CT: how long it takes to load, and to answer. docs/adr/0011-releases.md quotes it.

Run: python -m benchmarks.releases [--concepts 350000] [--write]. The release is made here, in Release Format 2: names
of four words and one other name, 1.4 parents, three attributes, a reference set. One concept has 10,000 at or below it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from pydantic import SecretStr

from fhirserver.assembly import contexts
from fhirserver.context import ANYONE, Context
from fhirserver.interactions.exchange import Request
from fhirserver.interactions.route import perform
from fhirserver.process import collect_seldom
from fhirserver.settings import Settings
from fhirserver.store import embedded

DATE, CORE, US = "20260101", "900000000000207008", "900000000000509007"
FSN, SYNONYM, IS_A, PREFERRED = "900000000000003001", "900000000000013009", "116680003", "900000000000548007"
FAMILY, ATTRIBUTES, ROUNDS = 10_000, 3, 5
RESULTS = Path(__file__).parent / "results"
SNOMED = "http://snomed.info/sct"
HEALTHMATE = (sys.executable, "-c", "from fhirserver.cli import main; main()")
Row = tuple[object, ...]


class Time(NamedTuple):
    """Milliseconds, and those of them that this process worked."""

    wall: float
    cpu: float


def code(number: int) -> str:
    return str(100_000_000 + number * 7)


class Synthetic:
    """The tables of a Snapshot, row by row. The last concepts are the family of one of them."""

    def __init__(self, concepts: int) -> None:
        self.concepts = concepts
        self.head = concepts - FAMILY
        self._rng = random.Random(1)
        self._words = [f"{first}{second}ia" for first in "bdfglmnprst" for second in self._syllables()]

    def _syllables(self) -> list[str]:
        return [f"{vowel}{consonant}{end}" for vowel in "aeiou" for consonant in "bdgklmnprstv" for end in "aeiou"]

    def concept(self) -> Iterator[Row]:
        for number in range(self.concepts):
            yield code(number), DATE, int(number % 50 != 49 or number >= self.head), CORE, "900000000000074008"

    def description(self) -> Iterator[Row]:
        for number in range(self.concepts):
            name = " ".join(self._rng.choices(self._words, k=4))
            for place, (type_, term) in enumerate(
                ((FSN, f"{name} (finding)"), (SYNONYM, name), (SYNONYM, f"other {name}"))
            ):
                yield f"{code(number)}{place}", DATE, 1, CORE, code(number), "en", type_, term, "x"

    def language(self) -> Iterator[Row]:
        for number in range(self.concepts):
            for place in range(2):
                yield f"u{number}{place}", DATE, 1, CORE, US, f"{code(number)}{place}", PREFERRED

    def relationship(self) -> Iterator[Row]:
        for number in range(1, self.concepts):
            first = self.head if number > self.head else 0
            rank = number - first
            for parent in {first + rank // self._rng.randint(8, 30) for _ in range(1 + (rank % 5 < 2))}:
                yield self._related(number, code(parent if parent < number else number - 1), IS_A)
            for attribute in range(ATTRIBUTES):
                yield self._related(number, code(self._rng.randrange(self.concepts)), code(attribute))

    def _related(self, number: int, other: str, type_: str) -> Row:
        return f"r{number}", DATE, 1, CORE, code(number), other, 0, type_, "900000000000011006", "x"

    def members(self) -> Iterator[Row]:
        for number in range(0, self.concepts, 20):
            yield f"m{number}", DATE, 1, CORE, code(9), code(number)

    def write(self, folder: Path) -> None:
        related = "id effectiveTime active moduleId sourceId destinationId relationshipGroup typeId x y"
        described = "id effectiveTime active moduleId conceptId languageCode typeId term x"
        member = "id effectiveTime active moduleId refsetId referencedComponentId"
        for name, columns, rows in (
            ("sct2_Concept_Snapshot", "id effectiveTime active moduleId definitionStatusId", self.concept()),
            ("sct2_Description_Snapshot-en", described, self.description()),
            ("sct2_Relationship_Snapshot", related, self.relationship()),
            ("der2_cRefset_LanguageSnapshot-en", f"{member} acceptabilityId", self.language()),
            ("der2_Refset_SimpleSnapshot", member, self.members()),
        ):
            with (folder / f"{name}_TEST_{DATE}.txt").open("w", encoding="utf-8") as file:
                file.write("\t".join(columns.split()) + "\n")
                file.writelines("\t".join(map(str, row)) + "\n" for row in rows)


def loaded(url: str, folder: Path, database: psutil.Process) -> dict[str, Any]:
    """By the command, as an operator does. On a machine that others use, the seconds of CPU say more."""
    start, before = time.perf_counter(), database.cpu_times()
    environment = {"HEALTHMATE_MONGODB_URL": url, "HEALTHMATE_DATABASE": "bench", "TMPDIR": tempfile.gettempdir()}
    done = subprocess.run(
        [*HEALTHMATE, "load-terminology", "snomed", str(folder)], env=environment, check=True, stdout=subprocess.PIPE
    )
    used, after = resource.getrusage(resource.RUSAGE_CHILDREN), database.cpu_times()
    print(done.stdout.decode().splitlines()[-1], flush=True)
    return {
        "load_seconds": round(time.perf_counter() - start, 1),
        "loader_cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "database_cpu_seconds": round(after.user + after.system - before.user - before.system, 1),
        "loader_peak_mb": used.ru_maxrss // 1024,
        "load_average": round(os.getloadavg()[1], 1),
    }


def questions(made: Synthetic) -> dict[str, tuple[tuple[str, ...], dict[str, str]]]:
    """An operation and its parameters, by a name. Of those that are `cold` a server remembers nothing."""
    expand, whole = ("ValueSet", "$expand"), f"{SNOMED}?fhir_vs"
    head = code(made.head)
    lookup, system = ("CodeSystem", "$lookup"), {"system": SNOMED}
    return {
        "expansion of 10,000 descendants": (expand, {"url": f"{whole}=isa/{head}"}),
        "the same, by a filter": (expand, {"url": f"{whole}=isa/{head}", "filter": "bab", "count": "20"}),
        "a page of 20 of all": (expand, {"url": whole, "count": "20", "offset": "1000"}),
        "20 of all by two words": (expand, {"url": whole, "filter": "babaia deb", "count": "20"}),
        "members that are descendants, 20": (expand, {"url": f"{whole}=ecl/^ {code(9)} AND < {head}", "count": "20"}),
        "refined by descendants, 20": (
            *(expand,),
            {"url": f"{whole}=ecl/< {code(1)}: {code(0)} = << {head}", "count": "20"},
        ),
        "$lookup": (lookup, {**system, "code": code(1234)}),
        "$validate-code in descendants": (
            ("ValueSet", "$validate-code"),
            {**system, "url": f"{whole}=isa/{head}", "code": code(made.head + 5000)},
        ),
        "$subsumes": (
            ("CodeSystem", "$subsumes"),
            {**system, "codeA": head, "codeB": code(made.head + 5000)},
        ),
    }


async def answered(url: str, made: Synthetic) -> dict[str, Any]:
    """What a server needs in process: the first time, and the median of some more."""
    environment: dict[str, Any] = {"mongodb_url": SecretStr(url), "database": "bench", "open": True}
    found: dict[str, Any] = {}
    async with contexts(Settings(**environment)) as opened:
        ctx = replace(opened[""], caller=ANYONE)
        collect_seldom()  # as a server does
        for name, (path, parameters) in questions(made).items():
            request = Request(method="GET", path=path, pairs=tuple(parameters.items()))
            first, *times = [await timed(partial(perform, ctx, request)) for _ in range(ROUNDS)]
            body = json.loads((await perform(ctx, request)).body)
            found[name] = {
                "first_ms": round(first.wall, 1),
                "ms": round(statistics.median(each.wall for each in times), 1),
            }
            found[name] |= {"cpu_ms": round(statistics.median(each.cpu for each in times), 2)}
            found[name] |= {"total": body["expansion"]["total"]} if "expansion" in body else {}
            print(f"{name}: {found[name]}", flush=True)
        found["server_mb"] = psutil.Process().memory_info().rss // 1_000_000
        found["database_mb"] = await sizes(ctx)
    return found


async def timed(run: Callable[[], Awaitable[object]]) -> Time:
    start, used = time.perf_counter(), time.process_time()
    await run()
    return Time((time.perf_counter() - start) * 1000, (time.process_time() - used) * 1000)


async def sizes(ctx: Context) -> dict[str, int]:
    stats = await ctx.store.database.command("dbStats", scale=1_000_000)
    return {"documents": int(stats["storageSize"]), "indexes": int(stats["indexSize"])}


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=350_000)
    parser.add_argument("--write", action="store_true", help="keep the result in benchmarks/results")
    options = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        made, files = Synthetic(options.concepts), Path(folder) / "rf2"
        files.mkdir()
        made.write(files)
        with embedded.start(Path(folder) / "data", cache_gb=0.25) as running:
            found = {"concepts": options.concepts} | loaded(running.url, files, psutil.Process(running.pid))
            print(found, flush=True)
            found["answers"] = asyncio.run(answered(running.url, made))
    print(json.dumps(found, indent=1))
    if options.write:
        path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-releases.json"
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
