"""Of which edition the index values of a database are: releases that make them otherwise have another number.

What is written is of the edition of who writes it. What a type had before is of another one until all of it is indexed
again. Known of whole types, in the document that all servers of a database share: a number on every resource would have
to be looked for in all of them. While servers of several editions live, nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fhirserver.fhir.ids import new_id
from fhirserver.store.resources import Store
from fhirserver.store.schema import SERVER, SERVERS

SHARED = {"_id": "search"}
SILENT_SECONDS = 12.0  # by the clock of the database; who was silent for so long is not waited for
LIVING = {"$expr": {"$gt": ["$beat", {"$subtract": ["$$NOW", int(SILENT_SECONDS * 1000)]}]}}
SEVERAL = 0


class Editions(NamedTuple):
    """`written` is the edition of what is written now, and `types` are those that have something of another one.

    `since` names the moment from which on that is so.
    """

    written: int = SEVERAL
    types: tuple[str, ...] = ()
    since: str = ""


def editions(shared: Mapping[str, Any]) -> Editions:
    found = shared.get("editions")
    return Editions() if found is None else Editions(found["written"], tuple(found["types"]), found["since"])


async def settle(store: Store, known: Editions, edition: int) -> None:
    """From now on this edition is written, and all that is here is of others; not while others are written, too."""
    if await others(store, edition):
        if known.written != SEVERAL:
            await _tell(store, known, Editions(SEVERAL, (), new_id()))
    elif known.written != edition:
        types = [type_ for type_ in await store.types() if await _holds_any(store, type_)]
        await _tell(store, known, Editions(edition, tuple(types), new_id()))


async def renewed(store: Store, type_: str, edition: int, since: str) -> None:
    """All of a type was indexed again, begun after that moment."""
    if not await others(store, edition):
        change = {"$pull": {"editions.types": type_}}
        await store[SERVER].update_one({**SHARED, "editions.since": since}, change)


async def others(store: Store, edition: int) -> int:
    """How many living servers write another edition; those that know of none do."""
    return await store[SERVERS].count_documents({"edition": {"$ne": edition}, **LIVING})


async def _tell(store: Store, known: Editions, now: Editions) -> None:
    """Unless another server was first."""
    new = {"generation": 0, "rows": [], "covered": {}}
    await store[SERVER].update_one(SHARED, {"$setOnInsert": new}, upsert=True)
    as_known = {**SHARED, "editions.since": known.since or None}  # None: there are none yet
    await store[SERVER].update_one(as_known, {"$set": {"editions": now._asdict()}})


async def _holds_any(store: Store, type_: str) -> bool:
    return await store[type_].find_one({"deleted": None}, {"_id": 1}) is not None
