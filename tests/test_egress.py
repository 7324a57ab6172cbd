"""What is asked of other servers does not reach what only this machine or its network can."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest

from fhirserver.egress import MOST_BYTES, Unreachable, get, is_public, kept_for


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b:1::a00:1", False),
        ("fec0::1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:7f00:1", False),
        ("5f00::1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.216.34/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://user:secret@93.184.216.34/",
        "file:///etc/passwd",
        "gopher://93.184.216.34/",
        "https://",
        "https://[::1",
        "https://host.invalid/",
        "nonsense",
        "",
        "https://a\x00b/",
        "https://xn--a/",
        "https://93.184.216.34:99999/",
    ],
)
def test_what_is_not_asked(url: str) -> None:
    with pytest.raises(Unreachable):
        asyncio.run(get(url, accept="application/json"))


def test_who_does_not_answer_is_said() -> None:
    with pytest.raises(Unreachable, match="did not answer"):
        asyncio.run(get("http://127.0.0.1:9/", accept="application/json", trusted=("127.0.0.1",)))


class Elsewhere(BaseHTTPRequestHandler):
    """Answers what its path says: how it is packed, and how many bytes it has then."""

    def do_GET(self) -> None:
        _, packed, size = self.path.split("/")
        body = b"0" * int(size)
        body = zlib.compress(body) if packed == "deflate" else body
        self.send_response(200)
        self.send_header("Content-Encoding", packed)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_packed_is_not_unpacked(elsewhere: str) -> None:
    def asked(path: str) -> bytes:
        return asyncio.run(get(f"{elsewhere}{path}", accept="application/json", trusted=("127.0.0.1",))).body

    assert asked(f"/identity/{MOST_BYTES}") == b"0" * MOST_BYTES
    with pytest.raises(Unreachable, match="more than 200,000 bytes"):
        asked(f"/identity/{MOST_BYTES + 1}")
    for packed in ("deflate", "gzip", "zstd", "br", "deflate, zstd"):
        with pytest.raises(Unreachable, match="packed by"):
            asked(f"/{packed.replace(' ', '%20')}/10")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, None),
        ({"Cache-Control": "private, must-revalidate"}, None),
        ({"Cache-Control": "public, max-age=600"}, 600),
        ({"Cache-Control": 'Max-Age="600"', "Age": "90"}, 510),
        ({"Cache-Control": "max-age=600, s-maxage=60"}, 60),
        ({"Cache-Control": "max-age=60", "Age": "90"}, 0),
        ({"Cache-Control": "max-age=600, no-cache"}, 0),
        ({"Cache-Control": "no-store"}, 0),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age=soon"}, 0),
    ],
)
def test_how_long_an_answer_may_be_kept(said: dict[str, str], seconds: int | None) -> None:
    assert kept_for(httpx.Headers(said)) == seconds
