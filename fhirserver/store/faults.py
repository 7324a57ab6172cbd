"""What the database could not do, as something a client can act on. Anything else is a bug and stays one.

https://www.mongodb.com/docs/manual/reference/error-codes/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bson.errors import InvalidDocument
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)

from fhirserver.fhir.outcome import Outcome, too_costly

TOO_LARGE = {10334, 17419, 17420}
DISK_FULL = {14031}
CACHE_FULL = {388}  # TransactionTooLargeForCache
RETRY = (("retry-after", "1"),)


def refusal(error: Exception) -> Outcome | None:
    """None for what is not the database's state but our mistake."""
    code = error.code if isinstance(error, OperationFailure) else None
    if isinstance(error, DocumentTooLarge) or code in TOO_LARGE:
        return Outcome(413, "too-long", "a stored resource, with its index, is limited to 16 MB")
    if code in DISK_FULL:
        return Outcome(507, "no-store", "the disk of the database is full; nothing of this request was stored")
    if code in CACHE_FULL:
        return Outcome(413, "too-costly", "the transaction is too large for the database's cache; send it in parts")
    if isinstance(error, InvalidDocument):
        return Outcome(400, "structure", f"the resource cannot be stored: {error}")
    if isinstance(error, PyMongoError) and (
        error.timeout
        or isinstance(error, (ConnectionFailure, ExecutionTimeout))
        or error.has_error_label("TransientTransactionError")
        or (isinstance(error, InvalidOperation) and "closed" in str(error))
    ):
        return Outcome(503, "transient", "the database does not answer in time; try again", headers=RETRY)
    return None


def of_bulk_write(error: BulkWriteError) -> OperationFailure:
    """Its first cause, without the documents that the driver's error quotes: they are health records."""
    causes = [*error.details.get("writeErrors", ()), *error.details.get("writeConcernErrors", ())]
    if not causes:
        return error
    labels = {"errorLabels": error.details.get("errorLabels", [])}
    kind = ExecutionTimeout if error.timeout else OperationFailure
    return kind(causes[0]["errmsg"], causes[0]["code"], labels)


@contextmanager
def within_budget() -> Iterator[None]:
    """A search that the database is still busy with at the end of its time is too costly; a silent one is not."""
    try:
        yield
    except ExecutionTimeout as error:
        raise too_costly("the search takes too long; narrow it, by patient, code or date say") from error
