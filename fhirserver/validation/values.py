"""Values that a profile fixes or bounds: https://hl7.org/fhir/R4/elementdefinition.html#ElementDefinition.fixed_x_"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhirserver.fhir import dates, json
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.quantities import Quantity, common
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.units import UCUM
from fhirserver.validation.findings import Problem
from fhirserver.validation.words import shown

CODING = frozenset({"system", "code"})
_SHOWN = 120
Value = Callable[[Any], Problem | None]


def matches(pattern: Any, value: Any) -> bool:
    """Whether a value holds at least what a pattern holds; of an array, each of its items somewhere."""
    if type(pattern) is dict:
        if type(value) is not dict:
            return False
        return all(key in value and matches(part, value[key]) for key, part in pattern.items())
    if type(pattern) is list:
        return type(value) is list and all(any(matches(part, each) for each in value) for part in pattern)
    return bool(pattern == value)


def written(value: Any) -> str:
    """The beginning of a value as JSON; a code as system#code."""
    if not isinstance(value, dict | list):
        return shown(value)
    codings: list[Any] = value["coding"] if isinstance(value, dict) and value.keys() == {"coding"} else [value]
    if all(isinstance(each, dict) and "code" in each and each.keys() <= CODING for each in codings):
        return ", ".join(f"{each.get('system', '')}#{each['code']}" for each in codings)
    text = json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def fixed(expected: Any) -> Value:
    def check(value: Any) -> Problem | None:
        if value == expected:
            return None
        return Problem("value", f"{written(value)} is not {written(expected)}, the one value that is allowed", "fixed")

    return check


def patterned(pattern: Any) -> Value:
    def check(value: Any) -> Problem | None:
        if matches(pattern, value):
            return None
        return Problem("value", f"{written(value)} does not hold {written(pattern)}", "pattern")

    return check


def longest(length: int) -> Value:
    def check(value: Any) -> Problem | None:
        if type(value) is not str or len(value) <= length:
            return None
        return Problem("too-long", f"at most {length:,} characters; these are {len(value):,}", "max-length")

    return check


def at_least(bound: Any) -> Value:
    def check(value: Any) -> Problem | None:
        below = _order(value, bound)
        if below is None or below >= 0:
            return None
        return Problem("value", f"{written(value)} is less than {written(bound)}", "value-range")

    return check


def at_most(bound: Any) -> Value:
    def check(value: Any) -> Problem | None:
        above = _order(value, bound)
        if above is None or above <= 0:
            return None
        return Problem("value", f"{written(value)} is more than {written(bound)}", "value-range")

    return check


def _order(value: Any, bound: Any) -> int | None:
    """-1, 0 or 1; None where it cannot be said: units without a common measure, dates of which one holds the other."""
    if isinstance(value, int | Decimal) and isinstance(bound, int | Decimal):
        return (value > bound) - (value < bound)
    if isinstance(value, str) and isinstance(bound, str):
        return _order_of_times(value, bound)
    if isinstance(value, dict) and isinstance(bound, dict):
        pair = _amounts(value, bound)
        return None if pair is None else (pair[0] > pair[1]) - (pair[0] < pair[1])
    return None


def _order_of_times(value: str, bound: str) -> int | None:
    if value[2:3] == ":":
        return (value > bound) - (value < bound)
    try:
        ours, theirs = dates.parse(value), dates.parse(bound)
    except Outcome:
        return None  # the bound is of another type than the element
    return (ours.low >= theirs.high) - (ours.high <= theirs.low)


def _amounts(value: Any, bound: Any) -> Any:
    amount, limit = value.get("value"), bound.get("value")
    if amount is None or limit is None:
        return None
    units = [(each.get("system"), each.get("code")) for each in (value, bound)]
    if units[0] == units[1]:
        return amount, limit
    if any(system != UCUM or code is None for system, code in units):
        return None
    try:
        return common(Quantity(Decimal(amount), units[0][1]), Quantity(Decimal(limit), units[1][1]))
    except FhirPathError:
        return None
