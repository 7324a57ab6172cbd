"""A code system taken apart: its concepts, what is said of each, and who is below whom.

https://hl7.org/fhir/R4/codesystem.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import re2

from fhirserver.fhir.outcome import invalid

Json = Mapping[str, Any]
Codes = frozenset[str]

PARENT = frozenset({"parent", "subsumedBy"})  # https://hl7.org/fhir/R4/codesystem-concept-properties.html
CHILD = frozenset({"child"})
DEFINED = frozenset({"code", "concept", "display", "definition", "parent", "child", "inactive", "notSelectable"})
INACTIVE = frozenset({"retired", "inactive"})
CONTENT = frozenset({"complete", "fragment"})  # what has concepts that can be relied on, all of them or some

_patterns = re2.Options()
_patterns.log_errors = False
_patterns.max_mem = 1 << 20


class CodeSystem:
    """Compiled once from the resource and never changed. A cycle makes its concepts subsume each other."""

    def __init__(self, resource: Json) -> None:
        self.url: str = resource.get("url", "")
        self.content: str = resource.get("content", "")
        self.hierarchy: str = resource.get("hierarchyMeaning", "is-a")
        self.said: dict[str, dict[str, list[str]]] = {}
        self.parents: dict[str, set[str]] = {}
        self.children: dict[str, set[str]] = {}
        self._declared = DEFINED | {each["code"] for each in resource.get("property", ()) if "code" in each}
        self._names = _relations(resource)
        for concept, parent in _concepts(resource):
            self._add(concept, parent)

    def _add(self, concept: Json, parent: str | None) -> None:
        code: str = concept["code"]
        said = self.said.setdefault(code, {"code": [code], "concept": [code]})
        for text in ("display", "definition"):
            if text in concept:
                said[text] = [concept[text]]
        if parent is not None:
            self._relate(code, parent)
        for each in concept.get("property", ()):
            name, value = each.get("code", ""), _value(each)
            said.setdefault(name, []).append(value)
            relation = self._names.get(name)
            if relation is not None:
                self._relate(*((code, value) if relation == "parent" else (value, code)))

    def _relate(self, child: str, parent: str) -> None:
        self.parents.setdefault(child, set()).add(parent)
        self.children.setdefault(parent, set()).add(child)

    @property
    def usable(self) -> bool:
        return self.content in CONTENT

    def __contains__(self, code: str) -> bool:
        return code in self.said

    @property
    def codes(self) -> Codes:
        return frozenset(self.said)

    def inactive(self) -> Codes:
        return frozenset(code for code, said in self.said.items() if _is_inactive(said))

    def below(self, code: str) -> Codes:
        """The concept and all that it subsumes."""
        return self._reached(code, self.children)

    def above(self, code: str) -> Codes:
        """The concept and all that subsume it."""
        return self._reached(code, self.parents)

    def _reached(self, code: str, steps: Mapping[str, set[str]]) -> Codes:
        if self.hierarchy != "is-a":
            raise invalid(
                f"the hierarchy of code system {self.url} is {self.hierarchy}: nothing is said to subsume anything",
                code="not-supported",
            )
        if code not in self.said:
            raise invalid(f"{code[:80]!r} is not a code of code system {self.url}", code="not-found")
        seen, ahead = {code}, [code]
        while ahead:
            fresh = steps.get(ahead.pop(), set()) - seen
            seen |= fresh
            ahead += fresh
        return frozenset(each for each in seen if each in self.said)

    def filtered(self, operator: str, property_: str, value: str) -> Codes:
        """The concepts that pass a filter. https://hl7.org/fhir/R4/valueset-filter-operator.html"""
        if operator in SUBSUMPTIONS:
            return SUBSUMPTIONS[operator](self, value)
        if operator not in TESTS:
            raise invalid(f"the filter operator {operator[:40]!r} is not known", code="not-supported")
        if property_ not in self._declared and not any(property_ in said for said in self.said.values()):
            raise invalid(f"code system {self.url} has no property {property_[:80]!r}", code="not-supported")
        test = TESTS[operator](value)
        return frozenset(code for code in self.said if test(self._values(code, property_)))

    def _values(self, code: str, property_: str) -> Iterable[str]:
        if property_ == "parent":
            return self.parents.get(code, ())
        if property_ == "child":
            return self.children.get(code, ())
        return self.said[code].get(property_, ())


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
    """Every concept with the one that it stands in."""
    ahead: list[tuple[Json, str | None]] = [(each, None) for each in resource.get("concept", ())]
    while ahead:
        concept, parent = ahead.pop()
        if "code" in concept:
            yield concept, parent
            ahead += [(each, concept["code"]) for each in concept.get("concept", ())]


def _value(each: Json) -> str:
    found = next((value for key, value in each.items() if key.startswith("value")), "")
    if isinstance(found, dict):
        found = found.get("code", "")
    return str(found).lower() if isinstance(found, bool) else str(found)


def _is_inactive(said: Mapping[str, list[str]]) -> bool:
    return "true" in said.get("inactive", ()) or not INACTIVE.isdisjoint(said.get("status", ()))


SUBSUMPTIONS: Mapping[str, Callable[[CodeSystem, str], Codes]] = {
    "is-a": lambda system, code: system.below(code),
    "descendent-of": lambda system, code: system.below(code) - {code},
    "is-not-a": lambda system, code: system.codes - system.below(code),
    "generalizes": lambda system, code: system.above(code),
}

Test = Callable[[Iterable[str]], bool]


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
    return lambda values: any(True for _ in values) == (value == "true")


def _regex(value: str) -> Test:
    try:
        pattern = re2.compile(value, _patterns)
    except re2.error as error:
        raise invalid(f"{value[:80]!r} is not a regular expression that can be used") from error
    return lambda values: any(pattern.fullmatch(each) for each in values)


TESTS: Mapping[str, Callable[[str], Test]] = {
    "=": _equals,
    "in": _in,
    "not-in": _not_in,
    "exists": _exists,
    "regex": _regex,
}
