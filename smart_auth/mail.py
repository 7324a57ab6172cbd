"""Mail that the server sends: by SMTP, or as files that whoever tries the server out can open.

Nobody waits for it: how long an answer takes must not tell whether there was somebody to write to.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import aiosmtplib

from fhirserver.settings import Settings
from smart_auth.refusal import invalid_request
from smart_auth.server import Auth

log = logging.getLogger(__name__)
SECONDS = 20
_address = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=.{1,189}$)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", re.ASCII)
_link = re.compile(r"https?://\S+")
_under_way: set[asyncio.Task[None]] = set()  # the event loop alone does not keep a task alive


class Mail(NamedTuple):
    to: str
    subject: str
    text: str


class Mailer(Protocol):
    async def send(self, message: EmailMessage) -> None: ...


class Folder:
    """Writes what it should send into files, and the link of each into the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def send(self, message: EmailMessage) -> None:
        await asyncio.to_thread(self._write, message)
        link = _link.search(message.get_content())
        log.info("mail to %s: %s %s", message["To"], message["Subject"], link[0] if link else "")

    def _write(self, message: EmailMessage) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = message["Message-ID"].strip("<>").partition("@")[0]
        path = self.folder / f"{name}.eml"
        path.touch(0o600)
        path.write_bytes(message.as_bytes())


class Smtp:
    """smtp://user:password@host:587 (with STARTTLS where it is offered) or smtps://…:465"""

    def __init__(self, url: str) -> None:
        self.url = urlsplit(url)

    async def send(self, message: EmailMessage) -> None:
        tls = self.url.scheme == "smtps"
        await aiosmtplib.send(
            message,
            hostname=self.url.hostname,
            port=self.url.port or (465 if tls else 587),
            username=unquote(self.url.username) if self.url.username else None,
            password=unquote(self.url.password) if self.url.password else None,
            use_tls=tls,
            timeout=SECONDS,
        )


def mailer(settings: Settings) -> Mailer:
    return Smtp(settings.smtp_url.get_secret_value()) if settings.smtp_url else Folder(settings.data / "mail")


def checked_address(text: str) -> str:
    """An address that mail can be sent to, and that is one address and no header."""
    if not _address.fullmatch(text.strip()):
        raise invalid_request("this is not an e-mail address", "email")
    return text.strip()


def post(auth: Auth, mail: Mail) -> None:
    """Send it soon."""
    later(_sent(auth, mail))


def later(work: Coroutine[Any, Any, None]) -> None:
    """Have something done that the answer does not wait for."""
    task = asyncio.get_running_loop().create_task(work)
    _under_way.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[None]) -> None:
    _under_way.discard(task)
    if not task.cancelled() and (error := task.exception()):
        log.error("what was left for later failed", exc_info=error)


async def _sent(auth: Auth, mail: Mail) -> None:
    message = EmailMessage()
    message["From"] = auth.settings.mail_from
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(auth.now())
    message["Message-ID"] = f"<{uuid4().hex}@{urlsplit(auth.issuer).hostname}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    try:
        await mailer(auth.settings).send(message)
    except (aiosmtplib.SMTPException, OSError) as error:
        log.warning("mail could not be sent: %s", error)
