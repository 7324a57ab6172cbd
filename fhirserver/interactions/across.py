"""A page of what matches in several types, in the order of types and ids; a signed place is where the next one begins.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fhirserver.context import Context
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.links import signed, verified
from fhirserver.store.resources import Document, Stored, stored
from fhirserver.store.union import find_across


class Across(NamedTuple):
    """`next` is the cursor of the next page; `whole` says that there is neither one before nor one after."""

    versions: list[Stored]
    next: str | None
    whole: bool


async def page_across(
    ctx: Context, filters: Mapping[str, Document], count: int, cursor: str | None, purpose: str
) -> Across:
    """What matches the filter of its type, `count` at most. The cursors of one `purpose` are no good for another."""
    after = None if cursor is None else _place(verified(ctx.secret, cursor, purpose))
    found = await find_across(ctx.store, filters, count + 1, after=after)
    versions = [stored(type_, document) for type_, document in found[:count]]
    if len(found) <= count:
        return Across(versions, None, after is None)
    return Across(versions, signed(ctx.secret, [versions[-1].type, versions[-1].id], purpose), whole=False)


def _place(row: object) -> tuple[str, str]:
    match row:
        case [str() as type_, str() as id_]:
            return type_, id_
    raise invalid("_cursor does not belong to this search", "_cursor")
