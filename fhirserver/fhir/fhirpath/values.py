"""Operators on values: equality, equivalence, order and arithmetic, with FHIR elements taken as System values.

http://hl7.org/fhirpath/N1/#operations
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from typing import Any

from fhirserver.fhir.fhirpath import quantities, temporal
from fhirserver.fhir.fhirpath.elements import Node
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.quantities import Quantity
from fhirserver.fhir.fhirpath.temporal import Temporal
from fhirserver.fhir.units import UCUM

MAX_TEXT = 1_000_000
MAX_INTEGER = 2**63
_SPACES = re.compile(r"\s+")


def _date(node: Node) -> Any:
    return (temporal.parse(node.value) if type(node.value) is str else None) or node.value


def _date_time(node: Node) -> Any:
    return (temporal.parse_date_time(node.value) if type(node.value) is str else None) or node.value


def _clock(node: Node) -> Any:
    return (temporal.parse_time(node.value) if type(node.value) is str else None) or node.value


def _decimal(node: Node) -> Any:
    value = node.value
    return Decimal(value) if type(value) is int else value


def _quantity(node: Node) -> Any:
    value = node.value
    if type(value) is not dict or type(value.get("value")) not in (int, Decimal):
        return node
    coded = value.get("system") == UCUM
    unit = value.get("code") if coded else value.get("unit") or value.get("code")
    return Quantity(Decimal(value["value"]), unit if type(unit) is str else "1")


_FROM_FHIR: dict[str, Callable[[Node], Any]] = {
    "date": _date,
    "dateTime": _date_time,
    "instant": _date_time,
    **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity"), _quantity),
    "time": _clock,
    "decimal": _decimal,
}


def system(item: Any) -> Any:
    """The System value of an item; an element that has none (a HumanName, a missing value) stays a Node."""
    if type(item) is not Node:
        return item
    convert = _FROM_FHIR.get(item.type)
    if convert is not None:
        return convert(item) if item.value is not None else item
    return item if type(item.value) in (dict, list, type(None)) else item.value


def has_value(item: Any) -> bool:
    """A primitive that is more than its extensions: https://hl7.org/fhir/R4/fhirpath.html#functions"""
    return type(item) is not Node or type(item.value) not in (dict, list, type(None))


def single(items: list[Any], what: str = "a single value") -> Any:
    """http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections; None for an empty collection."""
    if not items:
        return None
    if len(items) > 1:
        raise FhirPathError(f"{len(items)} items stand where {what} is expected")
    return system(items[0])


def truth(items: list[Any]) -> bool | None:
    """A single item that is no boolean counts as true: http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections"""
    if not items:
        return None
    if len(items) > 1:
        raise FhirPathError(f"{len(items)} items stand where a single boolean is expected")
    item = items[0]
    value = item.value if type(item) is Node else item
    return value if type(value) is bool else True


def is_number(value: Any) -> bool:
    return type(value) is int or type(value) is Decimal


def kind(value: Any) -> str:
    """How a message names a value."""
    if type(value) is Node:
        return value.type
    if type(value) is Temporal:
        return value.kind
    names = {bool: "boolean", int: "integer", Decimal: "decimal", str: "string", Quantity: "quantity"}
    return names.get(type(value), "value")


def equal_items(left: Any, right: Any) -> bool | None:
    left, right = system(left), system(right)
    ours, theirs = type(left), type(right)
    if ours is str and theirs is str:
        return bool(left == right)
    if ours is bool or theirs is bool:
        return left is right
    if is_number(left) and is_number(right):
        return bool(left == right)
    if ours is Temporal or theirs is Temporal:
        left, right = _same_kind(left, right)
        if type(left) is not Temporal or type(right) is not Temporal or (left.kind == "time") != (right.kind == "time"):
            return False
        order = temporal.compare(left, right)
        return None if order is None else order == 0
    if ours is Quantity or theirs is Quantity:
        pair = _quantities(left, right)
        if pair is None:
            return False
        both = quantities.common(*pair)
        return None if both is None else both[0] == both[1]
    if ours is Node and theirs is Node:
        return bool(left.value == right.value and left.sibling == right.sibling)
    return ours is theirs and bool(left == right)


def _same_kind(left: Any, right: Any) -> tuple[Any, Any]:
    """A string beside a date or time is read as one, if it is one."""
    if type(left) is str:
        left = temporal.parse_time(left) if right.kind == "time" else temporal.parse(left)
    elif type(right) is str:
        right = temporal.parse_time(right) if left.kind == "time" else temporal.parse(right)
    return left, right


def _quantities(left: Any, right: Any) -> tuple[Quantity, Quantity] | None:
    """Both as quantities: a bare number has the unit '1'."""
    if is_number(left):
        left = Quantity(Decimal(left), "1")
    if is_number(right):
        right = Quantity(Decimal(right), "1")
    return (left, right) if type(left) is Quantity and type(right) is Quantity else None


def equal(left: list[Any], right: list[Any]) -> bool | None:
    """http://hl7.org/fhirpath/N1/#equals"""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    for a, b in zip(left, right, strict=True):
        same = equal_items(a, b)
        if same is not True:
            return same
    return True


def equivalent_items(left: Any, right: Any) -> bool:
    left, right = system(left), system(right)
    if type(left) is str and type(right) is str:
        return _folded(left) == _folded(right)
    if type(left) is not bool and type(right) is not bool and is_number(left) and is_number(right):
        return _close(left, right)
    if type(left) is Quantity and type(right) is Quantity:
        years = {"a": "year", "mo": "month"}
        both = quantities.common(*(q._replace(unit=years.get(q.unit, q.unit)) for q in (left, right)))
        return both is not None and _close(*(Decimal(v.numerator) / v.denominator for v in map(_fraction, both)))
    return equal_items(left, right) is True


