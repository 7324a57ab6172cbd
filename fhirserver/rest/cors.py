"""Which web pages of other origins may read answers: https://fetch.spec.whatwg.org/#http-cors-protocol

No cookie opens the FHIR API, so a page gets what the access token that it brings is good for, and nothing by being in a
browser. An open server needs no token: there, only a request that brings one is answered to pages of elsewhere.
"""

from __future__ import annotations

from fhirserver.rest.bodies import Headers
from fhirserver.rest.responses import Header
from fhirserver.settings import Settings

EXPOSED = (
    b"Content-Location, ETag, Last-Modified, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate,"
    b" X-Progress, X-Request-Id"
)
PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Exist, If-None-Match, Prefer,"
        b" X-Break-Glass, X-Request-Id, X-Security-Context",
    ),
    (b"access-control-max-age", b"600"),
    (b"vary", b"Origin"),
)


def granted(settings: Settings, incoming: Headers) -> list[Header]:
    """What lets the page that asks read the answer; nothing where no page asks, or may not."""
    origin = incoming.get(b"origin")
    if origin is None or (settings.open and b"authorization" not in incoming):
        return []
    return _allowed(settings, origin, (b"access-control-expose-headers", EXPOSED))


def preflight(settings: Settings, method: str, incoming: Headers) -> list[Header]:
    """The answer to a browser that asks whether a page may ask; nothing where it is no such question."""
    origin = incoming.get(b"origin")
    if method != "OPTIONS" or origin is None or b"access-control-request-method" not in incoming:
        return []
    asked = incoming.get(b"access-control-request-headers", b"").lower()
    if settings.open and b"authorization" not in asked:
        return []
    return _allowed(settings, origin, *PREFLIGHT)


def _allowed(settings: Settings, origin: bytes, *more: Header) -> list[Header]:
    if "*" in settings.cors_origins:
        return [(b"access-control-allow-origin", b"*"), *more]
    if origin.decode("latin-1") not in settings.cors_origins:
        return []
    return [(b"access-control-allow-origin", origin), *more]
