"""A record in one round trip: the resource that it is about, and what lies in its compartment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pymongo

from fhirserver.store.faults import within_budget
from fhirserver.store.resources import Document, Store
from fhirserver.store.union import union

FEW, TOGETHER = 4, 32  # collections in one round trip: a page of 50 is mostly full after the first few
OF_A_TYPE = 25  # resources of one type that a record may well have
FOCUS = {"body": 1, "updated": 1, "deleted": 1, "compartments": 1}
Place = tuple[str, str]


class Record(NamedTuple):
    """`focus` is the document that the record is about, if there is one; `rows` are (type, id, body as stored)."""

    focus: Document | None
    rows: list[tuple[str, str, bytes]]


async def record(
    store: Store, focus: Place, filters: Mapping[str, Document], limit: int, after: Place | None = None
) -> Record:
    """The focus, also a deleted one, and at most `limit` others that match, after (type, id), in that order."""
    types = [type_ for type_ in sorted(filters) if after is None or type_ >= after[0]]
    filters = {**filters, focus[0]: {"$and": [filters.get(focus[0], {}), {"_id": {"$ne": focus[1]}}]}}
    shown = FOCUS | {"type": {"$literal": ""}}  # before all types
    first: Sequence[tuple[str, list[Document]]] = [(focus[0], [{"$match": {"_id": focus[1]}}, {"$project": shown}])]
    found: list[Document] = []
    about: Document | None = None
    at, ahead = 0, min(max(FEW, limit // OF_A_TYPE), TOGETHER)
    with pymongo.timeout(store.search_ms / 1000), within_budget():
        while first or at < len(types):
            room = limit - len(found)
            branches = [_branch(type_, filters[type_], room, after) for type_ in types[at : at + ahead]]
            at, ahead = at + ahead, min(2 * ahead, TOGETHER)
            merge: list[Document] = [{"$sort": {"type": 1, "_id": 1}}, {"$limit": room + len(first)}]
            documents = await union(store, [*first, *branches], merge)
            if first and documents and not documents[0]["type"]:
                about = documents.pop(0)
            found += documents[:room]
            first = ()
            if about is None or len(found) == limit:
                break
    return Record(about, [(document["type"], document["_id"], document["body"]) for document in found])


async def referred(store: Store, filters: Mapping[str, Document], limit: int) -> list[tuple[str, str, bytes]]:
    """At most `limit` (type, id, body as stored) that match the filter of their type, in one round trip."""
    branches = [_branch(type_, filter_, limit, None) for type_, filter_ in sorted(filters.items())]
    with pymongo.timeout(store.search_ms / 1000), within_budget():
        documents = await union(store, branches, [{"$limit": limit}])
    return [(document["type"], document["_id"], document["body"]) for document in documents]


def _branch(type_: str, filter_: Document, limit: int, after: Place | None) -> tuple[str, list[Document]]:
    """(collection, pipeline): at most `limit` of a type that match, by id."""
    if after is not None and type_ == after[0]:
        filter_ = {"$and": [filter_, {"_id": {"$gt": after[1]}}]}
    shown = {"body": 1, "type": {"$literal": type_}}
    return type_, [{"$match": filter_}, {"$sort": {"_id": 1}}, {"$limit": limit}, {"$project": shown}]
