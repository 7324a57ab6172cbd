"""The FHIR REST API as one ASGI application. https://hl7.org/fhir/R4/http.html

Raw ASGI because every microsecond here is paid by every request: negotiate, read, perform, answer.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from uuid import uuid4

from starlette.types import Receive, Scope, Send

from fhirserver.context import ANYONE, NOBODY, Context
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.exchange import Pairs
from fhirserver.interactions.route import perform
from fhirserver.rest.negotiation import Format, preference, wanted
from fhirserver.rest.requests import Headers, body, pairs, request, segments
from fhirserver.rest.responses import Header, content_type, headers, preferred, refused, represented, send
from fhirserver.store.faults import refusal
from fhirserver.telemetry import request_id

log = logging.getLogger(__name__)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
PRESENTATION = frozenset(("_format", "_pretty"))
_id = re.compile(r"[A-Za-z0-9._\-]{1,64}")


async def serve(ctx: Context, prefix: bytes, scope: Scope, receive: Receive, send_: Send) -> None:
    """Answer one request below `prefix`. Whatever happens, the answer is FHIR."""
    incoming: Headers = dict(scope["headers"])
    name = incoming.get(b"x-request-id", b"").decode("latin-1")
    name = name if _id.fullmatch(name) else uuid4().hex
    out: list[Header] = [(b"x-request-id", name.encode())]
    method, zipped = scope["method"], b"gzip" in incoming.get(b"accept-encoding", b"")
    format_: Format = "json"
    pretty = False
    request_id.set(name)  # uvicorn runs every request in a context of its own
    try:
        query = pairs(scope["query_string"])
        format_, pretty, query = _presentation(incoming, query)
        status, content, more = await _answer(ctx, prefix, scope, receive, incoming, query)
        content = represented(ctx, content, format_, pretty) if content else b""
    except Exception as error:
        outcome = _outcome(error, name)
        status = outcome.status
        content, more = refused(ctx, outcome, format_, pretty)
    out += more
    if content:
        out += [content_type(format_), (b"vary", b"Accept, Accept-Encoding")]
    await send(send_, status, content, out, head=method == "HEAD", zipped=zipped)


def _presentation(incoming: Headers, query: Pairs) -> tuple[Format, bool, Pairs]:
    """How to write the answer; what is left of the query is for the interaction."""
    accept = incoming.get(b"accept")
    asked = {key: value for key, value in query if key in PRESENTATION}
    if asked:
        query = tuple(pair for pair in query if pair[0] not in PRESENTATION)
    format_ = wanted(accept.decode("latin-1") if accept else None, asked.get("_format"))
    return format_, asked.get("_pretty") == "true", query


async def _answer(
    ctx: Context, prefix: bytes, scope: Scope, receive: Receive, incoming: Headers, query: Pairs
) -> tuple[int, bytes, list[Header]]:
    method = scope["method"]
    if method not in METHODS:
        allowed = ", ".join(METHODS)
        raise Outcome(405, "not-supported", f"{method} is not a FHIR method", headers=(("allow", allowed),))
    path = segments(scope["raw_path"][len(prefix) :])
    prefer = incoming.get(b"prefer")
    returned, strict = preference(prefer.decode("latin-1") if prefer else None)
    content = b""
    if method not in ("GET", "HEAD"):
        content = await body(receive, incoming, ctx.settings.max_body_bytes)
    asked = request(ctx, method, path, query, incoming, content, strict)
    caller = ANYONE if ctx.settings.open else NOBODY
    answer = await perform(replace(ctx, caller=caller), asked, returned == "representation")
    status, content = preferred(answer, returned)
    return status, content, headers(ctx, answer)


def _outcome(error: Exception, name: str) -> Outcome:
    """An Outcome as it is; what the database could not do; everything else is ours and tells nothing."""
    if isinstance(error, Outcome):
        return error
    found = refusal(error)
    if found is not None:
        log.warning("the database refused: %s", error)
        return found
    log.error("unexpected", exc_info=error)
    return Outcome(500, "exception", f"an unexpected error, logged as request {name}")
