"""The FHIR REST API as one ASGI application. https://hl7.org/fhir/R4/http.html

Raw ASGI because every microsecond here is paid by every request: negotiate, read, perform, answer.
"""

from __future__ import annotations

import logging
import re
from contextlib import nullcontext
from dataclasses import replace
from urllib.parse import urlencode

from starlette.types import Receive, Scope, Send

from fhirserver.access.audit import Asked, audited
from fhirserver.access.audit_events import searches_of
from fhirserver.access.policy import authorize_sending
from fhirserver.context import Context
from fhirserver.fhir.outcome import Issue, Outcome, in_query, invalid
from fhirserver.fhir.places import placed
from fhirserver.interactions.contents import told_of_contents
from fhirserver.interactions.exchange import Answer, Pairs, Request
from fhirserver.interactions.opening import told_of_emergencies
from fhirserver.interactions.route import perform
from fhirserver.rest.auth import known
from fhirserver.rest.binary import content_of, wants_content
from fhirserver.rest.bodies import Bodies, Body, Headers
from fhirserver.rest.cors import granted, preflight
from fhirserver.rest.emergency import break_glass, reason_of
from fhirserver.rest.limits import of_address, of_caller, of_entries
from fhirserver.rest.negotiation import Format, preference, wanted
from fhirserver.rest.protection import OF_CONTENT, OF_RESOURCES, protective
from fhirserver.rest.queue import Gone, Queue, is_wide
from fhirserver.rest.requests import pairs, request, segments
from fhirserver.rest.responses import Header, content_type, headers, preferred, refused, represented, send
from fhirserver.store.faults import RETRY, refusal
from fhirserver.telemetry import begin

