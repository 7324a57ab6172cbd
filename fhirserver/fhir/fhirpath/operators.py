"""Closures of operators, literals and paths: what `compile` puts together.

http://hl7.org/fhirpath/N1/#operations
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirserver.fhir.definitions import STRUCTURE
from fhirserver.fhir.fhirpath.elements import Node
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.quantities import Quantity
from fhirserver.fhir.fhirpath.scope import MAX_ITEMS, Scope
from fhirserver.fhir.fhirpath.types import TypeTest
from fhirserver.fhir.fhirpath.values import contains, equal_items, equivalent, is_number, kind, order, single
from fhirserver.fhir.units import UCUM

Items = list[Any]
Run = Callable[[Items, Scope], Items]  # (focus, scope) → collection; nobody changes a list that was answered
Truth = Callable[[Items, Scope], bool | None]

EMPTY: Items = []
_TRUE: Items = [True]
_FALSE: Items = [False]
COMPARED: dict[str, Callable[[int], bool]] = {
    "<": lambda sign: sign < 0,
    ">": lambda sign: sign > 0,
    "<=": lambda sign: sign <= 0,
    ">=": lambda sign: sign >= 0,
}
_CONSTANTS = {"sct": "http://snomed.info/sct", "loinc": "http://loinc.org", "ucum": UCUM}


def the_focus(focus: Items, scope: Scope) -> Items:
    return focus


def negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def limited(items: Items) -> Items:
    if len(items) > MAX_ITEMS:
        raise FhirPathError(f"a collection grows over {MAX_ITEMS:,} items")
    return items


def listed(run: Truth) -> Run:
    def as_list(focus: Items, scope: Scope) -> Items:
        value = run(focus, scope)
        return EMPTY if value is None else _TRUE if value else _FALSE

    return as_list


def variable(name: str) -> Run:
    if name == "$this":
        return the_focus
    if name == "$index":
        return lambda focus, scope: [scope.index]
    return lambda focus, scope: list(scope.total)


def external(name: str) -> Run:
    """http://hl7.org/fhirpath/N1/#environment-variables, https://hl7.org/fhir/R4/fhirpath.html#variables"""
    constant = _CONSTANTS.get(name)
    if name.startswith("vs-"):
        constant = f"http://hl7.org/fhir/ValueSet/{name[3:]}"
    elif name.startswith("ext-"):
        constant = STRUCTURE + name[4:]
    if constant is not None:
        items = [constant]
        return lambda focus, scope: items
    if name == "context":
        return lambda focus, scope: [scope.context]
    if name == "resource":
        return lambda focus, scope: [scope.resource]
    if name == "rootResource":
        return lambda focus, scope: [scope.root]
    return lambda focus, scope: scope.external(name)


def walk(steps: list[Callable[[Items], Items]]) -> Run:
    if len(steps) == 1:
        (step,) = steps
        return lambda focus, scope: step(focus)
    if len(steps) == 2:
        one, two = steps
        return lambda focus, scope: two(one(focus))

    def run(focus: Items, scope: Scope) -> Items:
        for step in steps:
            focus = step(focus)
            if not focus:
                break
        return focus

    return run


def walk_from(base: Run, steps: list[Callable[[Items], Items]]) -> Run:
    onward = walk(steps)
    return lambda focus, scope: onward(base(focus, scope), scope)


def metered(run: Run) -> Run:
    def counted(focus: Items, scope: Scope) -> Items:
        found = run(focus, scope)
        cost = len(found) + 1
        if cost == 2:  # a text, which a function may look through
            value = found[0].value if type(found[0]) is Node else found[0]
            cost += len(value) >> 7 if type(value) is str else 0
        scope.spend(cost)
        return found

    return counted


def filtered(run: Run, test: TypeTest) -> Run:
    return lambda focus, scope: [item for item in run(focus, scope) if test(item)]


def is_type(run: Run, test: TypeTest) -> Truth:
    def answer(focus: Items, scope: Scope) -> bool | None:
        items = run(focus, scope)
        if len(items) > 1:
            raise FhirPathError(f"'is' is asked of {len(items)} items")
        return test(items[0]) if items else None

    return answer


def signed(operator: str, run: Run) -> Run:
    def with_sign(focus: Items, scope: Scope) -> Items:
        value = single(run(focus, scope))
        if value is None:
            return EMPTY
        if type(value) is Quantity:
            return [Quantity(-value.value, value.unit) if operator == "-" else value]
        if not is_number(value):
            raise FhirPathError(f"'{operator}' takes a number, not a {kind(value)}")
        return [-value if operator == "-" else value]

    return with_sign


def equals_text(left: Run, text: str, *, negated: bool) -> Truth:
    """`use = 'official'`, the commonest comparison there is."""

    def run(focus: Items, scope: Scope) -> bool | None:
        items = left(focus, scope)
        if not items:
            return None
        if len(items) > 1:
            return negated
        item = items[0]
        if type(item) is Node and item.type == "code":
            return (item.value == text) is not negated if item.value is not None else negated
        same = equal_items(item, text)
        return same if same is None else same is not negated

    return run


def equivalence(left: Run, right: Run, *, negated: bool) -> Truth:
    return lambda focus, scope: equivalent(left(focus, scope), right(focus, scope)) is not negated


def membership(item: Run, collection: Run) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        items = item(focus, scope)
        if not items:
            return None
        if len(items) > 1:
            raise FhirPathError(f"{len(items)} items stand where a single one is looked for")
        others = collection(focus, scope)
        scope.spend(len(others))
        return contains(others, items[0])

    return run


def comparison(decide: Callable[[int], bool], left: Run, right: Run) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a, b = single(left(focus, scope)), single(right(focus, scope))
        if a is None or b is None:
            return None
        sign = order(a, b)
        return None if sign is None else decide(sign)

    return run


def both(left: Truth, right: Truth) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a is False:
            return False
        b = right(focus, scope)
        return b if a or b is False else None

    return run


def either(left: Truth, right: Truth) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a:
            return True
        b = right(focus, scope)
        return b if a is False or b else None

    return run


def exclusive(left: Truth, right: Truth) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a, b = left(focus, scope), right(focus, scope)
        return None if a is None or b is None else a is not b

    return run


def implication(left: Truth, right: Truth) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a is False:
            return True
        b = right(focus, scope)
        return b if a or b else None

    return run


LOGIC: dict[str, Callable[[Truth, Truth], Truth]] = {
    "and": both,
    "or": either,
    "xor": exclusive,
    "implies": implication,
}
TRUTHS = {*LOGIC, *COMPARED, "=", "!=", "~", "!~", "in", "contains"}
