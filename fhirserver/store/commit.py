"""Group commit: single writes in flight at the same moment go to the database together, and each has its own answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pymongo import InsertOne, ReplaceOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, WriteConcernError

from fhirserver.store.mirror import Encoded

Collection = AsyncCollection[dict[str, Any]]
DUPLICATE_KEY = 11000


class Write(NamedTuple):
    """A document to insert, or to put in the place of this version of it."""

    id: Any
    document: Encoded
    replaces: int | None = None


Written = bool | OperationFailure
"""Whether it was written: False when there is another document, or another version, by now."""


async def write_together(collection: Collection, writes: Sequence[Write]) -> list[Written]:
    if len(writes) == 1:
        return [await _write_one(collection, writes[0])]
    written: list[Written] = [True] * len(writes)
    try:
        await collection.bulk_write([_operation(write) for write in writes], ordered=False)
    except BulkWriteError as error:
        for unsure in error.details.get("writeConcernErrors", ()):  # of all that were not refused
            written = [WriteConcernError(unsure["errmsg"], unsure["code"])] * len(writes)
        for refused in error.details.get("writeErrors", ()):
            code = refused["code"]
            written[refused["index"]] = code != DUPLICATE_KEY and OperationFailure(refused["errmsg"], code)
    return written


async def _write_one(collection: Collection, write: Write) -> bool:
    if write.replaces is None:
        try:
            await collection.insert_one(write.document)
        except DuplicateKeyError:
            return False
        return True
    expected = {"_id": write.id, "version": write.replaces}
    return (await collection.replace_one(expected, write.document)).matched_count == 1


def _operation(write: Write) -> InsertOne[Any] | ReplaceOne[Any]:
    """A replacement that finds another version tries to insert, which the key forbids: so MongoDB says which it was."""
    if write.replaces is None:
        return InsertOne(write.document)
    return ReplaceOne({"_id": write.id, "version": write.replaces}, write.document, upsert=True)
