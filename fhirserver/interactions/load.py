"""Many resources at once, each under the id that it has: what a bulk load does with them.

Every resource is validated and indexed as in an update; one that is here already, word for word, gets no new version.
Batches of one type are written unordered and at once, without a transaction: a load that is cut off is run again, and
goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, KeysView
from dataclasses import dataclass, field, replace
from itertools import islice

import pymongo
from bson.errors import BSONError
from pymongo.errors import PyMongoError

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.changes import Resource, accepted, unchanged, written
from fhirserver.interactions.exchange import Request
from fhirserver.interactions.parameters import take, write_all
from fhirserver.interactions.validation import approved
from fhirserver.interactions.write import update
from fhirserver.search.custom import SEARCH_PARAMETER
from fhirserver.store.faults import refusal
from fhirserver.store.transactions import transact
from fhirserver.store.versions import Change, Conflict

PIECE = 100  # resources that are looked at before the writes under way get their turn
BATCH = 250  # resources of one type that are written together
PART_BYTES = 2_000_000  # of JSON in one command: some resources refer to thousands, and each reference is an index key
BATCH_SECONDS = 60.0  # nobody waits for an answer: a busy database may take its time
IN_FLIGHT = 6  # while the database writes some batches, the next ones are prepared
Batch = dict[str, Resource]  # by id
Running = dict[asyncio.Task[None], tuple[str, KeysView[str]]]


@dataclass(slots=True)
class Receipt:
    """What became of a load. `counted` is what the database holds of `stored` and `unchanged`, asked afterwards."""

    asked: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    counted: int = 0

    def and_(self, other: Receipt) -> Receipt:
        """Of two loads together."""
        return Receipt(
            self.asked + other.asked,
            self.stored + other.stored,
            self.unchanged + other.unchanged,
            self.failed + other.failed,
            self.counted + other.counted,
        )

    @property
    def missing(self) -> int:
        return self.asked - len(self.failed) - self.counted


async def load(ctx: Context, resources: Iterable[Resource], progress: Callable[[int], None] | None = None) -> Receipt:
    """Store them all. A resource that is refused is named in the receipt and the rest goes on."""
    authorize(ctx.caller, "load", None)
    receipt = Receipt()
    running: Running = {}
    waiting: dict[str, Batch] = defaultdict(dict)
    pieces = _pieces(resources)
    try:
        # in a thread: reading a large file or waiting for a generator must not stop the writes that are under way
        while piece := await asyncio.to_thread(next, pieces, None):
            async for type_, resource in _prepared(ctx, piece, receipt):
                if len(waiting[type_]) == BATCH or resource["id"] in waiting[type_]:
                    await _start(ctx, type_, waiting.pop(type_), running, receipt)
                waiting[type_][resource["id"]] = resource
            if progress is not None:
                progress(len(piece))
            await asyncio.sleep(0)
        for type_, batch in waiting.items():
            await _start(ctx, type_, batch, running, receipt)
        while running:
            await _one_less(running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return receipt


async def _start(ctx: Context, type_: str, batch: Batch, running: Running, receipt: Receipt) -> None:
    """Write a batch as soon as there is room: of two versions of one resource the later one must be written later."""
    while len(running) >= IN_FLIGHT or any(
        t == type_ and not batch.keys().isdisjoint(ids) for t, ids in running.values()
    ):
        await _one_less(running)
    running[asyncio.create_task(_write(ctx, type_, [*batch.values()], receipt))] = type_, batch.keys()
    await asyncio.sleep(0)


async def _one_less(running: Running) -> None:
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        del running[task]
        task.result()


def _pieces(resources: Iterable[Resource]) -> Iterator[list[Resource]]:
    rest = iter(resources)
    while piece := [*islice(rest, PIECE)]:
        yield piece


async def _prepared(ctx: Context, piece: list[Resource], receipt: Receipt) -> AsyncIterator[tuple[str, Resource]]:
    """The valid ones, with their types, and with ids."""
    for resource in piece:
        receipt.asked += 1
        type_ = str(resource.get("resourceType"))
        if type_ not in ctx.definitions.resource_types:
            receipt.failed.append((f"{type_}/{resource.get('id', '?')}", "not a resource type of FHIR R4"))
            continue
        try:
            resource = accepted(ctx, resource, type_)
            await approved(ctx, resource)
        except Outcome as refusal:
            receipt.failed.append((f"{type_}/{resource.get('id', '?')}", str(refusal)))
        else:
            yield type_, resource if "id" in resource else resource | {"id": new_id()}


async def _write(ctx: Context, type_: str, resources: list[Resource], receipt: Receipt) -> None:
    with pymongo.timeout(BATCH_SECONDS):
        await _write_batch(ctx, type_, resources, receipt)


async def _write_batch(ctx: Context, type_: str, resources: list[Resource], receipt: Receipt) -> None:
    await ctx.store.ensure(type_)
    current = {v.id: v for v in await ctx.store.read_stored(type_, [r["id"] for r in resources])}
    same = {id_ for r in resources if (id_ := r["id"]) in current and unchanged(r, current[id_])}
    ctx = ctx.fresh()  # whatever was waited for until here
    changes = [written(ctx, r, r["id"], current.get(r["id"])) for r in resources if r["id"] not in same]
    failed: set[str] = set()
    try:
        await _write_all(ctx, type_, changes)
    except (Conflict, Outcome, BSONError, PyMongoError) as error:  # others write the same ones, or one is refused
        if not isinstance(error, (Conflict, Outcome)) and _fault_of_the_resource(error) is None:
            raise
        failed = await _one_by_one(ctx, type_, changes, receipt)
    versions = {id_: current[id_].version for id_ in same}
    versions |= {change.id: change.version for change in changes if change.id not in failed}
    found = await ctx.store.read_versions(type_, versions)
    kept = {id_ for id_, version in versions.items() if found.get(id_, 0) >= version}
    receipt.counted += len(kept)
    receipt.unchanged += len(kept & same)
    if stored := len(kept - same):
        receipt.stored[type_] += stored


async def _write_all(ctx: Context, type_: str, changes: list[Change]) -> None:
    """Search parameters in a transaction with what they change; nothing else needs one."""
    with ctx.indexer.in_use():
        if type_ != SEARCH_PARAMETER:
            for part in _parts(changes):
                await ctx.store.write_all(part)
            return
        await transact(ctx.store, lambda store: write_all(replace(ctx, store=store), changes))
    await take(ctx)


def _parts(changes: list[Change]) -> Iterator[list[Change]]:
    """What one command writes each."""
    part: list[Change] = []
    size = 0
    for change in changes:
        weight = len(change.body or b"")
        if part and size + weight > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(change)
        size += weight
    if part:
        yield part


async def _one_by_one(ctx: Context, type_: str, changes: list[Change], receipt: Receipt) -> set[str]:
    """As updates, but for those of the batch that were written. The ids of the refused."""
    failed = set()
    for change in changes:
        version = await ctx.store.vread(type_, change.id, change.version)
        if version is not None and version.body == change.body:
            continue
        request = Request(method="PUT", path=(type_, change.id), body=change.resource)
        try:
            await update(ctx, request, type_, change.id)
        except (Outcome, BSONError, PyMongoError) as error:
            refused = error if isinstance(error, Outcome) else _fault_of_the_resource(error)
            if refused is None:
                raise
            failed.add(change.id)
            receipt.failed.append((f"{type_}/{change.id}", str(refused)))
    return failed


def _fault_of_the_resource(error: Exception) -> Outcome | None:
    found = refusal(error)
    return found if found is not None and found.status < 500 else None
