"""The events that are made of lines: body and index values, as if the event had been written as a resource.

The events of a caller's requests of one kind are alike but for ids and times: their body and index values are worked
out once for each kind, and filled in for each event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from secrets import token_hex
from typing import Any, NamedTuple

from fhirserver.access.audit_events import Author, Deed, Resource, event
from fhirserver.access.audit_lines import Line, line_of
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.search.generated import LAST
from fhirserver.search.index import Indexer
from fhirserver.store.outstanding import Event
from fhirserver.store.schema import AUDIT_EVENT

MILLISECOND = timedelta(milliseconds=1)

# what stands in a form where an event has its own: nobody can be called so
GAP = f"audit-{token_hex(8)}-"
ID, REQUEST, QUERY, PATIENT, DATA = (f"{GAP}{name}" for name in ("id", "request", "query", "patient", "data-"))
TIME = datetime.fromisoformat("1900-01-01T00:00:00.000+00:00")
THEN = instant(TIME)
_gap = re.compile("|".join([*map(re.escape, (ID, REQUEST, QUERY, PATIENT, THEN)), DATA + "[0-9]{3}"]))


def event_of(indexer: Indexer, text: bytes) -> Event:
    line = line_of(text)
    if isinstance(line.what, Deed) and line.author is not None:
        return _filled(_form_of(indexer, line, line.what, line.author), line, line.what)
    return _alone(indexer, line)


class Gaps(dict[str, str]):
    """What each gap of a form is filled with. What only looks like one is left."""

    def __missing__(self, key: str) -> str:
        return key


class Form(NamedTuple):
    """Events that are alike: the body, and the document around it. Texts are formats, with gaps by name.

    `named` are the index values that have gaps.
    """

    body: str
    compartments: Sequence[str]
    named: Mapping[str, Sequence[str]]
    search: Mapping[str, Any]
    sort: Mapping[str, Any]
    generation: int


def _form_of(indexer: Indexer, line: Line, deed: Deed, author: Author) -> Form:
    types = tuple(reference.partition("/")[0] for reference in deed.references)
    has = deed.query is not None, deed.patient is not None, deed.emergency
    return _form(indexer, author, line.site, deed.interaction, deed.outcome, types, *has)


@lru_cache(maxsize=2_000)
def _form(
    indexer: Indexer,
    author: Author,
    site: str,
    interaction: str,
    outcome: str,
    types: tuple[str, ...],
    query: bool,
    patient: bool,
    emergency: bool,
) -> Form:
    references = tuple(f"{type_}/{DATA}{number:03}" for number, type_ in enumerate(types))
    whom = f"Patient/{PATIENT}" if patient else None
    deed = Deed(interaction, outcome, references, QUERY if query else None, whom, emergency)
    resource = _identified(event(deed, author, recorded=THEN, request_id=REQUEST, site=site), ID, THEN)
    entry = indexer.entry(resource)
    named = {code: [*map(_gapped, values)] for code, values in entry.search.items() if _has_gaps(values)}
    last = {f"{code}{LAST}" for code in named}
    return Form(
        _gapped(json.encode(resource).decode()),
        [*map(_gapped, entry.compartments)],
        named,
        entry.search,
        {code: value for code, value in entry.sort.items() if code not in last},
        indexer.generation,
    )


def _gapped(text: str) -> str:
    return _gap.sub(r"%(\g<0>)s", text.replace("%", "%%"))


def _has_gaps(values: Sequence[Any]) -> bool:
    return any(isinstance(each, str) and _gap.search(each) for each in values)


def _filled(form: Form, line: Line, deed: Deed) -> Event:
    """An id may be called like a gap, and is none."""
    now = line.at
    own = Gaps({THEN: instant(now), ID: line.id, REQUEST: line.request, QUERY: deed.query or ""})
    own[PATIENT] = (deed.patient or "").partition("/")[2]
    for number, each in enumerate(deed.references):
        own[f"{DATA}{number:03}"] = each.partition("/")[2]
    quoted = Gaps({gap: json.encode(value)[1:-1].decode() for gap, value in own.items()})
    search, sort = {**form.search, "date": [{"lo": now, "hi": now + MILLISECOND}]}, {**form.sort, "date": now}
    for code, texts in form.named.items():
        values = search[code] = _distinct(texts, own)
        if code in sort:
            sort[code] = min(values)
            if len(values) > 1:
                sort[f"{code}{LAST}"] = max(values)
    document = _document(line, _distinct(form.compartments, own), search, sort, form.generation)
    return Event((form.body % quoted).encode(), document)


def _alone(indexer: Indexer, line: Line) -> Event:
    """An event that is like no other."""
    if not isinstance(line.what, dict):
        raise TypeError(f"line {line.id} says neither what was done by whom, nor an event")
    resource = _identified(line.what, line.id, instant(line.at))
    entry = indexer.entry(resource)
    document = _document(line, entry.compartments, entry.search, entry.sort, indexer.generation)
    return Event(json.encode(resource), document)


def _identified(resource: Resource, id_: str, time: str) -> Resource:
    meta = {**resource.get("meta", {}), "versionId": "1", "lastUpdated": time}
    rest = {key: value for key, value in resource.items() if key not in ("resourceType", "meta")}
    return {"resourceType": AUDIT_EVENT, "id": id_, "meta": meta, **rest}


def _document(
    line: Line, compartments: Sequence[str], search: Mapping[str, Any], sort: Mapping[str, Any], generation: int
) -> dict[str, Any]:
    document = {"_id": line.id, "version": 1, "updated": line.at, "compartments": compartments}
    return document | {"search": search, "sort": sort} | ({"generation": generation} if generation else {})


def _distinct(texts: Iterable[str], gaps: Gaps) -> list[str]:
    return [*dict.fromkeys([text % gaps for text in texts])]
