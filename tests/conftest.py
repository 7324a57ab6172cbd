"""A real server on a real MongoDB for every test module; `fhir` speaks HTTP with it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from brief import briefly
from ports import free_port
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pymongo import MongoClient
from tls import TLS

from fhirserver.app import create_app
from fhirserver.assembly import contexts
from fhirserver.bulk.jobs import perform, sweep
from fhirserver.context import OPERATOR
from fhirserver.process import KEEP_ALIVE_SECONDS
from fhirserver.rest.packets import Protocol
from fhirserver.settings import Settings, default_base_url
from fhirserver.store import embedded
from fhirserver.store.jobs import Job
from smart_auth import failures, passwords

Resource = dict[str, Any]


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded MongoDB, which soon lets go of the files of a database that is dropped."""
    with embedded.start(tmp_path_factory.mktemp("mongodb"), cache_gb=0.25) as running:
        with MongoClient[Resource](running.url) as client:
            client.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=0)
        yield running.url


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Hashes of passwords of the same kind, that take next to no work, and no wait after a wrong one: else they take
    half the time of many modules."""
    with pytest.MonkeyPatch.context() as patch:
        quick = Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1)
        patch.setattr(passwords, "_hashes", PasswordHash((quick, passwords.Bcrypt())))
        patch.setattr(failures, "LEAST", 0.0)
        yield


class Fhir:
    """A client that shows what happens on the wire."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.http = httpx.Client(base_url=base_url + "/", timeout=60, verify=TLS)

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if "json" in kwargs and "content-type" not in {name.lower() for name in kwargs.get("headers", {})}:
            kwargs["headers"] = {"Content-Type": "application/fhir+json"} | kwargs.get("headers", {})
        url = path if path.startswith("http") else f"{self.base_url}/{path.lstrip('/')}"
        return self.http.request(method, url, **kwargs)

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, resource: Any = None, **kwargs: Any) -> httpx.Response:
        return self.request("POST", path, **({"json": resource} if resource is not None else {}), **kwargs)

    def put(self, path: str, resource: Any = None, **kwargs: Any) -> httpx.Response:
        return self.request("PUT", path, **({"json": resource} if resource is not None else {}), **kwargs)

    def patch(self, path: str, patch: Any, **kwargs: Any) -> httpx.Response:
        kind = "application/json-patch+json" if isinstance(patch, list) else "application/fhir+json"
        headers = {"Content-Type": kind} | kwargs.pop("headers", {})
        return self.request("PATCH", path, json=patch, headers=headers, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("DELETE", path, **kwargs)

    def create(self, resource: Resource, **kwargs: Any) -> Resource:
        answer = self.post(resource["resourceType"], resource, **kwargs)
        assert answer.status_code in (200, 201), answer.text
        created: Resource = answer.json()
        return created

    def bundle(self, path: str, **kwargs: Any) -> Resource:
        answer = self.get(path, **kwargs)
        assert answer.status_code == 200, answer.text
        found: Resource = answer.json()
        return found

    def ids(self, path: str, **kwargs: Any) -> list[str]:
        """The ids of the matches of a search, in order."""
        entries = self.bundle(path, **kwargs).get("entry", [])
        return [e["resource"]["id"] for e in entries if e["search"]["mode"] == "match"]


class Served:
    """A running server and the settings it runs with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        config = uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            http=Protocol,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            ws="none",
            lifespan="on",
        )
        self.server = uvicorn.Server(config)
        self.client = Fhir(default_base_url(settings.host, settings.port))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Served:
        self.thread.start()
        deadline = time.monotonic() + 30
        while not self.server.started:
            if not self.thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        return self

    def work(self) -> list[Job]:
        """Be the worker of this server: run what is due, and say what became of it."""

        async def inside() -> list[Job]:
            async with contexts(self.settings) as found:
                workers = [replace(ctx, caller=OPERATOR) for ctx in found.values()]
                runs = [await perform(ctx, id_) for ctx in workers for id_ in await sweep(ctx)]
                return [job for job in runs if job]

        return briefly(inside())

    def __exit__(self, *_: object) -> None:
        self.client.http.close()
        self.server.should_exit = True
        self.thread.join(30)
        if self.thread.is_alive():
            raise RuntimeError(f"the server does not stop; it waits in:\n{self._at_work()}")

    def _at_work(self) -> str:
        said = StringIO()
        for loop in (each for each in gc.get_objects() if isinstance(each, asyncio.AbstractEventLoop)):
            for task in asyncio.all_tasks(loop):
                task.print_stack(file=said)
        return said.getvalue()


Serve = Callable[..., "Served"]


@pytest.fixture(scope="module")
def serve(mongodb: str) -> Iterator[Serve]:
    """Start a server with other settings than usual; it stops at the end of the module, and its data is gone."""
    running: list[Served] = []

    def start(**settings: Any) -> Served:
        port = free_port()
        values = {
            "mongodb_url": mongodb,
            "database": f"test-{uuid4().hex[:12]}",
            "open": True,
            "port": port,
        } | settings
        served = Served(Settings(**values)).__enter__()
        running.append(served)
        return served

    yield start
    for served in running:
        served.server.should_exit = True
    for served in running:
        served.__exit__()
    databases = {part.database for served in running for part in served.settings.partitions().values()}
    with MongoClient[Resource](mongodb) as client:  # whose files would stay open, and there are hundreds of each
        for each in databases:
            client.drop_database(each)


@pytest.fixture(scope="module")
def fhir(serve: Serve) -> Fhir:
    """The client of a server with a database of its own, shared by a module."""
    return serve().client
