"""Which search parameters a database has beyond the published ones, and how far its documents and servers know them.

One document holds the rows of all custom parameters; each change of what they find is a new generation. A resource
carries the generation that its index values are of (absent: 0). Type by type, `covered` is the generation that no
document is behind. Servers say which generation they write; one that is silent does not write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pymongo import ReturnDocument

from fhirserver.store.editions import LIVING, SHARED, SILENT_SECONDS, Editions, editions
from fhirserver.store.resources import Store
from fhirserver.store.schema import SERVER, SERVERS
from fhirserver.store.versions import Document
from fhirserver.store.watching import Listener

BEAT_SECONDS = 4.0
NOTICED_SECONDS = SILENT_SECONDS - BEAT_SECONDS  # who was silent for so long may not have been waited for


class State(NamedTuple):
    """`rows` are the custom parameters, see search/custom.py; {type: generation} is `covered`."""

    generation: int = 0
    rows: tuple[Mapping[str, Any], ...] = ()
    covered: Mapping[str, int] = {}
    editions: Editions = Editions()


async def read(store: Store) -> State:
    document = await store[SERVER].find_one(SHARED, session=store.session)
    if document is None:
        return State()
    return State(document["generation"], tuple(document["rows"]), document["covered"], editions(document))


async def write(store: Store, generation: int, rows: Iterable[Mapping[str, Any]]) -> None:
    """In a transaction with the resources that the rows are of: two that change rows collide."""
    change = {"$set": {"generation": generation, "rows": list(rows)}, "$setOnInsert": {"covered": {}}}
    await store[SERVER].update_one(SHARED, change, upsert=True, session=store.session)


async def cover(store: Store, types: Iterable[str], generation: int) -> None:
    """No document of these types is behind this generation."""
    await store[SERVER].update_one(SHARED, {"$max": {f"covered.{type_}": generation for type_ in types}})


async def uncover(store: Store, types: Iterable[str], generation: int) -> None:
    """Documents of these types may be behind anything later than this generation."""
    await store[SERVER].update_one(SHARED, {"$min": {f"covered.{type_}": generation for type_ in types}})


def behind(generation: int) -> Document:
    """The documents that lack index values of this generation."""
    return {"deleted": None, "generation": {"$not": {"$gte": generation}}}


async def any_behind(store: Store, type_: str, generation: int) -> bool:
    return await store[type_].find_one(behind(generation), {"_id": 1}) is not None


def changes(changed: Callable[[], None]) -> Listener:
    """Waits for another state. A reader who comes later reads the state, so there is nothing to resume."""
    return Listener((SERVER,), lambda _: changed(), only={"documentKey._id": SHARED["_id"]})


# servers


async def beat(store: Store, server: str, generation: int, edition: int) -> bool:
    """This server lives, and writes nothing older than this generation. Whether it was silent for long before."""
    heard = {"$gt": ["$beat", {"$subtract": ["$$NOW", int(NOTICED_SECONDS * 1000)]}]}
    said = {"generation": generation, "edition": edition, "beat": "$$NOW", "silent": {"$not": [heard]}}
    change = [{"$set": said}]
    document = await store[SERVERS].find_one_and_update(
        {"_id": server}, change, {"silent": 1}, upsert=True, return_document=ReturnDocument.AFTER
    )
    return document is None or bool(document["silent"])


async def leave(store: Store, server: str) -> None:
    await store[SERVERS].delete_one({"_id": server})


async def lagging(store: Store, generation: int) -> int:
    """How many living servers may still write documents of an older generation."""
    return await store[SERVERS].count_documents({"generation": {"$lt": generation}, **LIVING})
