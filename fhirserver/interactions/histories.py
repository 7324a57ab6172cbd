"""history of a resource, a type, everything, page by page. https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import dates, json
from fhirserver.fhir.bundles import bundle, version_entry
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.interactions.consenting import sees_all
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.links import page_after, page_url, signed, verified
from fhirserver.interactions.resolve import Found
from fhirserver.interactions.sight import current, outline, seen_now, within
from fhirserver.interactions.sizes import fitting
from fhirserver.interactions.summary import Part, part, trim
from fhirserver.interactions.unmade import absent, lacking_tags
from fhirserver.search.joined import NOTHING
from fhirserver.store.blobs import size_of
from fhirserver.store.budget import Budget
from fhirserver.store.history import history as versions
from fhirserver.store.history import history_of_one, newest_of_one
from fhirserver.store.places import Bounds, Place, Span
from fhirserver.store.versions import Stored

PARAMETERS = ("_since", "_at", "_count", "_cursor", "_summary", "_elements")


class _Asked(NamedTuple):
    """At most how many versions, of which time, after which."""

    limit: int
    span: Span
    after: Place | None

    @property
    def plain(self) -> bool:
        """The newest, whenever they were written."""
        return self.limit > 0 and self.after is None and self.span == Span()


async def history(ctx: Context, request: Request, type_: str | None, id_: str | None) -> Answer:
    """A Bundle of type history, newest first, deletions included."""
    level = "instance" if id_ else "type" if type_ else "system"
    authorize(ctx.caller, f"history-{level}", type_)
    asked, led = _asked(ctx, request), Found()
    total, tags = None, list[dict[str, str]]()
    if id_ and type_:
        found, total = await _of_instance(ctx, type_, id_, asked, led)
    else:
        found, tags = await _of_types(ctx, type_, asked, led)
    fits = min(asked.limit, fitting(_sizes(found), ctx.settings.max_response_bytes))
    page = found[:fits]
    links = _links(ctx, request, page[-1] if len(found) > fits else None)
    wanted = part(ctx, request)
    beginning = json.encode(f"{ctx.base_url}/").decode()[1:-1]
    entries = [_entry(ctx, version, wanted, beginning) for version in page]
    body = bundle("history", entries, id_=new_id(), updated=ctx.now(), total=total, links=links, tags=tags)
    return Answer(status=200, body=body)


async def _of_instance(
    ctx: Context, type_: str, id_: str, asked: _Asked, led: Found
) -> tuple[list[Stored], int | None]:
    """The versions of one resource, and how many there are in all, where that tells nobody anything."""
    if asked.plain and ctx.store.session is None and await sees_all(ctx, type_):
        found = await _of_one(ctx, type_, id_, asked.limit, led)
        return found, found[0].version if ctx.caller.open else None
    newest = await current(ctx, type_, id_)
    if newest is None:
        raise await absent(ctx, type_, id_, f"{type_}/{id_}")
    if asked.after is not None and (asked.after.type, asked.after.id) != (type_, id_):
        raise invalid("_cursor belongs to the history of something else", "_cursor")
    total = newest.version if asked.span == Span() and ctx.caller.open else None
    if not asked.limit:
        return [], total
    most = ctx.settings.max_response_bytes
    ask = partial(history_of_one, ctx.store, newest, asked.limit + 1, most=most, span=asked.span)
    return await _seen(ctx, ask, asked.limit, asked.after, "r", led), total


async def _of_types(
    ctx: Context, type_: str | None, asked: _Asked, led: Found
) -> tuple[list[Stored], list[dict[str, str]]]:
    """The versions of a type or of all, and what they lack, as tags."""
    if not asked.limit:
        return [], []
    types = await _bounds(ctx, [type_] if type_ else await ctx.store.known_types(), led)
    most = ctx.settings.max_response_bytes
    ask = partial(versions, ctx.store, types, asked.limit + 1, span=asked.span, most=most)
    return await _seen(ctx, ask, asked.limit, asked.after, "s", led), await lacking_tags(ctx, types)


def _links(ctx: Context, request: Request, last: Stored | None) -> list[tuple[str, str]]:
    """`last` is what the next page comes after, if there is one."""
    path = "/".join(request.path)
    used = [*(pair for pair in request.pairs if pair[0] in PARAMETERS), *request.presentation]
    links = [("self", page_url(ctx.base_url, path, used))]
    if last is not None:
        kept = [pair for pair in used if pair[0] != "_cursor"]
        place = [last.updated.isoformat(), last.id, last.version, last.type]
        links.append(("next", page_after(page_url(ctx.base_url, path, kept), signed(ctx.secret, place, "_history"))))
    return links


async def _of_one(ctx: Context, type_: str, id_: str, count: int, led: Found) -> list[Stored]:
    """One version more than a page, if there are so many: of what the caller may read, whatever it is."""
    most = ctx.settings.max_response_bytes
    async with Budget(ctx.store):
        newest = await newest_of_one(ctx.store, type_, id_, count + 1, most=most)
    if not newest:
        raise await absent(ctx, type_, id_, f"{type_}/{id_}")

    async def ask(after: Place | None) -> list[Stored]:
        if after is None:
            return newest
        return await history_of_one(ctx.store, newest[0], count + 1, most=most, after=after)

    found = await _seen(ctx, ask, count, None, "r", led)
    if found[:1] != newest[:1]:
        raise await absent(ctx, type_, id_, f"{type_}/{id_}")
    return found


Ask = Callable[..., Awaitable[list[Stored]]]


async def _seen(ctx: Context, ask: Ask, count: int, after: Place | None, permission: str, led: Found) -> list[Stored]:
    """One version more than a page, or than an answer holds, if there are so many that the caller may see."""
    most = ctx.settings.max_response_bytes
    kept: list[Stored] = []
    async with Budget(ctx.store):
        while True:
            rows = await ask(after=after)
            kept += rows if ctx.caller.open else await seen_now(ctx, rows, permission, led)
            if len(kept) > count or fitting(_sizes(kept), most) < len(kept):
                return kept[: count + 1]
            if len(rows) <= count and sum(_sizes(rows)) <= most:  # of what is larger not all came
                return kept
            last = rows[-1]
            after = Place(last.updated, last.id, last.version, last.type)


def _sizes(found: Sequence[Stored]) -> list[int]:
    return [size_of(each.packed) if each.packed else 0 for each in found]


async def _bounds(ctx: Context, types: Sequence[str], led: Found) -> dict[str, Bounds]:
    """Where to look for versions that the caller may see; of the types of which it may see none, nowhere."""
    found: dict[str, Bounds] = {}
    for type_ in types:
        criterion = await within(ctx, type_, "s", led)
        if criterion != NOTHING:
            found[type_] = outline(criterion)
    return found


def _asked(ctx: Context, request: Request) -> _Asked:
    values = _values(request)
    limit = min(_count(values.get("_count"), ctx.settings.default_count), ctx.settings.max_count)
    span = _span(values)
    after = _place(verified(ctx.secret, values["_cursor"], "_history")) if "_cursor" in values else None
    return _Asked(limit, span, after)


def _values(request: Request) -> dict[str, str]:
    for name, _ in request.pairs:
        if name not in PARAMETERS and request.strict:
            raise invalid(f"history has no parameter {name[:80]}; it has _since, _at and _count", name[:80])
    return dict(request.pairs)


def _count(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise invalid(f"_count={text[:80]} is not a number of entries", "_count")
    return int(text)


def _span(values: dict[str, str]) -> Span:
    since = dates.given("_since", values["_since"]).low if "_since" in values else None
    if "_at" not in values:
        return Span(since)
    at = dates.given("_at", values["_at"])
    return Span(since, at.low, at.high)


def _place(row: object) -> Place:
    match row:
        case [str() as updated, str() as id_, int() as version, str() as type_]:
            return Place(datetime.fromisoformat(updated), id_, version, type_)
    raise Outcome(400, "invalid", "_cursor does not belong to a history")


def _entry(ctx: Context, version: Stored, wanted: Part, beginning: str) -> bytes:
    """https://hl7.org/fhir/R4/http.html#history: `POST` made it, `PUT` changed it, `DELETE` ended it."""
    reference = version.reference
    request = ("POST", version.type) if version.version == 1 else ("DELETE" if version.deleted else "PUT", reference)
    body = version.body if version.deleted or wanted.whole else trim(ctx.definitions, version.body, wanted)
    return version_entry(beginning + reference, body, request, version.version, version.written)
