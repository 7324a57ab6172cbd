"""$everything: the record of a patient, or of an encounter, page by page.

https://hl7.org/fhir/R4/patient-operation-everything.html, https://hl7.org/fhir/R4/encounter-operation-everything.html

Matches are what it is about, then its compartment by type and id. What the matches of a page refer to outside of it
(practitioners, medications, binaries, an encounter's patient) comes with that page, but nothing of other patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import dates, json
from fhirserver.fhir.bundles import bundle, entry
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Outcome, gone, invalid, not_found
from fhirserver.fhir.references import mentioned, parse
from fhirserver.interactions.exchange import Answer, Pairs, Request
from fhirserver.interactions.links import page_url, signed, verified
from fhirserver.interactions.resolve import Found as Led
from fhirserver.interactions.resolve import visible
from fhirserver.interactions.sight import current
from fhirserver.interactions.summary import Part, part_of, trim
from fhirserver.operations.parameters import given, once, taken, whole
from fhirserver.operations.registry import operation
from fhirserver.search.care_dates import Days, days, within
from fhirserver.search.compartments import types_with
from fhirserver.search.filters import conjunction, in_no_record
from fhirserver.search.query import Query
from fhirserver.store.blobs import unpack
from fhirserver.store.hops import one_budget
from fhirserver.store.record import Place, record, referred
from fhirserver.store.resources import Document

COMMON = ("_since", "_type", "_count", "_elements", "_summary", "_cursor")
PARAMETERS = {"Patient": ("start", "end", *COMMON), "Encounter": COMMON}
SECURED = b'"securityContext"'
REFERRED = 5_000  # resources that come with a page
DEFINITION = "http://hl7.org/fhir/OperationDefinition/{}-everything"


class Asked(NamedTuple):
    """What is wanted of a record: `types` None is all of it."""

    types: frozenset[str] | None
    since: datetime | None
    care: Days
    most: int
    part: Part
    cursor: str | None
    used: Pairs

    def wants(self, type_: str) -> bool:
        return self.types is None or type_ in self.types


class Found(NamedTuple):
    """A resource of the record."""

    type: str
    id: str
    body: bytes


@operation("everything", "Encounter", instance=True, definition=DEFINITION.format("Encounter"))
@operation("everything", "Patient", instance=True, definition=DEFINITION.format("Patient"))
async def everything(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """A searchset: the resource itself, then the others in the order of type and id."""
    authorize(ctx.caller, "everything", type_)
    reference = f"{type_}/{id_}"
    asked = _asked(ctx, taken("$everything", given(ctx, request), PARAMETERS[type_]), type_)
    after = None if asked.cursor is None else _place(verified(ctx.secret, asked.cursor, reference))
    async with one_budget(ctx.store):
        if await current(ctx, type_, id_) is None:
            raise not_found(reference)
        filters = await _filters(ctx, type_, reference, asked)
        about, rows = await record(ctx.store, (type_, id_), filters, asked.most + 1, after)
        if about is None:
            raise not_found(reference)
        if "deleted" in about:
            raise gone(reference)
        if after is None and (asked.since is None or about["updated"] >= asked.since):
            rows.insert(0, (type_, id_, about["body"]))
        page = [Found(each, row_id, unpack(packed)) for each, row_id, packed in rows[: asked.most]]
        patients = {each for each in about["compartments"] if each.startswith("Patient/")}
        others = await _referred(ctx, page, reference, patients, asked)
    matches = [each for each in page if asked.wants(each.type)]
    entries = [*_entries(ctx, matches, asked.part, "match"), *_entries(ctx, others, asked.part, "include")]
    more = len(rows) > asked.most
    links = _links(ctx, request, asked, _next(ctx, page[-1], (type_, id_), reference) if more else None)
    total = None if more or after is not None else len(matches)
    body = bundle("searchset", entries, id_=new_id(), updated=ctx.now(), total=total, links=links)
    return Answer(status=200, body=body)


def _asked(ctx: Context, values: dict[str, list[Any]], type_: str) -> Asked:
    since = once(values, "_since")
    largest = ctx.settings.max_count
    part = {name: text for name in ("_elements", "_summary") if (text := once(values, name)) is not None}
    return Asked(
        _types(ctx, values.get("_type", ())),
        None if since is None else dates.parse(since).low,
        days(once(values, "start"), once(values, "end")),
        min(whole(values, "_count", largest, 999_999_999), largest),
        part_of(part),
        once(values, "_cursor"),
        tuple((name, text) for name in PARAMETERS[type_] for text in values.get(name, ())),
    )


def _types(ctx: Context, values: Sequence[Any]) -> frozenset[str] | None:
    """One or more parameters, each with one or more types."""
    if not values:
        return None
    asked = frozenset(name for text in values for name in str(text).split(","))
    unknown = asked - ctx.definitions.resource_types
    if unknown:
        raise invalid(f"_type: {', '.join(sorted(unknown))[:200]} is not a resource type", "_type")
    return asked


async def _filters(ctx: Context, type_: str, reference: str, asked: Asked) -> dict[str, Document]:
    """What to look at. Where types outside of the compartment are asked for, all that may refer to them."""
    possible = frozenset(types_with(type_))
    looked_at = possible if asked.types is None or asked.types - possible else asked.types
    since: Document = {} if asked.since is None else {"updated": {"$gte": asked.since}}
    filters: dict[str, Document] = {}
    led = Led()
    for each in looked_at.intersection(await ctx.store.types()):
        inside = await visible(ctx, Query(each, compartment=reference), led, "r")
        filters[each] = conjunction([inside, since, within(each, asked.care)])
    return filters


def _place(row: object) -> Place:
    match row:
        case [str() as type_, str() as id_]:
            return type_, id_
    raise invalid("_cursor does not belong to this record", "_cursor")


def _next(ctx: Context, last: Found, focus: Place, reference: str) -> str:
    """Where the next page begins: after the last row or, where that is the focus, with the first of the others."""
    return signed(ctx.secret, ["", ""] if last[:2] == focus else [last.type, last.id], reference)


async def _referred(
    ctx: Context, page: Sequence[Found], reference: str, patients: Iterable[str], asked: Asked
) -> list[Found]:
    """What a page refers to outside of the record. What is in the record comes on a page of its own."""
    here, paged = {each[:2] for each in page}, types_with(reference.partition("/")[0])
    own = in_no_record(sorted(patients))
    filters: dict[str, Document] = {}
    led = Led()
    for type_, ids in mentioned((each.body for each in page), ctx.base_url).items():
        missing = sorted(id_ for id_ in ids if (type_, id_) not in here)
        if missing and type_ in ctx.definitions.resource_types and asked.wants(type_):
            elsewhere = [{"compartments": {"$ne": reference}}] if type_ in paged else []
            known: Document = {"_id": {"$in": missing}, "$and": [*elsewhere, own]}
            filters[type_] = conjunction([await visible(ctx, Query(type_), led, "r"), known])
    found = await referred(ctx.store, filters, REFERRED + 1)
    if len(found) > REFERRED:
        raise Outcome(422, "too-costly", f"more than {REFERRED:,} resources would come with a page; lower _count")
    return await _released(ctx, [Found(type_, id_, unpack(packed)) for type_, id_, packed in found], own)


async def _released(ctx: Context, found: list[Found], own: Document) -> list[Found]:
    """A Binary may be seen by who may see its context: https://hl7.org/fhir/R4/binary.html#security"""
    contexts = {each: _context(each, ctx.base_url) for each in found if SECURED in each.body and each.type == "Binary"}
    if not contexts:
        return found
    filters: dict[str, Document] = {}
    for type_ in {place[0] for place in contexts.values()} & ctx.definitions.resource_types:
        named: Document = {"_id": {"$in": sorted(id_ for each, id_ in contexts.values() if each == type_)}, **own}
        filters[type_] = conjunction([await visible(ctx, Query(type_), permission="r"), named])
    seen = {(type_, id_) for type_, id_, _ in await referred(ctx.store, filters, REFERRED)}
    return [each for each in found if each not in contexts or contexts[each] in seen]


