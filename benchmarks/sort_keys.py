"""Why `sort.<code>` is stored as a scalar: docs/adr/0001-sort-scalars.md.

Run: python -m benchmarks.sort_keys. Prints one line per layout, over 60,000 small documents of 300 patients.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import WriteError

from fhirserver.store import embedded

DOCUMENTS, PATIENTS, ROUNDS = 60_000, 300, 400
Index = list[tuple[str, int]]
LAYOUTS: dict[str, list[Index]] = {
    "wildcard index": [[("search.$**", 1)]],
    "and (patient, sort.date, _id)": [[("search.$**", 1)], [("search.patient", 1), ("sort.date", -1), ("_id", -1)]],
}


def document(number: int, rng: random.Random) -> dict[str, Any]:
    date = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(5_000_000))
    search = {"patient": [f"Patient/{number % PATIENTS}"], "date": [{"lo": date, "hi": date + timedelta(seconds=1)}]}
    return {"_id": f"{number:08d}", "search": search, "sort": {"date": date}, "body": b"x" * 400}


def main() -> None:
    rng = random.Random(1)
    documents = [document(number, rng) for number in range(DOCUMENTS)]
    order = {"sort.date": -1, "_id": -1}
    with tempfile.TemporaryDirectory() as folder, embedded.start(Path(folder)) as running:
        database: Any = MongoClient(running.url)["bench"]
        database["two_arrays"].create_index([("search.patient", 1), ("search.date.lo", -1)])
        try:
            database["two_arrays"].insert_one(documents[0])
        except WriteError as error:
            print(f"a compound index over two arrays: error {error.code}, {(error.details or {}).get('errmsg')}")
        for name, indexes in LAYOUTS.items():
            collection = database[name]
            for index in indexes:
                collection.create_index(index)
            collection.insert_many(documents)
            times = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                who = {"search.patient": f"Patient/{rng.randrange(PATIENTS)}"}
                list(collection.find(who, {"body": 1}).sort(list(order.items())).limit(21))
                times.append(time.perf_counter() - start)
            find = {"find": name, "filter": {"search.patient": "Patient/7"}, "sort": order, "limit": 21}
            stats = database.command("explain", find, verbosity="executionStats")["executionStats"]
            size = database.command("collstats", name)["totalIndexSize"] / DOCUMENTS
            print(
                f"{name}: page p50 {statistics.median(times) * 1000:.2f} ms, {stats['totalDocsExamined']} documents"
                f" examined for 21, {size:.0f} bytes of index per document"
            )


if __name__ == "__main__":
    main()
