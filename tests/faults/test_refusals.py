"""What the database cannot do is said in words a client can act on, and never with health records in the log."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from fhirserver.store.commit import Write, write_together
from fhirserver.store.faults import of_bulk_write, refusal
from fhirserver.store.mirror import encoded


def transaction(resources: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [{"resource": r, "request": {"method": "POST", "url": r["resourceType"]}} for r in resources]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def test_a_transaction_of_five_thousand_fits_the_embedded_database(fhir: Any) -> None:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    pulse = {"resourceType": "Observation", "status": "final", "code": code, "valueQuantity": {"value": 61}}
    answer = fhir.post("", transaction([pulse | {"subject": {"reference": f"Patient/{i}"}} for i in range(5000)]))
    assert answer.status_code == 200, answer.text[:500]
    assert fhir.bundle("Observation?_summary=count")["total"] == 5000


@pytest.mark.parametrize(("code", "status"), [(388, 413), (14031, 507), (10334, 413)])
def test_a_state_of_the_database_is_not_a_bug(code: int, status: int) -> None:
    outcome = refusal(OperationFailure("as MongoDB says it", code))
    assert outcome is not None
    assert outcome.status == status


@pytest.mark.parametrize(
    "details",
    [
        {"writeErrors": [{"code": 50, "errmsg": "operation exceeded time limit"}]},
        {"writeErrors": [], "writeConcernErrors": [{"code": 64, "errmsg": "timed out", "errInfo": {"wtimeout": True}}]},
    ],
)
def test_many_writes_that_are_not_done_in_time_may_be_tried_again(details: dict[str, Any]) -> None:
    outcome = refusal(of_bulk_write(BulkWriteError(details)))
    assert outcome is not None
    assert outcome.status == 503


@pytest.mark.parametrize(
    ("error", "unsure"),
    [
        (NetworkTimeout("timed out"), True),
        (AutoReconnect("connection closed"), True),
        (WriteConcernError("the primary steps down", 189), True),
        (ExecutionTimeout("timed out", 50, {"errorLabels": ["UnknownTransactionCommitResult"]}), True),
        (ServerSelectionTimeoutError("nobody there"), False),
        (WaitQueueTimeoutError("no connection is free"), False),
        (OperationFailure("conflict", 112, {"errorLabels": ["TransientTransactionError"]}), False),
    ],
)
def test_a_write_that_may_have_happened_is_not_called_undone(error: PyMongoError, unsure: bool) -> None:
    writing, reading = refusal(error, writing=True), refusal(error)
    assert writing is not None
    assert reading is not None
    assert (writing.status, reading.status) == (503, 503)
    assert ("may have stored" in str(writing), "may have stored" in str(reading)) == (unsure, False)


def test_of_writes_that_go_together_a_refused_one_is_not_the_reason_of_all() -> None:
    """Nor is a step-down of the primary a bug: of what was not refused nobody knows whether it stays."""

    class Stepping:
        async def bulk_write(self, operations: Any, *, ordered: bool) -> None:
            raise BulkWriteError(
                {
                    "writeErrors": [{"index": 1, "code": 11000, "errmsg": "duplicate key"}],
                    "writeConcernErrors": [{"code": 11602, "errmsg": "operation was interrupted"}],
                }
            )

    writes = [Write(n, encoded({"_id": n})) for n in range(3)]
    written = asyncio.run(write_together(Stepping(), writes))  # type: ignore[arg-type]
    assert written[1] is False
    for each in (written[0], written[2]):
        outcome = refusal(each, writing=True) if isinstance(each, OperationFailure) else None
        assert outcome is not None
        assert outcome.status == 503


def test_a_batch_tells_what_was_written_whatever_the_database_says_to_the_rest(serve: Any, mongodb: str) -> None:
    served = serve()
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongodb) as client:
        client[served.settings.database].create_collection("Basic", validator={"never": True})
    types = ("Patient", "Basic", "Patient")
    entries = [{"resource": {"resourceType": t}, "request": {"method": "POST", "url": t}} for t in types]
    entries[1]["resource"] |= {"code": {"text": "x"}}
    answer = served.client.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert answer.status_code == 200
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["201", "500", "201"]


def test_who_is_overtaken_until_his_time_is_over_is_told_so(serve: Any, mongodb: str) -> None:
    """Another transaction holds what this one wants: a conflict, and neither a slow search nor a silent database."""
    served = serve(request_timeout=0.8)
    condition = "identifier=urn:x|1"
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongodb) as client, client.start_session() as session, session.start_transaction():
        claims = client[served.settings.database]["claims"]
        claims.update_one({"_id": f"Patient?{condition}"}, {"$inc": {"count": 1}}, upsert=True, session=session)
        answer = served.client.post("Patient", {"resourceType": "Patient"}, headers={"If-None-Exist": condition})
        session.abort_transaction()
    assert answer.status_code == 409, answer.text
    assert "being changed by others" in answer.text


def test_a_write_that_the_database_rejects_leaves_no_record_in_the_log(
    serve: Any, mongodb: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = serve().settings
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongodb) as client:
        client[settings.database].create_collection("Basic", validator={"never": True})
    basic = {"resourceType": "Basic", "code": {"text": "Schizophrenia"}}
    answer = httpx.post(
        settings.base_url, json=transaction([basic, basic]), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 500
    assert "Document failed validation" in caplog.text
    assert "Schizophrenia" not in caplog.text + answer.text
