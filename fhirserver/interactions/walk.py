"""Pages of what much refers to, found by walking: `Patient?_has:Observation:patient:code=8867-4`.

A list of all to which observations of a code refer grows with the population, and a page of them does not. So what else
the search asks is found in the order of the page, some rows at a time, and of these the far end is asked which it
refers to. Where that is few of them and a short list says it all, or hardly any, the list is the shorter way after all.
Who counts needs the list, and who sorts would sort at every step.
docs/adr/0004-chains.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from fhirserver.context import Context
from fhirserver.interactions.chains import referred_by
from fhirserver.interactions.resolve import Found, far_end
from fhirserver.search.canonicals import by_url
from fhirserver.search.criteria import RESOLVED, Chain, Clause, kind
from fhirserver.search.filters import path
from fhirserver.search.kept import kept
from fhirserver.search.query import Query
from fhirserver.store.schema import hot_keys

STEP = 100  # rows at a time
DENSE = 8  # rows of which one has to be a match, or a list is looked for
SPARSE = 100  # the same where the list would be long
SHORT = 1_000  # ids


@dataclass
class Walk:
    """A query without one of its chains, and that chain; `long`: its list is known to be."""

    near: Query
    chain: Chain
    long: bool = False

    async def referred(self, ctx: Context, led: Found, ids: Sequence[str]) -> set[str]:
        """Those among some ids that meet the chain."""
        far = partial(far_end, ctx, led)
        return {*(await referred_by(ctx, far, self.near.type_, self.chain, len(ids), ids) if ids else ())}

    async def pays(self, ctx: Context, led: Found, matches: int, rows: int) -> bool:
        """Whether to go on after so many rows. A short list is kept for who does not."""
        if matches * DENSE >= rows:
            return True
        if matches * SPARSE < rows:
            return False
        if not self.long:
            ids = await referred_by(ctx, partial(far_end, ctx, led), self.near.type_, self.chain, SHORT + 1)
            self.long = len(ids) > SHORT
            if not self.long:
                led.referred[self.near.type_, self.chain] = ids
        return self.long


def walk(ctx: Context, queries: Sequence[Query]) -> Walk | None:
    """How a page of these may be walked to, if at all."""
    if len(queries) == 1:
        (query,) = queries
        for number, chain in _walkable(query):
            ((source, _),) = chain.others
            if not by_url(ctx.registry, chain.parameter, source):
                return Walk(_without(query, number), chain)
    return None


@kept
def _walkable(query: Query) -> tuple[tuple[int, Chain], ...]:
    """Chains and their places among the criteria, where the answer is nothing but a page in the order of ids."""
    if query.sort or query.total in ("accurate", "estimate") or query.summary == "count" or query.count == 0:
        return ()
    if query.inside is not None:
        return ()
    chains = ((number, each) for number, each in enumerate(query.criteria) if isinstance(each, Chain) and each.reverse)
    return tuple((number, chain) for number, chain in chains if _in_index(chain))


def _in_index(chain: Chain) -> bool:
    """Whether an index holds what such values refer to, in order."""
    match chain.others:
        case ((source, Clause(asked, None)),) if (kind(asked), None) not in RESOLVED:
            begun = (path(asked), f"sort.{chain.parameter.code}")
            return any(keys[:2] == begun for keys in hot_keys(source))
    return False


def _without(query: Query, number: int) -> Query:
    criteria = query.criteria[:number] + query.criteria[number + 1 :]
    return replace(query, criteria=criteria, names=query.names[:number] + query.names[number + 1 :])