def _context(binary: Found, base_url: str) -> Place:
    """Nobody sees what cannot be found: a context elsewhere, or one that is no reference."""
    context = json.resource(binary.body).get("securityContext", {})
    literal = parse(context.get("reference", "").removeprefix(f"{base_url}/"))
    return (literal.type, literal.id) if literal and literal.base is None else ("", "")


def _entries(ctx: Context, found: Iterable[Found], part: Part, mode: str) -> list[bytes]:
    base = ctx.base_url
    if part.whole:
        return [entry(f"{base}/{type_}/{id_}", body, mode=mode) for type_, id_, body in found]
    definitions = ctx.definitions
    return [entry(f"{base}/{type_}/{id_}", trim(definitions, body, part), mode=mode) for type_, id_, body in found]


def _links(ctx: Context, request: Request, asked: Asked, cursor: str | None) -> list[tuple[str, str]]:
    path = "/".join(request.path)
    first = tuple(pair for pair in asked.used if pair[0] != "_cursor")
    links = [("self", page_url(ctx.base_url, path, asked.used))]
    if asked.cursor is not None:
        links.append(("first", page_url(ctx.base_url, path, first)))
    if cursor is not None:
        links.append(("next", page_url(ctx.base_url, path, (*first, ("_cursor", cursor)))))
    return links
