"""What a profile adds to the rules of its type, compiled to closures; what it repeats of the type is not asked again.

https://hl7.org/fhir/R4/profiling.html. Of each element the values are read once, with what stands in `_name` beside a
primitive, and then asked: how many, of which types, in which slices, and whatever is said of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import STRUCTURE, Constraint, Definitions, Element
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.findings import Finding, Issues, Problem, Question, issue, located, under, wrong
from fhirserver.validation.invariants import CHECKED, Invariant
from fhirserver.validation.narrowing import conforming, referring
from fhirserver.validation.reading import Ask, Json, Read, reader
from fhirserver.validation.references import Container
from fhirserver.validation.slicing import Slices, sliced
from fhirserver.validation.trees import Spec, Type
from fhirserver.validation.values import Value, at_least, at_most, fixed, longest, patterned
from fhirserver.validation.words import one_of, times

Part = Callable[[Json, Container], Issues]  # of an object: what is said of one element of it

CODED = frozenset({"code", "string", "uri", "Coding", "CodeableConcept", "Quantity"})
SYSTEM = "http://hl7.org/fhirpath/System."


class Additions:
    """Compiles the elements of one profile, whose `url` its invariants and questions name."""

    def __init__(self, definitions: Definitions, url: str) -> None:
        self.definitions = definitions
        self.url = url

    def of(self, spec: Spec, type_: str, element: Element | None, beside: Spec | None = None) -> Ask | None:
        """Everything that is said of a value of a type; of a slice, what is not said of all (`beside`) already."""
        first = self._values(spec, beside) + self._types(spec, type_, element, beside)
        if parts := self._parts(spec, type_, beside):
            first.append(_whole(parts))
        rest = self._bindings(spec, type_, element, beside) + self._invariants(spec, type_, element, beside)
        asks = first + rest
        if len(asks) < 2:
            return asks[0] if asks else None
        return _all(tuple(first), tuple(rest))

    def _values(self, spec: Spec, beside: Spec | None) -> list[Ask]:
        rules: tuple[tuple[str, Callable[[Any], Value]], ...] = (
            ("fixed", fixed),
            ("pattern", patterned),
            ("low", at_least),
            ("high", at_most),
            ("max_length", longest),
        )
        asks: list[Ask] = []
        for name, rule in rules:
            said = getattr(spec, name)
            if said is not None and (beside is None or getattr(beside, name) != said):
                asks.append(_asked(rule(said)))
        return asks

    def _types(self, spec: Spec, type_: str, element: Element | None, beside: Spec | None) -> list[Ask]:
        if beside is not None and beside.types == spec.types:
            return []
        asks: list[Ask] = []
        for each in spec.types:
            if self.type_code(each, element) != type_:
                continue
            profiles = tuple(url for url in each.profiles if url.removeprefix(STRUCTURE) not in self.definitions.types)
            of_base = element.profiles.get(type_) if element else None
            if profiles and profiles != of_base and not self.definitions.primitive(type_) and type_ != "Extension":
                asks.append(conforming(profiles, type_))
            if type_ == "Reference" and (ask := referring(each, self._targets(element), self.definitions)):
                asks.append(ask)
        return asks

    @staticmethod
    def _targets(element: Element | None) -> frozenset[str]:
        return frozenset(element.targets.get("Reference", ())) if element else frozenset()

    def type_code(self, type_: Type, element: Element | None) -> str:
        """As the tables of the base name it: a backbone by its path."""
        if element is not None and len(element.types) == 1 and not element.choice:
            (only,) = element.types
            return only if only not in ("Resource", "DomainResource") else type_.code
        return type_.code

    def _bindings(self, spec: Spec, type_: str, element: Element | None, beside: Spec | None) -> list[Ask]:
        if type_ not in CODED:
            return []
        known = {(element.binding.strength, _bare(element.binding.value_set))} if element and element.binding else set()
        if beside is not None:
            known |= {(each.strength, _bare(each.value_set)) for each in beside.bindings}
        return [
            _question(each.strength, each.value_set, type_, self.url)
            for each in spec.bindings
            if each.strength != "example" and (each.strength, _bare(each.value_set)) not in known
        ]

    def _invariants(self, spec: Spec, type_: str, element: Element | None, beside: Spec | None) -> list[Ask]:
        known = set(CHECKED)
        definition = self.definitions.types.get(type_)
        for constraints in (
            definition.constraints if definition else (),
            element.constraints if element else (),
            beside.constraints if beside else (),
        ):
            known |= {each.key for each in constraints}
        return [self._invariant(each, type_) for each in spec.constraints if each.key not in known]

    def _invariant(self, constraint: Constraint, type_: str) -> Ask:
        compiled = Invariant(constraint, type_, self.definitions, self.url)
        return lambda value, sibling, container: compiled.findings(value, container, sibling)

    # the parts of a value

    def _parts(self, spec: Spec, type_: str, beside: Spec | None) -> list[Part]:
        definition = self.definitions.types.get(type_)
        if definition is None or not spec.children:
            return []
        primitive = definition.kind == "primitive-type"
        elements = self.definitions.types["Element"].by_name if primitive else definition.by_name
        parts = []
        for name, child in spec.children.items():
            element = elements.get(name)
            if element is None and name in definition.by_key:
                element, only = definition.by_key[name]
                child.types = child.types or (Type(only),)
            if element is not None:
                other = beside.children.get(name) if beside else None
                if part := self._part(type_, child, element, other):
                    parts.append(part)
        return parts

    def _part(self, parent: str, spec: Spec, element: Element, beside: Spec | None) -> Part | None:
        """What is said of all values of one element of an object."""
        allowed = self.allowed(spec, element)
        asks = {type_: ask for type_ in allowed if (ask := self.of(spec, type_, element, beside))}
        low = spec.min if spec.min and spec.min > (beside.min or 0 if beside else element.min) else 0
        limit = beside.most if beside else element.max
        most = spec.most
        high = most if most is not None and (limit is None or most < limit) else None
        # what is forbidden has no types worth naming
        refused = frozenset(element.types) - set(allowed) if element.choice and high != 0 else frozenset()
        if "Resource" in element.types and "Resource" not in allowed:
            refused = self.definitions.resource_types - set(allowed)
        slices = sliced(self, spec, element)
        if not asks and not low and high is None and not refused and slices is None:
            return None
        return _part(
            Said(parent, element, allowed, low, high, refused, asks, slices), reader(element, self.definitions)
        )

    def allowed(self, spec: Spec, element: Element) -> tuple[str, ...]:
        """The types that a value may have; all that the base allows where nothing is said."""
        codes = tuple(dict.fromkeys(self.type_code(each, element) for each in spec.types))
        if not codes or any(code.startswith(SYSTEM) for code in codes):
            return element.types
        return codes


class Said(NamedTuple):
    """What is said of one element: how often, of which types, what of the values of each type, which slices."""

    parent: str
    element: Element
    allowed: tuple[str, ...]
    low: int
    high: int | None
    refused: frozenset[str]
    asks: dict[str, Ask]
    slices: Slices | None

    def number(self, count: int) -> list[Finding]:
        name = f"{self.element.name}[x]" if self.element.choice else self.element.name
        place = f".{self.element.name}"
        if count < self.low:
            if self.low == 1:
                return issue("required", f"{self.parent} needs {name} here", "cardinality-min", place)
            said = f"{self.parent} needs {name} {self.low} times here; there are {count}"
            return issue("required", said, "cardinality-min", place)
        if self.high == 0:
            return issue("structure", f"{name} is not allowed here", "cardinality-max", place)
        said = f"{name} may be here {times(self.high or 0)} at most; there are {count}"
        return issue("structure", said, "cardinality-max", place)

    def mistyped(self, type_: str) -> list[Finding]:
        allowed = one_of(self.allowed)
        said = f"{self.element.name} is {type_} here, and only {allowed} is allowed"
        return issue("structure", said, "type")


def _part(said: Said, read: Read) -> Part:
    _, element, _, low, high, refused, asks, slices = said
    name = element.name

    def check(node: Json, container: Container) -> Issues:
        values = read(node)
        count = len(values)
        if count < low or (high is not None and count > high):
            return said.number(count)
        found: Issues = None
        for value, sibling, type_, index in values:
            ask = asks.get(type_)
            problems = ask(value, sibling, container) if ask else said.mistyped(type_) if type_ in refused else None
            if problems:
                problems = under(f".{name}" if index is None else f".{name}[{index}]", problems)
                found = found + problems if found else problems
        if slices is None or (refused and any(value[2] in refused for value in values)):
            return found
        if more := slices.findings(values, container):
            found = found + more if found else more
        return found

    return check


def _asked(rule: Value) -> Ask:
    def ask(value: Any, sibling: Json | None, container: Container) -> Issues:
        problem: Problem | None = rule(value)
        return located(problem) if problem else None

    return ask


def _question(strength: str, value_set: str, type_: str, profile: str) -> Ask:
    def ask(value: Any, sibling: Json | None, container: Container) -> Issues:
        return [Question(strength, value_set, type_, value, "", profile)] if value is not None else None

    return ask


def _bare(canonical: str) -> str:
    return canonical.partition("|")[0]


def _whole(parts: Iterable[Part]) -> Ask:
    """Of an object by its parts; a primitive has its parts in `_name`."""
    every = tuple(parts)

    def ask(value: Any, sibling: Json | None, container: Container) -> Issues:
        node = value if type(value) is dict else sibling or {}
        found: Issues = None
        for part in every:
            if problems := part(node, container):
                found = found + problems if found else problems
        return found

    return ask


def _all(first: tuple[Ask, ...], rest: tuple[Ask, ...]) -> Ask:
    """What rests on the value being right is asked only where it is."""

    def ask(value: Any, sibling: Json | None, container: Container) -> Issues:
        found: Issues = None
        for each in first:
            if problems := each(value, sibling, container):
                found = found + problems if found else problems
        if found and wrong(found):
            return found
        for each in rest:
            if problems := each(value, sibling, container):
                found = found + problems if found else problems
        return found

    return ask


def named(profile: str, findings: list[Finding]) -> list[Finding]:
    """Issues that name the profile that asks for them."""
    return [
        each._replace(profile=profile) if isinstance(each, Issue) and each.profile is None else each
        for each in findings
    ]
