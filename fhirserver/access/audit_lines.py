"""A line of the ledger: all that an event says, in few words, as one JSON array.

Of a request: `["0198…", "2026-01-01T08:30:00.123Z", "https://…/fhir", ["read", "0", ["Observation/1"], null,
"Patient/1", false], ["app", "ada", "Patient/1", "0f…"], "4b…"]`. What is like nothing else is an AuditEvent already.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from fhirserver.access.audit_events import Author, Deed, Resource
from fhirserver.fhir import dates
from fhirserver.fhir.outcome import Outcome
from fhirserver.store.late import Mark


class Line(NamedTuple):
    """`id` is that of the event, `site` the server's base URL, `request` the id of the request."""

    id: str
    at: datetime
    site: str
    what: Deed | Resource
    author: Author | None = None
    request: str = ""


text_of = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Line)


def line_of(text: bytes) -> Line:
    return _decoder.decode(text)


def mark_of(text: bytes) -> Mark:
    """The id and the time of what may be no line any more."""
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return Mark()
    match said:
        case [str(id_), str(at), *_]:
            return Mark(id_, _time(at))
        case [str(id_), *_]:
            return Mark(id_)
    return Mark()


def _time(text: str) -> datetime | None:
    try:
        return dates.parse(text).low
    except Outcome:
        return None
