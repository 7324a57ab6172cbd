"""The ledger: what happened, line by line, each sealed to the one before it, so that none is changed, taken out or put
in unseen.

A strand is what one server process wrote, in its order. The seal of a line is HMAC-SHA-256 over the seal before it, its
number and the digest of its text; without the key nobody can make one. Where a strand stands is noted now and then (a
checkpoint), in the database and in the log, so that a strand whose end was cut off is found out. Lines of requests in
flight at the same moment are one document, written by one command; where a write failed, another strand goes on. The
AuditEvents that are made of the lines take their places and seals (store/outstanding.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import uuid4

from pymongo.errors import DocumentTooLarge

from fhirserver.store.mirror import LARGEST, Encoded, encoded
from fhirserver.store.outstanding import LINES, Outstanding
from fhirserver.store.resources import Store
from fhirserver.store.schema import AUDIT_EVENT
from fhirserver.store.seals import beginning, digest_of, sealed
from fhirserver.store.shared import Shared

CHECKPOINTS = "audit.strands"
CHECKPOINT_LINES, CHECKPOINT_SECONDS = 1_000, 60.0
PAUSE = 0.003  # seconds in which lines gather, where several wait
LARGEST_LINE = LARGEST - 100_000  # bytes: what is around it goes into the same document
LARGEST_GROUP = 4_000_000  # bytes of lines in one document, unless it is one line

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """How far something goes in a strand, with the seal there."""

    number: int
    seal: bytes


class Ledger:
    """Of one process. `add` returns when the lines are stored by a majority; `run` notes where it stands."""

    def __init__(self, store: Store, key: bytes, outstanding: Outstanding) -> None:
        self.outstanding = outstanding
        self._store = store
        self._key = key
        self._lines: Shared[str, Sequence[bytes], bool] = Shared(self._write, store.timeout, pause=PAUSE)
        self._stands: dict[str, Place] = {}  # strands of which more is stored than was noted
        self._begin()

    def _begin(self) -> None:
        self._strand, self._number, self._noted = uuid4().hex, 0, 0
        self._seal = beginning(self._key, self._strand)

    async def run(self) -> None:
        """Note where strands stand, in turn with what is written; it asks for no lines."""
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            try:
                await self._lines(LINES, ())
            except Exception as error:  # of whoever wrote together with it, too
                log.warning("where the strands of the audit ledger stand is not noted yet: %s", error)

    async def add(self, lines: Sequence[bytes]) -> None:
        if any(len(line) > LARGEST_LINE for line in lines):  # before others go with it
            raise DocumentTooLarge(f"an audit event of more than {LARGEST_LINE:,} bytes")
        await self._store.ensure(AUDIT_EVENT)
        await self.outstanding.room()
        await self._lines(LINES, lines)

    async def _write(self, collection: str, asked: list[Sequence[bytes]]) -> Sequence[bool]:
        lines = [line for each in asked for line in each]
        try:
            for group in _groups(lines):
                await self._store[collection].insert_one(self._sealed(group))
                self._stands[self._strand] = Place(self._number, self._seal)
        except BaseException:  # what became of the lines is not known: the strand ends here, whatever the error
            self._begin()
            raise
        if lines:
            self.outstanding.added(len(lines))
        if self._number - self._noted >= CHECKPOINT_LINES or () in asked:
            await self.checkpoint()
        return [True] * len(asked)

    def _sealed(self, lines: list[bytes]) -> Encoded:
        first, before, seals = self._number + 1, self._seal, []
        for line in lines:
            self._number += 1
            self._seal = sealed(self._key, self._seal, self._number, digest_of(line))
            seals.append(self._seal)
        place = {"strand": self._strand, "number": first}
        return encoded({"_id": place, "before": before, "lines": lines, "seals": seals})

    async def checkpoint(self) -> None:
        """Note where strands stand; called too when the server ends."""
        for strand, place in [*self._stands.items()]:
            await self._store[CHECKPOINTS].update_one({"_id": strand}, {"$set": place._asdict()}, upsert=True)
            log.info("audit strand %s stands at %d with seal %s", strand, place.number, place.seal.hex())
            del self._stands[strand]
        self._noted = self._number


def _groups(lines: list[bytes]) -> Iterator[list[bytes]]:
    """As many together as one document holds."""
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and size + len(line) > LARGEST_GROUP:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line)
    if group:
        yield group
