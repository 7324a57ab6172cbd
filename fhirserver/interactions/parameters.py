"""SearchParameter resources as they are written: what they change about search is kept in the same transaction.

https://hl7.org/fhir/R4/searchparameter.html, docs/adr/0005-custom-search-parameters.md
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pymongo.errors import PyMongoError

from fhirserver.context import Context
from fhirserver.search.custom import SEARCH_PARAMETER, Row, joined, row
from fhirserver.search.parameters import r4_registry
from fhirserver.store import generations
from fhirserver.store.resources import Change, Stored

log = logging.getLogger(__name__)
APART = ("id", "since")


async def write_all(ctx: Context, changes: Sequence[Change]) -> list[Stored]:
    """Inside a transaction. Raises a 422 Outcome where the search parameters would not go together any more."""
    parameters = [change for change in changes if change.type == SEARCH_PARAMETER]
    if parameters:
        await _keep(ctx, parameters)
    return await ctx.store.write_all(changes)


async def _keep(ctx: Context, changes: Sequence[Change]) -> None:
    state = await generations.read(ctx.store)
    next_ = state.generation + 1
    before = {each["id"]: each for each in state.rows}
    after = {id_: each for id_, each in before.items() if all(change.id != id_ for change in changes)}
    for change in changes:
        found = row(change.resource) if change.body is not None else None
        if found is not None:
            known = before.get(change.id)
            since = known["since"] if known and _meaning(known) == dict(found) else next_
            after[change.id] = {**found, "id": change.id, "since": since}
    if after != before:
        joined(r4_registry(), list(after.values()))
        await generations.write(ctx.store, next_, after.values())


def _meaning(known: Row) -> Row:
    return {name: value for name, value in known.items() if name not in APART}


async def take(ctx: Context) -> None:
    """The parameters as they are now, for the next request here; what goes wrong is made good by the next beat."""
    try:
        await ctx.live.renew()
    except PyMongoError as error:
        log.warning("the new search parameters are not taken yet: %s", error)
