"""The token endpoint: what a client brings is exchanged for an access token.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-access-token
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_auth.clients import BACKEND, Client
from smart_auth.credentials import authenticate
from smart_auth.forms import form
from smart_auth.refusal import NO_STORE, Refused, invalid_request, invalid_scope
from smart_auth.scopes import parse
from smart_auth.server import Auth
from smart_auth.tokens import begin, issue

BACKEND_LIFE = timedelta(minutes=5)  # SMART asks for no more

Fields = Mapping[str, str]


async def token(auth: Auth, request: Request) -> Response:
    """POST /token"""
    asked = await form(request)
    kind = asked.get("grant_type")
    if kind is None:
        raise invalid_request("grant_type is missing")
    grant = GRANTS.get(kind)
    if grant is None:
        raise Refused("unsupported_grant_type", f"grant_type is one of {', '.join(GRANTS)}")
    client = await authenticate(auth, request, asked)
    if kind not in client.grant_types:
        raise Refused("unauthorized_client", f"this client is not registered for {kind}")
    return JSONResponse(await grant(auth, client, asked), headers=NO_STORE)


async def backend(auth: Auth, client: Client, asked: Fields) -> dict[str, Any]:
    """https://hl7.org/fhir/smart-app-launch/backend-services.html"""
    registered = [each for text in client.scope.split() if (each := parse(text))]
    wanted = dict.fromkeys(asked.get("scope", "").split())
    if not wanted:
        raise invalid_scope("a backend service says which scope it needs")
    for text in wanted:
        found = parse(text)
        if found is None or found.level != "system" or not any(each.contains(found) for each in registered):
            raise invalid_scope(f"{text[:200]} is not within what this client is registered for: {client.scope}")
    scope = " ".join(wanted)
    grant = await begin(auth, client.id, scope, BACKEND_LIFE)
    issued = await issue(auth, grant, scope, BACKEND_LIFE, refresh=None)
    return {"access_token": issued.access, "token_type": "Bearer", "expires_in": issued.expires_in, "scope": scope}


GRANTS: dict[str, Callable[[Auth, Client, Fields], Awaitable[dict[str, Any]]]] = {BACKEND: backend}
