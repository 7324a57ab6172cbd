"""What a search asks of the database, kept with its time for those who want an explanation, and explained by it.

https://www.mongodb.com/docs/manual/reference/command/explain/
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from copy import copy
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import bson

from fhirserver.store.budget import Budget

if TYPE_CHECKING:
    from fhirserver.store.resources import Store

T = TypeVar("T")

# MongoDB repeats the values of a command several times, and an explanation beyond its own limit of 16 MB closes the
# connection: a list of 50,000 ids (2.4 MB) gave 19 MB.
EXPLAINED_BYTES = 1_000_000


class Asked(NamedTuple):
    """One command: how long it took, how many documents it returned or counted, and what explains it if known."""

    type: str
    command: dict[str, Any]
    milliseconds: float
    returned: int
    said: dict[str, Any] | None = None


@dataclass
class Trace:
    """What a search asks, and when it began."""

    asked: list[Asked] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)
    parsing: float = 0.0

    def parsed(self) -> None:
        self.parsing = self.milliseconds()

    def milliseconds(self) -> float:
        return (perf_counter() - self.started) * 1000


def traced(store: Store) -> Store:
    """The same store, which keeps what it is asked."""
    bound = copy(store)
    bound.trace = Trace()
    return bound


def finding(filter_: dict[str, Any], sort: dict[str, int], limit: int) -> dict[str, Any]:
    return {"filter": filter_, "sort": sort, "limit": limit}


async def timed(store: Store, type_: str, command: dict[str, Any], run: Awaitable[T]) -> T:
    """The result of `run`. When the store is traced, the command is kept."""
    if store.trace is None:
        return await run
    started = perf_counter()
    result = await run
    returned = result if isinstance(result, int) else len(result) if isinstance(result, Sequence) else 0
    store.trace.asked.append(Asked(type_, command, (perf_counter() - started) * 1000, returned))
    return result


async def counted(store: Store, type_: str, command: dict[str, Any]) -> int | None:
    """A count by its explanation, which runs it: once is enough. None where that does not say, or is not exact."""
    if store.trace is None or store.session is not None:
        return None
    started = perf_counter()
    said = await _explanation(store, type_, command)
    number: int | None = None
    if said is not None:
        number = said["executionStats"]["executionStages"].get("nCounted")  # shards say each its own
    if number is not None:
        store.trace.asked.append(Asked(type_, command, (perf_counter() - started) * 1000, number, said))
    return number


async def explained(store: Store, asked: Asked) -> dict[str, Any] | None:
    """What the database says of a command when it runs it again, within the search budget; None of one too large."""
    return asked.said or await _explanation(store, asked.type, asked.command)


async def _explanation(store: Store, type_: str, asked: dict[str, Any]) -> dict[str, Any] | None:
    if len(bson.encode(asked)) > EXPLAINED_BYTES:
        return None
    if "pipeline" in asked:
        command = {"aggregate": type_, **asked, "cursor": {}}
    else:
        command = {"count" if "query" in asked else "find": type_, **asked}
    with Budget(store):
        said: dict[str, Any] = await store.database.command("explain", command, verbosity="executionStats")
    return said
