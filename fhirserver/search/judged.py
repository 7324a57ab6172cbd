"""Whether one resource meets a criterion, told from its index values here, as the database tells it of many.

Of the criteria that the law of access is made of; `search.filters` says the same to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from fhirserver.search.contained import field
from fhirserver.search.criteria import (
    AllOf,
    AnyOf,
    Belonging,
    Clause,
    Codes,
    Contained,
    Criterion,
    Dates,
    Negation,
    Reference,
    Token,
    Value,
    kind,
)

PLAIN = ("token", "reference", "uri")


class Judged(NamedTuple):
    """A version of a resource: `search` are its index values."""

    id: str
    compartments: Sequence[str]
    updated: datetime
    search: Mapping[str, Any]


def meets(criterion: Criterion, judged: Judged) -> bool:
    match criterion:
        case AllOf(parts):
            return all(meets(part, judged) for part in parts)
        case AnyOf(parts):
            return any(meets(part, judged) for part in parts)
        case Negation(part):
            return not meets(part, judged)
        case Belonging(()):
            return not any(each.startswith("Patient/") for each in judged.compartments)
        case Belonging(references):
            return any(each in references for each in judged.compartments)
        case Contained(type_, part, None):
            elements = judged.search.get(field(type_), ())
            return any(meets(part, judged._replace(search=each)) for each in elements)
        case Clause():
            return _clause(criterion, judged)
    raise ValueError(f"only the database can tell who meets a {type(criterion).__name__}")


def _clause(clause: Clause, judged: Judged) -> bool:
    parameter, modifier, values = clause
    found = judged.search.get(parameter.code, ())
    match kind(parameter), modifier:
        case "id", None:
            return judged.id in values
        case (("token" | "reference" | "uri"), None):
            return not {form for value in values for form in _forms(value)}.isdisjoint(found)
        case "date", None:
            return any(OF_RANGES[value.prefix](value, each) for value in _dates(values) for each in found)
        case "instant", None:
            return any(OF_INSTANTS[value.prefix](value, judged.updated) for value in _dates(values))
    raise ValueError(f"only the database can tell who meets {parameter.code}:{modifier}")


def _forms(value: Value) -> Sequence[str]:
    match value:
        case Token() | Codes() | Reference():
            return value.forms
    return (str(value),)


def _dates(values: Sequence[Value]) -> list[Dates]:
    return [value for value in values if isinstance(value, Dates)]


OF_RANGES: Mapping[str, Callable[[Dates, Any], bool]] = {
    "gt": lambda asked, found: found["hi"] > asked.high,
    "lt": lambda asked, found: found["lo"] < asked.low,
}
OF_INSTANTS: Mapping[str, Callable[[Dates, datetime], bool]] = {
    "gt": lambda asked, found: found >= asked.high,
    "lt": lambda asked, found: found < asked.low,
}
