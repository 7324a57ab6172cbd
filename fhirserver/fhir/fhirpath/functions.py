"""The functions of FHIRPath that take values and give values; those that take expressions are in `compile`.

http://hl7.org/fhirpath/N1/#functions, https://hl7.org/fhir/R4/fhirpath.html#functions
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import STRUCTURE
from fhirserver.fhir.fhirpath import temporal
from fhirserver.fhir.fhirpath.conversions import CONVERSIONS
from fhirserver.fhir.fhirpath.elements import TYPE_INFO, Node
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.narrative import html_checks
from fhirserver.fhir.fhirpath.numbers import NUMBERS
from fhirserver.fhir.fhirpath.quantities import Quantity, comparable
from fhirserver.fhir.fhirpath.scope import MAX_ITEMS, Scope
from fhirserver.fhir.fhirpath.texts import TEXTS
from fhirserver.fhir.fhirpath.types import type_of
from fhirserver.fhir.fhirpath.values import contains, distinct, has_value, is_number, single, system, truth

Items = list[Any]


class Function(NamedTuple):
    """`run(items, scope, *arguments)`; between `least` and `most` arguments."""

    run: Callable[..., Items]
    least: int
    most: int


def _count(items: Items, scope: Scope) -> Items:
    return [len(items)]


def _whole(items: Items) -> int:
    value = single(items, "a single integer")
    if type(value) is not int:
        raise FhirPathError("an integer is expected")
    return value


def _skip(items: Items, scope: Scope, number: Items) -> Items:
    return items[max(0, _whole(number)) :] if number else []


def _take(items: Items, scope: Scope, number: Items) -> Items:
    return items[: max(0, _whole(number))] if number else []


def _single(items: Items, scope: Scope) -> Items:
    if len(items) > 1:
        raise FhirPathError(f"single() finds {len(items)} items")
    return items


def _subset(items: Items, scope: Scope, other: Items) -> Items:
    scope.spend(len(items) * len(other))
    return [all(contains(other, item) for item in items)]


def _superset(items: Items, scope: Scope, other: Items) -> Items:
    return _subset(other, scope, items)


def _is_distinct(items: Items, scope: Scope) -> Items:
    return [len(distinct(items, scope.spend)) == len(items)]


def _union(items: Items, scope: Scope, other: Items) -> Items:
    return distinct(items + other, scope.spend)


def _combine(items: Items, scope: Scope, other: Items) -> Items:
    if len(items) + len(other) > MAX_ITEMS:
        raise FhirPathError(f"a collection grows over {MAX_ITEMS:,} items")
    return items + other


def _intersect(items: Items, scope: Scope, other: Items) -> Items:
    scope.spend(len(items) * len(other))
    return distinct([item for item in items if contains(other, item)], scope.spend)


def _exclude(items: Items, scope: Scope, other: Items) -> Items:
    scope.spend(len(items) * len(other))
    return [item for item in items if not contains(other, item)]


def _booleans(items: Items, name: str) -> list[bool]:
    values = [system(item) for item in items]
    if any(type(value) is not bool for value in values):
        raise FhirPathError(f"{name}() takes booleans only")
    return values


def _all_true(items: Items, scope: Scope) -> Items:
    return [all(_booleans(items, "allTrue"))]


def _any_true(items: Items, scope: Scope) -> Items:
    return [any(_booleans(items, "anyTrue"))]


def _all_false(items: Items, scope: Scope) -> Items:
    return [not any(_booleans(items, "allFalse"))]


def _any_false(items: Items, scope: Scope) -> Items:
    return [not all(_booleans(items, "anyFalse"))]


def _not(items: Items, scope: Scope) -> Items:
    value = truth(items)
    return [] if value is None else [not value]


def _now(items: Items, scope: Scope) -> Items:
    return [temporal.now(scope.now())]


def _today(items: Items, scope: Scope) -> Items:
    moment = scope.now()
    return [temporal.build("date", (moment.year, moment.month, moment.day), None)]


def _time_of_day(items: Items, scope: Scope) -> Items:
    return [temporal.build("time", temporal.now(scope.now()).fields[3:], None)]


def _type(items: Items, scope: Scope) -> Items:
    names = (type_of(item) for item in items)
    return [Node({"namespace": namespace, "name": name}, TYPE_INFO) for namespace, name in names]


def _get_value(items: Items, scope: Scope) -> Items:
    return [system(items[0])] if len(items) == 1 and has_value(items[0]) else []


def _resolve(items: Items, scope: Scope) -> Items:
    """https://hl7.org/fhir/R4/fhirpath.html#functions: contained resources here, all others by the caller's hook."""
    found: Items = []
    for item in items:
        value = item.value if type(item) is Node else item
        reference = value.get("reference") if type(value) is dict else value
        if type(reference) is str:
            found.extend(scope.resolve(reference))
    return found


