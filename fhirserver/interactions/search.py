"""search of a type, of a compartment, of the system. https://hl7.org/fhir/R4/http.html#search

parse → restrict → resolve → filter → find → includes → Bundle, with a query for each type that is asked for. Resources
are decoded only when a part of them is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from fhirserver.access.audit_queries import patients_named
from fhirserver.access.policy import authorize, restrict
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import bundle, entry, search_entries
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Issue, Outcome, gone, in_query, invalid, not_found, operation_outcome, too_costly
from fhirserver.interactions.exchange import Answer, Pairs, Request
from fhirserver.interactions.explanation import explanation, watched
from fhirserver.interactions.links import page_after, page_url
from fhirserver.interactions.pages import owners, page_of, walked
from fhirserver.interactions.partial import flagged, marked, refuse_lacks, refuse_unfinished
from fhirserver.interactions.resolve import Found, resolve, visible
from fhirserver.interactions.sight import current
from fhirserver.interactions.summary import Part, trim
from fhirserver.interactions.unmade import lacking
from fhirserver.search.bounds import narrowed
from fhirserver.search.compartments import compartments, types_in
from fhirserver.search.containers import in_containers
from fhirserver.search.filters import counting, query_filter
from fhirserver.search.includes import Include, fields, forward, reverse
from fhirserver.search.mentioned import mentioned
from fhirserver.search.mongo import conjunction
from fhirserver.search.paging import (
    INSIDE,
    SCORED,
    WITHIN,
    Page,
    Row,
    apart,
    encode_cursor,
)
from fhirserver.search.plans import Plan, plan
from fhirserver.search.query import Query
from fhirserver.search.query_string import parse_each
from fhirserver.store.blobs import size_of, unpack
from fhirserver.store.budget import Budget
from fhirserver.store.estimates import Estimate, estimate
from fhirserver.store.hops import together
from fhirserver.store.versions import Document

INCLUDED = 5_000
LINK = 8_000  # characters that every client and proxy takes
TOLD = 3  # types of which it is told how they were estimated
FEW_TYPES = 8  # as many are asked without asking first which of them have ever been written


async def search_type(ctx: Context, request: Request, type_: str) -> Answer:
    """`GET Type?…` and `POST Type/_search`."""
    authorize(ctx.caller, "search", type_)
    ctx = _context(ctx, request)
    return await searched(ctx, request, of_type(ctx, request, type_))


async def search_compartment(ctx: Context, request: Request, compartment: str, id_: str, member: str) -> Answer:
    """`GET Patient/1/Observation?…`, `GET Patient/1/*`: https://hl7.org/fhir/R4/search.html#2.21.1.2"""
    if compartment not in compartments():
        raise Outcome(404, "not-supported", f"{compartment} has no compartment; {', '.join(compartments())} have")
    if member != "*" and member not in types_in(compartment):
        raise Outcome(404, "not-supported", f"{member} is never in the compartment of a {compartment}")
    authorize(ctx.caller, "search", None if member == "*" else member)
    ctx = _context(ctx, request)
    reference = f"{compartment}/{id_}"
    focus = await current(ctx, compartment, id_)
    if focus is None:
        raise not_found(reference)
    if focus.deleted:
        raise gone(reference)
    if member == "*":
        queries = of_types(ctx, request, types_in(compartment))
    else:
        queries = of_type(ctx, request, member)
    return await searched(ctx, request, tuple(replace(query, compartment=reference) for query in queries))


async def search_system(ctx: Context, request: Request) -> Answer:
    """`GET ?_type=Patient,Observation&…`: what all of these types share can be asked."""
    authorize(ctx.caller, "search", None)
    ctx = _context(ctx, request)
    return await searched(ctx, request, of_types(ctx, request))


def _context(ctx: Context, request: Request) -> Context:
    return watched(ctx) if ("_explain", "true") in request.pairs else ctx


