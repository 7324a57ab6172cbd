"""Chains resolved inside out: what is at the far end is found first, and becomes a list of references or of ids.

Each hop is a search of its own: the law of access applies to it, and what was deleted is not found.
https://hl7.org/fhir/R4/search.html#chaining, docs/adr/0004-chains.md
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.access.policy import authorize, restrict
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, too_costly
from fhirserver.search.chains import Chain, Criterion
from fhirserver.search.criteria import Clause, Reference
from fhirserver.search.filters import Filter, path, query_filter
from fhirserver.search.query import Query
from fhirserver.store.hops import matching_ids, referred_ids

LISTED = 250_000  # ids from one hop
LISTED_BYTES = 14_500_000  # in all lists of one filter: a command has at most 16 MB
ELEMENT_BYTES = 13  # what BSON adds to a string in a list


async def resolve(ctx: Context, query: Query) -> Query:
    """The same query with its chains as plain clauses, as things are now."""
    if not query.chains:
        return query
    listed: list[Clause] = []
    size = 0
    for chain in query.chains:
        if chain.reverse:
            found = await _led_from(ctx, query.type_, chain)
            listed.append(Clause(ctx.registry[query.type_]["_id"], None, tuple(found)))
        else:
            found = await _leading(ctx, chain)
            listed.append(Clause(chain.parameter, None, (Reference(tuple(found)),)))
        size += sum(map(len, found)) + ELEMENT_BYTES * len(found)
        if size > LISTED_BYTES:
            raise _too_many(chain)
    return replace(query, clauses=(*query.clauses, *listed), chains=())


async def _leading(ctx: Context, chain: Chain) -> list[str]:
    """The references that lead to what meets the chain's criterion."""
    references: list[str] = []
    for other, criterion in chain.others:
        room = LISTED - len(references)
        ids = await matching_ids(ctx.store, other, await _far(ctx, other, criterion), room + 1)
        if len(ids) > room:
            raise _too_many(chain)
        references += [f"{other}/{id_}" for id_ in ids]
    return references


async def _led_from(ctx: Context, type_: str, chain: Chain) -> list[str]:
    """The ids to which what meets the chain's criterion refers."""
    ((source, criterion),) = chain.others
    filter_, field = await _far(ctx, source, criterion), path(chain.parameter)
    ids = await referred_ids(ctx.store, source, filter_, field, type_, LISTED + 1)
    if len(ids) > LISTED:
        raise _too_many(chain)
    return ids


async def _far(ctx: Context, type_: str, criterion: Criterion) -> Filter:
    """The filter of what meets a criterion and may be seen."""
    authorize(ctx.caller, "search", type_)
    query = Query(type_, chains=(criterion,)) if isinstance(criterion, Chain) else Query(type_, clauses=(criterion,))
    return query_filter(await resolve(ctx, restrict(ctx.caller, query)), ctx.now())


def _too_many(chain: Chain) -> Outcome:
    far = " or ".join(type_ for type_, _ in chain.others[:4])
    way = f"_has:{far}:{chain.parameter.code}" if chain.reverse else f"{chain.parameter.code}.…"
    return too_costly(f"{way} goes through more resources than one search can hold ({LISTED:,}); narrow it")
