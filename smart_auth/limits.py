"""How many requests a minute: of a client, of a user, from an address. Counted here, shared every second.

A request costs no round trip: each server counts what comes to it, adds that to `auth.limits` once a second, and reads
what came to the others. Until then it does not know of theirs, so that together they let through at most what arrives
at the others within that second beyond what is allowed; one server alone is exact. While the database does not answer,
each goes on by what it knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from time import time

from pymongo import UpdateOne
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from fhirserver.settings import Settings
from smart_auth.counts import Count
from smart_auth.server import Auth

SHARE_SECONDS = 1.0
KEPT = timedelta(minutes=2)  # after the minute is over: clocks differ
AT_ONCE = 1_000

log = logging.getLogger(__name__)


def limited(settings: Settings) -> bool:
    return any((settings.requests_per_address, settings.requests_per_client, settings.requests_per_user))


def taken(auth: Auth, kind: str, of: str, most: int, times: int = 1) -> dict[str, str]:
    """Count a request, or so many in one, and what to tell of it. `Exceeded` where that is too many."""
    now = time()
    count = auth.counts.count(kind, of, most, now)
    if not count.take(times):
        raise Exceeded(count, now)
    return count.headers(now)


class Exceeded(Exception):
    """Too many requests in this minute; `headers` say when to come again."""

    def __init__(self, count: Count, now: float) -> None:
        wait = count.wait(now)
        super().__init__(f"this {count.kind} may ask {count.most} times a minute; wait {wait} seconds")
        self.headers = {"retry-after": str(wait), **count.headers(now)}


async def share(auth: Auth, now: float) -> None:
    """Tell what came here, and learn what came to others."""
    auth.counts.forget(now)
    counts = [count for count in auth.counts.of.values() if count.untold]
    for start in range(0, len(counts), AT_ONCE):
        await _shared(auth, counts[start : start + AT_ONCE])


async def _shared(auth: Auth, counts: Iterable[Count]) -> None:
    told = {count.id: (count, count.untold) for count in counts}
    collection = auth["limits"].with_options(write_concern=WriteConcern(w=1))
    writes = [
        UpdateOne({"_id": id_}, {"$inc": {"used": untold}, "$setOnInsert": {"expires": _forgotten(count)}}, upsert=True)
        for id_, (count, untold) in told.items()
    ]
    await collection.bulk_write(writes, ordered=False)
    for count, untold in told.values():
        count.untold -= untold
    async for found in collection.find({"_id": {"$in": [*told]}}, {"used": 1}):
        count = told[found["_id"]][0]
        count.used = max(count.used, found["used"] + count.untold)


def _forgotten(count: Count) -> datetime:
    return datetime.fromtimestamp(count.ends, UTC) + KEPT


async def follow(auth: Auth) -> None:
    """Until it is cancelled: counts are shared, where there are limits."""
    while limited(auth.settings):
        await asyncio.sleep(SHARE_SECONDS)
        try:
            await share(auth, time())
        except PyMongoError as error:
            log.debug("counts of requests are not shared for a while: %s", error)
