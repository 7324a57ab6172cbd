"""The same searches at 100,000 and at 1,000,000 resources: latency, keys examined per result, bytes per resource.

    python -m benchmarks.scale [--sizes 100000,1000000] [--patients 10] [--mirror] [--data FOLDER] [--write]

Each size gets a database of its own in a temporary folder, filled through `load` with validation on. Then every shape
is asked over HTTP, one request after the other, of each size in turn, each with other values; MongoDB's profiler says
what such a request examined, and /proc what CPU it cost the server and the database: other work on the machine makes it
wait, but is not in that. Patient shapes ask about one patient, population shapes about all.

At every size the same is asked: the same codes, and copies of the same lives in the same order. What is asked in a span
of time is asked in one that holds as many resources (a month of a million is ten of a hundred thousand), and a family
name is one that as many have. Only the most frequent name and a month of births match more in a larger population.

With `--data FOLDER` databases are kept there, and one that is there already is asked without loading it again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
from pymongo import MongoClient
from pymongo.database import Database

from benchmarks.load import RESULTS, Processes, running
from benchmarks.population import MARK, lives, population
from fhirserver.fhir import json as fhir_json
from fhirserver.interactions.load import load
from fhirserver.process import collect_seldom, database, operator
from fhirserver.settings import Settings
from fhirserver.store import embedded

ROUNDS, WARM = 40, 5
SPAN = timedelta(days=30)  # of a million resources
NAMESAKES = 10  # patients of one family name
LOINC = "http://loinc.org"
Row = dict[str, Any]


class Shape(NamedTuple):
    """A search with places for values of this population; `of` says what it asks about."""

    of: str
    name: str
    url: str


SHAPES = (
    Shape("patient", "read", "Patient/{patient}"),
    Shape("patient", "identifier", "Patient?identifier={identifier}"),
    Shape("patient", "code and date, newest 20", "Observation?patient={patient}&code={code}&date=ge2000&_sort=-date"),
    Shape("patient", "newest 20", "Observation?patient={patient}&_sort=-date"),
    Shape("patient", "by category", "Observation?patient={patient}&category=laboratory&_sort=-date"),
    Shape("patient", "codes of a panel", "Observation?patient={patient}&code={code},{other}&_sort=-date"),
    Shape("patient", "value above", "Observation?patient={patient}&code={code}&value-quantity=gt5"),
    Shape("patient", "unsorted page", "Observation?patient={patient}"),
    Shape("patient", "total", "Observation?patient={patient}&_summary=count"),
    Shape("patient", "conditions", "Condition?patient={patient}&clinical-status=active"),
    Shape("patient", "medications", "MedicationRequest?patient={patient}&status=active&_sort=-authoredon"),
    Shape("patient", "encounters since", "Encounter?patient={patient}&date=ge2015&_sort=-date"),
    Shape("patient", "_include", "Observation?patient={patient}&_include=Observation:encounter&_sort=-date"),
    Shape("patient", "_revinclude", "Patient?_id={patient}&_revinclude=Condition:subject"),
    Shape("patient", "chained", "Observation?subject:Patient.identifier={identifier}&code={code}&_sort=-date"),
    Shape("patient", "compartment", "Patient/{patient}/Procedure?_sort=-date"),
    Shape("patient", "$everything, first 50", "Patient/{patient}/$everything?_count=50"),
    Shape("population", "family name", "Patient?family={family}"),
    Shape("population", "the most frequent family name", "Patient?family={frequent}"),
    Shape("population", "name and gender, sorted", "Patient?name={family}&gender=female&_sort=birthdate"),
    Shape("population", "born in a month", "Patient?birthdate={month}&_sort=family"),
    Shape("population", "code, newest 20", "Observation?code={code}&_sort=-date"),
    Shape("population", "code in a span", "Observation?code={code}&date=sa{since}&date=lt{until}&_sort=-date"),
    Shape("population", "code and value", "Observation?code={code}&value-quantity=gt5&_count=20"),
    Shape("population", "condition code", "Condition?code={condition}&_sort=-onset-date"),
    Shape("population", "last updated", "Observation?_lastUpdated=ge{today}&_sort=-_lastUpdated"),
    Shape("population", "no criteria", "Observation"),
    Shape("population", "_has", "Patient?_has:Condition:patient:code={condition}&_count=20"),
    Shape("population", "_has, observations", "Patient?_has:Observation:patient:code={code}&_count=20"),
    Shape("population", "chained", "Condition?subject:Patient.family={family}&_count=20"),
    Shape("population", "system, two types", "?_type=Patient,Condition&_count=20"),
)


class Values(NamedTuple):
    """What the shapes ask for, taken from the population itself."""

    lives: list[list[tuple[str, str, str]]]  # each in its copies
    families: list[str]
    frequent: str
    codes: list[str]
    conditions: list[str]
    span: timedelta

    def some(self, rng: random.Random) -> dict[str, str]:
        """From the same state of `rng` the same at every size, but for the copy."""
        copies = rng.choice(self.lives)
        id_, identifier, born = copies[int(rng.random() * len(copies))]
        code, other = rng.sample(self.codes, 2)
        since = date(rng.randrange(2016, 2023), rng.randrange(1, 13), 1)
        return {
            "patient": id_,
            "identifier": identifier,
            "family": self.families[int(rng.random() * len(self.families))],
            "frequent": self.frequent,
            "month": born[:7],
            "code": code,
            "other": other,
            "condition": rng.choice(self.conditions),
            "since": since.isoformat(),
            "until": (since + self.span).isoformat(),
            "today": date.today().isoformat(),
        }


class Progress:
    """Says how far a load is, every tenth of it."""

    def __init__(self, resources: int) -> None:
        self._step = max(resources // 10, 1)
        self._done = 0

    def __call__(self, more: int) -> None:
        before, self._done = self._done, self._done + more
        if before // self._step < self._done // self._step:
            print(f"{self._done:,} resources sent", file=sys.stderr, flush=True)


async def filled(settings: Settings, originals: list[bytes], resources: int) -> Row:
    """Load the population as `healthmate load` does; how long that took."""
    collect_seldom()
    start = time.perf_counter()
    async with operator(settings) as ctx:
        typed = (fhir_json.resource(each) for each in population(originals, resources))
        receipt = await load(ctx, typed, Progress(resources))
    seconds = time.perf_counter() - start
    if receipt.failed or receipt.missing:
        raise RuntimeError(f"{len(receipt.failed)} refused, such as {receipt.failed[:1]}; {receipt.missing} missing")
    return {"resources": receipt.counted, "load_per_second": round(receipt.counted / seconds)}


def values(db: Database[Row], resources: int) -> Values:
    lives: dict[str, list[tuple[str, str, str]]] = {}
    families: Counter[str] = Counter()
    for row in db["Patient"].find({"deleted": None}, {"search": 1}).sort("_id"):
        search = row["search"]
        born = f"{search['birthdate'][0]['lo']:%Y-%m-%d}"
        lives.setdefault(row["_id"][MARK:], []).append((row["_id"], search["identifier"][0], born))
        families[search["family"][0]] += 1
    nearest = min(abs(count - NAMESAKES) for count in families.values())
    return Values(
        lives=[lives[life] for life in sorted(lives)],
        families=sorted(name for name, count in families.items() if abs(count - NAMESAKES) == nearest),
        frequent=max(families, key=lambda name: families[name]),
        codes=_codes(db, "Observation", 12),
        conditions=_codes(db, "Condition", 8),
        span=SPAN * (1_000_000 / resources),
    )


def _codes(db: Database[Row], type_: str, most: int) -> list[str]:
    """The most frequent codes, with their systems."""
    found = db[type_].aggregate(
        [
            {"$project": {"code": {"$arrayElemAt": ["$search.code", 0]}}},
            {"$group": {"_id": "$code", "count": {"$sum": 1}}},
            {"$sort": {"count": -1, "_id": 1}},
            {"$limit": most},
        ]
    )
    return [row["_id"] for row in found]


def sizes(db: Database[Row]) -> Row:
    """Bytes on disk per resource: data, indexes, both; and what the data would be without compression."""
    names = [name for name in db.list_collection_names() if name[0].isupper() and not name.endswith(".history")]
    stats = [db.command("collStats", name) for name in names]
    count = sum(each["count"] for each in stats)
    data, indexes = (sum(each[key] for each in stats) for key in ("storageSize", "totalIndexSize"))
    return {
        "data_bytes": round(data / count),
        "index_bytes": round(indexes / count),
        "bytes_per_resource": round((data + indexes) / count),
        "uncompressed_bytes": round(sum(each["size"] for each in stats) / count),
    }


class Place(NamedTuple):
    """A population that is served, and what to ask of it."""

    client: httpx.Client
    db: Database[Row]
    found: Values
    processes: Processes


def asked(shape: Shape, places: Sequence[Place]) -> list[Row]:
    """The same of all of them in turns, so that what else the machine does befalls all alike."""
    rngs = [random.Random(shape.name) for _ in places]
    times: list[list[float]] = [[] for _ in places]
    results: list[list[int]] = [[] for _ in places]
    before = [place.processes.cpu() for place in places]
    for number in range(WARM + ROUNDS):
        for at, place in enumerate(places):
            url = shape.url.format(**place.found.some(rngs[at]))
            start = time.perf_counter()
            answer = place.client.get(url)
            seconds = time.perf_counter() - start
            answer.raise_for_status()
            if number >= WARM:
                times[at].append(seconds * 1000)
                results[at].append(_matches(answer.json()))
    spent = [place.processes.cpu() for place in places]
    rows: list[Row] = []
    for at, place in enumerate(places):
        server, cpu = (after - start for after, start in zip(spent[at], before[at], strict=True))
        examined = _examined(place.client, place.db, [shape.url.format(**place.found.some(rngs[at])) for _ in range(5)])
        ordered = sorted(times[at])
        row = {
            "p50_ms": round(statistics.median(ordered), 1),
            "p95_ms": round(ordered[int(len(ordered) * 0.95)], 1),
            "server_cpu_ms": round(server / (WARM + ROUNDS) * 1000, 1),
            "database_cpu_ms": round(cpu / (WARM + ROUNDS) * 1000, 1),
            "results": round(statistics.mean(results[at]), 1),
        }
        rows.append(row | examined)
    return rows


def _matches(document: Row) -> int:
    return len(document.get("entry", ())) if document["resourceType"] == "Bundle" else 1


def _examined(client: httpx.Client, db: Database[Row], urls: list[str]) -> Row:
    """Keys and documents that the database looked at for each result, and the indexes that it used."""
    db.command("profile", 0)
    db["system.profile"].drop()
    db.command("profile", 2)
    try:
        results = sum(_matches(client.get(url).json()) for url in urls)
    finally:
        db.command("profile", 0)
    operations = [
        row for row in db["system.profile"].find({"op": {"$in": ["query", "command"]}}) if "keysExamined" in row
    ]
    plans = {row.get("planSummary", "") for row in operations}
    return {
        "keys_per_result": round(sum(row["keysExamined"] for row in operations) / max(results, 1), 1),
        "documents_per_result": round(sum(row["docsExamined"] for row in operations) / max(results, 1), 1),
        "plans": sorted(plans),
    }


def loaded(settings: Settings, originals: list[bytes], resources: int) -> Row:
    """How many there are and how fast they came, once."""
    file = settings.data / "loaded.json"
    if not file.exists():
        with database(settings) as full:
            file.write_text(json.dumps(asyncio.run(filled(full, originals, resources))))
    known: Row = json.loads(file.read_text())
    return known


@contextmanager
def opened(settings: Settings, outcome: Row) -> Iterator[Place]:
    for base, processes in running(settings.data):
        url = embedded.attach(settings.data)
        if url is None:
            raise RuntimeError("the server's database cannot be reached")
        with MongoClient[Row](url) as mongo, httpx.Client(base_url=base + "/", timeout=60) as client:
            db = mongo[settings.database]
            outcome |= sizes(db)
            yield Place(client, db, values(db, outcome["resources"]), processes)
            outcome["memory_mb"] = _memory(processes)


def _memory(processes: Processes) -> Row:
    def resident(process: psutil.Process) -> int:
        return round(process.memory_info().rss / 1e6)

    return {"server": resident(processes.server), "database": resident(processes.database)}


def lines(outcomes: dict[int, Row]) -> Iterator[str]:
    """The table, sizes side by side."""
    for size, outcome in outcomes.items():
        facts = ", ".join(f"{key} {value}" for key, value in outcome.items() if key != "shapes")
        yield f"{size:,}: {facts}"
    yield f"{'shape':34}" + "".join(f"{size:>12,} p50   p95  CPU db  results  keys" for size in outcomes) + "   of p50"
    first, *_, last = (outcome["shapes"] for outcome in (*outcomes.values(), *outcomes.values()))
    for name in first:
        cells = "".join(
            f"{row['p50_ms']:>16}{row['p95_ms']:>6}{row['database_cpu_ms']:>8}{row['results']:>9}{row['keys_per_result']:>6}"
            for row in (outcome["shapes"][name] for outcome in outcomes.values())
        )
        yield f"{name:34}{cells}{last[name]['p50_ms'] / first[name]['p50_ms']:>9.2f}"


def main(given: list[str] | None = None) -> dict[int, Row]:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", default="100000,1000000")
    arguments.add_argument("--patients", type=int, default=10, help="lives that are told again and again")
    arguments.add_argument("--mirror", action="store_true", help="store each resource as a plain document too")
    arguments.add_argument("--data", type=Path, help="folder that keeps the databases")
    arguments.add_argument("--lives", type=Path, help="folder that keeps the generated lives")
    arguments.add_argument("--write", action="store_true", help="keep the result in benchmarks/results")
    asked_for = arguments.parse_args(given)
    os.environ["HEALTHMATE_MIRROR"] = str(asked_for.mirror)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        originals = lives(asked_for.patients, asked_for.lives or Path(folder))
        places = {
            size: Settings.model_validate(
                {"data": (asked_for.data or Path(folder)) / str(size), "mirror": asked_for.mirror}
            )
            for size in map(int, asked_for.sizes.split(","))
        }
        outcomes = {size: loaded(settings, originals, size) for size, settings in places.items()}
        served = [stack.enter_context(opened(settings, outcomes[size])) for size, settings in places.items()]
        for shape in SHAPES:
            for outcome, row in zip(outcomes.values(), asked(shape, served), strict=True):
                outcome.setdefault("shapes", {})[f"{shape.of}: {shape.name}"] = row
    if asked_for.write:
        target = RESULTS / f"{date.today()}-scale.json"
        target.write_text(json.dumps(outcomes, indent=2) + "\n")
        print(f"written to {target.name}", file=sys.stderr)
    print("\n".join(lines(outcomes)))
    return outcomes


if __name__ == "__main__":
    main()
