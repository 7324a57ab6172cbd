"""Many resources at once, each under the id that it has: what a bulk load does with them.

Every resource is validated and indexed as in an update, and becomes a version of its own. Batches are written unordered
and at once, without a transaction: a load that is cut off is run again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.changes import Resource, accepted, new_id, written
from fhirserver.interactions.exchange import Request
from fhirserver.interactions.write import update
from fhirserver.store.resources import Change, Conflict, Stored

BATCH = 250
IN_FLIGHT = 3  # while the database writes some batches, the next one is prepared


@dataclass(slots=True)
class Receipt:
    """What became of a load: `stored` and `failed` add up to `asked`; `counted` is what the database holds of it."""

    asked: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    counted: int = 0

    @property
    def complete(self) -> bool:
        return not self.failed and self.counted == self.asked


async def load(ctx: Context, resources: Iterable[Resource], progress: Callable[[int], None] | None = None) -> Receipt:
    """Store them all. A resource that is refused is named in the receipt and the rest goes on."""
    authorize(ctx.caller, "load", None)
    receipt = Receipt()
    running: set[asyncio.Task[None]] = set()
    batches = _batches(resources)
    # in a thread: reading a large file or waiting for a generator must not stop the writes that are under way
    while batch := await asyncio.to_thread(next, batches, None):
        while len(running) >= IN_FLIGHT:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        prepared = _prepared(ctx, batch, receipt)
        running.add(asyncio.create_task(_write(ctx, prepared, receipt)))
        if progress is not None:
            progress(len(batch))
        await asyncio.sleep(0)
    for task in running:
        await task
    return receipt


def _batches(resources: Iterable[Resource]) -> Iterator[list[Resource]]:
    """Lists of at most BATCH resources; an id that comes again starts a new one."""
    batch: list[Resource] = []
    seen: set[tuple[Any, Any]] = set()
    for resource in resources:
        key = (resource.get("resourceType"), resource.get("id"))
        if len(batch) == BATCH or (key[1] is not None and key in seen):
            yield batch
            batch, seen = [], set()
        batch.append(resource)
        seen.add(key)
    if batch:
        yield batch


def _prepared(ctx: Context, batch: list[Resource], receipt: Receipt) -> dict[str, list[Resource]]:
    """The valid ones by type, with ids."""
    by_type: dict[str, list[Resource]] = defaultdict(list)
    for resource in batch:
        receipt.asked += 1
        type_ = str(resource.get("resourceType"))
        if type_ not in ctx.definitions.resource_types:
            receipt.failed.append((f"{type_}/{resource.get('id', '?')}", "not a resource type of FHIR R4"))
            continue
        try:
            resource = accepted(ctx, resource, type_)
        except Outcome as refusal:
            receipt.failed.append((f"{type_}/{resource.get('id', '?')}", str(refusal)))
        else:
            by_type[type_].append(resource if "id" in resource else resource | {"id": new_id()})
    return by_type


async def _write(ctx: Context, by_type: dict[str, list[Resource]], receipt: Receipt) -> None:
    for type_, resources in by_type.items():
        await ctx.store.ensure(type_)
        current = {v.id: v for v in await ctx.store.read_stored(type_, [r["id"] for r in resources])}
        changes = [written(ctx, r, r["id"], current.get(r["id"])) for r in resources]
        try:
            await ctx.store.write_all(changes)
        except Conflict:  # somebody else writes the same ones: each by itself, as an update
            await _one_by_one(ctx, type_, changes, current, receipt)
        versions = {change.id: change.version for change in changes}
        found = await ctx.store.read_versions(type_, versions)
        kept = sum(found.get(id_, 0) >= version for id_, version in versions.items())
        receipt.counted += kept
        receipt.stored[type_] += kept


async def _one_by_one(
    ctx: Context, type_: str, changes: list[Change], current: dict[str, Stored], receipt: Receipt
) -> None:
    found = await ctx.store.read_versions(type_, [change.id for change in changes])
    for change in changes:
        before = current.get(change.id)
        if found.get(change.id, 0) > (before.version if before else 0):
            continue  # written, by this load or by the other
        request = Request(method="PUT", path=(type_, change.id), body=change.resource)
        try:
            await update(ctx, request, type_, change.id)
        except Outcome as refusal:
            receipt.failed.append((f"{type_}/{change.id}", str(refusal)))
