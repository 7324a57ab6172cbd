"""Page links: whole URLs, and signed places in a list that a client can pass on but not forge.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from fhirserver.fhir import json
from fhirserver.fhir.outcome import invalid

SIGNATURE = 12


def page_url(base_url: str, path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Readable where URLs allow it: `:`, `,`, `/` and `|`-separated parts stay what they are in FHIR examples."""
    query = urlencode(list(pairs), safe=":,/$*", quote_via=quote)
    return f"{base_url}/{quote(path)}{'?' + query if query else ''}"


def signed(secret: bytes, place: Any, purpose: str) -> str:
    """`place` is JSON; the text is only good for the same purpose."""
    content = json.encode(place)
    return base64.urlsafe_b64encode(_signature(secret, content, purpose) + content).decode().rstrip("=")


def verified(secret: bytes, text: str, purpose: str) -> Any:
    """The place again. 400 for what this server did not sign for this purpose."""
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _foreign() from error
    if not hmac.compare_digest(data[:SIGNATURE], _signature(secret, data[SIGNATURE:], purpose)):
        raise _foreign()
    return json.decode(data[SIGNATURE:])


def _signature(secret: bytes, content: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, purpose.encode() + b"\0" + content, "sha256")[:SIGNATURE]


def _foreign() -> Exception:
    return invalid("_cursor is not one that this server gave for this search; start again at the first page", "_cursor")
