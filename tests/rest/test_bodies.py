"""Bodies of requests: how long, how slow, and how many bytes at once."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from fhirserver.fhir.outcome import Outcome
from fhirserver.rest.bodies import Bodies, Body

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served

MEGABYTE = 1_000_000
PATIENT = {"resourceType": "Patient"}


@contextmanager
def begun(fhir: Fhir, announced: int, sent: int = 0) -> Iterator[socket.socket]:
    """A client that says how much it is about to send, and stops in the middle of it."""
    url = urlsplit(fhir.base_url)
    head = f"POST {url.path}/Patient HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as client:
        client.sendall(f"{head}Content-Length: {announced}\r\n\r\n".encode() + b" " * sent)
        yield client


def holds(served: Served, size: int) -> None:
    """Wait until the server holds so many bytes."""
    bodies = served.server.config.app.bodies  # type: ignore[union-attr]
    for _ in range(1_000):
        if bodies.held == size:
            return
        time.sleep(0.01)
    raise AssertionError(bodies.held)


def test_a_body_that_does_not_arrive_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.rest.bodies.SECONDS", 0.2)
    with begun(serve().client, 100, 10) as client:
        answer = client.makefile("rb").read()  # to the end: the connection is closed
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.2 s" in answer


def test_a_body_that_is_announced_too_long_is_refused_before_it_is_sent(fhir: Fhir) -> None:
    with begun(fhir, 10 * MEGABYTE + 1) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_bodies_have_so_much_room_together(serve: Serve) -> None:
    served = serve(max_bodies_mb=1)
    fhir = served.client
    with begun(fhir, MEGABYTE, MEGABYTE - 1):
        holds(served, MEGABYTE - 1)
        refused = fhir.post("Patient", PATIENT)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["issue"][0]["code"] == "throttled"
        assert fhir.get("Patient").status_code == 200  # who sends nothing is not concerned
    holds(served, 0)
    assert fhir.post("Patient", PATIENT).status_code == 201


def read(bodies: Bodies, content: bytes, **headers: str) -> bytes:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content}

    async def tell() -> bytes:
        with Body(bodies) as body:
            return await body.read(receive, {name.encode(): value.encode() for name, value in headers.items()})

    return asyncio.run(tell())


def test_one_body_alone_has_room_and_gives_it_back() -> None:
    bodies = Bodies(most=10, longest=100)
    assert read(bodies, b"x" * 100) == b"x" * 100
    with pytest.raises(Outcome, match="longer than 100 bytes"):
        read(bodies, b"x" * 101)
    assert bodies.held == 0


def test_what_is_unpacked_counts() -> None:
    bodies = Bodies(most=1_000, longest=10_000)
    bodies.held = 1  # of another one
    packed = gzip.compress(b"x" * 5_000)
    with pytest.raises(Outcome, match="too much is being sent"):
        read(bodies, packed, **{"content-encoding": "gzip"})
    assert bodies.held == 1
