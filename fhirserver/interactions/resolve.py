"""What only the database can say of a query, resolved into plain clauses before it becomes a filter.

Chains are resolved inside out: what is at the far end is found first, and becomes a list of references or of ids. Each
hop is a search of its own: the law of access applies to it, and what was deleted is not found.
https://hl7.org/fhir/R4/search.html#chaining, docs/adr/0004-chains.md
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.access.policy import authorize, restrict
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, too_costly
from fhirserver.search.criteria import AllOf, AnyOf, Chain, Clause, Criterion, Negation, Reference, Within
from fhirserver.search.filters import Filter, path, query_filter
from fhirserver.search.query import Query
from fhirserver.store.hops import matching_ids, referred_ids

LISTED = 250_000  # ids from one hop
LISTED_BYTES = 14_500_000  # in all lists of one filter: a command has at most 16 MB
ELEMENT_BYTES = 13  # what BSON adds to a string in a list


Found = dict[tuple[tuple[str, Criterion], ...], list[str]]


async def resolve(ctx: Context, query: Query, found: Found | None = None) -> Query:
    """The same query in clauses alone, as things are now. `found` is what chains of the same search led to before."""
    if all(isinstance(criterion, Clause) for criterion in query.criteria):
        return query
    resolution = _Resolution(ctx, query.type_, {} if found is None else found)
    return replace(query, criteria=tuple([await resolution.of(criterion) for criterion in query.criteria]))


class _Resolution:
    """Of the criteria of one filter, which share its size."""

    def __init__(self, ctx: Context, type_: str, found: Found) -> None:
        self._ctx = ctx
        self._type = type_
        self._found = found
        self._size = 0

    async def of(self, criterion: Criterion) -> Criterion:
        match criterion:
            case Clause():
                return criterion
            case AllOf(parts):
                return AllOf(tuple([await self.of(part) for part in parts]))
            case AnyOf(parts):
                return AnyOf(tuple([await self.of(part) for part in parts]))
            case Negation(part):
                return Negation(await self.of(part))
            case Within(parameter, part):
                return Within(parameter, await self.of(part))
            case Chain():
                return await self._chain(criterion)

    async def _chain(self, chain: Chain) -> Clause:
        if chain.reverse:
            found = await _led_from(self._ctx, self._type, chain)
            clause = Clause(self._ctx.registry[self._type]["_id"], None, tuple(found))
        else:
            if chain.others not in self._found:
                self._found[chain.others] = await _leading(self._ctx, chain)
            found = self._found[chain.others]
            clause = Clause(chain.parameter, None, (Reference(tuple(found)),))
        self._size += sum(map(len, found)) + ELEMENT_BYTES * len(found)
        if self._size > LISTED_BYTES:
            raise _too_many(chain)
        return clause


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
    query = restrict(ctx.caller, Query(type_, criteria=(criterion,)))
    return query_filter(await resolve(ctx, query), ctx.now())


def _too_many(chain: Chain) -> Outcome:
    far = " or ".join(type_ for type_, _ in chain.others[:4])
    way = f"_has:{far}:{chain.parameter.code}" if chain.reverse else f"{chain.parameter.code}.…"
    return too_costly(f"{way} goes through more resources than one search can hold ({LISTED:,}); narrow it")
