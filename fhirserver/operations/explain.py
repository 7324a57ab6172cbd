"""$explain: how a search is understood, what the database does for it, and what would help.

`Observation/$explain?…` explains `Observation?…`, and `$explain?_type=…&…` the search of several types.
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.access.policy import authorize
from fhirserver.context import Context, Described, Parameter
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.explanation import explanation, watched
from fhirserver.interactions.search import existing, of_type, of_types, searched
from fhirserver.operations.parameters import given
from fhirserver.operations.registry import operation

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
    "How a search of this type, or of several types, is understood, what the database does for it, and what would help."
    " It takes the parameters of the search, runs it, and has each command that it gave to the database explained.",
    (
        Parameter(
            "criterion", None, "As it was understood.", 0, "*", "out", (("parameter", "string"), ("value", "string"))
        ),
        Parameter("query", None, "The criteria in one of several types.", 0, "*", "out", (("type", "string"),)),
        Parameter("ignored", None, "What was ignored, and why.", 0, "*", "out", (("reason", "string"),)),
        Parameter("step", None, "One command and how it was answered.", 0, "*", "out", STEP),
        Parameter("milliseconds", None, "The times of the whole and of its stages.", 1, "1", "out", TIMES),
        Parameter("hint", "string", "What would make the search faster.", 0, "*", "out"),
    ),
)


@operation("explain", "", *sorted(r4().resource_types), instance=False, definition=DEFINITION)
async def explain(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """The explanation of a search, without what it finds."""
    authorize(ctx.caller, "search", type_ or None)
    ctx = watched(ctx)
    pairs = []
    for name, value in given(ctx, request):
        if not isinstance(value, str):
            raise invalid(f"{name[:80]}: a value as in a URL is expected", name[:80])
        if name != "_explain":
            pairs.append((name, value))
    request = replace(request, path=(type_,) if type_ else (), pairs=tuple(pairs))
    queries = of_type(ctx, request, type_) if type_ else of_types(ctx, request)
    await searched(ctx, request, queries)
    return Answer(status=200, body=json.encode(await explanation(ctx, await existing(ctx, queries) or queries[:1])))
