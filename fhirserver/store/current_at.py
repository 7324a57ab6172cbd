"""Which versions were current at some point of a period, newest first: of types, from a place on, as far as wanted.

Of a resource those are all that were written later than the period began, and the newest of the others. Places are
walked without bodies, and of an earlier version it is asked whether another had followed by then: what followed each
of them is never worked out. https://hl7.org/fhir/R4/http.html#history, `_at`
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import NamedTuple

from fhirserver.store.finds import Branch
from fhirserver.store.places import Bounds, Place, Span, collection, first, shown, version_key
from fhirserver.store.resources import Store
from fhirserver.store.union import IN_ONE_BATCH, union
from fhirserver.store.versions import Document

FEWEST = 10  # places that are read of a collection at a time
FARTHER = 4  # times as many are read each time that those before were used up
TOGETHER = IN_ONE_BATCH - 1  # a full batch does not tell that it is the last


class Row(NamedTuple):
    """A place, and whether an earlier version was read there."""

    place: Place
    past: bool


Key = tuple[str, bool, object]
"""A type, whether among earlier versions, and the `_id` there."""


class _Front:
    """How far one collection was walked: what was read and not yet used, in order, and whether there is more."""

    def __init__(self, type_: str, past: bool, bounds: Bounds, after: Place | None, size: int) -> None:
        self.type = type_
        self.past = past
        self.bounds = bounds
        self.after = after
        self.size = size
        self.rows: list[Row] = []
        self.more = True

    def branch(self, span: Span, limit: int, number: int) -> Branch:
        """The next ones, with a number to tell them by; of the past no more than the index on updated and _id holds."""
        fields = {"_id": 1, "updated": 1, "front": {"$literal": number}, **({} if self.past else {"version": 1})}
        stages = first(self.type, self.past, self.bounds, span, self.after, limit)
        return collection(self.type, self.past), [*stages, {"$project": fields}]

    def add(self, documents: Sequence[Document], limit: int) -> None:
        self.rows = [Row(self._place(each), self.past) for each in documents]
        self.more = len(documents) == limit
        self.size *= FARTHER
        if documents:
            self.after = self.rows[-1].place

    def _place(self, document: Document) -> Place:
        id_, version = (*document["_id"].values(),) if self.past else (document["_id"], document["version"])
        return Place(document["updated"].replace(tzinfo=UTC), id_, version, self.type)


async def current_from(
    low: datetime, store: Store, types: Mapping[str, Bounds], limit: int, span: Span, after: Place | None
) -> list[Row]:
    """At most `limit`, those current between `low` and the end of the span, a place once."""
    kept: dict[Place, bool] = {}
    size = max(FEWEST, limit // max(len(types), 1))
    fronts = [_Front(type_, past, bounds, after, size) for type_, bounds in types.items() for past in (False, True)]
    while len(kept) < limit and (rows := await _next(store, fronts, span)):
        current = {row.place for row in rows if not row.past}  # when it was read, whatever is written meanwhile
        ended = await _ended(low, store, [row.place for row in rows if row.place not in current])
        kept |= {place: place not in current for place, _ in rows if place not in ended}
    return [Row(*each) for each in kept.items()][:limit]


async def _next(store: Store, fronts: Sequence[_Front], span: Span) -> list[Row]:
    """The rows from where the last ones ended to where the first of the collections is used up that have more."""
    asked = [front for front in fronts if front.more and not front.rows]
    limits = [min(front.size, TOGETHER // len(asked)) for front in asked]
    branches = [front.branch(span, limit, at) for at, (front, limit) in enumerate(zip(asked, limits, strict=True))]
    found = defaultdict[int, list[Document]](list)
    for document in await union(store, branches, []):
        found[document["front"]].append(document)
    for at, (front, limit) in enumerate(zip(asked, limits, strict=True)):
        front.add(found[at], limit)
    end = max((front.rows[-1].place for front in fronts if front.more), default=None)
    taken: list[Row] = []
    for front in fronts:
        beyond = (at for at, row in enumerate(front.rows) if end is not None and row.place < end)
        known = next(beyond, len(front.rows))
        taken += front.rows[:known]
        front.rows = front.rows[known:]
    return sorted(taken, reverse=True)


async def _ended(low: datetime, store: Store, past: Sequence[Place]) -> frozenset[Place]:
    """Those earlier versions, of these newest first, that others had replaced by `low`."""
    until_then = [place for place in past if place.updated <= low]
    last = {(place.type, place.id): place.version for place in reversed(until_then)}  # of these
    keys = [key for (type_, id_), version in last.items() for key in _following(type_, id_, version)]
    for row in await union(store, named(keys, low, {}), []):
        key = row["type"], row["id"]
        last[key] = max(last[key], row["version"])
    return frozenset(place for place in until_then if place.version < last[place.type, place.id])


def _following(type_: str, id_: str, version: int) -> Iterator[Key]:
    yield type_, False, id_
    yield type_, True, version_key(id_, version + 1)


def again(rows: Iterable[Row]) -> Iterator[Key]:
    """Each where it was, and where it lies if it was replaced meanwhile."""
    for place, past in rows:
        yield place.type, True, version_key(place.id, place.version)
        if not past:
            yield place.type, False, place.id


def named(keys: Iterable[Key], until: datetime, fields: Document) -> list[Branch]:
    """What lies there and was written `until` then."""
    found = defaultdict[tuple[str, bool], list[object]](list)
    for type_, past, key in keys:
        found[type_, past].append(key)
    return [
        (
            collection(type_, past),
            [{"$match": {"_id": {"$in": ids}, "updated": {"$lte": until}}}, shown(type_, past, fields)],
        )
        for (type_, past), ids in sorted(found.items(), key=itemgetter(0))
    ]
