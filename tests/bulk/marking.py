"""`healthmate` with a job of its own, as a later release brings them: it leaves marks, one after the other.

python -m tests.bulk.marking is not possible, since tests are no package: run the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fhirserver.bulk.jobs import Report, job
from fhirserver.cli import main
from fhirserver.context import Context
from fhirserver.store.jobs import Job

STEPS = 10


@job("mark")
async def mark(ctx: Context, at: Job, report: Report) -> Mapping[str, Any]:
    """Ten marks, each an upsert that counts how often; reported after each."""
    pause = at.arguments.get("pause", 0)
    for step in range(at.cursor or 0, STEPS):
        await ctx.store["marks"].update_one({"_id": f"{at.key}-{step}"}, {"$inc": {"times": 1}}, upsert=True)
        await asyncio.sleep(pause)
        await report(step + 1, STEPS, step + 1)
    return {"asked": STEPS, "done": await ctx.store["marks"].count_documents({"_id": {"$regex": f"^{at.key}-"}})}


if __name__ == "__main__":
    main()
