"""Head and body of an answer leave together, whatever else is on the connection."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from fhirserver.rest.packets import Together

if TYPE_CHECKING:
    from conftest import Fhir


class Wire(asyncio.Transport):
    """A transport that remembers what was written to it, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(bytes(data))

    def close(self) -> None:
        self.calls.append(b"closed")

    def is_closing(self) -> bool:
        return self.calls[-1:] == [b"closed"]


def written(*actions: str) -> list[bytes]:
    """What is on the wire when these were done; `|` is the end of a turn of the loop."""

    async def story() -> list[bytes]:
        wire = Wire()
        together = Together(wire, asyncio.get_running_loop())
        for action in actions:
            if action == "|":
                await asyncio.sleep(0)
            elif action == "close":
                together.close()
            else:
                together.write(action.encode())
        await asyncio.sleep(0)
        assert together.is_closing() is ("close" in actions)
        return wire.calls

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("actions", "calls"),
    [
        (("head ", "body"), [b"head body"]),
        (("head", ""), [b"head"]),
        (("head",), [b"head"]),
        (("head ", "one ", "|", "two ", "|"), [b"head one ", b"two "]),
        (("head ", "one", "two ", "three"), [b"head one", b"two three"]),
        (("head ", "body", "head ", "body"), [b"head body", b"head body"]),
        (("", "|"), []),
        (("head ", "body", "close"), [b"head body", b"closed"]),
        (("head", "close"), [b"head", b"closed"]),
    ],
)
def test_what_is_written_in_one_turn_of_the_loop_is_one_write(actions: tuple[str, ...], calls: list[bytes]) -> None:
    assert written(*actions) == calls


def test_requests_in_one_packet_are_answered_in_order(fhir: Fhir) -> None:
    where: Any = urlsplit(fhir.base_url)
    asked = [("GET", "/fhir/metadata", b"200"), ("HEAD", "/fhir/Patient/none", b"404"), ("GET", "/healthz", b"200")]
    with socket.create_connection((where.hostname, where.port), timeout=10) as wire:
        last = "Connection: close\r\n"
        requests = [f"{method} {path} HTTP/1.1\r\nHost: {where.netloc}\r\n" for method, path, _ in asked]
        wire.sendall("".join(f"{each}\r\n" for each in requests[:-1]).encode() + f"{requests[-1]}{last}\r\n".encode())
        said = b"".join(iter(lambda: wire.recv(65536), b""))
    heads = [each.split(b" ", 1)[0] for each in said.split(b"HTTP/1.1 ")[1:]]
    assert heads == [status for _, _, status in asked]


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("apart", [False, True], ids=["one packet", "body apart"])
def test_an_offer_to_upgrade_is_passed_over(fhir: Fhir, offer: str, chunked: bool, apart: bool) -> None:
    """Its body is a body, and never the next request."""
    where: Any = urlsplit(fhir.base_url)
    host = f"Host: {where.netloc}\r\n"
    body = f"GET /healthz HTTP/1.1\r\n{host}\r\n"
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    sent = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n" if chunked else body
    head = f"PUT /fhir/Patient/o HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: {offer}\r\n{length}\r\n"
    head += "Content-Type: application/fhir+json\r\n\r\n"
    last = f"GET /fhir/metadata HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
    with socket.create_connection((where.hostname, where.port), timeout=10) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in (head, sent + last) if apart else (head + sent + last,):
            wire.sendall(packet.encode())
            time.sleep(0.05)
        said = b"".join(iter(lambda: wire.recv(65536), b""))
    refused, answered = said.split(b"HTTP/1.1 ")[1:]
    assert refused.startswith(b"400")
    assert b"JSON" in refused
    assert answered.startswith(b"200")


LARGE = {"resourceType": "Binary", "id": "large", "contentType": "text/plain", "data": "QUJD" * 2_000_000}


def received(fhir: Fhir, *pauses: float) -> int:
    """How much comes of a large answer, where its first pieces are taken with these pauses."""
    where: Any = urlsplit(fhir.base_url)
    request = f"GET /fhir/Binary/large HTTP/1.1\r\nHost: {where.netloc}\r\nAccept: application/fhir+json\r\n"
    found, waits = 0, iter(pauses)
    with socket.create_connection((where.hostname, where.port), timeout=10) as wire:
        wire.sendall(f"{request}Connection: close\r\n\r\n".encode())
        try:
            while piece := wire.recv(1_000_000):
                found += len(piece)
                time.sleep(next(waits, 0))
        except ConnectionResetError:
            pass
    return found


def test_who_takes_nothing_of_its_answer_is_let_go(fhir: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    fhir.put("Binary/large", LARGE)
    whole = received(fhir)
    assert whole > len(LARGE["data"])
    monkeypatch.setattr("fhirserver.rest.packets.STALLED_SECONDS", 0.3)
    assert received(fhir, *[0.1] * 6) == whole  # slowly is no harm
    assert received(fhir, 0.9) < whole
