"""SearchParameter resources as they are written: what they change about search is kept in the same transaction.

What was stored without that, by an earlier release say, is gathered when a server starts.
https://hl7.org/fhir/R4/searchparameter.html, docs/adr/0005-custom-search-parameters.md
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from pymongo.errors import PyMongoError

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome
from fhirserver.search.custom import SEARCH_PARAMETER, Row, fitting, joined, meaning, row
from fhirserver.search.parameters import r4_registry
from fhirserver.store import generations
from fhirserver.store.generations import State
from fhirserver.store.resources import Store
from fhirserver.store.transactions import transact
from fhirserver.store.versions import BODY, Change, Stored, stored

log = logging.getLogger(__name__)


async def write_all(ctx: Context, changes: Sequence[Change]) -> list[Stored]:
    """Inside a transaction. Raises a 422 Outcome where the search parameters would not go together any more."""
    parameters = [change for change in changes if change.type == SEARCH_PARAMETER]
    if parameters:
        await _keep(ctx, parameters)
    return await ctx.store.write_all(changes)


async def _keep(ctx: Context, changes: Sequence[Change]) -> None:
    state = await generations.read(ctx.store)
    before = {each["id"]: each for each in state.rows}
    after = {id_: each for id_, each in before.items() if all(change.id != id_ for change in changes)}
    for change in changes:
        found = row(change.resource) if change.body is not None else None
        if found is not None:
            after[change.id] = _kept(found, change.id, state)
    if after != before:
        joined(r4_registry(), list(after.values()))
        await generations.write(ctx.store, state.generation + 1, after.values())


def _kept(found: Row, id_: str, state: State) -> Row:
    """As it is stored: `since` is the generation which first found what it finds."""
    known = next((each for each in state.rows if each["id"] == id_), None)
    since = known["since"] if known and meaning(known) == meaning(found) else state.generation + 1
    return {**found, "id": id_, "since": since}


async def take(ctx: Context) -> None:
    """The parameters as they are now, for the next request here; what goes wrong is made good by the next beat."""
    try:
        await ctx.live.renew()
    except PyMongoError as error:
        log.warning("the new search parameters are not taken yet: %s", error)


# what is stored


class Gathered(NamedTuple):
    """The rows of all that is stored, and why other active parameters have none, by id."""

    state: State
    rows: Mapping[str, Row]
    refused: Mapping[str, str]

    @property
    def current(self) -> bool:
        return {each["id"]: each for each in self.state.rows} == self.rows


async def gather(ctx: Context) -> None:
    """Have rows for every active SearchParameter that is stored, and no others; say which cannot be used, and why."""
    if not (await gathered(ctx.store)).current:
        found = await transact(ctx.store, _gather)
        log.warning("search parameters were stored that were not used: %d are used from now on", len(found.rows))
        await ctx.live.renew()


async def _gather(store: Store) -> Gathered:
    found = await gathered(store)
    if not found.current:
        await generations.write(store, found.state.generation + 1, found.rows.values())
    return found


async def gathered(store: Store) -> Gathered:
    """A row that this release would not make stays as it is, while its resource is active: another release uses it."""
    state = await generations.read(store)
    before = {each["id"]: each for each in state.rows}
    rows: dict[str, Row] = {}
    refused: dict[str, str] = {}
    async for each in _active(store):
        try:
            found = row(json.resource(each.body))
        except Outcome as refusal:
            refused[each.id] = str(refusal)
            found = before.get(each.id)
        if found is not None:
            rows[each.id] = _kept(found, each.id, state)
    _, left = fitting(r4_registry(), sorted(rows.values(), key=lambda known: known["id"] not in before))
    refused |= {each.id: str(each) for each in left}
    return Gathered(state, {id_: each for id_, each in rows.items() if id_ in before or id_ not in refused}, refused)


async def _active(store: Store) -> AsyncIterator[Stored]:
    """Those that may be: what is not active makes no row anyway."""
    cursor = store[SEARCH_PARAMETER].find({"deleted": None}, BODY, sort=[("_id", 1)], session=store.session)
    async for document in cursor:
        yield stored(SEARCH_PARAMETER, document)


async def findings(ctx: Context) -> AsyncIterator[tuple[bool, str]]:
    """For `healthmate check`: (whether it is good, a sentence)."""
    found = await gathered(ctx.store)
    for id_, reason in sorted(found.refused.items()):
        yield False, f"SearchParameter/{id_} is active and not used: {reason}"
    building = ctx.live.rules.building
    for type_, code in sorted(building):
        job = await ctx.live.job(type_)
        if job is None or job.state in ("failed", "cancelled"):
            yield False, f"not every {type_} is indexed for {code}, and nobody is at it; `healthmate reindex` does it"
    used = len(found.rows.keys() - found.refused.keys())
    yield True, f"search parameters: {used} of your own are used, {len(building)} of types still being indexed"
