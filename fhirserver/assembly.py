"""What a server is made of: the rules, registries and followers around each record's database.

`contexts` opens them, for the ASGI application, the worker and the command line alike.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from fhirserver.access.audit import account_audited
from fhirserver.access.audit_forms import event_of
from fhirserver.access.audit_lines import mark_of
from fhirserver.consents.kept import Consents
from fhirserver.consents.purposes import is_purpose
from fhirserver.context import ANYONE, NOBODY, Context
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.interactions import in_force, terminology
from fhirserver.interactions.in_force import note
from fhirserver.interactions.parameters import gather
from fhirserver.operations import OPERATIONS
from fhirserver.search.live import Live
from fhirserver.search.parameters import r4_registry
from fhirserver.settings import Settings
from fhirserver.store import jobs
from fhirserver.store.abandoned import ending_abandoned
from fhirserver.store.connect import connect
from fhirserver.store.ending import ended
from fhirserver.store.jobs import Job
from fhirserver.store.ledger import Ledger
from fhirserver.store.outstanding import Event, Outstanding
from fhirserver.store.resources import Store
from fhirserver.store.schema import AUDIT_EVENT, SERVER, ensure_shared
from fhirserver.store.seals import audit_key
from fhirserver.store.space import Space, space_of
from fhirserver.store.strands import forget
from fhirserver.store.versions import Change, now
from fhirserver.store.watching import Listener, nobody, watch
from fhirserver.validation.kept import KeptProfiles
from fhirserver.validation.validate import Validator
from smart_auth import limits, schema, tokens
from smart_auth.sealed import sealing_key
from smart_auth.server import Auth
from terminology.kept import Terminology

log = logging.getLogger(__name__)
RETENTION_SECONDS = 6 * 3600
SPARE_CONNECTIONS = 36  # of whoever asks for more than one at once, and of what happens beside requests

Post = Callable[[str, str], Awaitable[None]]  # a tenant, and the id of a job of it that waits
Tell = Callable[[str], Awaitable[None]]  # the same within a tenant


async def left(*job: str) -> None:
    """Where no worker can be told of a job, the next sweep finds it."""


@asynccontextmanager
async def contexts(settings: Settings, post: Post = left, *, asked: bool = True) -> AsyncIterator[dict[str, Context]]:
    """Everything a request needs, by tenant ("" where there are none), for as long as the database is open.

    `settings.mongodb_url` must be set. `post` tells a worker of a job. `asked`: others ask here, so that what they may
    see is followed, which costs the database a look at each write; otherwise it is read where it is needed.
    """
    if settings.mongodb_url is None:
        raise ValueError("mongodb_url is not set; the command line starts the embedded database and sets it")
    client = await connect(
        settings.mongodb_url.get_secret_value(),
        timeout=settings.request_timeout,
        connections=settings.max_at_work + SPARE_CONNECTIONS,
    )
    try:
        async with ending_abandoned(client):
            space = await space_of(client, settings.spare_disk_mb)
            opened = {
                tenant: await _opened(client, part, space, partial(post, tenant))
                for tenant, part in settings.partitions().items()
            }
            async with _following([*opened.values()], asked=asked), _kept([*opened.values()]):
                for ctx in opened.values():
                    await gather(ctx)
                    if asked:
                        await in_force.known(ctx)
                yield {tenant: ctx.fresh() for tenant, ctx in opened.items()}
    finally:
        await client.close()


@asynccontextmanager
async def _kept(opened: Sequence[Context]) -> AsyncIterator[None]:
    """Audit events are made, and kept as long as they are to be; where their strands stand is noted at the end."""
    ledgers = [ctx.ledger for ctx in opened if ctx.ledger is not None]
    tasks = [asyncio.create_task(each) for ledger in ledgers for each in (ledger.run(), ledger.outstanding.run())]
    tasks += [asyncio.create_task(_forgetting(ctx, days)) for ctx in opened if (days := ctx.settings.audit_days)]
    try:
        yield
    finally:
        await ended(tasks)
        for ledger in ledgers:
            await ledger.outstanding.close()
            await ledger.checkpoint()


@contextmanager
def _making(live: Live) -> Iterator[Callable[[bytes], Event]]:
    """Of a line of the ledger its event, by the search parameters of now."""
    indexer = live.rules.indexer
    with indexer.in_use():
        yield partial(event_of, indexer)


async def _forgetting(ctx: Context, days: int) -> None:
    while True:
        try:
            gone = await forget(ctx.store, audit_key(ctx.secret), ctx.now() - timedelta(days=days))
        except PyMongoError as error:
            log.warning("old audit events could not be taken away: %s", error)
        else:
            log.info("%d audit events were older than %d days", gone, days)
        await asyncio.sleep(RETENTION_SECONDS)


@asynccontextmanager
async def _following(opened: Sequence[Context], *, asked: bool) -> AsyncIterator[None]:
    """Each record's search parameters and terminology are followed, and what those who ask here may see."""
    tasks: list[asyncio.Task[None]] = []
    lives = [ctx.live for ctx in opened]
    try:
        for ctx in opened:
            await ctx.live.enter()
            listeners = [ctx.live.listener, terminology.listener(ctx), Listener(None, nobody, [ctx.store.present])]
            if asked:
                listeners += [in_force.listener(ctx), _of_tokens(ctx.auth)]
                tasks.append(asyncio.create_task(limits.follow(ctx.auth)))
            tasks += [asyncio.create_task(each) for each in (ctx.live.follow(), watch(ctx.store, listeners))]
        for task in tasks:
            task.add_done_callback(_say_why)
        yield
    finally:
        await ended(tasks)
        for live in lives:
            await live.leave()


