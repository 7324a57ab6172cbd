"""Head and body of an answer leave together: uvicorn writes them apart, each a call of the system and a packet."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

STALLED_SECONDS = 120.0  # in which a client took nothing of its answer: longer than a slow link needs to show


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, and nothing else: an offer to upgrade is passed over, its body is a body.

    The parser would skip that, and take it for the next request. https://www.rfc-editor.org/rfc/rfc9110#section-7.8
    Who does not take its answer is let go, and the memory that it is kept in.
    """

    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        together = Together(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, together))

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_no_more()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look_no_more()

    def _look_later(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._look = self.loop.call_later(STALLED_SECONDS, self._look_whether_less_than, left)

    def _look_whether_less_than(self, left: int) -> None:
        if self.transport.get_write_buffer_size() < left:
            self._look_later()
        else:
            self.transport.abort()

    def _look_no_more(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._should_upgrade():
                self.data_received(self._without_offer() + data[offer.args[0] :])
        except httptools.HttpParserError:
            said = "Invalid HTTP request received."
            self.logger.warning(said)
            self.send_400_response(said)

    def _should_upgrade(self) -> bool:
        """Whether the request is to be read again. Of CONNECT, nothing follows."""
        return bool(self.parser.get_method() != b"CONNECT")

    def _without_offer(self) -> bytes:
        """The head again, for a parser that knows of none."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        lines = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(lines))


class Together:
    """A transport that holds back what is written until more is, or until this turn of the loop is over."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            self.write(b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
