"""Collections and indexes. One wildcard index serves every search parameter; a small table adds the hot shapes.

Per resource type `T`: collection `T` (the current version of each resource) and `T.history` (the earlier ones).
Beside them `claims` (conditional interactions in flight) and `server` (what the servers of one database share).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from pymongo.write_concern import WriteConcern

CLAIMS = "claims"
SERVER = "server"
CLAIM_SECONDS = 3600
NAMESPACE_EXISTS = 48
REDEFINED = (85, 86)  # IndexOptionsConflict, IndexKeySpecsConflict: a name that an earlier release gave otherwise

log = logging.getLogger(__name__)

CURRENT = (
    IndexModel([("search.$**", ASCENDING)], name="search"),
    IndexModel([("updated", DESCENDING), ("_id", DESCENDING)], name="updated"),
    IndexModel([("compartments", ASCENDING), ("_id", ASCENDING)], name="compartments"),
)
HISTORY = (IndexModel([("updated", DESCENDING), ("_id", DESCENDING)], name="updated"),)

# Measured in DESIGN §2: a patient's observations of one code, newest first, 0.40 ms against 0.53 by the wildcard.
# `_id` is the last key of every sort and goes the way of the key before it.
HOT: dict[str, tuple[IndexModel, ...]] = {
    "Observation": tuple(
        IndexModel([(f"search.{code}", ASCENDING), ("sort.date", DESCENDING), ("_id", DESCENDING)], name=f"{code}-date")
        for code in ("patient", "code")
    ),
}


def history_of(type_: str) -> str:
    return f"{type_}.history"


async def ensure(database: AsyncDatabase[dict[str, Any]], type_: str) -> None:
    """Create the collections and indexes of a resource type; harmless when they exist, also when others do it now.

    An index whose definition changed under its name is dropped and built again.
    """
    # an index that a crash takes with it is made again at the next start, so nobody waits for the journal here
    database = database.with_options(write_concern=WriteConcern(w=1))
    indexes = {type_: CURRENT + HOT.get(type_, ()), history_of(type_): HISTORY}
    await asyncio.gather(*(_create(database, name, models) for name, models in indexes.items()))


async def _create(database: AsyncDatabase[dict[str, Any]], name: str, indexes: tuple[IndexModel, ...]) -> None:
    try:
        await database.create_collection(name, check_exists=False)
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise
    try:
        await database[name].create_indexes(list(indexes))
    except OperationFailure as error:
        if error.code not in REDEFINED:
            raise
        present = await database[name].index_information()
        for index in indexes:
            if differs(present.get(index.document["name"]), index):
                log.warning(
                    "index %s of %s is another one in this release; making it again", index.document["name"], name
                )
                await database[name].drop_index(index.document["name"])
        await database[name].create_indexes(list(indexes))


def differs(present: Mapping[str, Any] | None, wanted: IndexModel) -> bool:
    """Whether an index of this name, as `index_information` tells it, is another one than this release wants."""
    return present is not None and list(present["key"]) != list(wanted.document["key"].items())


async def ensure_shared(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database[CLAIMS].create_index("at", expireAfterSeconds=CLAIM_SECONDS, name="at")
