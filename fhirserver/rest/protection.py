"""Headers that keep browsers, and what stands between, from doing harm.

https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
"""

from __future__ import annotations

from fhirserver.context import Context
from fhirserver.rest.responses import Header

YEAR = 365 * 24 * 3600
OF_RESOURCES: tuple[Header, ...] = (
    (b"vary", b"Accept, Accept-Encoding, Origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
HSTS: Header = (b"strict-transport-security", b"max-age=%d" % YEAR)  # https://www.rfc-editor.org/rfc/rfc6797
PRIVATE: Header = (b"cache-control", b"no-store")


def protective(ctx: Context) -> list[Header]:
    """What was read with a token is kept by nobody on the way; who came by TLS comes by TLS the next time."""
    secure = [HSTS] if ctx.base_url.startswith("https:") else []
    return [*secure, PRIVATE] if ctx.caller.token is not None else secure
