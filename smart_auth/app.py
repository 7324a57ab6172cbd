"""The authorization server as an ASGI application, one for each record. `fhirserver.app` mounts it at /auth.

A handler takes `auth` and the request, and answers or raises `Refused`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver.telemetry import begin, request_id
from smart_auth import (
    account,
    administration,
    api_keys,
    authorize,
    emails,
    granted,
    launches,
    limits,
    login,
    openapi,
    opening,
    pages,
    passkeys,
    registered,
    registration,
    reset,
    second_factor,
    signup,
    statistics,
    throttle,
)
from smart_auth.discovery import openid, smart
from smart_auth.grants import token
from smart_auth.id_tokens import userinfo
from smart_auth.introspection import introspect, revoke
from smart_auth.keys import jwks
from smart_auth.refusal import Refused
from smart_auth.server import Auth

log = logging.getLogger(__name__)
Handler = Callable[[Auth, Request], Awaitable[Response]]
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept",
    "Access-Control-Max-Age": "600",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ROUTES: dict[str, dict[str, Handler]] = {  # {path below the issuer: {method: handler}}
    **{f"/{name}": {"GET": pages.file} for name in pages.FILES},
    **login.ROUTES,
    **second_factor.ROUTES,
    **passkeys.ROUTES,
    **signup.ROUTES,
    **reset.ROUTES,
    **emails.ROUTES,
    **authorize.ROUTES,
    **account.ROUTES,
    **launches.ROUTES,
    **opening.ROUTES,
    **registration.ROUTES,
    **administration.ROUTES,
    **api_keys.ROUTES,
    **openapi.ROUTES,
    **registered.ROUTES,
    **granted.ROUTES,
    **statistics.ROUTES,
    "/token": {"POST": token},
    "/introspect": {"POST": introspect},
    "/revoke": {"POST": revoke},
    "/userinfo": {"GET": userinfo, "POST": userinfo},
    "/jwks": {"GET": jwks},
    "/.well-known/smart-configuration": {"GET": smart},
    "/.well-known/openid-configuration": {"GET": openid},
}
OPEN = ("/token", "/par", "/introspect", "/revoke", "/userinfo", "/jwks", "/register", "/smart-style.json")
CROSS_ORIGIN = frozenset((*OPEN, "/.well-known/smart-configuration", "/.well-known/openid-configuration"))


def create(auth: Auth) -> ASGIApp:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await Refused("not_found", "nothing is here", 404).response()(scope, receive, send)

    routes = [_route(auth, path, methods) for path, methods in ROUTES.items()]
    return Router(routes=routes, redirect_slashes=False, default=nothing)


def _route(auth: Auth, path: str, methods: dict[str, Handler]) -> Route:
    """Cookies are of no use across origins, so only what brings its own token or is public may be asked from there."""
    cors = CORS if path in CROSS_ORIGIN else {}

    async def endpoint(request: Request) -> Response:
        begin(request.headers.get("x-request-id", ""))
        answer = await _answered(auth, methods, request, cors)
        secure = HSTS if auth.issuer.startswith("https:") else {}
        for header, value in {**HEADERS, **cors, **secure}.items():
            answer.headers.setdefault(header, value)
        return answer

    return Route(path, endpoint, methods=METHODS)


async def _handled(auth: Auth, methods: dict[str, Handler], request: Request, cors: Mapping[str, str]) -> Response:
    if request.method == "OPTIONS" and cors:
        return Response(status_code=204)
    handler = methods.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        allowed = [each for name in methods for each in ((name, "HEAD") if name == "GET" else (name,))]
        raise Refused("invalid_request", f"use {' or '.join(methods)}", 405, {"Allow": ", ".join(allowed)})
    told = _counted(auth, request)
    answer = await handler(auth, request)
    answer.headers.update(told)
    return answer


def _counted(auth: Auth, request: Request) -> dict[str, str]:
    """By its address alone: who asks is found out later."""
    most = auth.settings.requests_per_address
    if most is None:
        return {}
    try:
        return limits.taken(auth, "address", throttle.address(auth, request), most)
    except limits.Exceeded as error:
        raise Refused("slow_down", str(error), 429, error.headers) from None


async def _answered(auth: Auth, methods: dict[str, Handler], request: Request, cors: Mapping[str, str]) -> Response:
    try:
        return await _handled(auth, methods, request, cors)
    except Refused as refused:
        return refused.response() if cors else pages.problem(auth, request, refused)
    except PyMongoError as error:
        log.warning("the database refused: %s", error)
        said = "the database does not answer; try again soon"
        return Refused("temporarily_unavailable", said, 503, {"Retry-After": "2"}).response()
    except Exception:
        log.exception("unexpected")
        said = f"an unexpected error, logged as request {request_id.get()}"
        return Refused("server_error", said, 500).response()