log = logging.getLogger(__name__)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
WRITES = ("POST", "PUT", "PATCH", "DELETE")
PRESENTATION = frozenset(("_format", "_pretty"))
_gzip = re.compile(rb"gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


async def serve(
    ctx: Context, queue: Queue, bodies: Bodies, prefix: bytes, scope: Scope, receive: Receive, send_: Send
) -> None:
    """Answer one request below `prefix` when it is its turn. Whatever happens, the answer is FHIR."""
    with Body(bodies) as body:
        await _serve(ctx, queue, body, prefix, scope, receive, send_)


async def _serve(
    ctx: Context, queue: Queue, body: Body, prefix: bytes, scope: Scope, receive: Receive, send_: Send
) -> None:
    incoming: Headers = dict(scope["headers"])
    name = begin(incoming.get(b"x-request-id", b"").decode("latin-1"))
    out: list[Header] = [(b"x-request-id", name.encode())]
    method, zipped = scope["method"], _gzip.search(incoming.get(b"accept-encoding", b"")) is not None
    format_: Format | None = None
    asked: Request | None = None
    pretty = False
    kind: Header | None = None  # of what is no resource
    if question := preflight(ctx.settings, method, incoming):
        await send(send_, 204, b"", [*out, *question, *protective(ctx)])
        return
    try:
        out += of_address(ctx, scope)
        query = pairs(scope["query_string"])
        raw = b"/Binary/" in scope["raw_path"] and _wants_content(prefix, scope, incoming, query)
        format_, pretty = (_accepted(incoming), False) if raw else _presentation(incoming, query)
        ctx = await known(ctx, incoming, scope)
        out += of_caller(ctx)
        asked, returned = await _asked(ctx, body, prefix, scope, receive, incoming, query)
        if asked.pairs is not query:  # a form may say it too
            format_, pretty = _presentation(incoming, asked.pairs)
        if told := of_entries(ctx, scope, asked):
            out = [each for each in out if not each[0].startswith(b"ratelimit")] + told
        whole = PRESENTATION.issuperset(key for key, _ in asked.pairs)
        asks_nobody = asked.path == ("metadata",) and whole  # it is kept, but not its parts
        async with nullcontext() if asks_nobody else queue.turn(is_wide(method, asked.path), receive, _client(scope)):
            ctx = ctx.fresh()  # the body and the turn may have been waited for
            status, content, more = await _answer(ctx, asked, returned, name, reason_of(incoming))
        if raw and status == 200:
            content, kind = content_of(content)
        elif content:
            content = represented(ctx, content, format_, pretty)
    except Gone:
        return
    except Exception as error:
        outcome = _outcome(error, name, _writes(scope))
        if asked is not None:
            outcome = outcome.saying(placed(asked.sent, outcome.issues, ctx.definitions))
        status = outcome.status
        format_ = format_ or _accepted(incoming)
        content, more = refused(ctx, outcome, format_, pretty)
    out += [*more, *granted(ctx.settings, incoming), *protective(ctx)]
    if kind:
        out += [kind, *OF_CONTENT]
    elif content:
        out += [content_type(format_), *OF_RESOURCES]
    await send(send_, status, content, out, head=method == "HEAD", zipped=zipped and kind is None)


def _client(scope: Scope) -> str:
    address: tuple[str, int] | None = scope.get("client")
    return address[0] if address else ""


def _presentation(incoming: Headers, query: Pairs) -> tuple[Format, bool]:
    """How to write the answer."""
    accept = incoming.get(b"accept")
    asked = {key: value for key, value in query if key in PRESENTATION}
    format_ = wanted(accept.decode("latin-1") if accept else None, asked.get("_format"))
    return format_, asked.get("_pretty") == "true"


def _wants_content(prefix: bytes, scope: Scope, incoming: Headers, query: Pairs) -> bool:
    accept = incoming.get(b"accept", b"").decode("latin-1")
    return wants_content(scope["method"], segments(scope["raw_path"][len(prefix) :]), query, accept)


def _accepted(incoming: Headers) -> Format:
    """How to refuse a request whose own wish could not be read or met."""
    try:
        return wanted(incoming.get(b"accept", b"").decode("latin-1"), None)
    except Outcome:
        return "json"


async def _asked(
    ctx: Context, body: Body, prefix: bytes, scope: Scope, receive: Receive, incoming: Headers, query: Pairs
) -> tuple[Request, str | None]:
    """The interaction that is asked for, and what a write should answer with."""
    method = scope["method"]
    if method not in METHODS:
        allowed = ", ".join(METHODS)
        raise Outcome(405, "not-supported", f"{method} is not a FHIR method", headers=(("allow", allowed),))
    path = segments(scope["raw_path"][len(prefix) :])
    prefer = incoming.get(b"prefer")
    returned, strict = preference(prefer.decode("latin-1") if prefer else None)
    content = b""
    if method not in ("GET", "HEAD"):
        authorize_sending(ctx.caller)
        content = await body.read(receive, incoming)
    return request(ctx, method, path, query, incoming, content, strict), returned


async def _answer(
    ctx: Context, asked: Request, returned: str | None, name: str, emergency: str | None
) -> tuple[int, bytes, list[Header]]:
    """The answer, once its audit event is kept; of a refusal, too. In an emergency, by the reason that is given."""
    if any(key in PRESENTATION for key, _ in asked.pairs):
        asked = _presented(asked)

    async def run() -> Answer:
        if emergency is not None:
            await break_glass(ctx, asked, emergency)
        try:
            return await perform(ctx, asked, returned == "representation")
        finally:
            await _told(ctx)

    if ctx.trail is None:
        answer = await run()
    else:
        bundle = asked.body if isinstance(asked.body, dict) and not asked.path else {}
        as_asked = Asked(
            asked.method, asked.path, urlencode(asked.pairs), bundle.get("type"), name, searches_of(bundle)
        )
        answer = await audited(ctx, as_asked, run)
    status, content = preferred(answer, returned)
    return status, content, headers(ctx, answer)


async def _told(ctx: Context) -> None:
    """Whose records it is told in, beside those that are named; 503 where that cannot be found out."""
    try:
        await told_of_emergencies(ctx)
        await told_of_contents(ctx)
    except Outcome as refused:
        said = "in whose records this is to be told was not found out in time, so it is not answered"
        raise Outcome(503, "transient", f"{said}; what it wrote, it wrote", headers=RETRY) from refused


def _presented(asked: Request) -> Request:
    """With what says how to write the answer apart: the rest is for the interaction."""
    kept = tuple(pair for pair in asked.pairs if pair[0] not in PRESENTATION)
    said = {key: value for key, value in asked.pairs if key in PRESENTATION}
    pretty = said.get("_pretty", "false")
    if pretty in ("true", "false"):
        return replace(asked, pairs=kept, presentation=(*said.items(),))
    sentence = f"_pretty: {pretty[:80]!r} is neither true nor false"
    if asked.strict:
        raise invalid(sentence, in_query("_pretty"), code="not-supported")
    del said["_pretty"]
    ignored = Issue("warning", "not-supported", f"{sentence}; it was ignored", in_query("_pretty"))
    return replace(asked, pairs=kept, presentation=(*said.items(),), ignored=(ignored,))


def _writes(scope: Scope) -> bool:
    return scope["method"] in WRITES and not scope["raw_path"].rpartition(b"/")[2].startswith((b"_search", b"$"))


def _outcome(error: Exception, name: str, writing: bool) -> Outcome:
    """An Outcome as it is; what the database could not do; everything else is ours and tells nothing."""
    if isinstance(error, Outcome):
        return error
    found = refusal(error, writing=writing)
    if found is not None:
        log.warning("the database refused: %s", error)
        return found
    log.error("unexpected", exc_info=error)
    return Outcome(500, "exception", f"an unexpected error, logged as request {name}")
