"""The versions of resources, newest first: of one resource, of a type, of everything.

Current versions and earlier ones lie in two collections per type. Of one resource the earlier ones are a range of
`_id`; of many, one aggregation merges the two.
https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

from bson import MaxKey, MinKey

from fhirserver.store.budget import Budget
from fhirserver.store.current_at import again, current_from, named
from fhirserver.store.finds import FEW, Branch, Find, asked, joined, rows
from fhirserver.store.places import COPIES, NO_SPAN, Bounds, Place, Span, collection, first, shown, version_key, written
from fhirserver.store.resources import Store
from fhirserver.store.schema import history_of
from fhirserver.store.union import union
from fhirserver.store.versions import BODY, ENDED, Document, Stored, stored


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
    with Budget(store):
        if span.low is None:
            found = await _merged(store, _branches(types, span, after, COPIES * limit), limit, most)
        else:
            found = await _current(span.low, store, types, limit, span, after, most)
    return found[:limit]


def _branches(types: Mapping[str, Bounds], span: Span, after: Place | None, limit: int) -> list[Branch]:
    """Of each collection at most so many versions, the newest."""
    return [
        (collection(type_, past), [*first(type_, past, bounds, span, after, limit), shown(type_, past, BODY)])
        for type_, bounds in types.items()
        for past in (False, True)
    ]


async def _current(
    low: datetime,
    store: Store,
    types: Mapping[str, Bounds],
    limit: int,
    span: Span,
    after: Place | None,
    most: int,
) -> list[Stored]:
    places = await current_from(low, store, types, limit, span, after)
    wanted = {(place.type, place.id, place.version) for place, _ in places}
    until = max((place.updated for place, _ in places), default=low)
    found = await _merged(store, named(again(places), until, BODY), limit, most)
    return [each for each in found if (each.type, each.id, each.version) in wanted]  # and none that came meanwhile


async def _merged(store: Store, branches: Sequence[Branch], limit: int, most: int) -> list[Stored]:
    """The first of all branches in the order of `Place`, each once: `limit` at least, or more than `most` bytes."""
    together = store.session is None  # else what comes between would be missed where a branch ends early
    merge: list[Document] = [{"$sort": dict.fromkeys(Place._fields, -1)}, {"$limit": COPIES * limit}]
    found = await union(store, branches, merge, most=COPIES * most if together else None)
    if not together:
        found.sort(key=itemgetter(*Place._fields), reverse=True)
    unique = {(row["type"], row["id"], row["version"]): row for row in found}
    return [stored(row["type"], row | {"_id": row["id"]}) for row in unique.values()]


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
        past: Document = {"_id": {"$gte": version_key(id_, MinKey()), "$lt": version_key(id_, MaxKey())}}
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


async def ended(store: Store, type_: str, filter_: Document, limit: int) -> list[tuple[Stored, list[str]]]:
    """At most `limit` earlier versions that are marked and match, with what they were the last to say."""
    shown, session = BODY | {ENDED: 1}, store.session
    with Budget(store):
        cursor = store[history_of(type_)].find(filter_, shown, limit=limit, batch_size=limit, session=session)
        found = await cursor.to_list()
    named = [each | {"_id": each["_id"]["id"], "version": each["_id"]["version"]} for each in found]
    return [(stored(type_, each), each[ENDED]) for each in named]


def _within(span: Span, time: datetime) -> bool:
    return (span.since is None or time >= span.since) and (span.high is None or time < span.high)


async def _earlier(store: Store, current: Stored, below: int, limit: int, most: int, span: Span) -> list[Stored]:
    """A range of the index on `_id`."""
    type_, id_ = current.type, current.id
    filter_: Document = {"_id": {"$gte": version_key(id_, MinKey()), "$lt": version_key(id_, below)}}
    filter_ |= written(span)
    with Budget(store):
        found = await rows(store, history_of(type_), Find(filter_, limit, most), (("_id", -1),), BODY)
    return [stored(type_, row | {"_id": id_, "version": row["_id"]["version"]}) for row in found]
