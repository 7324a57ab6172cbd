"""What is on a List. https://hl7.org/fhir/R4/list.html, https://hl7.org/fhir/R4/search.html#list"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import invalid, too_costly
from fhirserver.interactions.hierarchies import Far
from fhirserver.search.criteria import Clause

MOST = 20  # lists at once


async def listed(ctx: Context, far: Far, lists: Sequence[str], type_: str) -> list[str]:
    """The ids of the resources of a type that are on any of these lists. Raises a 400 Outcome for unknown ones."""
    if len(lists) > MOST:
        raise too_costly(f"at most {MOST} lists are looked into")
    authorize(ctx.caller, "search", "List")
    named = Clause(ctx.registry["List"]["_id"], None, tuple(lists))
    found = await ctx.store.find_stored("List", await far("List", named), MOST)
    if missing := set(lists).difference(each.id for each in found):
        raise invalid(f"List/{min(missing)} is not known here", code="not-found")
    own = ctx.base_url.rstrip("/") + "/"
    return sorted({id_ for each in found for id_ in _members(json.decode(each.body), type_, own)})


def _members(resource: dict[str, Any], type_: str, own: str) -> Iterator[str]:
    """An entry that is marked as deleted tells that something was on the list once."""
    for entry in resource.get("entry", ()):
        reference = entry.get("item", {}).get("reference", "").removeprefix(own).partition("/_history/")[0]
        kind, slash, id_ = reference.partition("/")
        if kind == type_ and slash and entry.get("deleted") is not True:
            yield id_
