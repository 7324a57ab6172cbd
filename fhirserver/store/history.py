"""The versions of resources, newest first: of one resource, of a type, of everything.

Current versions and earlier ones lie in two collections per type. Of one resource the earlier ones are a range of
`_id`; of many, one aggregation merges the two.
https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from bson import MaxKey, MinKey

from fhirserver.fhir.outcome import Outcome
from fhirserver.store.budget import Budget
from fhirserver.store.finds import FEW, Branch, Find, asked, joined, rows
from fhirserver.store.resources import Store
from fhirserver.store.schema import history_of
from fhirserver.store.union import union
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
    if not types:
        return []
    whole = span.high is not None  # which version was current needs all versions before it
    if whole and store.session is not None:
        raise Outcome(400, "not-supported", "a history with _at is not read inside a transaction")
    branches = [
        (
            history_of(type_) if past else type_,
            list(_branch(type_, past, bounds, span, None if whole else after, COPIES * limit)),
        )
        for type_, bounds in types.items()
        for past in (False, True)
    ]
    merge: list[dict[str, Any]] = []
    if whole:
        merge += _current_between(span)
        if after is not None:
            merge.append({"$match": {"$expr": {"$lt": [["$updated", "$id", "$version", "$type"], list(after)]}}})
    merge += [{"$sort": {"updated": -1, "id": -1, "version": -1, "type": -1}}, {"$limit": COPIES * limit}]
    together = store.session is None  # else what comes between would be missed where a branch ends early
    with Budget(store):
        rows = await union(store, branches, merge, most=COPIES * most if together else None)
    if not together:
        rows.sort(key=itemgetter("updated", "id", "version", "type"), reverse=True)
    unique = {(row["type"], row["id"], row["version"]): row for row in rows}
    return [stored(row["type"], row | {"_id": row["id"]}) for row in unique.values()][:limit]


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


def _branch(
    type_: str, past: bool, bounds: Bounds, span: Span, after: Place | None, limit: int
) -> Iterator[dict[str, Any]]:
    parts = [each for each in (bounds.past if past else bounds.current, _written(span)) if each]
    if after is not None:
        parts.append(_below(after, type_, past))
    yield {"$match": {"$and": parts} if parts else {}}
    if span.high is None:
        yield {"$sort": {"updated": -1, "_id": -1}}
        yield {"$limit": limit}
    names = {"id": "$_id.id", "version": "$_id.version"} if past else {"id": "$_id", "version": "$version"}
    yield {"$project": BODY | names | {"_id": 0, "type": {"$literal": type_}}}


def _below(after: Place, type_: str, past: bool) -> Document:
    """Rows of this collection that come later in the order; its index on updated and _id gives them in one range."""
    version = {"$lte" if type_ < after.type else "$lt": after.version}
    if past:
        operator = "$lte" if type_ < after.type else "$lt"
        same_time: Document = {"_id": {operator: {"id": after.id, "version": after.version}}}
    else:
        same_time = {"$or": [{"_id": {"$lt": after.id}}, {"_id": after.id, "version": version}]}
    return {"$or": [{"updated": {"$lt": after.updated}}, {"updated": after.updated, **same_time}]}


def _current_between(span: Span) -> list[dict[str, Any]]:
    """https://hl7.org/fhir/R4/http.html#history, `_at`: versions that were current at some point of the period."""
    following = {"$shift": {"output": "$updated", "by": 1}}
    return [
        {
            "$setWindowFields": {
                "partitionBy": {"type": "$type", "id": "$id"},
                "sortBy": {"version": 1},
                "output": {"next": following},
            }
        },
        {"$match": {"$or": [{"next": None}, {"next": {"$gt": span.low}}]}},
    ]
