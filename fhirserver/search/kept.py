"""What follows from a query alone, worked out once for as long as that query is remembered (`search.query_string`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from fhirserver.search.query import Query

T = TypeVar("T")


def kept(function: Callable[[Query], T]) -> Callable[[Query], T]:
    """What it gives is shared by all who ask: who changes it makes another."""

    @wraps(function)
    def once(query: Query) -> T:
        found: T | None = query.kept.get(function)
        if found is None:
            found = query.kept[function] = function(query)
        return found

    return once