def _types(ctx: Context, request: Request, possible: Sequence[str]) -> Sequence[str]:
    """https://hl7.org/fhir/R4/search.html#2.21.1.2"""
    asked = [name for pair in request.pairs if _names_types(pair) for name in pair[1].split(",")]
    if not asked:
        return possible
    for name in asked:
        if name not in ctx.definitions.resource_types:
            raise invalid(f"_type: {name[:80]!r} is not a resource type of FHIR R4", in_query("_type"))
    chosen = [name for name in possible if name in asked]
    if not chosen:
        raise invalid(f"_type: {', '.join(asked)[:200]} is not searched here", in_query("_type"))
    return chosen


def _names_types(pair: tuple[str, str]) -> bool:
    return pair[0] == "_type" and bool(pair[1].strip())


def of_types(ctx: Context, request: Request, possible: Sequence[str] = ()) -> tuple[Query, ...]:
    """A query for each type of a search of several; `_type` itself, but for an empty one, is no criterion of any."""
    types = _types(ctx, request, possible or sorted(ctx.definitions.resource_types))
    named = tuple(pair for pair in request.pairs if _names_types(pair))
    pairs = tuple(pair for pair in request.pairs if not _names_types(pair))
    queries = _parsed_each(ctx, request, types, pairs)
    return tuple(replace(query, used=(*named, *query.used)) for query in queries) if named else queries


def of_type(ctx: Context, request: Request, type_: str) -> tuple[Query, ...]:
    """A query of one type, or of contained resources one for each type that may contain them."""
    return of_types(ctx, request, (type_,))


def parsed(ctx: Context, request: Request, type_: str, pairs: Pairs) -> Query:
    """The query of these pairs, as far as the caller may see; they do not ask for what is contained."""
    (query,) = _parsed_each(ctx, request, (type_,), pairs)
    return query


def _parsed_each(ctx: Context, request: Request, types: Sequence[str], pairs: Pairs) -> tuple[Query, ...]:
    queries = parse_each(
        types,
        pairs,
        ctx.registry,
        strict=request.strict,
        base_url=ctx.base_url,
        default_count=ctx.settings.default_count,
        max_count=ctx.settings.max_count,
    )
    if ctx.store.trace is not None:
        ctx.store.trace.parsed()
    if queries[0].contained != "false":  # of one type, which looks through all
        authorize(ctx.caller, "search", None)
        queries = in_containers(queries[0], ctx.definitions)
    return tuple(restrict(ctx.caller, query) for query in queries)


async def filter_of(ctx: Context, query: Query) -> Document:
    """What a query matches, as the database is asked for it. Inside a `Budget`."""
    refuse_unfinished(ctx, query)
    found = Found()
    query = await resolve(ctx, query, found)
    refuse_lacks(found.lacks)
    return narrowed(query, query_filter(query, ctx.now()), ctx.registry)


class Result(NamedTuple):
    """What a search found: entries, links as (relation, sealed cursor), and how many there are in all pages."""

    entries: list[bytes]
    links: Sequence[tuple[str, str | None]]
    total: Estimate | None


async def searched(ctx: Context, request: Request, queries: Sequence[Query]) -> Answer:
    """Chains, page, inclusions and total, all in the time of one search. The first query says how to answer."""
    async with Budget(ctx.store):
        queries = await marked(ctx, queries, request.strict)
        first = queries[0]
        queries = await existing(ctx, queries)
        led = Found()
        page = await walked(ctx, first, queries, led)
        resolved = [] if page else [await resolve(ctx, query, led) for query in queries]
        first = flagged(first, led.lacks, request.strict)
        entries, cursors, total = await _found(ctx, first, resolved, page)
    links = [*_links(ctx, request, first, cursors)]
    issues = (*request.ignored, *first.ignored, *_long(request, links))
    total = None if first.partial else total
    if total is not None and total.how is not None:
        issues = (*issues, Issue("information", "informational", f"the total is an estimate: {total.how}"))
    issues = (*issues, *await lacking(ctx, (each for query in queries for each in _types_of(query))))
    if issues:
        entries.append(entry(None, json.encode(operation_outcome(issues)), mode="outcome"))
    if first.explain:
        entries.append(entry(None, json.encode(await explanation(ctx, queries or (first,))), mode="outcome"))
    body = bundle(
        "searchset",
        entries,
        id_=new_id(),
        updated=ctx.now(),
        total=None if total is None else total.number,
        links=links,
    )
    return Answer(status=200, body=body)


