"""Which search parameters a query rests on, of its own type and of those that its chains and inclusions lead to."""

from __future__ import annotations

from collections.abc import Iterator

from fhirserver.search.criteria import AllOf, AnyOf, Chain, Clause, Contained, Criterion, Negation, Within
from fhirserver.search.query import Query

Named = tuple[str, str]


def mentioned(query: Query) -> Iterator[Named]:
    """(type, code), some of them several times."""
    for criterion in query.criteria:
        yield from named(query.type_, criterion)
    for key in query.sort:
        yield query.type_, key.code
    for include in (*query.includes, *query.revincludes):
        yield include.source, include.code


def named(type_: str, criterion: Criterion) -> Iterator[Named]:
    """Those of one criterion about a type."""
    match criterion:
        case Clause(parameter) | Within(parameter):
            yield type_, parameter.code
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from named(type_, part)
        case Negation(part):
            yield from named(type_, part)
        case Contained(other, part):
            yield from named(other, part)
        case Chain(parameter, others, reverse):
            for other, part in others:
                yield other if reverse else type_, parameter.code
                yield from named(other, part)
