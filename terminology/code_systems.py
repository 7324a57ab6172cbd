"""A code system taken apart: its concepts, what is said of each, and who is below whom.

https://hl7.org/fhir/R4/codesystem.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import re2

from fhirserver.fhir.outcome import invalid
from terminology.canonical import Canonical
from terminology.concepts import Codes, Concept, Designation, Filter, Property

Json = Mapping[str, Any]

PARENT = frozenset({"parent", "subsumedBy"})  # https://hl7.org/fhir/R4/codesystem-concept-properties.html
CHILD = frozenset({"child"})
DEFINED = frozenset({"code", "concept", "display", "definition", "parent", "child", "inactive", "notSelectable"})
TEXTS = frozenset({"code", "concept", "display", "definition"})
INACTIVE = frozenset({"retired", "inactive"})
CONTENT = frozenset({"complete", "fragment"})  # what has concepts that can be relied on, all of them or some
DESCRIBED = 4_096  # concepts of one system that are kept as they are told
PAIRS = 1_000_000  # of a code and one above or below it, kept of one system: at most some 100 MB
SELECTIONS = 64  # of one system, kept because the same filters are asked again

_patterns = re2.Options()
_patterns.log_errors = False
_patterns.max_mem = 1 << 20


class CodeSystem:
    """A `concepts.System` in memory: made once from the resource and never changed, but for what it remembers.

    A cycle makes its concepts subsume each other.
    """

    finite = True

    def __init__(self, resource: Json) -> None:
        self.url: str = resource.get("url", "")
        self.version: str | None = resource.get("version")
        self.name: str = resource.get("title") or resource.get("name") or self.url
        self.content: str = resource.get("content", "")
        self.hierarchy: str = resource.get("hierarchyMeaning", "is-a")
        self.case_sensitive: bool = resource.get("caseSensitive", True)
        self._nodes: dict[str, Json] = {}
        self.parents: dict[str, dict[str, None]] = {}
        self.children: dict[str, dict[str, None]] = {}
        self._declared = DEFINED | {each["code"] for each in resource.get("property", ()) if "code" in each}
        self._relations = _relations(resource)
        self._selections: dict[Filter, Codes] = {}
        self._reach: dict[tuple[str, bool], Codes] = {}
        self._pairs = 0
        self.described = lru_cache(DESCRIBED)(self._described)
        for node, parent in _concepts(resource):
            self._add(node, parent)

    def _add(self, node: Json, parent: str | None) -> None:
        code: str = node["code"]
        self._nodes.setdefault(code, node)
        if parent is not None:
            self._relate(code, parent)
        for each in node.get("property", ()):
            relation = self._relations.get(each.get("code", ""))
            if relation is not None:
                value = _property(each).text
                self._relate(*((code, value) if relation == "parent" else (value, code)))

    def _relate(self, child: str, parent: str) -> None:
        self.parents.setdefault(child, {})[parent] = None
        self.children.setdefault(parent, {})[child] = None

    @property
    def usable(self) -> bool:
        return self.content in CONTENT

    def needs(self) -> Iterator[Canonical]:
        """Nothing: a code system stands for itself."""
        yield from ()

    def __contains__(self, code: str) -> bool:
        return code in self._nodes

    @property
    def size(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[str]:
        """The codes in the order of the resource, each before what stands in it."""
        return iter(self._nodes)

    @cached_property
    def codes(self) -> Codes:
        return frozenset(self._nodes)

    @cached_property
    def inactive(self) -> Codes:
        return frozenset(code for code in self._nodes if self._is_inactive(code))

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {code.casefold(): code for code in reversed(self._nodes)}

    def spelled(self, code: str) -> str | None:
        """The code as the system writes it."""
        if code in self._nodes or self.case_sensitive:
            return code if code in self._nodes else None
        return self._folded.get(code.casefold())

    def _described(self, code: str) -> Concept:
        """What is said of one of its codes."""
        node = self._nodes[code]
        properties = tuple([_property(each) for each in node["property"]]) if "property" in node else ()
        designations = tuple([_designation(each) for each in node["designation"]]) if "designation" in node else ()
        return Concept(
            code,
            node.get("display"),
            node.get("definition"),
            designations,
            properties,
            tuple(self.parents.get(code, ())),
            tuple(self.children.get(code, ())),
            bool(properties) and self._is_inactive(code),
            any(each.code == "notSelectable" and each.value is True for each in properties),
        )

    def _is_inactive(self, code: str) -> bool:
        for each in self._nodes[code].get("property", ()):
            name, value = each.get("code"), _property(each).text
            if (name == "inactive" and value == "true") or (name == "status" and value in INACTIVE):
                return True
        return False

    # who is below whom

    def lower(self, code: str) -> Codes:
        """The concept and all that it subsumes."""
        return self._reached(code, up=False)

    def higher(self, code: str) -> Codes:
        """The concept and all that subsume it."""
        return self._reached(code, up=True)

    def _reached(self, code: str, *, up: bool) -> Codes:
        """The transitive closure, a line of it at a time; kept up to so many pairs."""
        known = self._reach.get((code, up))
        if known is None:
            known = self._walked(code, up=up)
            if self._pairs + len(known) <= PAIRS:
                self._pairs += len(known)
                self._reach[code, up] = known
        return known

    def _walked(self, code: str, *, up: bool) -> Codes:
        """By way of lines that are kept already."""
        if self.hierarchy != "is-a":
            raise invalid(
                f"the hierarchy of code system {self.url} is {self.hierarchy}: nothing is said to subsume anything",
                code="not-supported",
            )
        if code not in self._nodes:
            of_it = "of the fragment that is here of" if self.content == "fragment" else "of"
            raise invalid(f"{code[:80]!r} is not a code {of_it} code system {self.url}", code="not-found")
        steps = self.parents if up else self.children
        seen, ahead = {code}, [code]
        while ahead:
            for each in steps.get(ahead.pop(), ()):
                if each not in seen:
                    kept = self._reach.get((each, up))
                    seen |= {each} if kept is None else kept
                    ahead += (each,) if kept is None else ()
        return frozenset(each for each in seen if each in self._nodes)

    # filters

    def filtered(self, filter_: Filter) -> Codes:
        """The concepts that pass a filter. https://hl7.org/fhir/R4/valueset-filter-operator.html"""
        found = self._selections.get(filter_)
        if found is None:
            found = self._filtered(filter_)
            if len(self._selections) >= SELECTIONS:
                del self._selections[next(iter(self._selections))]
            self._selections[filter_] = found
        return found

    def _filtered(self, filter_: Filter) -> Codes:
        property_, operator, value = filter_
        if operator in SUBSUMPTIONS:
            return SUBSUMPTIONS[operator](self, value)
        if operator not in TESTS:
            raise invalid(f"the filter operator {operator[:40]!r} is not known", code="not-supported")
        if property_ not in self._declared and not any(self._has(code, property_) for code in self._nodes):
            raise invalid(f"code system {self.url} has no property {property_[:80]!r}", code="not-supported")
        test = TESTS[operator](value)
        return frozenset(code for code in self._nodes if test(self.values(code, property_)))

    def _has(self, code: str, property_: str) -> bool:
        return any(each.get("code") == property_ for each in self._nodes[code].get("property", ()))

    def values(self, code: str, property_: str) -> Collection[str]:
        """What a concept has of a property, as text."""
        if property_ == "parent":
            return self.parents.get(code, ())
        if property_ == "child":
            return self.children.get(code, ())
        node = self._nodes[code]
        found = [_property(each).text for each in node.get("property", ()) if each.get("code", "") == property_]
        if found or property_ not in TEXTS:
            return found
        text = node.get("code" if property_ == "concept" else property_)
        return () if text is None else (text,)

    # as a System

    async def concept(self, code: str) -> Concept | None:
        spelled = self.spelled(code)
        return None if spelled is None else self.described(spelled)

    async def concepts(self, codes: Collection[str]) -> Mapping[str, Concept]:
        return {code: self.described(spelled) for code in codes if (spelled := self.spelled(code)) is not None}

    async def passes(self, code: str, filters: Sequence[Filter]) -> bool:
        return code in self._nodes and all(code in self.filtered(each) for each in filters)

    async def selected(self, filters: Sequence[Filter], *, active: bool = False) -> Codes:
        found = frozenset.intersection(*map(self.filtered, filters)) if filters else self.codes
        return found - self.inactive if active else found

    async def ordered(self, codes: Codes) -> Sequence[str]:
        return [code for code in self._nodes if code in codes]

    async def below(self, code: str) -> Codes:
        return self.lower(code)

    async def above(self, code: str) -> Codes:
        return self.higher(code)

    async def subsumes(self, one: str, other: str) -> bool:
        return one in self.higher(other)


