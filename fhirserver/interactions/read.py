"""read, vread and history. https://hl7.org/fhir/R4/http.html#read, #vread, #history"""

from __future__ import annotations

from datetime import UTC

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.outcome import gone
from fhirserver.interactions.exchange import Answer, Request, versions_of
from fhirserver.interactions.sight import current, current_all, seen
from fhirserver.interactions.unmade import absent
from fhirserver.store.versions import Stored


async def read(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """200, 304 when the client has it already, 404 or 410."""
    authorize(ctx.caller, "read", type_)
    found = await current(ctx, type_, id_)
    if found is None:
        raise await absent(ctx, type_, id_, f"{type_}/{id_}")
    if found.deleted:
        raise gone(found.reference)
    return Answer(status=304 if _fresh(found, request) else 200, body=found.body, stored=found)


async def vread(ctx: Context, request: Request, type_: str, id_: str, version: str) -> Answer:
    authorize(ctx.caller, "vread", type_)
    found = (await current_all(ctx, type_, [id_], "r")).get(id_)
    if found is not None and version != str(found.version):
        earlier = [(id_, int(version))] if version.isdecimal() and len(version) < 10 else []
        found = next(iter(await seen(ctx, await ctx.store.past(type_, earlier), "r")), None)
    if found is None:
        raise await absent(ctx, type_, id_, f"{type_}/{id_}/_history/{version}")
    ctx.touched(found.reference, found.compartments)
    if found.deleted:
        raise gone(found.reference)
    return Answer(status=304 if _fresh(found, request) else 200, body=found.body, stored=found)


def _fresh(found: Stored, request: Request) -> bool:
    """https://hl7.org/fhir/R4/http.html#cread; an entity tag, when sent, decides alone (RFC 9110 §13.2.2)."""
    if request.if_none_match is not None:
        return not versions_of(request.if_none_match, "If-None-Match").isdisjoint({str(found.version), "*"})
    if request.if_modified_since is not None:
        return found.updated.replace(microsecond=0) <= request.if_modified_since.astimezone(UTC)
    return False
