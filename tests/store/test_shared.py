"""Round trips that requests share: nobody gets another's answer, an older one, or another's error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.errors import DocumentTooLarge, ExecutionTimeout, NetworkTimeout, OperationFailure, PyMongoError

from fhirserver.store.commit import Write, write_together
from fhirserver.store.connect import connect
from fhirserver.store.mirror import encoded
from fhirserver.store.resources import Store
from fhirserver.store.shared import MOST, Shared
from fhirserver.store.versions import Change, Conflict, now

Ask = Callable[[Shared[str, int, int], range], Coroutine[Any, Any, list[asyncio.Task[int]]]]


def story(tell: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(tell(), 30))


class Database:
    """Answers each question with itself, when it is let go on."""

    def __init__(self) -> None:
        self.trips: list[list[int]] = []
        self.go_on = asyncio.Semaphore(0)
        self.refuse: Exception | None = None

    async def ask(self, collection: str, questions: list[int]) -> list[int]:
        self.trips.append(questions)
        await self.go_on.acquire()
        if self.refuse is not None:
            raise self.refuse
        return questions


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def at_once(
    shared: Shared[str, int, int], numbers: range, collection: str = "Patient"
) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(shared(collection, number)) for number in numbers]
    await settled()
    return tasks


async def asked(shared: Shared[str, int, int], numbers: range) -> list[asyncio.Task[int]]:
    """The first by itself, the others while it is under way."""
    return await at_once(shared, numbers[:1]) + await at_once(shared, numbers[1:])


def test_what_is_asked_while_a_round_trip_is_under_way_goes_together_in_the_next() -> None:
    async def tell() -> None:
        database = Database()
        shared = Shared(database.ask, 5)
        tasks = await asked(shared, range(4))
        other = await at_once(shared, range(9, 10), "Observation")  # another collection does not wait
        assert database.trips == [[0], [9]]
        for _ in range(3):
            database.go_on.release()
        assert await asyncio.gather(*tasks, *other) == [0, 1, 2, 3, 9]
        assert database.trips == [[0], [9], [1, 2, 3]]
        database.go_on.release()
        assert await shared("Patient", 5) == 5  # nobody before it: at once

    story(tell)


def test_who_asks_in_the_same_turn_of_the_loop_goes_along() -> None:
    async def tell() -> None:
        database = Database()
        tasks = await at_once(Shared(database.ask, 5), range(4))
        database.go_on.release()
        assert sorted(await asyncio.gather(*tasks)) == [*range(4)]
        assert [sorted(trip) for trip in database.trips] == [[*range(4)]]

    story(tell)


def test_where_several_wait_more_may_join_them() -> None:
    async def tell() -> None:
        database = Database()
        shared = Shared(database.ask, 5, pause=0.3)
        tasks = await asked(shared, range(3))
        database.go_on.release()
        tasks += await at_once(shared, range(3, 5))
        database.go_on.release()
        assert await asyncio.gather(*tasks) == [*range(5)]
        assert database.trips == [[0], [1, 2, 3, 4]]

    story(tell)


def test_nobody_waits_longer_than_until_as_many_ask_as_did_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.store.shared.COMPANY_SECONDS", 3_600)

    async def tell() -> None:
        database = Database()
        shared = Shared(database.ask, 5, pause=3_600)
        for _ in range(4):
            database.go_on.release()
        assert await asyncio.gather(*await at_once(shared, range(3))) == [0, 1, 2]
        several = await at_once(shared, range(3, 5))  # two of the three
        assert database.trips[1:] == []
        assert await asyncio.gather(*several, *await at_once(shared, range(5, 6))) == [3, 4, 5]
        gone = await at_once(shared, range(6, 7))  # who waits for its company, and leaves
        gone[0].cancel()
        await settled()
        assert [sorted(trip) for trip in database.trips] == [[0, 1, 2], [3, 4, 5]]

    story(tell)


def test_who_waits_alone_waits_for_nobody_else() -> None:
    async def tell() -> None:
        database = Database()
        tasks = await asked(Shared(database.ask, 5, pause=3_600), range(2))
        for _ in range(2):
            database.go_on.release()
        assert await asyncio.gather(*tasks) == [0, 1]
        assert database.trips == [[0], [1]]

    story(tell)


def test_where_the_last_trip_had_company_who_asks_first_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.store.shared.COMPANY_SECONDS", 3_600)

    async def tell() -> None:
        database = Database()
        shared = Shared(database.ask, 5, pause=0.3)
        for _ in range(4):
            database.go_on.release()
        assert await asyncio.gather(*await at_once(shared, range(2))) == [0, 1]
        first = await at_once(shared, range(2, 3))
        assert await asyncio.gather(*first, *await at_once(shared, range(3, 4))) == [2, 3]
        assert await asyncio.gather(*await at_once(shared, range(4, 5))) == [4]  # nobody came
        last = await at_once(shared, range(5, 6))  # who is not waited for again
        assert [sorted(trip) for trip in database.trips] == [[0, 1], [2, 3], [4], [5]]
        assert await asyncio.gather(*last) == [5]

    story(tell)


def test_lanes_that_nobody_asks_in_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.store.shared.LANES", 3)

    async def tell() -> None:
        database = Database()
        shared = Shared(database.ask, 5, pause=0.001)
        for number in range(10):
            database.go_on.release()
            database.go_on.release()
            await asyncio.gather(*await at_once(shared, range(2), f"lane {number}"))
        assert 0 < len(shared._company) <= 3

    story(tell)


def test_a_round_trip_carries_a_bounded_number() -> None:
    async def tell() -> None:
        database = Database()
        tasks = await asked(Shared(database.ask, 5), range(2 * MOST + 2))
        for _ in range(4):
            database.go_on.release()
        assert await asyncio.gather(*tasks) == [*range(2 * MOST + 2)]
        assert [len(trip) for trip in database.trips] == [1, MOST, MOST, 1]

    story(tell)


def test_an_error_goes_to_those_who_asked_and_to_nobody_after_them() -> None:
    async def tell() -> None:
        database = Database()
        shared = Shared(database.ask, 5)
        tasks = await asked(shared, range(3))
        database.refuse = OperationFailure("no", 1)
        database.go_on.release()
        database.go_on.release()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [OperationFailure] * 3
        database.refuse = None
        database.go_on.release()
        assert await shared("Patient", 7) == 7

    story(tell)


@pytest.mark.parametrize("cancelled", [0, 1])
@pytest.mark.parametrize("ask", [at_once, asked])
def test_a_request_that_is_cancelled_keeps_nobody_waiting(ask: Ask, cancelled: int) -> None:
    async def tell() -> None:
        database = Database()
        shared = Shared(database.ask, 5)
        tasks = await ask(shared, range(3))
        tasks[cancelled].cancel()
        await settled()
        database.go_on.release()
        database.go_on.release()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results.pop(cancelled), asyncio.CancelledError)
        assert results == [number for number in range(3) if number != cancelled]

    story(tell)


def test_a_request_that_is_cancelled_before_it_is_sent_keeps_nobody_waiting() -> None:
    async def tell() -> None:
        database = Database()
        shared = Shared(database.ask, 5)
        tasks = [asyncio.create_task(shared("Patient", number)) for number in range(3)]
        await asyncio.sleep(0)  # all have asked, and nothing is sent yet
        assert database.trips == []
        tasks[0].cancel()
        database.go_on.release()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [1, 2]
        assert database.trips == [[1, 2]]

    story(tell)


def test_the_time_of_a_question_runs_while_it_waits() -> None:
    async def tell() -> None:
        left: list[float] = []

        async def ask(collection: str, questions: list[int]) -> list[int]:
            left.append(pymongo._csot.remaining())
            await asyncio.sleep(0.2)
            return questions

        shared = Shared(ask, 5)
        tasks = await asked(shared, range(2))
        await asyncio.gather(*tasks)
        assert left[0] <= 5
        assert left[1] <= 4.85

    story(tell)


def test_nobody_fails_because_another_has_waited_longer() -> None:
    async def tell() -> None:
        trips: list[list[int]] = []

        async def ask(collection: str, questions: list[int]) -> list[int]:
            """Silent at first, as in an election; then it takes a moment."""
            trips.append(questions)
            try:
                await asyncio.wait_for(asyncio.sleep(60 if len(trips) == 1 else 0.1), pymongo._csot.remaining())
            except TimeoutError as error:
                raise ExecutionTimeout("too late", 50) from error
            return questions

        shared = Shared(ask, 1)
        tasks = await asked(shared, range(2))
        await asyncio.sleep(0.5)
        tasks += await at_once(shared, range(2, 3))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], ExecutionTimeout)
        assert results[1:] == [1, 2]

    story(tell)


def test_nobody_waits_much_longer_because_another_has_asked_later() -> None:
    """Of a database that stays silent: who asked first is told in time, who asked last has all of it."""

    async def tell() -> None:
        async def ask(collection: str, questions: list[int]) -> list[int]:
            try:
                await asyncio.wait_for(asyncio.sleep(60), pymongo._csot.remaining())
            except TimeoutError as error:
                raise ExecutionTimeout("too late", 50) from error
            return questions

        async def told(number: int) -> type[BaseException] | None:
            try:
                await shared("Patient", number)
            except PyMongoError as error:
                ended.append(number)
                return type(error)
            return None

        ended: list[int] = []
        shared = Shared(ask, 0.5)
        tasks = []
        for number, later in ((0, 0.01), (1, 0.4), (2, 0.0)):
            tasks.append(asyncio.create_task(told(number)))
            await asyncio.sleep(later)
        assert await asyncio.gather(*tasks) == [ExecutionTimeout, NetworkTimeout, ExecutionTimeout]
        assert ended == [0, 1, 2]

    story(tell)


# group commit


@asynccontextmanager
async def store(url: str) -> AsyncIterator[Store]:
    client = await connect(url)
    try:
        yield Store(client[f"test-{uuid4().hex[:12]}"])
    finally:
        await client.close()


def change(id_: str, previous: Any = None, note: str = "") -> Change:
    version = previous.version + 1 if previous else 1
    resource = {"resourceType": "Basic", "id": id_, "note": note}
    return Change("Basic", id_, version, now(), str(resource).encode(), resource, {}, {}, [], previous)


def test_of_many_writers_of_one_version_one_wins_and_the_rest_is_told(mongodb: str) -> None:
    async def tell() -> None:
        async with store(mongodb) as kept:
            first = await kept.write(change("a"))
            many = [kept.write(change("a", first, "the same words")) for _ in range(30)]
            others = [kept.write(change(f"b{n}")) for n in range(30)]
            results = await asyncio.gather(*many, *others, return_exceptions=True)
            assert sum(not isinstance(result, Exception) for result in results[:30]) == 1
            assert all(isinstance(result, Conflict) for result in results[:30] if isinstance(result, Exception))
            assert not any(isinstance(result, Exception) for result in results[30:])
            current = await kept.read("Basic", "a")
            assert current.version == 2
            assert (await kept.vread("Basic", "a", 1)).body == first.body
            assert await kept.database["Basic"].count_documents({}) == 31

    story(tell)


def test_a_resource_that_cannot_be_stored_harms_no_other(mongodb: str) -> None:
    async def tell() -> None:
        async with store(mongodb) as kept:
            await kept.ensure("Basic")
            writes = [kept.write(change(f"c{n}", note="x" * 17_000_000 if n == 5 else "")) for n in range(10)]
            results = await asyncio.gather(*writes, return_exceptions=True)
            assert [n for n, result in enumerate(results) if isinstance(result, DocumentTooLarge)] == [5]
            assert sum(not isinstance(result, Exception) for result in results) == 9

    story(tell)


def test_what_the_database_refuses_is_told_to_whom_it_concerns(mongodb: str) -> None:
    async def tell() -> None:
        async with store(mongodb) as kept:
            await kept.database.create_collection("Picky", validator={"fine": True})
            writes = [Write(n, encoded({"_id": n, "fine": n != 1})) for n in range(3)]
            written = await write_together(kept["Picky"], writes)
            assert isinstance(written[1], OperationFailure)
            assert [written[0], written[2]] == [True, True]
            assert await write_together(kept["Picky"], writes[:1]) == [False]

    story(tell)


steps = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_who_asks_after_a_write_sees_it(mongodb: str, steps: list[tuple[str, bool]]) -> None:
    """Writers that read their own writes, all at once: each sees the version it wrote, or a later one."""

    async def writer(kept: Store, id_: str, update: bool) -> None:
        for _ in range(20):
            current = await kept.read("Basic", id_)
            try:
                written = await kept.write(change(id_, current if update else None))
            except Conflict:
                if not update:
                    return
                continue
            seen = await kept.read("Basic", id_)
            assert seen is not None
            assert seen.version >= written.version
            return

    async def tell() -> None:
        async with store(mongodb) as kept:
            await asyncio.gather(*(writer(kept, id_, update) for id_, update in steps))

    story(tell)
