"""What the server does in the background, and how far it is: https://hl7.org/fhir/R4/async.html

`[base]/_jobs` lists the newest; `[base]/_jobs/[id]` is the status of one, and DELETE cancels it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from fhirserver.access.policy import authorize_jobs
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.outcome import Issue, Outcome, not_found, operation_outcome
from fhirserver.interactions.exchange import Answer
from fhirserver.store import jobs
from fhirserver.store.jobs import Job

LISTED = 100
RETRY_SECONDS = 5
INTEGER = 2**31
Part = dict[str, Any]


async def listing(ctx: Context) -> Answer:
    authorize_jobs(ctx.caller)
    found = await jobs.recent(ctx.store, LISTED)
    return _parameters({"name": "job", "part": list(_described(ctx, job))} for job in found)


async def status(ctx: Context, id_: str) -> Answer:
    """202 while it lasts, the receipt at the end, the reason where there is none."""
    authorize_jobs(ctx.caller)
    job = await jobs.read(ctx.store, id_)
    if job is None:
        raise not_found(f"_jobs/{id_[:80]}")
    if job.state == "cancelled":
        raise Outcome(404, "not-found", f"_jobs/{id_} was cancelled; {progress(job)}")
    if job.state == "failed":
        raise Outcome(500, "processing", f"_jobs/{id_} failed: {job.reason}")
    if job.state == "done":
        return _parameters(_described(ctx, job))
    headers = (("x-progress", progress(job)), ("retry-after", str(RETRY_SECONDS)))
    return Answer(status=202, headers=headers)


async def cancel(ctx: Context, id_: str) -> Answer:
    """What it did until then stays done."""
    authorize_jobs(ctx.caller)
    job = await jobs.cancel(ctx.store, id_, ctx.settings.job_retention_days)
    if job is None:
        raise not_found(f"_jobs/{id_[:80]}")
    said = f"_jobs/{id_} is {job.state}; {progress(job)}"
    return Answer(status=202, body=json.encode(operation_outcome([Issue("information", "informational", said)])))


def progress(job: Job) -> str:
    """`queued`, or `1,200 of 5,000 done`"""
    if job.state == "queued" and not job.progress.done:
        return "queued"
    of = "" if job.progress.total is None else f" of {job.progress.total:,}"
    return f"{job.progress.done:,}{of} done"


def _parameters(parts: Iterator[Part]) -> Answer:
    found = list(parts)
    resource = {"resourceType": "Parameters"} | ({"parameter": found} if found else {})
    return Answer(status=200, body=json.encode(resource))


def _described(ctx: Context, job: Job) -> Iterator[Part]:
    yield {"name": "status", "valueUri": f"{ctx.base_url}/_jobs/{job.id}"}
    yield {"name": "kind", "valueCode": job.kind}
    yield {"name": "state", "valueCode": job.state}
    yield {"name": "progress", "valueString": progress(job)}
    yield {"name": "created", "valueInstant": instant(job.created)}
    yield {"name": "updated", "valueInstant": instant(job.updated)}
    if job.reason is not None:
        yield {"name": "reason", "valueString": job.reason}
    if job.receipt:
        yield {"name": "receipt", "part": list(_parts(job.receipt))}


def _parts(receipt: Mapping[str, Any]) -> Iterator[Part]:
    """Numbers, texts, times, lists and mappings of a receipt; what is empty is left out."""
    for name, value in receipt.items():
        for each in value if isinstance(value, list) else [value]:
            if each not in (None, "", {}):
                yield {"name": name} | _value(each)


def _value(value: Any) -> Part:
    match value:
        case Mapping():
            return {"part": list(_parts(value))}
        case bool():
            return {"valueBoolean": value}
        case int():  # one of MongoDB's own kinds, maybe
            return {"valueInteger" if -INTEGER <= value < INTEGER else "valueDecimal": int(value)}
        case float():
            return {"valueDecimal": value}
        case datetime():
            return {"valueInstant": instant(value)}
    return {"valueString": str(value)}
