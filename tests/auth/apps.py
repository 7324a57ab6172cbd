"""Clients of the authorization server: apps, and services that sign what they ask with a key."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from brief import briefly
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhirserver.store.connect import connect
from smart_auth import clients
from smart_auth.clients import Client
from smart_auth.credentials import ASSERTION
from smart_auth.server import Auth

if TYPE_CHECKING:
    from conftest import Fhir, Served

T = TypeVar("T")
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-384", {"kid": "ec"})


class Smart:
    """A served record, and its authorization server from the outside and from the inside."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.settings = served.settings
        self.fhir: Fhir = served.client
        self.issuer = served.settings.auth_url
        self.http = httpx.Client(base_url=self.issuer, timeout=60)

    def inside(self, story: Callable[[Auth], Awaitable[T]]) -> T:
        async def run() -> T:
            assert self.settings.mongodb_url
            client = await connect(self.settings.mongodb_url.get_secret_value())
            try:
                return await story(Auth(client[self.settings.database], self.settings, lambda: datetime.now(UTC)))
            finally:
                await client.close()

        return briefly(run())

    def add(self, id_: str, **metadata: Any) -> Client:
        client = Client(**({"id": id_, "name": id_, "created": datetime.now(UTC)} | metadata))
        self.inside(lambda auth: clients.add(auth, client))
        return client

    def add_backend(self, id_: str, scope: str = "system/*.rs", **metadata: Any) -> Client:
        keys = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
        values = {"method": "private_key_jwt", "grant_types": ("client_credentials",), "scope": scope, "jwks": keys}
        return self.add(id_, **(values | metadata))

    def assertion(self, id_: str, key: Any = RSA, alg: str = "RS384", head: Any = None, **claims: Any) -> str:
        said = {"iss": id_, "sub": id_, "aud": f"{self.issuer}/token", "jti": secrets.token_hex(16)}
        said |= {"exp": int(time.time()) + 240} | claims
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": alg, "kid": key.kid} | (head or {}), said, key, algorithms=[alg])

    def ask(self, assertion: str, scope: str = "system/*.rs", **more: Any) -> httpx.Response:
        form = {"grant_type": "client_credentials", "scope": scope, "client_assertion": assertion}
        form |= {"client_assertion_type": ASSERTION} | more
        return self.http.post("/token", data={name: value for name, value in form.items() if value is not None})

    def get(self, path: str, token: str) -> httpx.Response:
        return self.fhir.get(path, headers={"Authorization": f"Bearer {token}"})
