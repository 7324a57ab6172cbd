"""Current resources of several types in one round trip, in one order: by type, then by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pymongo

from fhirserver.store.faults import within_budget
from fhirserver.store.resources import BODY, Document, Store


async def find_across(
    store: Store,
    filters: Mapping[str, Document],
    limit: int,
    *,
    after: tuple[str, str] | None = None,
    fields: Iterable[str] = (),
) -> list[tuple[str, Document]]:
    """At most `limit` (type, document) pairs that match the filter of their type and come after (type, id)."""
    projection = BODY | dict.fromkeys(fields, 1)
    branches: list[tuple[str, list[dict[str, Any]]]] = []
    for type_ in sorted(filters):
        if after is not None and type_ < after[0]:
            continue
        match = filters[type_]
        if after is not None and type_ == after[0]:
            match = {"$and": [match, {"_id": {"$gt": after[1]}}]}
        named = {"$project": projection | {"type": {"$literal": type_}}}
        branches.append((type_, [{"$match": match}, {"$sort": {"_id": 1}}, {"$limit": limit}, named]))
    with pymongo.timeout(store.search_ms / 1000), within_budget():
        documents = await union(store, branches, [{"$sort": {"type": 1, "_id": 1}}, {"$limit": limit}])
    return [(document["type"], document) for document in documents[:limit]]


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


async def count_across(store: Store, filters: Mapping[str, Document]) -> int:
    return sum([await store.count(type_, filter_) for type_, filter_ in filters.items()])
