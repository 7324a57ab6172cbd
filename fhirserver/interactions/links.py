"""Page links: whole URLs, and signed places in a list that a client can pass on but not forge.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from fhirserver.fhir import json
from fhirserver.fhir.seals import seal, unseal


def page_url(base_url: str, path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Readable where URLs allow it: `:`, `,`, `/` and `|`-separated parts stay what they are in FHIR examples."""
    query = "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in pairs)
    return f"{base_url}/{quote(path, safe='/$')}{'?' + query if query else ''}"


def page_after(url: str, cursor: str) -> str:
    """The page of the same list that begins at a sealed place, which has nothing to escape."""
    return f"{url}{'&' if '?' in url else '?'}_cursor={cursor}"


@lru_cache(maxsize=4096)
def _escaped(text: str) -> str:
    """Remembered, for the names and most values are the same in search after search."""
    return quote(text, safe=":,/$*")


def signed(secret: bytes, place: Any, purpose: str) -> str:
    """`place` is JSON; the text is only good for the same purpose."""
    return seal(secret, json.encode(place), purpose.encode())


def verified(secret: bytes, text: str, purpose: str) -> Any:
    """The place again. 400 for what this server did not sign for this purpose."""
    return json.decode(unseal(secret, text, purpose.encode()))
