"""The time that a search may take in the database, and what is said when it is over.

https://www.mongodb.com/docs/languages/python/pymongo-driver/current/connect/connection-options/csot/
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import pymongo
from pymongo.errors import ExecutionTimeout, PyMongoError, WaitQueueTimeoutError

from fhirserver.fhir.outcome import Outcome, too_costly

if TYPE_CHECKING:
    from fhirserver.store.resources import Store

PING_SECONDS = 0.5


class Budget:
    """All that is asked inside has the time of one search. A search that takes longer is too costly.

    A database that says so itself was busy with it. Who waits for one that says nothing (`async with`) asks whether it
    still answers: then it was busy, too, and not silent. Classes, for generators cost a search a twentieth of its time.
    """

    __slots__ = ("_store", "_time")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._time = pymongo.timeout(store.search_ms / 1000)

    def __enter__(self) -> None:
        self._time.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._time.__exit__(kind, error, trace)
        if isinstance(error, ExecutionTimeout):
            raise _too_long() from error

    async def __aenter__(self) -> None:
        self._time.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
        if not isinstance(error, PyMongoError) or isinstance(error, WaitQueueTimeoutError):  # it was never asked
            return
        if error.timeout and await _answers(self._store):
            raise _too_long() from error


def _too_long() -> Outcome:
    return too_costly("the search takes too long; narrow it, by patient, code or date say")


async def _answers(store: Store) -> bool:
    try:
        with pymongo.timeout(PING_SECONDS):
            await store.database.command("ping")
    except PyMongoError:
        return False
    return True
