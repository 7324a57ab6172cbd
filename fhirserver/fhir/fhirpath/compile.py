"""Syntax tree to closures. Every node compiles in two ways: to a collection, and - where an answer is a boolean - to
True, False or None, so that conditions and invariants build no lists.

http://hl7.org/fhirpath/N1/#expressions
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any, ClassVar

from fhirserver.fhir.fhirpath.elements import Elements, Node
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.functions import FUNCTIONS
from fhirserver.fhir.fhirpath.parse import (
    Binary,
    Call,
    Expr,
    External,
    Index,
    Literal,
    Member,
    TypeOperation,
    Unary,
    Variable,
    type_argument,
)
from fhirserver.fhir.fhirpath.quantities import UCUM, Quantity
from fhirserver.fhir.fhirpath.scope import MAX_ITEMS, Scope
from fhirserver.fhir.fhirpath.texts import TEXT_TESTS, text_of
from fhirserver.fhir.fhirpath.types import TypeTest, type_test
from fhirserver.fhir.fhirpath.values import (
    arithmetic,
    bounded,
    contains,
    distinct,
    equal,
    equal_items,
    equivalent,
    has_value,
    is_number,
    kind,
    order,
    single,
    truth,
)

Items = list[Any]
Run = Callable[[Items, Scope], Items]  # (focus, scope) → collection; nobody changes a list that was answered
Truth = Callable[[Items, Scope], bool | None]

_EMPTY: Items = []
_TRUE: Items = [True]
_FALSE: Items = [False]
_COMPARED: dict[str, Callable[[int], bool]] = {
    "<": lambda sign: sign < 0,
    ">": lambda sign: sign > 0,
    "<=": lambda sign: sign <= 0,
    ">=": lambda sign: sign >= 0,
}
_CONSTANTS = {"sct": "http://snomed.info/sct", "loinc": "http://loinc.org", "ucum": UCUM}


class Compiler:
    def __init__(self, elements: Elements) -> None:
        self.elements = elements

    def collection(self, node: Expr) -> Run:
        match node:
            case Literal(values):
                items = list(values)
                return lambda focus, scope: items
            case Variable(name):
                return _variable(name)
            case External(name):
                return _external(name)
            case Member():
                return self.path(node)
            case Index(target, index):
                return self.indexed(target, index)
            case Unary(operator, operand):
                return _signed(operator, self.collection(operand))
            case Binary(operator, left, right):
                if operator in _TRUTHS:
                    return _listed(self.truth(node))
                return self.binary(operator, left, right)
            case TypeOperation(operator, operand, name):
                if operator == "is":
                    return _listed(self.truth(node))
                return _filtered(self.collection(operand), self.type_test(name, node.position, exact=True))
            case Call():
                if node.name in self.truths:
                    self.check_arguments(node)
                    return _listed(self.truth(node))
                return self.call(node)

    def truth(self, node: Expr) -> Truth:
        match node:
            case Binary(operator, left, right) if operator in _LOGIC:
                return _LOGIC[operator](self.truth(left), self.truth(right))
            case Binary("=" | "!=" as operator, left, right):
                return self.equality(left, right, negated=operator == "!=")
            case Binary("~" | "!~" as operator, left, right):
                return _equivalence(self.collection(left), self.collection(right), negated=operator == "!~")
            case Binary("in", left, right):
                return _membership(self.collection(left), self.collection(right))
            case Binary("contains", left, right):
                return _membership(self.collection(right), self.collection(left))
            case Binary(operator, left, right) if operator in _COMPARED:
                return _comparison(_COMPARED[operator], self.collection(left), self.collection(right))
            case TypeOperation("is", operand, name):
                return _is(self.collection(operand), self.type_test(name, node.position))
            case Call() if node.name in self.truths:
                self.check_arguments(node)
                return self.truths[node.name](self, node)
            case _:
                run = self.collection(node)
                return lambda focus, scope: truth(run(focus, scope))

    def target(self, node: Expr | None) -> Run:
        """What a function is called on: the focus, if nothing stands before it."""
        return _focus if node is None else self.collection(node)

    # paths

    def path(self, node: Member) -> Run:
        names = []
        base: Expr | None = node
        while isinstance(base, Member):
            names.append(base.name)
            base = base.target
        names.reverse()
        first = names[0]
        steps = [self.elements.step(name) for name in names]
        if base is None and first in self.elements.definitions.types and first[:1].isupper():
            steps[0] = self.root_step(first)
        if base is None:
            return _walk(steps)
        return _walk_from(self.collection(base), steps)

    def root_step(self, name: str) -> Callable[[Items], Items]:
        """`Patient` at the head of a path is the focus itself, if it is a Patient."""
        test = type_test(name, self.elements.definitions, 0)
        return lambda items: [item for item in items if type(item) is Node and test(item)]

    def indexed(self, target: Expr, index: Expr) -> Run:
        run, at = self.collection(target), self.collection(index)

        def item(focus: Items, scope: Scope) -> Items:
            position = single(at(focus, scope), "a single integer")
            if position is None:
                return _EMPTY
            if type(position) is not int:
                raise FhirPathError("an index is an integer")
            return run(focus, scope)[position : position + 1] if position >= 0 else _EMPTY

        return item

    def type_test(self, name: str, position: int, *, exact: bool = False) -> TypeTest:
        return type_test(name, self.elements.definitions, position, exact_primitives=exact)

    # operators

    def binary(self, operator: str, left_node: Expr, right_node: Expr) -> Run:
        left, right = self.collection(left_node), self.collection(right_node)

        def union(focus: Items, scope: Scope) -> Items:
            return distinct(_limited(left(focus, scope) + right(focus, scope)))

        def concatenation(focus: Items, scope: Scope) -> Items:
            a, b = (single(run(focus, scope)) for run in (left, right))
            a, b = "" if a is None else a, "" if b is None else b
            if type(a) is not str or type(b) is not str:
                raise FhirPathError(f"'&' takes strings, not a {kind(a)} and a {kind(b)}")
            return [bounded(a + b)]

        def calculation(focus: Items, scope: Scope) -> Items:
            a, b = single(left(focus, scope)), single(right(focus, scope))
            if a is None or b is None:
                return _EMPTY
            result = arithmetic(operator, a, b)
            return _EMPTY if result is None else [result]

        return {"|": union, "&": concatenation}.get(operator, calculation)

    def equality(self, left_node: Expr, right_node: Expr, *, negated: bool) -> Truth:
        left, right = self.collection(left_node), self.collection(right_node)
        if isinstance(right_node, Literal) and len(right_node.values) == 1 and type(right_node.values[0]) is str:
            return _equals_text(left, right_node.values[0], negated=negated)

        def run(focus: Items, scope: Scope) -> bool | None:
            same = equal(left(focus, scope), right(focus, scope))
            return same if same is None else same is not negated

        return run

    # functions

    def check_arguments(self, node: Call) -> None:
        least, most = ARGUMENTS[node.name]
        if not least <= len(node.arguments) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise FhirPathError(f"{node.name}() takes {wanted} arguments, not {len(node.arguments)}", node.position)

    def call(self, node: Call) -> Run:
        if node.name not in ARGUMENTS:
            raise FhirPathError(f"{node.name}() is no function of FHIRPath", node.position)
        self.check_arguments(node)
        special = self.specials.get(node.name)
        if special is not None:
            return special(self, node)
        function = FUNCTIONS[node.name].run
        target = self.target(node.target)
        arguments = [self.collection(argument) for argument in node.arguments]
        if not arguments:
            return lambda focus, scope: function(target(focus, scope), scope)
        if len(arguments) == 1:
            (argument,) = arguments
            return lambda focus, scope: function(target(focus, scope), scope, argument(focus, scope))
        return lambda focus, scope: function(target(focus, scope), scope, *(a(focus, scope) for a in arguments))

    def exists(self, node: Call) -> Truth:
        if not node.arguments:
            return self.presence(node.target)
        target = self.target(node.target)
        condition = self.truth(node.arguments[0])

        def run(focus: Items, scope: Scope) -> bool:
            for i, item in enumerate(target(focus, scope)):
                scope.index = i
                scope.spend(1)
                if condition([item], scope) is True:
                    return True
            return False

        return run

    def empty(self, node: Call) -> Truth:
        present = self.presence(node.target)
        return lambda focus, scope: not present(focus, scope)

    def presence(self, node: Expr | None) -> Truth:
        """Whether there is anything; at the end of a path without making the elements that are there."""
        if not isinstance(node, Member) or (node.target is None and node.name in self.elements.definitions.types):
            target = self.target(node)
            return lambda focus, scope: bool(target(focus, scope))
        present = self.elements.presence(node.name)
        if node.target is None:
            return lambda focus, scope: present(focus)
        base = self.collection(node.target)
        return lambda focus, scope: present(base(focus, scope))

    def text_test(self, node: Call) -> Truth:
        """startsWith() and its like, mostly with a literal."""
        target, argument = self.target(node.target), self.collection(node.arguments[0])
        test, name = TEXT_TESTS[node.name], node.name

        def run(focus: Items, scope: Scope) -> bool | None:
            value, wanted = text_of(single(target(focus, scope)), name), single(argument(focus, scope))
            if value is None or wanted is None:
                return None
            if type(wanted) is not str:
                raise FhirPathError(f"{name}() takes a string, not a {kind(wanted)}")
            return test(value, wanted)

        return run

    def all(self, node: Call) -> Truth:
        target, condition = self.target(node.target), self.truth(node.arguments[0])

        def run(focus: Items, scope: Scope) -> bool:
            for i, item in enumerate(target(focus, scope)):
                scope.index = i
                scope.spend(1)
                if condition([item], scope) is not True:
                    return False
            return True

        return run

    def negation(self, node: Call) -> Truth:
        if node.target is None:
            return lambda focus, scope: _not(truth(focus))
        operand = self.truth(node.target)
        return lambda focus, scope: _not(operand(focus, scope))

    def valued(self, node: Call) -> Truth:
        target = self.target(node.target)

        def run(focus: Items, scope: Scope) -> bool:
            items = target(focus, scope)
            return len(items) == 1 and has_value(items[0])

        return run

    def has_extension(self, node: Call) -> Truth:
        extension = self.extension(node)
        return lambda focus, scope: bool(extension(focus, scope))

    def type_function(self, node: Call) -> Truth:
        name = type_argument(node.arguments[0])
        return _is(self.target(node.target), self.type_test(name, node.position))

    def where(self, node: Call) -> Run:
        target, condition = self.target(node.target), self.truth(node.arguments[0])

        def run(focus: Items, scope: Scope) -> Items:
            out = []
            for i, item in enumerate(target(focus, scope)):
                scope.index = i
                scope.spend(1)
                if condition([item], scope) is True:
                    out.append(item)
            return out

        return run

    def select(self, node: Call) -> Run:
        target, projection = self.target(node.target), self.collection(node.arguments[0])

        def run(focus: Items, scope: Scope) -> Items:
            out: Items = []
            for i, item in enumerate(target(focus, scope)):
                scope.index = i
                scope.spend(1)
                out += projection([item], scope)
                _limited(out)
            return out

        return run

    def repeat(self, node: Call) -> Run:
        target, projection = self.target(node.target), self.collection(node.arguments[0])

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
                todo = _limited(found)
                _limited(out)
            return out

        return run

    def aggregate(self, node: Call) -> Run:
        target, step = self.target(node.target), self.collection(node.arguments[0])
        start = self.collection(node.arguments[1]) if len(node.arguments) > 1 else None

        def run(focus: Items, scope: Scope) -> Items:
            outer, total = scope.total, start(focus, scope) if start else []
            for i, item in enumerate(target(focus, scope)):
                scope.spend(1)
                scope.index, scope.total = i, total
                total = _limited(step([item], scope))
            scope.total = outer
            return total

        return run

    def iif(self, node: Call) -> Run:
        """Only the branch that is chosen is evaluated: http://hl7.org/fhirpath/N1/#iif"""
        target = None if node.target is None else self.collection(node.target)
        criterion, *branches = (self.collection(argument) for argument in node.arguments)

        def run(focus: Items, scope: Scope) -> Items:
            items = focus if target is None else target(focus, scope)
            if target is not None and len(items) > 1:
                raise FhirPathError(f"iif() is called on {len(items)} items")
            value = single(criterion(items, scope), "a single boolean")
            if value is not None and type(value) is not bool:
                raise FhirPathError(f"iif() takes a boolean, not a {kind(value)}")
            if value:
                return branches[0](items, scope)
            return branches[1](items, scope) if len(branches) > 1 else _EMPTY

        return run

    def trace(self, node: Call) -> Run:
        """The collection as it is; there is no log that an expression may write to."""
        for argument in node.arguments:
            self.collection(argument)
        return self.target(node.target)

    def sort(self, node: Call) -> Run:
        """http://hl7.org/fhirpath/#sort: a minus turns a key round; an item without a key comes first."""
        target = self.target(node.target)
        keys = []
        for argument in node.arguments or (Variable("$this", node.position),):
            descending = isinstance(argument, Unary) and argument.operator == "-"
            key = argument.operand if isinstance(argument, Unary) else argument
            keys.append((self.collection(key), -1 if descending else 1))

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

    def of_type(self, node: Call) -> Run:
        name = type_argument(node.arguments[0])
        return _filtered(self.target(node.target), self.type_test(name, node.position, exact=True))

    def extension(self, node: Call) -> Run:
        """https://hl7.org/fhir/R4/fhirpath.html#functions"""
        target, url = self.target(node.target), self.collection(node.arguments[0])
        step = self.elements.step("extension")

        def run(focus: Items, scope: Scope) -> Items:
            wanted = single(url(focus, scope), "the URL of an extension")
            extensions = step(target(focus, scope))
            return [item for item in extensions if type(item.value) is dict and item.value.get("url") == wanted]

        return run

    def children(self, node: Call) -> Run:
        target, children = self.target(node.target), self.elements.children

        def run(focus: Items, scope: Scope) -> Items:
            out = children(target(focus, scope))
            scope.spend(len(out))
            return out

        return run

    def descendants(self, node: Call) -> Run:
        target, children = self.target(node.target), self.elements.children

        def run(focus: Items, scope: Scope) -> Items:
            out: Items = []
            level = children(target(focus, scope))
            while level:
                out += level
                scope.spend(len(level))
                _limited(out)
                level = children(level)
            return out

        return run

    truths: ClassVar[dict[str, Callable[[Compiler, Call], Truth]]] = {
        "exists": exists,
        "empty": empty,
        "all": all,
        "not": negation,
        "is": type_function,
        "hasValue": valued,
        "hasExtension": has_extension,
        **dict.fromkeys(TEXT_TESTS, text_test),
    }
    specials: ClassVar[dict[str, Callable[[Compiler, Call], Run]]] = {
        "where": where,
        "select": select,
        "repeat": repeat,
        "aggregate": aggregate,
        "iif": iif,
        "trace": trace,
        "sort": sort,
        "as": of_type,
        "ofType": of_type,
        "extension": extension,
        "children": children,
        "descendants": descendants,
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


def _focus(focus: Items, scope: Scope) -> Items:
    return focus


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _limited(items: Items) -> Items:
    if len(items) > MAX_ITEMS:
        raise FhirPathError(f"a collection grows over {MAX_ITEMS:,} items")
    return items


def _listed(run: Truth) -> Run:
    def listed(focus: Items, scope: Scope) -> Items:
        value = run(focus, scope)
        return _EMPTY if value is None else _TRUE if value else _FALSE

    return listed


def _variable(name: str) -> Run:
    if name == "$this":
        return _focus
    if name == "$index":
        return lambda focus, scope: [scope.index]
    return lambda focus, scope: list(scope.total)


def _external(name: str) -> Run:
    """http://hl7.org/fhirpath/N1/#environment-variables, https://hl7.org/fhir/R4/fhirpath.html#variables"""
    constant = _CONSTANTS.get(name)
    if name.startswith("vs-"):
        constant = f"http://hl7.org/fhir/ValueSet/{name[3:]}"
    elif name.startswith("ext-"):
        constant = f"http://hl7.org/fhir/StructureDefinition/{name[4:]}"
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


def _walk(steps: list[Callable[[Items], Items]]) -> Run:
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


def _walk_from(base: Run, steps: list[Callable[[Items], Items]]) -> Run:
    walk = _walk(steps)
    return lambda focus, scope: walk(base(focus, scope), scope)


def _filtered(run: Run, test: TypeTest) -> Run:
    return lambda focus, scope: [item for item in run(focus, scope) if test(item)]


def _is(run: Run, test: TypeTest) -> Truth:
    def answer(focus: Items, scope: Scope) -> bool | None:
        items = run(focus, scope)
        if len(items) > 1:
            raise FhirPathError(f"'is' is asked of {len(items)} items")
        return test(items[0]) if items else None

    return answer


def _signed(operator: str, run: Run) -> Run:
    def signed(focus: Items, scope: Scope) -> Items:
        value = single(run(focus, scope))
        if value is None:
            return _EMPTY
        if type(value) is Quantity:
            return [Quantity(-value.value, value.unit) if operator == "-" else value]
        if not is_number(value):
            raise FhirPathError(f"'{operator}' takes a number, not a {kind(value)}")
        return [-value if operator == "-" else value]

    return signed


def _equals_text(left: Run, text: str, *, negated: bool) -> Truth:
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


def _equivalence(left: Run, right: Run, *, negated: bool) -> Truth:
    return lambda focus, scope: equivalent(left(focus, scope), right(focus, scope)) is not negated


def _membership(item: Run, collection: Run) -> Truth:
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


def _comparison(decide: Callable[[int], bool], left: Run, right: Run) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a, b = single(left(focus, scope)), single(right(focus, scope))
        if a is None or b is None:
            return None
        sign = order(a, b)
        return None if sign is None else decide(sign)

    return run


def _and(left: Truth, right: Truth) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a is False:
            return False
        b = right(focus, scope)
        return b if a or b is False else None

    return run


def _or(left: Truth, right: Truth) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a:
            return True
        b = right(focus, scope)
        return b if a is False or b else None

    return run


def _xor(left: Truth, right: Truth) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a, b = left(focus, scope), right(focus, scope)
        return None if a is None or b is None else a is not b

    return run


def _implies(left: Truth, right: Truth) -> Truth:
    def run(focus: Items, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a is False:
            return True
        b = right(focus, scope)
        return b if a or b else None

    return run


_LOGIC: dict[str, Callable[[Truth, Truth], Truth]] = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}
_TRUTHS = {*_LOGIC, *_COMPARED, "=", "!=", "~", "!~", "in", "contains"}


def _first_time(item: Any, seen: set[int], out: Items, scope: Scope) -> bool:
    """Objects of the resource by identity, all else by equality."""
    if type(item) is Node and type(item.value) is dict:
        if id(item.value) in seen:
            return False
        seen.add(id(item.value))
        return True
    scope.spend(len(out))
    return not contains(out, item)
