"""Type/$explain?…: how a search is understood, what the database does for it, and what would help.

The search is run as it would be, then each command that it gave is explained. Nobody else pays for it.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from fhirserver.access.policy import authorize, authorize_explanation
from fhirserver.context import Context, Described, Parameter
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.search import parsed, searched
from fhirserver.operations.parameters import given
from fhirserver.operations.registry import operation
from fhirserver.search.explain import hints, plan, step, understood
from fhirserver.store.hops import one_budget
from fhirserver.store.trace import explained, traced

STEP = (
    ("type", "string"),
    ("command", "string"),
    ("returned", "integer"),
    ("milliseconds", "decimal"),
    ("plan", "string"),
    ("keysExamined", "integer"),
    ("documentsExamined", "integer"),
)
TIMES = (("total", "decimal"), ("parse", "decimal"), ("database", "decimal"), ("build", "decimal"))
DEFINITION = Described(
    "healthmate-explain",
    "Explain a search",
    "How a search of this type is understood, what the database does for it, and what would help. It takes the"
    " parameters of the search, runs it, and has each command that it gave to the database explained.",
    (
        Parameter(
            "criterion", None, "As it was understood.", 0, "*", "out", (("parameter", "string"), ("value", "string"))
        ),
        Parameter("ignored", None, "What was ignored, and why.", 0, "*", "out", (("reason", "string"),)),
        Parameter("step", None, "One command and how it was answered.", 0, "*", "out", STEP),
        Parameter("milliseconds", None, "The times of the whole and of its stages.", 1, "1", "out", TIMES),
        Parameter("hint", "string", "What would make the search faster.", 0, "*", "out"),
    ),
)


@operation("explain", *sorted(r4().resource_types), instance=False, definition=DEFINITION)
async def explain(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """Parameters: the criteria, what was ignored, each step in the order of the search, times and hints."""
    authorize(ctx.caller, "search", type_)
    authorize_explanation(ctx.caller)
    pairs = []
    for name, value in given(ctx, request):
        if not isinstance(value, str):
            raise invalid(f"{name[:80]}: a value as in a URL is expected", name[:80])
        pairs.append((name, value))
    ctx = replace(ctx, store=traced(ctx.store))
    started = perf_counter()
    query = parsed(ctx, request, type_, tuple(pairs))
    parsing = (perf_counter() - started) * 1000
    await searched(ctx, request, (query,))
    total = (perf_counter() - started) * 1000
    asked = ctx.store.trace or []
    async with one_budget(ctx.store):
        plans = [(each.type, plan(await explained(ctx.store, each))) for each in asked]
    steps = [
        step((each.type, each.command), each.milliseconds, each.returned, found)
        for each, (_type, found) in zip(asked, plans, strict=True)
    ]
    database = sum(each.milliseconds for each in asked)
    times = {"total": total, "parse": parsing, "database": database, "build": total - parsing - database}
    time = {"name": "milliseconds", "part": [_milliseconds(name, each) for name, each in times.items()]}
    parts = [*understood(query), *steps, time, *hints(query, plans)]
    return Answer(status=200, body=json.encode({"resourceType": "Parameters", "parameter": parts}))


def _milliseconds(name: str, value: float) -> dict[str, object]:
    return {"name": name, "valueDecimal": round(value, 3)}
