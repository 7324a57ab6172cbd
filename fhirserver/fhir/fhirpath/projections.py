"""Functions that take expressions, and functions that answer a boolean: compiled by hand, not called with values.

http://hl7.org/fhirpath/N1/#functions
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from fhirserver.fhir.fhirpath.elements import Node
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.functions import FUNCTIONS
from fhirserver.fhir.fhirpath.operators import EMPTY, Items, Run, Truth, filtered, is_type, limited, negated
from fhirserver.fhir.fhirpath.parse import Call, Expr, Member, Unary, Variable, type_argument
from fhirserver.fhir.fhirpath.scope import Scope
from fhirserver.fhir.fhirpath.texts import TEXT_TESTS, text_of
from fhirserver.fhir.fhirpath.values import contains, has_value, kind, order, single, truth

if TYPE_CHECKING:
    from fhirserver.fhir.fhirpath.compile import Compiler


def _exists(compiler: Compiler, node: Call) -> Truth:
    if not node.arguments:
        return _presence(compiler, node.target)
    target = compiler.target(node.target)
    condition = compiler.truth(node.arguments[0])

    def run(focus: Items, scope: Scope) -> bool:
        return any(condition([item], scope) is True for item in _each(target(focus, scope), scope))

    return run


def _empty(compiler: Compiler, node: Call) -> Truth:
    present = _presence(compiler, node.target)
    return lambda focus, scope: not present(focus, scope)


def _presence(compiler: Compiler, node: Expr | None) -> Truth:
    """Whether there is anything; at the end of a path without making the elements that are there."""
    if not isinstance(node, Member) or (node.target is None and node.name in compiler.elements.definitions.types):
        target = compiler.target(node)
        return lambda focus, scope: bool(target(focus, scope))
    present = compiler.elements.presence(node.name)
    if node.target is None:
        return lambda focus, scope: present(focus)
    base = compiler.collection(node.target)
    return lambda focus, scope: present(base(focus, scope))


def _text_test(compiler: Compiler, node: Call) -> Truth:
    """startsWith() and its like, mostly with a literal."""
    target, argument = compiler.target(node.target), compiler.collection(node.arguments[0])
    test, name = TEXT_TESTS[node.name], node.name

    def run(focus: Items, scope: Scope) -> bool | None:
        value, wanted = text_of(single(target(focus, scope)), name), single(argument(focus, scope))
        if value is None or wanted is None:
            return None
        if type(wanted) is not str:
            raise FhirPathError(f"{name}() takes a string, not a {kind(wanted)}")
        return test(value, wanted)

    return run


def _all(compiler: Compiler, node: Call) -> Truth:
    target, condition = compiler.target(node.target), compiler.truth(node.arguments[0])

    def run(focus: Items, scope: Scope) -> bool:
        return all(condition([item], scope) is True for item in _each(target(focus, scope), scope))

    return run


def _negation(compiler: Compiler, node: Call) -> Truth:
    if node.target is None:
        return lambda focus, scope: negated(truth(focus))
    operand = compiler.truth(node.target)
    return lambda focus, scope: negated(operand(focus, scope))


def _valued(compiler: Compiler, node: Call) -> Truth:
    target = compiler.target(node.target)

    def run(focus: Items, scope: Scope) -> bool:
        items = target(focus, scope)
        return len(items) == 1 and has_value(items[0])

    return run


def _has_extension(compiler: Compiler, node: Call) -> Truth:
    extension = _extension(compiler, node)
    return lambda focus, scope: bool(extension(focus, scope))


def _type_function(compiler: Compiler, node: Call) -> Truth:
    name = type_argument(node.arguments[0])
    return is_type(compiler.target(node.target), compiler.type_test(name, node.position))


def _where(compiler: Compiler, node: Call) -> Run:
    target, condition = compiler.target(node.target), compiler.truth(node.arguments[0])

    def run(focus: Items, scope: Scope) -> Items:
        out = []
        for item in _each(target(focus, scope), scope):
            if condition([item], scope) is True:
                out.append(item)
        return out

    return run


def _select(compiler: Compiler, node: Call) -> Run:
    target, projection = compiler.target(node.target), compiler.collection(node.arguments[0])

    def run(focus: Items, scope: Scope) -> Items:
        out: Items = []
        for item in _each(target(focus, scope), scope):
            out += projection([item], scope)
            limited(out)
        return out

    return run


def _repeat(compiler: Compiler, node: Call) -> Run:
    target, projection = compiler.target(node.target), compiler.collection(node.arguments[0])

    def run(focus: Items, scope: Scope) -> Items:
        out: Items = []
        seen: set[int] = set()
        todo = target(focus, scope)
        while todo:
            found: Items = []
            for item in todo:
                scope.spend(1)
                for child in projection([item], scope):
                    if _first_time(child, seen, out, scope):
                        out.append(child)
                        found.append(child)
            todo = limited(found)
            limited(out)
        return out

    return run


def _aggregate(compiler: Compiler, node: Call) -> Run:
    target, step = compiler.target(node.target), compiler.collection(node.arguments[0])
    start = compiler.collection(node.arguments[1]) if len(node.arguments) > 1 else None

    def run(focus: Items, scope: Scope) -> Items:
        outer, total = scope.total, start(focus, scope) if start else []
        for item in _each(target(focus, scope), scope):
            scope.total = total
            total = limited(step([item], scope))
        scope.total = outer
        return total

    return run


def _iif(compiler: Compiler, node: Call) -> Run:
    """Only the branch that is chosen is evaluated: http://hl7.org/fhirpath/N1/#iif"""
    target = None if node.target is None else compiler.collection(node.target)
    criterion, *branches = (compiler.collection(argument) for argument in node.arguments)

    def run(focus: Items, scope: Scope) -> Items:
        items = focus if target is None else target(focus, scope)
        if target is not None and len(items) > 1:
            raise FhirPathError(f"iif() is called on {len(items)} items")
        value = single(criterion(items, scope), "a single boolean")
        if value is not None and type(value) is not bool:
            raise FhirPathError(f"iif() takes a boolean, not a {kind(value)}")
        if value:
            return branches[0](items, scope)
        return branches[1](items, scope) if len(branches) > 1 else EMPTY

    return run


