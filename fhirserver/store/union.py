"""Documents of several collections in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirserver.store.resources import Document, Store

IN_ONE_BATCH = 10_000  # rows, as far as 16 MB go: what does not fit costs another round trip


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
    cursor = await store[first].aggregate([*pipeline, *joined, *merge], allowDiskUse=True, batchSize=IN_ONE_BATCH)
    return await cursor.to_list()
