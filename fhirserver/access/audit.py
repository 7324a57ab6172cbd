"""What a request did, kept in the ledger before its answer leaves; where it cannot be kept, the request fails.

The events of a caller's requests of one kind are alike but for ids and times: their body and index values are worked
out once for each kind, and filled in for each event.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar

from fhirserver.access.audit_events import (
    DONE,
    Deed,
    Resource,
    account_event,
    emergency_event,
    event,
    interaction_of,
    outcome_of,
    query_of,
)
from fhirserver.context import Caller, Context, Trail
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Outcome
from fhirserver.search.index import LAST, Indexer
from fhirserver.store.ledger import AUDIT_EVENT, Line
from smart_auth.server import Happening

NAMED = 20  # resources that one event names
MILLISECOND = timedelta(milliseconds=1)

# what stands in a form where an event has its own
ID, REQUEST, QUERY, PATIENT, DATA = "audit-own-id", "audit-request", "audit-query", "audit-patient", "audit-data-"
TIME = datetime.fromisoformat("1900-01-01T00:00:00.000+00:00")
THEN = instant(TIME)
_gap = re.compile("|".join([*map(re.escape, (ID, REQUEST, QUERY, PATIENT, THEN)), DATA + "[0-9]{3}"]))


class Asked(NamedTuple):
    """A request as it came: `bundle` is the type of the Bundle in its body, if there is one."""

    method: str
    path: tuple[str, ...]
    query: str
    bundle: str | None
    request_id: str


class Answered(Protocol):
    @property
    def status(self) -> int: ...


A = TypeVar("A", bound=Answered)


async def audited(ctx: Context, asked: Asked, run: Callable[[], Awaitable[A]]) -> A:
    """What a request is answered, once its events are kept; whatever else it ends in, they are kept before that.

    One for each patient whose data it touched, or one about nobody's.
    """
    try:
        answer = await run()
    except Exception as error:
        await _keep(ctx, asked, error.status if isinstance(error, Outcome) else 500)
        raise
    await _keep(ctx, asked, answer.status)
    return answer


async def _keep(ctx: Context, asked: Asked, status: int) -> None:
    if ctx.ledger is None or ctx.caller.open or ctx.caller.stranger:
        return
    interaction = interaction_of(asked.method, asked.path, asked.bundle)
    if interaction is not None:
        deeds = _deeds(ctx.trail, asked, interaction, status)
        await ctx.ledger.add([_line(ctx, deed, asked.request_id) for deed in deeds])


def _deeds(trail: Trail | None, asked: Asked, interaction: str, status: int) -> Iterator[Deed]:
    """What was written or read is named; of searches the query says it, and of what failed the request."""
    touched = trail.touched if trail is not None else {}
    pattern = DONE[interaction][1]
    query = None
    if pattern in ("Query", None) and (asked.path or asked.query):
        query = query_of("/".join(asked.path), asked.query)
    patients = [each for each in touched if each]
    if len(patients) > 1 and query is not None and asked.query:
        # whom else was asked for is not for each of them to read
        yield Deed(interaction, outcome_of(status), (), query, None)
        query = query_of("/".join(asked.path), "")
    for patient in patients or [""]:
        references = tuple(dict.fromkeys(touched.get(patient, ())))[:NAMED] if pattern != "Query" else ()
        if not references and query is None and len(asked.path) > 1:
            references = ("/".join(asked.path[:2]),)
        emergency = trail is not None and patient in trail.emergencies
        yield Deed(interaction, outcome_of(status), references, query, patient or None, emergency)


def _line(ctx: Context, deed: Deed, request_id: str) -> Line:
    types = tuple(reference.partition("/")[0] for reference in deed.references)
    form = _form(ctx.indexer, ctx.caller, ctx.settings.base_url, deed.interaction, deed.outcome, types, *_has(deed))
    return filled(form, deed, new_id(), ctx.now(), request_id)


def _has(deed: Deed) -> tuple[bool, bool, bool]:
    return deed.query is not None, deed.patient is not None, deed.emergency


async def emergency_audited(ctx: Context, patient: str, reason: str) -> None:
    """Keep the event of a record that is opened in an emergency, where the patient sees it."""
    site = ctx.settings.base_url
    await _alone(ctx.fresh(), emergency_event(ctx.caller, patient, reason, recorded=THEN, site=site))


async def account_audited(ctx: Context, happening: Happening) -> None:
    """Keep the event of what happened to an account."""
    site = ctx.settings.base_url
    await _alone(ctx.fresh(), account_event(happening, recorded=THEN, site=site))


async def _alone(ctx: Context, resource: Resource) -> None:
    """An event that is like no other."""
    if ctx.ledger is not None:
        nobody = Deed("operation", "0", (), None, None)
        await ctx.ledger.add([filled(form_of(ctx.indexer, resource), nobody, new_id(), ctx.now(), "")])


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


@lru_cache(maxsize=2_000)
def _form(
    indexer: Indexer,
    caller: Caller,
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
    resource = event(deed, caller, recorded=THEN, request_id=REQUEST, site=site)
    return form_of(indexer, resource)


def form_of(indexer: Indexer, resource: Resource) -> Form:
    meta = {**resource.get("meta", {}), "versionId": "1", "lastUpdated": THEN}
    resource = {"resourceType": AUDIT_EVENT, "id": ID, "meta": meta} | {
        key: value for key, value in resource.items() if key not in ("resourceType", "meta")
    }
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


def filled(form: Form, deed: Deed, id_: str, now: datetime, request_id: str) -> Line:
    """An id may be called like a gap, and is none."""
    own = Gaps({THEN: instant(now), ID: id_, REQUEST: request_id, QUERY: deed.query or ""})
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
    document = {"_id": id_, "version": 1, "updated": now, "compartments": _distinct(form.compartments, own)}
    document |= {"search": search, "sort": sort} | ({"generation": form.generation} if form.generation else {})
    return Line((form.body % quoted).encode(), document)


def _distinct(texts: Iterable[str], gaps: Gaps) -> list[str]:
    return [*dict.fromkeys([text % gaps for text in texts])]
