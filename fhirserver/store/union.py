"""Current resources of several types in one round trip, in one order: by type, then by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    pipeline: list[dict[str, Any]] = []
    first = ""
    for type_ in sorted(filters):
        if after is not None and type_ < after[0]:
            continue
        match = filters[type_]
        if after is not None and type_ == after[0]:
            match = {"$and": [match, {"_id": {"$gt": after[1]}}]}
        branch: list[dict[str, Any]] = [
            {"$match": match},
            {"$sort": {"_id": 1}},
            {"$limit": limit},
            {"$project": projection | {"type": {"$literal": type_}}},
        ]
        if pipeline:
            pipeline.append({"$unionWith": {"coll": type_, "pipeline": branch}})
        else:
            first, pipeline = type_, branch
    if not pipeline:
        return []
    pipeline += [{"$sort": {"type": 1, "_id": 1}}, {"$limit": limit}]
    with pymongo.timeout(store.search_ms / 1000), within_budget():
        cursor = await store[first].aggregate(pipeline, session=store.session)
        return [(document["type"], document) for document in await cursor.to_list()]


async def count_across(store: Store, filters: Mapping[str, Document]) -> int:
    return sum([await store.count(type_, filter_) for type_, filter_ in filters.items()])
