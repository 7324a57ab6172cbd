"""Resources and their versions in MongoDB: read, find, write, history. One atomic write carries body and index.

The stored shapes are described in docs/architecture.md. Times are aware, in UTC, to the millisecond.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import pymongo
from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.results import BulkWriteResult

from fhirserver.epochs import KEPT
from fhirserver.store.budget import Budget
from fhirserver.store.commit import DUPLICATE_KEY, Write, Written, write_together
from fhirserver.store.documents import documents
from fhirserver.store.faults import of_bulk_write
from fhirserver.store.finds import Find, Finds, rows
from fhirserver.store.late import Late
from fhirserver.store.mirror import CODECS, NAIVE, encoded, mirrored
from fhirserver.store.present import Present
from fhirserver.store.schema import CLAIMS, ensure, history_of
from fhirserver.store.shared import Shared
from fhirserver.store.space import Space
from fhirserver.store.trace import Trace, counted, finding, timed
from fhirserver.store.versions import (
    BODY,
    Behind,
    Change,
    Conflict,
    Document,
    Stored,
    current_document,
    derived_document,
    now,
    past_document,
    stored,
)

WRITES_GATHER = 0.002  # seconds that a write waits for others where several wait anyway: a commit takes longer
BUILD_SECONDS = 600  # an index on a large collection that a new release wants


class Store:
    """The resources of one database. Bound to a session, all it does is part of that transaction.

    Bound to a trace, it keeps what a search asks.
    """

    def __init__(
        self,
        database: AsyncDatabase[Document],
        *,
        mirror: bool = True,
        timeout: float = 5.0,
        search_ms: int = 4_000,
        space: Space | None = None,
    ) -> None:
        self.database = database.with_options(codec_options=CODECS)
        self.naive = database.with_options(codec_options=NAIVE)
        self.mirror = mirror
        self.timeout = timeout
        self.search_ms = search_ms
        self.space = space
        self.session: AsyncClientSession | None = None
        self.trace: Trace | None = None
        self.comment: str | None = None  # that commands carry
        # is told what was, or may have been, written
        self.wrote: Callable[[Sequence[Change]], None] = lambda changes: None
        self.late: Mapping[str, Late] = {}  # types that are made later: what makes them now
        self.waited = False  # whether they were made before this transaction began
        self._ensured: set[str] = set()
        self._collections: dict[str, AsyncCollection[Document]] = {}
        self._reads: Shared[str, str, Document | None] = Shared(self._read_together, timeout)
        self.finds = Finds(self)
        self.present = Present()
        self._types: Shared[str, None, list[str]] = Shared(self._types_together, timeout)
        self._writes: Shared[str, Write, Written] = Shared(self._write_together, timeout, pause=WRITES_GATHER)

    def __getitem__(self, name: str) -> AsyncCollection[Document]:
        collection = self._collections.get(name)
        if collection is None:
            collection = self._collections[name] = self.database[name]
        return collection

    async def ensure(self, *types: str) -> None:
        """Collections cannot appear in the middle of a transaction: make them before."""
        missing = [type_ for type_ in types if type_ not in self._ensured]
        if missing:
            await self.database.command("ping")  # a silent database is refused in the time of a request, not of a build
        for type_ in missing:
            with pymongo.timeout(BUILD_SECONDS):
                await ensure(self.database, type_)
            self._ensured.add(type_)
            self.present.changed()

    async def caught_up(self, *types: str) -> None:
        """Who reads these types sees all that was acknowledged before."""
        for type_ in types:
            if type_ in self.late:
                if self.session is None:
                    await self.late[type_].catch_up()
                elif not self.waited:
                    raise Behind

    # reading

    async def read(self, type_: str, id_: str) -> Stored | None:
        """The current version, which may be a tombstone."""
        await self.caught_up(type_)
        document = await (self._reads(type_, id_) if self.session is None else self._one(type_, id_))
        return None if document is None else stored(type_, document)

    async def _read_together(self, type_: str, ids: list[str]) -> list[Document | None]:
        if len(ids) == 1:
            return [await self._one(type_, ids[0])]
        found = {document["_id"]: document for document in await self._many(type_, {*ids})}
        return [found.get(id_) for id_ in ids]

    async def _one(self, name: str, key: Any) -> Document | None:
        """By its `_id`, a version with its body."""
        command = {"find": name, "filter": {"_id": key}, "projection": BODY, "limit": 1}
        return next(iter(await documents(self, command)), None)

    async def read_many(self, type_: str, ids: Iterable[str], fields: Iterable[str] = ()) -> list[Document]:
        """Current documents by id, in no order; `fields` names more of the document than the body."""
        await self.caught_up(type_)
        return await self._many(type_, ids, fields)

    async def _many(self, type_: str, ids: Iterable[str], fields: Iterable[str] = ()) -> list[Document]:
        wanted = sorted(ids)
        if not wanted:
            return []
        command = {"find": type_, "filter": {"_id": {"$in": wanted}}, "projection": BODY | dict.fromkeys(fields, 1)}
        return await documents(self, command | {"limit": len(wanted), "batchSize": len(wanted) + 1})

    async def read_stored(self, type_: str, ids: Iterable[str]) -> list[Stored]:
        return [stored(type_, document) for document in await self.read_many(type_, ids)]

    async def read_versions(self, type_: str, ids: Iterable[str]) -> dict[str, int]:
        """The current version numbers of those that exist and are not deleted."""
        await self.caught_up(type_)
        wanted = sorted(ids)
        if not wanted:
            return {}
        filter_ = {"_id": {"$in": wanted}, "deleted": None}
        command = {"find": type_, "filter": filter_, "projection": {"version": 1}}
        found = await documents(self, command | {"limit": len(wanted), "batchSize": len(wanted) + 1})
        return {document["_id"]: document["version"] for document in found}

    async def vread(self, type_: str, id_: str, version: int) -> Stored | None:
        current = await self.read(type_, id_)
        if current is None or current.version <= version:
            return current if current and current.version == version else None
        key = {"id": id_, "version": version}
        document = await self._one(history_of(type_), key)
        return None if document is None else stored(type_, document | {"_id": id_, "version": version})

    async def past(self, type_: str, versions: Iterable[tuple[str, int]]) -> list[Stored]:
        """Of earlier versions, by id and number, those that are there."""
        keys = [{"id": id_, "version": version} for id_, version in sorted(versions)]
        cursor = self[history_of(type_)].find({"_id": {"$in": keys}}, BODY, session=self.session)
        return [
            stored(type_, each | {"_id": each["_id"]["id"], "version": each["_id"]["version"]}) async for each in cursor
        ]

    async def find(
        self,
        type_: str,
        filter_: Document,
        sort: Sequence[tuple[str, int]],
        limit: int,
        fields: Iterable[str] = (),
        stages: Sequence[Document] = (),
        most: int | None = None,
    ) -> list[Document]:
        """Current documents with `_id`, body and the named fields. Asked in a `Budget`.

        `stages` make of what matches what is sorted. More than `most` bytes of bodies tell that there are more.
        """
        await self.caught_up(type_)
        shown = dict.fromkeys(("body", *fields))
        if not stages:
            asking = rows(self, type_, Find(filter_, limit, most), sort, shown)
            return await timed(self, type_, finding(filter_, dict(sort), limit), asking)
        making: list[Document] = [{"$sort": dict(sort)}, {"$limit": limit}, {"$project": dict.fromkeys(shown, 1)}]
        pipeline = [{"$match": filter_}, *stages, *making]
        command = {"aggregate": type_, "pipeline": pipeline, "cursor": {"batchSize": limit + 1}}
        return await timed(self, type_, {"pipeline": pipeline}, documents(self, command, most=most))

    async def find_stored(self, type_: str, filter_: Document, limit: int) -> list[Stored]:
        """Any `limit` current versions that match, by id."""
        return [stored(type_, document) for document in await self._found(type_, filter_, limit, BODY)]

    async def find_beside(self, type_: str, filter_: Document, limit: int, code: str) -> list[tuple[Stored, list[Any]]]:
        """The same, each with the index values of a parameter."""
        found = await self._found(type_, filter_, limit, BODY | {f"search.{code}": 1})
        return [(stored(type_, each), each.get("search", {}).get(code, [])) for each in found]

    async def _found(self, type_: str, filter_: Document, limit: int, shown: Document) -> list[Document]:
        await self.caught_up(type_)
        asking = rows(self, type_, Find(filter_, limit), (("_id", 1),), shown)
        with Budget(self):
            return await timed(self, type_, finding(filter_, {"_id": 1}, limit), asking)

    async def aggregate(self, type_: str, stages: Sequence[Document], comment: str | None = None) -> list[Document]:
        """What a pipeline makes of the current documents, within the search budget."""
        await self.caught_up(type_)
        with Budget(self):
            asked = self[type_].aggregate(list(stages), session=self.session, allowDiskUse=True, comment=comment)
            return await (await asked).to_list()

    async def count(
        self, type_: str, filter_: Document, limit: int | None = None, stages: Sequence[Document] = ()
    ) -> int:
        """How many match, or how many `stages` make of them; no more than `limit` are counted."""
        await self.caught_up(type_)
        if stages:
            return await self._count_made(type_, filter_, limit, stages)
        bounded = {} if limit is None else {"limit": limit}
        command = {"query": filter_, **bounded}
        with Budget(self):
            number = await counted(self, type_, command)
            if number is not None:
                return number
            counting = self[type_].count_documents(filter_, session=self.session, **bounded)
            return await timed(self, type_, command, counting)

    async def _count_made(self, type_: str, filter_: Document, limit: int | None, stages: Sequence[Document]) -> int:
        bounded = [] if limit is None else [{"$limit": limit}]
        pipeline: list[Document] = [{"$match": filter_}, *stages, *bounded, {"$count": "found"}]
        with Budget(self):
            found = await self[type_].aggregate(pipeline, session=self.session)
            counted = await timed(self, type_, {"pipeline": pipeline}, found.to_list())
        return counted[0]["found"] if counted else 0

    async def types(self) -> Sequence[str]:
        """The resource types that have ever been written."""
        return await self._types("", None)

    async def known_types(self) -> Sequence[str]:
        """The same for who only looks: what another server writes first of its type counts a moment later."""
        found = self.present.types
        if found is None:
            epoch = self.present.epoch
            found = await self._types(KEPT, None)
            self.present.keep(found, epoch)
        return found

    async def _types_together(self, comment: str, asked: list[None]) -> list[list[str]]:
        named = {"name": {"$regex": "^[A-Z][A-Za-z]*$"}}
        names = await self.database.list_collection_names(filter=named, comment=comment or None)
        return [sorted(names)] * len(asked)

    # writing

    async def write(self, change: Change) -> Stored:
        """Write one version. Raises Conflict when the resource is not (any more) at the version it replaces."""
        if self.session is not None:
            (written,) = await self.write_all([change])
            return written
        self._claim_space()
        await self.ensure(change.type)
        written, previous = change.stored, change.previous
        document = encoded(current_document(change, written, mirror=self.mirror))
        if previous is not None:  # where it is already, a crash left it, and it is the same
            past = past_document(previous)
            if change.marks:
                await self._bulk(history_of(change.type), [_past(past, change.marks)])
            else:
                await self._commit(history_of(change.type), Write(past["_id"], encoded(past)))
        try:
            if not await self._commit(change.type, Write(change.id, document, previous and previous.version)):
                raise Conflict
        finally:  # it may have been written also where nobody was told so
            self.wrote([change])
        return written

    async def _commit(self, name: str, write: Write) -> bool:
        written = await self._writes(name, write)
        if isinstance(written, OperationFailure):
            raise written
        return written

    async def _write_together(self, name: str, writes: list[Write]) -> list[Written]:
        return await write_together(self[name], writes)

    async def write_all(self, changes: Sequence[Change]) -> list[Stored]:
        """Write many versions, a few round trips per type. Inside a transaction all or none of them happen."""
        self._claim_space()
        by_type: dict[str, list[tuple[Change, Document]]] = defaultdict(list)
        versions = []
        for change in changes:
            written = change.stored
            versions.append(written)
            by_type[change.type].append((change, current_document(change, written, mirror=self.mirror)))
        try:
            for type_, pairs in by_type.items():
                await self._write_versions(type_, pairs)
        finally:
            self.wrote(changes)
        return versions

    async def _write_versions(self, type_: str, pairs: list[tuple[Change, Document]]) -> None:
        past = [_past(past_document(change.previous), change.marks) for change, _ in pairs if change.previous]
        if past:
            await self._bulk(history_of(type_), past)
        await self._write_current(type_, pairs, len(past))

    async def _write_current(self, type_: str, pairs: list[tuple[Change, Document]], replacing: int) -> None:
        operations: list[InsertOne[Document] | ReplaceOne[Document]] = [
            ReplaceOne({"_id": change.id, "version": change.previous.version}, document)
            if change.previous
            else InsertOne(document)
            for change, document in pairs
        ]
        result = await mirrored([document for _, document in pairs], lambda: self._bulk(type_, operations))
        if result.matched_count != replacing:
            raise Conflict

    async def _bulk(
        self, name: str, operations: Sequence[InsertOne[Document] | ReplaceOne[Document] | UpdateOne]
    ) -> BulkWriteResult:
        try:
            return await self[name].bulk_write(operations, ordered=False, session=self.session)
        except BulkWriteError as error:
            if any(e.get("code") == DUPLICATE_KEY for e in error.details.get("writeErrors", ())):
                raise Conflict from None
            raise of_bulk_write(error) from None

    async def derive(self, changes: Sequence[Change]) -> int:
        """Write what is derived from the body again, of the same type, where this version is still the current one.

        What is of a later generation already stays as it is.
        """
        self._claim_space()
        derived = [derived_document(change, mirror=self.mirror) for change in changes]
        without = {} if self.mirror else {"$unset": {"resource": 1}}
        operations = [
            UpdateOne(
                {"_id": change.id, "version": change.version, "generation": {"$not": {"$gt": change.generation}}},
                {"$set": document, **without},
            )
            for change, document in zip(changes, derived, strict=True)
        ]
        result = await mirrored(derived, lambda: self._bulk(changes[0].type, operations))
        return result.matched_count

    def _claim_space(self) -> None:
        if self.space is not None:
            self.space.claim()

    # transactions

    def outside(self) -> Store:
        """Of no transaction: what is kept for others has to be of now, and not of when a transaction began."""
        if self.session is None:
            return self
        free = copy(self)
        free.session = None
        return free

    def commenting(self, comment: str) -> Store:
        """What it asks says what that is for."""
        free = copy(self)
        free.comment = comment
        return free

    async def claim(self, key: str) -> None:
        """Make transactions that decide about the same thing collide, so that the loser sees what the winner did."""
        await self[CLAIMS].update_one(
            {"_id": key}, {"$set": {"at": now()}, "$inc": {"count": 1}}, upsert=True, session=self.session
        )


def _past(document: Document, marks: Document) -> UpdateOne:
    """A copy that is there already is the same; marks add up, whoever loses the race to replace that version."""
    rest = {key: value for key, value in document.items() if key != "_id"}
    added = {"$addToSet": {key: {"$each": each} for key, each in marks.items()}} if marks else {}
    return UpdateOne({"_id": document["_id"]}, {"$setOnInsert": rest} | added, upsert=True)
