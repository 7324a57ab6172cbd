"""How a chain through 200,000 resources is answered: docs/adr/0004-chains.md.

Run: python -m benchmarks.chains. Small documents under the server's own indexes: 220,000 patients, 200,000 of them
female, and 220,000 observations. Prints milliseconds, for a page of 20 and for a count, three ways.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from fhirserver.store import embedded, schema

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


def patients() -> Iterator[Document]:
    for number in range(FEMALE + MALE):
        search = {"gender": ["female" if number < FEMALE else "male"], "family": [f"family-{number}"]}
        yield {"_id": f"{number:08d}-0000-7000-8000-000000000000", "search": search, "body": b"x" * 400}


def observations(rng: random.Random) -> Iterator[Document]:
    for number in range(FEMALE + MALE):
        who = f"Patient/{number:08d}-0000-7000-8000-000000000000"
        date = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(5_000_000))
        code = f"code-{number % 20}" if number < FEMALE else "of-men"
        search = {"subject": [who], "patient": [who], "code": [code]}
        yield {"_id": f"{number:08d}", "search": search, "sort": {"date": date}, "body": b"x" * 400}


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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, embedded.start(Path(folder)) as running:
        database: Any = MongoClient(running.url)["bench"]
        fill(database, "Patient", patients())
        fill(database, "Observation", observations(random.Random(1)))
        for case in CASES:
            for label, run, order in (
                ("page by _id", page, {"_id": 1}),
                ("page by -date", page, {"sort.date": -1, "_id": -1}),
                ("count", count, {}),
            ):
                told = []
                for way in WAYS:
                    told.append(f"{way.__name__} {measured(partial(run, database, case, way, order))}")
                print(f"{case.name}; {label}: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
