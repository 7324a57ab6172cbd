"""Compute the derived parts of every stored resource again: index values, sort keys, compartments, mirror."""

from __future__ import annotations

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.store.resources import BODY, Change, stored

BATCH = 500


async def reindex(ctx: Context) -> int:
    """How many resources were done. Safe while the server runs: what changes meanwhile is indexed by its own write."""
    done = 0
    for type_ in await ctx.store.types():
        await ctx.store.ensure(type_)
        changes: list[Change] = []
        async for document in ctx.store[type_].find({"deleted": None}, BODY):
            version = stored(type_, document)
            body = version.body
            resource = json.resource(body)
            entry = ctx.indexer.entry(resource)
            place = (type_, version.id, version.version, version.updated)
            changes.append(Change(*place, body, resource, entry.search, entry.sort, entry.compartments))
            if len(changes) == BATCH:
                done += await ctx.store.derive(changes)
                changes = []
        if changes:
            done += await ctx.store.derive(changes)
    return done
