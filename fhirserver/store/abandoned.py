"""Transactions whose server died or gave up keep what they touched locked: end them, so that nobody waits for the dead.

MongoDB itself ends them after 60 to 90 s. Ending a living one does no harm: it is run again.
https://www.mongodb.com/docs/manual/reference/command/killSessions/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bson.binary import Binary
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from fhirserver.store.ending import ended

SILENT_SECONDS = 10.0  # longer than a living transaction thinks between two commands
SILENT_SECONDS_AT_START = 0.5  # whoever was killed a moment ago has been silent since
EVERY_SECONDS = 1.0

log = logging.getLogger(__name__)
Client = AsyncMongoClient[dict[str, Any]]


@asynccontextmanager
async def ending_abandoned(client: Client) -> AsyncIterator[None]:
    """Look for abandoned transactions now and every second, until the `with` ends."""
    await _attempt(client, SILENT_SECONDS_AT_START)
    task = asyncio.create_task(_watch(client))
    try:
        yield
    finally:
        await ended([task])


async def _watch(client: Client) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        await _attempt(client, SILENT_SECONDS)


async def _attempt(client: Client, silent_seconds: float) -> None:
    try:
        ended = await end_abandoned(client, silent_seconds)
    except PyMongoError as error:  # the database is away, or gives this user no such right; requests tell which
        log.debug("abandoned transactions cannot be looked for: %s", error)
        return
    if ended:
        log.warning("ended %d transactions whose server had been silent for %.1f s", ended, silent_seconds)


async def end_abandoned(client: Client, silent_seconds: float) -> int:
    """End the open transactions of this user's HealthMate servers that have been silent for so long."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"idleSessions": True, "idleConnections": False}},
        {
            "$match": {
                "type": "idleSession",
                "appName": client.options.pool_options.appname,
                "transaction.timeInactiveMicros": {"$gt": int(silent_seconds * 1_000_000)},
            }
        },
        {"$project": {"lsid": 1}},
    ]
    cursor = await client.admin.aggregate(pipeline)
    sessions = [{"id": Binary.from_uuid(row["lsid"]["id"])} for row in await cursor.to_list()]
    if sessions:
        await client.admin.command("killSessions", sessions)
    return len(sessions)
