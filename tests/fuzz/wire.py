"""HTTP as bytes: what httpx would tidy up is sent as it is, and every answer is held against one law."""

from __future__ import annotations

import gzip
import socket
from contextlib import suppress
from typing import Any, NamedTuple

from lxml import etree

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.fhir.xml import from_xml
from fhirserver.validation.validate import Validator

SECONDS = 20
JSON = b"application/fhir+json"
XML = b"application/fhir+xml"
NOT_HTTP = b"Invalid HTTP request received."
VALIDATOR = Validator(r4(), required_codes())

Header = tuple[bytes, bytes]


class Reply(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def resource(self) -> dict[str, Any]:
        """The body, read in the representation that it claims."""
        content = gzip.decompress(self.body) if self.headers.get(b"content-encoding") == b"gzip" else self.body
        kind = self.headers[b"content-type"]
        if kind.startswith(XML):
            assert etree.fromstring(content).tag.startswith("{http://hl7.org/fhir}")
            return from_xml(content, r4())
        assert kind.startswith(JSON), kind
        return json.resource(content)


class Wire:
    """One connection that is kept as long as the server keeps it; `asked` counts the requests of all."""

    asked = 0

    def __init__(self, port: int, root: bytes = b"/fhir") -> None:
        self.port = port
        self.root = root
        self.socket: socket.socket | None = None
        self.unread = b""

    def ask(self, method: str, target: bytes | str, body: bytes = b"", *headers: Header) -> Reply:
        """One exchange. `target` follows the root and is sent as it is."""
        Wire.asked += 1
        target = target if isinstance(target, bytes) else target.encode()
        lines = [method.encode() + b" " + self.root + target + b" HTTP/1.1", b"Host: localhost"]
        lines += [name + b": " + value for name, value in headers]
        if body or method not in ("GET", "HEAD"):
            lines.append(b"Content-Length: %d" % len(body))
        return self._exchange(b"\r\n".join(lines) + b"\r\n\r\n" + body, method)

    def checked(self, method: str, target: bytes | str, body: bytes = b"", *headers: Header) -> Reply:
        """One exchange that must keep the law: never 5xx, and FHIR in the representation that was asked for."""
        reply = self.ask(method, target, body, *headers)
        assert reply.status < 500, reply
        if method == "HEAD" or reply.status in (204, 304):
            assert reply.body == b"", reply
        elif reply.status >= 400 or reply.body:
            resource = reply.resource
            if reply.status >= 400:
                assert resource["resourceType"] == "OperationOutcome", resource
                assert VALIDATOR.issues(resource) == []
                assert all(issue["severity"] == "error" for issue in resource["issue"]), resource
            accept = [value for name, value in headers if name.lower() == b"accept"]
            if accept in ([JSON], [XML]) and b"_format" not in (target if isinstance(target, bytes) else b""):
                assert reply.headers[b"content-type"].startswith(accept[0]), reply
        return reply

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket, self.unread = None, b""

    def _exchange(self, request: bytes, method: str) -> Reply:
        kept = self.socket is not None
        try:
            return self._once(request, method)
        except (ConnectionError, EOFError):
            self.close()
            if not kept:
                raise
            return self._once(request, method)

    def _once(self, request: bytes, method: str) -> Reply:
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was read; the answer is there
            self.socket.sendall(request)
        head = self._until(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        status = int(first.split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        empty = method == "HEAD" or status in (204, 304)
        body = b"" if empty else self._exactly(int(headers.get(b"content-length", b"-1")))
        if headers.get(b"connection") == b"close":
            self.close()
        return Reply(status, headers, body)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.unread:
            self._receive()
        found, _, self.unread = self.unread.partition(mark)
        return found

    def _exactly(self, length: int) -> bytes:
        try:
            while length < 0 or len(self.unread) < length:
                self._receive()
        except EOFError:
            if length >= 0:
                raise
            length = len(self.unread)
        found, self.unread = self.unread[:length], self.unread[length:]
        return found

    def _receive(self) -> None:
        assert self.socket is not None
        chunk = self.socket.recv(1 << 16)
        if not chunk:
            raise EOFError("the server closed the connection")
        self.unread += chunk
