"""A release into the database: staged, put in order, written in batches, indexed, counted, and made current.

A load that was cut off is run again with the same files: it reads them again and goes on writing where it was. What
was there before stays current until all of the new one is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, CollectionInvalid

from terminology.releases.closure import Line, lines
from terminology.releases.described import Described
from terminology.releases.files import Files, NotARelease
from terminology.releases.kinds import KINDS
from terminology.releases.releases import forget
from terminology.releases.schema import COMPRESSED, INDEXES, RELEASES, Document, concepts_of, document
from terminology.releases.staging import Staging

BATCH = 2_000  # concepts
WRITE_SECONDS = 60  # for a batch, of a database that is busy with others too
BUILD_SECONDS = 1_800  # for an index
DUPLICATE_KEY = 11000

Report = Callable[[str, int, int], None]  # (what is being done, how much of it, of how much)
Database = AsyncDatabase[Document]


class Receipt(NamedTuple):
    """`counted` is what the database holds of the `concepts` of the release, asked afterwards.

    `resumed` is how many an earlier run had written; None where there was nothing to do.
    """

    url: str
    version: str
    concepts: int
    counted: int
    resumed: int | None


def silent(what: str, done: int, total: int) -> None: ...


async def load(database: Database, kind: str, path: Path, version: str | None, report: Report = silent) -> Receipt:
    """Raises NotARelease where the files are not what they should be."""
    rows = database[RELEASES]
    with TemporaryDirectory(prefix="healthmate-") as folder, Staging(Path(folder) / "staging") as staging:
        with Files(path) as files:
            key = f"{kind}-{(await asyncio.to_thread(files.fingerprint))[:16]}"
        row = await rows.find_one({"_id": key}) or {}
        if row.get("state") == "ready" and version in (None, row["version"]):
            await rows.update_one({"_id": key}, {"$set": {"current": _now()}})
            return Receipt(row["url"], row["version"], row["total"], await _counted(database, key), None)
        described = await asyncio.to_thread(_read, kind, path, staging, report)
        total = await asyncio.to_thread(staging.sealed)
        said = described._replace(version=version or described.version)
        if not said.version:
            raise NotARelease(f"{path.name} does not say which version it is; say it with --version")
        named = {"kind": kind, **said._asdict(), "properties": sorted(staging.names), "total": total}
        await rows.update_one(
            {"_id": key},
            {"$set": named | {"state": "loading"}, "$setOnInsert": {"written": 0, "begun": _now()}},
            upsert=True,
        )
        resumed: int = row.get("written", 0)
        await _write(database, key, resumed, total, staging, report)
    await _index(database[concepts_of(key)], report)
    counted = await _counted(database, key)
    if counted != total:  # somebody else's work; the next run writes what is missing
        await rows.update_one({"_id": key}, {"$set": {"written": 0}})
    else:
        await rows.update_one({"_id": key}, {"$set": {"state": "ready", "current": _now()}})
        await forget(database, {"url": said.url, "version": said.version, "_id": {"$ne": key}})
    return Receipt(said.url, said.version, total, counted, resumed)


def _now() -> datetime:
    return datetime.now(UTC)


def _read(kind: str, path: Path, staging: Staging, report: Report) -> Described:
    done, total = 0, 0

    def read(count: int) -> None:
        nonlocal done
        done += count
        report("reading", min(done, total), total)

    with Files(path, read) as files:
        total = files.size()
        return KINDS[kind](files, staging)


# writing


async def _write(database: Database, key: str, first: int, total: int, staging: Staging, report: Report) -> None:
    """While the database takes a batch, the next one is made."""
    collection = await _collection(database, concepts_of(key))
    above = await asyncio.to_thread(lines, total, staging.parents, staging.children)
    made = await asyncio.to_thread(_batch, staging, above, first)
    for n in range(first, total, BATCH):
        report("writing", n, total)
        ahead = asyncio.create_task(asyncio.to_thread(_batch, staging, above, n + BATCH))
        try:
            with pymongo.timeout(WRITE_SECONDS):
                await _insert(collection, made)
                await database[RELEASES].update_one({"_id": key}, {"$set": {"written": n + len(made)}})
        finally:
            made = await ahead
    report("writing", total, total)


def _batch(staging: Staging, above: Sequence[Line], first: int) -> list[Document]:
    return [document(each, above[each.n]) for each in staging.batch(first, BATCH)]


async def _collection(database: Database, name: str) -> AsyncCollection[Document]:
    """Of an outage that the driver bridges nothing is told here, so each batch waits for the journal."""
    with suppress(CollectionInvalid):
        await database.create_collection(name, storageEngine=COMPRESSED)
    return database[name]


async def _insert(collection: AsyncCollection[Document], documents: Sequence[Document]) -> None:
    """Those that a run before wrote are the same."""
    try:
        await collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
            raise


async def _index(collection: AsyncCollection[Document], report: Report) -> None:
    for done, index in enumerate(INDEXES):
        report("indexing", done, len(INDEXES))
        with pymongo.timeout(BUILD_SECONDS):
            await collection.create_indexes([index])
    report("indexing", len(INDEXES), len(INDEXES))


async def _counted(database: Database, key: str) -> int:
    with pymongo.timeout(WRITE_SECONDS):
        return await database[concepts_of(key)].count_documents({})
