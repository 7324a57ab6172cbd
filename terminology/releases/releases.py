"""The releases that are there, and which of them is meant: versions lie side by side, one of them is current."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC
from typing import NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from terminology.canonical import Candidate, Canonical
from terminology.releases.release import Release
from terminology.releases.schema import INDEXES, RELEASES, Document, concepts_of

MOST_MS = 5_000
LINGER_SECONDS = 3.0  # longer than what is kept of a release is used without a second look


async def candidates(database: AsyncDatabase[Document], asked: Collection[Canonical]) -> dict[Canonical, Candidate]:
    """Those that there are: in the version asked for, else the one that was made current last."""
    filter_ = {"url": {"$in": sorted({each.url for each in asked})}, "state": "ready"}
    rows = await database[RELEASES].find(filter_, max_time_ms=MOST_MS).sort("current", -1).to_list()
    found: dict[Canonical, Candidate] = {}
    for each in asked:
        row = next((row for row in rows if row["url"] == each.url and _is(row["version"], each.version)), None)
        if row is not None:
            found[each] = _candidate(row)
    return found


async def all_of_them(database: AsyncDatabase[Document]) -> list[Candidate]:
    """The current one of each URL before the others."""
    rows = await database[RELEASES].find({"state": "ready"}, max_time_ms=MOST_MS).sort("current", -1).to_list()
    return [_candidate(row) for row in rows]


def _is(version: str, asked: str | None) -> bool:
    """Of SNOMED CT, an edition may be named without the date. https://hl7.org/fhir/R4/snomedct.html"""
    return asked is None or version == asked or version.startswith(f"{asked}/version/")


def _candidate(row: Document) -> Candidate:
    current = row["current"].replace(tzinfo=UTC)
    return Candidate(
        row["_id"],
        int(current.timestamp() * 1000),
        row["url"],
        row["version"],
        "active",
        current,
        release=True,
    )


async def release(database: AsyncDatabase[Document], key: str, milliseconds: int) -> Release | None:
    row = await database[RELEASES].find_one({"_id": key, "state": "ready"}, max_time_ms=MOST_MS)
    return None if row is None else Release(database, row, milliseconds)


class Listed(NamedTuple):
    """A release, whole or not. `current` is the one that its URL means."""

    url: str
    version: str
    name: str
    concepts: int
    written: int
    ready: bool
    current: bool


async def listed(database: AsyncDatabase[Document]) -> list[Listed]:
    rows = await database[RELEASES].find(max_time_ms=MOST_MS).sort([("url", 1), ("current", -1)]).to_list()
    latest = {row["url"]: row["_id"] for row in reversed(rows) if row["state"] == "ready"}
    return [
        Listed(
            *(row["url"], row["version"], row["name"], row["total"], row["written"], row["state"] == "ready"),
            latest.get(row["url"]) == row["_id"],
        )
        for row in rows
    ]


async def findings(database: AsyncDatabase[Document]) -> AsyncIterator[tuple[bool, str]]:
    """(whether it is good, a sentence) of each release that is used."""
    async for row in database[RELEASES].find({"state": "ready"}):
        collection = database[concepts_of(row["_id"])]
        named, count = f"{row['url']}|{row['version']}", await collection.count_documents({})
        present = await collection.index_information()
        missing = [each for index in INDEXES if (each := index.document["name"]) not in present]
        if count != row["total"]:
            yield False, f"{named} has {count:,} of its {row['total']:,} concepts; remove it and load it again"
        elif missing:
            yield False, f"{named} lacks the index {missing[0]}; remove it and load it again"
        else:
            yield True, f"{named}: {count:,} concepts"


async def forget(database: AsyncDatabase[Document], those: Document) -> int:
    """How many there were. Who still looks at one has a moment to notice; what a crash left goes with them."""
    gone = (await database[RELEASES].delete_many(those)).deleted_count
    if gone:
        await asyncio.sleep(LINGER_SECONDS)
    there = await database.list_collection_names(filter={"name": {"$regex": rf"^{RELEASES}\."}})
    kept = {concepts_of(row["_id"]) async for row in database[RELEASES].find({}, {"_id": 1})}
    for name in there:
        if name not in kept:
            await database.drop_collection(name)
    return gone
