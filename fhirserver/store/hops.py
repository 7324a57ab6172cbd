"""One hop of a chain, in the database: the ids of what matches, and of what that refers to. Asked in a `Budget`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from fhirserver.store.budget import Budget
from fhirserver.store.resources import Store
from fhirserver.store.trace import finding, timed
from fhirserver.store.union import union
from fhirserver.store.versions import Document

T = TypeVar("T")

TOGETHER = 8  # of the connections of a process that one search may take


async def together(store: Store, asks: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """What several commands give, some at a time; one after the other in a transaction, and where times are kept."""
    if len(asks) == 1 or store.session is not None or store.trace is not None:
        return [await ask() for ask in asks]
    found: list[T] = []
    for at in range(0, len(asks), TOGETHER):
        found += await asyncio.gather(*(ask() for ask in asks[at : at + TOGETHER]))
    return found


async def matching_ids(store: Store, type_: str, filter_: Document, limit: int) -> list[str]:
    """At most `limit` ids of what matches."""
    await store.caught_up(type_)
    # in one batch as far as it goes, for only the first is under the database's own time limit
    session, comment = store.session, store.comment
    cursor = store[type_].find(filter_, {"_id": 1}, limit=limit, batch_size=limit, session=session, comment=comment)
    found = await timed(store, type_, finding(filter_, {}, limit), cursor.to_list())
    return [document["_id"] for document in found]


async def matching_places(store: Store, type_: str, filter_: Document, limit: int) -> list[tuple[str, list[str]]]:
    """At most `limit` ids of what matches, each with the compartments that it is in."""
    projection = {"compartments": 1}
    cursor = store[type_].find(filter_, projection, limit=limit, batch_size=limit, session=store.session)
    found = await timed(store, type_, finding(filter_, {}, limit), cursor.to_list())
    return [(document["_id"], document.get("compartments", [])) for document in found]


async def matching_definitions(store: Store, type_: str, filter_: Document, limit: int) -> list[Document]:
    """At most `limit` documents of what matches, with what names a definition: URL and version."""
    await store.caught_up(type_)
    projection = {"search.url": 1, "search.version": 1}
    cursor = store[type_].find(filter_, projection, limit=limit, batch_size=limit, session=store.session)
    return await timed(store, type_, finding(filter_, {}, limit), cursor.to_list())


async def referred_urls(store: Store, type_: str, filter_: Document, field: str, limit: int) -> list[list[str]]:
    """At most `limit` values of a field, each once, of what matches; no more when they hold over twice as many forms.

    A value is a list of forms, and what one of them names has two at most: with its version and without.
    """
    await store.caught_up(type_)
    stages: list[dict[str, Any]] = [{"$match": filter_}, {"$group": {"_id": f"${field}"}}, {"$limit": limit}]
    cursor = await store[type_].aggregate(stages, batchSize=limit + 1, session=store.session)

    async def values() -> list[list[str]]:
        found: list[list[str]] = []
        forms: set[str] = set()
        async for document in cursor:
            if document["_id"]:
                found.append(document["_id"])
                forms.update(document["_id"])
            if len(forms) > 2 * limit:
                break
        await cursor.close()
        return found

    return await timed(store, type_, {"pipeline": stages}, values())


async def referred_ids(store: Store, type_: str, filter_: Document, field: str, target: str, limit: int) -> list[str]:
    """At most `limit` ids, each once, of the resources of a type to which what matches refers by a field.

    A scalar is grouped at once: where an index holds it after what the filter asks, MongoDB reads one key for each.
    """
    await store.caught_up(type_)
    stages: list[dict[str, Any]] = [{"$match": filter_}]
    if field.startswith("sort."):
        stages += [{"$group": {"_id": f"${field}"}}, {"$match": {"_id": _one_of(target)}}]
    else:
        stages += [
            {"$project": {"_id": 0, "to": f"${field}"}},
            {"$unwind": "$to"},
            {"$match": {"to": _one_of(target)}},
            {"$group": {"_id": "$to"}},
        ]
    stages.append({"$limit": limit})
    cursor = await store[type_].aggregate(stages, batchSize=limit + 1, session=store.session)
    found = await timed(store, type_, {"pipeline": stages}, cursor.to_list())
    return [document["_id"].removeprefix(f"{target}/") for document in found]


def _one_of(type_: str) -> dict[str, str]:
    """A reference to a resource of a type here; with a version it stands beside the one without."""
    return {"$regex": f"^{re.escape(type_)}/[^/]+$"}


async def values_of(store: Store, branches: Sequence[tuple[str, Document, Sequence[str]]], limit: int) -> list[str]:
    """At most `limit` values, each once, of some parameters of what matches, by (type, filter, codes)."""
    found: list[tuple[str, list[Document]]] = []
    for type_, filter_, codes in branches:
        together_: Document = {"$setUnion": [{"$ifNull": [f"$search.{code}", []]} for code in codes]}
        shown: Document = {"_id": 0, "to": together_}
        found.append(
            (type_, [{"$match": filter_}, {"$project": shown}, {"$unwind": "$to"}, {"$group": {"_id": "$to"}}])
        )
    rows = await union(store, found, [{"$group": {"_id": "$_id"}}, {"$limit": limit}])
    return list(dict.fromkeys(row["_id"] for row in rows))


async def numbers_of(store: Store, documents_: Sequence[Document], filter_: Document) -> set[int]:
    """The numbers of those of some documents, which need not be stored, that match.

    https://www.mongodb.com/docs/manual/reference/operator/aggregation/documents/
    """
    stages: list[Document] = [
        {"$documents": [{"$literal": each} for each in documents_]},
        {"$match": filter_},
        {"$project": {"number": 1}},
    ]
    with Budget(store):
        cursor = await store.database.aggregate(stages)
        return {document["number"] async for document in cursor}
