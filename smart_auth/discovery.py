"""What apps can find out before they ask: SMART's configuration and OpenID's. Nothing is listed that is not wired.

https://hl7.org/fhir/smart-app-launch/conformance.html
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_auth import keys
from smart_auth.clients import GRANT_TYPES, METHODS
from smart_auth.credentials import ALGORITHMS
from smart_auth.registration import is_open
from smart_auth.scopes import LEVELS, SPOKEN
from smart_auth.server import Auth

CAPABILITIES = (
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
SCOPES = (*SPOKEN, *(f"{level}/*.{permissions}" for level in LEVELS for permissions in ("rs", "cruds")))
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser", "name")
PUBLIC = {"Cache-Control": "public, max-age=300"}


def server_metadata(auth: Auth) -> dict[str, Any]:
    """What both say: https://www.rfc-editor.org/rfc/rfc8414#section-2"""
    return {
        "issuer": auth.issuer,
        "jwks_uri": f"{auth.issuer}/jwks",
        "authorization_endpoint": f"{auth.issuer}/authorize",
        "token_endpoint": auth.token_endpoint,
        "pushed_authorization_request_endpoint": f"{auth.issuer}/par",
        "require_pushed_authorization_requests": False,
        "introspection_endpoint": f"{auth.issuer}/introspect",
        "revocation_endpoint": f"{auth.issuer}/revoke",
        "userinfo_endpoint": f"{auth.issuer}/userinfo",
        "management_endpoint": f"{auth.issuer}/account",
        "grant_types_supported": list(GRANT_TYPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "scopes_supported": list(SCOPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        **({"registration_endpoint": f"{auth.issuer}/register"} if is_open(auth) else {}),
    }


async def smart(auth: Auth, request: Request) -> Response:
    """GET [FHIR base]/.well-known/smart-configuration: JSON, whatever Accept says."""
    return JSONResponse(server_metadata(auth) | {"capabilities": list(CAPABILITIES)}, headers=PUBLIC)


async def openid(auth: Auth, request: Request) -> Response:
    """GET /.well-known/openid-configuration: https://openid.net/specs/openid-connect-discovery-1_0.html"""
    more = {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [keys.ALGORITHM],
        "claims_supported": list(CLAIMS),
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }
    return JSONResponse(server_metadata(auth) | more, headers=PUBLIC)


def security(auth: Auth, *, cors: bool) -> dict[str, Any]:
    """What a CapabilityStatement says of it: https://hl7.org/fhir/smart-app-launch/conformance.html#declaring-support"""
    uris = {name: name for name in ("authorize", "token", "introspect", "revoke")} | {"manage": "account"}
    return {
        "extension": [
            {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [{"url": url, "valueUri": f"{auth.issuer}/{path}"} for url, path in uris.items()],
            }
        ],
        "cors": cors,
        "description": "Consents of patients and security labels (R, V) narrow what scopes reach: docs/consent.md",
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                    }
                ],
                "text": "OAuth 2.0 with SMART App Launch: .well-known/smart-configuration says what it can do",
            }
        ],
    }
