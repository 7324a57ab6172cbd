"""One change stream for all who wait: each is told what it waits for, and what it keeps is never older than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from bson.timestamp import Timestamp

from fhirserver.epochs import Epochs
from fhirserver.store.connect import connect
from fhirserver.store.ending import ended
from fhirserver.store.resources import Store
from fhirserver.store.watching import Listener, Told, gathered, nobody, watch

SECRET = "secret|"


class Ear:
    """What was told, and something that is kept meanwhile."""

    def __init__(self, collections: tuple[str, ...] | None, **more: Any) -> None:
        self.told: list[tuple[str, Any]] = []
        self.kept = Epochs()
        self.begun = 0
        self.listener = Listener(collections, self._hear, [self.kept], begin=self._begin, **more)

    def _hear(self, told: Told) -> None:
        self.told.append((told.collection, told.id))

    async def _begin(self) -> None:
        self.begun += 1


@asynccontextmanager
async def stores(mongodb: str) -> AsyncIterator[tuple[Store, Store]]:
    """Of two servers of one database."""
    name = f"watching-{uuid4().hex[:8]}"
    clients = [await connect(mongodb) for _ in range(2)]
    one, other = (Store(client[name]) for client in clients)
    yield one, other
    await clients[0].drop_database(name)
    for client in clients:
        await client.close()


@asynccontextmanager
async def watched(store: Store, *listeners: Listener) -> AsyncIterator[None]:
    task = asyncio.create_task(watch(store, listeners))
    kept = [each for listener in listeners for each in listener.kept]
    await until(lambda: all(each.lasts(each.epoch) for each in kept))
    yield
    await ended([task])


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come")


def test_each_is_told_what_it_waits_for(mongodb: str) -> None:
    async def story() -> None:
        async with stores(mongodb) as (here, there):
            teams, odd, labels = (
                Ear(("CareTeam", "Group")),
                Ear(("Group",), only={"fullDocument.odd": True}),
                Ear((), labels=(SECRET,)),
            )
            async with watched(here, teams.listener, odd.listener, labels.listener):
                await there["CareTeam"].insert_one({"_id": "a"})
                await there["Observation"].insert_one({"_id": "o", "search": {"_security": [SECRET]}})
                await there["Observation"].insert_one({"_id": "p", "search": {"_security": ["other|"]}})
                await there["CareTeam"].delete_one({"_id": "a"})
                await there["Group"].insert_one({"_id": "g", "odd": True})
                await until(lambda: len(teams.told) == 3 and bool(odd.told))
            assert teams.told == [("CareTeam", "a"), ("CareTeam", "a"), ("Group", "g")]
            assert odd.told == [("Group", "g")]
            assert labels.told == [("Observation", "o")]
            assert (teams.begun, odd.begun, labels.begun) == (1, 1, 1)

    asyncio.run(story())


def test_of_a_collection_that_is_gone_nothing_is_kept(mongodb: str) -> None:
    async def story() -> None:
        async with stores(mongodb) as (here, there):
            await there["CareTeam"].insert_one({"_id": "a"})
            teams, others = Ear(("CareTeam",)), Ear(("Group",))
            async with watched(here, teams.listener, others.listener):
                before, unmoved = teams.kept.epoch, others.kept.epoch
                await there["CareTeam"].drop()
                await until(lambda: teams.kept.epoch > before)
                await until(lambda: teams.kept.lasts(teams.kept.epoch))
                assert (teams.told, others.kept.epoch) == ([], unmoved)

    asyncio.run(story())


def test_a_type_that_another_server_writes_first_is_known_soon(mongodb: str) -> None:
    async def story() -> None:
        async with stores(mongodb) as (here, there):
            assert await here.known_types() == []
            await here.ensure("Patient")
            assert await here.known_types() == ["Patient"], "nobody tells of changes, so the database is asked"
            async with watched(here, Listener(None, nobody, [here.present])):
                assert await here.known_types() == ["Patient"]
                await here.ensure("Basic")
                assert await here.known_types() == ["Basic", "Patient"], "its own at once"
                epoch = here.present.epoch
                await there.ensure("Observation")
                await until(lambda: here.present.epoch > epoch)
                await until(lambda: here.present.types is None or "Observation" in here.present.types)
                assert await here.known_types() == ["Basic", "Observation", "Patient"]

    asyncio.run(story())


class Oplog:
    """A stream and its session: of each event the second of its write, and to which second the trip with it knew."""

    alive = True

    def __init__(self, *events: tuple[int, Timestamp] | None) -> None:
        self.events = [*events]
        self.operation_time: Timestamp | None = None

    async def try_next(self) -> dict[str, Any] | None:
        event = self.events.pop(0)
        self.alive = bool(self.events)
        if event is None:
            return None
        written, self.operation_time = event
        return {"ns": {"coll": "Patient"}, "documentKey": {"_id": written}, "clusterTime": Timestamp(written, 1)}


def test_what_is_told_long_after_it_was_written_keeps_nothing() -> None:
    """A bulk load writes faster than anybody is told: what came after it and was not told yet must not be trusted."""
    first, second = Timestamp(10, 1), Timestamp(99, 1)
    oplog: Any = Oplog((10, first), (9, first), (11, second), (97, second), (98, second), None)

    async def tell() -> list[tuple[Any, float | None]]:
        found = []
        async for told, until in gathered(oplog, oplog):
            found.append((told and told.id, until))
            await asyncio.sleep(0.01)
        return found

    found = asyncio.run(tell())
    assert [(id_, until is not None) for id_, until in found] == [
        (10, True),
        (9, True),
        (11, False),
        (97, False),
        (98, True),
        (None, True),
    ]
    untils = [until for _, until in found if until is not None]
    assert untils[0] == untils[1] < untils[2] < untils[3]  # as of when a trip began, however long it takes to tell
