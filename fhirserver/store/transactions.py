"""Work in one multi-document transaction: all of it happens or none, and again where others were faster.

https://www.mongodb.com/docs/manual/core/transactions/
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from typing import TypeVar

import pymongo
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhirserver.fhir.outcome import Outcome
from fhirserver.store.faults import overtaken
from fhirserver.store.resources import Store
from fhirserver.store.versions import Behind, Change, Conflict

T = TypeVar("T")

ATTEMPTS = 20


async def transact(store: Store, work: Callable[[Store], Awaitable[T]], *, extra_seconds: float = 0.0) -> T:
    """Run `work` with a store bound to one multi-document transaction; run it again when others were faster.

    `work` may be called several times and must take all it knows from the store that it is given.
    """
    runs, waited = 0, False

    async def run(bound: Store) -> T:
        nonlocal runs
        runs += 1
        bound.waited = waited
        return await work(bound)

    with pymongo.timeout(store.timeout + extra_seconds):  # for all attempts together: the client waits once
        try:
            for _ in range(ATTEMPTS):
                try:
                    return await _attempt(store, run)
                except Behind:
                    await store.caught_up(*store.late)
                    waited = True
                except Conflict:
                    continue
            return await _attempt(store, run)
        except (PyMongoError, Outcome) as error:
            if runs > 1 and overtaken(error):  # it was others who took its time
                raise Conflict from error
            raise


async def _attempt(store: Store, work: Callable[[Store], Awaitable[T]]) -> T:
    async with store.database.client.start_session() as session:
        bound = copy(store)  # with what it knows of collections
        bound.session = session
        touched: list[Change] = []
        bound.wrote = touched.extend
        try:
            return await session.with_transaction(
                lambda _: work(bound),
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority", j=True),
            )
        finally:
            store.wrote(touched)
