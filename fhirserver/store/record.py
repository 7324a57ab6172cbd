"""A record in one round trip: the resource that it is about, and what lies in its compartment; or all records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fhirserver.store.blobs import size_of
from fhirserver.store.budget import Budget
from fhirserver.store.resources import Store
from fhirserver.store.union import union
from fhirserver.store.versions import Document

FEW, TOGETHER = 4, 32  # collections in one round trip: a page of 50 is mostly full after the first few
OF_A_TYPE = 25  # resources of one type that a record may well have
FOCUS = {"body": 1, "updated": 1, "deleted": 1, "compartments": 1, "belonged": 1}
Place = tuple[str, str]
_Branch = tuple[str, list[Document]]  # a collection, and a pipeline


class Kept(NamedTuple):
    """A resource, its body as stored; `compartments` where they were asked for."""

    type: str
    id: str
    body: bytes
    compartments: Sequence[str] = ()


class Record(NamedTuple):
    """`focus` is the document that the record is about, if there is one."""

    focus: Document | None
    rows: list[Kept]


async def record(
    store: Store, focus: Place, filters: Mapping[str, Document], limit: int, most: int, after: Place | None = None
) -> Record:
    """The focus, also a deleted one, and at most `limit` others that match, after (type, id), in that order.

    More than `most` bytes of these tell that there are more.
    """
    if focus[0] in filters:
        filters = {**filters, focus[0]: {"$and": [filters[focus[0]], {"_id": {"$ne": focus[1]}}]}}
    shown = FOCUS | {"type": {"$literal": ""}}  # before all types
    first: _Branch = (focus[0], [{"$match": {"_id": focus[1]}}, {"$project": shown}])
    return await _found(store, _Asked(filters, limit, most, after), first)


async def records(
    store: Store,
    filters: Mapping[str, Document],
    limit: int,
    most: int,
    after: Place | None = None,
    *,
    owned: bool = False,
) -> list[Kept]:
    """At most `limit` that match, after (type, id), in that order; with their compartments if `owned`.

    More than `most` bytes of them tell that there are more.
    """
    return (await _found(store, _Asked(filters, limit, most, after, owned))).rows


class _Asked(NamedTuple):
    filters: Mapping[str, Document]
    limit: int
    most: int | None = None
    after: Place | None = None
    owned: bool = False

    def branch(self, type_: str, room: int) -> _Branch:
        """At most `room` of a type that match, by id."""
        filter_ = self.filters[type_]
        if self.after is not None and type_ == self.after[0]:
            filter_ = {"$and": [filter_, {"_id": {"$gt": self.after[1]}}]}
        shown = {"body": 1, "type": {"$literal": type_}} | ({"compartments": 1} if self.owned else {})
        return type_, [{"$match": filter_}, {"$sort": {"_id": 1}}, {"$limit": room}, {"$project": shown}]


async def _found(store: Store, asked: _Asked, focus: _Branch | None = None) -> Record:
    """Type by type, a few at a time, until there are enough; nothing where there is no focus."""
    types = [type_ for type_ in sorted(asked.filters) if asked.after is None or type_ >= asked.after[0]]
    first = [] if focus is None else [focus]
    found: list[Document] = []
    about: Document | None = None
    at, ahead = 0, min(max(FEW, asked.limit // OF_A_TYPE), TOGETHER)
    with Budget(store):
        while first or at < len(types):
            room = asked.limit - len(found)
            branches = [asked.branch(type_, room) for type_ in types[at : at + ahead]]
            at, ahead = at + ahead, min(2 * ahead, TOGETHER)
            merge: list[Document] = [{"$sort": {"type": 1, "_id": 1}}, {"$limit": room + len(first)}]
            documents = await union(store, [*first, *branches], merge, most=asked.most, besides=len(first))
            if first and documents and not documents[0]["type"]:
                about = documents.pop(0)
            found += documents[:room]
            first = []
            if (focus is not None and about is None) or len(found) == asked.limit or _exceed(found, asked.most):
                break
    return Record(about, _kept(found))


async def referred(store: Store, filters: Mapping[str, Document], limit: int, most: int | None = None) -> list[Kept]:
    """At most `limit` that match the filter of their type, in one round trip; more than `most` bytes tell of more."""
    asked = _Asked(filters, limit, most)
    branches = [asked.branch(type_, limit) for type_ in sorted(filters)]
    with Budget(store):
        documents = await union(store, branches, [{"$limit": limit}], most=most)
    return _kept(documents)


def _exceed(documents: Sequence[Document], most: int | None) -> bool:
    return most is not None and len(documents) > 1 and sum(size_of(each["body"]) for each in documents) > most


def _kept(documents: Sequence[Document]) -> list[Kept]:
    return [Kept(each["type"], each["_id"], each["body"], each.get("compartments", ())) for each in documents]
