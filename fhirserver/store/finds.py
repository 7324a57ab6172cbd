"""Finds in flight share round trips, too: those of one kind, as long as that kind is quick.

A kind is a collection, the fields that are asked about, the order, and what is shown. As one command, with $unionWith,
several take half of what they take apart, of the database's time and of this server's. No quick one is to wait long for
a slow one: a round trip that fails is asked again, each find by itself, and a kind whose round trip took long goes
alone for a while (docs/adr/0015-cpu-per-request.md).
https://www.mongodb.com/docs/manual/reference/operator/aggregation/unionWith/
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bson.errors import BSONError
from pymongo.errors import PyMongoError

from fhirserver.store.documents import documents
from fhirserver.store.shared import Shared

if TYPE_CHECKING:
    from fhirserver.store.resources import Store

Document = dict[str, Any]
Sort = Sequence[tuple[str, int]]
Branch = tuple[str, list[Document]]  # a collection, and a pipeline

QUICK, LONGEST = 0.25, 0.5  # seconds of a round trip: after these a kind goes alone, after those this one is given up
ALONE, LONGEST_ALONE = 0.5, 60.0  # seconds, the first time and at most; they double until a round trip is quick
TOGETHER = 16  # in one round trip
FINDS_GATHER = 0.001  # seconds that a find waits for others where several wait anyway
FEW = 101  # values of one condition, and rows
NEVER = (0.0, 0.0)
KINDS = 1_000  # that are remembered as slow
ASKED = "asked"  # which find a row is of

log = logging.getLogger(__name__)


class Find(NamedTuple):
    """`most` bytes of bodies are enough (`store.documents`)."""

    filter: Document
    limit: int
    most: int | None = None


class Kind(Hashable, Protocol):
    """What finds have to have in common."""

    @property
    def collection(self) -> str: ...

    @property
    def sort(self) -> Sort: ...

    def shares(self, find: Find) -> bool:
        """Whether it gives few rows, in an order of what is shown, and asks about fields with a few values each."""
        ...

    def alone(self, find: Find) -> Document:
        """The command that asks for one."""
        ...

    def branches(self, find: Find, mark: Document) -> Sequence[Branch]:
        """What gives the same rows, each with a mark."""
        ...


class Ordinary(NamedTuple):
    """Finds in one collection."""

    collection: str
    fields: tuple[str, ...]
    sort: tuple[tuple[str, int], ...]
    shown: tuple[str, ...]

    def shares(self, find: Find) -> bool:
        if find.limit > FEW and "$in" not in find.filter.get("_id", ()):
            return False
        for field, _ in self.sort:
            if field != "_id" and field not in self.shown:
                return False
        for field, condition in find.filter.items():
            if field[0] == "$":
                return False
            if isinstance(condition, dict):
                for each in condition.values():
                    if isinstance(each, list) and len(each) > FEW:
                        return False
        return True

    def alone(self, find: Find) -> Document:
        return {
            "find": self.collection,
            "filter": find.filter,
            "sort": dict(self.sort),
            "limit": find.limit,
            "projection": dict.fromkeys(self.shown, 1),
            "batchSize": find.limit + 1,  # a full one leaves a cursor, which costs two more round trips
        }

    def branches(self, find: Find, mark: Document) -> Sequence[Branch]:
        shown: Document = {**dict.fromkeys(self.shown, 1), **mark}
        found: list[Document] = [{"$match": find.filter}, {"$sort": dict(self.sort)}, {"$limit": find.limit}]
        return ((self.collection, [*found, {"$project": shown}]),)


class Finds:
    """`ask` gives the documents of one find, which may share its way to the database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shared: Shared[Kind, Find, list[Document]] = Shared(self._together, LONGEST, TOGETHER, pause=FINDS_GATHER)
        self._slow: dict[Kind, tuple[float, float]] = {}  # until when they go alone, and how long that is

    async def ask(self, kind: Kind, find: Find) -> list[Document]:
        if not kind.shares(find) or self._slow.get(kind, NEVER)[0] > monotonic():
            return await _alone(self._store, kind, find)
        try:
            return await self._shared(kind, find)
        except (PyMongoError, BSONError, OverflowError) as error:  # of whichever it was
            log.debug("finds in %s go alone: %s", kind.collection, error)
            self._leave_alone(kind)
        return await _alone(self._store, kind, find)

    async def _together(self, kind: Kind, finds: list[Find]) -> list[list[Document]]:
        began = monotonic()
        found = [await _alone(self._store, kind, finds[0])] if len(finds) == 1 else await self._union(kind, finds)
        if monotonic() - began > QUICK:
            self._leave_alone(kind)
        else:
            self._slow.pop(kind, None)
        return found

    async def _union(self, kind: Kind, finds: list[Find]) -> list[list[Document]]:
        marked = [kind.branches(find, {ASKED: {"$literal": number}}) for number, find in enumerate(finds)]
        branches = [branch for each in marked for branch in each]
        most = sum(find.limit * len(each) for find, each in zip(finds, marked, strict=True))
        command = joined(branches, {ASKED: 1, **dict(kind.sort)}, most)
        found: list[list[Document]] = [[] for _ in finds]
        for document in await documents(self._store, command, at_once=True):
            found[document.pop(ASKED)].append(document)
        return found

    def _leave_alone(self, kind: Kind) -> None:
        """From now on; whoever else was in the same round trip says so in vain."""
        until, seconds = self._slow.get(kind, NEVER)
        if until > (now := monotonic()):
            return
        if len(self._slow) >= KINDS:
            self._slow.clear()
        seconds = min(2 * seconds, LONGEST_ALONE) or ALONE
        self._slow[kind] = now + seconds, seconds


async def rows(store: Store, collection: str, find: Find, sort: Sort, shown: Iterable[str]) -> list[Document]:
    """The documents of one find with `_id` and what is to be shown, in order."""
    return await asked(store, Ordinary(collection, tuple(find.filter), tuple(sort), tuple(shown)), find)


async def asked(store: Store, kind: Kind, find: Find) -> list[Document]:
    """The same of whatever kind."""
    if store.session is not None or store.trace is not None or store.comment is not None:
        return await _alone(store, kind, find)
    return await store.finds.ask(kind, find)


async def _alone(store: Store, kind: Kind, find: Find) -> list[Document]:
    return await documents(store, kind.alone(find), most=find.most)


def joined(branches: Sequence[Branch], sort: Document, most: int) -> Document:
    """The command that asks for all of these, sorted: at most so many rows."""
    collection, pipeline = unioned(branches)
    cursor = {"batchSize": most + 1}  # a full one leaves a cursor that has no more
    return {"aggregate": collection, "pipeline": [*pipeline, {"$sort": sort}], "cursor": cursor}


def unioned(branches: Sequence[Branch]) -> Branch:
    """All of them as one."""
    (collection, first), *others = branches
    return collection, [*first, *({"$unionWith": {"coll": each, "pipeline": rest}} for each, rest in others)]
