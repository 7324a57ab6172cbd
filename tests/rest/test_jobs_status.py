"""`[base]/_jobs`: how far what was begun is, what came of it, and how to end it early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from brief import briefly

from fhirserver.assembly import contexts
from fhirserver.bulk.jobs import JOBS, Report, job
from fhirserver.context import OPERATOR, Context
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.fhir.outcome import invalid
from fhirserver.store import jobs
from fhirserver.store.jobs import Job, Lease, Progress
from fhirserver.validation.validate import Validator

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served

RECEIPT: dict[str, Any] = {
    "done": 3,
    "bytes": 2**40,
    "share": 0.5,
    "complete": True,
    "until": datetime(2026, 11, 25, tzinfo=UTC),
    "missing": None,
    "nothing": "",
    "type": [{"name": "Patient", "count": 2}, {"name": "Observation", "count": 1}],
    "note": ["one", "two"],
}


@pytest.fixture(scope="module", autouse=True)
def registry() -> Iterator[None]:
    """Two kinds of jobs, for this module."""

    @job("tell")
    async def tell(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
        return RECEIPT

    @job("refuse")
    async def refuse(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
        raise invalid("the file has no end")

    yield
    del JOBS["tell"], JOBS["refuse"]


@pytest.fixture(scope="module")
def server(serve: Serve) -> Served:
    return serve()


@pytest.fixture(scope="module")
def fhir(server: Served) -> Fhir:
    return server.client


def beside(server: Served, deed: Callable[[Context], Awaitable[Any]]) -> Any:
    """What happens in the same database, not by HTTP."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Context]:
        async with contexts(server.settings) as found:
            yield replace(found[""], caller=OPERATOR)

    async def inside() -> Any:
        async with opened() as ctx:
            return await deed(ctx)

    return briefly(inside())


def enqueued(server: Served, kind: str, key: str) -> str:
    asked: Job = beside(server, lambda ctx: ctx.enqueue(kind, key, {}))
    return asked.id


def test_from_the_queue_to_the_receipt(server: Served, fhir: Fhir) -> None:
    id_ = enqueued(server, "tell", "a")
    waiting = fhir.get(f"_jobs/{id_}")
    assert (waiting.status_code, waiting.headers["x-progress"], waiting.content) == (202, "queued", b"")
    assert int(waiting.headers["retry-after"]) > 0

    async def begin(ctx: Context) -> None:
        await jobs.claim(ctx.store, id_, Lease("w", 0), ["tell"])
        await jobs.beat(ctx.store, id_, Lease("w", 0), Progress(1200, 5000), None)

    beside(server, begin)
    running = fhir.get(f"_jobs/{id_}")
    assert (running.status_code, running.headers["x-progress"]) == (202, "1,200 of 5,000 done")
    server.work()
    done = fhir.get(f"_jobs/{id_}")
    assert done.status_code == 200
    said = {part["name"]: part for part in done.json()["parameter"]}
    assert said["status"]["valueUri"] == f"{fhir.base_url}/_jobs/{id_}"
    assert (said["kind"]["valueCode"], said["state"]["valueCode"]) == ("tell", "done")
    assert said["receipt"]["part"] == [
        {"name": "done", "valueInteger": 3},
        {"name": "bytes", "valueDecimal": 2**40},
        {"name": "share", "valueDecimal": 0.5},
        {"name": "complete", "valueBoolean": True},
        {"name": "until", "valueInstant": "2026-11-25T00:00:00.000Z"},
        {"name": "type", "part": [{"name": "name", "valueString": "Patient"}, {"name": "count", "valueInteger": 2}]},
        {
            "name": "type",
            "part": [{"name": "name", "valueString": "Observation"}, {"name": "count", "valueInteger": 1}],
        },
        {"name": "note", "valueString": "one"},
        {"name": "note", "valueString": "two"},
    ]
    assert Validator(r4(), required_codes()).issues(json.resource(done.content)) == []


def test_a_job_that_failed_says_why(server: Served, fhir: Fhir) -> None:
    id_ = enqueued(server, "refuse", "b")
    server.work()
    answer = fhir.get(f"_jobs/{id_}")
    assert answer.status_code == 500  # https://hl7.org/fhir/R4/async.html
    (issue,) = answer.json()["issue"]
    assert issue["diagnostics"] == f"_jobs/{id_} failed: the file has no end"
    listed = {part["name"]: part for part in fhir.get("_jobs").json()["parameter"][0]["part"]}
    assert listed["reason"]["valueString"] == "the file has no end"


def test_a_cancelled_job_is_not_done(server: Served, fhir: Fhir) -> None:
    id_ = enqueued(server, "tell", "c")
    cancelled = fhir.delete(f"_jobs/{id_}")
    assert cancelled.status_code == 202
    assert "is cancelled" in cancelled.json()["issue"][0]["diagnostics"]
    assert server.work() == []
    after = fhir.get(f"_jobs/{id_}")
    assert (after.status_code, "was cancelled" in after.text) == (404, True)
    assert fhir.delete(f"_jobs/{id_}").status_code == 202


def test_what_is_over_cannot_be_cancelled(server: Served, fhir: Fhir) -> None:
    id_ = enqueued(server, "tell", "d")
    server.work()
    assert "is done" in fhir.delete(f"_jobs/{id_}").json()["issue"][0]["diagnostics"]
    assert fhir.get(f"_jobs/{id_}").status_code == 200


def test_the_newest_are_listed_first(server: Served, fhir: Fhir) -> None:
    ids = [enqueued(server, "tell", key) for key in ("e", "f")]
    listed = json.resource(fhir.get("_jobs").content)
    assert [job["part"][0]["valueUri"].rpartition("/")[2] for job in listed["parameter"]][:2] == ids[::-1]
    assert Validator(r4(), required_codes()).issues(listed) == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("id_", ["nothing", "tell-0", "%00", "x" * 5000])
def test_an_unknown_job_is_not_found(fhir: Fhir, method: str, id_: str) -> None:
    answer = fhir.request(method, f"_jobs/{id_}")
    assert answer.status_code == 404
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "_jobs", 405), ("DELETE", "_jobs", 405), ("PUT", "_jobs/a", 405), ("GET", "_jobs/a/b", 404)],
)
def test_what_cannot_be_asked(fhir: Fhir, method: str, path: str, status: int) -> None:
    body = {"resourceType": "Parameters"} if method in ("POST", "PUT") else None
    assert fhir.request(method, path, **({"json": body} if body else {})).status_code == status


@pytest.mark.parametrize(("method", "path"), [("GET", "_jobs"), ("GET", "_jobs/a"), ("DELETE", "_jobs/a")])
def test_nobody_may_look_or_cancel(serve: Serve, method: str, path: str) -> None:
    assert serve(open=False).client.request(method, path).status_code == 401
