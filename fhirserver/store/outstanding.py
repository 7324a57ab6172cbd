"""What is in the ledger and not yet a resource: of each line an AuditEvent is made soon, and before anybody reads them.

An event is far more to store than what it says, with all that it can be found by. A request waits for its lines only.
Who reads AuditEvents has those made first that were acknowledged before. Each has the id that its line says: made by
two servers it is one, and what a server left behind that was killed, any server makes. Of a line that somebody
changed, or of which we have a defect, none is made: it stays where it is, with all that was written with it. Each
process tries it once, then now and then, says so in the log, and knows it as `unmade`; those beside it become events.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import Context
from time import monotonic
from typing import Any, NamedTuple

from pymongo.errors import BulkWriteError, PyMongoError

from fhirserver.store.blobs import pack
from fhirserver.store.commit import DUPLICATE_KEY
from fhirserver.store.faults import of_bulk_write, of_the_document
from fhirserver.store.late import Mark, Unmade
from fhirserver.store.lines import Row, rows
from fhirserver.store.mirror import encoded
from fhirserver.store.resources import Store
from fhirserver.store.schema import AUDIT_EVENT
from fhirserver.store.seals import digest_of, sealed_event
from fhirserver.store.versions import Document

LINES = "audit.lines"
CHANGED = "it is not as it was written, or the key is another one"
MADE = "made"  # of a command: it makes events, whoever waits for it
COUNTED = {"$cond": [{"$isArray": "$lines"}, {"$size": "$lines"}, 1]}
TOGETHER = 128  # lines of which events are made at a time: some milliseconds of work

log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """When events are made: so many seconds after a line, or when so many lines of this process are outstanding.

    Beyond `most` requests wait. After `latest` seconds without a line, what others may have left behind is looked for.
    What could not be made is tried again after `again` seconds.
    """

    soon: float = 5.0
    latest: float = 60.0
    many: int = 2_000
    most: int = 4_000
    again: float = 3_600.0


PACE = Pace()


class Event(NamedTuple):
    """A resource as JSON, and the document around it but for its place in the ledger."""

    body: bytes
    document: Document


Making = Callable[[], AbstractContextManager[Callable[[bytes], Event]]]
"""As long as events are made and stored: what makes one of a line."""


class Outstanding:
    """The lines of one database of which events are to be made. `run` does it in time, `catch_up` now.

    `mark_of` says which event a line is about, where so much of it can be read.
    """

    def __init__(self, store: Store, key: bytes, making: Making, mark_of: Callable[[bytes], Mark]) -> None:
        self._store = store
        self._key = key
        self._making = making
        self._mark_of = mark_of
        self._pace = PACE
        self._left: dict[str, Sequence[Unmade]] = {}  # by group
        self._again = monotonic()
        self._lines = 0  # that this process wrote and has not made events of
        self._failing = False
        self._turn: asyncio.Task[None] | None = None  # the next one, which has not begun
        self._one = asyncio.Lock()
        self._some, self._many, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()

    @property
    def unmade(self) -> Sequence[Unmade]:
        """The lines of which no event could be made, as of when this was last caught up."""
        return [each for left in self._left.values() for each in left]

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
        """When this returns, there is an event of every line that was acknowledged before, but of those `unmade`.

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
        there = {_name(group): group for group in await self._store[LINES].find({}, {"lines": COUNTED}).to_list()}
        self._left = {name: left for name, left in self._left.items() if name in there}
        if monotonic() >= self._again:
            self._again = monotonic() + self._pace.again
            portions = [*_portions(there.values())]
        else:
            portions = [*_portions(group for name, group in there.items() if name not in self._left)]
        if portions:
            await self._store.ensure(AUDIT_EVENT)
        random.shuffle(portions)  # so that several servers share the work
        for ids in portions:
            await self._make(ids)

    async def _make(self, ids: Sequence[Any]) -> None:
        groups = await self._store[LINES].find({"_id": {"$in": ids}}, comment=MADE).to_list()
        read = [(group, [*rows(self._key, group)]) for group in groups]
        with self._making() as make:
            causes = await self._made(make, [row for _, found in read for row in found])
        done = []
        for group, found in read:
            left = {self._unmade(row, causes[row]): causes[row] for row in found if row in causes} if causes else {}
            self._leave(_name(group), left)
            if not left:
                done.append(group["_id"])
        if done:
            await self._store[LINES].delete_many({"_id": {"$in": done}}, comment=MADE)

    async def _made(self, make: Callable[[bytes], Event], found: Iterable[Row]) -> Mapping[Row, str | Exception]:
        """Store the events of these lines; why of some there is none."""
        causes: dict[Row, str | Exception] = {}
        documents: list[tuple[Row, Any]] = []
        for row in found:
            if row.line is None or row.seal is None or not row.intact:
                causes[row] = CHANGED
                continue
            try:
                documents.append((row, self._document(make, row, row.line, row.seal)))
            except Exception as error:  # a defect of ours in wording one line is no reason to make none of the others
                causes[row] = error
        for at, cause in (await self._insert([document for _, document in documents])).items():
            causes[documents[at][0]] = cause
        return causes

    def _document(self, make: Callable[[bytes], Event], row: Row, line: bytes, seal: bytes) -> Any:
        event = make(line)
        place = {"strand": row.strand, "number": row.number, "seal": seal, "line": digest_of(line)}
        place["event"] = sealed_event(self._key, seal, event.body)
        return encoded(event.document | {"body": pack(event.body), "ledger": place})

    async def _insert(self, documents: Sequence[Any]) -> Mapping[int, str]:
        """Why the database refused some of these, by their places."""
        if not documents:
            return {}
        try:
            await self._store[AUDIT_EVENT].insert_many(documents, ordered=False, comment=MADE)
        except BulkWriteError as error:
            refused = [each for each in error.details.get("writeErrors", ()) if each["code"] != DUPLICATE_KEY]
            if error.details.get("writeConcernErrors") or not all(of_the_document(each["code"]) for each in refused):
                raise of_bulk_write(error) from error
            return {each["index"]: f"the database refuses it with code {each['code']}" for each in refused}
        return {}

    def _unmade(self, row: Row, cause: str | Exception) -> Unmade:
        said = cause if isinstance(cause, str) else f"{type(cause).__name__}: {cause}"[:200]
        mark = Mark() if row.line is None else self._mark_of(row.line)
        return Unmade(row.strand, row.number, said, mark, row.intact)

    def _leave(self, name: str, left: Mapping[Unmade, str | Exception]) -> None:
        """In the ledger, as what no event could be made of: said once by each process."""
        known = {each.number for each in self._left.pop(name, ())}
        if left:
            self._left[name] = [*left]
        for each, cause in left.items():
            if each.number not in known:
                error = cause if isinstance(cause, Exception) else None
                said = "no event is made of line %d of audit strand %s: %s"
                log.error(said, each.number, each.strand, each.cause, exc_info=error)


def _name(group: Document) -> str:
    """Whatever it may be called in the database."""
    return repr(group["_id"])


def _portions(groups: Iterable[Document]) -> Iterator[list[Any]]:
    """The ids of groups, so many lines at a time."""
    ids: list[Any] = []
    lines = 0
    for group in groups:
        ids.append(group["_id"])
        lines += group["lines"]
        if lines >= TOGETHER:
            yield ids
            ids, lines = [], 0
    if ids:
        yield ids
