"""Clients with access tokens, made where the authorization server keeps them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from brief import briefly

from fhirserver.store.connect import connect
from smart_auth import clients, tokens, users
from smart_auth.server import Auth

if TYPE_CHECKING:
    from conftest import Fhir, Served

LIFE = timedelta(hours=1)
Apps = Callable[..., "Fhir"]


def person(served: Served, login: str, **values: Any) -> str:
    """The id of an account."""

    async def made() -> str:
        assert served.settings.mongodb_url
        client = await connect(served.settings.mongodb_url.get_secret_value())
        try:
            auth = Auth(client[served.settings.database], served.settings, lambda: datetime.now(UTC))
            return (await users.create(auth, login, **{"verified": True, "password": "x"} | values)).id
        finally:
            await client.close()

    return briefly(made())


def service(served: Served, name: str, *purposes: str) -> None:
    """A service is registered, with what it uses data for."""

    async def made() -> None:
        assert served.settings.mongodb_url
        client = await connect(served.settings.mongodb_url.get_secret_value())
        try:
            auth = Auth(client[served.settings.database], served.settings, lambda: datetime.now(UTC))
            way = {"method": "private_key_jwt", "grant_types": ("client_credentials",), "jwks": {"keys": []}}
            await clients.add(auth, clients.Client(name, name, auth.now(), purposes=purposes, **way))
        finally:
            await client.close()

    briefly(made())


def app(served: Served, scope: str, patient: str | None = None, *, client: str = "app", **grant: Any) -> Fhir:
    """A client whose token has these scopes, and this patient in its launch context."""
    context = {"patient": patient} if patient else {}

    async def issued() -> str:
        assert served.settings.mongodb_url
        database = await connect(served.settings.mongodb_url.get_secret_value())
        try:
            auth = Auth(database[served.settings.database], served.settings, lambda: datetime.now(UTC))
            id_ = await tokens.begin(auth, client, scope, LIFE, context=context, **grant)
            return (await tokens.issue(auth, id_, scope, LIFE, None)).access
        finally:
            await database.close()

    fhir = type(served.client)(served.client.base_url)
    fhir.http.headers["Authorization"] = f"Bearer {briefly(issued())}"
    return fhir
