"""The one refusal of the authorization server: an error of OAuth that carries its HTTP status.

https://www.rfc-editor.org/rfc/rfc6749#section-5.2
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.responses import JSONResponse

_unsayable = re.compile(r"[^\x20-\x7e]")
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Refused(Exception):
    """`error` is a code that RFC 6749 or its successors name; `description` is a sentence for who writes the app.

    `field` is what of a form it is about, for pages.
    """

    def __init__(
        self,
        error: str,
        description: str,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers or {}
        self.field = field

    def response(self) -> JSONResponse:
        body = {"error": self.error, "error_description": sayable(self.description)}
        return JSONResponse(body, self.status, {**NO_STORE, **self.headers})


def sayable(description: str) -> str:
    """In the characters that an `error_description` may have: https://www.rfc-editor.org/rfc/rfc6749#section-5.2"""
    plain = description.replace('"', "'").replace("\\", "/")
    return _unsayable.sub("?", plain)


def invalid_request(description: str, field: str | None = None) -> Refused:
    return Refused("invalid_request", description, field=field)


def invalid_client(description: str) -> Refused:
    """401: the client could not prove who it is."""
    return Refused("invalid_client", description, 401, {"WWW-Authenticate": 'Basic realm="healthmate"'})


def invalid_grant(description: str) -> Refused:
    return Refused("invalid_grant", description)


def invalid_metadata(description: str, field: str | None = None) -> Refused:
    """https://www.rfc-editor.org/rfc/rfc7591#section-3.2.2"""
    return Refused("invalid_client_metadata", description, field=field)


def invalid_scope(description: str) -> Refused:
    return Refused("invalid_scope", description, field="scope")
