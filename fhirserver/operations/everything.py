"""$everything: the record of a patient, of all patients that the caller may see, or of an encounter, page by page.

https://hl7.org/fhir/R4/patient-operation-everything.html, https://hl7.org/fhir/R4/encounter-operation-everything.html

Matches are what it is about, then its compartment by type and id; of all patients, what is in the compartment of any,
each resource once. What the matches of a page refer to outside of it (practitioners, medications, binaries, an
encounter's patient) comes with that page, but nothing of other patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import dates, json
from fhirserver.fhir.bundles import bundle, entry, search_entries
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Issue, gone, in_query, invalid, not_found, operation_outcome, too_costly
from fhirserver.fhir.references import mentioned, parse
from fhirserver.interactions.consenting import sees_all
from fhirserver.interactions.exchange import Answer, Pairs, Request
from fhirserver.interactions.links import page_url, signed, verified
from fhirserver.interactions.resolve import Found as Led
from fhirserver.interactions.resolve import visible
from fhirserver.interactions.sight import current
from fhirserver.interactions.sizes import fitting
from fhirserver.interactions.summary import Part, part_of, trim
from fhirserver.interactions.unmade import lacking
from fhirserver.operations.parameters import left_out, leniently, once, whole
from fhirserver.operations.registry import operation
from fhirserver.search.care_dates import Days, days, within
from fhirserver.search.compartments import types_with
from fhirserver.search.filters import in_a_record, in_no_record
from fhirserver.search.mongo import conjunction
from fhirserver.search.query import Query
from fhirserver.search.unused import Parts, unused
from fhirserver.store.blobs import size_of, unpack
from fhirserver.store.budget import Budget
from fhirserver.store.record import Kept, Place, record, records, referred
from fhirserver.store.versions import Document

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
    ignored: tuple[Issue, ...]

    def wants(self, type_: str) -> bool:
        return self.types is None or type_ in self.types


class Found(NamedTuple):
    """A resource of the record."""

    type: str
    id: str
    body: bytes


class About(NamedTuple):
    """Whose record: of a compartment of `type`, that of `reference` (which belongs to these `patients`), or of all."""

    type: str
    reference: str | None = None
    patients: tuple[str, ...] = ()

    def inside(self, type_: str) -> Query:
        """What of a type is in it, but for what a query cannot say."""
        return Query(type_, compartment=self.reference)

    @property
    def permissions(self) -> str:
        """What nobody named must be the caller's to search for, too."""
        return "rs" if self.reference is None else "r"

    @property
    def bounds(self) -> Document:
        return {} if self.reference is not None else in_a_record()

    @property
    def outside(self) -> Document:
        """What of a type that has pages of its own is not in it."""
        return in_no_record() if self.reference is None else {"compartments": {"$ne": self.reference}}

    @property
    def others_left_out(self) -> Document:
        """Nothing of other patients; of all patients there are no others."""
        return {} if self.reference is None else in_no_record(self.patients)


