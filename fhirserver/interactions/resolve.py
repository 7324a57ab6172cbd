"""What only the database can say of a query, resolved into plain clauses before it becomes a filter.

Chains are resolved inside out: what is at the far end is found first, and becomes a list of references or of ids. Each
hop is a search of its own: the law of access applies to it, and what was deleted is not found. Value sets, and what is
above or below a code, become the codes that they are, and lists the ids that are on them.
https://hl7.org/fhir/R4/search.html#chaining, docs/adr/0004-chains.md, https://hl7.org/fhir/R4/search.html#token
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.access.policy import authorize, restrict
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, invalid, too_costly
from fhirserver.interactions.lists import listed
from fhirserver.interactions.terminology import code_system, members
from fhirserver.search.coded import Coded, coded, tokens
from fhirserver.search.criteria import (
    CODED,
    RESOLVED,
    AllOf,
    AnyOf,
    Chain,
    Clause,
    Criterion,
    Negation,
    Reference,
    Token,
    Value,
    Within,
    kind,
)
from fhirserver.search.filters import Filter, path, query_filter
from fhirserver.search.query import Query
from fhirserver.store.hops import matching_ids, referred_ids

LISTED = 250_000  # ids from one hop
LISTED_BYTES = 14_500_000  # in all lists of one filter: a command has at most 16 MB
ELEMENT_BYTES = 13  # what BSON adds to a string in a list


Found = dict[tuple[tuple[str, Criterion], ...], list[str]]


async def resolve(ctx: Context, query: Query, found: Found | None = None) -> Query:
    """The same query in clauses alone, as things are now. `found` is what chains of the same search led to before."""
    if all(isinstance(criterion, Clause) and not _unresolved(criterion) for criterion in query.criteria):
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
                return await self._clause(criterion) if _unresolved(criterion) else criterion
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
        if not self._room_for(found):
            raise _too_many(chain)
        return clause

    def _room_for(self, listed: list[str]) -> bool:
        self._size += sum(map(len, listed)) + ELEMENT_BYTES * len(listed)
        return self._size <= LISTED_BYTES

    async def _clause(self, clause: Clause) -> Clause:
        if _asked(clause) in CODED:
            return await self._codes(clause)
        ids = await listed(self._ctx, [str(value) for value in clause.values], self._type)
        if len(ids) > LISTED or not self._room_for(ids):
            raise too_costly(f"_list: more resources are on it than one search can hold ({LISTED:,})")
        return Clause(self._ctx.registry[self._type]["_id"], None, tuple(ids))

    async def _codes(self, clause: Clause) -> Clause:
        """`:in`, `:not-in`, `:above`, `:below` as the codes that are meant, which are equal or not."""
        name = f"{clause.parameter.code}:{clause.modifier}"
        asked = coded(self._ctx.registry, self._type, clause.parameter)
        try:
            if not any(asked):
                raise invalid("the values of this parameter are no codes", code="not-supported")
            found = [token for value in clause.values for token in await self._meant(value, clause.modifier, asked)]
        except Outcome as refusal:
            raise Outcome(refusal.status, refusal.issues[0].code, f"{name}: {refusal}") from refusal
        distinct = tuple(dict.fromkeys(found))
        if len(distinct) > LISTED or not self._room_for([token.form for token in distinct]):
            raise too_costly(f"{name}: more codes are meant than one search can hold ({LISTED:,})")
        return Clause(clause.parameter, "not" if clause.modifier == "not-in" else None, distinct)

    async def _meant(self, value: Value, modifier: str | None, asked: Coded) -> list[Token]:
        if not isinstance(value, Token):
            return [*tokens(await members(self._ctx, str(value)), asked)]
        url, code = value.system or "", value.code or ""
        system = await code_system(self._ctx, url)
        reached = system.above(code) if modifier == "above" else system.below(code)
        return [*tokens({url: reached}, asked)]


def _asked(clause: Clause) -> tuple[str, str | None]:
    return kind(clause.parameter), clause.modifier


def _unresolved(clause: Clause) -> bool:
    return _asked(clause) in RESOLVED


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
