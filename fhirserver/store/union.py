"""Documents of several collections in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirserver.store.documents import documents
from fhirserver.store.finds import unioned
from fhirserver.store.resources import Store
from fhirserver.store.versions import Document

IN_ONE_BATCH = 10_000  # rows, as far as 16 MB go: what does not fit costs another round trip


async def union(
    store: Store,
    branches: Sequence[tuple[str, list[dict[str, Any]]]],
    merge: list[dict[str, Any]],
    *,
    most: int | None = None,
    besides: int = 0,
) -> list[Document]:
    """The documents of (collection, pipeline)s, merged; one after the other, unmerged, where MongoDB has no $unionWith.

    More than `most` bytes of bodies tell that there are more (`store.documents`).

    https://www.mongodb.com/docs/manual/reference/operator/aggregation/unionWith/#restrictions
    """
    if not branches:
        return []
    await store.caught_up(*dict.fromkeys(collection for collection, _ in branches))
    if store.session is not None:
        found: list[Document] = []
        for collection, branch in branches:
            found += await _aggregated(store, collection, branch, most, besides)
        return found
    first, pipeline = unioned(branches)
    return await _aggregated(store, first, [*pipeline, *merge], most, besides)


async def _aggregated(
    store: Store, collection: str, pipeline: list[Document], most: int | None, besides: int
) -> list[Document]:
    cursor = {"batchSize": IN_ONE_BATCH}
    command = {"aggregate": collection, "pipeline": pipeline, "cursor": cursor, "allowDiskUse": True}
    return await documents(store, command, most=most, besides=besides)