def _relations(resource: Json) -> dict[str, str]:
    """The properties that say where a concept stands: by their URI, or by the usual names."""
    names = dict.fromkeys(PARENT, "parent") | dict.fromkeys(CHILD, "child")
    for each in resource.get("property", ()):
        uri = each.get("uri", "")
        for relation in ("parent", "child"):
            if uri == f"http://hl7.org/fhir/concept-properties#{relation}" and "code" in each:
                names[each["code"]] = relation
    return names


def _concepts(resource: Json) -> Iterator[tuple[Json, str | None]]:
    """Every concept with the one that it stands in, in the order of the resource."""
    ahead: list[tuple[Json, str | None]] = [(each, None) for each in reversed(resource.get("concept", ()))]
    while ahead:
        node, parent = ahead.pop()
        if "code" in node:
            yield node, parent
            ahead += [(each, node["code"]) for each in reversed(node.get("concept", ()))]


def _property(each: Json) -> Property:
    for key, value in each.items():
        if key.startswith("value"):
            return Property(each.get("code", ""), key.removeprefix("value"), value)
    return Property(each.get("code", ""), "String", "")


def _designation(each: Json) -> Designation:
    return Designation(each.get("value", ""), each.get("language"), each.get("use"))


SUBSUMPTIONS: Mapping[str, Callable[[CodeSystem, str], Codes]] = {
    "is-a": lambda system, code: system.lower(code),
    "descendent-of": lambda system, code: system.lower(code) - {code},
    "is-not-a": lambda system, code: system.codes - system.lower(code),
    "generalizes": lambda system, code: system.higher(code),
}

