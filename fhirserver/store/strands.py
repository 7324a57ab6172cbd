"""The strands of the ledger afterwards: are they as they were written, and how long they are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

from fhirserver.store.blobs import unpack
from fhirserver.store.ledger import CHECKPOINTS
from fhirserver.store.outstanding import LINES, changed
from fhirserver.store.resources import Store
from fhirserver.store.schema import AUDIT_EVENT
from fhirserver.store.seals import beginning, sealed, sealed_event
from fhirserver.store.versions import Document


class Break(NamedTuple):
    """Where a strand is not what was written: at a number, and why."""

    strand: str
    number: int
    reason: str


class Verdict(NamedTuple):
    """What was found in all strands; `breaks` are where they are not what was written."""

    lines: int
    strands: int
    breaks: tuple[Break, ...]


async def verify(store: Store, key: bytes) -> Verdict:
    """Walk every strand from its beginning, or from what retention has left of it, to where it was noted to stand.

    While a server writes, it is walked as far as it stood when this began.
    """
    await store.caught_up(AUDIT_EVENT)
    notes = {note["_id"]: note async for note in store[CHECKPOINTS].find({})}
    ends = await _ends(store)
    await store.caught_up(AUDIT_EVENT)  # events are not made in the order of their lines
    stuck = await _stuck(store, key)
    lines, breaks = 0, list[Break]()
    strands = dict.fromkeys([*notes, *stuck, *ends])
    for strand in strands:
        walk = _Walk(key, strand, notes.get(strand, {}), stuck.get(strand))
        async for document in _of(store, strand, max(ends.get(strand, 0), walk.noted)):
            if (found := walk.step(document)) is not None:
                breaks.append(found)
                break
        else:
            breaks += walk.end()
        lines += walk.lines
    return Verdict(lines, len(strands), tuple(breaks))


async def _ends(store: Store) -> dict[str, int]:
    """By strand, the highest number of an event: one key of the index for each."""
    found = {}
    for strand in await store[AUDIT_EVENT].distinct("ledger.strand"):
        last = await store[AUDIT_EVENT].find_one({"ledger.strand": strand}, {"ledger": 1}, sort=[("ledger.number", -1)])
        if last is not None:
            found[strand] = last["ledger"]["number"]
    return found


async def _stuck(store: Store, key: bytes) -> dict[str, int]:
    """By strand, the number of the first line that was changed, of which no event was made."""
    found: dict[str, int] = {}
    async for group in store[LINES].find({}):
        if (number := changed(key, group)) is not None:
            strand = group["_id"]["strand"]
            found[strand] = min(number, found.get(strand, number))
    return found


def _of(store: Store, strand: str, end: int) -> AsyncIterator[Document]:
    here = {"ledger.strand": strand, "ledger.number": {"$lte": end}}
    found = store[AUDIT_EVENT].find(here, {"body": 1, "ledger": 1})
    return found.sort([("ledger.strand", 1), ("ledger.number", 1)])


class _Walk:
    """Along one strand, line by line. `stuck` is the number of a line of which no event could be made."""

    def __init__(self, key: bytes, strand: str, note: Document, stuck: int | None) -> None:
        self._key, self._strand, self._note, self._stuck = key, strand, note, stuck
        self.lines = 0
        self.noted: int = note.get("number", 0)
        left = note.get("forgotten") or {"number": 0, "seal": beginning(key, strand)}
        self._number: int = left["number"]
        self._seal: bytes = left["seal"]

    def step(self, document: Document) -> Break | None:
        place = document["ledger"]
        self._number += 1
        if self._stuck is not None and self._number <= self._stuck < place["number"]:
            return self._is_stuck(self._stuck)
        if place["number"] != self._number:
            found, self._number = self._number, place["number"]
            return Break(self._strand, found, f"is missing: the line after the one before it is {place['number']}")
        seal = sealed(self._key, self._seal, self._number, place["line"])
        event = sealed_event(self._key, seal, unpack(document["body"]))
        if seal != place["seal"] or event != place["event"]:
            return Break(self._strand, self._number, "is not as it was written, or the key is another one")
        self._seal = seal
        self.lines += 1
        differs = self.noted == self._number and self._note["seal"] != seal
        return Break(self._strand, self._number, "is not what was noted when it was written") if differs else None

    def end(self) -> list[Break]:
        if self._stuck is not None and self._stuck > self._number:
            return [self._is_stuck(self._stuck)]
        if self.noted <= self._number:
            return []
        return [Break(self._strand, self._number + 1, f"and all up to {self.noted} are missing: the end was cut off")]

    def _is_stuck(self, number: int) -> Break:
        return Break(self._strand, number, "was changed before an event was made of it, or the key is another one")


async def forget(store: Store, before: datetime) -> int:
    """Retention: take away the lines that are older, from the beginnings of their strands. How many."""
    await store.caught_up(AUDIT_EVENT)
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
        await store[LINES].delete_many({"_id.strand": strand, "_id.number": {"$lte": left["number"]}})
    return gone
