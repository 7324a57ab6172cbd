"""How a page of a search is gathered: band after band, or by walking, as many rows as an answer holds.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fhirserver.context import Context
from fhirserver.interactions.resolve import Found, resolve
from fhirserver.interactions.sizes import fitting
from fhirserver.interactions.walk import STEP, walk
from fhirserver.search.includes import fields
from fhirserver.search.paging import (
    INSIDE,
    Cursor,
    Page,
    Row,
    Slice,
    cursor_of,
    decode_cursor,
    merged,
    page,
    room,
    sort_fields,
)
from fhirserver.search.plans import Plan, bands_of, plan
from fhirserver.search.query import Query
from fhirserver.store.blobs import size_of
from fhirserver.store.hops import together

AT_ONCE = 201  # rows of a page before their sizes are looked at


async def page_of(ctx: Context, first: Query, plans: Sequence[Plan]) -> Page:
    """As many rows as there is room for, and one more that says whether there is a next page.

    Of a large page the first rows say how many of the rest fit, so that no more are held here than are answered.
    """
    cursor = decode_cursor(ctx.secret, first) if first.cursor is not None else None
    wanted, most = room(first, cursor) + 1, ctx.settings.max_response_bytes
    asked = min(wanted, AT_ONCE)
    rows = await _stretch(ctx, first, plans, cursor, asked)
    sizes = [size_of(row.document["body"]) for row in rows]
    while len(rows) == asked < wanted and (fits := fitting(sizes, most)) == len(rows):
        place = cursor_of(first, rows[-1], backward=cursor is not None and cursor.backward)
        more = min(wanted - asked, most * fits // (sum(sizes) + 1) - fits + 1)
        found = await _stretch(ctx, first, plans, place, more)
        rows, asked = rows + found, asked + more
        sizes += [size_of(row.document["body"]) for row in found]
    return page(rows, first, cursor, fitting(sizes, most))


async def walked(ctx: Context, first: Query, queries: Sequence[Query], led: Found) -> Page | None:
    """The page of a search by `_has`, where `interactions.walk` leads to it; None where a list does."""
    way = walk(ctx, queries)
    if way is None:
        return None
    near = plan(await resolve(ctx, way.near, led), ctx.registry, ctx.now())
    place = cursor = decode_cursor(ctx.secret, first) if first.cursor is not None else None
    wanted, most = room(first, cursor) + 1, ctx.settings.max_response_bytes
    step, looked_at = min(2 * wanted, STEP), 0
    rows: list[Row] = []
    while True:
        found = await _stretch(ctx, first, [near], place, step)
        referred = await way.referred(ctx, led, [row.document["_id"] for row in found])
        rows = (rows + [row for row in found if row.document["_id"] in referred])[:wanted]
        fits = fitting([size_of(row.document["body"]) for row in rows], most)
        if len(rows) == wanted or fits < len(rows) or (len(found) < step and _size(found) <= most):
            return page(rows, first, cursor, fits)
        looked_at += len(found)
        if not await way.pays(ctx, led, len(rows), looked_at):
            return None
        place = cursor_of(first, found[-1], backward=cursor is not None and cursor.backward)
        step = STEP


async def _stretch(ctx: Context, first: Query, plans: Sequence[Plan], cursor: Cursor | None, limit: int) -> list[Row]:
    """At most so many rows from a place on: bands one after the other.

    Twice as many at a time: a page that the first types fill costs the others nothing. Of what is larger than an answer
    there are at least two rows, and so many that they do not fit.
    """
    rows: list[Row] = []
    waiting, ahead = bands_of(plans, cursor), 1
    while waiting and (missing := limit - len(rows)) > 0:
        parts = [part for band in waiting[:ahead] for part in band]
        found = await _rows(ctx, first, parts, missing)
        rows += (merged(found, first, cursor) if len(parts) > 1 else found)[:missing]
        waiting, ahead = waiting[ahead:], ahead * 2
        if waiting and len(rows) > 1 and _size(rows) > ctx.settings.max_response_bytes:
            break
    return rows


def _size(rows: Sequence[Row]) -> int:
    return sum(size_of(row.document["body"]) for row in rows)


async def _rows(ctx: Context, first: Query, parts: Sequence[Slice], limit: int) -> list[Row]:
    sorted_by = sort_fields(first)
    asks = [
        partial(
            ctx.store.find,
            part.type,
            part.filter,
            part.sort,
            limit,
            (*sorted_by, *_referring(ctx, first, part), *owners(ctx)),
            part.stages,
            ctx.settings.max_response_bytes,
        )
        for part in parts
    ]
    found = await together(ctx.store, asks)
    return [Row(part.place, document) for part, documents in zip(parts, found, strict=True) for document in documents]


def _referring(ctx: Context, first: Query, part: Slice) -> tuple[str, ...]:
    """The fields that inclusions start from."""
    if part.apart:
        return (INSIDE,) if first.includes else ()
    return fields(part.type, first.includes, first.revincludes, ctx.registry)


def owners(ctx: Context) -> tuple[str, ...]:
    """What says whose a resource is, for the audit."""
    return () if ctx.trail is None else ("compartments",)
