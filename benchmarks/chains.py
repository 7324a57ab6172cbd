"""How a chain through 200,000 resources is answered: docs/adr/0004-chains.md.

Run: python -m benchmarks.chains. Small documents under the server's own indexes: 220,000 patients, 200,000 of them
female, and 220,000 observations. Prints milliseconds: what the server answers, and
how long a page of 20 and a count take in three ways.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pymongo
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from fhirserver.assembly import contexts
from fhirserver.context import ANYONE
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.exchange import Request
from fhirserver.interactions.route import perform
from fhirserver.settings import Settings
from fhirserver.store import embedded, schema
from fhirserver.store.blobs import pack

FEMALE, MALE, ROUNDS, SECONDS = 200_000, 20_000, 3, 8
Document = dict[str, Any]
Stages = list[Document]


class Case(NamedTuple):
    """Rows of `outer` that match `where` and refer, by `subject`, to a patient that matches `inner`."""

    name: str
    where: Document
    inner: Document


CASES = (
    Case("one patient", {}, {"search.family": {"$in": ["family-77"]}}),
    Case("200,000 patients, most rows match", {}, {"search.gender": {"$in": ["female"]}}),
    Case(
        "200,000 patients, 20,000 rows and no match",
        {"search.code": {"$in": ["of-men"]}},
        {"search.gender": {"$in": ["female"]}},
    ),
)


# as the server asks itself: through 200,000 patients, by references, by ids, two hops, and both
SEARCHES = (
    "Observation?patient.family=family-77",
    "Observation?subject:Patient.gender=female",
    "Observation?subject:Patient.gender=female&_sort=-date",
    "Observation?subject:Patient.gender=female&_summary=count",
    f"Patient?_has:Observation:patient:code={','.join(f'code-{number}' for number in range(20))}",
    "Patient?_has:Observation:patient:code=code-7",
    "Patient?_has:Observation:patient:code=of-men",
    "Patient?_has:Observation:patient:code=none",
    "Patient?_has:Observation:patient:code:not=of-men",
    "Patient?_has:Observation:patient:code:not=of-men&_summary=count",
    "Patient?_has:Observation:patient:patient.gender=female",
    "Observation?patient.gender=female&patient.family=family-77",
    "Observation?patient.gender=female&patient.family:missing=false",
)


def stored(id_: str, type_: str) -> Document:
    body = pack(b'{"resourceType":"%s","id":"%s"}' % (type_.encode(), id_.encode()))
    return {"_id": id_, "version": 1, "updated": datetime(2026, 1, 1, tzinfo=UTC), "body": body}


def patients() -> Iterator[Document]:
    for number in range(FEMALE + MALE):
        search = {"gender": ["female" if number < FEMALE else "male"], "family": [f"family-{number}"]}
        yield stored(f"{number:08d}-0000-7000-8000-000000000000", "Patient") | {"search": search}


def observations(rng: random.Random) -> Iterator[Document]:
    for number in range(FEMALE + MALE):
        who = f"Patient/{number:08d}-0000-7000-8000-000000000000"
        date = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(5_000_000))
        code = f"code-{number % 20}" if number < FEMALE else "of-men"
        search = {"subject": [who], "patient": [who], "code": [code]}
        yield stored(f"{number:08d}", "Observation") | {"search": search, "sort": {"patient": who, "date": date}}


def fill(database: Any, name: str, documents: Iterator[Document]) -> None:
    database[name].create_indexes([*schema.CURRENT, *schema.HOT.get(name, ())])
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == 5_000:
            database[name].insert_many(batch, ordered=False)
            batch = []


def alive(filter_: Document) -> Document:
    return {"deleted": None, **filter_}


# three ways: each gives the filter, and the stages behind it, that find the rows


def listed(database: Any, case: Case) -> tuple[Document, Stages]:
    """The references as a list in the filter."""
    found = [
        f"Patient/{each['_id']}" for each in database.Patient.find(alive(case.inner), {"_id": 1}, batch_size=50_000)
    ]
    return {"search.subject": {"$in": found}}, []


def staged(database: Any, case: Case) -> tuple[Document, Stages]:
    """The references in a collection made for this search."""
    reference = {"$concat": ["Patient/", "$_id"]}
    database.Patient.aggregate([{"$match": alive(case.inner)}, {"$project": {"_id": reference}}, {"$out": "staged"}])
    join = {"from": "staged", "localField": "search.subject", "foreignField": "_id", "as": "met"}
    return {}, [{"$lookup": join}, {"$match": {"met": {"$ne": []}}}]


def joined(database: Any, case: Case) -> tuple[Document, Stages]:
    """Every row looks its patient up."""
    own = {"$map": {"input": "$search.subject", "in": {"$arrayElemAt": [{"$split": ["$$this", "/"]}, 1]}}}
    inner: Stages = [{"$match": alive(case.inner)}, {"$limit": 1}, {"$project": {"_id": 1}}]
    join = {"from": "Patient", "localField": "own", "foreignField": "_id", "pipeline": inner, "as": "met"}
    return {}, [{"$set": {"own": own}}, {"$lookup": join}, {"$match": {"met": {"$ne": []}}}]


Way = Callable[[Any, Case], tuple[Document, Stages]]
WAYS: tuple[Way, ...] = (listed, staged, joined)


def page(database: Any, case: Case, way: Way, order: Document) -> int:
    filter_, stages = way(database, case)
    match = alive({**case.where, **filter_})
    if not stages:
        return len(list(database.Observation.find(match, {"body": 1}, sort=list(order.items()), limit=21)))
    pipeline = [{"$match": match}, {"$sort": order}, *stages, {"$limit": 21}, {"$project": {"body": 1}}]
    return len(list(database.Observation.aggregate(pipeline)))


def count(database: Any, case: Case, way: Way, order: Document) -> int:
    filter_, stages = way(database, case)
    match = alive({**case.where, **filter_})
    found = list(database.Observation.aggregate([{"$match": match}, *stages, {"$count": "n"}]))
    return int(found[0]["n"]) if found else 0


def measured(run: Callable[[], int]) -> str:
    """The median of a few rounds, or that one took too long."""
    times, rows = [], 0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        try:
            with pymongo.timeout(SECONDS):
                rows = run()
        except PyMongoError as error:
            if not error.timeout:
                raise
            return f"over {SECONDS},000 ms"
        times.append((time.perf_counter() - start) * 1000)
    return f"{statistics.median(times):,.0f} ms ({rows:,} rows)"


def compared(database: Any) -> None:
    for case in CASES:
        for label, run, order in (
            ("page by _id", page, {"_id": 1}),
            ("page by -date", page, {"sort.date": -1, "_id": -1}),
            ("count", count, {}),
        ):
            told = [f"{way.__name__} {measured(partial(run, database, case, way, order))}" for way in WAYS]
            print(f"{case.name}; {label}: {', '.join(told)}", flush=True)


async def served(url: str, database: str) -> None:
    """The same searches by the server, with its own limits."""
    environment: dict[str, Any] = {"mongodb_url": SecretStr(url), "database": database, "open": True}
    async with contexts(Settings(**environment)) as found:
        ctx = found[""]
        for search in SEARCHES:
            type_, _, text = search.partition("?")
            request = Request(method="GET", path=(type_,), pairs=tuple(parse_qsl(text)))
            times, said = [], ""
            for _ in range(ROUNDS):
                start = time.perf_counter()
                try:
                    said = summed_up((await perform(replace(ctx, caller=ANYONE), request)).body)
                except Outcome as refusal:
                    said = str(refusal)
                times.append((time.perf_counter() - start) * 1000)
            print(f"{search}: {statistics.median(times):,.0f} ms, {said}", flush=True)


def summed_up(body: bytes) -> str:
    bundle = json.decode(body)
    return f"total {bundle.get('total', 'not counted')}, {len(bundle.get('entry', ()))} on the page"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, embedded.start(Path(folder)) as running:
        database: Any = MongoClient(running.url)["bench"]
        fill(database, "Patient", patients())
        fill(database, "Observation", observations(random.Random(1)))
        asyncio.run(served(running.url, "bench"))
        compared(database)


if __name__ == "__main__":
    main()
