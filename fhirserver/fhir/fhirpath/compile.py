"""Syntax tree to closures. Every node compiles in two ways: to a collection, and - where an answer is a boolean - to
True, False or None, so that conditions and invariants build no lists.

http://hl7.org/fhirpath/N1/#expressions
"""

from __future__ import annotations

from collections.abc import Callable

from fhirserver.fhir.fhirpath.elements import Elements, Node
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.functions import FUNCTIONS
from fhirserver.fhir.fhirpath.operators import (
    COMPARED,
    EMPTY,
    LOGIC,
    TRUTHS,
    Items,
    Run,
    Truth,
    comparison,
    equals_text,
    equivalence,
    external,
    filtered,
    is_type,
    limited,
    listed,
    membership,
    metered,
    signed,
    the_focus,
    variable,
    walk,
    walk_from,
)
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
)
from fhirserver.fhir.fhirpath.projections import ARGUMENTS, EXPRESSION_FUNCTIONS, TRUTH_FUNCTIONS
from fhirserver.fhir.fhirpath.scope import Scope
from fhirserver.fhir.fhirpath.types import TypeTest, type_test
from fhirserver.fhir.fhirpath.values import arithmetic, bounded, distinct, equal, kind, single, truth


class Compiler:
    """`metered`: whatever is made counts, for expressions from outside that run often."""

    def __init__(self, elements: Elements, *, metered: bool = False) -> None:
        self.elements = elements
        self.metered = metered

    def collection(self, node: Expr) -> Run:
        run = self.plain(node)
        return metered(run) if self.metered and not isinstance(node, Literal) else run

    def plain(self, node: Expr) -> Run:
        match node:
            case Literal(values):
                items = list(values)
                return lambda focus, scope: items
            case Variable(name):
                return variable(name)
            case External(name):
                return external(name)
            case Member():
                return self.path(node)
            case Index(target, index):
                return self.indexed(target, index)
            case Unary(operator, operand):
                return signed(operator, self.collection(operand))
            case Binary(operator, left, right):
                if operator in TRUTHS:
                    return listed(self.truth(node))
                return self.binary(operator, left, right)
            case TypeOperation(operator, operand, name):
                if operator == "is":
                    return listed(self.truth(node))
                return filtered(self.collection(operand), self.type_test(name, node.position, exact=True))
            case Call():
                if node.name in TRUTH_FUNCTIONS:
                    self.check_arguments(node)
                    return listed(self.truth(node))
                return self.call(node)

    def truth(self, node: Expr) -> Truth:
        match node:
            case Binary(operator, left, right) if operator in LOGIC:
                return LOGIC[operator](self.truth(left), self.truth(right))
            case Binary("=" | "!=" as operator, left, right):
                return self.equality(left, right, negated=operator == "!=")
            case Binary("~" | "!~" as operator, left, right):
                return equivalence(self.collection(left), self.collection(right), negated=operator == "!~")
            case Binary("in", left, right):
                return membership(self.collection(left), self.collection(right))
            case Binary("contains", left, right):
                return membership(self.collection(right), self.collection(left))
            case Binary(operator, left, right) if operator in COMPARED:
                return comparison(COMPARED[operator], self.collection(left), self.collection(right))
            case TypeOperation("is", operand, name):
                return is_type(self.collection(operand), self.type_test(name, node.position))
            case Call() if node.name in TRUTH_FUNCTIONS:
                self.check_arguments(node)
                return TRUTH_FUNCTIONS[node.name](self, node)
            case _:
                run = self.collection(node)
                return lambda focus, scope: truth(run(focus, scope))

    def target(self, node: Expr | None) -> Run:
        """What a function is called on: the focus, if nothing stands before it."""
        return the_focus if node is None else self.collection(node)

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
            return walk(steps)
        return walk_from(self.collection(base), steps)

    def root_step(self, name: str) -> Callable[[Items], Items]:
        """`Patient` at the head of a path is the focus itself, if it is a Patient."""
        test = type_test(name, self.elements.definitions, 0)
        return lambda items: [item for item in items if type(item) is Node and test(item)]

    def indexed(self, target: Expr, index: Expr) -> Run:
        run, at = self.collection(target), self.collection(index)

        def item(focus: Items, scope: Scope) -> Items:
            position = single(at(focus, scope), "a single integer")
            if position is None:
                return EMPTY
            if type(position) is not int:
                raise FhirPathError("an index is an integer")
            return run(focus, scope)[position : position + 1] if position >= 0 else EMPTY

        return item

    def type_test(self, name: str, position: int, *, exact: bool = False) -> TypeTest:
        return type_test(name, self.elements.definitions, position, exact_primitives=exact)

    # operators

    def binary(self, operator: str, left_node: Expr, right_node: Expr) -> Run:
        left, right = self.collection(left_node), self.collection(right_node)

        def union(focus: Items, scope: Scope) -> Items:
            return distinct(limited(left(focus, scope) + right(focus, scope)), scope.spend)

        def concatenation(focus: Items, scope: Scope) -> Items:
            a, b = (single(run(focus, scope)) for run in (left, right))
            a, b = "" if a is None else a, "" if b is None else b
            if type(a) is not str or type(b) is not str:
                raise FhirPathError(f"'&' takes strings, not a {kind(a)} and a {kind(b)}")
            return [bounded(a + b)]

        def calculation(focus: Items, scope: Scope) -> Items:
            a, b = single(left(focus, scope)), single(right(focus, scope))
            if a is None or b is None:
                return EMPTY
            result = arithmetic(operator, a, b)
            return EMPTY if result is None else [result]

        return {"|": union, "&": concatenation}.get(operator, calculation)

    def equality(self, left_node: Expr, right_node: Expr, *, negated: bool) -> Truth:
        left, right = self.collection(left_node), self.collection(right_node)
        if isinstance(right_node, Literal) and len(right_node.values) == 1 and type(right_node.values[0]) is str:
            return equals_text(left, right_node.values[0], negated=negated)

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
        special = EXPRESSION_FUNCTIONS.get(node.name)
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
