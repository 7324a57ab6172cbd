"""What is in the ledger and not yet a resource: of each line an AuditEvent is made soon, and before anybody reads them.

An event is far more to store than what it says, with all that it can be found by. A request waits for its lines only.
Who reads AuditEvents has those made first that were acknowledged before. Each has the id that its line says: made by
two servers it is one, and what a server left behind that was killed, any server makes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import Context
from typing import Any, NamedTuple

from pymongo.errors import BulkWriteError, PyMongoError

from fhirserver.store.blobs import pack
from fhirserver.store.commit import DUPLICATE_KEY
from fhirserver.store.faults import of_bulk_write
from fhirserver.store.mirror import encoded
from fhirserver.store.resources import Store
from fhirserver.store.schema import AUDIT_EVENT
from fhirserver.store.seals import digest_of, sealed, sealed_event
from fhirserver.store.versions import Document

LINES = "audit.lines"
MADE = "made"  # of a command: it makes events, whoever waits for it
TOGETHER = 128  # lines of which events are made at a time: some milliseconds of work

log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """When events are made: so many seconds after a line, or when so many lines of this process are outstanding.

    Beyond `most` requests wait. After `latest` seconds without a line, what others may have left behind is looked for.
    """

    soon: float = 5.0
    latest: float = 60.0
    many: int = 2_000
    most: int = 4_000


PACE = Pace()


class Event(NamedTuple):
    """A resource as JSON, and the document around it but for its place in the ledger."""

    body: bytes
    document: Document


Making = Callable[[], AbstractContextManager[Callable[[bytes], Event]]]
"""As long as events are made and stored: what makes one of a line."""


class Outstanding:
    """The lines of one database of which events are to be made. `run` does it in time, `catch_up` now."""

    def __init__(self, store: Store, key: bytes, making: Making) -> None:
        self._store = store
        self._key = key
        self._making = making
        self._pace = PACE
        self._lines = 0  # that this process wrote and has not made events of
        self._failing = False
        self._turn: asyncio.Task[None] | None = None  # the next one, which has not begun
        self._one = asyncio.Lock()
        self._some, self._many, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()

    def added(self, lines: int) -> None:
        self._lines += lines
        self._some.set()
        if self._lines >= self._pace.many:
            self._many.set()
        if self._lines >= self._pace.most and not self._failing:
            self._room.clear()

    async def room(self) -> None:
        """Where far too much is outstanding, wait until it is made or cannot be."""
        await self._room.wait()

    async def run(self) -> None:
        """Make events of lines as long as the server runs. What cannot be made stays; only who reads events fails."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), self._pace.latest)
                await asyncio.wait_for(self._many.wait(), self._pace.soon)
            await self._attempt()
            if self._failing:
                await asyncio.sleep(self._pace.soon)

    async def _attempt(self) -> None:
        try:
            await self.catch_up()
        except PyMongoError as error:
            log.warning("audit events are not made of their lines yet: %s", error)
        except Exception:  # a defect in making: the lines are safe, `run` goes on, and who reads events is told of it
            log.exception("audit events cannot be made of their lines")

    async def close(self) -> None:
        """Leave nothing behind, where there is a choice."""
        if self._lines or self._turn is not None or self._one.locked():
            await self._attempt()

    async def catch_up(self) -> None:
        """When this returns, there is an event of every line that was acknowledged before.

        Several who ask at once share the way, under nobody's time limit.
        """
        if self._turn is None:
            self._turn = asyncio.create_task(self._next(), context=Context())
        await asyncio.shield(self._turn)

    async def _next(self) -> None:
        async with self._one:
            self._turn = None
            lines = self._lines
            self._some.clear()
            self._many.clear()
            self._failing = True
            try:
                await self._make_all()
                self._failing = False
                self._lines -= lines
            finally:
                self._room.set()

    async def _make_all(self) -> None:
        there = self._store[LINES].find({}, {"lines": {"$size": "$lines"}})
        portions = [*_portions(await there.to_list())]
        if portions:
            await self._store.ensure(AUDIT_EVENT)
        random.shuffle(portions)  # so that several servers share the work
        for ids in portions:
            await self._make(ids)

    async def _make(self, ids: Sequence[Document]) -> None:
        found = await self._store[LINES].find({"_id": {"$in": ids}}, comment=MADE).to_list()
        groups = [group for group in found if self._is_whole(group)]
        if not groups:
            return
        with self._making() as make:
            await self._insert([self._document(make, *row) for group in groups for row in _rows(group)])
        done = [group["_id"] for group in groups]
        await self._store[LINES].delete_many({"_id": {"$in": done}}, comment=MADE)

    def _is_whole(self, group: Document) -> bool:
        if (number := changed(self._key, group)) is None:
            return True
        strand = group["_id"]["strand"]
        log.error("line %d of audit strand %s is not as it was written: no event is made of it", number, strand)
        return False

    def _document(self, make: Callable[[bytes], Event], strand: str, number: int, line: bytes, seal: bytes) -> Any:
        event = make(line)
        place = {"strand": strand, "number": number, "seal": seal, "line": digest_of(line)}
        place["event"] = sealed_event(self._key, seal, event.body)
        return encoded(event.document | {"body": pack(event.body), "ledger": place})

    async def _insert(self, documents: list[Any]) -> None:
        try:
            await self._store[AUDIT_EVENT].insert_many(documents, ordered=False, comment=MADE)
        except BulkWriteError as error:
            refused = error.details.get("writeErrors", ())
            if error.details.get("writeConcernErrors") or any(each["code"] != DUPLICATE_KEY for each in refused):
                raise of_bulk_write(error) from error


def changed(key: bytes, group: Document) -> int | None:
    """The number of the first line that is not as it was written. What somebody changed is no event."""
    number: int = group["_id"]["number"]
    if len(group["lines"]) != len(group["seals"]):
        return number
    seal = group["before"]
    for _, number, line, written in _rows(group):
        seal = sealed(key, seal, number, digest_of(line))
        if seal != written:
            return number
    return None


def _rows(group: Document) -> Iterator[tuple[str, int, bytes, bytes]]:
    """Strand, number, text and seal of each line."""
    strand, first = group["_id"]["strand"], group["_id"]["number"]
    for at, (line, seal) in enumerate(zip(group["lines"], group["seals"], strict=True)):
        yield strand, first + at, line, seal


def _portions(groups: Sequence[Document]) -> Iterator[list[Document]]:
    """The ids of groups, so many lines at a time."""
    ids: list[Document] = []
    lines = 0
    for group in groups:
        ids.append(group["_id"])
        lines += group["lines"]
        if lines >= TOGETHER:
            yield ids
            ids, lines = [], 0
    if ids:
        yield ids
