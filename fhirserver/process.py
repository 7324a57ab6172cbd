"""One server process: its database, its demo patients, its HTTP port, its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from threading import Thread
from types import FrameType
from typing import Any

import uvicorn
from pydantic import SecretStr

from fhirserver import demo, files, sandbox
from fhirserver.app import create_app
from fhirserver.assembly import contexts
from fhirserver.context import OPERATOR, Context
from fhirserver.fhir import json
from fhirserver.interactions.load import Receipt, load
from fhirserver.open_files import allow_many
from fhirserver.rest.packets import Protocol
from fhirserver.settings import Settings, default_base_url
from fhirserver.store import embedded
from fhirserver.store.connect import connect
from fhirserver.store.schema import SERVER

GRACE_SECONDS = 10
KEEP_ALIVE_SECONDS = 75  # longer than clients and proxies keep theirs: who closes first cannot meet a request half-way

log = logging.getLogger(__name__)


class PortTaken(Exception):
    """Somebody else listens where this server should."""


def begun(settings: Settings) -> bool:
    """Whether there is a database for a command that makes none: where it looks for what is kept."""
    return settings.mongodb_url is not None or embedded.begun(settings.data)


@contextmanager
def database(settings: Settings, *, share: bool = True) -> Iterator[Settings]:
    """The settings with `mongodb_url` filled in, and the embedded database behind it when none is configured.

    A command may `share` the database of the server that runs on the same data folder; a server never does.
    """
    if settings.mongodb_url is not None:
        yield settings
        return
    url = embedded.attach(settings.data) if share else None
    if url is not None:
        yield settings.model_copy(update={"mongodb_url": SecretStr(url)})
        return
    with embedded.start(settings.data, str(settings.mongod) if settings.mongod else None, settings.cache_gb) as running:
        running.watch()
        yield settings.model_copy(update={"mongodb_url": SecretStr(running.url)})


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, then finish what is under way and stop the embedded database in order."""
    allow_many()
    with stopping_in_order(), listening(settings.host, settings.port) as port, database(settings, share=False) as full:
        asyncio.run(prepare(full, say))
        for part in full.partitions().values():
            say(f"FHIR R4 at {part.base_url}, capabilities at {part.base_url}/metadata")
        config = uvicorn.Config(
            create_app(full, partial(_post, full)),
            loop="uvloop",
            http=Protocol,
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # who asks through which proxy decides nothing here
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        collect_seldom()
        with nullcontext() if full.broker_url else working(full):
            uvicorn.Server(config).run(sockets=[port])


def work(settings: Settings) -> None:
    """Do the jobs of a server until SIGINT, SIGTERM or SIGHUP; what is under way then is given back."""
    with stopping_in_order(), database(settings) as full:
        for part in full.partitions().values():
            asyncio.run(_reached(part))
        with working(full) as worker:
            worker.join()
            sys.exit(1)  # it ended of itself, and said why


async def _reached(settings: Settings) -> None:
    """Make sure of the database while a refusal can still be said in a sentence."""
    async with operator(settings):
        pass


@contextmanager
def working(settings: Settings) -> Iterator[Thread]:
    """A worker in a thread of its own, until the `with` ends. What it is at then is given back."""
    stop: Future[None] = Future()
    thread = Thread(target=_live, args=(settings, stop), name="worker", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set_result(None)
        thread.join(GRACE_SECONDS)
        if thread.is_alive():
            log.warning("the worker does not come to an end; another will go on with what it is at")


# Celery takes a quarter of a second to import: in a thread nobody waits for it.


def _live(settings: Settings, stop: Future[None]) -> None:
    from fhirserver import worker

    asyncio.run(worker.live(settings, stop))


async def _post(settings: Settings, tenant: str, id_: str) -> None:
    """Tell a worker that a job waits."""

    def send() -> None:
        from fhirserver import worker

        worker.tell(settings, tenant, id_)

    await asyncio.to_thread(send)


def collect_seldom() -> None:
    """Let the collector of cycles pass over what stays, and look at the rest less often.

    What a request makes is freed when its last reference goes; in a load the collector took a fifth of the time.
    https://docs.python.org/3/library/gc.html
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Any request to end unwinds the stack, so that every `with` above closes what it opened."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bound before the database starts, so that a taken port costs nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host.strip("[]"), port))
        except OSError as error:
            raise PortTaken(
                f"cannot listen on {host} port {port}: {error.strerror}. Choose another with --port"
            ) from error
        yield server


@asynccontextmanager
async def operator(settings: Settings) -> AsyncIterator[Context]:
    """The context of who runs the server: reaching its data folder or its database already allows everything.

    `settings` are those of one tenant, or have none.
    """
    async with contexts(settings, asked=False) as found:
        (ctx,) = found.values()
        yield replace(ctx, caller=OPERATOR)


ADDRESS = "address"  # of the server that last began, in the row of the collection that servers share


async def as_served(settings: Settings) -> Settings:
    """The settings of one record with the bases of the server that last began on it, unless these were set.

    A command does not see with which `--port` the server runs.
    """
    if is_set(settings) or settings.mongodb_url is None:
        return settings
    client = await connect(settings.mongodb_url.get_secret_value(), timeout=settings.request_timeout)
    try:
        found = await client[settings.database][SERVER].find_one({"_id": ADDRESS}, {"_id": 0})
    finally:
        await client.close()
    return settings.model_copy(update=found or {})


def is_set(settings: Settings) -> bool:
    """Whether the base of these settings is another than what follows from host and port."""
    derived = default_base_url(settings.host, settings.port)
    return settings.base_url != derived and not settings.base_url.startswith(f"{derived}/")


async def is_known(ctx: Context) -> bool:
    """Whether the base is more than a guess: it was set, or a server said it."""
    return is_set(ctx.settings) or await ctx.store.database[SERVER].find_one({"_id": ADDRESS}) is not None


async def prepare(settings: Settings, say: Callable[[str], None]) -> None:
    """Make sure of the database while a refusal can still be said in a sentence, and add the demo patients."""
    for part in settings.partitions().values():
        async with operator(part) as ctx:
            bases = {"base_url": part.base_url, "auth_url": part.auth_url}
            await ctx.store.database[SERVER].update_one({"_id": ADDRESS}, {"$set": bases}, upsert=True)
            await ctx.store.ensure(*await ctx.store.types())  # no request waits for an index that this release brings
            if settings.demo:
                await populate(ctx, say)
                for line in sandbox.shown(ctx, await sandbox.furnish(ctx)):
                    say(line)


async def populate(ctx: Context, say: Callable[[str], None]) -> None:
    """Generate the demo patients where the database holds none; a load that was interrupted is done again."""
    progress, count = ctx.store.database[SERVER], ctx.settings.demo
    done: dict[str, Any] | None = await progress.find_one({"_id": "demo"})
    if done and done["complete"]:
        return
    if not done and await ctx.store.database["Patient"].find_one({}, {"_id": 1}):
        say("The database already holds patients, so no demo patients are added.")
        return
    if not demo.installed():
        say('No demo patients: install their generator with `pip install "healthmate[demo]"`.')
        return
    say(f"Generating {count} synthetic patients; this takes a few seconds each, once.")
    await progress.update_one({"_id": "demo"}, {"$set": {"complete": False}}, upsert=True)
    receipt = await load(ctx, _demo_resources(ctx, count))
    for place, reason in receipt.failed:
        log.warning("demo: %s was not stored: %s", place, reason)
    await progress.update_one({"_id": "demo"}, {"$set": {"complete": True}})
    say(summary(receipt))


def _demo_resources(ctx: Context, count: int) -> Iterator[files.Resource]:
    def unread(part: files.Unread) -> None:
        log.warning("demo: %s: %s", part.place, part.reason)

    for bundle in demo.bundles(count):
        yield from files.entries(
            json.decode(bundle, max_nodes=files.NODES_PER_DOCUMENT), "demo", ctx.definitions, unread
        )


def summary(receipt: Receipt) -> str:
    """`Stored 8,720 resources: 4,523 Observation, …; 12 were here already, unchanged`"""
    ordered = sorted(receipt.stored.items(), key=lambda item: (-item[1], item[0]))
    total = sum(receipt.stored.values())
    types = ": " + ", ".join(f"{n:,} {type_}" for type_, n in ordered) if total else ""
    here = f"; {receipt.unchanged:,} were here already, unchanged" if receipt.unchanged else ""
    return f"Stored {total:,} resources{types}{here}"
