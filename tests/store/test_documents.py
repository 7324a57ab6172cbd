"""Reads as one command: whole beyond one batch, and asked again when a connection breaks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from copy import copy
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pymongo.errors import AutoReconnect
from yarl import URL

from fhirserver.store.connect import connect
from fhirserver.store.resources import Store

ROWS, SIZE = 20, 1 << 20  # more than the 16 MB of one batch
AT = datetime(2026, 11, 25, 20, tzinfo=UTC)


def story(tell: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(tell(), 30))


class Wire:
    """A wire to the database that breaks when it is told to: so many times, at the next question."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lines: list[asyncio.Task[None]] = []
        self.breaks = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.append(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, onward = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._return(answers, writer))
        with suppress(ConnectionError):  # the driver may reset a connection instead of closing it
            while data := await reader.read(1 << 16):
                if self.breaks and b"find" in data:
                    self.breaks -= 1
                    break
                onward.write(data)
        onward.close()
        writer.close()
        await asyncio.gather(back, onward.wait_closed(), writer.wait_closed(), return_exceptions=True)

    async def _return(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)

    async def end(self) -> None:
        await asyncio.gather(*self._lines)


@asynccontextmanager
async def wired(mongodb: str) -> AsyncIterator[tuple[Wire, Store]]:
    """A store with one row, behind a wire."""
    url = URL(mongodb)
    wire = Wire(url.port or 27017)
    async with await asyncio.start_server(wire.accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = await connect(str(url.with_port(port).update_query(directConnection="true")))
        store = Store(client[f"documents-{uuid4().hex[:8]}"])
        await store["Basic"].insert_one({"_id": "1", "body": b"", "version": 1, "updated": AT})
        yield wire, store
        await client.drop_database(store.database.name)
        await client.close()
        await wire.end()


def test_a_page_that_exceeds_a_batch_is_whole(mongodb: str) -> None:
    async def tell() -> None:
        client = await connect(mongodb)
        store = Store(client[f"documents-{uuid4().hex[:8]}"])
        for number in range(ROWS):
            row = {"_id": f"{number:02}", "body": os.urandom(SIZE), "version": 1, "updated": AT}
            await store["Binary"].insert_one(row)
        found = await store.find("Binary", {}, [("_id", 1)], ROWS + 1, ("updated",))
        assert [(row["_id"], len(row["body"])) for row in found] == [(f"{n:02}", SIZE) for n in range(ROWS)]
        assert {row["updated"] for row in found} == {AT.replace(tzinfo=None)}
        versions = await store.find_stored("Binary", {"_id": {"$gte": "05"}}, ROWS)
        assert [version.id for version in versions] == [f"{n:02}" for n in range(5, ROWS)]
        assert {version.updated for version in versions} == {AT}
        await client.drop_database(store.database.name)
        await client.close()

    story(tell)


@pytest.mark.parametrize(("breaks", "answered"), [(1, True), (9, False)])
def test_a_read_whose_connection_breaks_is_asked_once_more(mongodb: str, breaks: int, answered: bool) -> None:
    async def tell() -> None:
        async with wired(mongodb) as (wire, store):
            wire.breaks = breaks
            if answered:
                assert [row["_id"] for row in await store.find("Basic", {}, [("_id", 1)], 2)] == ["1"]
            else:
                with pytest.raises(AutoReconnect):
                    await store.find("Basic", {}, [("_id", 1)], 2)
            wire.breaks = 0

    story(tell)


def test_a_read_in_a_transaction_is_not_asked_again(mongodb: str) -> None:
    async def tell() -> None:
        async with wired(mongodb) as (wire, store), store.database.client.start_session() as session:
            await session.start_transaction()
            bound = copy(store)
            bound.session = session
            wire.breaks = 1
            with pytest.raises(AutoReconnect):
                await bound.find("Basic", {}, [("_id", 1)], 2)
            await session.abort_transaction()

    story(tell)
