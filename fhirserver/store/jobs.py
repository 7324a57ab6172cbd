"""The table of jobs: what outlives a request, who is at it, and what came of it. Every step is one atomic write.

A job is run by whoever holds its lease. The lease ends by the clock of the database, so that the clocks of the workers
need not agree; who lost it can write nothing any more. Values go into pipelines as `$literal`: a text may begin with
`$`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from fhirserver.store.resources import Store
from fhirserver.store.schema import JOBS
from fhirserver.store.versions import Document, now

ENDED = ("done", "failed", "cancelled")


class LeaseLost(Exception):
    """The job is not (any more) of this worker: another has it, or it was cancelled."""


class Lease(NamedTuple):
    """Who runs a job, and for how long nobody else may begin when nothing is heard of him."""

    owner: str
    seconds: float


class Progress(NamedTuple):
    """`total` is None while nobody knows."""

    done: int = 0
    total: int | None = None


class Job(NamedTuple):
    """`cursor` is where a run goes on; `attempts` counts the runs since it last moved. `reason`: why it failed."""

    id: str
    kind: str
    key: str
    arguments: Mapping[str, Any]
    state: str
    attempts: int
    progress: Progress
    cursor: Any
    receipt: Mapping[str, Any] | None
    reason: str | None
    created: datetime
    updated: datetime


def identity(kind: str, key: str) -> str:
    """One id for one kind and key, on every server: asked for twice it is one job."""
    return f"{kind}-{hashlib.sha256(f'{kind} {key}'.encode()).hexdigest()[:32]}"


async def enqueue(store: Store, kind: str, key: str, arguments: Mapping[str, Any]) -> Job:
    """The job of this kind and key: a new one, or the one that is here already, whatever became of it."""
    time = now()
    document: Document = {
        "_id": identity(kind, key),
        "kind": kind,
        "key": key,
        "arguments": dict(arguments),
        "state": "queued",
        "attempts": 0,
        "progress": Progress()._asdict(),
        "cursor": None,
        "receipt": None,
        "reason": None,
        "created": time,
        "updated": time,
    }
    try:
        await store[JOBS].insert_one(document)
    except DuplicateKeyError:
        document = await store[JOBS].find_one({"_id": document["_id"]}) or document
    return _job(document)


async def read(store: Store, id_: str) -> Job | None:
    document = await store[JOBS].find_one({"_id": id_})
    return None if document is None else _job(document)


async def recent(store: Store, limit: int) -> list[Job]:
    """The newest first."""
    cursor = store[JOBS].find({}, sort=[("created", -1), ("_id", -1)], limit=limit)
    return [_job(document) for document in await cursor.to_list()]


async def due(store: Store, kinds: Collection[str], limit: int) -> list[str]:
    """Jobs that wait for a worker or whose worker is silent, the oldest first."""
    cursor = store[JOBS].find(_due(kinds), {"_id": 1}, sort=[("created", 1)], limit=limit)
    return [document["_id"] for document in await cursor.to_list()]


async def claim(store: Store, id_: str, lease: Lease, kinds: Collection[str]) -> Job | None:
    """The job, if it is due and of these kinds: of several who claim it, one gets it."""
    taken = {"state": "running", "attempts": {"$add": ["$attempts", 1]}, "lease": _until(lease)}
    return await _changed(store, {"_id": id_, **_due(kinds)}, taken)


async def renew(store: Store, id_: str, lease: Lease) -> None:
    """Still at it."""
    await _held(store, id_, lease, {"lease": _until(lease)})


async def beat(store: Store, id_: str, lease: Lease, progress: Progress, cursor: Any) -> None:
    """How far it is and where another would go on; the lease is renewed."""
    here = {"$literal": cursor}
    moved = {"$cond": [{"$eq": ["$cursor", here]}, "$attempts", 1]}
    reached = {"progress": {"$literal": progress._asdict()}, "cursor": here, "attempts": moved}
    await _held(store, id_, lease, {**reached, "lease": _until(lease)})


async def release(store: Store, id_: str, lease: Lease) -> None:
    """Given back by a worker that stops in order: it waits for the next, and this run does not count."""
    await _held(store, id_, lease, {"state": "queued", "attempts": {"$subtract": ["$attempts", 1]}, "lease": None})


async def finish(store: Store, id_: str, lease: Lease, receipt: Mapping[str, Any], keep_days: int) -> Job:
    return await _held(store, id_, lease, {**_end("done", keep_days), "receipt": {"$literal": dict(receipt)}})


async def fail(store: Store, id_: str, lease: Lease, reason: str, keep_days: int) -> Job:
    return await _held(store, id_, lease, {**_end("failed", keep_days), "reason": {"$literal": reason}})


async def cancel(store: Store, id_: str, keep_days: int) -> Job | None:
    """Cancelled, unless it has ended already. Its worker learns it by its next report. None: no such job."""
    cancelled = await _changed(store, {"_id": id_, "state": {"$nin": list(ENDED)}}, _end("cancelled", keep_days))
    return cancelled or await read(store, id_)


def _due(kinds: Collection[str]) -> Document:
    """Of another kind knows a worker of a later release."""
    silent = {"state": "running", "$expr": {"$lt": ["$lease.until", "$$NOW"]}}
    return {"kind": {"$in": list(kinds)}, "$or": [{"state": "queued"}, silent]}


def _until(lease: Lease) -> Document:
    return {"owner": {"$literal": lease.owner}, "until": {"$add": ["$$NOW", int(lease.seconds * 1000)]}}


def _end(state: str, keep_days: int) -> Document:
    """Jobs that ended are forgotten after some days, by an index that expires."""
    return {"state": state, "lease": None, "expires": {"$add": ["$$NOW", keep_days * 86_400_000]}}


async def _held(store: Store, id_: str, lease: Lease, values: Document) -> Job:
    job = await _changed(store, {"_id": id_, "state": "running", "lease.owner": lease.owner}, values)
    if job is None:
        raise LeaseLost(id_)
    return job


async def _changed(store: Store, filter_: Document, values: Document) -> Job | None:
    change = [{"$set": {**values, "updated": "$$NOW"}}]
    document = await store[JOBS].find_one_and_update(filter_, change, return_document=ReturnDocument.AFTER)
    return None if document is None else _job(document)


def _job(document: Document) -> Job:
    values = {name: document[name] for name in Job._fields if name not in ("id", "progress")}
    return Job(id=document["_id"], progress=Progress(**document["progress"]), **values)
