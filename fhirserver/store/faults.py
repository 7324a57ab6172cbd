"""What the database could not do, as something a client can act on. Anything else is a bug and stays one.

https://www.mongodb.com/docs/manual/reference/error-codes/
"""

from __future__ import annotations

from bson.errors import InvalidDocument
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from fhirserver.fhir.outcome import Outcome

TOO_LARGE = {10334, 17419, 17420}
DISK_FULL = {14031}
CACHE_FULL = {388}  # TransactionTooLargeForCache
# of time, locks, conflicts, interruptions and elections: https://www.mongodb.com/docs/manual/reference/error-codes/
PASSING = {24, 50, 91, 112, 189, 262, 10107, 11600, 11601, 11602, 13435, 13436}
RETRY = (("retry-after", "1"),)
ABORTED = "TransientTransactionError"
UNKNOWN = "UnknownTransactionCommitResult"
NEVER_SENT = (ServerSelectionTimeoutError, WaitQueueTimeoutError)


def refusal(error: Exception, *, writing: bool = False) -> Outcome | None:
    """None for what is not the database's state but our mistake. `writing`: it may have been done all the same."""
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
        or isinstance(error, (ConnectionFailure, ExecutionTimeout, WriteConcernError))
        or error.has_error_label(ABORTED)
        or (isinstance(error, InvalidOperation) and "closed" in str(error))
    ):
        if writing and not _undone(error):
            said = (
                "the database did not answer in time, and may have stored this all the same: look before you try again"
            )
            return Outcome(503, "transient", said, headers=RETRY)
        return Outcome(503, "transient", "the database does not answer in time; try again", headers=RETRY)
    return None


def _undone(error: PyMongoError) -> bool:
    """Whether nothing can have come of a write that met this error."""
    return isinstance(error, NEVER_SENT) or (error.has_error_label(ABORTED) and not error.has_error_label(UNKNOWN))


def overtaken(error: PyMongoError | Outcome) -> bool:
    """Whether a transaction's time ran out, and nothing was committed, while the database answered."""
    cause = error.__cause__
    if isinstance(error, Outcome):  # a search within it
        return isinstance(cause, PyMongoError) and cause.timeout
    busy = isinstance(error, ExecutionTimeout) and not isinstance(cause, ConnectionFailure)
    return busy and not error.has_error_label(UNKNOWN)


def of_bulk_write(error: BulkWriteError) -> OperationFailure:
    """Its first cause, without the documents that the driver's error quotes: they are health records."""
    refused, unsure = (error.details.get(kind) or [] for kind in ("writeErrors", "writeConcernErrors"))
    labels = {"errorLabels": error.details.get("errorLabels", [])}
    for cause in refused:
        kind = ExecutionTimeout if error.timeout else OperationFailure
        return kind(cause["errmsg"], cause["code"], labels)
    for cause in unsure:
        return WriteConcernError(cause["errmsg"], cause["code"], labels)
    return error


def of_the_document(code: int) -> bool:
    """Whether a write was refused for what was to be written, and not for how it is with the database."""
    return code not in DISK_FULL | PASSING
