"""The index values of a resource: what a search looks at instead of the resource.

For each type one Python function is generated from the expressions of its search parameters. A key is there
whenever the element is, even if nothing in it can be searched for: that is what `:missing` asks.
https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Definitions, required_codes
from fhirserver.fhir.outcome import invalid
from fhirserver.search import contained, values
from fhirserver.search.compartments import memberships, secured
from fhirserver.search.expressions import Route, member, parse, routes
from fhirserver.search.extraction import Leaf, Source, Write
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.values import Forms
from fhirserver.search.words import Reader
from fhirserver.store.schema import hot_keys

Json = dict[str, Any]

# Answered from the document itself, not from `search`.
FROM_DOCUMENT = frozenset({"_id", "_lastUpdated"})

# Of the way in which values are made. It goes up with every change after which a search may miss what was stored
# before: servers say then what is to be indexed again (store/editions.py). tests/search/test_edition.py notices it.
EDITION = 2

FAMILY = ":family"  # not stored by itself: a family name is found by each of its words

# (parameter type, FHIR type) → what is stored under the code, and under the code with a suffix. A type that is not
# listed is treated as what it derives from: Age as Quantity, code as string.
FORMS: Mapping[tuple[str, str], Mapping[str, Forms]] = {
    ("token", "CodeableConcept"): {"": values.concept, ":text": values.concept_text},
    ("token", "Coding"): {"": values.coding, ":text": values.coding_text},
    ("token", "Identifier"): {
        "": values.identifier,
        ":text": values.identifier_text,
        ":of-type": values.identifier_of_type,
    },
    ("token", "ContactPoint"): {"": values.contact_point},
    ("token", "boolean"): {"": values.boolean},
    ("token", "string"): {"": values.code},
    ("token", "uri"): {"": values.name},
    ("string", "string"): {"": values.string},
    ("string", "HumanName"): {"": values.human_name, FAMILY: values.family},
    ("string", "Address"): {"": values.address},
    ("date", "date"): {"": values.date},
    ("date", "dateTime"): {"": values.date},
    ("date", "instant"): {"": values.date},
    ("date", "Period"): {"": values.period},
    ("date", "Timing"): {"": values.timing},
    ("number", "integer"): {"": values.number},
    ("number", "decimal"): {"": values.number},
    ("number", "Range"): {"": values.number_range},
    ("quantity", "Quantity"): {"": values.quantity},
    ("quantity", "Money"): {"": values.money},
    ("quantity", "Range"): {"": values.quantity_range},
    ("quantity", "SampledData"): {"": values.sampled_data},
    ("uri", "uri"): {"": values.uri},
    ("uri", "canonical"): {"": values.canonical},
    ("special", "BackboneElement"): {"": values.position},
    ("reference", "canonical"): {"": values.canonical},
    ("reference", "uri"): {"": values.uri},
}

# Choice types that a published expression reaches although the parameter cannot say anything about them.
NO_FORMS: Mapping[tuple[str, str], str] = {
    ("date", "Age"): "an age is no point in time",
    ("date", "Range"): "an age range is no point in time",
    ("date", "string"): "free text such as 'last summer'",
    ("token", "Quantity"): "Group.characteristic.value[x]: a quantity is no code",
    ("token", "Range"): "Group.characteristic.value[x]: a range is no code",
    ("token", "Reference"): "Group.characteristic.value[x]: a reference is no code",
    ("reference", "Attachment"): "Consent.source[x]: an attachment is not referred to",
}

# What has several values in one.
SEVERAL = frozenset({("token", "CodeableConcept"), ("string", "HumanName"), ("string", "Address")})

# How the scalars to sort by are found in the stored values of a parameter: the first ascending, the first descending.
SORT: Mapping[str, tuple[Callable[[list[Any]], Any], Callable[[list[Any]], Any]]] = {
    "string": (min, max),
    "token": (values.least_token, values.greatest_token),
    "date": (values.earliest, values.latest),
    "number": (values.smallest, values.largest),
    "quantity": (values.smallest, values.largest),
    "uri": (min, max),
    "reference": (min, max),
}
LAST = ":last"  # beside the smallest value, where an element repeats and another is larger


class Entry(NamedTuple):
    """What is stored beside a resource: `search` values, one or two `sort` scalars per parameter, compartments."""

    search: Json
    sort: Json
    compartments: list[str]


class Indexer:
    """Knows the parameters of every type; each type's function is generated when it is first needed."""

    def __init__(self, definitions: Definitions, registry: Registry, base_url: str, generation: int = 0) -> None:
        self.definitions = definitions
        self.registry = registry
        self.base_url = base_url
        self.generation = generation
        self.writing = 0
        self.leading = contained.Leading()
        self._reader = Reader(definitions)
        self._reference: Mapping[str, Forms] = {
            "": values.reference_from(base_url),
            ":identifier": values.reference_identifier,
        }
        self._family = definitions.types["HumanName"].by_name["family"]
        self._functions: dict[str, Callable[[Json], tuple[Json, Json]]] = {}
        self._referring = cache(self._generate_referring)

    def renewed(self, registry: Registry, generation: int) -> Indexer:
        """The indexer of the next generation of parameters; functions of types whose parameters are the same stay."""
        other = Indexer(self.definitions, registry, self.base_url, generation)
        known = self._functions.items()
        other._reference = self._reference
        other.leading = self.leading
        other._functions = {type_: each for type_, each in known if registry[type_] == self.registry[type_]}
        return other

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """From making an entry to the end of the write that stores it: until then this generation is not over here."""
        self.writing += 1
        try:
            yield
        finally:
            self.writing -= 1

    def entry(self, resource: Json) -> Entry:
        type_ = resource["resourceType"]
        if "contained" in resource:
            resource = contained.typed(resource)
        search, sort = self._values(resource)
        if "_content" in self.registry[type_]:
            search |= {code: words for code, words in self._reader.said(resource).stored() if words}
        belongs = memberships(type_, resource.get("id"), search) + secured(resource, self.base_url)
        if "contained" in resource:
            inside = contained.stored(resource, lambda inner: self._values(inner)[0], self._references)
            self.leading.add(type_, inside.get(contained.REFERRED, ()))
            search |= inside
        return Entry(search, sort, belongs)

    def _values(self, resource: Json) -> tuple[Json, Json]:
        """`search` and `sort`."""
        type_ = resource["resourceType"]
        return (self._functions.get(type_) or self._generate(type_))(resource)

    def _references(self, resource: Json) -> Iterator[tuple[str, str]]:
        """(code, target) of what the parameters of type reference find; canonicals too."""
        for code, value, _ in self._referring(resource["resourceType"])(resource):
            target = value.get("reference") if isinstance(value, dict) else value
            if isinstance(target, str):
                yield code, target

    def _generate_referring(self, type_: str) -> Callable[[Json], list[tuple[str, Any, str]]]:
        return raw_function(self.definitions, self.registry, type_, "reference")

    def _generate(self, type_: str) -> Callable[[Json], tuple[Json, Json]]:
        function = _Writer(self, type_).function()
        self._functions[type_] = function
        return function

    def ends(self, parameter: Parameter, route: Route) -> Iterator[tuple[Route, Mapping[str, Forms]]]:
        """The routes on which values are found: an Extension stands for its value."""
        further = member(self.definitions, route, "value") if route.type == "Extension" else [route]
        for end in further:
            forms = self.forms(parameter, end)
            if forms:
                yield end, forms

    def forms(self, parameter: Parameter, route: Route) -> Mapping[str, Forms]:
        """The functions that turn a value at the end of this route into stored values; none for NO_FORMS."""
        if (parameter.type, route.type) in NO_FORMS:
            return {}
        if parameter.type == "reference" and route.type == "Reference":
            return self._reference
        if parameter.type == "reference" and route.type == "Resource":
            return {"": _inline(frozenset(parameter.targets))}
        if parameter.type == "string" and route.element is self._family:
            return {"": values.string, FAMILY: values.string}
        system = implied_system(route)
        if parameter.type == "token" and route.type == "code" and system is not None:
            return {"": values.code_of(system)}
        type_: str | None = route.type
        while type_ is not None:
            if (parameter.type, type_) in FORMS:
                return FORMS[parameter.type, type_]
            definition = self.definitions.types.get(type_)
            type_ = definition.base if definition else None
        return {}


