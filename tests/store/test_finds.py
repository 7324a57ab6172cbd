"""Finds that share a round trip: each has its own rows in its own order, and nobody waits for what is slow or wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from fhirserver.store import finds
from fhirserver.store.connect import connect
from fhirserver.store.finds import Find, rows
from fhirserver.store.history import newest_of_one
from fhirserver.store.resources import Store

AT = datetime(2026, 11, 26, tzinfo=UTC)
BY_DATE = (("sort.date", -1), ("_id", -1))
BY_ID = (("_id", 1),)
SHOWN = ("body", "sort.date")
CODES = st.sampled_from("abc")
ROWS = st.lists(st.tuples(CODES, st.none() | st.integers(0, 3)), max_size=12)
FINDS = st.lists(st.tuples(CODES, st.integers(1, 5)), min_size=1, max_size=40)


def story(tell: Callable[[Store], Coroutine[Any, Any, None]], mongodb: str) -> None:
    async def told() -> None:
        async with stored(mongodb) as store:
            await tell(store)

    asyncio.run(asyncio.wait_for(told(), 60))


@asynccontextmanager
async def stored(mongodb: str) -> AsyncIterator[Store]:
    client = await connect(mongodb)
    store = Store(client[f"finds-{uuid4().hex[:8]}"])
    for number in range(30):
        await store["Observation"].insert_one(observation(f"{number:02}", "abc"[number % 3], number % 7))
    yield store
    await client.drop_database(store.database.name)
    await client.close()


def observation(id_: str, code: str, date: int | None) -> dict[str, Any]:
    sort = {} if date is None else {"date": date}
    return {"_id": id_, "body": id_.encode(), "updated": AT, "search": {"code": [code]}, "sort": sort}


def coded(code: str) -> dict[str, Any]:
    return {"search.code": {"$in": [code]}}


class Commands(list[str]):
    """What the database is asked, by name; each answer comes so many seconds later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.delay = 0.0
        self._ask = finds.documents
        monkeypatch.setattr(finds, "documents", self.documents)

    async def documents(self, store: Store, command: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        self.append(next(iter(command)))
        await asyncio.sleep(self.delay)
        return await self._ask(store, command, **more)


class Wire(CommandListener):
    """The names of what the driver sends."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class Clock:
    """Goes on by a step, and a little, whenever it is asked."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.step = 0.0

    def __call__(self) -> float:
        self.time += self.step + 1e-6
        return self.time


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(monkeypatch)


async def asked(store: Store, filters: list[dict[str, Any]], limit: int = 20) -> list[Any]:
    """The ids that each finds, or why not."""
    asks = (rows(store, "Observation", Find(filter_, limit), BY_DATE, SHOWN) for filter_ in filters)
    found = await asyncio.gather(*asks, return_exceptions=True)
    return [each if isinstance(each, BaseException) else [row["_id"] for row in each] for each in found]


@settings(max_examples=40, deadline=None)
@given(ROWS, FINDS, st.sampled_from([BY_DATE, BY_ID]))
def test_together_they_find_what_each_finds_alone(
    mongodb: str, kept: list[tuple[str, int | None]], wanted: list[tuple[str, int]], sort: tuple[tuple[str, int], ...]
) -> None:
    async def tell() -> None:
        client = await connect(mongodb)
        store = Store(client[f"finds-{uuid4().hex[:8]}"])
        for number, (code, date) in enumerate(kept):
            await store["Observation"].insert_one(observation(f"{number:02}", code, date))
        each = [await rows(store, "Observation", Find(coded(code), limit), sort, SHOWN) for code, limit in wanted]
        together = await asyncio.gather(
            *(rows(store, "Observation", Find(coded(code), limit), sort, SHOWN) for code, limit in wanted)
        )
        assert together == each
        await client.drop_database(store.database.name)
        await client.close()

    asyncio.run(asyncio.wait_for(tell(), 60))


def test_finds_of_one_kind_share_a_round_trip(mongodb: str, commands: Commands) -> None:
    async def tell(store: Store) -> None:
        assert len({tuple(each) for each in await asked(store, [*map(coded, "abcabc")])}) == 3
        assert commands == ["aggregate"]
        commands.clear()
        await asyncio.gather(asked(store, [*map(coded, "ab")]), asked(store, [{"sort.date": 1}, {"sort.date": 2}]))
        assert commands == ["aggregate", "aggregate"]  # one for each kind
        commands.clear()
        await asked(store, [coded("a")])
        assert commands == ["find"]

    story(tell, mongodb)


def test_pages_that_are_full_take_one_round_trip(mongodb: str) -> None:
    async def tell(store: Store) -> None:
        wire = Wire()
        async with AsyncMongoClient(mongodb, event_listeners=[wire]) as client:
            store = Store(client[store.database.name])
            await store.database.command("ping")
            wire.sent.clear()
            assert [len(each) for each in await asked(store, [*map(coded, "abc")], 3)] == [3, 3, 3]
            assert wire.sent == ["aggregate"]
            await store.find("Observation", {}, [("_id", 1)], 3, stages=[{"$match": coded("a")}])
            assert wire.sent == ["aggregate", "aggregate"]
            assert [len(each) for each in await asked(store, [coded("a")], 3)] == [3]
            assert len(await store.read_many("Observation", ["00", "01"])) == 2
            assert wire.sent == ["aggregate", "aggregate", "find", "find"]

    story(tell, mongodb)


@pytest.mark.parametrize(
    ("filter_", "limit"),
    [
        ({"search.code": {"$in": [str(number) for number in range(1_000)]}}, 20),
        ({"$or": [coded("a"), coded("b")]}, 20),
        (coded("a"), 1_000),
    ],
    ids=["many values", "alternatives", "many rows"],
)
def test_what_may_be_large_goes_alone(mongodb: str, commands: Commands, filter_: dict[str, Any], limit: int) -> None:
    async def tell(store: Store) -> None:
        await asked(store, [filter_, filter_], limit)
        assert commands == ["find", "find"]

    story(tell, mongodb)


@pytest.mark.parametrize("wrong", [{"$regex": "("}, {"$in": [2**70]}], ids=["for the database", "for the driver"])
def test_what_is_wrong_with_one_find_is_of_no_other(mongodb: str, commands: Commands, wrong: Any) -> None:
    async def tell(store: Store) -> None:
        first, bad, last = await asked(store, [coded("a"), {"search.code": wrong}, coded("c")])
        assert isinstance(bad, (OperationFailure, OverflowError))
        assert [first, last] == await asked(store, [coded("a"), coded("c")])

    story(tell, mongodb)


def test_a_kind_that_was_slow_goes_alone(mongodb: str, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(store: Store) -> None:
        clock = Clock()
        monkeypatch.setattr(finds, "monotonic", clock)
        for pause in (1, 2, 4):  # of what it is at first
            clock.step = finds.QUICK
            await asked(store, [*map(coded, "ab")])
            clock.step = 0.0
            clock.time += (pause - 0.5) * finds.ALONE
            commands.clear()
            await asyncio.gather(asked(store, [*map(coded, "ab")]), asked(store, [{"sort.date": 1}, {"sort.date": 2}]))
            assert sorted(commands) == ["aggregate", "find", "find"]  # not so those of another kind
            clock.time += finds.ALONE
            commands.clear()
        await asked(store, [*map(coded, "ab")])
        assert commands == ["aggregate"]

    story(tell, mongodb)


def test_a_round_trip_that_takes_too_long_is_given_up(
    mongodb: str, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tell(store: Store) -> None:
        found = await asked(store, [*map(coded, "ab")])
        monkeypatch.setattr(finds, "LONGEST", 1e-6)
        store.finds = finds.Finds(store)
        commands.clear()
        commands.delay = 0.05
        assert await asked(store, [*map(coded, "ab")]) == found
        assert commands == ["aggregate", "find", "find"]

    story(tell, mongodb)


def test_histories_of_one_resource_share_a_round_trip(mongodb: str, commands: Commands) -> None:
    """Each is whole and in order, whatever was asked beside it; a copy that a crash left behind shows once."""

    async def tell(store: Store) -> None:
        for id_, versions in (("a", 1), ("aa", 5), ("b", 3)):
            await store["Basic"].insert_one({"_id": id_, "body": b"now", "version": versions, "updated": AT})
            past = versions + (id_ == "b")
            for version in range(1, past):
                key = {"id": id_, "version": version}
                await store["Basic.history"].insert_one({"_id": key, "body": b"then", "updated": AT})
        wanted = [("a", 9), ("aa", 9), ("aa", 2), ("b", 9), ("c", 9), ("b", 1)]
        told = await asyncio.gather(*(newest_of_one(store, "Basic", id_, limit, most=10**6) for id_, limit in wanted))
        assert commands == ["aggregate"]
        assert [[each.version for each in versions] for versions in told] == [
            [1],
            [5, 4, 3, 2, 1],
            [5, 4],
            [3, 2, 1],
            [],
            [3],
        ]
        assert [{each.id for each in versions} for versions in told] == [{"a"}, {"aa"}, {"aa"}, {"b"}, set(), {"b"}]
        assert [[each.packed for each in versions][:2] for versions in told[:2]] == [[b"now"], [b"now", b"then"]]
        assert [await newest_of_one(store, "Basic", id_, limit, most=10**6) for id_, limit in wanted] == told

    story(tell, mongodb)
