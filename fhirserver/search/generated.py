"""The function that makes the index values of one type, written as Python: the resource is walked once.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fhirserver.fhir.outcome import invalid
from fhirserver.search.expressions import Route, parse, routes
from fhirserver.search.extraction import Leaf, Source, Write
from fhirserver.search.forms import FAMILY, Ends, one_place, repeats
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.values import dates, quantities, strings, tokens
from fhirserver.store.schema import hot_keys

Json = dict[str, Any]
Function = Callable[[Json], tuple[Json, Json]]
"""`search` and `sort` of a resource."""

# Answered from the document itself, not from `search`.
FROM_DOCUMENT = frozenset({"_id", "_lastUpdated"})

# How the scalars to sort by are found in the stored values of a parameter: the first ascending, the first descending.
SORT: Mapping[str, tuple[Callable[[list[Any]], Any], Callable[[list[Any]], Any]]] = {
    "string": (min, max),
    "token": (tokens.least_token, tokens.greatest_token),
    "date": (dates.earliest, dates.latest),
    "number": (quantities.smallest, quantities.largest),
    "quantity": (quantities.smallest, quantities.largest),
    "uri": (min, max),
    "reference": (min, max),
}
LAST = ":last"  # beside the smallest value, where an element repeats and another is larger


def function(registry: Registry, ends: Ends, type_: str) -> Function:
    """Of the parameters of one type."""
    return _Writer(registry, ends, type_).function()


class _Writer:
    """Writes the function of one type: walk once, collect each parameter's values, name them at the end."""

    def __init__(self, registry: Registry, ends: Ends, type_: str) -> None:
        self.registry = registry
        self.ends = ends
        self.definitions = ends.definitions
        self.type = type_
        self.source = Source()
        self.unique = self.source.name(strings.unique)
        self.folded = self.source.name(strings.folded)
        self.otherwise = self.source.name(strings.otherwise)
        self.hot = {field for keys in hot_keys(type_) for field in keys}
        self.variables: list[str] = []
        self.leaves: list[Leaf] = []

    def function(self) -> Function:
        last: list[str] = []
        for parameter, codes, found in self._distinct():
            if parameter.components:
                variable = self._variable()
                for base in found:
                    self._composite(parameter, base, variable)
                last.append(f"if {variable} is not None: {_stored(codes)} = {variable}")
            else:
                variables, single = self._collect(parameter, found)
                last += self._tail(parameter, codes, variables, single)
        first = ["search = {}", "sort = {}", " = ".join((*self.variables, "None"))]
        return self.source.function(self.type, [*first, *self.source.walk(self.leaves), *last, "return search, sort"])

    def _distinct(self) -> Iterator[tuple[Parameter, list[str], list[Route]]]:
        """The parameters; those that find the same in the same way, such as name and phonetic, together."""
        groups: dict[Any, tuple[Parameter, list[str], list[Route]]] = {}
        for code, parameter in self.registry[self.type].items():
            if code not in FROM_DOCUMENT and parameter.expression:
                found = routes(self.definitions, parse(parameter.expression), self.type)
                targets = parameter.targets if any(route.type == "Resource" for route in found) else ()
                key = (parameter.type, tuple((*route[:2],) for route in found), targets, parameter.components)
                groups.setdefault(key, (parameter, [], found))[1].append(code)
        yield from groups.values()

    def _variable(self) -> str:
        self.variables.append(self.source.fresh())
        return self.variables[-1]

    def _collect(self, parameter: Parameter, found: Iterable[Route]) -> tuple[dict[str, str], bool]:
        """Adds leaves that fill a variable for each suffix; tells whether at most one value can come."""
        ends = [end for route in found for end in self.ends.of(parameter, route)]
        single = bool(ends) and one_place([route for route, _ in ends])
        variables: dict[str, str] = {}
        for route, forms in ends:
            for suffix, function in forms.items():
                if suffix not in variables:
                    variables[suffix] = self._variable()
                self.leaves.append(Leaf(route, _keep(variables[suffix], single), self.source.name(function)))
        return variables, single

    def _composite(self, parameter: Parameter, base: Route, variable: str) -> None:
        """Adds leaves that make one object per base value, with a slot per component; none where a slot is empty."""
        slots: dict[str, str] = {}
        texts: list[str] = []
        fills: list[Leaf] = []
        for component, expression in parameter.components:
            found = routes(self.definitions, parse(expression), self.type, base.type)
            ends = [end for route in found for end in self.ends.of(component, route)]
            if not ends:
                raise invalid(f"{parameter.url}: {expression} has no values that a {component.type} can find")
            slot = slots[component.code] = self._variable()
            for route, forms in ends:
                steps = route.steps if route.from_resource else base.steps + route.steps
                fills.append(Leaf(route._replace(steps=steps), _keep(slot, False), self.source.name(forms[""])))
            if not ends[0][0].from_resource:
                self.leaves.append(Leaf(base, _set_empty(slot)))
            kept = slot if component.type != "string" else f"{self.folded}({slot}) + {self.otherwise}({slot}, None)"
            texts.append(f"{component.code!r}: {kept}")

        def combine(_: str) -> Iterator[str]:
            yield f"if {' and '.join(slots.values())}:"
            yield f"    if {variable} is None: {variable} = []"
            yield f"    {variable}.append({{{', '.join(texts)}}})"

        self.leaves += [*fills, Leaf(base, combine, last=True)]

    def _tail(
        self, parameter: Parameter, codes: list[str], variables: Mapping[str, str], single: bool
    ) -> Iterator[str]:
        """Puts what was collected under its names."""
        if not variables:
            return
        found, texts = variables[""], variables.get(":text")
        distinct = parameter.type in ("token", "uri", "reference") and not single
        fewest = 3 if parameter.type == "token" else 1  # a single code has three forms, all different
        yield f"if {found} is not None:"
        if distinct:
            yield f"    if len({found}) > {fewest}: {found} = {self.unique}({found})"
        if parameter.type == "string":
            yield f"    {_stored(codes, ':exact')} = {found}"
            more = f"{self.otherwise}({found}, {variables.get(FAMILY)})"
            yield f"    {found}, more = {self.folded}({found}), {more}"
            yield f"    {_stored(codes)} = {found} + more"
        else:
            yield f"    {_stored(codes)} = {found}"
        if parameter.type in SORT:
            yield from self._sorted(parameter, codes, found)
            if texts:
                yield f"    elif {texts}:"
                yield from self._ends(parameter, codes, texts, "min", "max")
        for code in codes:
            if f"sort.{code}:point" in self.hot:
                yield f"    if {found}: sort |= {self.source.name(quantities.exact)}({code!r}, {found})"
        for suffix, variable in variables.items():
            if suffix not in ("", FAMILY):
                kept = f"{self.unique}({variable})" if distinct else variable
                yield f"    if {variable}: {_stored(codes, suffix)} = {kept}"

    def _sorted(self, parameter: Parameter, codes: list[str], found: str) -> Iterator[str]:
        """The scalars to sort by: https://hl7.org/fhir/R4/search.html#sort"""
        first, last = (self.source.name(each) for each in SORT[parameter.type])
        yield f"    if {found}:"
        yield from self._ends(parameter, codes, found, first, last)

    def _ends(self, parameter: Parameter, codes: list[str], found: str, first: str, last: str) -> Iterator[str]:
        yield f"        {_sort(codes)} = {first}({found})"
        if repeats(self.definitions, parameter, self.type):
            yield f"        if len({found}) > 1:"
            yield f"            last = {last}({found})"
            yield f"            if last != sort[{codes[0]!r}]: {_sort(codes, LAST)} = last"


def _stored(codes: Iterable[str], suffix: str = "") -> str:
    return " = ".join(f"search[{code + suffix!r}]" for code in codes)


def _sort(codes: Iterable[str], suffix: str = "") -> str:
    return " = ".join(f"sort[{code + suffix!r}]" for code in codes)


def _keep(variable: str, single: bool) -> Write:
    def write(value: str) -> Iterator[str]:
        if single:
            yield f"{variable} = {value}"
        else:
            yield f"if {variable} is None: {variable} = [*{value}]"
            yield f"else: {variable} += {value}"

    return write


def _set_empty(variable: str) -> Write:
    return lambda _: [f"{variable} = None"]
