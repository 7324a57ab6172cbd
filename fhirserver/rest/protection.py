"""Headers that keep browsers, and what stands between, from doing harm: made once, sent with every answer.

https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
"""

from __future__ import annotations

from fhirserver.context import Context
from fhirserver.rest.responses import Header

YEAR = 365 * 24 * 3600
ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # a URL of ours names patients
    (b"cross-origin-resource-policy", b"same-origin"),  # no picture or script in another's page; CORS is asked for
)
VARY: Header = (b"vary", b"Accept, Accept-Encoding, Origin")
OF_RESOURCES: tuple[Header, ...] = (
    VARY,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
OF_CONTENT: tuple[Header, ...] = (
    VARY,
    (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'"),
    (b"content-disposition", b"attachment"),
)
HSTS: Header = (b"strict-transport-security", b"max-age=%d" % YEAR)  # https://www.rfc-editor.org/rfc/rfc6797
PRIVATE: Header = (b"cache-control", b"no-store")
_by_token_and_tls = {
    (token, tls): (*ALWAYS, *[PRIVATE][: int(token)], *[HSTS][: int(tls)])
    for token in (False, True)
    for tls in (False, True)
}


def protective(ctx: Context) -> tuple[Header, ...]:
    """What was read with a token is kept by nobody on the way; who came by TLS comes by TLS the next time."""
    return _by_token_and_tls[ctx.caller.token is not None, ctx.base_url.startswith("https:")]
