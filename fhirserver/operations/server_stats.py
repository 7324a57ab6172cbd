"""[base]/$stats: what the server holds, for those who run it. Not an operation of HL7's.

GET $stats?_type=Patient,Observation
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context, Described, Parameter
from fhirserver.fhir import json
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.operations.parameters import given, taken
from fhirserver.operations.registry import operation
from fhirserver.store.budget import Budget
from fhirserver.store.sizes import Held, held, whole

PARAMETERS = ("_type",)
COUNTS = (
    ("resources", "integer"),
    ("deleted", "integer"),
    ("versions", "integer"),
    ("bytes", "decimal"),
    ("indexBytes", "decimal"),
)
DATABASE = (("database", "decimal"), ("databaseIndexes", "decimal"))
DEFINITION = Described(
    "healthmate-stats",
    "What the server holds",
    "Resources, deleted ones and earlier versions by type, and their bytes on disk, as the database keeps book of them."
    " After a crash of the database, and while chunks of a sharded one move, its counts may be off for a while.",
    (
        Parameter("_type", "code", "Which types, one or several by commas; all where not said.", max="*"),
        Parameter("total", None, "The sums, and the bytes of the whole database.", 1, "1", "out", (*COUNTS, *DATABASE)),
        Parameter("type", None, "One type, the largest first.", 0, "*", "out", (("name", "code"), *COUNTS)),
    ),
)
Part = dict[str, Any]


@operation("stats", "", instance=False, definition=DEFINITION)
async def server_stats(ctx: Context, request: Request, _type: str, _: None) -> Answer:
    """Parameters: `total`, then a `type` each for those that have ever been written, the largest first."""
    authorize(ctx.caller, "statistics", None)
    values = taken("$stats", given(ctx, request), PARAMETERS)
    asked = frozenset(name for text in values.get("_type", ()) for name in str(text).split(","))
    if unknown := asked - ctx.definitions.resource_types:
        raise invalid(f"_type: {', '.join(sorted(unknown))[:200]} is not a resource type", "_type")
    async with Budget(ctx.store):
        here = ctx.definitions.resource_types.intersection(await ctx.store.types())
        found = await held(ctx.store, here & asked if asked else here)
        data, indexes = await whole(ctx.store)
    largest = sorted(found.items(), key=lambda pair: (-pair[1].bytes - pair[1].index_bytes, pair[0]))
    types = [{"name": "type", "part": [{"name": "name", "valueCode": name}, *_parts(each)]} for name, each in largest]
    total = {
        "name": "total",
        "part": [*_parts(_sum(found.values())), _bytes("database", data), _bytes("databaseIndexes", indexes)],
    }
    return Answer(status=200, body=json.encode({"resourceType": "Parameters", "parameter": [total, *types]}))


def _sum(held_: Iterable[Held]) -> Held:
    return Held(*map(sum, zip(*held_, strict=True))) if (held_ := list(held_)) else Held(0, 0, 0, 0, 0)


def _parts(size: Held) -> list[Part]:
    counts = [{"name": name, "valueInteger": getattr(size, name)} for name in ("resources", "deleted", "versions")]
    return [*counts, _bytes("bytes", size.bytes), _bytes("indexBytes", size.index_bytes)]


def _bytes(name: str, number: int) -> Part:
    return {"name": name, "valueDecimal": Decimal(number)}  # more than an integer of FHIR may hold
