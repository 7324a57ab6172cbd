"""How many match, roughly, in a time that does not grow with them.

What is few is counted. Of more, a sample says which share of the type it is.
https://hl7.org/fhir/R4/search.html#total
"""

from __future__ import annotations

from typing import NamedTuple

from fhirserver.store.budget import Budget
from fhirserver.store.resources import Store
from fhirserver.store.trace import timed
from fhirserver.store.versions import Document

EVERYTHING = {"deleted": None}  # what leaves out nothing else
COUNTED = 1_000  # matches
SAMPLE = 500  # documents
# Below so many documents counting them costs no more than a sample, which is then not read at random but sorted:
# https://www.mongodb.com/docs/manual/reference/operator/aggregation/sample/#behavior
SMALL = 20 * SAMPLE


class Estimate(NamedTuple):
    """`how` it was made; None where it was counted."""

    number: int
    how: str | None = None


async def estimate(store: Store, type_: str, filter_: Document) -> Estimate:
    """In a transaction, where MongoDB does not tell the size of a collection, all are counted."""
    await store.caught_up(type_)
    if store.session is not None:
        return Estimate(await store.count(type_, filter_))
    with Budget(store):
        known = await store[type_].estimated_document_count()
        if filter_ == EVERYTHING:
            return Estimate(known, f"every {type_} that is stored, those that were deleted too")
        few = await store.count(type_, filter_, COUNTED + 1)
        if few <= COUNTED:
            return Estimate(few)
        if known <= SMALL:
            return Estimate(await store.count(type_, filter_))
        stages: list[Document] = [{"$sample": {"size": SAMPLE}}, {"$match": filter_}, {"$count": "found"}]
        cursor = await store[type_].aggregate(stages)
        sampled = await timed(store, type_, {"pipeline": stages}, cursor.to_list())
    share = sampled[0]["found"] if sampled else 0
    how = f"at least {COUNTED:,} match, and {share} of {SAMPLE} {type_} picked at random do"
    return Estimate(max(few, known * share // SAMPLE), how)
