"""ID tokens and userinfo: who the person is, for the app that they let in.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#scopes-for-requesting-identity-data
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_auth import keys, users
from smart_auth.forms import authorization
from smart_auth.refusal import NO_STORE, Refused
from smart_auth.server import Auth
from smart_auth.tokens import find
from smart_auth.users import User

LIFE = timedelta(minutes=10)  # it says that somebody has just logged in, and nothing else


async def id_token(auth: Auth, client: str, user: str, scope: str, nonce: str | None, at: datetime) -> str | None:
    """Signed; nothing where openid was not granted. `at` is when the person logged in."""
    person = await users.find(auth, user) if "openid" in scope.split() else None
    if person is None:
        return None
    now = auth.now()
    said = {"iss": auth.issuer, "aud": client, "iat": int(now.timestamp()), "auth_time": int(at.timestamp())}
    said |= {"exp": int((now + LIFE).timestamp())} | ({"nonce": nonce} if nonce else {}) | claims(auth, scope, person)
    key = await keys.signing(auth)
    return jwt.encode({"alg": keys.ALGORITHM, "kid": key.kid}, said, key, algorithms=[keys.ALGORITHM])


def claims(auth: Auth, scope: str, person: User) -> dict[str, Any]:
    """What a scope lets an app know."""
    scopes, said = scope.split(), {"sub": person.id}
    if "fhirUser" in scopes and person.fhir_user:
        said["fhirUser"] = f"{auth.fhir}/{person.fhir_user}"
    if "profile" in scopes:
        said["name"] = person.name
    return said


async def userinfo(auth: Auth, request: Request) -> Response:
    """GET and POST /userinfo: https://openid.net/specs/openid-connect-core-1_0.html#UserInfo"""
    token = bearer(request)
    if not token:  # no error is named then: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
        raise Refused("invalid_request", "the access token is missing", 401, {"WWW-Authenticate": "Bearer"})
    grant = await find(auth, token)
    person = await users.find(auth, grant.user) if grant is not None and grant.user else None
    if grant is None:
        said = "the access token is unknown, expired or revoked"
        raise Refused("invalid_token", said, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    if person is None or "openid" not in grant.scope.split():
        said = "the access token was not granted openid"
        raise Refused("insufficient_scope", said, 403, {"WWW-Authenticate": 'Bearer error="insufficient_scope"'})
    return JSONResponse(claims(auth, grant.scope, person), headers=NO_STORE)


def bearer(request: Request) -> str:
    """The token of a request; empty where there is none."""
    scheme, _, token = authorization(request).partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
