"""Compute the derived parts of every stored resource again: index values, sort keys, compartments, mirror."""

from __future__ import annotations

from typing import Any

from pymongo import UpdateOne

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.store.resources import BODY, stored

BATCH = 500


async def reindex(ctx: Context) -> int:
    """How many resources were done. Safe while the server runs: what changes meanwhile is indexed by its own write."""
    done = 0
    for type_ in await ctx.store.types():
        await ctx.store.ensure(type_)
        updates: list[UpdateOne] = []
        async for document in ctx.store[type_].find({"deleted": {"$ne": True}}, BODY):
            updates.append(_update(ctx, type_, document))
            if len(updates) == BATCH:
                done += await _write(ctx, type_, updates)
                updates = []
        if updates:
            done += await _write(ctx, type_, updates)
    return done


def _update(ctx: Context, type_: str, document: dict[str, Any]) -> UpdateOne:
    resource = json.decode(stored(type_, document).body)
    entry = ctx.indexer.entry(resource)
    derived = {"search": entry.search, "sort": entry.sort, "compartments": entry.compartments}
    change = (
        {"$set": derived | {"resource": resource}} if ctx.store.mirror else {"$set": derived, "$unset": {"resource": 1}}
    )
    return UpdateOne({"_id": document["_id"], "version": document["version"]}, change)


async def _write(ctx: Context, type_: str, updates: list[UpdateOne]) -> int:
    result = await ctx.store[type_].bulk_write(updates, ordered=False)
    return result.matched_count
