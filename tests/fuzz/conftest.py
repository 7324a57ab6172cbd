"""Fuzzing over HTTP: `make test` takes the same few examples each time, `make fuzz` thousands of new ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from pymongo import MongoClient
from wire import JSON, Wire

PATIENT = b'{"resourceType":"Patient","active":true,"name":[{"family":"Plain"}]}'
Fuzz = Callable[..., None]
LONG = (pytest.mark.fuzz, pytest.mark.timeout(3_600))


class World:
    """A server under fire: its connection and its database."""

    def __init__(self, wire: Wire, database: Any) -> None:
        self.wire = wire
        self.database = database

    def documents(self) -> int:
        """How many documents the whole database holds: resources, versions, all."""
        found: int = self.database.command("dbStats")["objects"]
        return found

    def refuses_whole(self, method: str, target: bytes | str, body: bytes, *headers: tuple[bytes, bytes]) -> Any:
        """An exchange by the law, after which nothing of a refused request is stored."""
        before = self.documents()
        reply = self.wire.checked(method, target, body, *headers)
        if reply.status >= 400:
            assert self.documents() <= before, reply
        return reply

    def lives(self) -> None:
        """A plain create and read still work."""
        made = self.wire.checked("POST", "/Patient", PATIENT, (b"Content-Type", JSON))
        assert made.status == 201
        read = self.wire.checked("GET", "/Patient/" + made.resource["id"])
        assert (read.status, read.resource["name"]) == (200, [{"family": "Plain"}])


@pytest.fixture(scope="session", autouse=True)
def inputs() -> Iterator[None]:
    """How many inputs there were, for who wants to know."""
    began = time.monotonic()
    yield
    print(f"\nfuzz: {Wire.asked:,} inputs in {time.monotonic() - began:.0f} s, no 5xx but deliberate ones")


@pytest.fixture(scope="module")
def world(serve: Any) -> Iterator[World]:
    """A server, and what must hold when everything has been thrown at it."""
    served = serve()
    wire = Wire(served.settings.port)
    with MongoClient(served.settings.mongodb_url.get_secret_value()) as client:
        world = World(wire, client[served.settings.database])
        world.lives()
        yield world
        world.lives()
    wire.close()


@pytest.fixture(
    params=[
        pytest.param(None, id="short"),
        pytest.param(int(os.environ.get("HEALTHMATE_FUZZ_EXAMPLES", "2800")), id="long", marks=LONG),
    ]
)
def fuzz(request: pytest.FixtureRequest) -> Fuzz:
    """`fuzz(strategy, law)`: the law holds for every example of the strategy; a long run takes `times` as many."""

    def run(strategy: SearchStrategy[Any], law: Callable[[Any], None], short: int = 40, times: int = 1) -> None:
        chosen = settings(
            max_examples=times * request.param if request.param else short,
            derandomize=request.param is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
        )
        chosen(given(strategy)(law))()

    return run
