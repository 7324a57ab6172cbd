"""What can be searched for now: the one thing of a Context that changes while a server runs.

Every server of a database follows the same generation: the one that stores a search parameter takes it at once, the
others by a change stream, and all of them look again with each beat. docs/adr/0005-custom-search-parameters.md
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

from pymongo.errors import PyMongoError

from fhirserver.search.custom import Row, concerned, fitting
from fhirserver.search.index import Indexer
from fhirserver.search.parameters import Registry
from fhirserver.store import generations, jobs
from fhirserver.store.generations import BEAT_SECONDS, SILENT_SECONDS, State
from fhirserver.store.jobs import Job
from fhirserver.store.resources import Store

KIND = "reindex"  # of jobs, see bulk/reindex.py
DRAINING_SECONDS = 0.1  # between beats while writes of an older generation are under way here
AGAIN_SECONDS = 1.0

Enqueue = Callable[[str, str, Mapping[str, Any]], Awaitable[Any]]

log = logging.getLogger(__name__)


class Rules(NamedTuple):
    """Of one generation. `building` has the parameters whose values some documents lack: {(type, code): generation}."""

    registry: Registry
    indexer: Indexer
    building: Mapping[tuple[str, str], int]


class Live:
    """The rules of one record, and what this process lets the other servers know of them."""

    def __init__(self, store: Store, published: Registry, base_url: str, enqueue: Enqueue) -> None:
        self.rules = Rules(published, Indexer(published.definitions, published, base_url), {})
        self._store = store
        self._published = published
        self._enqueue = enqueue
        self._server = uuid4().hex
        self._state = State()
        self._former: list[Indexer] = []
        self._lock = asyncio.Lock()
        self._said = (0, monotonic())  # the generation of the last beat, and when it was

    @property
    def rows(self) -> Sequence[Row]:
        """Of the custom parameters."""
        return self._state.rows

    async def enter(self) -> None:
        """Before anything is served. Until the state is read here, this server counts as one that is behind."""
        await generations.beat(self._store, self._server, 0)
        await self.renew()
        await self._beat()

    async def leave(self) -> None:
        with suppress(PyMongoError):
            await generations.leave(self._store, self._server)

    async def renew(self) -> Rules:
        """The rules as the database has them now."""
        async with self._lock:
            state = await generations.read(self._store)
            if state != self._state:
                self._take(state)
                await self._beat()
                await self._attend()
        return self.rules

    async def follow(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(self._watch(), self._beats())

    async def _watch(self) -> None:
        while True:
            try:
                async for _ in generations.changes(self._store):
                    await self.renew()
            except PyMongoError as error:
                log.debug("the search parameters are not watched for a while: %s", error)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(DRAINING_SECONDS if self._oldest < self.rules.indexer.generation else BEAT_SECONDS)
            try:
                await self.renew()
                await self._beat()
            except PyMongoError as error:
                log.debug("no beat: %s", error)

    @property
    def _oldest(self) -> int:
        """The generation that no write under way here is behind."""
        self._former = [each for each in self._former if each.writing]
        return min((each.generation for each in self._former), default=self.rules.indexer.generation)

    async def _beat(self) -> None:
        (before, at), generation = self._said, self._oldest
        await generations.beat(self._store, self._server, generation)
        self._said = generation, monotonic()
        if before < generation and monotonic() - at > SILENT_SECONDS:
            await self._look_again(before)

    async def _look_again(self, before: int) -> None:
        """Others took this server for dead, so what it wrote meanwhile may be behind: its types are looked through."""
        late = [row for row in self._state.rows if row["since"] > before]
        for type_ in {type_ for row in late for type_ in concerned(row)}:
            await self._ask(type_, self._state.generation, f"after {self._server}")

    def _take(self, state: State) -> None:
        registry, indexer, _ = self.rules
        if state.rows != self._state.rows or state.generation != self._state.generation:
            registry = usable(self._published, state.rows)
            self._former.append(indexer)
            indexer = indexer.renewed(registry, state.generation)
        building = {
            (type_, row["code"]): row["since"]
            for row in state.rows
            for type_ in concerned(row)
            if state.covered.get(type_, 0) < row["since"] and row["code"] in registry[type_]
        }
        self.rules = Rules(registry, indexer, building)
        self._state = state

    async def _attend(self) -> None:
        """Types that hold nothing are covered at once; the others get a job. All servers ask for the same one."""
        wanted = self._wanted()
        if not wanted:
            return
        settled = not await generations.lagging(self._store, max(wanted.values()))
        covered: dict[int, list[str]] = {}
        for type_, since in wanted.items():
            if settled and not await generations.any_behind(self._store, type_, since):
                covered.setdefault(since, []).append(type_)
            else:
                await self._ask(type_, since)
        for since, types in covered.items():
            await generations.cover(self._store, types, since)
        if covered:
            self._take(await generations.read(self._store))

    def _wanted(self) -> dict[str, int]:
        """The generation that each type is to be indexed for."""
        wanted: dict[str, int] = {}
        for (type_, _), since in self.rules.building.items():
            wanted[type_] = max(since, wanted.get(type_, 0))
        return wanted

    async def job(self, type_: str) -> Job | None:
        """The job that indexes a type for its new parameters."""
        generation = self._wanted().get(type_)
        return (
            None if generation is None else await jobs.read(self._store, jobs.identity(KIND, _key(type_, generation)))
        )

    async def _ask(self, type_: str, generation: int, why: str = "") -> None:
        await self._enqueue(KIND, _key(type_, generation, why), {"type": type_, "generation": generation})


def _key(type_: str, generation: int, why: str = "") -> str:
    return f"{type_} {generation} {why}".rstrip()


def usable(published: Registry, rows: Iterable[Row]) -> Registry:
    """The registry of these rows; those that another release could use and this one cannot are left out."""
    registry, left = fitting(published, rows)
    for refusal in left:
        log.error("SearchParameter/%s is not used: %s", refusal.id, refusal)
    return registry
