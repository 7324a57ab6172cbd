"""The strands of the ledger afterwards: are they as they were written, and how long they are kept."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Container, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from fhirserver.fhir import dates, json
from fhirserver.store.blobs import unpack
from fhirserver.store.ledger import CHECKPOINTS, Place
from fhirserver.store.lines import Row, rows
from fhirserver.store.outstanding import LINES
from fhirserver.store.resources import Store
from fhirserver.store.schema import AUDIT_EVENT
from fhirserver.store.seals import beginning, sealed, sealed_event, sealed_forgotten
from fhirserver.store.versions import Document

AROUND = ("version", "updated", "deleted")  # what of an event's document says which version it is


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


class _Without(NamedTuple):
    """A line, and why there is no event of it."""

    row: Row
    cause: str


async def verify(store: Store, key: bytes) -> Verdict:
    """Walk every strand from its beginning, or from what retention has left of it, to where it was noted to stand.

    While a server writes, it is walked as far as it stood when this began.
    """
    await store.caught_up(AUDIT_EVENT)
    notes = {note["_id"]: note async for note in store[CHECKPOINTS].find({})}
    ends = await strand_ends(store)
    await store.caught_up(AUDIT_EVENT)  # events are not made in the order of their lines
    unmade = await _unmade(store, key)
    lines, breaks = 0, list[Break]()
    strands = dict.fromkeys([*notes, *unmade, *ends])
    for strand in strands:
        note = notes.get(strand, {})
        walk, found = await _walked(store, key, note, strand, unmade.get(strand, {}), ends.get(strand, 0))
        while found and (now := await _note(store, strand)).get("forgotten") != note.get("forgotten"):  # meanwhile
            note = {**note, "forgotten": now["forgotten"]}
            walk, found = await _walked(store, key, note, strand, unmade.get(strand, {}), ends.get(strand, 0))
        breaks += found
        lines += walk.lines
    return Verdict(lines, len(strands), tuple(breaks))


async def _walked(
    store: Store, key: bytes, note: Document, strand: str, unmade: Mapping[int, _Without], end: int
) -> tuple[_Walk, list[Break]]:
    walk = _Walk(key, strand, note, unmade)
    breaks = [*walk.begin()]
    async for document in _of(store, strand, walk.forgotten, max(end, walk.noted)):
        breaks += walk.over(document["ledger"]["number"])
        if (found := walk.step(document)) is not None:
            breaks.append(found)
            break
    else:
        breaks += walk.end()
    breaks += walk.rest()
    return walk, breaks


async def _note(store: Store, strand: str) -> Document:
    return await store[CHECKPOINTS].find_one({"_id": strand}) or {}


async def strand_ends(store: Store) -> dict[str, int]:
    """By strand, the highest number of an event: one key of the index for each."""
    found = {}
    for strand in await store[AUDIT_EVENT].distinct("ledger.strand"):
        last = await store[AUDIT_EVENT].find_one({"ledger.strand": strand}, {"ledger": 1}, sort=[("ledger.number", -1)])
        if last is not None:
            found[strand] = last["ledger"]["number"]
    return found


async def _unmade(store: Store, key: bytes) -> dict[str, dict[int, _Without]]:
    """By strand and number, the lines of which no event could be made."""
    late = store.late.get(AUDIT_EVENT)
    causes = {(each.strand, each.number): each.cause for each in late.unmade} if late is not None else {}
    found: dict[str, dict[int, _Without]] = defaultdict(dict)
    if causes:
        async for group in store[LINES].find({}):
            for row in rows(key, group):
                if (row.strand, row.number) in causes:
                    found[row.strand][row.number] = _Without(row, causes[row.strand, row.number])
    return found


def _of(store: Store, strand: str, forgotten: int, end: int) -> AsyncIterator[Document]:
    """What retention was about to take when it was cut off is taken the next time."""
    here = {"ledger.strand": strand, "ledger.number": {"$gt": forgotten, "$lte": end}}
    found = store[AUDIT_EVENT].find(here, {"body": 1, "ledger": 1, **dict.fromkeys(AROUND, 1)})
    return found.sort([("ledger.strand", 1), ("ledger.number", 1)])


class _Walk:
    """Along one strand, line by line. `unmade` are lines without an event, by number: the next is sealed to them."""

    def __init__(self, key: bytes, strand: str, note: Document, unmade: Mapping[int, _Without]) -> None:
        self._key, self._strand, self._note, self._unmade = key, strand, note, {**unmade}
        self.lines = 0
        self.noted: int = note.get("number", 0)
        left = note.get("forgotten") or {"number": 0, "seal": beginning(key, strand)}
        self._number: int = left["number"]
        self._seal: bytes = left["seal"]
        self.forgotten = self._number

    def begin(self) -> Iterator[Break]:
        """Whether retention took what lies before."""
        if self.forgotten:
            left = self._note["forgotten"]
            if left.get("taken") != sealed_forgotten(self._key, self._strand, self._number, self._seal):
                reason = f"and all up to {self.forgotten} are missing, and no retention with this key took them"
                yield Break(self._strand, 1, reason)

    def over(self, number: int) -> Iterator[Break]:
        """What lies before this number and has no event."""
        while self._number + 1 < number and (found := self._unmade.pop(self._number + 1, None)) is not None:
            self._number += 1
            self._seal = found.row.seal or b""
            yield self._without(found)

    def step(self, document: Document) -> Break | None:
        place = document["ledger"]
        self._number += 1
        self._come_to(place["number"])
        if place["number"] != self._number:
            found, self._number = self._number, place["number"]
            return Break(self._strand, found, f"is missing: the line after the one before it is {place['number']}")
        seal = sealed(self._key, self._seal, self._number, place["line"])
        event = sealed_event(self._key, seal, unpack(document["body"]))
        if seal != place["seal"] or event != place["event"]:
            return Break(self._strand, self._number, "is not as it was written, or the key is another one")
        if not _is_around(document):
            return Break(
                self._strand,
                self._number,
                "is as it was written, and its document gives it another id, version or time",
            )
        self._seal = seal
        self.lines += 1
        differs = self.noted == self._number and self._note["seal"] != seal
        return Break(self._strand, self._number, "is not what was noted when it was written") if differs else None

    def _come_to(self, number: int) -> None:
        """There is an event: another server could make it. What is not as it was written is beside its line."""
        if (found := self._unmade.get(number)) is not None and found.row.intact:
            del self._unmade[number]

    def end(self) -> Iterator[Break]:
        yield from self.over(max([self.noted, *self._unmade]) + 1)
        if self.noted > self._number:
            reason = f"and all up to {self.noted} are missing: the end was cut off"
            yield Break(self._strand, self._number + 1, reason)

    def rest(self) -> Iterator[Break]:
        """What has no event and was not come to."""
        for number in sorted(self._unmade):
            yield self._without(self._unmade[number])

    def _without(self, found: _Without) -> Break:
        reason = "was changed before an event was made of it, or the key is another one"
        if found.row.seal is None and found.row.line is not None:
            reason = "is a line without a seal: it was put in, or its seal was taken out"
        if found.row.intact:
            reason = f"is as it was written, and no event could be made of it: {found.cause}"
        return Break(self._strand, found.row.number, reason)


def _is_around(document: Document) -> bool:
    """Whether the document of an event has the id, the version and the time that its body says.

    Index values are not compared: they are made again by who indexes again.
    """
    said = json.resource(unpack(document["body"]))
    time = dates.parse(said["meta"]["lastUpdated"]).low
    around = {"_id": said["id"], "version": 1, "updated": time}
    return {key: value for key, value in document.items() if key not in ("body", "ledger")} == around


async def forget(store: Store, key: bytes, before: datetime) -> int:
    """Retention: take away the lines that are older, from the beginnings of their strands. How many events.

    What comes after something younger stays, whatever its time: a clock may have gone wrong for a while.
    Lines without an event go with the events after them, or by their own time, where they are as they were written. A
    group of lines goes whole: while it is here, events of its lines are made again where there are none.
    """
    await store.caught_up(AUDIT_EVENT)
    unmade: dict[str, dict[int, bool | None]] = defaultdict(dict)  # whether each is old, where it can be trusted
    for each in store.late[AUDIT_EVENT].unmade if AUDIT_EVENT in store.late else ():
        at = each.mark.at if each.intact else None
        unmade[each.strand][each.number] = None if at is None else at < before
    old = {"updated": {"$lt": before}}
    strands = dict.fromkeys([*await store[AUDIT_EVENT].distinct("ledger.strand", old), *unmade])
    return sum([await _forget(store, key, strand, before, unmade.get(strand, {})) for strand in strands])


async def _forget(store: Store, key: bytes, strand: str, before: datetime, lacking: Mapping[int, bool | None]) -> int:
    groups = [[*rows(b"", group)] async for group in store[LINES].find({"_id.strand": strand}).sort("_id", 1)]
    unmade = {number for number, old in lacking.items() if old}
    young = {"ledger.strand": strand, "updated": {"$gte": before}}
    first = await store[AUDIT_EVENT].find_one(young, {"ledger": 1}, sort=[("ledger.number", 1)])
    kept = [number for number, old in lacking.items() if old is False]
    if first is not None:
        kept.append(first["ledger"]["number"])
    # events are not made in the order of their lines: what was written since stays
    kept += [group[0].number for group in groups if all(row.number not in lacking for row in group)]
    below = min(kept, default=sys.maxsize)
    left = await _left(store, strand, unmade, groups, below)
    while left is not None and (split := _split(groups, left.number)) is not None:
        left = await _left(store, strand, unmade, groups[:split], min(below, groups[split][0].number))
    if left is None:
        return 0
    taken = {**left._asdict(), "taken": sealed_forgotten(key, strand, left.number, left.seal)}
    await store[CHECKPOINTS].update_one({"_id": strand}, {"$set": {"forgotten": taken}}, upsert=True)
    await store[LINES].delete_many({"_id.strand": strand, "_id.number": {"$lte": left.number}})
    beyond = {"ledger.strand": strand, "ledger.number": {"$lte": left.number}}
    return (await store[AUDIT_EVENT].delete_many(beyond)).deleted_count


def _split(groups: Sequence[Sequence[Row]], number: int) -> int | None:
    """Which group begins up to a number and ends beyond it."""
    found = (at for at, group in enumerate(groups) if group[0].number <= number < group[-1].number)
    return next(found, None)


async def _left(
    store: Store,
    strand: str,
    unmade: Container[int],
    groups: Sequence[Sequence[Row]],
    below: int,
) -> Place | None:
    """Up to where a strand is old: its last event below a number, and what follows that and has none."""
    wanted = {"ledger.strand": strand, "ledger.number": {"$lt": below}}
    last = await store[AUDIT_EVENT].find_one(wanted, {"ledger": 1}, sort=[("ledger.number", -1)])
    place = None if last is None else Place(last["ledger"]["number"], last["ledger"]["seal"])
    note = await _note(store, strand)
    number = place.number if place is not None else note.get("forgotten", {"number": 0})["number"]
    for row in [each for group in groups for each in group]:
        if row.number == number + 1 and row.number in unmade and row.seal is not None:
            number, place = row.number, Place(row.number, row.seal)
    return place