def _trace(compiler: Compiler, node: Call) -> Run:
    """The collection as it is; there is no log that an expression may write to."""
    for argument in node.arguments:
        compiler.collection(argument)
    return compiler.target(node.target)


def _sort(compiler: Compiler, node: Call) -> Run:
    """http://hl7.org/fhirpath/#sort: a minus turns a key round; an item without a key comes first."""
    target = compiler.target(node.target)
    keys = []
    for argument in node.arguments or (Variable("$this", node.position),):
        descending = isinstance(argument, Unary) and argument.operator == "-"
        key = argument.operand if isinstance(argument, Unary) else argument
        keys.append((compiler.collection(key), -1 if descending else 1))

    def run(focus: Items, scope: Scope) -> Items:
        items = target(focus, scope)
        scope.spend(len(items) * len(keys))
        rows = [([single(key([item], scope)) for key, _ in keys], item) for item in items]

        def compare(left: tuple[Items, Any], right: tuple[Items, Any]) -> int:
            for a, b, (_, sign) in zip(left[0], right[0], keys, strict=True):
                if a is None or b is None:
                    result = int(a is not None) - int(b is not None)
                else:
                    result = (order(a, b) or 0) * sign
                if result:
                    return result
            return 0

        return [item for _, item in sorted(rows, key=cmp_to_key(compare))]

    return run


def _of_type(compiler: Compiler, node: Call) -> Run:
    name = type_argument(node.arguments[0])
    return filtered(compiler.target(node.target), compiler.type_test(name, node.position, exact=True))


def _extension(compiler: Compiler, node: Call) -> Run:
    """https://hl7.org/fhir/R4/fhirpath.html#functions"""
    target, url = compiler.target(node.target), compiler.collection(node.arguments[0])
    step = compiler.elements.step("extension")

    def run(focus: Items, scope: Scope) -> Items:
        wanted = single(url(focus, scope), "the URL of an extension")
        extensions = step(target(focus, scope))
        scope.spend(len(extensions))
        return [item for item in extensions if type(item.value) is dict and item.value.get("url") == wanted]

    return run


def _children(compiler: Compiler, node: Call) -> Run:
    target, children = compiler.target(node.target), compiler.elements.children

    def run(focus: Items, scope: Scope) -> Items:
        out = children(target(focus, scope))
        scope.spend(len(out))
        return out

    return run


def _descendants(compiler: Compiler, node: Call) -> Run:
    target, children = compiler.target(node.target), compiler.elements.children

    def run(focus: Items, scope: Scope) -> Items:
        out: Items = []
        level = children(target(focus, scope))
        while level:
            out += level
            scope.spend(len(level))
            limited(out)
            level = children(level)
        return out

    return run


def _first_time(item: Any, seen: set[int], out: Items, scope: Scope) -> bool:
    """Objects of the resource by identity, all else by equality."""
    if type(item) is Node and type(item.value) is dict:
        if id(item.value) in seen:
            return False
        seen.add(id(item.value))
        return True
    scope.spend(len(out))
    return not contains(out, item)


def _each(items: Items, scope: Scope) -> Iterator[Any]:
    """The items one by one, with $index; what the body calls may have its own."""
    outer = scope.index
    try:
        for i, item in enumerate(items):
            scope.index = i
            scope.spend(1)
            yield item
    finally:
        scope.index = outer


TRUTH_FUNCTIONS: dict[str, Callable[[Compiler, Call], Truth]] = {
    "exists": _exists,
    "empty": _empty,
    "all": _all,
    "not": _negation,
    "is": _type_function,
    "hasValue": _valued,
    "hasExtension": _has_extension,
    **dict.fromkeys(TEXT_TESTS, _text_test),
}
EXPRESSION_FUNCTIONS: dict[str, Callable[[Compiler, Call], Run]] = {
    "where": _where,
    "select": _select,
    "repeat": _repeat,
    "aggregate": _aggregate,
    "iif": _iif,
    "trace": _trace,
    "sort": _sort,
    "as": _of_type,
    "ofType": _of_type,
    "extension": _extension,
    "children": _children,
    "descendants": _descendants,
}
ARGUMENTS: dict[str, tuple[int, int]] = {
    **{name: (function.least, function.most) for name, function in FUNCTIONS.items()},
    **dict.fromkeys(("where", "select", "repeat", "all", "as", "ofType", "is", "extension", "hasExtension"), (1, 1)),
    **dict.fromkeys(TEXT_TESTS, (1, 1)),
    **dict.fromkeys(("children", "descendants", "empty", "hasValue"), (0, 0)),
    "exists": (0, 1),
    "aggregate": (1, 2),
    "iif": (2, 3),
    "trace": (1, 2),
    "sort": (0, 20),
}
