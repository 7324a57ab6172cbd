"""Accounts and browsers for tests."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from typing import Any, TypeVar

import httpx
from brief import briefly
from tls import TLS

from fhirserver.settings import Settings
from fhirserver.store.connect import connect
from smart_auth import passwords, users
from smart_auth.server import Auth
from smart_auth.users import User

T = TypeVar("T")

PASSWORD = "violet otter 7 climbs the quiet hill"
_token = re.compile(r'name="token" value="([0-9a-f]*)"')


def inside(settings: Settings, story: Callable[[Auth], Awaitable[T]]) -> T:
    """What happens within the authorization server of a record."""

    async def run() -> T:
        assert settings.mongodb_url
        client = await connect(settings.mongodb_url.get_secret_value())
        try:
            return await story(Auth(client[settings.database], settings, lambda: datetime.now(UTC)))
        finally:
            await client.close()

    return briefly(run())


def person(settings: Settings, login: str, password: str = PASSWORD, **values: Any) -> User:
    """An account with a confirmed address."""

    async def add(auth: Auth) -> User:
        hash_ = values.pop("hash", None) or await passwords.hashed(password)
        return await users.create(auth, login, password=hash_, **{"verified": True} | values)

    return inside(settings, add)


class Browser:
    """Keeps cookies, fills in forms, and does not follow redirects."""

    def __init__(self, settings: Settings) -> None:
        self.base = settings.auth_url
        self.http = httpx.Client(timeout=60, verify=TLS, limits=httpx.Limits(max_keepalive_connections=0))

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.http.get(self._url(path), **kwargs)

    def json(self, path: str, value: Any, method: str = "POST") -> httpx.Response:
        content = json.dumps(value)  # in ASCII, so that it can hold what is no text
        return self.http.request(method, self._url(path), content=content, headers={"Content-Type": "application/json"})

    def again(self, path: str, value: dict[str, Any], method: str = "POST") -> httpx.Response:
        """JSON for what asks for the password once more."""
        return self.json(path, {"password": PASSWORD, **value}, method)

    def submit(self, path: str, fields: dict[str, str], page: str | None = None, **kwargs: Any) -> httpx.Response:
        """Send the form of a page as the browser would: with the token that it holds."""
        shown = _token.search(self.get(page or path).text)
        return self.http.post(self._url(path), data={"token": shown[1] if shown else "", **fields}, **kwargs)

    def log_in(self, login: str, password: str = PASSWORD) -> httpx.Response:
        return self.json("/login", {"login": login, "password": password})

    def _url(self, path: str) -> str:
        return path if path.startswith("http") else self.base + path


def letters(settings: Settings, to: str, count: int = 1, about: str = "") -> list[str]:
    """The texts of the mail to somebody, oldest first; it waits until there are so many."""
    deadline = time.monotonic() + 20
    while True:
        found = [message_from_bytes(p.read_bytes(), policy=default) for p in (settings.data / "mail").glob("*.eml")]
        mine = sorted(
            (m for m in found if m["To"] == to and about in m.get_content()), key=lambda m: m["Date"].datetime
        )
        if len(mine) >= count or time.monotonic() > deadline:
            return [m.get_content() for m in mine]
        time.sleep(0.05)


def code(text: str) -> str:
    """What a mailed link carries."""
    return re.findall(r"code=([\w-]+)", text)[0]
