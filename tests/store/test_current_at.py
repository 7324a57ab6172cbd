"""Histories by `_at`, page by page, against the rule read naively. https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import InsertOne

from fhirserver.store import history as module
from fhirserver.store.connect import connect
from fhirserver.store.finds import Branch
from fhirserver.store.history import Bounds, Place, Span, history
from fhirserver.store.resources import Store
from fhirserver.store.transactions import transact
from fhirserver.store.versions import Document

TYPES = ("Basic", "Patient")
BEGIN = datetime(2026, 11, 27, tzinfo=UTC)
LARGE = 10**8


class Kept(NamedTuple):
    """The versions of a resource, by when they were written, and whether a crash left a copy of the last one."""

    type: str
    times: tuple[int, ...]
    copied: bool


kept = st.builds(
    Kept,
    st.sampled_from(TYPES),
    st.lists(st.integers(0, 9), min_size=1, max_size=12).map(lambda times: tuple(sorted(times))),
    st.booleans(),
)


def at(second: int) -> datetime:
    return BEGIN + timedelta(seconds=second)


async def fill(store: Store, resources: Sequence[Kept]) -> None:
    for type_ in TYPES:
        await store[type_].delete_many({})
        await store[f"{type_}.history"].delete_many({})
    for number, (type_, times, copied) in enumerate(resources):
        id_, last = f"r{number}", len(times)
        await store[type_].insert_one({"_id": id_, "version": last, "updated": at(times[-1]), "body": b"now"})
        past = [
            InsertOne({"_id": {"id": id_, "version": version}, "updated": at(time), "body": b"then"})
            for version, time in enumerate(times, 1)
            if version < last or copied
        ]
        if past:
            await store[f"{type_}.history"].bulk_write(past)


def naive(resources: Sequence[Kept], since: int | None, low: int, high: int) -> list[Place]:
    """Each version lasts until the next one."""
    found = []
    for number, (type_, times, _) in enumerate(resources):
        for version, (time, end) in enumerate(zip(times, (*times[1:], None), strict=True), 1):
            if time < high and (end is None or end > low) and (since is None or time >= since):
                found.append(Place(at(time), f"r{number}", version, type_))
    return sorted(found, reverse=True)


async def pages(store: Store, span: Span, count: int) -> list[Place]:
    found: list[Place] = []
    while True:
        rows = await history(
            store, dict.fromkeys(TYPES, Bounds()), count, span=span, most=LARGE, after=found[-1] if found else None
        )
        assert len(rows) <= count
        found += [Place(row.updated, row.id, row.version, row.type) for row in rows]
        if len(rows) < count:
            return found
        assert len(found) < 200


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def store(mongodb: str, loop: asyncio.Runner) -> Iterator[Store]:
    async def made() -> Store:
        store = Store((await connect(mongodb))[f"current-at-{uuid4().hex[:8]}"])
        await store.ensure(*TYPES)
        return store

    store = loop.run(made())
    yield store
    loop.run(ended(store))


async def ended(store: Store) -> None:
    await store.database.client.drop_database(store.database.name)
    await store.database.client.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(kept, max_size=8),
    st.none() | st.integers(0, 9),
    st.integers(-1, 10),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_each_version_that_was_current_comes_once(
    store: Store, loop: asyncio.Runner, resources: list[Kept], since: int | None, low: int, length: int, count: int
) -> None:
    async def tell() -> None:
        await fill(store, resources)
        span = Span(None if since is None else at(since), at(low), at(low + length))
        expected = naive(resources, since, low, low + length)
        assert await pages(store, span, count) == expected
        inside = await transact(store, partial(pages, span=span, count=count))
        assert inside == expected

    loop.run(tell())


def test_a_version_that_is_replaced_meanwhile_is_answered_as_it_was(
    store: Store, loop: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = module.union

    async def overtaken(store: Store, branches: Sequence[Branch], *rest: object, **more: object) -> list[Document]:
        if any("body" in branch[-1]["$project"] for _, branch in branches):
            await fill(store, [Kept("Basic", (1, 5), False), Kept("Patient", (2,), False)])
        return await asked(store, branches, *rest, **more)

    async def tell() -> None:
        await fill(store, [Kept("Basic", (1,), False), Kept("Patient", (2,), False)])
        monkeypatch.setattr(module, "union", overtaken)
        found = await pages(store, Span(None, at(3), at(4)), 5)
        assert found == [Place(at(2), "r1", 1, "Patient"), Place(at(1), "r0", 1, "Basic")]

    loop.run(tell())


def test_what_the_caller_does_not_see_takes_no_room(store: Store, loop: asyncio.Runner) -> None:
    """Versions that went to another record, larger together than an answer and than a batch of the database."""

    async def tell() -> None:
        await fill(store, [])
        for number in range(30):
            key = {"id": f"r{number}", "version": 1}
            past = {"_id": key, "updated": at(0), "compartments": ["Patient/p"], "body": b"then"}
            await store["Basic.history"].insert_one(past)
            moved = {"_id": f"r{number}", "version": 2, "updated": at(2), "compartments": ["Patient/q"]}
            await store["Basic"].insert_one({**moved, "body": bytes(700_000)})
        await store["Basic"].insert_one(
            {"_id": "last", "version": 1, "updated": at(3), "compartments": ["Patient/p"], "body": b"now"}
        )
        seen = Bounds({"compartments": "Patient/p"}, {"compartments": "Patient/p"})
        found = await history(store, {"Basic": seen}, 50, span=Span(None, at(1), at(9)), most=1_000_000)
        assert {(row.id, row.version) for row in found} == {("last", 1), *((f"r{number}", 1) for number in range(30))}

    loop.run(tell())
