"""That resources of some types were written, by whatever server or program, as a change stream tells it.

https://www.mongodb.com/docs/manual/changeStreams/
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from time import monotonic
from typing import Any, NamedTuple

from pymongo.asynchronous.change_stream import AsyncChangeStream

from fhirserver.store.resources import LABELS, Store

Stream = AsyncChangeStream[dict[str, Any]]

SILENT_MS = 500
AT_ONCE, GATHERING = 0.0005, 0.02  # seconds: what the driver has already comes faster; events gather so long
KEPT = "kept"  # says a command to the database of which the answer is kept until it changes


async def changes(store: Store, types: Collection[str]) -> AsyncIterator[bool]:
    """True for each change since this began; False when there was none for half a second."""
    stages: list[dict[str, Any]] = [{"$match": {"ns.coll": {"$in": [*types]}}}, {"$project": {"_id": 1}}]
    async with await store.database.watch(stages, max_await_time_ms=SILENT_MS) as stream:
        async for event in _gathered(stream):
            yield event is not None


class Told(NamedTuple):
    """A document that was written: its collection, its `_id`, and its security labels as the index holds them."""

    collection: str
    id: Any
    labels: Collection[str]


async def written(store: Store, collections: Collection[str], labels: Collection[str]) -> AsyncIterator[Told | bool]:
    """True once it began, then each document of these collections or with one of these labels; False after silence."""
    also = {f"fullDocument.search.{LABELS}": {"$in": [*labels]}}
    stages: list[dict[str, Any]] = [
        {"$match": {"$or": [{"ns.coll": {"$in": [*collections]}}, also]}},
        {"$project": {"ns.coll": 1, "documentKey._id": 1, f"fullDocument.search.{LABELS}": 1}},
    ]
    async with await store.database.watch(stages, max_await_time_ms=SILENT_MS) as stream:
        yield True
        async for event in _gathered(stream):
            yield False if event is None else _told(event)


async def _gathered(stream: Stream) -> AsyncIterator[dict[str, Any] | None]:
    """Each event, or None after silence. After one that took a trip to the database the next gather for a while."""
    while stream.alive:
        asked = monotonic()
        event = await stream.try_next()
        trip = event is not None and monotonic() - asked > AT_ONCE
        yield event
        if trip:
            await asyncio.sleep(GATHERING)


def _told(event: dict[str, Any]) -> Told:
    labels = event.get("fullDocument", {}).get("search", {}).get(LABELS, ())
    return Told(event["ns"]["coll"], event.get("documentKey", {}).get("_id"), labels)
