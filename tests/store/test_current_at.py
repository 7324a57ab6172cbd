"""Histories by `_at`, page by page, against the rule read naively. https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhirserver.store import current_at as module
from fhirserver.store import history as history_module
from fhirserver.store.connect import connect
from fhirserver.store.finds import Branch
from fhirserver.store.history import history
from fhirserver.store.places import Bounds, Place, Span
from fhirserver.store.resources import Store
from fhirserver.store.transactions import transact
from fhirserver.store.versions import Document

TYPES = ("Basic", "Patient", "Person")
SEEN = "Patient/p"
BOUNDS = Bounds({"compartments": SEEN}, {"compartments": SEEN})
BEGIN = datetime(2026, 11, 27, tzinfo=UTC)
LARGE = 10**8


class Version(NamedTuple):
    """When it was written, and whether the caller sees it."""

    time: int
    seen: bool = True


class Kept(NamedTuple):
    """The versions of a resource, and whether a crash left a copy of the last one."""

    type: str
    versions: tuple[Version, ...]
    copied: bool = False


kept = st.builds(
    Kept,
    st.sampled_from(TYPES),
    st.lists(st.builds(Version, st.integers(0, 9), st.booleans()), min_size=1, max_size=12).map(
        lambda versions: tuple(sorted(versions))
    ),
    st.booleans(),
)


def at(second: int) -> datetime:
    return BEGIN + timedelta(seconds=second)


def body(place: Place) -> bytes:
    return f"{place.type} {place.id} {place.version}".encode()


def places(number: int, resource: Kept) -> list[Place]:
    return [Place(at(each.time), f"r{number}", at_, resource.type) for at_, each in enumerate(resource.versions, 1)]


async def fill(store: Store, resources: Sequence[Kept]) -> None:
    for type_ in TYPES:
        await store[type_].delete_many({})
        await store[f"{type_}.history"].delete_many({})
    for number, resource in enumerate(resources):
        documents = [
            {"updated": each.updated, "body": body(each), "compartments": [SEEN if version.seen else "Patient/q"]}
            for each, version in zip(places(number, resource), resource.versions, strict=True)
        ]
        id_, last = f"r{number}", len(documents)
        past = [{"_id": {"id": id_, "version": at_}, **each} for at_, each in enumerate(documents, 1)]
        await store[resource.type].insert_one({"_id": id_, "version": last, **documents[-1]})
        if kept := past if resource.copied else past[:-1]:
            await store[f"{resource.type}.history"].insert_many(kept)


def naive(resources: Sequence[Kept], since: int | None, low: int, high: int) -> list[Place]:
    """Each version lasts until the next one."""
    found = []
    for number, resource in enumerate(resources):
        ends = (*(each.time for each in resource.versions[1:]), None)
        for place, (time, seen), end in zip(places(number, resource), resource.versions, ends, strict=True):
            if seen and time < high and (end is None or end > low) and (since is None or time >= since):
                found.append(place)
    return sorted(found, reverse=True)


async def pages(store: Store, span: Span, count: int) -> list[Place]:
    found: list[Place] = []
    while True:
        after = found[-1] if found else None
        rows = await history(store, dict.fromkeys(TYPES, BOUNDS), count, span=span, most=LARGE, after=after)
        assert len(rows) <= count
        for row in rows:
            found.append(Place(row.updated, row.id, row.version, row.type))
            assert row.packed == body(found[-1])
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


OFTEN = tuple(Version(time) for time in range(10))
ONCE = Kept("Basic", (Version(1),))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(kept, max_size=10),
    st.none() | st.integers(0, 9),
    st.integers(-1, 10),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 3),
)
@example([Kept("Basic", OFTEN), Kept("Patient", (*OFTEN, *OFTEN[-1:])), ONCE, ONCE], None, 10, 1, 2, 1)
@example([Kept("Basic", OFTEN), Kept("Patient", OFTEN[:5]), Kept("Person", OFTEN[:8]), ONCE], 1, 6, 1, 1, 2)
def test_each_version_that_was_current_comes_once(
    store: Store,
    loop: asyncio.Runner,
    resources: list[Kept],
    since: int | None,
    low: int,
    length: int,
    count: int,
    fewest: int,
) -> None:
    async def tell() -> None:
        await fill(store, resources)
        span = Span(None if since is None else at(since), at(low), at(low + length))
        expected = naive(resources, since, low, low + length)
        with patch.object(module, "FEWEST", fewest):
            assert await pages(store, span, count) == expected
            inside = await transact(store, partial(pages, span=span, count=count))
        assert inside == expected

    loop.run(tell())


def bodies(branch: Branch) -> bool:
    return "body" in branch[1][-1]["$project"]


def questions(branch: Branch) -> bool:
    return "$in" in branch[1][0]["$match"].get("_id", {}) and not bodies(branch)


@pytest.mark.parametrize("copied", [False, True], ids=["", "copied"])
@pytest.mark.parametrize("asked", [questions, bodies])
def test_what_is_replaced_meanwhile_is_answered_as_it_was(
    store: Store,
    loop: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    asked: Callable[[Branch], bool],
    copied: bool,
) -> None:
    union = module.union
    then = [Kept("Basic", (Version(1),), copied), Kept("Patient", (Version(0), Version(2)))]
    now = [then[0]._replace(versions=(Version(1), Version(2)), copied=False), then[1]]

    async def overtaken(store: Store, branches: Sequence[Branch], *rest: Any, **more: Any) -> list[Document]:
        if any(map(asked, branches)):
            await fill(store, now)
        return await union(store, branches, *rest, **more)

    async def tell() -> None:
        await fill(store, then)
        monkeypatch.setattr(history_module, "union", overtaken)
        monkeypatch.setattr(module, "union", overtaken)
        span = Span(None, at(4), at(5))
        assert await pages(store, span, 5) == naive(then, None, 4, 5)
        assert await pages(store, span, 5) == naive(now, None, 4, 5)

    loop.run(tell())


def test_what_the_caller_does_not_see_takes_no_room(store: Store, loop: asyncio.Runner) -> None:
    """Versions that went to another record, larger together than an answer and than a batch of the database."""

    async def tell() -> None:
        moved = [Kept("Basic", (Version(0), Version(2, seen=False))) for _ in range(30)]
        resources = [*moved, Kept("Basic", (Version(3),))]
        await fill(store, resources)
        await store["Basic"].update_many({"compartments": {"$ne": SEEN}}, {"$set": {"body": bytes(700_000)}})
        found = await history(store, {"Basic": BOUNDS}, 50, span=Span(None, at(1), at(9)), most=1_000_000)
        assert [(row.id, row.version) for row in found] == [each[1:3] for each in naive(resources, None, 1, 9)]

    loop.run(tell())
