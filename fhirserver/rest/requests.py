"""From HTTP to a Request: the body decoded, conditions taken from the headers."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.fhir.places import Sent
from fhirserver.fhir.xml import from_xml
from fhirserver.interactions.exchange import Pairs, Request
from fhirserver.rest.binary import binary, is_content
from fhirserver.rest.bodies import Headers
from fhirserver.rest.negotiation import FORM_TYPE, JSON_TYPE, PATCH_TYPE, XML_TYPE, sent

MAX_FIELDS = 2_000
SHORT = 500  # characters
SECURITY = b"x-security-context"
RESOURCE_TYPES = f"{JSON_TYPE} or {XML_TYPE}"
PATCH_TYPES = f"{PATCH_TYPE}, or a FHIRPath Patch (Parameters) as {RESOURCE_TYPES}"


def segments(raw_path: bytes) -> tuple[str, ...]:
    """The decoded segments of a path. A slash at the end adds nothing; `..` is a segment like any other."""
    try:
        return tuple(unquote(part, errors="strict") for part in raw_path.decode("ascii").split("/") if part)
    except UnicodeDecodeError as error:
        raise invalid("the path is not percent-encoded UTF-8") from error


def pairs(query: bytes, what: str = "the query string") -> Pairs:
    """Short ones are remembered, for apps ask the same again and again."""
    return (_pairs if len(query) <= SHORT else _pairs.__wrapped__)(query, what)


@lru_cache(maxsize=2_000)
def _pairs(query: bytes, what: str) -> Pairs:
    try:
        text = query.decode("ascii") if what == "the query string" else query.decode()
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except UnicodeDecodeError as error:
        raise invalid(f"{what} is not percent-encoded UTF-8") from error
    except ValueError as error:
        raise invalid(f"{what} has more than {MAX_FIELDS} parameters", code="too-costly") from error


def request(
    ctx: Context,
    method: str,
    path: tuple[str, ...],
    query: Pairs,
    headers: Headers,
    content: bytes,
    strict: bool,
) -> Request:
    """The interaction that is asked for. HEAD is a GET whose body stays here."""
    document: Any = None
    read: Sent | None = None
    if content or method in ("PUT", "PATCH") or (method == "POST" and not _bodiless(path)):
        document, query, read = _document(ctx, method, path, query, headers, content)
    return Request(
        method="GET" if method == "HEAD" else method,
        path=path,
        pairs=query,
        body=document,
        sent=read,
        if_match=_text(headers, b"if-match"),
        if_none_match=_text(headers, b"if-none-match"),
        if_modified_since=_http_date(_text(headers, b"if-modified-since")),
        if_none_exist=_condition(headers),
        strict=strict,
    )


def _bodiless(path: tuple[str, ...]) -> bool:
    return bool(path) and (path[-1] == "_search" or path[-1].startswith("$"))


def _document(
    ctx: Context, method: str, path: tuple[str, ...], query: Pairs, headers: Headers, content: bytes
) -> tuple[Any, Pairs, Sent | None]:
    if method in ("GET", "HEAD", "DELETE"):
        return None, query, None  # a body here has no meaning (RFC 9110 §9.3.1)
    media = _text(headers, b"content-type")
    if is_content(method, path, media, content):
        return binary(content, media or "", path[1] if len(path) > 1 else None, _text(headers, SECURITY)), query, None
    searching = path[-1:] == ("_search",)
    kind = sent(media, FORM_TYPE if searching else PATCH_TYPES if method == "PATCH" else RESOURCE_TYPES)
    if kind == "form":
        if not searching:
            said = "a form, which curl -d sends where it is told nothing else, is for _search; add"
            raise Outcome(415, "not-supported", f"{said} -H 'Content-Type: {JSON_TYPE}'")
        return None, query + pairs(content, "the form"), None
    if searching:
        raise Outcome(415, "not-supported", f"_search takes {FORM_TYPE}")
    if kind == "patch":
        if method != "PATCH":
            raise Outcome(415, "not-supported", "a JSON Patch is sent with PATCH")
        operations = json.decode(content)
        if not isinstance(operations, list):
            raise invalid("a JSON Patch is a list of operations", code="structure")
        return operations, query, None
    if not content:
        raise invalid("the body is empty; a resource is expected", code="structure")
    if method == "PATCH" and kind == "json" and content.lstrip()[:1] == b"[":
        raise Outcome(415, "not-supported", f"a JSON Patch is sent as {PATCH_TYPE}")
    if (found := _other_format(content)) not in (kind, None):
        raise invalid(f"Content-Type says {kind}, but the body looks like {found}", code="structure")
    document = json.resource(content) if kind == "json" else from_xml(content, ctx.definitions)
    if method == "PATCH" and document.get("resourceType") != "Parameters":
        raise Outcome(415, "not-supported", f"PATCH takes {PATCH_TYPES}")
    return document, query, Sent(content, kind, document)


def _other_format(content: bytes) -> str | None:
    """What a body is at first sight; a byte order mark says nothing."""
    first = content[:64].removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return {b"{": "json", b"<": "xml"}.get(first)


def _text(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def _condition(headers: Headers) -> str | None:
    """What a resource must not exist by: criteria, of which some clients leave letters as they are."""
    try:
        return headers[b"if-none-exist"].decode() if b"if-none-exist" in headers else None
    except UnicodeDecodeError as error:
        raise invalid("If-None-Exist is not UTF-8; percent-encode what is not ASCII") from error


def _http_date(text: str | None) -> datetime | None:
    """A date that cannot be read is ignored: RFC 9110 §13.1.3."""
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
