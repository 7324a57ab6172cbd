"""$reindex: the index values of what is stored, computed again: of one resource at once, else by a job.

docs/adr/0005-custom-search-parameters.md; asynchronous: https://hl7.org/fhir/R4/async.html
"""

from __future__ import annotations

from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context, Described, Parameter
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Issue, Outcome, operation_outcome
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.reindex import again
from fhirserver.interactions.write import existing
from fhirserver.operations.parameters import given, once, taken
from fhirserver.operations.registry import operation
from fhirserver.search.live import KIND

TYPES = sorted(r4().resource_types)
DEFINITION = Described(
    "healthmate-reindex",
    "Index again",
    "Computes the index values, by which a search finds, of what is stored again. Of one resource this is done at once,"
    " and what changed is answered. Of a type, or of everything, a job does it beside requests: the answer is 202, and"
    " Content-Location says where its progress and in the end its receipt are.",
    (
        Parameter(
            "url",
            "uri",
            "Of a type: the canonical URL of a search parameter that is defined here; only resources that may lack its"
            " values are indexed.",
        ),
        Parameter("resource", "Reference", "The resource that was indexed.", 0, "1", "out"),
        Parameter("changed", "code", "A search parameter of which it has other values now.", 0, "*", "out"),
    ),
    affects_state=True,
)


@operation("reindex", "", *TYPES, instance=False, definition=DEFINITION)
async def reindex(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """202 and where the job is."""
    _posted(request)
    authorize(ctx.caller, "reindex", type_ or None)
    url = once(taken("$reindex", given(ctx, request), ("url",) if type_ else ()), "url")
    if url is not None and all(known.url != url for known in ctx.registry[type_].values()):
        raise Outcome(404, "not-found", f"{url[:200]} is no search parameter of {type_} here", "url")
    # of a published one all may be out of date: a release can store its values in another form
    whole = url is None or all(row["url"] != url for row in ctx.live.rows)
    job = await ctx.enqueue(KIND, new_id(), {**({"type": type_} if type_ else {}), "whole": whole})
    where = f"{ctx.base_url}/_jobs/{job.id}"
    said = f"{type_ or 'everything'} is indexed again; {where} says how far it is"
    body = json.encode(operation_outcome([Issue("information", "informational", said)]))
    return Answer(status=202, body=body, headers=(("content-location", where),))


@operation("reindex", *TYPES, instance=True, definition=DEFINITION)
async def reindex_one(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """Parameters: the codes of which the resource has other values now."""
    _posted(request)
    authorize(ctx.caller, "reindex", type_)
    taken("$reindex", given(ctx, request), ())
    existing(await ctx.store.read(type_, id_), f"{type_}/{id_}")
    codes = await again(ctx, type_, id_)
    parameters: list[dict[str, Any]] = [
        {"name": "resource", "valueReference": {"reference": f"{type_}/{id_}"}},
        *({"name": "changed", "valueCode": code} for code in codes),
    ]
    return Answer(status=200, body=json.encode({"resourceType": "Parameters", "parameter": parameters}))


def _posted(request: Request) -> None:
    """https://hl7.org/fhir/R4/operations.html#request: what changes something is never a GET."""
    if request.method != "POST":
        message = "$reindex changes what is stored, so it is a POST"
        raise Outcome(405, "not-supported", message, headers=(("allow", "POST"),))