def _fraction(value: Any) -> Any:
    return value if not isinstance(value, Decimal) else quantities.exact(value)


def _folded(text: str) -> str:
    return _SPACES.sub(" ", text.strip().lower())


def _close(left: Any, right: Any) -> bool:
    """Equal when both are rounded to the precision of the less precise."""
    a, b = Decimal(left), Decimal(right)
    places = min(decimal_places(a), decimal_places(b))
    try:
        with localcontext(prec=100):
            step = Decimal(1).scaleb(-places)
            return a.quantize(step, ROUND_HALF_UP) == b.quantize(step, ROUND_HALF_UP)
    except InvalidOperation:  # more digits than any rounding could need
        return a == b


def decimal_places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def equivalent(left: list[Any], right: list[Any]) -> bool:
    """In any order: http://hl7.org/fhirpath/N1/#equivalent"""
    if len(left) != len(right):
        return False
    rest = list(right)
    for item in left:
        for i, other in enumerate(rest):
            if equivalent_items(item, other):
                del rest[i]
                break
        else:
            return False
    return True


def order(left: Any, right: Any) -> int | None:
    """-1, 0, 1 or None (unknown) for two System values: http://hl7.org/fhirpath/N1/#comparison"""
    ours, theirs = type(left), type(right)
    if (ours is int or ours is Decimal) and (theirs is int or theirs is Decimal):
        return int(left > right) - int(left < right)
    if ours is str and theirs is str:
        return int(left > right) - int(left < right)
    if ours is Temporal or theirs is Temporal:
        a, b = (left, right) if ours is theirs else _same_kind(left, right)
        if type(a) is Temporal and type(b) is Temporal and (a.kind == "time") == (b.kind == "time"):
            return temporal.compare(a, b)
    elif ours is Quantity or theirs is Quantity:
        pair = _quantities(left, right)
        if pair is not None:
            both = quantities.common(*pair)
            return None if both is None else int(both[0] > both[1]) - int(both[0] < both[1])
    raise FhirPathError(f"a {kind(left)} cannot be compared with a {kind(right)}")


def contains(items: list[Any], item: Any) -> bool:
    return any(equal_items(other, item) is True for other in items)


def distinct(items: list[Any], spend: Callable[[int], None]) -> list[Any]:
    """Without repetitions, in order; times and quantities, of which some are neither equal nor not, one by one."""
    if len(items) < 2:
        return items
    out: list[Any] = []
    seen: set[Any] = set()
    others: list[Any] = []
    for item in items:
        value = system(item)
        if type(value) is str or type(value) is bool or is_number(value):
            key = (type(value) is bool, value)  # True is not 1
            if key in seen:
                continue
            seen.add(key)
        elif type(value) is Node:
            held = (_hashable(value.value), _hashable(value.sibling))
            if held in seen:
                continue
            seen.add(held)
        else:
            spend(len(others))
            if contains(others, value):
                continue
            others.append(value)
        out.append(item)
    return out


def _hashable(value: Any) -> Any:
    """Equal where JSON values are equal."""
    if type(value) is dict:
        return frozenset((name, _hashable(each)) for name, each in value.items())
    return tuple(map(_hashable, value)) if type(value) is list else value


def bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise FhirPathError(f"the result is longer than {MAX_TEXT:,} characters")
    return text


def integer(value: int) -> int | None:
    """None where the result overflows: http://hl7.org/fhirpath/N1/#math"""
    return value if -MAX_INTEGER <= value < MAX_INTEGER else None


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    """http://hl7.org/fhirpath/N1/#math; None (empty) on overflow and division by zero."""
    if type(right) is Quantity and operator in "+-" and type(left) in (Temporal, str):
        moment = temporal.parse(left) if type(left) is str else left
        if moment is not None:
            return temporal.add(moment, right, 1 if operator == "+" else -1)
    if operator == "+" and type(left) is str and type(right) is str:
        return bounded(left + right)
    if type(left) is Quantity or type(right) is Quantity:
        pair = _quantities(left, right)
        if pair is not None and operator in _QUANTITY:
            return _QUANTITY[operator](*pair)
    elif is_number(left) and is_number(right):
        return _number(operator, left, right)
    raise FhirPathError(f"'{operator}' takes no {kind(left)} and {kind(right)}")


_QUANTITY: dict[str, Callable[[Quantity, Quantity], Quantity | None]] = {
    "+": lambda a, b: quantities.combine(a, b, 1),
    "-": lambda a, b: quantities.combine(a, b, -1),
    "*": lambda a, b: quantities.multiply(a, b, 1),
    "/": lambda a, b: quantities.multiply(a, b, -1),
}


def _number(operator: str, left: Any, right: Any) -> Any:
    result: Any
    try:
        if operator == "+":
            result = left + right
        elif operator == "-":
            result = left - right
        elif operator == "*":
            result = left * right
        elif right == 0:
            return None
        elif operator == "/":
            return Decimal(left) / Decimal(right)
        else:
            quotient, rest = divmod(abs(left), abs(right))  # truncated, not floored
            if operator == "div":
                result = int(quotient) if (left < 0) == (right < 0) else -int(quotient)
            else:
                result = rest if left >= 0 else -rest
    except ArithmeticError:
        return None
    return integer(result) if type(result) is int else result
