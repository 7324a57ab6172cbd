"""What follows from a query about the scalars in compound indexes. It changes nothing of what is found: it says where
in an index to begin and to end.

An index holds one array, its first key; the others are scalars under `sort` (docs/adr/0001-sort-scalars.md). For
MongoDB a condition on `search.date` says nothing about `sort.date`. Where a resource has one date at most, it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from fhirserver.fhir.definitions import r4
from fhirserver.search.compartments import members_by
from fhirserver.search.criteria import Clause, Dates, Number, Quantity, Reference, Value
from fhirserver.search.expressions import RefersTo, Route, parse, routes
from fhirserver.search.forms import repeats
from fhirserver.search.mongo import Filter, conjunction
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.query import Query
from fhirserver.search.ranges import in_base_units, nearby, stored
from fhirserver.store.schema import hot_keys

FEW = 100  # references: a chain may have found 250,000, which a filter need not hold twice

Known = dict[str, list[Clause]]


def narrowed(query: Query, filter_: Filter, registry: Registry) -> Filter:
    """The filter of a query, with what follows about the keys of the compound indexes that its clauses begin."""
    indexes = hot_keys(query.type_)
    if not indexes:
        return filter_
    known: Known = {}
    for each in query.criteria:
        if isinstance(each, Clause) and each.modifier is None:
            known.setdefault(each.parameter.code, []).append(each)
    patients = _patients(known, query.type_, registry)
    if patients:
        known["patient"] = [*known.get("patient", ()), *patients]
    begun = [others for first, *others in indexes if first.removeprefix("search.") in known]
    fields = dict.fromkeys(field for others in begun for field in others if field.startswith("sort."))
    found = [{"search.patient": {"$in": _forms(each)}} for each in patients]
    return conjunction([filter_, *found, *(each for field in fields for each in _about(field, known, query.type_))])


def by_id(query: Query, filter_: Filter, registry: Registry) -> Filter:
    """The filter of a page in the order of ids, in which what refers to a patient lies in the patient's compartment.

    Not of a count, which the index of the reference alone can answer.
    """
    if query.sort:
        return filter_
    for each in query.criteria:
        if isinstance(each, Clause) and each.modifier is None and _member(each, query.type_, registry):
            return conjunction([filter_, {"compartments": {"$in": _forms(each)}}])
    return filter_


@lru_cache(1_000)
def _routes(expression: str, type_: str) -> list[Route]:
    return routes(r4(), parse(expression), type_)


def _about(field: str, known: Known, type_: str) -> list[Filter]:
    """What clauses say about a scalar: `sort.date`, `sort.value-quantity:base`."""
    code, _, suffix = field.removeprefix("sort.").partition(":")
    found = []
    for clause in known.get(code, ()):
        if suffix:
            found += [{field: each} for each in _points(suffix, clause.values)]
        elif not repeats(r4(), clause.parameter, type_):
            condition = SCALARS[clause.parameter.type](clause) if clause.parameter.type in SCALARS else {}
            found += [{field: condition}] if condition else []
    return found


# dates: stored as half-open ranges, sorted by where they begin

BEGINNINGS: Mapping[str, Callable[[datetime, datetime], Filter]] = {
    "eq": lambda low, high: {"$gte": low, "$lt": high},
    "lt": lambda low, high: {"$lt": low},
    "le": lambda low, high: {"$lt": high},
    "sa": lambda low, high: {"$gte": high},
    "eb": lambda low, high: {"$lt": low},
}


def _beginning(clause: Clause) -> Filter:
    """Of a range that ends after a date nothing is known: it may begin long before."""
    match clause.values:
        case (Dates(prefix, low, high),) if prefix in BEGINNINGS:
            return BEGINNINGS[prefix](low, high)
    return {}


# references: with a version there are two forms, of which the one without is the smaller

SCALARS: Mapping[str, Callable[[Clause], Filter]] = {
    "date": _beginning,
    "reference": lambda clause: {"$in": _forms(clause)} if _few(clause) else {},
}


def _forms(clause: Clause) -> list[str]:
    return [form for value in clause.values if isinstance(value, Reference) for form in value.forms]


def _few(clause: Clause, to: str | tuple[str, ...] = "") -> bool:
    """Whether it names few, of which all begin like this."""
    forms = _forms(clause)
    return 0 < len(forms) <= FEW and all(form.startswith(to) and "/_history/" not in form for form in forms)


def _patients(known: Known, type_: str, registry: Registry) -> list[Clause]:
    """Who asks for patients by `subject` asks for them by `patient`, with which indexes begin."""
    patient, asked = registry[type_].get("patient"), known.get("subject", ())
    if patient is None or not all(_widens(each.parameter, patient, type_) for each in asked):
        return []
    return [Clause(patient, None, each.values) for each in asked if _few(each, "Patient/")]


def _member(clause: Clause, type_: str, registry: Registry) -> bool:
    """Whether what a clause finds is in the compartments of what it names."""
    code, subject, patient = clause.parameter.code, registry[type_].get("subject"), registry[type_].get("patient")
    alike = subject is not None and patient is not None and _widens(subject, patient, type_)
    codes = ("subject", "patient") if alike and code in ("subject", "patient") else (code,)
    return any(_few(clause, members_by(type_, each)) for each in codes)


def _widens(subject: Parameter, patient: Parameter, type_: str) -> bool:
    """Whether the patients that one parameter finds are all that the other does."""
    found = [(*route.steps, RefersTo("Patient")) for route in _routes(subject.expression, type_)]
    return found == [route.steps for route in _routes(patient.expression, type_)]


# quantities: True where a value is no point, which the conditions leave in

POINTS: Mapping[str, Callable[[Number], list[Filter]]] = {
    "eq": lambda n: [_not("$lt", n.low), _not("$gte", n.high)],
    "gt": lambda n: [_not("$lte", n.value)],
    "lt": lambda n: [_not("$gte", n.value)],
    "ge": lambda n: [_not("$lt", n.value)],
    "le": lambda n: [_not("$gt", n.value)],
    "sa": lambda n: [_not("$lte", n.value)],
    "eb": lambda n: [_not("$gte", n.value)],
    "within": lambda n: [_not("$lt", n.low), _not("$gt", n.high)],
    "ap": lambda n: [_not("$lt", nearby(n)[0]), _not("$gt", nearby(n)[1])],
}


def _not(operator: str, number: Any) -> Filter:
    return {"$ne": None, "$not": {operator: stored(number)}}


def _points(suffix: str, values: Sequence[Value]) -> list[Filter]:
    """Of a number in a unit that converts, about the number in base units; of any other, about it as it is."""
    match values:
        case (Quantity(number) as value,):
            converted = in_base_units(value)
            asked = number if converted is None else converted[0]
            if (converted is not None) == (suffix == "base") and asked.prefix in POINTS:
                return POINTS[asked.prefix](asked)
    return []
