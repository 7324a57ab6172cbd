"""Workers as an operator runs them: beside the server, or by Redis in processes of their own that may be killed."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx
import pytest
import redis
from brief import briefly
from click.testing import CliRunner
from ports import free_port
from pymongo import MongoClient

from fhirserver import process, telemetry, worker
from fhirserver.assembly import contexts
from fhirserver.cli import main
from fhirserver.settings import Settings
from fhirserver.store.jobs import Job

MARKING = (sys.executable, str(Path(__file__).with_name("marking.py")))
SECONDS = 60
FAST = {"job_lease_seconds": 1.0, "job_sweep_seconds": 0.3}


def until(holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What it says as soon as it says something."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)
    return found


# --- what the tests run -----------------------------------------------------------------------------------------------


class Redis:
    """A Redis on a port of loopback, which can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "yes"]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        until(self.answers)
        return self

    def answers(self) -> bool:
        with redis.Redis(port=self.port, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on PATH: apt-get install redis-server")
    with Redis(tmp_path) as running:
        yield running


@pytest.fixture
def settings(mongodb: str) -> Settings:
    return Settings(mongodb_url=mongodb, database=f"worker-{uuid4().hex[:12]}", port=free_port(), open=True, **FAST)


class Workshop:
    """A database with jobs, and processes that do them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        assert settings.mongodb_url is not None
        self.settings, self.url = settings, settings.mongodb_url.get_secret_value()
        self.log = folder / "worker.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, command: str = "worker", *options: str) -> subprocess.Popen[bytes]:
        variables = {f"HEALTHMATE_{name.upper()}": str(value) for name, value in FAST.items()}
        variables |= {"HEALTHMATE_MONGODB_URL": self.url, "HEALTHMATE_DATABASE": self.settings.database}
        if self.settings.broker_url:
            variables["HEALTHMATE_BROKER_URL"] = self.settings.broker_url.get_secret_value()
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                [*MARKING, command, *options], env=os.environ | variables, stdout=log, stderr=log
            )
        self.processes.append(started)
        return started

    def enqueue(self, *keys: str, pause: float = 0) -> list[Job]:
        """As the server does it."""

        async def inside() -> list[Job]:
            async def post(tenant: str, id_: str) -> None:
                await asyncio.to_thread(worker.tell, self.settings, tenant, id_)

            async with contexts(self.settings, post) as found:
                return [await found[""].enqueue("mark", key, {"pause": pause}) for key in keys]

        return briefly(inside())

    @contextmanager
    def database(self) -> Iterator[Any]:
        with MongoClient(self.url) as client:
            yield client[self.settings.database]

    def states(self) -> dict[str, int]:
        with self.database() as database:
            return {
                row["_id"]: row["n"]
                for row in database.jobs.aggregate([{"$sortByCount": "$state"}, {"$set": {"n": "$count"}}])
            }

    def all_done(self, count: int) -> bool:
        return self.states() == {"done": count}

    def effects(self) -> dict[str, int]:
        """Which marks there are, and how often each was written."""
        with self.database() as database:
            return {mark["_id"]: mark["times"] for mark in database.marks.find()}

    def end(self) -> None:
        for each in self.processes:
            each.kill()
            each.wait()


@pytest.fixture
def workshop(settings: Settings, broker: Redis, tmp_path: Path) -> Iterator[Workshop]:
    shop = Workshop(Settings(**settings.model_dump() | {"broker_url": broker.url}), tmp_path)
    yield shop
    shop.end()


# --- the worker beside the server -------------------------------------------------------------------------------------


def test_a_server_does_its_own_jobs_and_stops_in_order(settings: Settings, tmp_path: Path) -> None:
    shop = Workshop(settings, tmp_path)
    try:
        (quick,) = shop.enqueue("quick")
        server = shop.run("serve", "--open", "--port", str(settings.port))
        status = f"http://127.0.0.1:{settings.port}/fhir/_jobs/"

        def answer(id_: str) -> int | None:
            try:
                return httpx.get(status + id_).status_code
            except httpx.TransportError:
                return None

        until(lambda: answer(quick.id) == 200)
        assert {"name": "done", "valueInteger": 10} in httpx.get(status + quick.id).json()["parameter"][-1]["part"]
        (long,) = shop.enqueue("long", pause=0.5)
        until(lambda: "done" in httpx.get(status + long.id).headers.get("x-progress", ""))
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert shop.states() == {"done": 1, "queued": 1}, "what it was at is given back"
        shop.run("serve", "--open", "--port", str(settings.port))
        until(lambda: shop.all_done(2))
        assert {key.partition("-")[0] for key in shop.effects()} == {"quick", "long"}
        assert max(shop.effects().values()) <= 2
    finally:
        shop.end()


def test_workers_of_one_process_follow_each_other(settings: Settings) -> None:
    """A worker that ends leaves nothing behind for the next, although Celery keeps its state for the whole process."""
    for _ in range(2):
        with process.working(settings) as thread:
            until(lambda: worker.state.all_total_count)
            assert thread.is_alive()
        assert not thread.is_alive()
    assert worker.state.should_stop is None


def test_a_message_from_an_unknown_tenant_or_of_no_job_does_no_harm(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with process.working(settings):
        worker.tell(settings, "strangers", "mark-1")
        worker.tell(settings, "", "mark-1")
        until(lambda: "strangers, which is not known here" in caplog.text)


# --- workers by Redis -------------------------------------------------------------------------------------------------


def test_a_server_with_a_broker_leaves_its_jobs_to_workers(workshop: Workshop) -> None:
    """Two workers, each with a beat of its own: every job has its effect once."""
    keys = [f"k{number}" for number in range(8)]
    workshop.enqueue(*keys)
    workers = [workshop.run(), workshop.run()]
    until(lambda: workshop.all_done(8))
    assert workshop.effects() == {f"{key}-{step}": 1 for key in keys for step in range(10)}
    workers[0].send_signal(signal.SIGTERM)
    assert workers[0].wait(30) == 0


def killed_while_at_work(workshop: Workshop, jobs: int, kills: int, pause: float) -> None:
    """Kill -9 whoever works: in the end every job is done, and only what a kill interrupted was begun twice."""
    keys = [f"k{number}" for number in range(jobs)]
    workshop.enqueue(*keys, pause=pause)
    alive = [workshop.run(), workshop.run()]
    for kill in range(kills):
        before = len(workshop.effects())
        until(lambda before=before: len(workshop.effects()) > before + 5)
        victim = alive.pop(random.randrange(len(alive)))
        victim.kill()
        victim.wait()
        assert not workshop.all_done(jobs), f"kill {kill} came too late to prove anything"
        alive.append(workshop.run())
    until(lambda: workshop.all_done(jobs), 120)
    effects = workshop.effects()
    assert set(effects) == {f"{key}-{step}" for key in keys for step in range(10)}
    assert sum(effects.values()) <= len(effects) + kills
    with workshop.database() as database:
        assert all(job["receipt"] == {"asked": 10, "done": 10} for job in database.jobs.find())


def test_jobs_survive_a_kill(workshop: Workshop) -> None:
    killed_while_at_work(workshop, jobs=6, kills=1, pause=0.02)


@pytest.mark.faults
def test_twenty_jobs_survive_three_kills(workshop: Workshop) -> None:
    killed_while_at_work(workshop, jobs=20, kills=3, pause=0.05)


def test_a_broker_that_is_away_loses_nothing(
    workshop: Workshop, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broker.__exit__()
    workshop.enqueue("kept")
    assert "waits for the next sweep" in caplog.text
    assert workshop.states() == {"queued": 1}
    workshop.run()
    with broker:
        until(lambda: workshop.all_done(1))


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "`healthmate serve` runs a worker of its own"),
        ({"HEALTHMATE_BROKER_URL": "amqp://u:swordfish@h"}, "the broker is a Redis"),
        (
            {"HEALTHMATE_BROKER_URL": "redis://127.0.0.1:1", "HEALTHMATE_MONGODB_URL": "postgres://h"},
            "is not a MongoDB URL",
        ),
    ],
)
def test_a_worker_that_cannot_work_says_why(
    variables: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "configure", lambda level: None)
    done = CliRunner().invoke(main, ["worker"], env=variables)
    assert done.exit_code == 2
    assert sentence in done.output
    assert "swordfish" not in done.output
