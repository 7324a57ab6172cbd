"""The versions of resources, newest first: of one resource, of a type, of everything.

Current versions and earlier ones lie in two collections per type. Of one resource the earlier ones are a range of
`_id`; of many, one aggregation merges the two.
https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from bson import MaxKey, MinKey

from fhirserver.store.budget import Budget
from fhirserver.store.finds import FEW, Branch, Find, asked, joined, rows
from fhirserver.store.resources import Store
from fhirserver.store.schema import history_of
from fhirserver.store.union import IN_ONE_BATCH, union
from fhirserver.store.versions import BODY, Document, Stored, stored


class Place(NamedTuple):
    """A row of a history: the next page continues below it. Order: updated, id, version, type, all descending."""

    updated: datetime
    id: str
    version: int
    type: str


class Bounds(NamedTuple):
    """Filters of where to look: among current documents, and among earlier versions."""

    current: Mapping[str, Any] = MappingProxyType({})
    past: Mapping[str, Any] = MappingProxyType({})


class Span(NamedTuple):
    """`since`: written at or after it. `low`, `high`: current at some instant between the two."""

    since: datetime | None = None
    low: datetime | None = None
    high: datetime | None = None


NO_SPAN = Span()
COPIES = 2  # of a version at most: a crash may leave one behind
FARTHER = 4  # times as many places are walked each time that those before were too few
FARTHEST = IN_ONE_BATCH - 1  # at a time: a full batch does not tell that it is the last

Key = tuple[str, bool, object]
"""A type, whether among earlier versions, and the `_id` there."""


async def history(
    store: Store,
    types: Mapping[str, Bounds],
    limit: int,
    *,
    span: Span,
    most: int,
    after: Place | None = None,
) -> list[Stored]:
    """At most `limit` versions of resources of these types, or more than `most` bytes of bodies (`store.documents`).

    In a transaction all of the `limit` come. A copy that a crash left behind shows once.
    """
    with Budget(store):
        if span.low is None:
            branches = _branches(types, span, after, COPIES * limit, BODY)
            rows = await _merged(store, branches, COPIES * limit, COPIES * most)
        else:
            places = await _current_from(span.low, store, types, limit, span, after)
            newest = max((place.updated for place in places), default=span.low)
            branches = _named(_again(places), newest, BODY)
            rows = await _merged(store, branches, COPIES * limit, COPIES * most)
            rows = [row for row in rows if _place(row) in places]  # and none that came meanwhile
    unique = {(row["type"], row["id"], row["version"]): row for row in rows}
    return [stored(row["type"], row | {"_id": row["id"]}) for row in unique.values()][:limit]


async def _merged(store: Store, branches: Sequence[Branch], limit: int, most: int | None = None) -> list[Document]:
    """The first of all branches, each in the order of `Place`."""
    together = store.session is None  # else what comes between would be missed where a branch ends early
    merge: list[Document] = [{"$sort": dict.fromkeys(Place._fields, -1)}, {"$limit": limit}]
    rows = await union(store, branches, merge, most=most if together else None)
    if not together:
        rows.sort(key=itemgetter(*Place._fields), reverse=True)
    return rows[:limit]


async def _current_from(
    low: datetime, store: Store, types: Mapping[str, Bounds], limit: int, span: Span, after: Place | None
) -> Mapping[Place, bool]:
    """Where the versions lie that were current at some point between `low` and the end of the span; which are past now.

    Of a resource those are all that were written later than `low`, and the newest of the others. Places are walked from
    the newest on, without bodies and as far as a page needs: what follows all versions is never worked out.
    https://hl7.org/fhir/R4/http.html#history, `_at`
    """
    kept: dict[Place, bool] = {}
    size = COPIES * limit
    while True:
        rows = await _merged(store, _branches(types, span, after, size, {}), size)
        places = [_place(row) for row in rows]
        current = {place for place, row in zip(places, rows, strict=True) if not row["past"]}  # when it was read
        ended = await _ended_by(low, store, [place for place in places if place not in current])
        for place, row in zip(places, rows, strict=True):
            if place not in ended:
                kept[place] = row["past"] and kept.get(place, True)
        if len(kept) >= limit or len(places) < size:
            return dict([*kept.items()][:limit])
        after, size = places[-1], min(FARTHER * size, FARTHEST)


async def _ended_by(low: datetime, store: Store, past: Sequence[Place]) -> frozenset[Place]:
    """Those earlier versions, of these newest first, that others had replaced by then."""
    until_then = [place for place in past if place.updated <= low]
    first = {(place.type, place.id): place for place in reversed(until_then)}
    newest = {key: place.version for key, place in first.items()}
    for row in await union(store, _named(_following(first.values()), low, {}), []):
        key = row["type"], row["id"]
        newest[key] = max(newest[key], row["version"])
    return frozenset(place for place in until_then if place.version < newest[place.type, place.id])


def _following(places: Iterable[Place]) -> Iterator[Key]:
    for place in places:
        yield place.type, False, place.id
        yield place.type, True, _version(place.id, place.version + 1)


def _again(places: Mapping[Place, bool]) -> Iterator[Key]:
    """Each where it was, and where it lies if it was replaced meanwhile."""
    for place, past in places.items():
        yield place.type, True, _version(place.id, place.version)
        if not past:
            yield place.type, False, place.id


def _named(keys: Iterable[Key], until: datetime, shown: Document) -> list[Branch]:
    """What lies there and was written `until` then."""
    found = defaultdict[tuple[str, bool], list[object]](list)
    for type_, past, key in keys:
        found[type_, past].append(key)
    return [
        (
            _collection(type_, past),
            [{"$match": {"_id": {"$in": ids}, "updated": {"$lte": until}}}, _shown(type_, past, shown)],
        )
        for (type_, past), ids in sorted(found.items(), key=itemgetter(0))
    ]


def _collection(type_: str, past: bool) -> str:
    return history_of(type_) if past else type_


class Newest(NamedTuple):
    """Finds of the newest versions of a resource: its current one, and those before, in one round trip."""

    collection: str
    sort: tuple[tuple[str, int], ...] = (("version", -1),)

    def shares(self, find: Find) -> bool:
        return find.limit <= FEW

    def alone(self, find: Find) -> Document:
        return joined(self.branches(find, {}), dict(self.sort), COPIES * find.limit)

    def branches(self, find: Find, mark: Document) -> Sequence[Branch]:
        id_ = find.filter["_id"]
        current: list[Document] = [{"$match": find.filter}, {"$project": {**BODY, **mark}}]
        past: Document = {"_id": {"$gte": _version(id_, MinKey()), "$lt": _version(id_, MaxKey())}}
        named: Document = {"_id": "$_id.id", "version": "$_id.version"}
        shown: Document = {"$project": {**BODY, **named, **mark}}
        earlier: list[Document] = [{"$match": past}, {"$sort": {"_id": -1}}, {"$limit": find.limit}, shown]
        return (self.collection, current), (history_of(self.collection), earlier)


async def newest_of_one(store: Store, type_: str, id_: str, limit: int, *, most: int) -> list[Stored]:
    """At most `limit` versions of a resource, newest first, or more than `most` bytes; none where there is no such.

    In no transaction, and in a `Budget`.
    """
    await store.caught_up(type_)
    found = await asked(store, Newest(type_), Find({"_id": id_}, limit, COPIES * most))
    unique = {row["version"]: row for row in found}  # a copy of the current one may lie there since a crash
    return [stored(type_, row) for row in unique.values()][:limit]


async def history_of_one(
    store: Store, current: Stored, limit: int, *, most: int, span: Span = NO_SPAN, after: Place | None = None
) -> list[Stored]:
    """At most `limit` versions of one, from the current one down or below a place, or more than `most` bytes."""
    if after is not None and span.low is not None and after.updated <= span.low:
        return []
    newest = [current] if after is None and _within(span, current.updated) else []
    below = min(after.version if after else current.version, current.version)
    found = newest
    if below > 1 and len(newest) < limit:  # a copy of the current one may lie there since a crash
        found = newest + await _earlier(store, current, below, limit - len(newest), most, span)
    if span.low is None:
        return found
    at = next((place for place, version in enumerate(found) if version.updated <= span.low), limit)
    return found[: at + 1]  # what was current when it began, and nothing before


def _within(span: Span, time: datetime) -> bool:
    return (span.since is None or time >= span.since) and (span.high is None or time < span.high)


async def _earlier(store: Store, current: Stored, below: int, limit: int, most: int, span: Span) -> list[Stored]:
    """A range of the index on `_id`."""
    type_, id_ = current.type, current.id
    filter_: Document = {"_id": {"$gte": _version(id_, MinKey()), "$lt": _version(id_, below)}}
    filter_ |= _written(span)
    with Budget(store):
        found = await rows(store, history_of(type_), Find(filter_, limit, most), (("_id", -1),), BODY)
    return [stored(type_, row | {"_id": id_, "version": row["_id"]["version"]}) for row in found]


def _version(id_: str, version: object) -> Document:
    return {"id": id_, "version": version}


def _written(span: Span) -> Document:
    bounds = {"$gte": span.since, "$lt": span.high}
    known = {operator: time for operator, time in bounds.items() if time is not None}
    return {"updated": known} if known else {}


def _branches(
    types: Mapping[str, Bounds], span: Span, after: Place | None, limit: int, shown: Document
) -> list[Branch]:
    """Of each collection at most so many versions, the newest."""
    return [
        (
            _collection(type_, past),
            list(_branch(type_, past, bounds, span, after, limit, shown)),
        )
        for type_, bounds in types.items()
        for past in (False, True)
    ]


def _branch(
    type_: str, past: bool, bounds: Bounds, span: Span, after: Place | None, limit: int, shown: Document
) -> Iterator[Document]:
    parts = [each for each in (bounds.past if past else bounds.current, _written(span)) if each]
    if after is not None:
        parts.append(_below(after, type_, past))
    yield {"$match": {"$and": parts} if parts else {}}
    yield {"$sort": {"updated": -1, "_id": -1}}
    yield {"$limit": limit}
    yield _shown(type_, past, shown)


def _shown(type_: str, past: bool, shown: Document) -> Document:
    """What makes a `Place`, and more."""
    names = {"id": "$_id.id", "version": "$_id.version"} if past else {"id": "$_id", "version": "$version"}
    return {"$project": {**shown, "updated": 1, **names, "_id": 0, **_literally(type=type_, past=past)}}


def _literally(**values: object) -> Document:
    return {name: {"$literal": value} for name, value in values.items()}


def _place(row: Document) -> Place:
    return Place(row["updated"].replace(tzinfo=UTC), row["id"], row["version"], row["type"])


def _below(after: Place, type_: str, past: bool) -> Document:
    """Rows of this collection that come later in the order; its index on updated and _id gives them in one range."""
    version = {"$lte" if type_ < after.type else "$lt": after.version}
    if past:
        operator = "$lte" if type_ < after.type else "$lt"
        same_time: Document = {"_id": {operator: {"id": after.id, "version": after.version}}}
    else:
        same_time = {"$or": [{"_id": {"$lt": after.id}}, {"_id": after.id, "version": version}]}
    return {"$or": [{"updated": {"$lt": after.updated}}, {"updated": after.updated, **same_time}]}
