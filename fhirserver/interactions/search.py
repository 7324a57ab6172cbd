"""search of a type, of a compartment, of the system. https://hl7.org/fhir/R4/http.html#search

parse → restrict → resolve → filter → find → includes → Bundle. Resources are decoded only when a part of them is asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fhirserver.access.policy import authorize, restrict
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import bundle, entry
from fhirserver.fhir.outcome import Issue, Outcome, gone, invalid, not_found, operation_outcome
from fhirserver.interactions.across import page_across
from fhirserver.interactions.changes import new_id
from fhirserver.interactions.exchange import Answer, Pairs, Request
from fhirserver.interactions.links import page_url
from fhirserver.interactions.resolve import resolve
from fhirserver.interactions.summary import Part, trim
from fhirserver.search.chains import is_chain
from fhirserver.search.compartments import compartments, types_in
from fhirserver.search.filters import query_filter
from fhirserver.search.includes import fields, forward, reverse
from fhirserver.search.paging import Page, decode_cursor, encode_cursor, keys, slices
from fhirserver.search.paging import page as page_of
from fhirserver.search.query import Query, parse
from fhirserver.store.hops import one_budget
from fhirserver.store.resources import Document, Stored, stored
from fhirserver.store.union import count_across

INCLUDED = 5_000
OF_ONE_TYPE = ("_filter", "_sort", "_include", "_revinclude")


async def search_type(ctx: Context, request: Request, type_: str) -> Answer:
    """`GET Type?…` and `POST Type/_search`."""
    authorize(ctx.caller, "search", type_)
    return await searched(ctx, request, parsed(ctx, request, type_, request.pairs))


async def search_compartment(ctx: Context, request: Request, compartment: str, id_: str, member: str) -> Answer:
    """`GET Patient/1/Observation?…`, `GET Patient/1/*`: https://hl7.org/fhir/R4/search.html#2.21.1.2"""
    if compartment not in compartments():
        raise Outcome(404, "not-supported", f"{compartment} has no compartment; {', '.join(compartments())} have")
    if member != "*" and member not in types_in(compartment):
        raise Outcome(404, "not-supported", f"{member} is never in the compartment of a {compartment}")
    authorize(ctx.caller, "search", None if member == "*" else member)
    reference = f"{compartment}/{id_}"
    focus = await ctx.store.read(compartment, id_)
    if focus is None:
        raise not_found(reference)
    if focus.deleted:
        raise gone(reference)
    if member == "*":
        asked = _types(ctx, request)
        members = [name for name in types_in(compartment) if not asked or name in asked]
        return await _across(ctx, request, members, reference)
    query = replace(parsed(ctx, request, member, request.pairs), compartment=reference)
    return await searched(ctx, request, query)


async def search_system(ctx: Context, request: Request) -> Answer:
    """`GET ?_type=Patient,Observation&…`, in the order of types and ids."""
    authorize(ctx.caller, "search", None)
    return await _across(ctx, request, _types(ctx, request) or sorted(ctx.definitions.resource_types), None)


def _types(ctx: Context, request: Request) -> list[str]:
    asked = [name for key, value in request.pairs if key == "_type" for name in value.split(",")]
    unknown = [name for name in asked if name not in ctx.definitions.resource_types]
    if unknown:
        raise invalid(f"_type: {unknown[0][:80]!r} is not a resource type of FHIR R4", "_type")
    return asked


def parsed(ctx: Context, request: Request, type_: str, pairs: Pairs) -> Query:
    """The query of these pairs, as far as the caller may see."""
    query = parse(
        type_,
        pairs,
        ctx.registry,
        strict=request.strict,
        base_url=ctx.base_url,
        default_count=ctx.settings.default_count,
        max_count=ctx.settings.max_count,
    )
    return restrict(ctx.caller, query)


async def filter_of(ctx: Context, query: Query) -> Document:
    """What a query matches, as the database is asked for it. Inside `one_budget`."""
    return query_filter(await resolve(ctx, query), ctx.now())


# one type


async def searched(ctx: Context, request: Request, query: Query) -> Answer:
    """Chains, page, inclusions and total, all in the time of one search."""
    async with one_budget(ctx.store):
        return await _found(ctx, request, await resolve(ctx, query))


async def _found(ctx: Context, request: Request, query: Query) -> Answer:
    filter_ = query_filter(query, ctx.now())
    path = "/".join(request.path).removesuffix("/_search")
    self_url = page_url(ctx.base_url, path, query.used)
    if query.summary == "count" or query.count == 0:
        return _answer(ctx, query, [], [("self", self_url)], await ctx.store.count(query.type_, filter_))
    page = await _page(ctx, query, filter_)
    versions = [stored(query.type_, document) for document in page.rows]
    entries = _entries(ctx, query, versions, "match")
    entries += _entries(ctx, query, await _included(ctx, query, page.rows), "include")
    whole = page.next is None and query.cursor is None
    total = len(versions) if whole else None
    if total is None and query.total in ("accurate", "estimate"):
        total = await ctx.store.count(query.type_, filter_)
    links = [("self", self_url)]
    if page.previous is not None:
        links.append(("first", self_url))
    for relation, cursor in (("previous", page.previous), ("next", page.next)):
        if cursor is not None:
            pairs = (*query.used, ("_cursor", encode_cursor(ctx.secret, query, cursor)))
            links.append((relation, page_url(ctx.base_url, path, pairs)))
    return _answer(ctx, query, entries, links, total)


