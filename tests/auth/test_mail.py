"""Mail goes out by SMTP, or stays behind as a file; and whoever cannot be reached fails nobody's request."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from people import PASSWORD, Browser, code
from ports import free_port

from fhirserver.settings import Settings

ANSWERS = {
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
    b"EHLO": b"250-here\r\n250 AUTH PLAIN\r\n",
    b"AUTH": b"235 welcome\r\n",
}


class Post(socketserver.ThreadingTCPServer):
    """As much of an SMTP server as a client sees: https://www.rfc-editor.org/rfc/rfc5321"""

    daemon_threads = True

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.commands: list[bytes] = []
        self.arrived = threading.Event()
        super().__init__(("127.0.0.1", 0), Line)


class Line(socketserver.StreamRequestHandler):
    server: Post

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            command = line[:4].upper()
            self.server.commands.append(line.strip())
            self.wfile.write(ANSWERS.get(command, b"250 ok\r\n"))
            if command == b"QUIT":
                return
            if command == b"DATA":
                text = iter(self.rfile.readline, b".\r\n")
                self.server.letters.append(b"".join(text))
                self.server.arrived.set()
                self.wfile.write(b"250 taken\r\n")


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_mail_goes_out_by_smtp(serve: Any, post: Post) -> None:
    url = f"smtp://mailer:p%40ss@127.0.0.1:{post.server_address[1]}"
    browser = Browser(serve(smtp_url=url, mail_from="Clinic <mail@clinic.example>").settings)
    assert browser.json("/signup", {"email": "ada@example.org", "password": PASSWORD, "name": "Zoë"}).status_code == 200
    assert post.arrived.wait(20)
    (letter,) = post.letters
    assert b"From: Clinic <mail@clinic.example>\r\n" in letter
    assert b"To: ada@example.org\r\n" in letter
    assert any(command.startswith(b"AUTH PLAIN") for command in post.commands)
    text = letter.decode().replace("=\r\n", "").replace("=3D", "=")
    assert browser.json("/confirm", {"code": code(text), "password": PASSWORD}).status_code == 200


def test_a_mail_server_that_is_away_fails_nobody(serve: Any) -> None:
    browser = Browser(serve(smtp_url=f"smtp://127.0.0.1:{free_port()}").settings)
    answer = browser.json("/signup", {"email": "ada@example.org", "password": PASSWORD})
    assert (answer.status_code, answer.json()) == (200, {"sent": True})


@pytest.mark.parametrize("url", ["mail.example", "http://mail.example", "smtp://", "smtp://h/path"])
def test_what_is_no_mail_server_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="smtp://"):
        Settings(smtp_url=url)
