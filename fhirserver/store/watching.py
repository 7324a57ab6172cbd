"""That resources of some types were written, by whatever server or program, as a change stream tells it.

https://www.mongodb.com/docs/manual/changeStreams/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

from fhirserver.store.resources import Store

SILENT_MS = 500


async def changes(store: Store, types: Collection[str]) -> AsyncIterator[bool]:
    """True for each change since this began; False when there was none for half a second."""
    stages: list[dict[str, Any]] = [{"$match": {"ns.coll": {"$in": [*types]}}}, {"$project": {"_id": 1}}]
    async with await store.database.watch(stages, max_await_time_ms=SILENT_MS) as stream:
        while stream.alive:
            yield await stream.try_next() is not None
