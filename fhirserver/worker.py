"""Celery, which tells workers what to do next. A root, beside `app`.

A message carries a tenant and the id of a job, never what is to be done: the table of jobs knows, and a message that is
lost, late, or delivered twice does no harm. A beat in every worker asks it to sweep up what nobody was told of.
https://docs.celeryq.dev/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from celery import Celery
from celery.beat import EmbeddedService, Scheduler
from celery.worker import state
from kombu.exceptions import OperationalError
from pymongo.errors import PyMongoError

from fhirserver.assembly import contexts
from fhirserver.bulk.jobs import perform, sweep
from fhirserver.context import OPERATOR, Context
from fhirserver.settings import Settings
from fhirserver.store.connect import DatabaseRefused

PERFORM, SWEEP = "healthmate.perform", "healthmate.sweep"
AGAIN_SECONDS = 5
LAST_LOOPS = 2  # Celery waits for a message once more after it has seen that it shall stop
PATIENCE = {"socket_connect_timeout": 1, "socket_timeout": 1, "max_retries": 1, "interval_start": 0, "interval_step": 0}

log = logging.getLogger(__name__)


def application(settings: Settings, **transport: Any) -> Any:
    """Without a broker messages stay in the memory of this process. Servers of one database share a queue."""
    url = settings.broker_url.get_secret_value() if settings.broker_url else "memory://localhost"
    app = Celery("healthmate", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=f"healthmate.{settings.database}",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=transport if settings.broker_url else {"polling_interval": 0.1},
        beat_schedule={
            "sweep": {
                "task": SWEEP,
                "schedule": settings.job_sweep_seconds,
                "options": {"expires": settings.job_sweep_seconds},
            }
        },
    )
    return app


@lru_cache(maxsize=4)
def _sender(settings: Settings) -> Any:
    return application(settings, **PATIENCE)


def tell(settings: Settings, tenant: str, id_: str) -> None:
    """Tell a worker that a job waits. Where the broker does not answer the job is found by the next sweep."""
    try:
        _sender(settings).send_task(PERFORM, args=(tenant, id_))
    except OperationalError as error:
        log.warning("the broker does not answer, so job %s waits for the next sweep: %s", id_, error)


async def live(settings: Settings, stop: Future[None]) -> None:
    """Work until told to stop, also where the database is away, or Celery gives up, for a while."""
    stopped = asyncio.wrap_future(stop)
    while not stopped.done():
        try:
            await _work(settings, stopped)
        except (DatabaseRefused, PyMongoError) as error:
            log.warning("the worker waits for the database: %s", error)
        await asyncio.wait((stopped,), timeout=AGAIN_SECONDS)


async def _work(settings: Settings, stopped: asyncio.Future[None]) -> None:
    async def post(tenant: str, id_: str) -> None:
        await asyncio.to_thread(tell, settings, tenant, id_)

    async with contexts(settings, post, asked=False) as found:
        await Worker(settings, found).run(stopped)


class Worker:
    """Does one job at a time on the event loop that made it; Celery, in a thread beside it, says which."""

    def __init__(self, settings: Settings, found: Mapping[str, Context]) -> None:
        self.contexts = {tenant: replace(ctx, caller=OPERATOR) for tenant, ctx in found.items()}
        self.loop = asyncio.get_running_loop()
        self.at: asyncio.Task[None] | None = None
        self.stopping = False
        self.app = application(settings)

        def do(tenant: str, id_: str) -> None:
            self.perform(tenant, id_)

        def look() -> None:
            self.sweep()

        for name, function in ((PERFORM, do), (SWEEP, look)):
            self.app.task(function, name=name, shared=False)  # shared: with every application of this process

    # in Celery's thread

    def consume(self) -> None:
        """Take messages until stopped, or until Celery gives up."""
        self.app.set_current()  # in this thread
        beat = EmbeddedService(self.app, thread=True, scheduler_cls=Scheduler)
        options = {"pool": "solo", "without_gossip": True, "without_mingle": True, "without_heartbeat": True}
        celery = self.app.WorkController(ready_callback=lambda _: self._knock(1), **options)
        beat.start()
        try:
            celery.start()
        finally:
            beat.service.stop()

    def perform(self, tenant: str, id_: str) -> None:
        ctx = self.contexts.get(tenant)
        if ctx is None:
            log.warning("job %s is of tenant %s, which is not known here", id_, tenant)
        else:
            self._do(partial(perform, ctx, id_))

    def sweep(self) -> None:
        for ctx in self.contexts.values():
            self._do(partial(_swept, ctx))

    def _do(self, deed: Callable[[], Awaitable[object]]) -> None:
        with suppress(CancelledError):
            asyncio.run_coroutine_threadsafe(self._doing(deed), self.loop).result()

    def _knock(self, times: int) -> None:
        """Have it look around: at the beginning for what waits, at the end for the sign to stop."""
        with suppress(OperationalError):
            for _ in range(times):
                self.app.send_task(SWEEP)

    # on the event loop

    async def run(self, stopped: asyncio.Future[None]) -> None:
        """Until told to stop, or until Celery gives up; in the end what is at hand is given back."""
        consuming = asyncio.create_task(asyncio.to_thread(self.consume))
        await asyncio.wait((consuming, stopped), return_when=asyncio.FIRST_COMPLETED)
        self.stopping = True
        state.should_stop = 0  # for the whole process
        if self.at:
            self.at.cancel()
            await asyncio.wait((self.at,))
        await asyncio.to_thread(self._knock, LAST_LOOPS)
        await consuming
        state.should_stop = None

    async def _doing(self, deed: Callable[[], Awaitable[object]]) -> None:
        if self.stopping:
            return
        self.at = asyncio.current_task()
        try:
            await deed()
        except PyMongoError as error:
            log.warning("jobs wait, since the database does not answer: %s", error)
        finally:
            self.at = None


async def _swept(ctx: Context) -> None:
    for id_ in await sweep(ctx):
        await perform(ctx, id_)
