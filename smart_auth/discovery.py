"""What apps can find out before they ask: SMART's configuration and OpenID's. Nothing is listed that is not wired.

https://hl7.org/fhir/smart-app-launch/conformance.html
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_auth.credentials import ALGORITHMS
from smart_auth.server import Auth

CAPABILITIES = ("client-confidential-asymmetric", "permission-v1", "permission-v2")
SCOPES = ("system/*.rs", "system/*.cruds")
PUBLIC = {"Cache-Control": "public, max-age=300"}


def smart_configuration(auth: Auth) -> dict[str, Any]:
    return {
        "issuer": auth.issuer,
        "jwks_uri": f"{auth.issuer}/jwks",
        "token_endpoint": auth.token_endpoint,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "scopes_supported": list(SCOPES),
        "code_challenge_methods_supported": ["S256"],
        "capabilities": list(CAPABILITIES),
    }


async def smart(auth: Auth, request: Request) -> Response:
    """GET [FHIR base]/.well-known/smart-configuration: JSON, whatever Accept says."""
    return JSONResponse(smart_configuration(auth), headers=PUBLIC)
