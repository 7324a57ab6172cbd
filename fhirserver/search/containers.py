"""A search of contained resources: a search of each type that may contain them, by what lies inside.

https://hl7.org/fhir/R4/search.html#contained, docs/adr/0006-contained.md
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from fhirserver.fhir.definitions import Definitions
from fhirserver.search.contained import of_container
from fhirserver.search.criteria import AllOf, AnyOf, Contained
from fhirserver.search.query import Query


@cache
def containers(definitions: Definitions) -> tuple[str, ...]:
    """The types of which a resource may contain others."""
    return tuple(sorted(type_ for type_ in definitions.resource_types if definitions.is_a(type_, "DomainResource")))


def in_containers(query: Query, definitions: Definitions) -> tuple[Query, ...]:
    """One for each of the types that may contain what a query asks for.

    The first is about the type itself, and so tells the search from one of another type.
    """
    written = tuple(criterion for criterion in query.criteria if of_container(criterion))
    asked = AllOf(tuple(criterion for criterion in query.criteria if not of_container(criterion)))
    criteria = (*written, Contained(query.type_, asked))
    inside = query.type_ if query.contained_type == "contained" else None
    found = [
        replace(query, type_=type_, criteria=criteria, names=(), inside=inside)
        for type_ in (query.type_, *(each for each in containers(definitions) if each != query.type_))
    ]
    if query.contained == "both" and inside:
        found.append(query)
    elif query.contained == "both":  # of one type, so that what is found by both is found once
        either = (AnyOf((AllOf(query.criteria), AllOf(criteria))),) if query.criteria else ()
        found[0] = replace(query, criteria=either, names=())
    return tuple(found)
