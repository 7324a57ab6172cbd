"""Current resources of several types in one round trip, in one order: by type, then by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pymongo

from fhirserver.store.faults import within_budget
from fhirserver.store.resources import BODY, Document, Store

TOGETHER = 8  # collections in the first round trip


async def find_across(
    store: Store,
    filters: Mapping[str, Document],
    limit: int,
    *,
    after: tuple[str, str] | None = None,
    fields: Iterable[str] = (),
) -> list[tuple[str, Document]]:
    """At most `limit` (type, document) pairs that match the filter of their type and come after (type, id).

    The first types are asked first, and twice as many each time: a page that they fill costs the others nothing.
    """
    types = [type_ for type_ in sorted(filters) if after is None or type_ >= after[0]]
    found: list[tuple[str, Document]] = []
    at, together = 0, TOGETHER
    with pymongo.timeout(store.search_ms / 1000), within_budget():
        while at < len(types) and len(found) < limit:
            room = limit - len(found)
            branches = [_branch(type_, filters[type_], room, after, fields) for type_ in types[at : at + together]]
            documents = await union(store, branches, [{"$sort": {"type": 1, "_id": 1}}, {"$limit": room}])
            found += [(document["type"], document) for document in documents[:room]]
            at, together = at + together, together * 2
    return found


def _branch(
    type_: str, filter_: Document, limit: int, after: tuple[str, str] | None, fields: Iterable[str]
) -> tuple[str, list[dict[str, Any]]]:
    if after is not None and type_ == after[0]:
        filter_ = {"$and": [filter_, {"_id": {"$gt": after[1]}}]}
    named = {"$project": BODY | dict.fromkeys(fields, 1) | {"type": {"$literal": type_}}}
    return type_, [{"$match": filter_}, {"$sort": {"_id": 1}}, {"$limit": limit}, named]


async def union(
    store: Store, branches: Sequence[tuple[str, list[dict[str, Any]]]], merge: list[dict[str, Any]]
) -> list[Document]:
    """The documents of (collection, pipeline)s, merged; one after the other, unmerged, where MongoDB has no $unionWith.

    https://www.mongodb.com/docs/manual/reference/operator/aggregation/unionWith/#restrictions
    """
    if not branches:
        return []
    if store.session is not None:
        found: list[Document] = []
        for collection, branch in branches:
            found += await (await store[collection].aggregate(branch, session=store.session)).to_list()
        return found
    (first, pipeline), *others = branches
    joined = [{"$unionWith": {"coll": collection, "pipeline": branch}} for collection, branch in others]
    cursor = await store[first].aggregate([*pipeline, *joined, *merge], allowDiskUse=True)
    return await cursor.to_list()
