"""The job that indexes the resources of a type. docs/adr/0005-custom-search-parameters.md"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirserver.bulk.jobs import Report, job
from fhirserver.context import Context
from fhirserver.interactions.reindex import reindex
from fhirserver.search.live import KIND
from fhirserver.store.jobs import Job


@job(KIND)
async def run(ctx: Context, job: Job, report: Report) -> Mapping[str, Any]:
    """`whole`: every resource, not only those that lack values of the newest search parameters."""
    whole = bool(job.arguments.get("whole"))
    receipt = await reindex(ctx, job.arguments["type"], report, whole=whole, cursor=job.cursor)
    return receipt.json()
