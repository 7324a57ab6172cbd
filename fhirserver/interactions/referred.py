"""What the records of patients refer to that is about nobody in particular: practitioners, organizations, medications.

They are seen under patient/ scopes because a record names them, and what these name in turn: the organization of a
practitioner's role. References are read off the index values, as chains and inclusions read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fhirserver.access.reach import SHARED, in_records
from fhirserver.context import Context
from fhirserver.fhir.outcome import too_costly
from fhirserver.interactions.consenting import left, narrowed
from fhirserver.search.attachments import CONTENTS, DOCUMENT
from fhirserver.search.canonicals import LOCAL, canonicals
from fhirserver.search.filters import criterion_filter, in_one_of
from fhirserver.search.joined import EVERYTHING
from fhirserver.search.mongo import conjunction
from fhirserver.search.parameters import Registry
from fhirserver.store.hops import matching_ids, values_of

HOPS = 3  # from the record on: an observation, the role of its performer, the organization of that
MOST = 100_000  # references
ASKED_FOR = "AuditEvent", "entity"  # whoever asks is in their own record by that: it must not show what they asked for


Named = Mapping[str, frozenset[str]]  # ids by type


async def named_by(ctx: Context, references: Sequence[str]) -> Named:
    """What resources in these compartments refer to, directly or through others of the kind; or name by its URL."""
    present = set(await ctx.store.known_types())
    inside = in_one_of(references)
    sources = {type_: inside for type_ in sorted(present) if in_records(type_)}
    sources["Patient"] = {"_id": {"$in": [each.removeprefix("Patient/") for each in references]}}
    if ctx.caller.own is None or {*references} != {f"Patient/{ctx.caller.own}"}:
        sources = {type_: await _left(ctx, type_, filter_) for type_, filter_ in sources.items()}
    ids: dict[str, set[str]] = {}
    urls: set[str] = set()
    for _ in range(HOPS):
        fresh: dict[str, set[str]] = {}
        for value in await _values(ctx, sources):
            match = LOCAL.fullmatch(value.removeprefix(f"{ctx.base_url}/"))
            if match is None:
                urls.update(canonicals([value]))
            elif match[1] in SHARED and match[2] not in ids.get(match[1], ()):
                fresh.setdefault(match[1], set()).add(match[2])
        for type_, found in fresh.items():
            ids.setdefault(type_, set()).update(found)
        sources = {type_: {"_id": {"$in": sorted(fresh[type_])}} for type_ in sorted(present & fresh.keys())}
    for type_ in sorted(present & SHARED) if urls else ():
        if {"url", "version"} <= ctx.registry[type_].keys():  # a definition: a device has a URL, and is none
            defined: dict[str, Any] = {"search.url": {"$in": sorted(urls)}, "deleted": None}
            ids.setdefault(type_, set()).update(await matching_ids(ctx.store, type_, defined, MOST))
    return {type_: frozenset(found) for type_, found in ids.items()}


async def shown_by(ctx: Context, references: Sequence[str], named: Named, type_: str) -> frozenset[str]:
    """Of what these records name, the resources of a type that they show.

    Whose a Binary is, is asked for Binaries alone: who reaches none learns nothing by how long that takes.
    """
    ids = named.get(type_, frozenset())
    return ids - await _withheld(ctx, references, sorted(ids)) if type_ == "Binary" and ids else ids


async def _left(ctx: Context, type_: str, filter_: dict[str, Any]) -> dict[str, Any]:
    """What is kept from the caller shows nothing of what it refers to."""
    criterion = await narrowed(ctx, type_)
    return filter_ if criterion == EVERYTHING else conjunction([filter_, criterion_filter(criterion, ctx.now())])


async def _withheld(ctx: Context, references: Sequence[str], ids: Sequence[str]) -> set[str]:
    """Binaries with a security context that is not in these compartments, or nowhere. A patient is in its own."""
    contexts = {each.id: each.compartments for each in await ctx.store.read_stored("Binary", ids) if each.compartments}
    wanted: dict[str, set[str]] = {}
    for (context,) in contexts.values():
        type_, _, id_ = context.partition("/")
        if type_ != "Patient":
            wanted.setdefault(type_, set()).add(id_)
    known = ctx.definitions.resource_types & wanted.keys()
    found = [each for type_ in sorted(known) for each in await ctx.store.read_stored(type_, wanted[type_])]
    held = await left(ctx, [(each, each) for each in found], "r")
    found = [each for each, yes in zip(found, held, strict=True) if yes and not each.deleted]
    inside = {each.reference for each in found if not {*references}.isdisjoint(each.compartments)}
    return {id_ for id_, (context,) in contexts.items() if context not in inside.union(references)}


async def _values(ctx: Context, sources: Mapping[str, dict[str, Any]]) -> list[str]:
    branches = [(type_, match, codes) for type_, match in sources.items() if (codes := _leading(ctx.registry, type_))]
    found = await values_of(ctx.store, branches, MOST + 1)
    if len(found) > MOST:
        raise too_costly(f"this record refers to more than {MOST:,} resources")
    return found


@lru_cache(maxsize=1_000)
def _leading(registry: Registry, type_: str) -> tuple[str, ...]:
    """The parameters of a type that lead to what is shared."""
    return tuple(_codes(registry, type_))


def shared_in(ctx: Context, type_: str, search: Mapping[str, Any]) -> dict[str, set[str]]:
    """What the index values of a resource refer to of what is shared: ids by type."""
    found: dict[str, set[str]] = {}
    for value in (value for code in _leading(ctx.registry, type_) for value in search.get(code, ())):
        match = LOCAL.fullmatch(value.removeprefix(f"{ctx.base_url}/"))
        if match is not None and match[1] in SHARED:
            found.setdefault(match[1], set()).add(match[2])
    return found


def _codes(registry: Registry, type_: str) -> Iterator[str]:
    for code, parameter in registry[type_].items():
        leads = parameter.type == "reference" and not SHARED.isdisjoint(registry.reference_targets(type_, code))
        if leads and (type_, code) != ASKED_FOR:
            yield code
    if type_ == DOCUMENT:
        yield CONTENTS