def _member_of(items: Items, scope: Scope, value_set: Items) -> Items:
    url = single(value_set, "the URL of a value set")
    if len(items) != 1 or type(url) is not str or scope.hooks.member_of is None:
        return []
    answer = scope.hooks.member_of(items[0].value if type(items[0]) is Node else items[0], url)
    return [] if answer is None else [answer]


def _conforms_to(items: Items, scope: Scope, profile: Items) -> Items:
    url = single(profile, "the URL of a profile")
    if len(items) != 1 or type(url) is not str:
        return []
    name = url.removeprefix(STRUCTURE)
    if url.startswith(STRUCTURE) and name in scope.definitions.types:
        return [scope.definitions.is_a(type_of(items[0])[1], name)]
    answer = (
        scope.hooks.conforms_to(items[0].value, url) if scope.hooks.conforms_to and type(items[0]) is Node else None
    )
    if answer is None:
        raise FhirPathError(f"the profile {url} is not known here")
    return [answer]


def _html_checks(items: Items, scope: Scope) -> Items:
    value = system(items[0]) if len(items) == 1 else None
    return [] if value is None else [type(value) is str and html_checks(value)]


def _aggregate(choose: Callable[[list[Any]], Any]) -> Callable[..., Items]:
    def run(items: Items, scope: Scope) -> Items:
        values = [system(item) for item in items]
        if not all(is_number(value) for value in values):
            raise FhirPathError("min(), max(), sum() and avg() take numbers only")
        return [choose(values)] if values else []

    return run


def _comparable(items: Items, scope: Scope, other: Items) -> Items:
    left, right = single(items), single(other)
    return [type(left) is Quantity and type(right) is Quantity and comparable(left, right)]


FUNCTIONS: dict[str, Function] = {
    "count": Function(_count, 0, 0),
    "first": Function(lambda items, scope: items[:1], 0, 0),
    "last": Function(lambda items, scope: items[-1:], 0, 0),
    "tail": Function(lambda items, scope: items[1:], 0, 0),
    "skip": Function(_skip, 1, 1),
    "take": Function(_take, 1, 1),
    "single": Function(_single, 0, 0),
    "distinct": Function(lambda items, scope: distinct(items, scope.spend), 0, 0),
    "isDistinct": Function(_is_distinct, 0, 0),
    "subsetOf": Function(_subset, 1, 1),
    "supersetOf": Function(_superset, 1, 1),
    "union": Function(_union, 1, 1),
    "combine": Function(_combine, 1, 1),
    "intersect": Function(_intersect, 1, 1),
    "exclude": Function(_exclude, 1, 1),
    "allTrue": Function(_all_true, 0, 0),
    "anyTrue": Function(_any_true, 0, 0),
    "allFalse": Function(_all_false, 0, 0),
    "anyFalse": Function(_any_false, 0, 0),
    "not": Function(_not, 0, 0),
    "now": Function(_now, 0, 0),
    "today": Function(_today, 0, 0),
    "timeOfDay": Function(_time_of_day, 0, 0),
    "type": Function(_type, 0, 0),
    "getValue": Function(_get_value, 0, 0),
    "resolve": Function(_resolve, 0, 0),
    "memberOf": Function(_member_of, 1, 1),
    "conformsTo": Function(_conforms_to, 1, 1),
    "htmlChecks": Function(_html_checks, 0, 0),
    "sum": Function(_aggregate(sum), 0, 0),
    "min": Function(_aggregate(min), 0, 0),
    "max": Function(_aggregate(max), 0, 0),
    "avg": Function(_aggregate(lambda values: Decimal(sum(values)) / len(values)), 0, 0),
    "comparable": Function(_comparable, 1, 1),
    **{name: Function(*entry) for table in (TEXTS, NUMBERS, CONVERSIONS) for name, entry in table.items()},
}
