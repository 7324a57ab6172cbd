"""What a token allows, for who holds it.

https://www.rfc-editor.org/rfc/rfc7662, https://hl7.org/fhir/smart-app-launch/token-introspection.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_auth import grants, tokens, users
from smart_auth.credentials import authenticate
from smart_auth.forms import form
from smart_auth.id_tokens import bearer, claims
from smart_auth.known import Grant
from smart_auth.refusal import NO_STORE, Refused, invalid_request
from smart_auth.server import Auth


async def introspect(auth: Auth, request: Request) -> Response:
    """POST /introspect. A confidential client may ask about any access token, others about their own."""
    asked = await form(request)
    client, any_ = await _asker(auth, request, asked)
    if "token" not in asked:
        raise invalid_request("token is missing")
    access = await tokens.find(auth, asked["token"])
    grant = access or await tokens.renewable(auth, asked["token"])
    if grant is not None and access is None and await grants.is_over(auth, grant):
        grant = None
    if grant is None or (grant.client != client and not (any_ and access)):
        return JSONResponse({"active": False}, headers=NO_STORE)
    return JSONResponse(await _said(auth, grant, bool(access)), headers=NO_STORE)


async def _asker(auth: Auth, request: Request, asked: Mapping[str, str]) -> tuple[str, bool]:
    """The client that asks, and whether it may ask about the tokens of others."""
    token = bearer(request)
    if not token:
        client = await authenticate(auth, request, asked)
        return client.id, client.confidential
    grant = await tokens.find(auth, token)
    if grant is None:
        said = "the access token is unknown, expired or revoked"
        raise Refused("invalid_token", said, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return grant.client, False


async def _said(auth: Auth, grant: Grant, access: bool) -> dict[str, Any]:
    person = await users.find(auth, grant.user) if grant.user else None
    return {
        "active": True,
        "scope": grant.scope,
        "client_id": grant.client,
        "token_type": "Bearer" if access else "refresh_token",
        "iss": auth.issuer,
        "iat": int(grant.issued.timestamp()),
        "exp": int(grant.expires.timestamp()),
        **grant.context,
        **(claims(auth, grant.scope, person) if person else {"sub": grant.client}),
    }


async def revoke(auth: Auth, request: Request) -> Response:
    """POST /revoke: the token, and all that was granted with it. https://www.rfc-editor.org/rfc/rfc7009"""
    asked = await form(request)
    client = await authenticate(auth, request, asked)
    if "token" not in asked:
        raise invalid_request("token is missing")
    grant = await tokens.grant_of(auth, asked["token"])
    if grant is not None and grant["client"] == client.id:
        await tokens.revoke(auth, grant["_id"], "revoked by the app")
    return Response(status_code=200, headers=NO_STORE)
