"""The derived parts of stored resources computed again: index values, sort keys, compartments, mirror.

It runs beside requests: what is written meanwhile is indexed by its own write, and nothing newer is changed here. A
type is covered by a generation of search parameters when no document is behind it and no server can write one that is.
docs/adr/0005-custom-search-parameters.md
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import bson
import pymongo
from bson.errors import BSONError
from pymongo.errors import PyMongoError

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome, too_costly
from fhirserver.search.index import EDITION
from fhirserver.store.editions import renewed
from fhirserver.store.faults import refusal
from fhirserver.store.generations import behind, cover, lagging
from fhirserver.store.mirror import CODECS, NAIVE
from fhirserver.store.versions import BODY, Change, Document, Stored, stored

ATTEMPTS = 12
BATCH = 500
FAILED = 10_000  # beyond that something is wrong with more than the resources
REASONS = 100  # that a receipt quotes
SCAN_SECONDS = 600  # to look through a collection for what is behind
WAIT_SECONDS = 0.25  # for servers that do not know the newest parameters yet


class Report(Protocol):
    """How much is done of how much, and where another run would go on."""

    async def __call__(self, done: int, total: int | None = None, cursor: Any = None) -> None: ...


async def silent(done: int, total: int | None = None, cursor: Any = None) -> None:
    """For who does not care to know before the end."""


@dataclass(slots=True)
class Receipt:
    """Of one type. `documents` and `current` are counted at the end: those there are, those of this generation.

    `since` is when what is written began to be of one edition of index values, the one of this release; empty where
    it is not.
    """

    type: str
    generation: int = 0
    since: str = ""
    asked: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    documents: int = 0
    current: int = 0

    def json(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "generation": self.generation,
            "asked": self.asked,
            "done": self.done,
            "overtaken": self.asked - self.done - len(self.failed),  # written by others meanwhile
            "failed": len(self.failed),
            "reasons": [f"{reference}: {reason}" for reference, reason in [*self.failed.items()][:REASONS]],
            "documents": self.documents,
            "current": self.current,
        }


async def reindex(
    ctx: Context, type_: str, report: Report, *, whole: bool = True, cursor: dict[str, Any] | None = None
) -> Receipt:
    """All documents of a type, or only those that are behind. `cursor` is what the last report of a run said."""
    rules = await ctx.live.renew()
    generation = rules.indexer.generation
    receipt = Receipt(type_, generation, rules.editions.since if rules.editions.written == EDITION else "")
    if type_ in await ctx.store.types():  # of the others, searches of all types would look into empty collections
        await ctx.store.ensure(type_)
    filter_ = {"deleted": None} if whole else behind(generation)
    after = ""
    if cursor is not None and cursor.get("since") == receipt.since:
        after, receipt.asked, receipt.done = (cursor[name] for name in ("after", "asked", "done"))
        receipt.failed = dict(cursor["failed"])
    total = receipt.asked + await _count(ctx, type_, {**filter_, "_id": {"$gt": after}})
    await _walk(ctx, receipt, filter_, after, total, report)
    if generation:
        await _sweep(ctx, receipt, total, report)
    if whole and receipt.since and not receipt.failed:
        await renewed(ctx.store, type_, EDITION, receipt.since)
    return await _counted(ctx, receipt)


async def _sweep(ctx: Context, receipt: Receipt, total: int, report: Report) -> None:
    """Again, until nothing is behind but what failed. A sweep counts when no server could write what is behind."""
    while True:
        settled = not await lagging(ctx.store, receipt.generation)
        found = await _walk(ctx, receipt, behind(receipt.generation), "", total, report)
        if settled and found <= len(receipt.failed):
            return
        await report(receipt.done, max(total, receipt.asked), _cursor(receipt, "~"))
        await asyncio.sleep(WAIT_SECONDS)


async def _counted(ctx: Context, receipt: Receipt) -> Receipt:
    receipt.documents = await _count(ctx, receipt.type, {"deleted": None})
    missing = await _count(ctx, receipt.type, behind(receipt.generation)) if receipt.generation else 0
    receipt.current = receipt.documents - missing
    if receipt.generation and not missing:
        await cover(ctx.store, [receipt.type], receipt.generation)
    await ctx.live.renew()
    return receipt


async def findings(ctx: Context) -> AsyncIterator[tuple[bool, str]]:
    """For `healthmate check`: (whether it is good, a sentence)."""
    dated = ctx.rules.dated(await ctx.store.types())
    for type_ in dated:
        yield False, f"{type_} was indexed by another release, which did it otherwise; `healthmate reindex` does it"
    if not dated:
        yield True, f"index values: all of edition {EDITION}, which this release makes"


async def _walk(ctx: Context, receipt: Receipt, filter_: Document, after: str, total: int, report: Report) -> int:
    """How many were found, in the order of ids. What failed before is not counted as asked again."""
    found = 0
    async for batch in _batches(ctx, receipt.type, filter_, after):
        found += len(batch)
        versions = [version for version in batch if version.reference not in receipt.failed]
        receipt.asked += len(versions)
        receipt.done += await _derive(ctx.fresh(), versions, receipt.failed)
        if len(receipt.failed) > FAILED:
            raise too_costly(f"more than {FAILED:,} resources could not be indexed, {next(iter(receipt.failed))} first")
        await report(receipt.done, max(total, receipt.asked), _cursor(receipt, batch[-1].id))
    return found


def _cursor(receipt: Receipt, after: str) -> dict[str, Any]:
    failed = [list(item) for item in receipt.failed.items()]
    place = {"after": after, "asked": receipt.asked, "done": receipt.done, "failed": failed}
    return place | {"since": receipt.since}


async def _batches(ctx: Context, type_: str, filter_: Document, after: str) -> AsyncIterator[list[Stored]]:
    while True:
        with pymongo.timeout(SCAN_SECONDS):
            cursor = ctx.store[type_].find({**filter_, "_id": {"$gt": after}}, BODY, sort=[("_id", 1)], limit=BATCH)
            batch = [stored(type_, document) for document in await cursor.to_list()]
        if not batch:
            return
        yield batch
        after = batch[-1].id


async def _count(ctx: Context, type_: str, filter_: Document) -> int:
    with pymongo.timeout(SCAN_SECONDS):
        return await ctx.store[type_].count_documents(filter_)


async def _derive(ctx: Context, versions: Sequence[Stored], failed: dict[str, str]) -> int:
    """How many got new values: those that still are at this version and not of a later generation."""
    changes: list[Change] = []
    for version in versions:
        try:
            changes.append(derived(ctx, version))
        except Outcome as refused:  # its body cannot be read any more
            failed[version.reference] = str(refused)
    if not changes:
        return 0
    try:
        with ctx.indexer.in_use():
            return await ctx.store.derive(changes)
    except (BSONError, PyMongoError) as error:
        if len(changes) == 1:
            failed[versions[0].reference] = str(_fault_of_the_resource(error))
            return 0
        _fault_of_the_resource(error)
    return sum([await _derive(ctx, [version], failed) for version in versions if version.reference not in failed])


def _fault_of_the_resource(error: Exception) -> Outcome:
    """What the database says of a document; raises what it says of itself."""
    found = refusal(error)
    if found is None or found.status >= 500:
        raise error
    return found


async def again(ctx: Context, type_: str, id_: str) -> list[str]:
    """The search parameters of which one resource has other values than before."""
    for _ in range(ATTEMPTS):
        for document in await ctx.store.read_many(type_, [id_], ("search", "generation")):
            if "deleted" in document:
                break
            if document.get("generation", 0) > ctx.indexer.generation:
                await ctx.live.renew()
                ctx = ctx.fresh()
            change = derived(ctx, stored(type_, document))
            with ctx.indexer.in_use():
                if await ctx.store.derive([change]):
                    return _differing(document.get("search", {}), _as_stored(change.search))
    raise Outcome(409, "conflict", f"{type_}/{id_} is being changed by others all the time; try again")


def _as_stored(search: Document) -> Document:
    """As it is read back: a decimal becomes a Decimal128, a time one of the codec's."""
    return bson.decode(bson.encode(search, codec_options=CODECS), NAIVE)


def _differing(before: Document, now: Document) -> list[str]:
    """By their codes; `name:exact` is one of the forms of `name`."""
    return sorted({key.partition(":")[0] for key in before.keys() | now.keys() if before.get(key) != now.get(key)})


def derived(ctx: Context, version: Stored) -> Change:
    """The same version, with what follows from its body now."""
    body = version.body
    resource = json.resource(body)
    entry = ctx.indexer.entry(resource)
    return Change(
        version.type,
        version.id,
        version.version,
        version.updated,
        body,
        resource,
        entry.search,
        entry.sort,
        entry.compartments,
        None,
        ctx.indexer.generation,
    )
