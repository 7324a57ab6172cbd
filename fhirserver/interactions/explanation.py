"""Why a search found what it found and took what it took, for `$explain` and for `_explain=true`.

The search runs on a store that is traced; then each command that it gave is explained by the database, which runs it
again. What is only counted is run once, by its explanation. Nobody else pays for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fhirserver.access.policy import authorize_explanation
from fhirserver.context import Context
from fhirserver.search.explain import hints, plan, step, understood
from fhirserver.search.query import Query
from fhirserver.store.budget import Budget
from fhirserver.store.trace import Trace, explained, traced


def watched(ctx: Context) -> Context:
    """The context in which a search can be explained afterwards, for those who may see that."""
    authorize_explanation(ctx.caller)
    return replace(ctx, store=traced(ctx.store))


async def explanation(ctx: Context, queries: Sequence[Query]) -> dict[str, Any]:
    """Parameters: the criteria, what was ignored, each step in the order of the search, times and hints."""
    trace = ctx.store.trace or Trace()
    total = trace.milliseconds()
    async with Budget(ctx.store):
        plans = [(each.type, plan(await explained(ctx.store, each))) for each in trace.asked]
    steps = [
        step((each.type, each.command), each.milliseconds, each.returned, found)
        for each, (_type, found) in zip(trace.asked, plans, strict=True)
    ]
    database = sum(each.milliseconds for each in trace.asked)
    times = {"total": total, "parse": trace.parsing, "database": database, "build": total - trace.parsing - database}
    time = {"name": "milliseconds", "part": [_milliseconds(name, each) for name, each in times.items()]}
    parts = [*understood(queries), *steps, time, *hints(queries, plans)]
    return {"resourceType": "Parameters", "parameter": parts}


def _milliseconds(name: str, value: float) -> dict[str, object]:
    return {"name": name, "valueDecimal": round(value, 3)}
