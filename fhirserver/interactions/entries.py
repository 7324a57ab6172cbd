"""Bundle entries as requests and answers. https://hl7.org/fhir/R4/bundle.html#batch"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from fhirserver.context import Context
from fhirserver.fhir import dates, json
from fhirserver.fhir.bundles import entry, instant
from fhirserver.fhir.outcome import Outcome, invalid, operation_outcome
from fhirserver.interactions.exchange import Answer, Request

Perform = Callable[[Context, Request], Awaitable[Answer]]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REASONS = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified"}


def parsed(ctx: Context, entry_: Any, index: int, strict: bool) -> Request:
    """The request of an entry. Raises a 400 Outcome that says where in the Bundle the fault is."""
    place = f"Bundle.entry[{index}].request"
    _check_shell(ctx, entry_, index)
    asked = entry_.get("request") if isinstance(entry_, dict) else None
    if not isinstance(asked, dict):
        raise invalid("an entry of a batch or transaction needs a request", place, code="required")
    method, url = asked.get("method"), asked.get("url")
    if method not in METHODS:
        raise invalid(f"{method!r} is not a method; use one of {', '.join(METHODS)}", f"{place}.method")
    if not isinstance(url, str) or not url:
        raise invalid("request.url is missing", f"{place}.url", code="required")
    try:
        parts = urlsplit(url.removeprefix(ctx.base_url))
    except ValueError as error:
        raise invalid(f"{url!r} is not a URL", f"{place}.url") from error
    if parts.scheme or parts.netloc:
        raise invalid(f"{url} is not a URL of this server ({ctx.base_url})", f"{place}.url")
    try:
        path = tuple(unquote(segment, errors="strict") for segment in parts.path.split("/") if segment)
        pairs = tuple(parse_qsl(parts.query, keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        raise invalid(f"{url[:80]!r} is not percent-encoded UTF-8", f"{place}.url") from error
    since = asked.get("ifModifiedSince")
    body = entry_.get("resource")
    return Request(
        method=method,
        path=path,
        pairs=pairs,
        body=_patch(body, place) if method == "PATCH" else body,
        if_match=asked.get("ifMatch"),
        if_none_match=asked.get("ifNoneMatch"),
        if_modified_since=dates.parse(since).low if isinstance(since, str) else None,
        if_none_exist=asked.get("ifNoneExist"),
        strict=strict,
    )


def _check_shell(ctx: Context, entry_: Any, index: int) -> None:
    """The entry without its resource, which is validated by the interaction."""
    shell = {k: v for k, v in entry_.items() if k != "resource"} if isinstance(entry_, dict) else entry_
    issues = ctx.validator.issues({"resourceType": "Bundle", "type": "batch", "entry": [shell]}) if shell else []
    if issues:
        place = f"Bundle.entry[{index}]"
        moved = tuple(i._replace(expression=(i.expression or "").replace("Bundle.entry[0]", place)) for i in issues)
        raise Outcome(400, issues[0].code, issues[0].diagnostics, issues=moved)


def _patch(body: Any, place: str) -> Any:
    """FHIRPath Patch as Parameters, JSON Patch as a Binary: https://hl7.org/fhir/R4/http.html#patch"""
    if not isinstance(body, dict) or body.get("resourceType") != "Binary":
        return body
    if body.get("contentType") != "application/json-patch+json":
        raise invalid("a Binary patch has contentType application/json-patch+json", place)
    try:
        text = base64.b64decode(body.get("data", ""), validate=True)
    except (ValueError, TypeError) as error:  # ValueError: characters that are not ASCII, or not of base64
        raise invalid("Binary.data is not base64", place) from error
    return json.decode(text)


async def respond(ctx: Context, entry_: Any, index: int, strict: bool, perform: Perform) -> Answer | Outcome:
    """One entry of a batch, which fails alone."""
    place = f"Bundle.entry[{index}]"
    try:
        request = parsed(ctx, entry_, index, strict)
    except Outcome as refusal:
        return refusal
    try:
        if not request.path and request.method == "POST":
            raise invalid("a batch cannot hold a batch")
        return await answered(ctx.fresh(), request, perform)
    except Outcome as refusal:
        return refusal.under(f"{place}.resource" if request.body is not None else place)


async def answered(ctx: Context, request: Request, perform: Perform) -> Answer:
    """A HEAD is a GET without the resource."""
    if request.method != "HEAD":
        return await perform(ctx, request)
    return replace(await perform(ctx, replace(request, method="GET")), body=b"")


def response_entry(answer: Answer | Outcome, representation: bool, index: int) -> bytes:
    """Warnings are always told: https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.response.outcome"""
    if isinstance(answer, Outcome):
        return entry(response={"status": str(answer.status), "outcome": answer.resource()})
    response: dict[str, object] = {"status": f"{answer.status} {REASONS.get(answer.status, '')}".strip()}
    stored = answer.stored
    if stored is not None:
        if answer.wrote and answer.status in (200, 201):
            response["location"] = f"{stored.reference}/_history/{stored.version}"
        response["etag"] = f'W/"{stored.version}"'
        response["lastModified"] = instant(stored.updated)
    if answer.warnings:
        warnings = [each.under(f"Bundle.entry[{index}].resource") for each in answer.warnings]
        response["outcome"] = operation_outcome(warnings)
    shown = answer.body if answer.status != 304 and (representation or not answer.wrote) else b""
    return entry(resource=shown, response=response)
