"""The Binaries here that are the contents of a document, whatever way their URL is written.

They lie beside its index values, so that who may not see a document is not shown its content. In a URL of a Binary here
a fragment, a query, a version, an operation, the case of the host and the scheme make no difference to which it is.
https://hl7.org/fhir/R4/documentreference.html, https://hl7.org/fhir/R4/binary.html#security
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

DOCUMENT = "DocumentReference"
LOCATION = "location"  # the search parameter of content.attachment.url
CONTENTS = "@contents"  # the key: no search parameter can be called so
PORTS = {"http": 80, "https": 443}
_binary = re.compile(r"[./]*Binary/+([A-Za-z0-9\-.]{1,64})(?:/.*)?")


def contents(urls: Iterable[str], base_url: str) -> list[str]:
    """By references, `Binary/1`, each once."""
    found = (_binary.fullmatch(path) for url in urls if (path := _below(url, base_url)) is not None)
    return list(dict.fromkeys(f"Binary/{match[1]}" for match in found if match is not None))


def _below(url: str, base_url: str) -> str | None:
    """What of a URL is below the base, or what it is where it is relative; None where it is of another server."""
    try:
        parts, base = urlsplit(url.strip()), urlsplit(base_url)
        here = (parts.hostname, _port(parts)) == (base.hostname, _port(base))
    except ValueError:
        return None
    path = unquote(parts.path)
    if not parts.scheme and not parts.netloc:
        return path.removeprefix(f"{base.path}/")
    return path.removeprefix(f"{base.path}/") if here and path.startswith(f"{base.path}/") else None


def _port(parts: SplitResult) -> int | None:
    """None where it is that of the scheme, whichever that is: what stands before a server may speak either."""
    return None if parts.port == PORTS.get(parts.scheme) else parts.port
