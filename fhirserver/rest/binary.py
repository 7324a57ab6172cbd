"""A Binary in its own media type, in and out. https://hl7.org/fhir/R4/binary.html#rest

What somebody once uploaded must not act in a browser as if it were this server's: it is never sniffed, opens in a
sandbox where it opens at all, and is saved rather than shown (rest.protection).
"""

from __future__ import annotations

import base64
import re
from typing import Any

from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.fhir.references import parse
from fhirserver.interactions.exchange import Pairs
from fhirserver.rest.negotiation import FHIR_TYPES, NAMES, acceptable, media_type
from fhirserver.rest.responses import Header

OF_RESOURCE = frozenset({"_format", "_pretty", "_summary", "_elements"})
UNKNOWN = "application/octet-stream"
_name = r"[A-Za-z0-9!#$&^_.+\-]{1,127}"
_media = re.compile(rf'{_name}/{_name}(?: ?; ?{_name}=(?:{_name}|"[A-Za-z0-9!#$&^_.+\- ]*"))*')
_resource = {
    "json": re.compile(rb'"resourceType"\s*:\s*"Binary"'),
    "xml": re.compile(rb"<(?:[A-Za-z_][\w.\-]*:)?Binary[\s/>]"),
}


def wants_content(method: str, path: tuple[str, ...], query: Pairs, accept: str | None) -> bool:
    """Whether a read is of the content: it is, unless it asks for FHIR by name."""
    reads = method in ("GET", "HEAD") and path[:1] == ("Binary",) and (len(path) == 2 or path[2:3] == ("_history",))
    of_all = len(path) > 1 and path[1][:1] in ("_", "$")  # no id begins so
    if not reads or of_all or len(path) == 3 or any(key in OF_RESOURCE for key, _ in query):
        return False
    return FHIR_TYPES.isdisjoint(acceptable(accept or ""))


def content_of(body: bytes) -> tuple[bytes, Header]:
    """The content of a Binary, and its type."""
    resource = json.resource(body)
    media = resource.get("contentType", UNKNOWN)  # an extension may stand in its place
    kind = media if _media.fullmatch(media) else UNKNOWN
    return base64.b64decode(resource.get("data", "")), (b"content-type", kind.encode())


def is_content(method: str, path: tuple[str, ...], content_type: str | None, content: bytes) -> bool:
    """Whether a body is the content of a Binary: it is, unless it is a Binary resource."""
    if path[:1] != ("Binary",) or (method, len(path)) not in (("POST", 1), ("PUT", 1), ("PUT", 2)) or not content_type:
        return False
    format_ = NAMES.get(media_type(content_type))
    return format_ is None or not _resource[format_].search(content)


def binary(content: bytes, content_type: str, id_: str | None, security_context: str | None) -> dict[str, Any]:
    """The resource that holds the content. 415 for what is no media type."""
    kind = " ".join(content_type.split())
    if not _media.fullmatch(kind):
        raise Outcome(415, "not-supported", f"Content-Type: {content_type[:200]} is not a media type")
    resource: dict[str, Any] = {"resourceType": "Binary", "contentType": kind}
    if id_ is not None:
        resource["id"] = id_
    if security_context is not None:
        if parse(security_context) is None:  # what a typing error secures, nobody would know
            said = f"X-Security-Context: {security_context[:200]!r} is not a reference; write Patient/[id]"
            raise invalid(said, "Binary.securityContext.reference", code="value")
        resource["securityContext"] = {"reference": security_context}
    if content:
        resource["data"] = base64.b64encode(content).decode()
    return resource
