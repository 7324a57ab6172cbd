"""What the database holds, from its own bookkeeping: nothing is counted one by one but what was deleted.

https://www.mongodb.com/docs/manual/reference/operator/aggregation/collStats/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fhirserver.store.budget import Budget
from fhirserver.store.resources import Store
from fhirserver.store.schema import history_of
from fhirserver.store.union import union
from fhirserver.store.versions import Document

TOGETHER = 32  # collections in one round trip
GONE = {"deleted": True, "compartments": {"$exists": False}}  # tombstones alone have none: found in that index


class Size(NamedTuple):
    """Of a collection, on disk."""

    documents: int = 0
    bytes: int = 0
    index_bytes: int = 0

    def __add__(self, other: object) -> Size:
        if not isinstance(other, Size):
            return NotImplemented
        return Size(*(mine + its for mine, its in zip(self, other, strict=True)))


class Held(NamedTuple):
    """Of one type: the current resources, the tombstones of deleted ones, and earlier versions."""

    resources: int
    deleted: int
    versions: int
    bytes: int
    index_bytes: int


async def held(store: Store, types: Iterable[str]) -> dict[str, Held]:
    types = sorted(types)
    with Budget(store):
        sizes = await _sizes(store, [name for type_ in types for name in (type_, history_of(type_))])
        gone = {
            type_: await store[type_].count_documents(GONE, hint="compartments")
            for type_ in types
            if sizes.get(type_, Size()).documents
        }
    found = {}
    for type_ in types:
        current, past = sizes.get(type_, Size()), sizes.get(history_of(type_), Size())
        both, deleted = current + past, gone.get(type_, 0)
        found[type_] = Held(max(0, current.documents - deleted), deleted, past.documents, both.bytes, both.index_bytes)
    return found


async def whole(store: Store) -> tuple[int, int]:
    """Bytes on disk of all documents and of all indexes of the database, also of those that are no resources."""
    stats = await store.database.command("dbStats")
    return int(stats["storageSize"]), int(stats["indexSize"])


async def _sizes(store: Store, names: list[str]) -> dict[str, Size]:
    """By collection; on a sharded cluster each shard answers for its part."""
    found: dict[str, Size] = {}
    for at in range(0, len(names), TOGETHER):
        for each in await union(store, [(name, _stages(name)) for name in names[at : at + TOGETHER]], []):
            size = Size(each["documents"], each["bytes"], each["indexes"])
            found[each["name"]] = found.get(each["name"], Size()) + size
    return found


def _stages(name: str) -> list[Document]:
    taken = {"documents": "count", "bytes": "storageSize", "indexes": "totalIndexSize"}
    shown = {key: f"$storageStats.{field}" for key, field in taken.items()}
    return [{"$collStats": {"storageStats": {}}}, {"$project": {"name": {"$literal": name}, **shown}}]
