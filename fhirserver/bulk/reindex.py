"""The job that indexes the resources of a type, or of all types, again. docs/adr/0005-custom-search-parameters.md"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirserver.bulk.jobs import Report, job
from fhirserver.context import Context
from fhirserver.interactions.reindex import reindex
from fhirserver.search.live import KIND
from fhirserver.store.jobs import Job

COUNTS = ("asked", "done", "overtaken", "failed", "documents", "current")


@job(KIND)
async def run(ctx: Context, job: Job, report: Report) -> Mapping[str, Any]:
    """`type`: all types where it is not said. `whole`: every resource, not only those that lack values."""
    whole = bool(job.arguments.get("whole"))
    if "type" in job.arguments:
        receipt = await reindex(ctx, job.arguments["type"], report, whole=whole, cursor=job.cursor)
        return receipt.json()
    return await _all(ctx, job, report, whole)


async def _all(ctx: Context, job: Job, report: Report, whole: bool) -> Mapping[str, Any]:
    """Type by type; the cursor holds the receipts of those that are finished."""
    cursor = job.cursor or {"finished": [], "within": None}
    finished: list[dict[str, Any]] = cursor["finished"]
    within = cursor["within"]
    for type_ in await ctx.store.types():
        if any(each["type"] == type_ for each in finished):
            continue
        before = sum(each["done"] for each in finished)

        async def part(done: int, total: int | None = None, cursor: Any = None, before: int = before) -> None:
            await report(before + done, None, {"finished": finished, "within": cursor})

        receipt = await reindex(ctx, type_, part, whole=whole, cursor=within)
        within = None
        finished.append(receipt.json())
        await report(before + receipt.done, None, {"finished": finished, "within": None})
    return {**{name: sum(each[name] for each in finished) for name in COUNTS}, "types": finished}
