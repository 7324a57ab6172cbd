"""A request and its answer, free of HTTP: what a REST call and an entry of a batch have in common.

https://hl7.org/fhir/R4/http.html#general
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fhirserver.fhir.outcome import Issue, in_query, invalid
from fhirserver.fhir.places import Sent
from fhirserver.store.versions import Stored

Pairs = tuple[tuple[str, str], ...]
_name = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_etag = re.compile(r'(?:W/)?"(?P<version>[^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One interaction asked for. `path` are the segments below the base, `body` is decoded JSON.

    `sent` is the text that the body was read from, where it came alone. `presentation` are the pairs that say how the
    answer is written, which links to its other pages say again; `ignored` is what was not understood of these.
    """

    method: str
    path: tuple[str, ...]
    pairs: Pairs = ()
    presentation: Pairs = ()
    ignored: tuple[Issue, ...] = ()
    body: Any = None
    sent: Sent | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: datetime | None = None
    if_none_exist: str | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of it. `body` is a resource as JSON; `stored` the version it speaks of; `wrote` marks a write.

    `warnings` are for who asks for an OperationOutcome.
    """

    status: int
    body: bytes = b""
    stored: Stored | None = None
    wrote: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=())
    warnings: tuple[Issue, ...] = ()


def located(request: Request, issues: Iterable[Issue]) -> list[Issue]:
    """Issues that name a parameter by itself, with where it stands, or is missing: in the URL, or in Parameters."""
    places: dict[str | None, str] = {name: in_query(name) for name, _ in request.pairs}
    body: dict[str, Any] = request.body if isinstance(request.body, dict) else {}
    sent = body.get("parameter")
    for index, parameter in enumerate(sent if isinstance(sent, list) else ()):
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if isinstance(name, str):
            places.setdefault(name, f"Parameters.parameter[{index}]")
    in_body = body.get("resourceType") == "Parameters"
    missing = "Parameters.parameter.where(name = '{}')".format if in_body else in_query
    for issue in issues:
        if issue.code == "required" and issue.expression and _name.fullmatch(issue.expression):
            places.setdefault(issue.expression, missing(issue.expression))
    return [issue._replace(expression=places.get(issue.expression, issue.expression)) for issue in issues]


def version_of(etag: str, header: str) -> str:
    """The version of `W/"3"` (or `"3"`). `*` stays `*`."""
    match = _etag.fullmatch(etag.strip())
    if match:
        return match["version"]
    if etag.strip() == "*":
        return "*"
    raise invalid(f'{header}: {etag!r} is not an entity tag; write W/"3"')


def versions_of(etags: str, header: str) -> set[str]:
    return {version_of(etag, header) for etag in etags.split(",")}