def _say_why(task: asyncio.Task[None]) -> None:
    """Nobody tells of changes any more: what is kept is read each time, which is slow and not wrong."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("changes are not followed any more", exc_info=error)


def _of_tokens(auth: Auth) -> Listener:
    """What is known of tokens is trusted as long as changes are told here."""
    collections, only = tokens.changing(auth)
    return Listener(collections, lambda _: auth.known.changed(), [auth.known], only=only)


async def _opened(
    client: AsyncMongoClient[dict[str, Any]], settings: Settings, space: Space | None, tell: Tell
) -> Context:
    database = client[settings.database]
    await ensure_shared(database)
    await schema.ensure(database)
    return assemble(settings, database, await _secret(database, settings), space, tell)


def assemble(
    settings: Settings,
    database: AsyncDatabase[dict[str, Any]],
    secret: bytes,
    space: Space | None = None,
    tell: Tell = left,
) -> Context:
    """The rules and registries around a database; nothing is read or written yet."""
    definitions = r4()
    store = Store(
        database,
        mirror=settings.mirror,
        timeout=settings.request_timeout,
        search_ms=settings.search_timeout_ms,
        space=space,
    )
    compiled = Terminology()
    consents = Consents()
    store.wrote = partial(_wrote, compiled, consents)
    enqueue = partial(_enqueue, store, tell)
    live = Live(store, r4_registry(full_text=settings.full_text), settings.base_url, enqueue)
    outstanding = Outstanding(store, audit_key(secret), partial(_making, live), mark_of)
    store.late = {AUDIT_EVENT: outstanding}
    ledger = Ledger(store, audit_key(secret), outstanding) if settings.audit and not settings.open else None
    ctx = Context(
        store=store,
        definitions=definitions,
        rules=live.rules,
        live=live,
        validator=Validator(definitions, required_codes()),
        settings=settings,
        secret=secret,
        now=now,
        operations=OPERATIONS,
        enqueue=enqueue,
        terminology=compiled,
        profiles=KeptProfiles(),
        consents=consents,
        auth=Auth(database, settings, now, is_purpose=is_purpose, sealing_key=sealing_key(secret)),
        caller=ANYONE if settings.open else NOBODY,
        ledger=ledger,
    )
    return replace(ctx, auth=replace(ctx.auth, tell=partial(account_audited, ctx)))


def _wrote(compiled: Terminology, consents: Consents, changes: Sequence[Change]) -> None:
    """What this process wrote counts with its next request."""
    if any(each.type in terminology.FOLLOWED for each in changes):
        compiled.changed()
    note(consents, changes)


async def _enqueue(store: Store, tell: Tell, kind: str, key: str, arguments: Mapping[str, Any]) -> Job:
    """The table first: a message without a job is nothing, a job without a message is found."""
    job = await jobs.enqueue(store, kind, key, arguments)
    if job.state == "queued":
        await tell(job.id)
    return job


async def _secret(database: Any, settings: Settings) -> bytes:
    """The key of page links; servers of one database share it, so that a link works on each of them."""
    if settings.secret is not None:
        return settings.secret.get_secret_value().encode()
    document = await database[SERVER].find_one_and_update(
        {"_id": "secret"},
        {"$setOnInsert": {"value": secrets.token_hex(32)}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return bytes.fromhex(document["value"])
