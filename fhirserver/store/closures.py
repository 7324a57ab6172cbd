"""Closure tables: a row for each in `closures`, and the codes of all of them in `closures.members`.

docs/adr/0013-closure-tables.md

A row: {_id, generation, version, systems: [{url, edition}]}. To begin a table again is a new generation of it; what
earlier ones left is nobody's. Who adds codes raises the version in the same transaction, so that two who add at the
same time come one after the other, and the later sees what the earlier did.

A member: {table, generation, system, code, concept, above, since}, as `terminology.closures.Member` explains them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from pymongo import ReturnDocument

from fhirserver.store.resources import Store
from fhirserver.store.schema import CLOSURE_MEMBERS, CLOSURES
from fhirserver.store.versions import Document


class Table(NamedTuple):
    """`systems` says in what edition each code system was read."""

    id: str
    generation: int
    version: int
    systems: Mapping[str, str]


def _table(row: Mapping[str, Any]) -> Table:
    systems = {each["url"]: each["edition"] for each in row["systems"]}
    return Table(row["_id"], row["generation"], row["version"], systems)


async def begin(store: Store, id_: str) -> None:
    """Empty, whatever was in it before."""
    change = {"$inc": {"generation": 1}, "$set": {"version": 0, "systems": []}}
    row: Document | None = await store[CLOSURES].find_one_and_update(
        {"_id": id_}, change, upsert=True, return_document=ReturnDocument.AFTER
    )
    if row is not None:
        await store[CLOSURE_MEMBERS].delete_many({"table": id_, "generation": {"$lt": row["generation"]}})


async def read(store: Store, id_: str) -> Table | None:
    row = await store[CLOSURES].find_one({"_id": id_}, session=store.session)
    return None if row is None else _table(row)


async def advance(store: Store, id_: str) -> Table | None:
    """The next version of it; in a transaction with what comes in it."""
    row = await store[CLOSURES].find_one_and_update(
        {"_id": id_}, {"$inc": {"version": 1}}, return_document=ReturnDocument.AFTER, session=store.session
    )
    return None if row is None else _table(row)


async def note(store: Store, table: Table, editions: Mapping[str, str]) -> None:
    """In what edition its code systems are read from now on."""
    systems = [{"url": url, "edition": edition} for url, edition in {**table.systems, **editions}.items()]
    this = {"_id": table.id, "generation": table.generation}
    await store[CLOSURES].update_one(this, {"$set": {"systems": systems}}, session=store.session)


async def members(store: Store, table: Table) -> list[Document]:
    return await _found(store, _of(table))


async def related(
    store: Store, table: Table, system: str, concepts: Collection[str], above: Collection[str]
) -> list[Document]:
    """The codes of the table that are one of these above, or that are below one of these concepts."""
    either = [{"concept": {"$in": sorted(above)}}, {"above": {"$in": sorted(concepts)}}]
    return await _found(store, _of(table) | {"system": system, "$or": either})


async def add(store: Store, table: Table, fresh: Iterable[Document]) -> None:
    rows = [_of(table) | row for row in fresh]
    if rows:
        await store[CLOSURE_MEMBERS].insert_many(rows, session=store.session)


def _of(table: Table) -> Document:
    return {"table": table.id, "generation": table.generation}


async def _found(store: Store, filter_: Document) -> list[Document]:
    without = {"_id": 0, "table": 0, "generation": 0}
    return await store[CLOSURE_MEMBERS].find(filter_, without, session=store.session).sort("_id", 1).to_list()
