"""Patient/[id]/$everything: the record of one patient. https://hl7.org/fhir/R4/patient-operation-everything.html

Matches are the patient's compartment, page by page; what a page refers to outside of it (practitioners,
organizations, medications) comes with that page. Resources that belong to other patients never do.
"""

from __future__ import annotations

import re

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import dates
from fhirserver.fhir.bundles import bundle, entry
from fhirserver.fhir.outcome import gone, invalid, not_found
from fhirserver.interactions.across import page_across
from fhirserver.interactions.changes import new_id
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.links import page_url
from fhirserver.operations.parameters import given, once, taken, whole
from fhirserver.operations.registry import operation
from fhirserver.search.care_dates import days, within
from fhirserver.search.compartments import types_in
from fhirserver.store.resources import Document, stored
from fhirserver.store.union import find_across

PARAMETERS = ("start", "end", "_since", "_type", "_count", "_cursor")
_reference = re.compile(rb'"reference":"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})["/]')


@operation(
    "everything",
    "Patient",
    instance=True,
    definition="http://hl7.org/fhir/OperationDefinition/Patient-everything",
)
async def everything(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """A searchset with the patient and all that is in the compartment, ordered by type and id."""
    authorize(ctx.caller, "everything", type_)
    reference = f"{type_}/{id_}"
    focus = await ctx.store.read(type_, id_)
    if focus is None:
        raise not_found(reference)
    if focus.deleted:
        raise gone(reference)
    taken_ = taken("$everything", given(ctx, request), PARAMETERS)
    values = {name: text for name in taken_ if (text := once(taken_, name)) is not None}
    count = min(whole(taken_, "_count", ctx.settings.max_count, 999_999_999), ctx.settings.max_count)
    wanted = _types(ctx, type_, values.get("_type"))
    filter_: Document = {"compartments": reference, "deleted": None}
    if "_since" in values:
        filter_["updated"] = {"$gte": dates.parse(values["_since"]).low}
    here = wanted.intersection(await ctx.store.types())
    asked = days(values.get("start"), values.get("end"))
    filters = {each: filter_ | within(each, asked) for each in here}
    page = await page_across(ctx, filters, count, values.get("_cursor"), reference)
    bodies = [version.body for version in page.versions]
    entries = [
        entry(f"{ctx.base_url}/{version.reference}", body, mode="match")
        for version, body in zip(page.versions, bodies, strict=True)
    ]
    if "_type" not in values:
        entries += await _referenced(ctx, type_, bodies)
    path = "/".join(request.path)
    links = [("self", page_url(ctx.base_url, path, values.items()))]
    if page.next is not None:
        kept = [pair for pair in values.items() if pair[0] != "_cursor"]
        links.append(("next", page_url(ctx.base_url, path, [*kept, ("_cursor", page.next)])))
    total = len(bodies) if page.whole else None
    body = bundle("searchset", entries, id_=new_id(), updated=ctx.now(), total=total, links=links)
    return Answer(status=200, body=body)


async def _referenced(ctx: Context, type_: str, bodies: list[bytes]) -> list[bytes]:
    """What the page refers to outside of every patient's compartment. The bytes are searched, not decoded."""
    inside = types_in(type_)
    wanted: dict[str, set[str]] = {}
    for body in bodies:
        for found_type, id_ in _reference.findall(body):
            name = found_type.decode()
            if name in ctx.definitions.resource_types and name not in inside:
                wanted.setdefault(name, set()).add(id_.decode())
    filters: dict[str, Document] = {
        name: {"_id": {"$in": sorted(ids)}, "deleted": None} for name, ids in wanted.items()
    }
    total = sum(map(len, wanted.values()))
    found = await find_across(ctx.store, filters, total) if total else []
    versions = [stored(name, document) for name, document in found]
    return [entry(f"{ctx.base_url}/{v.reference}", v.body, mode="include") for v in versions]


def _types(ctx: Context, type_: str, text: str | None) -> frozenset[str]:
    possible = frozenset(types_in(type_)) | {type_}
    if text is None:
        return possible
    asked = frozenset(text.split(","))
    unknown = asked - ctx.definitions.resource_types
    if unknown:
        raise invalid(f"_type: {', '.join(sorted(unknown))[:200]} is not a resource type", "_type")
    return possible & asked
