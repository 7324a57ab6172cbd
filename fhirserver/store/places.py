"""Where the versions of resources lie, and which of them are asked for: current ones and earlier ones in two
collections per type, each read in one order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from fhirserver.store.schema import history_of
from fhirserver.store.versions import Document


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


def collection(type_: str, past: bool) -> str:
    return history_of(type_) if past else type_


def version_key(id_: str, version: object) -> Document:
    """The `_id` of an earlier version."""
    return {"id": id_, "version": version}


def written(span: Span) -> Document:
    bounds = {"$gte": span.since, "$lt": span.high}
    known = {operator: time for operator, time in bounds.items() if time is not None}
    return {"updated": known} if known else {}


def first(type_: str, past: bool, bounds: Bounds, span: Span, after: Place | None, limit: int) -> Iterator[Document]:
    """Stages: the first so many of a collection, or the first below a place."""
    parts = [each for each in (bounds.past if past else bounds.current, written(span)) if each]
    if after is not None:
        parts.append(_below(after, type_, past))
    yield {"$match": {"$and": parts} if parts else {}}
    yield {"$sort": {"updated": -1, "_id": -1}}
    yield {"$limit": limit}


def shown(type_: str, past: bool, fields: Document) -> Document:
    """Stage: what makes a `Place`, and more."""
    names = {"id": "$_id.id", "version": "$_id.version"} if past else {"id": "$_id", "version": "$version"}
    return {"$project": {**fields, "updated": 1, **names, "_id": 0, "type": {"$literal": type_}}}


def _below(after: Place, type_: str, past: bool) -> Document:
    """Rows of this collection that come later in the order; its index on updated and _id gives them in one range."""
    version = {"$lte" if type_ < after.type else "$lt": after.version}
    if past:
        operator = "$lte" if type_ < after.type else "$lt"
        same_time: Document = {"_id": {operator: {"id": after.id, "version": after.version}}}
    else:
        same_time = {"$or": [{"_id": {"$lt": after.id}}, {"_id": after.id, "version": version}]}
    return {"$or": [{"updated": {"$lt": after.updated}}, {"updated": after.updated, **same_time}]}
