"""MongoDB filters, put together: any of some, or all of them. https://www.mongodb.com/docs/manual/reference/operator/query/"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Filter = dict[str, Any]

AFTER_EVERY_LETTER = "\U0010ffff"  # of a text that begins so, as its upper end
LISTED_BYTES = 14_500_000  # in all lists of one filter: a command has at most 16 MB


def conjunction(filters: Iterable[Filter]) -> Filter:
    """All of them, in one level while no key stands twice."""
    merged: Filter = {}
    others = []
    for each in filters:
        if merged.keys().isdisjoint(each):
            merged |= each
        else:
            others.append(each)
    if not others:
        return merged
    also: list[Filter] = merged.pop("$and", [])
    return {**merged, "$and": [*also, *others]}


def disjunction(filters: Sequence[Filter]) -> Filter:
    """Any of them; of none, what no document meets."""
    if not filters:
        return {"_id": {"$in": []}}
    return filters[0] if len(filters) == 1 else {"$or": [*filters]}
