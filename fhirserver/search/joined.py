"""Criteria joined as short as it can be said: all, nothing, and what lies between."""

from __future__ import annotations

from collections.abc import Iterable

from fhirserver.search.criteria import AllOf, AnyOf, Clause, Criterion, Negation
from fhirserver.search.parameters import r4_registry

EVERYTHING: Criterion = AllOf(())
NOTHING: Criterion = Clause(r4_registry()["Patient"]["_id"], None, ())


def conjoined(*parts: Criterion) -> Criterion:
    """All of them."""
    if NOTHING in parts:
        return NOTHING
    needed = tuple(part for part in parts if part != EVERYTHING)
    return needed[0] if len(needed) == 1 else AllOf(needed) if needed else EVERYTHING


def either(alternatives: Iterable[Criterion]) -> Criterion:
    """Any of them; of none, nothing."""
    needed = tuple(each for each in alternatives if each != NOTHING)
    if EVERYTHING in needed:
        return EVERYTHING
    return needed[0] if len(needed) == 1 else AnyOf(needed) if needed else NOTHING


def negated(criterion: Criterion) -> Criterion:
    """All that does not meet it."""
    if criterion == EVERYTHING:
        return NOTHING
    if criterion == NOTHING:
        return EVERYTHING
    return criterion.part if isinstance(criterion, Negation) else Negation(criterion)
