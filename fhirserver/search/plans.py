"""What a query asks of the database, worked out once for as long as that query is remembered.

Filters are shared by all who ask: who changes one makes another.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from fhirserver.search.bounds import by_id, narrowed
from fhirserver.search.criteria import Composite, Dates, clauses
from fhirserver.search.filters import query_filter
from fhirserver.search.kept import kept
from fhirserver.search.mongo import Filter
from fhirserver.search.paging import Cursor, Slice, bands
from fhirserver.search.parameters import Registry
from fhirserver.search.query import Query

Bands = list[list[Slice]]


class Plan(NamedTuple):
    """`filter` is what matches, `paged` the same where a page is asked for, `first` what to find for the first one."""

    query: Query
    filter: Filter
    paged: Filter
    first: Bands


def plan(query: Query, registry: Registry, now: datetime) -> Plan:
    """Of a query whose chains are resolved."""
    found: Plan | None = query.kept.get(registry)
    if found is None:
        filter_ = narrowed(query, query_filter(query, now), registry)
        paged = by_id(query, filter_, registry)
        found = Plan(query, filter_, paged, bands([query], [paged]))
        if not _of_now(query):
            query.kept[registry] = found
    return found


def bands_of(plans: Sequence[Plan], cursor: Cursor | None) -> Bands:
    """What to find one after the other until a page is full."""
    if cursor is None and len(plans) == 1:
        return plans[0].first
    return bands([each.query for each in plans], [each.paged for each in plans], cursor)


@kept
def _of_now(query: Query) -> bool:
    """Whether it matters when it is asked: by the prefix `ap` of dates alone."""
    values = (value for each in query.criteria for clause in clauses(each) for value in clause.values)
    parts = (part for value in values for part in (value.parts if isinstance(value, Composite) else (value,)))
    return any(isinstance(part, Dates) and part.prefix == "ap" for part in parts)
