"""What the database cannot do is said in words a client can act on, and never with health records in the log."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from pymongo.errors import BulkWriteError, OperationFailure

from fhirserver.store.faults import of_bulk_write, refusal


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