def _types_of(query: Query) -> Iterator[str]:
    """All that a query looks at."""
    yield query.type_
    for type_, _ in mentioned(query):
        yield type_


def _links(
    ctx: Context, request: Request, first: Query, links: Iterable[tuple[str, str | None]]
) -> Iterator[tuple[str, str]]:
    path = "/".join(request.path).removesuffix("_search").rstrip("/")
    here = page_url(ctx.base_url, path, (*first.used, *request.presentation))
    for relation, cursor in links:
        yield relation, here if cursor is None else page_after(here, cursor)


def _long(request: Request, links: Iterable[tuple[str, str]]) -> Iterator[Issue]:
    """A form may be longer than a URL: https://www.rfc-editor.org/rfc/rfc9110#section-4.1-5"""
    longest = max((len(url) for relation, url in links if relation != "self"), default=0)
    if request.method == "POST" and longest > LINK:
        said = f"the links to other pages have up to {longest:,} characters, more than many clients and proxies take"
        yield Issue("information", "too-long", f"{said}: send the same form with the _cursor of the link instead")


async def _found(ctx: Context, first: Query, queries: Sequence[Query], page: Page | None) -> Result:
    """`page` is one that was walked to, and is of no use to who counts."""
    plans = [plan(query, ctx.registry, ctx.now()) for query in queries]
    if first.summary == "count" or first.count == 0:
        counted = await _total(ctx, first, plans)
        if counted.number:  # whose data it is, nothing else tells
            for patient in patients_named(queries):
                ctx.touched(patient, (patient,))
        return Result([], [("self", None)], counted)
    page = page or await page_of(ctx, first, plans)
    included = await _included(ctx, first, page.rows)
    entries = _entries(ctx, first, page.rows, "match")
    entries += _entries(ctx, first, included, "include")
    total: Estimate | None = None
    if first.total != "none" and page.next is None and first.cursor is None:
        total = Estimate(len(page.rows))
    elif first.total in ("accurate", "estimate"):
        total = await _total(ctx, first, plans)
    links: list[tuple[str, str | None]] = [("self", first.cursor)]
    if first.cursor is not None:  # also of a page that is empty by now, which has no neighbours
        links.append(("first", None))
    if page.previous is not None:
        links.append(("previous", encode_cursor(ctx.secret, first, page.previous)))
    if page.next is not None:
        links.append(("next", encode_cursor(ctx.secret, first, page.next)))
    return Result(entries, links, total)


async def existing(ctx: Context, queries: Sequence[Query]) -> Sequence[Query]:
    """Of many types, those that have ever been written: most servers hold few of all there are."""
    if len(queries) <= FEW_TYPES:
        return queries
    written = set(await ctx.store.known_types())
    return [query for query in queries if query.type_ in written]


async def _total(ctx: Context, first: Query, plans: Sequence[Plan]) -> Estimate:
    """Of all pages: https://hl7.org/fhir/R4/search.html#total. `_maxresults` bounds what is counted, too."""
    asks: list[Callable[[], Awaitable[Estimate]]] = []
    for query, filter_, *_ in plans:
        if query.total == "estimate" and query.inside is None:
            asks.append(partial(estimate, ctx.store, query.type_, counting(filter_)))
        else:
            asks.append(partial(_count, ctx, query, filter_, first.most))
    found = await together(ctx.store, asks)
    number = sum(each.number for each in found)
    hows = [each.how for each in found if each.how]
    more = [f"and {len(hows) - TOLD} more in this way"] if len(hows) > TOLD else []
    most = number if first.most is None else min(number, first.most)
    return Estimate(most, "; ".join([*hows[:TOLD], *more]) or None)


async def _count(ctx: Context, query: Query, filter_: Document, most: int | None) -> Estimate:
    return Estimate(await ctx.store.count(query.type_, counting(filter_), most, apart(query, filter_)))


