"""From an Answer to HTTP: representation, headers, compression."""

from __future__ import annotations

import gzip
from datetime import datetime

from starlette.types import Send

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Issue, Outcome, operation_outcome
from fhirserver.fhir.xml import to_xml
from fhirserver.interactions.exchange import Answer
from fhirserver.rest.negotiation import CONTENT_TYPE, Format

DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
COMPRESS_FROM = 1_400  # below it everything fits one packet anyway
Header = tuple[bytes, bytes]


def represented(ctx: Context, body: bytes, format_: Format, pretty: bool) -> bytes:
    """JSON leaves as it is stored; only XML and `_pretty` take it apart."""
    if format_ == "xml":
        return to_xml(json.resource(body), ctx.definitions, pretty)
    return json.pretty(body) if pretty else body


def headers(ctx: Context, answer: Answer) -> list[Header]:
    """ETag, Last-Modified and Location: https://hl7.org/fhir/R4/http.html#versions"""
    out = [(name.encode(), value.encode()) for name, value in answer.headers]
    stored = answer.stored
    if stored is None:
        return out
    out.append((b"etag", b'W/"%d"' % stored.version))
    out.append((b"last-modified", _http_date(stored.updated)))
    if answer.wrote and answer.status in (200, 201):
        out.append((b"location", f"{ctx.base_url}/{stored.reference}/_history/{stored.version}".encode()))
    return out


def _http_date(time: datetime) -> bytes:
    """https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7; each read has one."""
    day = b"%b, %02d %b %d" % (DAYS[time.weekday()], time.day, MONTHS[time.month - 1], time.year)
    return b"%b %02d:%02d:%02d GMT" % (day, time.hour, time.minute, time.second)


def preferred(answer: Answer, returned: str | None) -> tuple[int, bytes]:
    """What a write answers with: https://hl7.org/fhir/R4/http.html#ops"""
    if not answer.wrote or returned in (None, "representation"):
        return answer.status, answer.body
    if returned == "minimal":
        return answer.status, b""
    stored = answer.stored
    if stored is None:
        said = "done"
    else:
        verb = {200: "stored", 201: "created", 204: "deleted"}[answer.status]
        said = f"{stored.reference} is {verb} as version {stored.version}"
    body = json.encode(operation_outcome([Issue("information", "informational", said), *answer.warnings]))
    return 200 if answer.status == 204 else answer.status, body


def refused(ctx: Context, outcome: Outcome, format_: Format, pretty: bool) -> tuple[bytes, list[Header]]:
    body = represented(ctx, json.encode(outcome.resource()), format_, pretty)
    return body, [(name.encode(), value.encode()) for name, value in outcome.headers]


async def send(
    send_: Send,
    status: int,
    body: bytes,
    out: list[Header],
    *,
    head: bool = False,
    zipped: bool = False,
) -> None:
    """One response with its length. 204 and 304 have no body."""
    if zipped and len(body) >= COMPRESS_FROM:
        body = gzip.compress(body, compresslevel=2, mtime=0)
        out.append((b"content-encoding", b"gzip"))
    if status in (204, 304):
        body = b""
    else:
        out.append((b"content-length", b"%d" % len(body)))
    await send_({"type": "http.response.start", "status": status, "headers": out})
    await send_({"type": "http.response.body", "body": b"" if head else body})


def content_type(format_: Format) -> Header:
    return (b"content-type", CONTENT_TYPE[format_])
