"""Request bodies: read within bounds of length, of time, and of the memory that all of them take together.

They are held from their first byte to the answer: while they arrive, while they wait for their turn, and at work.
Without a bound, two thousand that wait with 10 MB each would be 20 GB.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from starlette.types import Receive

from fhirserver.fhir.outcome import Outcome, invalid

SECONDS = 120.0  # for 10 MB, 0.7 Mbit/s
RETRY = (("retry-after", "2"),)
CLOSE = (("connection", "close"),)  # what else arrives is not read
Headers = Mapping[bytes, bytes]


class Bodies:
    """Those that a process holds: `most` bytes together, each of them at most `longest`, before and after gunzip."""

    def __init__(self, most: int, longest: int) -> None:
        self.most = most
        self.longest = longest
        self.held = 0


class Body:
    """The body of one request; `with` lets go of it in the end."""

    __slots__ = ("_bodies", "_size")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._size = 0

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._bodies.held -= self._size

    async def read(self, receive: Receive, headers: Headers) -> bytes:
        """The whole of it. 413 as soon as it is too long, 408 when it does not arrive, 503 where there is no room."""
        self._check_announced(headers)
        try:
            async with asyncio.timeout(SECONDS):
                data = await self._arrived(receive)
        except TimeoutError as error:
            said = f"the body did not arrive within {SECONDS:g} s"
            raise Outcome(408, "timeout", said, headers=CLOSE) from error
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding in (b"identity", b""):
            return data
        if encoding in (b"gzip", b"x-gzip"):
            unpacked = _gunzip(data, self._bodies.longest)
            self._hold(len(unpacked))
            return unpacked
        raise Outcome(415, "not-supported", f"Content-Encoding {encoding.decode('latin-1')} is not read here; use gzip")

    def _check_announced(self, headers: Headers) -> None:
        """A client that asks first (Expect: 100-continue) sends nothing in vain."""
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self._bodies.longest:
            raise _too_long(self._bodies.longest)

    async def _arrived(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise invalid("the connection closed before the body was complete", code="incomplete")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._bodies.longest:
                raise _too_long(self._bodies.longest)
            self._hold(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)

    def _hold(self, size: int) -> None:
        """A body that is alone always has room."""
        self._size += size
        self._bodies.held += size
        if self._bodies.held > max(self._bodies.most, self._size):
            raise Outcome(503, "throttled", "too much is being sent at once; try again soon", headers=RETRY)


def _gunzip(data: bytes, limit: int) -> bytes:
    unpack = zlib.decompressobj(wbits=31)
    try:
        out = unpack.decompress(data, limit + 1)
    except zlib.error as error:
        raise invalid("the body is not gzip, as Content-Encoding says") from error
    if len(out) > limit:
        raise _too_long(limit)
    if not unpack.eof:
        raise invalid("the gzip body ends too early", code="incomplete")
    if unpack.unused_data:
        raise invalid("something follows the gzip body")
    return out


def _too_long(limit: int) -> Outcome:
    return Outcome(413, "too-long", f"the body is longer than {limit:,} bytes; send it in parts")
