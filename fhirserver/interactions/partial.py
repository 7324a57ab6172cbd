"""Searches that may not find all, or more: flagged or refused, as `Prefer: handling` says.

By a parameter whose index is being built, by codes of a code system of which only a fragment is here, or by a parameter
for which contained resources are not indexed. What another release indexed otherwise is flagged alone: that its
operator did not do it again yet is no reason to refuse all that is asked.
https://hl7.org/fhir/R4/search.html#errors, docs/adr/0005-custom-search-parameters.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from fhirserver.context import Context
from fhirserver.fhir.outcome import Issue, Outcome, in_query
from fhirserver.interactions.consenting import sees_all
from fhirserver.search.generated import FROM_DOCUMENT
from fhirserver.search.mentioned import Named, mentioned
from fhirserver.search.mentioned import named as named_in
from fhirserver.search.query import Query
from fhirserver.search.readers import shown

RETRY = (("retry-after", "5"),)


class Fragment(NamedTuple):
    """A parameter with its modifier, and a code system that says less about its values than there is to say."""

    parameter: str
    system: str

    def __str__(self) -> str:
        lack = f"of code system {shown(self.system)} only a fragment is here, which may not say all of what is meant"
        return f"{self.parameter}: {lack}"


class Unindexed(NamedTuple):
    """A new parameter, and a type of which some documents contain resources that are not indexed for it."""

    parameter: str
    container: str

    def __str__(self) -> str:
        lack = (
            f"what each {self.container} contains is indexed for this new search parameter by {self.container}/$reindex"
        )
        return f"{self.parameter}: {lack}"


Lack = Fragment | Unindexed


def flagged(query: Query, lacks: Mapping[Lack, str | None], strict: bool) -> Query:
    """With a warning for each, and the parameter it is about. Who asked to be refused rather than misunderstood is."""
    issues = [_lacking(f"{each}: what it finds may be too little or too much", name) for each, name in lacks.items()]
    if not issues:
        return query
    if strict:
        raise Outcome(400, "incomplete", issues[0].diagnostics, issues[0].expression)
    return replace(query, ignored=(*query.ignored, *issues), partial=True)


def refuse_lacks(lacks: Mapping[Lack, str | None]) -> None:
    """Where a guess would do harm, as in a condition or a statistic."""
    for each, name in lacks.items():
        issue = _lacking(f"{each}, so that it is not known what matches", name)
        raise Outcome(400, issue.code, issue.diagnostics, issue.expression)


def _lacking(said: str, name: str | None) -> Issue:
    return Issue("warning", "incomplete", said, None if name is None else in_query(name))


async def marked(ctx: Context, queries: Sequence[Query], strict: bool) -> Sequence[Query]:
    """The queries as they may be run now; the first has a warning for each parameter that does not find all yet."""
    queries = _dated(ctx, queries)
    if not ctx.rules.building:
        return queries
    unfinished = dict.fromkeys(named for query in queries for named in _unfinished(ctx, query))
    if unfinished:  # whoever waited for the job finds all, though this server was not told of its end yet
        building = (await ctx.live.renew()).building
        unfinished = dict.fromkeys(named for named in unfinished if named in building)
    issues = [await _warning(ctx, named, _name(queries, named)) for named in unfinished]
    if not issues:
        return queries
    if strict:
        raise Outcome(503, "incomplete", issues[0].diagnostics, issues[0].expression, headers=RETRY)
    first, *others = queries
    return [replace(first, ignored=(*first.ignored, *issues), partial=True), *others]


def _dated(ctx: Context, queries: Sequence[Query]) -> Sequence[Query]:
    """A warning for each type that another release indexed, where its index values are asked."""
    if not ctx.rules.dated(ctx.definitions.resource_types):
        return queries
    asked: dict[str, dict[str, None]] = {}
    for type_, code in (named for query in queries for named in mentioned(query)):
        if code not in FROM_DOCUMENT:
            asked.setdefault(type_, {})[code] = None
    issues = [_indexed_before(type_, asked[type_]) for type_ in ctx.rules.dated(asked)]
    if not issues:
        return queries
    first, *others = queries
    return [replace(first, ignored=(*first.ignored, *issues)), *others]


def _indexed_before(type_: str, codes: Iterable[str]) -> Issue:
    said = (
        f"{type_} resources were indexed by another release of this server, so that what it finds among them may be"
        f" too little or too much until {type_}/$reindex"
    )
    return Issue("warning", "incomplete", f"{', '.join(codes)}: {said}")


def refuse_unfinished(ctx: Context, query: Query) -> None:
    """Where a guess would do harm, as in a condition or a statistic."""
    for type_, code in _unfinished(ctx, query) if ctx.rules.building else ():
        raise Outcome(
            503,
            "incomplete",
            f"{code} is a new search parameter, and not every {type_} is indexed for it yet; try again later",
            in_query(_name([query], (type_, code))),
            headers=RETRY,
        )


def _unfinished(ctx: Context, query: Query) -> Iterable[Named]:
    return dict.fromkeys(named for named in mentioned(query) if named in ctx.rules.building)


def _name(queries: Iterable[Query], named: Named) -> str:
    """By which the client asks for a parameter, at the end of a chain too."""
    for query in queries:
        for name, criterion in zip(query.names, query.criteria, strict=False):
            if named in named_in(query.type_, criterion):
                return name
    return named[1]


async def _warning(ctx: Context, named: Named, name: str) -> Issue:
    """How many there are is said to who may see them all."""
    type_, code = named
    job = await ctx.live.job(type_)
    done, total = job.progress if job and await sees_all(ctx, type_) else (0, None)
    if job is not None and job.state in ("failed", "cancelled"):
        state = f"and the indexing was {job.state}; POST {type_}/$reindex starts it again"
    elif total:
        state = f"for which {100 * done // total} % of {total:,} {type_} resources are indexed"
    else:
        state = f"for which not all {type_} resources are indexed yet"
    said = f"{code} is a new search parameter, {state}: what it finds may be partial"
    return Issue("warning", "incomplete", said, in_query(name))