@operation("everything", "Patient", instance=False, definition=DEFINITION.format("Patient"))
async def everything_of_all(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """A searchset of what is in any record, in the order of type and id."""
    authorize(ctx.caller, "everything", type_)
    authorize(ctx.caller, "search", type_)
    about = About(type_)
    asked = _asked(ctx, request, type_)
    after = None if asked.cursor is None else _place(verified(ctx.secret, asked.cursor, f"{type_}/$everything"))
    most = ctx.settings.max_response_bytes
    async with Budget(ctx.store):
        filters = await _filters(ctx, about, asked)
        rows = await records(ctx.store, filters, asked.most + 1, most, after, owned=ctx.trail is not None)
        fits = _fitting(ctx, rows, asked)
        page, others = await _page(ctx, rows[:fits], about, asked)
        for row in rows[: len(page)]:
            ctx.touched(f"{row.type}/{row.id}", row.compartments)
    more = signed(ctx.secret, list(page[-1][:2]), f"{type_}/$everything") if len(rows) > len(page) else None
    return await _answer(ctx, request, asked, type_, page, others, more)


@operation("everything", "Encounter", instance=True, definition=DEFINITION.format("Encounter"))
@operation("everything", "Patient", instance=True, definition=DEFINITION.format("Patient"))
async def everything(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """A searchset: the resource itself, then the others in the order of type and id."""
    authorize(ctx.caller, "everything", type_)
    reference = f"{type_}/{id_}"
    asked = _asked(ctx, request, type_)
    after = None if asked.cursor is None else _place(verified(ctx.secret, asked.cursor, reference))
    most = ctx.settings.max_response_bytes
    async with Budget(ctx.store):
        whole = await sees_all(ctx, type_)
        if not whole and await current(ctx, type_, id_) is None:
            raise not_found(reference)
        filters = await _filters(ctx, About(type_, reference), asked)
        focus, rows = await record(ctx.store, (type_, id_), filters, asked.most + 1, most, after)
        if focus is None:
            raise not_found(reference)
        if whole:
            ctx.touched(reference, focus.get("compartments") or focus.get("belonged", ()))
        if "deleted" in focus:
            raise gone(reference)
        since = asked.since is None or focus["updated"].replace(tzinfo=UTC) >= asked.since
        if after is None and since and type_ in _looked_at(type_, asked):
            rows.insert(0, Kept(type_, id_, focus["body"]))
        fits = _fitting(ctx, rows, asked)
        patients = sorted(each for each in focus["compartments"] if each.startswith("Patient/"))
        page, others = await _page(ctx, rows[:fits], About(type_, reference, tuple(patients)), asked)
    more = _next(ctx, page[-1], (type_, id_), reference) if len(rows) > len(page) else None
    return await _answer(ctx, request, asked, type_, page, others, more)


def _fitting(ctx: Context, rows: Sequence[Kept], asked: Asked) -> int:
    """How many rows are on this page."""
    return min(asked.most, fitting([size_of(row.body) for row in rows], ctx.settings.max_response_bytes))


async def _answer(
    ctx: Context,
    request: Request,
    asked: Asked,
    type_: str,
    page: Sequence[Found],
    others: Sequence[Found],
    more: str | None,
) -> Answer:
    """`more` is where the next page begins, if there is one."""
    matches = [each for each in page if asked.wants(each.type)]
    entries = [*_entries(ctx, matches, asked.part, "match"), *_entries(ctx, others, asked.part, "include")]
    if issues := [*asked.ignored, *await lacking(ctx, filter(asked.wants, _looked_at(type_, asked)), "r")]:
        entries.append(entry(None, json.encode(operation_outcome(issues)), mode="outcome"))
    links = _links(ctx, request, asked, more)
    total = None if more is not None or asked.cursor is not None else len(matches)
    body = bundle("searchset", entries, id_=new_id(), updated=ctx.now(), total=total, links=links)
    return Answer(status=200, body=body)


def _asked(ctx: Context, request: Request, type_: str) -> Asked:
    values, ignored = leniently(ctx, request, "$everything", PARAMETERS[type_])
    since = once(values, "_since")
    largest = ctx.settings.max_count
    part = part_of({name: text for name in ("_elements", "_summary") if (text := once(values, name)) is not None})
    parts = Parts(sorted(part.elements), part.summary, inclusions=False, unmet=False)
    vain = [*unused(ctx.definitions, ctx.definitions.resource_types, parts)]
    ignored += left_out(request, [(next(iter(each.parameters), "_elements"), each.sentence) for each in vain])
    part = part.without(vain)
    if (most := whole(values, "_count", largest, 999_999_999)) > largest:
        said = f"_count: a page has at most {largest} matches"
        ignored += (Issue("information", "too-costly", said, in_query("_count")),)
        values = {**values, "_count": [str(largest)]}
    return Asked(
        _types(ctx, values.get("_type", ())),
        None if since is None else dates.given("_since", since).low,
        days(once(values, "start"), once(values, "end")),
        min(most, largest),
        part,
        once(values, "_cursor"),
        tuple((name, text) for name in PARAMETERS[type_] for text in values.get(name, ())),
        ignored,
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


def _looked_at(type_: str, asked: Asked) -> frozenset[str]:
    """The types to look at. Where others than those of the compartment are asked for, all that may refer to them."""
    possible = frozenset(types_with(type_))
    return possible if asked.types is None or asked.types - possible else asked.types


async def _filters(ctx: Context, about: About, asked: Asked) -> dict[str, Document]:
    """What to look at, by type."""
    since: Document = {} if asked.since is None else {"updated": {"$gte": asked.since}}
    filters: dict[str, Document] = {}
    led = Led()
    for each in _looked_at(about.type, asked).intersection(await ctx.store.known_types()):
        seen = [await visible(ctx, about.inside(each), led, permission) for permission in about.permissions]
        distinct = [filter_ for at, filter_ in enumerate(seen) if filter_ not in seen[:at]]
        filters[each] = conjunction([*distinct, about.bounds, since, within(each, asked.care)])
    return filters


def _place(row: object) -> Place:
    match row:
        case [str() as type_, str() as id_]:
            return type_, id_
    raise invalid("_cursor does not belong to this record", "_cursor")


def _next(ctx: Context, last: Found, focus: Place, reference: str) -> str:
    """Where the next page begins: after the last row or, where that is the focus, with the first of the others."""
    return signed(ctx.secret, ["", ""] if last[:2] == focus else [last.type, last.id], reference)


async def _page(
    ctx: Context, rows: Sequence[Kept], about: About, asked: Asked
) -> tuple[Sequence[Found], Sequence[Found]]:
    """The rows of a page and what they refer to: of half as many where that is too much, down to one."""
    page: Sequence[Found] = [Found(row.type, row.id, unpack(row.body)) for row in rows]
    while True:
        try:
            return page, await _referred(ctx, page, about, asked)
        except _TooMuch as too_much:
            if len(page) < 2:
                raise too_costly(str(too_much)) from None
            page = page[: len(page) // 2]


class _TooMuch(Exception):
    """What a page refers to does not fit beside it."""


async def _referred(ctx: Context, page: Sequence[Found], about: About, asked: Asked) -> list[Found]:
    """What a page refers to outside of the record. What is in the record comes on a page of its own."""
    here, paged = {each[:2] for each in page}, types_with(about.type)
    own = about.others_left_out
    filters: dict[str, Document] = {}
    led = Led()
    for type_, ids in mentioned((each.body for each in page), ctx.base_url).items():
        missing = sorted(id_ for id_ in ids if (type_, id_) not in here)
        if missing and type_ in ctx.definitions.resource_types and asked.wants(type_):
            known: Document = {"_id": {"$in": missing}}
            elsewhere = about.outside if type_ in paged else {}
            filters[type_] = conjunction([await visible(ctx, Query(type_), led, "r"), known, elsewhere, own])
    most = ctx.settings.max_response_bytes
    found = await referred(ctx.store, filters, REFERRED + 1, most)
    if len(found) > REFERRED:
        raise _TooMuch(f"{page[0].type}/{page[0].id} refers to more than {REFERRED:,} resources; say _type")
    if sum(len(each.body) for each in page[1:]) + sum(size_of(each.body) for each in found) > most:
        raise _TooMuch(f"{page[0].type}/{page[0].id} and what it refers to are larger than {most:,} bytes; say _type")
    return await _released(ctx, [Found(each.type, each.id, unpack(each.body)) for each in found], own)


async def _released(ctx: Context, found: list[Found], own: Document) -> list[Found]:
    """A Binary may be seen by who may see its context: https://hl7.org/fhir/R4/binary.html#security"""
    contexts = {each: _context(each, ctx.base_url) for each in found if SECURED in each.body and each.type == "Binary"}
    if not contexts:
        return found
    filters: dict[str, Document] = {}
    for type_ in {place[0] for place in contexts.values()} & ctx.definitions.resource_types:
        named: Document = {"_id": {"$in": sorted(id_ for each, id_ in contexts.values() if each == type_)}, **own}
        filters[type_] = conjunction([await visible(ctx, Query(type_), permission="r"), named])
    seen = {(each.type, each.id) for each in await referred(ctx.store, filters, REFERRED)}
    return [each for each in found if each not in contexts or contexts[each] in seen]


def _context(binary: Found, base_url: str) -> Place:
    """Nobody sees what cannot be found: a context elsewhere, or one that is no reference."""
    context = json.resource(binary.body).get("securityContext", {})
    literal = parse(context.get("reference", "").removeprefix(f"{base_url}/"))
    return (literal.type, literal.id) if literal and literal.base is None else ("", "")


def _entries(ctx: Context, found: Iterable[Found], part: Part, mode: str) -> list[bytes]:
    if part.whole:
        return search_entries(ctx.base_url, found, mode)
    parts = ((type_, id_, trim(ctx.definitions, body, part)) for type_, id_, body in found)
    return search_entries(ctx.base_url, parts, mode)


def _links(ctx: Context, request: Request, asked: Asked, cursor: str | None) -> list[tuple[str, str]]:
    path = "/".join(request.path)
    used = (*asked.used, *request.presentation)
    first = tuple(pair for pair in used if pair[0] != "_cursor")
    links = [("self", page_url(ctx.base_url, path, used))]
    if asked.cursor is not None:
        links.append(("first", page_url(ctx.base_url, path, first)))
    if cursor is not None:
        links.append(("next", page_url(ctx.base_url, path, (*first, ("_cursor", cursor)))))
    return links
