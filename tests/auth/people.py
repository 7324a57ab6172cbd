"""Accounts and browsers for tests."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
from brief import briefly

from fhirserver.app import contexts
from fhirserver.settings import Settings
from smart_auth import passwords, users
from smart_auth.users import User

PASSWORD = "violet otter 7 climbs the quiet hill"
_token = re.compile(r'name="token" value="([0-9a-f]*)"')


def person(settings: Settings, login: str, password: str = PASSWORD, **values: Any) -> User:
    """An account with a confirmed address."""

    async def inside() -> User:
        async with contexts(settings) as found:
            hash_ = values.pop("hash", None) or await passwords.hashed(password)
            return await users.create(found[""].auth, login, password=hash_, **{"verified": True} | values)

    return briefly(inside())


class Browser:
    """Keeps cookies, fills in forms, and does not follow redirects."""

    def __init__(self, settings: Settings) -> None:
        self.base = settings.auth_url
        self.http = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.http.get(self._url(path), **kwargs)

    def json(self, path: str, value: Any, method: str = "POST") -> httpx.Response:
        content = json.dumps(value)  # in ASCII, so that it can hold what is no text
        return self.http.request(method, self._url(path), content=content, headers={"Content-Type": "application/json"})

    def submit(self, path: str, fields: dict[str, str], page: str | None = None, **kwargs: Any) -> httpx.Response:
        """Send the form of a page as the browser would: with the token that it holds."""
        shown = _token.search(self.get(page or path).text)
        return self.http.post(self._url(path), data={"token": shown[1] if shown else "", **fields}, **kwargs)

    def log_in(self, login: str, password: str = PASSWORD) -> httpx.Response:
        return self.json("/login", {"login": login, "password": password})

    def _url(self, path: str) -> str:
        return path if path.startswith("http") else self.base + path
