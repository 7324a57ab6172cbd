"""Collections and indexes. One wildcard index serves every search parameter; a small table adds the hot shapes.

Per resource type `T`: collection `T` (the current version of each resource) and `T.history` (the earlier ones).
Beside them `claims` (conditional interactions in flight), `jobs` (what outlives a request), `server` (what the
servers of one database share) and `servers` (which of them live).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from pymongo import ASCENDING, DESCENDING, GEOSPHERE, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from pymongo.write_concern import WriteConcern

CLAIMS = "claims"
JOBS = "jobs"
SERVER = "server"
SERVERS = "servers"
CLAIM_SECONDS = 3600
SERVER_SECONDS = 3600  # after which a server that was killed is forgotten
NAMESPACE_EXISTS = 48
REDEFINED = (85, 86)  # IndexOptionsConflict, IndexKeySpecsConflict: a name that an earlier release gave otherwise

log = logging.getLogger(__name__)

# On disk only; pages in memory are as they were. 35,726 resources of synthetic patients with all indexes: 1,061 bytes
# each, against 2,017 by MongoDB's defaults (snappy for documents, nothing for indexes), loaded in the same time.
COMPRESSED = {"wiredTiger": {"configString": "block_compressor=zstd"}}


def _index(name: str, **keys: int | str) -> IndexModel:
    return IndexModel(list(keys.items()), name=name, storageEngine=COMPRESSED)


CURRENT = (
    _index("search", **{"search.$**": ASCENDING}),
    _index("updated", updated=DESCENDING, _id=DESCENDING),
    _index("compartments", compartments=ASCENDING, _id=ASCENDING),
)
HISTORY = (_index("updated", updated=DESCENDING, _id=DESCENDING),)

# Observations of a patient or of a code, newest first: 0.40 ms against 0.53 by the wildcard (DESIGN §2). Of a code in
# the order of ids: a page of `code=…&value-quantity=gt5` at 1,000,000 resources took 764 ms where all values of the
# code are read and sorted first. `_id` is the last key of every sort and goes the way of the key before it.
HOT: dict[str, tuple[IndexModel, ...]] = {
    "Observation": (
        _index("patient-date", **{"search.patient": ASCENDING, "sort.date": DESCENDING, "_id": DESCENDING}),
        _index("code-date", **{"search.code": ASCENDING, "sort.date": DESCENDING, "_id": DESCENDING}),
        _index("code-id", **{"search.code": ASCENDING, "_id": ASCENDING}),
    ),
    "Location": (_index("near", **{"search.near": GEOSPHERE}),),
}


# Jobs by who waits longest; each is forgotten at the time it names itself.
QUEUE = (
    IndexModel([("state", ASCENDING), ("created", ASCENDING)], name="state"),
    IndexModel([("created", DESCENDING), ("_id", DESCENDING)], name="created"),
    IndexModel("expires", expireAfterSeconds=0, name="expires"),
)


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
        await database.create_collection(name, check_exists=False, storageEngine=COMPRESSED)
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise
    try:
        await database[name].create_indexes(list(indexes))
    except OperationFailure as error:
        if error.code not in REDEFINED:
            raise
        await _renew(database, name, indexes)


async def _renew(database: AsyncDatabase[dict[str, Any]], name: str, indexes: tuple[IndexModel, ...]) -> None:
    """Make what is missing or has other keys. An index that an earlier release did not compress works as it is."""
    present = await database[name].index_information()
    wanted = [each for each in indexes if each.document["name"] not in present]
    for index in indexes:
        if differs(present.get(index.document["name"]), index):
            log.warning("index %s of %s is another one in this release; making it again", index.document["name"], name)
            await database[name].drop_index(index.document["name"])
            wanted.append(index)
    if wanted:
        await database[name].create_indexes(wanted)


def differs(present: Mapping[str, Any] | None, wanted: IndexModel) -> bool:
    """Whether an index of this name, as `index_information` tells it, is another one than this release wants."""
    return present is not None and list(present["key"]) != list(wanted.document["key"].items())


async def ensure_shared(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database[CLAIMS].create_index("at", expireAfterSeconds=CLAIM_SECONDS, name="at")
    await database[JOBS].create_indexes(list(QUEUE))
    await database[SERVERS].create_index("beat", expireAfterSeconds=SERVER_SECONDS, name="beat")
