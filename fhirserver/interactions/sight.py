"""Single resources and versions of them, as far as the caller reaches. Unseen equals nonexistent.

Each version is judged by what it says itself: what was another patient's before a correction stays theirs. Most is told
by compartments and ids alone; else the database says of index values, handed to it, whether they meet the criterion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhirserver.access.reach import EVERYTHING, reach, sees_all
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import not_found
from fhirserver.interactions.resolve import Found, resolve
from fhirserver.search.criteria import AllOf, AnyOf, Belonging, Clause, Criterion, Negation, kind
from fhirserver.search.filters import conjunction, criterion_filter, in_one_of, query_filter
from fhirserver.search.query import Query
from fhirserver.store.history import Bounds
from fhirserver.store.hops import numbers_of
from fhirserver.store.resources import Document, Stored


async def current(ctx: Context, type_: str, id_: str, permission: str = "r") -> Stored | None:
    """The current version, which may be a tombstone, if there is one within reach."""
    found = await _current(ctx, type_, id_, permission)
    if found is not None:
        ctx.touched(found.reference, found.compartments)
    return found


async def _current(ctx: Context, type_: str, id_: str, permission: str) -> Stored | None:
    """What there is and is not seen takes as long as what there is not."""
    criterion = await within(ctx, type_, permission)
    told = _told(criterion)
    if not told:
        filter_ = query_filter(Query(type_, criteria=(criterion,)), ctx.now())
        if found := await ctx.store.find_stored(type_, conjunction([{"_id": id_}, filter_]), 1):
            return found[0]
    version = await ctx.store.read(type_, id_)
    if version is None or not (told or version.deleted):
        return None
    return version if (await meets(ctx, criterion, [version]))[0] else None


async def check_seen(ctx: Context, type_: str, id_: str | None) -> None:
    """404 unless what an operation runs on is within reach."""
    if id_ is not None and not sees_all(ctx.caller, type_) and await current(ctx, type_, id_) is None:
        raise not_found(f"{type_}/{id_}")


async def within_reach(ctx: Context, version: Stored, permission: str) -> bool:
    return bool(await seen(ctx, [version], permission))


async def seen(ctx: Context, versions: Sequence[Stored], permission: str = "r") -> list[Stored]:
    """Those of some versions, maybe of several types, that are within reach."""
    by_type: dict[str, list[Stored]] = {}
    for version in versions:
        by_type.setdefault(version.type, []).append(version)
    kept: set[tuple[str, str, int]] = set()
    led = Found()
    for type_, mine in by_type.items():
        held = await meets(ctx, await within(ctx, type_, permission, led), mine)
        kept.update(_name(version) for version, yes in zip(mine, held, strict=True) if yes)
    found = [version for version in versions if _name(version) in kept]
    for version in found:
        ctx.touched(version.reference, version.compartments)
    return found


async def seen_now(ctx: Context, versions: Sequence[Stored], permission: str) -> list[Stored]:
    """Those of which the current version is within reach, too."""
    kept = await seen(ctx, versions, permission)
    ids: dict[str, set[str]] = {}
    for version in kept:
        if reach(ctx.caller, version.type, permission) is not EVERYTHING:
            ids.setdefault(version.type, set()).add(version.id)
    now = [each for type_, wanted in ids.items() for each in await ctx.store.read_stored(type_, wanted)]
    left = {(each.type, each.id) for each in await seen(ctx, now, permission)}
    return [each for each in kept if each.type not in ids or (each.type, each.id) in left]


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
    matching = await _matching(ctx, criterion, {at: versions[at] for at, held in enumerate(told) if held is None})
    return [at in matching if held is None else held for at, held in enumerate(told)]


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


async def _matching(ctx: Context, criterion: Criterion, versions: Mapping[int, Stored]) -> set[int]:
    """Of a deleted one, its last version before counts."""
    documents: list[Document] = []
    for number, version in versions.items():
        type_, id_ = version.type, version.id
        last = await ctx.store.vread(type_, id_, version.version - 1) if version.deleted else version
        if last is not None and not last.deleted:
            entry = ctx.indexer.entry(json.resource(last.body))
            derived = {"search": entry.search, "sort": entry.sort, "compartments": [*version.compartments]}
            documents.append({"_id": id_, "number": number, "updated": last.updated, **derived})
    return await numbers_of(ctx.store, documents, criterion_filter(criterion, ctx.now())) if documents else set()
