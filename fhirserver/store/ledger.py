"""The ledger of audit events: each line seals the one before it, so that none is changed, taken out or put in unseen.

A strand is what one server process wrote, in its order. The seal of a line is HMAC-SHA-256 over the seal before it, its
number and its body; without the key nobody can make one. Where a strand stands is noted now and then (a checkpoint), in
the database and in the log, so that a strand whose end was cut off is found out. Lines of requests in flight at the
same moment are written by one command; where a write failed, another strand goes on.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from hashlib import sha256
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

from bson.raw_bson import RawBSONDocument

from fhirserver.store.blobs import pack, unpack
from fhirserver.store.mirror import encoded
from fhirserver.store.resources import Document, Store
from fhirserver.store.shared import Shared

AUDIT_EVENT = "AuditEvent"
CHECKPOINTS = "audit.strands"
CHECKPOINT_LINES, CHECKPOINT_SECONDS = 1_000, 60.0

log = logging.getLogger(__name__)


class Line(NamedTuple):
    """An event as JSON, and the document around it but for its seal."""

    body: bytes
    document: Document


class Break(NamedTuple):
    """Where a strand is not what was written: at a number, and why."""

    strand: str
    number: int
    reason: str


class Ledger:
    """Of one process. `add` returns when the lines are stored by a majority."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._key = key
        self._lines: Shared[str, Sequence[Line], bool] = Shared(self._write, store.timeout)
        self._begin()

    def _begin(self) -> None:
        self._strand, self._number = uuid4().hex, 0
        self._seal = beginning(self._key, self._strand)
        self._noted, self._since = 0, monotonic()

    async def add(self, lines: Sequence[Line]) -> None:
        await self._store.ensure(AUDIT_EVENT)
        await self._lines(AUDIT_EVENT, lines)

    async def _write(self, collection: str, asked: list[Sequence[Line]]) -> Sequence[bool]:
        documents = [self._sealed(line) for lines in asked for line in lines]
        try:
            await self._store[collection].insert_many(documents, ordered=True)
        except BaseException:  # what became of the lines is not known: the strand ends here, whatever the error
            self._begin()
            raise
        if self._number - self._noted >= CHECKPOINT_LINES or monotonic() - self._since >= CHECKPOINT_SECONDS:
            await self.checkpoint()
        return [True] * len(asked)

    def _sealed(self, line: Line) -> RawBSONDocument:
        self._number += 1
        self._seal = sealed(self._key, self._seal, self._number, line.body)
        place = {"strand": self._strand, "number": self._number, "seal": self._seal}
        document = line.document | {"body": pack(line.body), "ledger": place}
        return encoded(document)

    async def checkpoint(self) -> None:
        """Note where the strand stands; called too when the server ends."""
        if self._number == self._noted:
            return
        stands = {"number": self._number, "seal": self._seal}
        await self._store[CHECKPOINTS].update_one({"_id": self._strand}, {"$set": stands}, upsert=True)
        log.info("audit strand %s stands at %d with seal %s", self._strand, self._number, self._seal.hex())
        self._noted, self._since = self._number, monotonic()


def audit_key(secret: bytes) -> bytes:
    """Out of the secret of a server: what is derived for one purpose serves no other."""
    return hmac.digest(secret, b"audit", sha256)


def beginning(key: bytes, strand: str) -> bytes:
    return hmac.digest(key, strand.encode(), sha256)


def sealed(key: bytes, before: bytes, number: int, body: bytes) -> bytes:
    return hmac.digest(key, before + number.to_bytes(8, "big") + body, sha256)


# --- afterwards ------------------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What was found in all strands; `breaks` are where they are not what was written."""

    lines: int
    strands: int
    breaks: tuple[Break, ...]


async def verify(store: Store, key: bytes) -> Verdict:
    """Walk every strand from its beginning, or from what retention has left of it, to where it was noted to stand."""
    notes = {note["_id"]: note async for note in store[CHECKPOINTS].find({})}
    lines, breaks = 0, list[Break]()
    strands = dict.fromkeys([*notes, *await store[AUDIT_EVENT].distinct("ledger.strand")])
    for strand in strands:
        walk = _Walk(key, strand, notes.get(strand, {}))
        async for document in _of(store, strand):
            if (found := walk.step(document)) is not None:
                breaks.append(found)
                break
        else:
            breaks += walk.end()
        lines += walk.lines
    return Verdict(lines, len(strands), tuple(breaks))


def _of(store: Store, strand: str) -> AsyncIterator[Document]:
    found = store[AUDIT_EVENT].find({"ledger.strand": strand}, {"body": 1, "ledger": 1})
    return found.sort([("ledger.strand", 1), ("ledger.number", 1)])


class _Walk:
    """Along one strand, line by line."""

    def __init__(self, key: bytes, strand: str, note: Document) -> None:
        self._key, self._strand, self._note = key, strand, note
        self.lines = 0
        left = note.get("forgotten") or {"number": 0, "seal": beginning(key, strand)}
        self._number: int = left["number"]
        self._seal: bytes = left["seal"]

    def step(self, document: Document) -> Break | None:
        place = document["ledger"]
        self._number += 1
        if place["number"] != self._number:
            found, self._number = self._number, place["number"]
            return Break(self._strand, found, f"is missing: the line after the one before it is {place['number']}")
        seal = sealed(self._key, self._seal, self._number, unpack(document["body"]))
        if seal != place["seal"]:
            return Break(self._strand, self._number, "is not as it was written, or the key is another one")
        self._seal = seal
        self.lines += 1
        noted = self._note.get("number") == self._number and self._note["seal"] != seal
        return Break(self._strand, self._number, "is not what was noted when it was written") if noted else None

    def end(self) -> list[Break]:
        noted = self._note.get("number", 0)
        if noted <= self._number:
            return []
        return [Break(self._strand, self._number + 1, f"and all up to {noted} are missing: the end was cut off")]


async def forget(store: Store, before: datetime) -> int:
    """Retention: take away the lines that are older, from the beginnings of their strands. How many."""
    gone = 0
    for strand in await store[AUDIT_EVENT].distinct("ledger.strand", {"updated": {"$lt": before}}):
        old = {"ledger.strand": strand, "updated": {"$lt": before}}
        last = await store[AUDIT_EVENT].find_one(old, {"ledger": 1}, sort=[("ledger.number", -1)])
        if last is None:
            continue
        left = {"number": last["ledger"]["number"], "seal": last["ledger"]["seal"]}
        await store[CHECKPOINTS].update_one({"_id": strand}, {"$set": {"forgotten": left}}, upsert=True)
        beyond = {"ledger.strand": strand, "ledger.number": {"$lte": left["number"]}}
        gone += (await store[AUDIT_EVENT].delete_many(beyond)).deleted_count
    return gone
