"""The token endpoint: what a client brings is exchanged for an access token.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-access-token
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_auth import codes, sessions, tokens
from smart_auth.clients import BACKEND, CODE, REFRESH, Client
from smart_auth.credentials import authenticate
from smart_auth.forms import form
from smart_auth.id_tokens import id_token
from smart_auth.known import Grant
from smart_auth.refusal import NO_STORE, Refused, invalid_grant, invalid_request, invalid_scope
from smart_auth.scopes import parse
from smart_auth.server import Auth

ACCESS_LIFE = timedelta(hours=1)
BACKEND_LIFE = timedelta(minutes=5)  # SMART asks for no more
OFFLINE, ONLINE = "offline_access", "online_access"
LOGGED_OUT = "the person logged out, and let the app in for as long as they are logged in"

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
    grant = await tokens.begin(auth, client.id, scope, BACKEND_LIFE)
    issued = await tokens.issue(auth, grant, scope, BACKEND_LIFE, refresh=None)
    return {"access_token": issued.access, "token_type": "Bearer", "expires_in": issued.expires_in, "scope": scope}


async def code(auth: Auth, client: Client, asked: Fields) -> dict[str, Any]:
    """https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3"""
    for name in ("code", "redirect_uri", "code_verifier"):
        if name not in asked:
            raise invalid_request(f"{name} is missing")
    claimed = await codes.claim(auth, client, asked["code"], asked["redirect_uri"], asked["code_verifier"])
    if not await tokens.stands(auth, claimed["grant"]):
        raise invalid_grant("what the person allowed was taken back since")
    kept = await auth["grants"].find_one({"_id": claimed["grant"]}, {"session": 1})
    if await _is_over(auth, claimed["more"]["scope"], (kept or {}).get("session")):
        raise invalid_grant(LOGGED_OUT)
    user, scope, context, nonce, at = (claimed["more"][name] for name in ("user", "scope", "context", "nonce", "at"))
    answer = await _given(auth, claimed["grant"], scope, scope, context)
    signed = await id_token(auth, client.id, user, scope, nonce, at)
    return answer | ({"id_token": signed} if signed else {})


async def refresh(auth: Auth, client: Client, asked: Fields) -> dict[str, Any]:
    """https://www.rfc-editor.org/rfc/rfc6749#section-6"""
    secret = asked.get("refresh_token")
    if secret is None:
        raise invalid_request("refresh_token is missing")
    grant = await tokens.renewable(auth, secret, again=True)
    if grant is None or grant.client != client.id:
        raise invalid_grant("the refresh token is unknown, expired or revoked")
    if await is_over(auth, grant):
        raise invalid_grant(LOGGED_OUT)
    scope = narrowed(asked.get("scope", grant.scope), grant.scope)
    if not await tokens.claim(auth, secret, grant.id):
        raise invalid_grant("the refresh token was used before")
    return await _given(auth, grant.id, scope, grant.scope, grant.context)


async def _given(auth: Auth, grant: str, scope: str, granted: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the token endpoint: tokens, and the context of the launch."""
    issued = await tokens.issue(auth, grant, scope, ACCESS_LIFE, _renewable(auth, granted))
    answer: dict[str, Any] = {
        **context,
        "access_token": issued.access,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": scope,
    }
    return answer | ({"refresh_token": issued.refresh} if issued.refresh else {})


def _renewable(auth: Auth, granted: str) -> timedelta | None:
    """How long a refresh token is good; None where there is none."""
    scopes = granted.split()
    if OFFLINE in scopes:
        return timedelta(days=auth.settings.refresh_days)
    return sessions.LIFE if ONLINE in scopes else None


async def is_over(auth: Auth, grant: Grant) -> bool:
    """Whether the person logged out, and let the app in for no longer than that."""
    return await _is_over(auth, grant.scope, grant.session)


async def _is_over(auth: Auth, scope: str, session: str | None) -> bool:
    scopes = scope.split()
    online = ONLINE in scopes and OFFLINE not in scopes
    return online and not await sessions.lasts(auth, session or "")


def narrowed(asked: str, granted: str) -> str:
    """A scope within what was granted."""
    whole = granted.split()
    limits = [found for text in whole if (found := parse(text))]
    for text in asked.split():
        found = parse(text)
        if text not in whole and (found is None or not any(each.contains(found) for each in limits)):
            raise invalid_scope(f"{text[:200]} is more than was granted: {granted}")
    return " ".join(dict.fromkeys(asked.split())) or granted


GRANTS: dict[str, Callable[[Auth, Client, Fields], Awaitable[dict[str, Any]]]] = {
    CODE: code,
    REFRESH: refresh,
    BACKEND: backend,
}