@lru_cache(4096)
def repeats(definitions: Definitions, parameter: Parameter, type_: str) -> bool:
    """Whether one resource may have several values of a parameter."""
    found = routes(definitions, parse(parameter.expression), type_)
    return not one_place(found) or any((parameter.type, route.type) in SEVERAL for route in found)


def one_place(found: Sequence[Route]) -> bool:
    """Whether these lead to one element that does not repeat: of a choice of types it has one."""
    places = {(route.steps[:-1], route.element and route.element.name) for route in found}
    return len(places) < 2 and not any(route.repeats for route in found)


@lru_cache(4096)
def case_matters(definitions: Definitions, parameter: Parameter, type_: str) -> bool:
    """Whether all values differ by their case. https://hl7.org/fhir/R4/search.html#token"""
    if parameter.type != "token" or not parameter.expression:
        return parameter.type == "reference"
    return all(
        route.type in ("Identifier", "boolean")
        or definitions.is_a(route.type, "uri")
        or (route.type == "code" and values.cased(implied_system(route)))
        for route in routes(definitions, parse(parameter.expression), type_)
    )


@lru_cache(4096)
def boolean(definitions: Definitions, parameter: Parameter, type_: str) -> bool:
    """Whether all values are true or false."""
    if parameter.type != "token" or not parameter.expression:
        return False
    found = routes(definitions, parse(parameter.expression), type_)
    return bool(found) and all(route.type == "boolean" for route in found)