async def _page(ctx: Context, query: Query, filter_: Document) -> Page[Document]:
    """Slices one after the other, until the page is full and one row more says whether there is a next."""
    cursor = decode_cursor(ctx.secret, query) if query.cursor is not None else None
    named = (*(key.field for key in keys(query)), *fields(query.type_, query.includes))
    rows: list[Document] = []
    for part in slices(query, filter_, cursor):
        wanted = query.count + 1 - len(rows)
        if wanted > 0:
            rows += await ctx.store.find(query.type_, part.filter, part.sort, wanted, named, part.computed)
    return page_of(rows, query, cursor)


async def _included(ctx: Context, query: Query, documents: Sequence[Document]) -> list[Stored]:
    """_include and _revinclude of the matches and, where they iterate, of what that brings: each resource once."""
    seen = {(query.type_, document["_id"]) for document in documents}
    found: list[Stored] = []
    fresh: dict[str, list[Document]] = {query.type_: [*documents]} if documents else {}
    includes, revincludes = query.includes, query.revincludes
    again, back = (tuple(each for each in asked if each.iterate) for asked in (includes, revincludes))
    while fresh and (includes or revincludes):
        filters: list[tuple[str, Document]] = []
        for type_, rows in fresh.items():
            filters += forward(type_, includes, rows, ctx.registry)
            filters += reverse(type_, revincludes, [row["_id"] for row in rows])
        fresh = {}
        for type_, filter_ in filters:
            authorize(ctx.caller, "search", type_)
            room = INCLUDED + 1 - len(found)
            rows = await ctx.store.find(type_, filter_, [("_id", 1)], room, fields(type_, again))
            new = [row for row in rows if (type_, row["_id"]) not in seen]
            seen.update((type_, row["_id"]) for row in new)
            found += (stored(type_, row) for row in new)
            if new:
                fresh.setdefault(type_, []).extend(new)
            if len(rows) == room:  # also when some of them are here already, for there may be more behind them
                raise Outcome(
                    422, "too-costly", f"more than {INCLUDED:,} resources would be included; ask for a smaller page"
                )
        includes, revincludes = again, back
    return found


# several types


async def _across(ctx: Context, request: Request, types: Iterable[str], compartment: str | None) -> Answer:
    """Only parameters that all types share can be used; `_sort`, inclusions and chains need one type."""
    left = [name for name, _ in request.pairs if name in OF_ONE_TYPE or not name.startswith("_") or is_chain(name)]
    if left and request.strict:
        raise invalid(f"{left[0][:80]}: needs a search of one type", left[0][:80], code="not-supported")
    ignored = tuple(
        Issue("warning", "not-supported", f"{name[:80]}: needs a search of one type; it was ignored") for name in left
    )
    pairs = tuple(pair for pair in request.pairs if pair[0] != "_type" and pair[0] not in left)
    existing = set(await ctx.store.types())
    first = replace(parsed(ctx, request, "Basic", pairs), compartment=compartment)
    filters: dict[str, Document] = {}
    for type_ in sorted(existing.intersection(types)):
        filters[type_] = query_filter(replace(first, type_=type_), ctx.now())
    query = replace(first, ignored=first.ignored + ignored)
    path = "/".join(request.path).removesuffix("_search").rstrip("/")
    used = (*(pair for pair in request.pairs if pair[0] == "_type"), *query.used)
    links = [("self", page_url(ctx.base_url, path, used))]
    if query.summary == "count" or query.count == 0:
        return _answer(ctx, query, [], links, await count_across(ctx.store, filters))
    purpose = f"{path}?{sorted(used)}"
    page = await page_across(ctx, filters, query.count, query.cursor, purpose)
    if page.next is not None:
        links.append(("next", page_url(ctx.base_url, path, (*used, ("_cursor", page.next)))))
    total = len(page.versions) if page.whole else None
    if total is None and query.total in ("accurate", "estimate"):
        total = await count_across(ctx.store, filters)
    return _answer(ctx, query, _entries(ctx, query, page.versions, "match"), links, total)


# the answer


def _entries(ctx: Context, query: Query, versions: Iterable[Stored], mode: str) -> list[bytes]:
    part = Part(query.summary, frozenset(query.elements))
    return [
        entry(
            f"{ctx.base_url}/{version.reference}",
            version.body if part.whole else trim(ctx.definitions, version.body, part),
            mode=mode,
        )
        for version in versions
    ]


def _answer(
    ctx: Context, query: Query, entries: list[bytes], links: Sequence[tuple[str, str]], total: int | None
) -> Answer:
    if query.ignored:
        entries.append(entry(None, json.encode(operation_outcome(query.ignored)), mode="outcome"))
    body = bundle("searchset", entries, id_=new_id(), updated=ctx.now(), total=total, links=links)
    return Answer(status=200, body=body)
