"""What can be searched for now: the one thing of a Context that changes while a server runs.

Every server of a database follows the same generation: the one that stores a search parameter takes it at once, the
others by a change stream, and all of them look again with each beat. docs/adr/0005-custom-search-parameters.md
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import uuid4

from pymongo.errors import PyMongoError

from fhirserver.search.custom import Row, concerned, fitting
from fhirserver.search.index import EDITION, Indexer
from fhirserver.search.mentioned import Named
from fhirserver.search.parameters import Registry
from fhirserver.store import generations, jobs
from fhirserver.store.editions import Editions, settle
from fhirserver.store.generations import BEAT_SECONDS, State
from fhirserver.store.jobs import Job
from fhirserver.store.resources import Store
from fhirserver.store.watching import Listener

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
    editions: Editions = Editions(EDITION)

    def dated(self, types: Iterable[str]) -> list[str]:
        """Those of which some resources may have been indexed by a release that did it otherwise."""
        if self.editions.written == EDITION:
            return [type_ for type_ in types if type_ in self.editions.types] if self.editions.types else []
        return [*types]


class Live:
    """The rules of one record, and what this process lets the other servers know of them."""

    def __init__(self, store: Store, published: Registry, base_url: str, enqueue: Enqueue) -> None:
        self.rules = Rules(published, Indexer(published.definitions, published, base_url), {})
        self._store = store
        self._published = published
        self.enqueue = enqueue
        self.server = uuid4().hex
        self._state = State(editions=self.rules.editions)
        self._former: list[Indexer] = []
        self._lock = asyncio.Lock()
        self._news = asyncio.Event()
        self._said = 0  # the generation of the last beat
        self._late: int | None = None  # the generation that was written here when others may have stopped waiting
        self._attended = True

    @property
    def rows(self) -> Sequence[Row]:
        """Of the custom parameters."""
        return self._state.rows

    def behind(self, container: str, named: Iterable[Named]) -> dict[str, int]:
        """Of these parameters those that not all contained in a type may be indexed for, and since when they are known.

        A new parameter has the resources of its own types indexed, not what contains such resources.
        """
        covered = self._state.covered.get(container, 0)
        new = {(type_, row["code"]): row["since"] for row in self.rows for type_ in concerned(row)}
        return {code: new[type_, code] for type_, code in named if new.get((type_, code), 0) > covered}

    async def enter(self) -> None:
        """Before anything is served. Until the state is read here, this server counts as one that is behind."""
        await generations.beat(self._store, self.server, 0, EDITION)
        await self.renew()
        await self._settle()
        await self._beat()

    async def leave(self) -> None:
        with suppress(PyMongoError):
            await generations.leave(self._store, self.server)

    async def renew(self) -> Rules:
        """The rules as the database has them now."""
        async with self._lock:
            state = await generations.read(self._store)
            if state != self._state:
                self._take(state)
                self._attended = False
            if not self._attended:
                if self._said != self._oldest:  # also where a write came to its end since others were told
                    await self._beat()
                self._attended = await self._attend()
        return self.rules

    @property
    def listener(self) -> Listener:
        """Waits for what others take."""
        return generations.changes(self._news.set)

    async def follow(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(self._renewals(), self._beats())

    async def _renewals(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self.renew()
            except PyMongoError as error:
                log.debug("what can be searched for is not known for a while: %s", error)
                self._news.set()
                await asyncio.sleep(AGAIN_SECONDS)

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(DRAINING_SECONDS if self._oldest < self.rules.indexer.generation else BEAT_SECONDS)
            try:
                await self.pulse()
            except PyMongoError as error:
                log.debug("no beat: %s", error)

    async def pulse(self) -> None:
        """Look whether there is something new, and let the others know."""
        await self._settle()
        async with self._lock:  # so that nobody is told of an older generation after a newer one
            await self._beat()
        if self._late is not None:
            await self._make_good(self._late)

    @property
    def _oldest(self) -> int:
        """The generation that no write under way here is behind."""
        self._former = [each for each in self._former if each.writing]
        return min((each.generation for each in self._former), default=self.rules.indexer.generation)

    async def _beat(self) -> None:
        before, generation = self._said, self._oldest
        silent = await generations.beat(self._store, self.server, generation, EDITION)
        self._said = generation
        if silent and self._late is None:
            self._late = before

    async def _settle(self) -> None:
        await settle(self._store, self._state.editions, EDITION)
        await self.renew()

    async def _make_good(self, before: int) -> None:
        """Others took this server for dead, so what it wrote meanwhile may be behind what they finished.

        Now they wait for it again: what is newer than the state that is read here, they finish with it.
        """
        await self.renew()
        if self._oldest < self.rules.indexer.generation:
            return  # something is being written still; soon again
        types = {type_ for row in self._state.rows if row["since"] > before for type_ in concerned(row)}
        if types:
            log.warning("this server was silent for long: %s is looked through again", ", ".join(sorted(types)))
            await generations.uncover(self._store, types, before)
            await self.renew()
        self._late = None

    def _take(self, state: State) -> None:
        registry, indexer = self.rules.registry, self.rules.indexer
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
        self.rules = Rules(registry, indexer, building, state.editions)
        self._state = state

    async def _attend(self) -> bool:
        """Types that hold nothing are covered at once; the others get a job. All servers ask for the same one.

        False where a write of an older generation is under way somewhere, so that nobody can say yet what is covered.
        """
        wanted = self._wanted()
        if not wanted:
            return True
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
        return settled

    def _wanted(self) -> dict[str, int]:
        """The generation that each type is to be indexed for."""
        wanted: dict[str, int] = {}
        for (type_, _), since in self.rules.building.items():
            wanted[type_] = max(since, wanted.get(type_, 0))
        return wanted

    async def job(self, type_: str) -> Job | None:
        """The job that indexes a type for its new parameters."""
        generation = self._wanted().get(type_)
        if generation is None:
            return None
        key = f"{type_} {generation}"
        found = job = await jobs.read(self._store, jobs.identity(KIND, key))
        while job is not None and job.state == "done":
            found, job = job, await jobs.read(self._store, jobs.identity(KIND, _after(key, job)))
        return job or found

    async def _ask(self, type_: str, generation: int) -> None:
        """Another job where the last one is done and something is behind all the same."""
        key, arguments = f"{type_} {generation}", {"type": type_, "generation": generation}
        job: Job = await self.enqueue(KIND, key, arguments)
        while job.state == "done":
            job = await self.enqueue(KIND, _after(key, job), arguments)


def _after(key: str, job: Job) -> str:
    return f"{key} after {job.id}"


def usable(published: Registry, rows: Iterable[Row]) -> Registry:
    """The registry of these rows; those that another release could use and this one cannot are left out."""
    registry, left = fitting(published, rows)
    for refusal in left:
        log.error("SearchParameter/%s is not used: %s", refusal.id, refusal)
    return registry
