"""Single resources and versions of them, as far as the caller reaches. Unseen equals nonexistent.

Each version is judged by what it says itself: what was another patient's before a correction stays theirs. Most is told
by compartments and ids alone; else the database says of index values, handed to it, whether they meet the criterion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhirserver.access.reach import reach
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import not_found
from fhirserver.interactions.consenting import contents_left, left, narrowed_for_caller
from fhirserver.interactions.resolve import Found, resolve
from fhirserver.search.criteria import AllOf, AnyOf, Belonging, Clause, Criterion, Negation, kind
from fhirserver.search.filters import criterion_filter, in_no_record, in_one_of, query_filter
from fhirserver.search.joined import EVERYTHING
from fhirserver.search.mongo import conjunction
from fhirserver.search.query import Query
from fhirserver.store.hops import numbers_of
from fhirserver.store.places import Bounds
from fhirserver.store.versions import Document, Stored


async def current(ctx: Context, type_: str, id_: str, permission: str = "r") -> Stored | None:
    """The current version, which may be a tombstone, if there is one within reach."""
    found = (await current_all(ctx, type_, [id_], permission)).get(id_)
    if found is not None:
        ctx.touched(found.reference, found.compartments)
    return found


async def current_all(ctx: Context, type_: str, ids: Sequence[str], permission: str) -> dict[str, Stored]:
    """The current versions within reach that consents and labels leave to the caller, by id.

    What there is and is not seen takes as long as what there is not: the database is asked the same.
    """
    criterion, narrowed = await within(ctx, type_, permission), await narrowed_for_caller(ctx, type_)
    told = _told(criterion)
    there = await (_reached(ctx, criterion, type_, ids) if told else _found(ctx, criterion, type_, ids))
    live = [each for each in there if not each.deleted]
    kept = await _left(ctx, type_, [(each, each) for each in live], permission) if narrowed else live
    found = {each.id: each for each in kept}
    rest = [id_ for id_ in ids if id_ not in found]
    if not rest or (told and not narrowed and (ctx.caller.open or len(live) == len(there))):
        return found | {each.id: each for each in there if each.deleted}
    gone = there if told else await _read(ctx, type_, rest)
    deleted = await _tombstones(ctx, criterion, type_, rest, gone)
    return found | {each.id: each for each in await _left(ctx, type_, deleted, permission)}


async def _reached(ctx: Context, criterion: Criterion, type_: str, ids: Sequence[str]) -> list[Stored]:
    """Those of which ids and compartments tell."""
    there = await _read(ctx, type_, ids)
    return [each for each, yes in zip(there, await meets(ctx, criterion, there), strict=True) if yes]


async def _found(ctx: Context, criterion: Criterion, type_: str, ids: Sequence[str]) -> list[Stored]:
    """Those that the database finds, which are not deleted."""
    filter_ = query_filter(Query(type_, criteria=(criterion,)), ctx.now())
    asked = conjunction([{"_id": {"$in": sorted(ids)}}, filter_])
    return await ctx.store.find_stored(type_, asked, len(ids))


async def _left(ctx: Context, type_: str, versions: Sequence[tuple[Stored, Stored]], permission: str) -> list[Stored]:
    """Those of some versions that consents and labels leave, each beside what says what it is about."""
    whole = await contents_left(ctx, type_, {each.id for each, _ in versions})
    kept = await left(ctx, versions, permission)
    return [each for (each, _), yes in zip(versions, kept, strict=True) if yes and each.id in whole]


async def _read(ctx: Context, type_: str, ids: Sequence[str]) -> list[Stored]:
    if len(ids) == 1:  # a round trip that is shared with other requests
        found = await ctx.store.read(type_, ids[0])
        return [] if found is None else [found]
    return await ctx.store.read_stored(type_, ids)


async def _tombstones(
    ctx: Context, criterion: Criterion, type_: str, ids: Sequence[str], there: Sequence[Stored]
) -> list[tuple[Stored, Stored]]:
    """Those of deleted resources within reach, of what is `there`, each with its last version before."""
    deleted = {each.id: each for each in there if each.deleted and holds(criterion, each) is not False}
    lasts = {id_: deleted[id_].version - 1 if id_ in deleted else 0 for id_ in ids}
    last = {each.id: each for each in await ctx.store.past(type_, lasts.items())}
    versions = {at: (deleted[id_], each) for at, (id_, each) in enumerate(last.items()) if id_ in deleted}
    if _told(criterion):
        return [*versions.values()]
    matching = await _matching(ctx, criterion, versions)
    return [versions[at] for at in sorted(matching)]


async def check_seen(ctx: Context, type_: str, id_: str | None) -> None:
    """404 unless what an operation runs on is within reach."""
    if id_ is not None and not ctx.caller.open and await current(ctx, type_, id_) is None:
        raise not_found(f"{type_}/{id_}")


async def within_reach(ctx: Context, version: Stored, permission: str) -> bool:
    return bool(await seen(ctx, [version], permission))


async def seen(
    ctx: Context, versions: Sequence[Stored], permission: str = "r", led: Found | None = None
) -> list[Stored]:
    """Those of some versions, maybe of several types, that are within reach. `led` is what was found before."""
    by_type: dict[str, list[Stored]] = {}
    for version in versions:
        by_type.setdefault(version.type, []).append(version)
    kept: set[tuple[str, str, int]] = set()
    led = Found() if led is None else led
    for type_, mine in by_type.items():
        held = await held_within(ctx, type_, mine, permission, led)
        kept.update(_name(version) for version, yes in zip(mine, held, strict=True) if yes)
    found = [version for version in versions if _name(version) in kept]
    for version in found:
        ctx.touched(version.reference, version.compartments)
    return found


async def seen_now(ctx: Context, versions: Sequence[Stored], permission: str, led: Found) -> list[Stored]:
    """Those of which the current version is within reach, too."""
    kept = await seen(ctx, versions, permission, led)
    ids: dict[str, set[str]] = {}
    for version in kept:
        beyond = reach(ctx.caller, version.type, permission) is not EVERYTHING
        if beyond or await narrowed_for_caller(ctx, version.type):
            ids.setdefault(version.type, set()).add(version.id)
    now = [each for type_, wanted in ids.items() for each in await ctx.store.read_stored(type_, wanted)]
    left = {(each.type, each.id) for each in await seen(ctx, now, permission, led)}
    return [each for each in kept if each.type not in ids or (each.type, each.id) in left]


async def held_within(
    ctx: Context, type_: str, versions: Sequence[Stored], permission: str, led: Found | None = None
) -> list[bool]:
    """Which of some versions of a type are within reach, and left to the caller by consents and labels."""
    reached = await meets(ctx, await within(ctx, type_, permission, led), versions)
    if ctx.caller.open:  # else earlier versions may have labels in a type that has none now
        return reached
    said = await _said(ctx, {at: each for at, each in enumerate(versions) if reached[at]})
    kept = {*map(id, await _left(ctx, type_, [*said.values()], permission))}
    return [held and id(each) in kept for each, held in zip(versions, reached, strict=True)]


async def within(ctx: Context, type_: str, permission: str, led: Found | None = None) -> Criterion:
    """The reach of the caller in clauses alone, as things are now."""
    criterion = reach(ctx.caller, type_, permission)
    if criterion is EVERYTHING:
        return criterion
    query = await resolve(ctx, Query(type_, criteria=(criterion,)), Found() if led is None else led)
    return query.criteria[0]


def _name(version: Stored) -> tuple[str, str, int]:
    return version.type, version.id, version.version


async def meets(ctx: Context, criterion: Criterion, versions: Sequence[Stored]) -> list[bool]:
    """Which of some versions of a type meet a criterion."""
    told = [holds(criterion, version) for version in versions]
    if None not in told:
        return [held is True for held in told]
    asked = {at: versions[at] for at, held in enumerate(told) if held is None}
    matching = await _matching(ctx, criterion, await _said(ctx, asked))
    return [at in matching if held is None else held for at, held in enumerate(told)]


async def _said(ctx: Context, versions: Mapping[int, Stored]) -> dict[int, tuple[Stored, Stored]]:
    """Versions with what says what they are about: themselves, of a deleted one its last version before."""
    found = {at: (each, each) for at, each in versions.items() if not each.deleted}
    gone: dict[str, dict[int, Stored]] = {}
    for at, each in versions.items():
        if each.deleted:
            gone.setdefault(each.type, {})[at] = each
    for type_, mine in gone.items():
        before = {at: (each.id, each.version - 1) for at, each in mine.items()}
        last = {(each.id, each.version): each for each in await ctx.store.past(type_, before.values())}
        found |= {at: (each, last[before[at]]) for at, each in mine.items() if before[at] in last}
    return found


def holds(criterion: Criterion, version: Stored) -> bool | None:
    """Whether a version meets a criterion, as far as its id and its compartments tell; None where they do not."""
    match criterion:
        case Belonging(()):
            return not any(each.startswith("Patient/") for each in version.compartments)
        case Belonging(references):
            return any(each in version.compartments for each in references)
        case Clause(parameter, None, values) if kind(parameter) == "id":
            return version.id in values
        case AllOf(parts):
            told = [holds(part, version) for part in parts]
            return False if False in told else None if None in told else True
        case AnyOf(parts):
            told = [holds(part, version) for part in parts]
            return True if True in told else None if None in told else False
        case Negation(part):
            told_ = holds(part, version)
            return None if told_ is None else not told_
    return None


def _told(criterion: Criterion) -> bool:
    """Whether ids and compartments tell who meets a criterion."""
    match criterion:
        case AllOf(parts) | AnyOf(parts):
            return all(_told(part) for part in parts)
        case Negation(part):
            return _told(part)
        case Clause(parameter, None, _):
            return kind(parameter) == "id"
    return isinstance(criterion, Belonging)


def outline(criterion: Criterion) -> Bounds:
    """Where versions that meet a criterion can be, as far as ids and compartments tell. What is there is looked at."""
    match criterion:
        case Belonging((_, *_) as references):
            inside = in_one_of(references)
            return Bounds({"$or": [inside, {"belonged": inside["compartments"]}]}, inside)
        case Belonging(()):
            outside = in_no_record()
            return Bounds(outside | {"belonged": outside["compartments"]}, outside)
        case Clause(parameter, None, values) if kind(parameter) == "id":
            ids = [str(value) for value in values]
            return Bounds({"_id": {"$in": ids}}, {"_id.id": {"$in": ids}})
        case AnyOf(()):
            return Bounds({"_id": {"$in": []}}, {"_id": {"$in": []}})
        case AllOf(parts):
            told = [outline(part) for part in parts]
            return Bounds(_all([each.current for each in told]), _all([each.past for each in told]))
        case AnyOf(parts):
            told = [outline(part) for part in parts]
            return Bounds(_any([each.current for each in told]), _any([each.past for each in told]))
    return Bounds()


def _all(filters: Sequence[Mapping[str, Any]]) -> Document:
    needed = [each for each in filters if each]
    return {"$and": needed} if needed else {}


def _any(filters: Sequence[Mapping[str, Any]]) -> Document:
    return {"$or": [*filters]} if all(filters) else {}


async def _matching(ctx: Context, criterion: Criterion, versions: Mapping[int, tuple[Stored, Stored]]) -> set[int]:
    """Which of some versions, beside what says what they are about, the database finds to meet a criterion."""
    documents: list[Document] = []
    for number, (version, said) in versions.items():
        if not said.deleted:
            entry = ctx.indexer.entry(json.resource(said.body))
            derived = {"search": entry.search, "sort": entry.sort, "compartments": [*version.compartments]}
            documents.append({"_id": version.id, "number": number, "updated": said.updated, **derived})
    return await numbers_of(ctx.store, documents, criterion_filter(criterion, ctx.now()))
