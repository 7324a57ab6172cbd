"""Running the jobs of the table: a registry by kind, and the steps around a run.

A job is written so that it may be run again from its cursor: a worker can be killed at any point, and then the same
stretch is done twice. What it answers, the receipt, counts the database again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol
from uuid import uuid4

from pymongo.errors import PyMongoError

from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome
from fhirserver.store import jobs
from fhirserver.store.ending import ended
from fhirserver.store.faults import refusal
from fhirserver.store.jobs import Job, Lease, LeaseLost, Progress
from fhirserver.store.resources import Store
from fhirserver.telemetry import request_id

ATTEMPTS = 5  # runs in a row that got nowhere
SWEPT = 100

log = logging.getLogger(__name__)


class Report(Protocol):
    """How far the job is, and where it goes on if it is interrupted. Raises LeaseLost where it shall stop."""

    async def __call__(self, done: int, total: int | None = None, cursor: Any = None) -> None: ...


Run = Callable[[Context, Job, Report], Awaitable[Mapping[str, Any]]]
JOBS: dict[str, Run] = {}


def job(kind: str) -> Callable[[Run], Run]:
    """Register what runs the jobs of a kind."""

    def register(run: Run) -> Run:
        if kind in JOBS:
            raise ValueError(f"jobs of kind {kind} are already defined")
        JOBS[kind] = run
        return run

    return register


async def sweep(ctx: Context) -> list[str]:
    """The ids of jobs that wait, or whose worker was not heard of for the time of a lease."""
    return await jobs.due(ctx.store, JOBS, SWEPT)


async def perform(ctx: Context, id_: str) -> Job | None:
    """Run a job that is due, from where its last report left it. None: there is nothing to do, or another does it."""
    lease = Lease(uuid4().hex, ctx.settings.job_lease_seconds)
    claimed = await jobs.claim(ctx.store, id_, lease, JOBS)
    if claimed is None:
        return None
    request_id.set(id_)  # what it logs says of which job
    log.info("job %s begins, attempt %d", id_, claimed.attempts)
    try:
        return await _run(ctx, claimed, lease)
    except LeaseLost:
        log.warning("job %s stops here: it was cancelled, or another worker has it", id_)
    except asyncio.CancelledError:  # the worker stops
        with suppress(LeaseLost):
            await jobs.release(ctx.store, id_, lease)
        raise
    except Exception as error:  # the lease runs out, and somebody goes on from the cursor
        if state := refusal(error):
            log.warning("job %s is interrupted: %s", id_, state)
        else:
            log.exception("job %s is interrupted", id_)
    return await jobs.read(ctx.store, id_)


async def _run(ctx: Context, claimed: Job, lease: Lease) -> Job:
    """One run to its end: a receipt, or the reason why there is none."""
    keep = ctx.settings.job_retention_days
    if claimed.attempts > ATTEMPTS:
        reason = f"it was begun {ATTEMPTS} times and each time ended without an answer; the server's log says more"
        return await _failed(ctx, claimed, lease, reason)

    async def report(done: int, total: int | None = None, cursor: Any = None) -> None:
        await jobs.beat(ctx.store, claimed.id, lease, Progress(done, total), cursor)

    try:
        async with _renewed(ctx.store, claimed.id, lease):
            receipt = await JOBS[claimed.kind](ctx.fresh(), claimed, report)
    except Outcome as refused:
        return await _failed(ctx, claimed, lease, str(refused))
    log.info("job %s is done", claimed.id)
    return await jobs.finish(ctx.store, claimed.id, lease, receipt, keep)


async def _failed(ctx: Context, claimed: Job, lease: Lease, reason: str) -> Job:
    log.error("job %s failed: %s", claimed.id, reason)
    return await jobs.fail(ctx.store, claimed.id, lease, reason, ctx.settings.job_retention_days)


@asynccontextmanager
async def _renewed(store: Store, id_: str, lease: Lease) -> AsyncIterator[None]:
    """The lease is held for as long as the `with` runs, also where the job has nothing to report for a while."""
    task = asyncio.create_task(_renew(store, id_, lease))
    try:
        yield
    finally:
        await ended([task])
        if not task.cancelled():
            task.result()


async def _renew(store: Store, id_: str, lease: Lease) -> None:
    with suppress(LeaseLost):  # the next report says so
        while True:
            await asyncio.sleep(lease.seconds / 3)
            try:
                await jobs.renew(store, id_, lease)
            except PyMongoError as error:
                log.warning("the lease of job %s is not renewed: %s", id_, error)