Test = Callable[[Collection[str]], bool]


def _equals(value: str) -> Test:
    return lambda values: value in values


def _listed(value: str) -> frozenset[str]:
    return frozenset(each.strip() for each in value.split(","))


def _in(value: str) -> Test:
    wanted = _listed(value)
    return lambda values: not wanted.isdisjoint(values)


def _not_in(value: str) -> Test:
    wanted = _listed(value)
    return lambda values: wanted.isdisjoint(values)


def _exists(value: str) -> Test:
    if value not in ("true", "false"):
        raise invalid(f"the filter 'exists' takes true or false, not {value[:40]!r}")
    return lambda values: bool(values) == (value == "true")


def pattern(value: str) -> Callable[[str], bool]:
    """Whether a whole text fits an expression of RE2, which takes time in proportion to the text."""
    try:
        compiled = re2.compile(value, _patterns)
    except re2.error as error:
        raise invalid(f"{value[:80]!r} is not a regular expression that can be used") from error
    return lambda text: compiled.fullmatch(text) is not None


def _regex(value: str) -> Test:
    fits = pattern(value)
    return lambda values: any(map(fits, values))


TESTS: Mapping[str, Callable[[str], Test]] = {
    "=": _equals,
    "in": _in,
    "not-in": _not_in,
    "exists": _exists,
    "regex": _regex,
}


def filters_of(part: Json) -> tuple[Filter, ...]:
    """Of an include or exclude."""
    return tuple(
        [Filter(*(each.get(key, "") for key in ("property", "op", "value"))) for each in part.get("filter", ())]
    )
