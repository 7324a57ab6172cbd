"""Collections and indexes. One wildcard index serves every search parameter; a small table adds the hot shapes.

Per resource type `T`: collection `T` (the current version of each resource) and `T.history` (the earlier ones).
Beside them `claims` (conditional interactions in flight), `jobs` (what outlives a request), `server` (what the
servers of one database share), `servers` (which of them live), `closures` and `closures.members` (store.closures).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from pymongo import ASCENDING, DESCENDING, GEOSPHERE, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from pymongo.write_concern import WriteConcern

AUDIT_EVENT = "AuditEvent"
CLAIMS = "claims"
JOBS = "jobs"
EMERGENCIES = "emergencies"
SERVER = "server"
SERVERS = "servers"
CLOSURES = "closures"
CLOSURE_MEMBERS = "closures.members"
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
    IndexModel([("belonged", ASCENDING)], name="belonged", sparse=True, storageEngine=COMPRESSED),  # tombstones
)
HISTORY = (
    _index("updated", updated=DESCENDING, _id=DESCENDING),
    _index("compartments", compartments=ASCENDING, updated=DESCENDING, _id=DESCENDING),
)

# An index can hold one array only, so what follows the first key is a scalar under `sort`; search.bounds says what a
# search knows of it. `_id` is the last key of every sort and goes the way of the key before it. The evidence for each
# is in docs/scaling.md.
HOT: dict[str, tuple[IndexModel, ...]] = {
    "Observation": (
        _index("patient-date", **{"search.patient": ASCENDING, "sort.date": DESCENDING, "_id": DESCENDING}),
        _index("code-date", **{"search.code": ASCENDING, "sort.date": DESCENDING, "_id": DESCENDING}),
        _index("code-id", **{"search.code": ASCENDING, "_id": ASCENDING}),
        _index("code-patient", **{"search.code": ASCENDING, "sort.patient": ASCENDING, "sort.date": DESCENDING}),
        _index(
            "code-value",
            **{
                "search.code": ASCENDING,
                "sort.value-quantity:point": ASCENDING,
                "sort.value-quantity:base": ASCENDING,
            },
        ),
    ),
    "Condition": (
        _index("code-onset", **{"search.code": ASCENDING, "sort.onset-date": DESCENDING, "_id": DESCENDING}),
        _index("code-patient", **{"search.code": ASCENDING, "sort.patient": ASCENDING}),
    ),
    "CodeSystem": (_index("value-set", **{"resource.valueSet": ASCENDING}),),
    AUDIT_EVENT: (_index("ledger", **{"ledger.strand": ASCENDING, "ledger.number": ASCENDING}),),
    "Location": (_index("near", **{"search.near": GEOSPHERE}),),
}


# Of earlier versions: what they were the last to say (`store.versions`), and those of them that are labelled.
MARKED = tuple(
    IndexModel([(key, ASCENDING)], name=key, sparse=True, storageEngine=COMPRESSED) for key in ("ended", "labels")
)
HOT_HISTORY: dict[str, tuple[IndexModel, ...]] = {"DocumentReference": MARKED}


@cache
def hot_keys(type_: str) -> tuple[tuple[str, ...], ...]:
    """The fields of each compound index of a type, in their order."""
    keys = (tuple(index.document["key"]) for index in HOT.get(type_, ()))
    return tuple(fields for fields in keys if len(fields) > 1)


# Jobs by who waits longest; each is forgotten at the time it names itself.
QUEUE = (
    IndexModel([("state", ASCENDING), ("created", ASCENDING)], name="state"),
    IndexModel([("created", DESCENDING), ("_id", DESCENDING)], name="created"),
    IndexModel("expires", expireAfterSeconds=0, name="expires"),
)

# The codes of closure tables, of one table by what they are, and by what is above them.
MEMBERS = tuple(
    IndexModel([(key, ASCENDING) for key in ("table", "generation", "system", last)], name=last, unique=last == "code")
    for last in ("code", "concept", "above")
)


OPENED = (
    IndexModel([("_id.account", ASCENDING)], name="account"),
    IndexModel("until", expireAfterSeconds=0, name="until"),
)


def history_of(type_: str) -> str:
    return f"{type_}.history"


async def ensure(database: AsyncDatabase[dict[str, Any]], type_: str) -> None:
    """Create the collections and indexes of a resource type; harmless when they exist, also when others do it now.

    An index whose definition changed under its name is dropped and built again.
    """
    # an index that a crash takes with it is made again at the next start, so nobody waits for the journal here
    database = database.with_options(write_concern=WriteConcern(w=1))
    await asyncio.gather(*(_create(database, name, models) for name, models in indexes_of(type_).items()))


def indexes_of(type_: str) -> dict[str, tuple[IndexModel, ...]]:
    """The indexes of a resource type, by collection."""
    return {type_: CURRENT + HOT.get(type_, ()), history_of(type_): HISTORY + HOT_HISTORY.get(type_, ())}


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
    await database[EMERGENCIES].create_indexes(list(OPENED))
    await database[JOBS].create_indexes(list(QUEUE))
    await database[SERVERS].create_index("beat", expireAfterSeconds=SERVER_SECONDS, name="beat")
    await database[CLOSURE_MEMBERS].create_indexes(list(MEMBERS))