async def _included(ctx: Context, query: Query, matches: Sequence[Row]) -> list[Row]:
    """_include and _revinclude of the matches and, where they iterate, of what that brings: each resource once."""
    if not matches or not (query.includes or query.revincludes):
        return []
    seen = {(row.type, row.document["_id"]) for row in matches}
    found: list[Row] = []
    fresh: dict[str, list[Document]] = {}
    for row in matches:
        inner = row.type.partition("#")[2]
        start = {"search": row.document.get(INSIDE, {})} if inner else row.document
        fresh.setdefault(inner or row.type, []).append(start)
    led = Found()
    first, *others = (size_of(row.document["body"]) for row in matches)
    most = ctx.settings.max_response_bytes + first  # of which what is in the answer already takes its part
    left = most - first - sum(others)
    includes, revincludes = query.includes, await _written(ctx, query.revincludes)
    again, back = (tuple(each for each in asked if each.iterate) for asked in (includes, revincludes))
    while fresh and (includes or revincludes):
        filters: list[tuple[str, Document]] = []
        for type_, rows in fresh.items():
            for target, referred in forward(type_, includes, rows, ctx.registry):
                filters.append((target, conjunction([await visible(ctx, Query(target), led, "r"), referred])))
            known = [row for row in rows if "_id" in row]  # nothing else refers to what is contained
            for source, criterion in reverse(type_, revincludes, known, ctx.registry):
                filters.append((source, await visible(ctx, Query(source, criteria=(criterion,)), led, "r")))
        fresh = {}
        for type_, filter_ in filters:
            room = INCLUDED + 1 - len(found)
            here = sum(each == type_ for each, _ in seen)
            wanted = (*fields(type_, again, back, ctx.registry), *owners(ctx))
            rows = await ctx.store.find(type_, filter_, [("_id", 1)], room + here, wanted, most=most)
            new = [row for row in rows if (type_, row["_id"]) not in seen]
            seen.update((type_, row["_id"]) for row in new)
            found += (Row(type_, row) for row in new)
            if new:
                fresh.setdefault(type_, []).extend(new)
            if len(found) > INCLUDED:
                raise too_costly(f"more than {INCLUDED:,} resources would be included; ask for a smaller page")
            left -= sum(size_of(row["body"]) for row in new)
            if left < 0:
                said = f"{ctx.settings.max_response_bytes:,} bytes"
                raise too_costly(f"with what is included the page is larger than {said}; lower _count, or include less")
        includes, revincludes = again, back
    return found


async def _written(ctx: Context, revincludes: Sequence[Include]) -> Sequence[Include]:
    """Those from types that have ever been written, where there are many: `_revinclude=*`."""
    if len({each.source for each in revincludes}) <= FEW_TYPES:
        return revincludes
    written = set(await ctx.store.known_types())
    return [each for each in revincludes if each.source in written]


# the answer


def _entries(ctx: Context, query: Query, rows: Sequence[Row], mode: str) -> list[bytes]:
    if not rows:
        return []
    if ctx.trail is not None:
        for type_, document in rows:
            reference = f"{type_.partition('#')[0]}/{document['_id']}"
            ctx.touched(reference, document.get("compartments", ()))
    part = Part(query.summary, frozenset(query.elements))
    if part.whole and query.contained == "false" and not query.scored:
        found = [(type_, document["_id"], unpack(document["body"])) for type_, document in rows]
        return search_entries(ctx.base_url, found, mode)
    entries = []
    for type_, document in rows:
        reference, body = f"{type_}/{document['_id']}", unpack(document["body"])
        if WITHIN in document:
            reference, body = _inner(type_.partition("#")[0], document, body)
        resource = body if part.whole else trim(ctx.definitions, body, part)
        entries.append(entry(f"{ctx.base_url}/{reference}", resource, mode=mode, score=document.get(SCORED)))
    return entries


def _inner(container: str, document: Document, body: bytes) -> tuple[str, bytes]:
    """The reference and the body of a contained resource, by its id in the container."""
    id_ = document[WITHIN]
    found = next(each for each in json.resource(body)["contained"] if each.get("id") == id_)
    return f"{container}/{document['_id']}#{id_}", json.encode(found)
