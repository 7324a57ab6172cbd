"""The table of jobs: one worker at a time, nothing done twice, nothing forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect

from fhirserver.bulk.jobs import ATTEMPTS, JOBS, Report, job, perform, sweep
from fhirserver.context import Context
from fhirserver.fhir.outcome import invalid
from fhirserver.store import jobs
from fhirserver.store.jobs import Job, Lease, LeaseLost, Progress
from fhirserver.store.schema import JOBS as TABLE

Tell = Callable[..., Any]

ADA, BOB = Lease("ada", 30), Lease("bob", 30)
GONE = Lease("gone", 0)  # a worker that died as it began
KINDS = ("count",)
STEPS = 10


class Crash(BaseException):
    """What a kill is to the code that it meets: nothing after it runs."""


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    before = dict(JOBS)
    yield
    JOBS.clear()
    JOBS.update(before)


def counting(crash_at: int | None = None, seen: list[Any] | None = None) -> Callable[..., Awaitable[Mapping[str, Any]]]:
    """A job that writes ten marks, each an upsert, and reports after each; the receipt counts them."""

    async def count(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
        if seen is not None:
            seen.append(at.cursor)
        for step in range(at.cursor or 0, STEPS):
            mark = {"_id": f"{at.key}-{step}"}
            await ctx.store["marks"].update_one(mark, {"$inc": {"times": 1}}, upsert=True)
            if step == crash_at:
                raise Crash
            await report(step + 1, STEPS, step + 1)
        return {"marks": await ctx.store["marks"].count_documents({"_id": {"$regex": f"^{at.key}-"}})}

    return count


async def queued(ctx: Context, key: str = "k") -> Job:
    return await ctx.enqueue("count", key, {"$set": "a text with $ in it"})


# --- the table --------------------------------------------------------------------------------------------------------


def test_asked_for_twice_it_is_one_job(tell: Tell) -> None:
    async def story(ctx: Context) -> None:
        asked = await asyncio.gather(*(queued(ctx) for _ in range(20)))
        assert len({each.id for each in asked}) == 1
        assert await ctx.store[TABLE].count_documents({}) == 1
        assert asked[0].state == "queued"
        assert asked[0].arguments == {"$set": "a text with $ in it"}
        assert (await queued(ctx, "other")).id != asked[0].id
        assert jobs.identity("a", "b c") != jobs.identity("a b", "c")

    tell(story)


def test_of_many_claimers_one_wins(tell: Tell) -> None:
    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        claimed = await asyncio.gather(*(jobs.claim(ctx.store, id_, Lease(str(n), 30), KINDS) for n in range(20)))
        (winner,) = [each for each in claimed if each]
        assert (winner.state, winner.attempts) == ("running", 1)
        assert await jobs.due(ctx.store, KINDS, 10) == []

    tell(story)


def test_what_a_worker_does_not_know_it_leaves(tell: Tell) -> None:
    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        assert await jobs.due(ctx.store, ["other"], 10) == []
        assert await jobs.claim(ctx.store, id_, ADA, ["other"]) is None
        assert await jobs.claim(ctx.store, "nothing", ADA, KINDS) is None

    tell(story)


def test_an_expired_lease_is_resumed_from_its_cursor_and_a_renewed_one_is_not(tell: Tell) -> None:
    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        await jobs.claim(ctx.store, id_, GONE, KINDS)
        await jobs.beat(ctx.store, id_, GONE, Progress(4, 10), {"after": "$x"})
        await asyncio.sleep(0.01)
        assert await jobs.due(ctx.store, KINDS, 10) == [id_]
        resumed = await jobs.claim(ctx.store, id_, ADA, KINDS)
        assert resumed is not None
        assert (resumed.cursor, resumed.progress, resumed.attempts) == ({"after": "$x"}, Progress(4, 10), 2)
        for _ in range(3):
            await jobs.renew(ctx.store, id_, ADA)
            assert await jobs.due(ctx.store, KINDS, 10) == []
            assert await jobs.claim(ctx.store, id_, BOB, KINDS) is None

    tell(story)


LATE: dict[str, Callable[[Context, str, Lease], Awaitable[Any]]] = {
    "renew": lambda ctx, id_, lease: jobs.renew(ctx.store, id_, lease),
    "beat": lambda ctx, id_, lease: jobs.beat(ctx.store, id_, lease, Progress(9), 9),
    "finish": lambda ctx, id_, lease: jobs.finish(ctx.store, id_, lease, {}, 1),
    "fail": lambda ctx, id_, lease: jobs.fail(ctx.store, id_, lease, "no", 1),
    "release": lambda ctx, id_, lease: jobs.release(ctx.store, id_, lease),
}


@pytest.mark.parametrize("deed", LATE)
@pytest.mark.parametrize("loss", ["overtaken", "cancelled", "done"])
def test_who_lost_the_lease_writes_nothing(tell: Tell, deed: str, loss: str) -> None:
    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        await jobs.claim(ctx.store, id_, GONE, KINDS)
        await asyncio.sleep(0.01)
        if loss == "cancelled":
            await jobs.cancel(ctx.store, id_, 1)
        else:
            await jobs.claim(ctx.store, id_, ADA, KINDS)
        if loss == "done":
            await jobs.finish(ctx.store, id_, ADA, {"n": 1}, 1)
        before = await ctx.store[TABLE].find_one({"_id": id_})
        with pytest.raises(LeaseLost):
            await LATE[deed](ctx, id_, GONE)
        assert await ctx.store[TABLE].find_one({"_id": id_}) == before

    tell(story)


def test_what_ended_is_over(tell: Tell) -> None:
    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        await jobs.claim(ctx.store, id_, ADA, KINDS)
        done = await jobs.finish(ctx.store, id_, ADA, {"n": 1}, 1)
        assert (done.state, done.receipt) == ("done", {"n": 1})
        assert await jobs.claim(ctx.store, id_, BOB, KINDS) is None
        assert await jobs.cancel(ctx.store, id_, 1) == done
        assert await queued(ctx) == done
        document = await ctx.store[TABLE].find_one({"_id": id_})
        assert document is not None
        assert 23 < (document["expires"] - ctx.now()).total_seconds() / 3600 < 25
        assert (await ctx.store[TABLE].index_information())["expires"]["expireAfterSeconds"] == 0

    tell(story)


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_job_is_run_to_its_receipt_and_running_it_again_changes_nothing(tell: Tell) -> None:
    job("count")(counting())

    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        assert await sweep(ctx) == [id_]
        runs = await asyncio.gather(*(perform(ctx, id_) for _ in range(5)), perform(ctx, "nothing"))
        (done,) = [each for each in runs if each]
        assert (done.state, done.receipt, done.progress) == ("done", {"marks": STEPS}, Progress(STEPS, STEPS))
        assert await perform(ctx, id_) is None
        assert await sweep(ctx) == []
        assert [mark["times"] async for mark in ctx.store["marks"].find()] == [1] * STEPS
        assert await jobs.recent(ctx.store, 5) == [done]

    tell(story)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(crashes=st.lists(st.integers(0, STEPS - 1), max_size=6), key=st.uuids())
def test_crashes_anywhere_lose_nothing(tell: Tell, crashes: list[int], key: object) -> None:
    """Wherever the workers die: all marks are there, each begun again where the last report was."""

    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx, str(key))).id
        seen: list[Any] = []
        for crash_at in sorted(crashes):
            JOBS["count"] = counting(crash_at, seen)
            with suppress(Crash):
                await perform(ctx, id_)
            await ctx.store[TABLE].update_one({"_id": id_}, {"$set": {"lease.until": ctx.now()}})
        JOBS["count"] = counting(seen=seen)
        await asyncio.sleep(0.002)
        done = await perform(ctx, id_)
        wasted = 0
        if done is None or done.state != "failed":  # one that gets nowhere five times is given up
            assert done is not None
            assert done.receipt == {"marks": STEPS}
            times = [mark["times"] async for mark in ctx.store["marks"].find({"_id": {"$regex": f"^{key}-"}})]
            wasted = sum(times) - STEPS
        assert wasted <= len(crashes)
        assert [each or 0 for each in seen] == sorted(each or 0 for each in seen)

    tell(story)


def test_a_job_that_refuses_fails_with_its_sentence(tell: Tell) -> None:
    @job("count")
    async def refuse(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
        raise invalid("the file has no end")

    async def story(ctx: Context) -> None:
        failed = await perform(ctx, (await queued(ctx)).id)
        assert failed is not None
        assert (failed.state, failed.reason, failed.receipt) == ("failed", "the file has no end", None)

    tell(story)


@pytest.mark.parametrize(("error", "said"), [(KeyError("bug"), "Traceback"), (AutoReconnect("away"), "in time")])
def test_a_crash_is_logged_and_left_to_the_lease_until_attempts_are_used_up(
    tell: Tell, caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    @job("count")
    async def crash(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
        raise error

    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        for attempt in range(1, ATTEMPTS + 1):
            left = await perform(ctx, id_)
            assert left is not None
            assert (left.state, left.attempts) == ("running", attempt)
            assert await perform(ctx, id_) is None
            await ctx.store[TABLE].update_one({"_id": id_}, {"$set": {"lease.until": ctx.now()}})
            await asyncio.sleep(0.002)
        failed = await perform(ctx, id_)
        assert failed is not None
        assert failed.state == "failed"
        assert "5 times" in (failed.reason or "")

    tell(story)
    assert said in caplog.text


def test_attempts_that_get_on_are_not_counted(tell: Tell) -> None:
    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        for at in range(STEPS):
            JOBS["count"] = counting(at)
            with suppress(Crash):
                await perform(ctx, id_)
            await ctx.store[TABLE].update_one({"_id": id_}, {"$set": {"lease.until": ctx.now()}})
            await asyncio.sleep(0.002)
        JOBS["count"] = counting()
        done = await perform(ctx, id_)
        assert done is not None
        assert done.receipt == {"marks": STEPS}

    tell(story)


def test_a_job_with_nothing_to_report_keeps_its_lease(tell: Tell) -> None:
    @job("count")
    async def quiet(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
        for _ in range(6):
            await asyncio.sleep(0.1)
            assert await sweep(ctx) == []
        return {}

    async def story(ctx: Context) -> None:
        done = await perform(ctx, (await queued(ctx)).id)
        assert done is not None
        assert done.state == "done"

    tell(story, job_lease_seconds=0.3)


def test_a_cancelled_job_stops_at_its_next_report(tell: Tell) -> None:
    begun = asyncio.Event()

    @job("count")
    async def endless(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
        while True:
            begun.set()
            await asyncio.sleep(0.01)
            await report(1)

    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        run = asyncio.create_task(perform(ctx, id_))
        await begun.wait()
        cancelled = await jobs.cancel(ctx.store, id_, 1)
        assert cancelled is not None
        assert cancelled.state == "cancelled"
        assert await run == await jobs.read(ctx.store, id_)
        assert (await queued(ctx)).state == "cancelled"
        assert await jobs.cancel(ctx.store, "nothing", 1) is None

    tell(story)


def test_a_worker_that_stops_in_order_gives_the_job_back(tell: Tell) -> None:
    begun = asyncio.Event()

    @job("count")
    async def long(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
        await report(3, 9, "here")
        begun.set()
        await asyncio.sleep(60)
        return {}

    async def story(ctx: Context) -> None:
        id_ = (await queued(ctx)).id
        run = asyncio.create_task(perform(ctx, id_))
        await begun.wait()
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        back = await jobs.read(ctx.store, id_)
        assert back is not None
        assert (back.state, back.attempts, back.cursor) == ("queued", 0, "here")
        assert await sweep(ctx) == [id_]

    tell(story)


def test_a_kind_is_defined_once() -> None:
    job("count")(counting())
    with pytest.raises(ValueError, match="already defined"):
        job("count")(counting())