def implied_system(route: Route) -> str | None:
    """The system of a `code`, where its required binding leaves no doubt."""
    binding = route.element.binding if route.element else None
    if binding is None or binding.strength != "required":
        return None
    systems = required_codes().get(binding.value_set, {})
    return next(iter(systems)) if len(systems) == 1 else None


def _inline(targets: frozenset[str]) -> Forms:
    def forms(resource: Json) -> list[str]:
        return values.inline_resource(resource) if resource.get("resourceType") in targets else []

    return forms


class _Writer:
    """Writes the function of one type: walk once, collect each parameter's values, name them at the end."""

    def __init__(self, indexer: Indexer, type_: str) -> None:
        self.indexer = indexer
        self.type = type_
        self.source = Source()
        self.unique = self.source.name(values.unique)
        self.folded = self.source.name(values.folded)
        self.otherwise = self.source.name(values.otherwise)
        self.hot = {field for keys in hot_keys(type_) for field in keys}
        self.variables: list[str] = []
        self.leaves: list[Leaf] = []

    def function(self) -> Callable[[Json], tuple[Json, Json]]:
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
        for code, parameter in self.indexer.registry[self.type].items():
            if code not in FROM_DOCUMENT and parameter.expression:
                found = routes(self.indexer.definitions, parse(parameter.expression), self.type)
                targets = parameter.targets if any(route.type == "Resource" for route in found) else ()
                key = (parameter.type, tuple((*route[:2],) for route in found), targets, parameter.components)
                groups.setdefault(key, (parameter, [], found))[1].append(code)
        yield from groups.values()

    def _variable(self) -> str:
        self.variables.append(self.source.fresh())
        return self.variables[-1]

    def _collect(self, parameter: Parameter, found: Iterable[Route]) -> tuple[dict[str, str], bool]:
        """Adds leaves that fill a variable for each suffix; tells whether at most one value can come."""
        ends = [end for route in found for end in self.indexer.ends(parameter, route)]
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
            found = routes(self.indexer.definitions, parse(expression), self.type, base.type)
            ends = [end for route in found for end in self.indexer.ends(component, route)]
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
                yield f"    if {found}: sort |= {self.source.name(values.exact)}({code!r}, {found})"
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
        if repeats(self.indexer.definitions, parameter, self.type):
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


def raw_function(
    definitions: Definitions, registry: Registry, type_: str, only: str | None = None
) -> Callable[[Json], list[tuple[str, Any, str]]]:
    """Answers (code, value, FHIR type) for all that the expressions of a type's parameters find, but composites.

    `only`: those of one type of parameter.
    """
    source = Source()

    def keep(code: str, fhir_type: str) -> Write:
        return lambda value: [f"found.append(({code!r}, {value}, {fhir_type!r}))"]

    leaves = [
        Leaf(route, keep(code, route.type))
        for code, parameter in registry[type_].items()
        if not parameter.components and parameter.expression and only in (None, parameter.type)
        for route in routes(definitions, parse(parameter.expression), type_)
    ]
    return source.function(type_, ["found = []", *source.walk(leaves), "return found"])
