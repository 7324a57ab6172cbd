"""Who waits for what is written, by whatever server or program: told by one change stream of the database for all.

Each write wakes every stream of a database, so that there is one for each process.
https://www.mongodb.com/docs/manual/changeStreams/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from fhirserver.epochs import Epochs
from fhirserver.store.resources import Store
from fhirserver.store.versions import LABELS, Document

Stream = AsyncChangeStream[dict[str, Any]]

SILENT_MS = 500
AT_ONCE = 0.0005  # seconds: what the driver has already comes faster
GATHERING, LONGER, MANY = 0.02, 0.05, 8  # seconds in which events gather, and where so many came in the last trip
MOST = 500  # events in a trip: nobody else has a turn while they are told
AGAIN_SECONDS = 1.0
BEHIND_SECONDS = 1  # as near as times of the oplog tell
WRITES = ("insert", "replace", "update", "delete")
WHOLE = ("create", "drop", "rename", "dropDatabase")  # of whole collections

log = logging.getLogger(__name__)


class Told(NamedTuple):
    """A document that was written: its collection, its `_id`, and its security labels as the index holds them.

    Or a collection that was made, or is gone, which has no `id`.
    """

    collection: str
    id: Any
    labels: Collection[str]


async def nothing() -> None:
    """To be done at the beginning."""


def nobody(told: Told) -> None:
    """Hears of it: what is kept is lost, and that is enough."""


class Listener(NamedTuple):
    """Waits for what is written to some collections, and for what carries one of some labels wherever it is written.

    `collections` None are all, of which it waits for their coming and going alone. `only` are the change events of
    these collections that matter, all without it; more may be told. What is `kept` needs no second look as long as
    changes are told. `begin` is called whenever that begins: at first, and after the database was away.
    """

    collections: Collection[str] | None
    hear: Callable[[Told], None]
    kept: Sequence[Epochs] = ()
    labels: Collection[str] = ()
    only: Mapping[str, Any] = {}
    begin: Callable[[], Awaitable[None]] = nothing

    @property
    def events(self) -> list[Document]:
        """The change events of which one has to match."""
        if self.collections is None:
            return [{"operationType": {"$in": [*WHOLE]}}]
        named = {"ns.coll": {"$in": [*self.collections]}}
        found: list[Document] = [{**named, "operationType": {"$in": [*WRITES, *WHOLE]}, **self.only}]
        if self.labels:
            found.append({f"fullDocument.search.{LABELS}": {"$in": [*self.labels]}})
        return found

    def waits_for(self, told: Told) -> bool:
        if self.collections is None:
            return told.id is None
        return told.collection in self.collections or any(label in self.labels for label in told.labels)


async def watch(store: Store, listeners: Sequence[Listener]) -> None:
    """Until it is cancelled: listeners are told."""
    kept = [each for listener in listeners for each in listener.kept]
    stages: list[Document] = [
        {"$match": {"$or": [event for listener in listeners for event in listener.events]}},
        {"$project": {"ns.coll": 1, "documentKey._id": 1, f"fullDocument.search.{LABELS}": 1, "clusterTime": 1}},
    ]
    while True:
        try:
            async with (
                store.database.client.start_session() as session,
                await _stream(store, stages, session) as stream,
            ):
                for each in kept:
                    each.lost()  # what was read before this began
                for listener in listeners:
                    await listener.begin()
                async for told, until in gathered(stream, session):
                    if told is not None:
                        _tell(listeners, told)
                    if until is not None:
                        for each in kept:
                            each.heard(until)
        except PyMongoError as error:
            log.debug("writes are not watched for a while: %s", error)
        for each in kept:
            each.lost()
        await asyncio.sleep(AGAIN_SECONDS)


async def _stream(store: Store, stages: Sequence[Document], session: AsyncClientSession) -> Stream:
    return await store.database.watch(
        stages, max_await_time_ms=SILENT_MS, batch_size=MOST, session=session, show_expanded_events=True
    )


def _tell(listeners: Sequence[Listener], told: Told) -> None:
    for listener in listeners:
        if listener.waits_for(told):
            if told.id is None:
                for each in listener.kept:
                    each.lost()
            else:
                listener.hear(told)


async def gathered(stream: Stream, session: AsyncClientSession) -> AsyncIterator[tuple[Told | None, float | None]]:
    """Each event, or None after silence, and until when all was told: None where this is far behind what is written.

    After an event that took a trip to the database the next gather for a while, but where more wait there.
    """
    came, sent, written = 0, monotonic(), session.operation_time  # when the last trip began, and what it knew
    while stream.alive:
        asked = monotonic()
        event = await stream.try_next()
        now = monotonic()
        if event is None:
            came = 0
            yield None, min(asked + SILENT_MS / 1000, now)
            continue
        if session.operation_time is not written:
            sent, written = asked, session.operation_time
        behind = written is not None and event["clusterTime"].time + BEHIND_SECONDS < written.time
        yield _told(event), None if behind else sent
        came += 1
        if now - asked > AT_ONCE:
            await asyncio.sleep(0 if came >= MOST else GATHERING if came < MANY else LONGER)
            came = 0


def _told(event: Document) -> Told:
    labels = event.get("fullDocument", {}).get("search", {}).get(LABELS, ())
    return Told(event.get("ns", {}).get("coll", ""), event.get("documentKey", {}).get("_id"), labels)
