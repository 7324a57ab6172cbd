"""Search parameters that a client defines: from SearchParameter resources to rows, and from rows to Parameters.

A row is the part of an active SearchParameter that says what it finds, with the generation `since` which it does; rows
are kept in one document (store/generations.py). What is published for FHIR 4.0.1 stays as it is: compartments rest on
it. https://hl7.org/fhir/R4/searchparameter.html, docs/adr/0005-custom-search-parameters.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

from fhirserver.fhir.definitions import search_table
from fhirserver.fhir.outcome import Outcome
from fhirserver.search.expressions import Route, parse, routes
from fhirserver.search.index import Indexer
from fhirserver.search.parameters import TYPES, Parameter, Registry, Uses, r4_registry

SEARCH_PARAMETER = "SearchParameter"
MEANING = ("url", "code", "type", "base", "expression", "target", "component")
USES = ("modifier", "comparator", "multipleOr", "multipleAnd", "chain")

Row = Mapping[str, Any]
Resource = dict[str, Any]

_code = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Unfit(Outcome):
    """A search parameter that does not go together with the others; `id` says which."""

    def __init__(self, id_: str, code: str, message: str, element: str) -> None:
        super().__init__(422, code, message, f"{SEARCH_PARAMETER}.{element}")
        self.id = id_


def row(resource: Resource) -> Row | None:
    """What an active SearchParameter adds to search; None where all of it is published already, or it is not active.

    Raises a 422 Outcome that names the element, and the position in an expression.
    """
    if resource.get("status") != "active" or _restated(resource):
        return None
    code, type_ = resource["code"], resource["type"]
    if type_ not in TYPES:
        raise _refused(f"a parameter of type {type_} has no expression that a server could follow", "type")
    if "expression" not in resource:
        raise _refused("an active search parameter says by its expression what it finds", "expression", "required")
    types = _types(resource["base"])
    added = [each for each in types if not _covered(resource, each)]
    if not added:
        return None
    if not _code.fullmatch(code):
        message = (
            f"{code[:80]!r} cannot be a code: write up to 64 letters, digits, '-' and '_', a letter or digit first"
        )
        raise _refused(message, "code")
    slim = {name: resource[name] for name in (*MEANING, *USES) if name in resource}
    if type_ == "composite":
        _check_components(resource)
    else:
        slim.pop("component", None)
        _check_values(parameter_of(slim), resource["base"])
    return slim if len(added) == len(types) else slim | {"base": added}


def parameter_of(row_: Row) -> Parameter:
    """Without its components."""
    base, targets = tuple(row_["base"]), tuple(row_.get("target", ()))
    return Parameter(row_["code"], row_["type"], row_["url"], base, row_["expression"], targets, uses=_uses(row_))


def _uses(row_: Row) -> Uses:
    lists = (tuple(row_[name]) if name in row_ else None for name in ("modifier", "comparator", "chain"))
    modifiers, comparators, chain = lists
    return Uses(modifiers, comparators, row_.get("multipleOr", True), row_.get("multipleAnd", True), chain)


def meaning(row_: Row) -> Row:
    """What it finds; the rest of a row is how it may be asked, and whose it is."""
    return {name: row_[name] for name in MEANING if name in row_}


def concerned(row_: Row) -> list[str]:
    """The resource types that have this parameter."""
    return _types(row_["base"])


def joined(published: Registry, rows: Sequence[Row]) -> Registry:
    """The published parameters and these. Raises a 422 Outcome where they do not go together."""
    taken: dict[str, Row] = {}
    for each in rows:
        for key in (each["url"], *(f"{type_}?{each['code']}=" for type_ in concerned(each))):
            other = taken.setdefault(key, each)
            if other is not each:
                raise _clash(key, each, other)
    if not rows:
        return published
    known = {parameter.url: parameter for parameter in published.parameters}
    known |= {each["url"]: parameter_of(each) for each in rows}
    return Registry(published.definitions, (*published.parameters, *(_linked(each, known) for each in rows)))


def fitting(published: Registry, rows: Iterable[Row]) -> tuple[Registry, list[Unfit]]:
    """The registry of those rows that go together, the earlier ones first; and why the others do not."""
    kept, left = list(rows), list[Unfit]()
    while True:
        try:
            return joined(published, kept), left
        except Unfit as refusal:
            left.append(refusal)
            kept = [each for each in kept if each["id"] != refusal.id]


def _clash(key: str, one: Row, other: Row) -> Unfit:
    what, element = (key, "url") if key == one["url"] else (key.removesuffix("="), "code")
    message = (
        f"{SEARCH_PARAMETER}/{one['id']} and {SEARCH_PARAMETER}/{other['id']} both define {what}; retire one of them"
    )
    return Unfit(one["id"], "duplicate", message, element)


# what is published


@cache
def _published() -> Mapping[str, Row]:
    return {each["url"]: each for each in search_table()["parameters"]}


def _restated(resource: Resource) -> bool:
    """Whether it is a parameter of the specification itself, word for word; any other of its URL is refused."""
    known = _published().get(resource["url"])
    if known is None:
        return False
    for name in ("code", "type", "expression"):
        if resource.get(name) != known.get(name) and name in known:
            raise _refused(
                f"{resource['url']} is a parameter of FHIR 4.0.1 and keeps its {name};"
                " give yours a url and a code of its own",
                name,
                "business-rule",
            )
    return True


def _covered(resource: Resource, type_: str) -> bool:
    """Whether a type has this parameter as published: finding the same, or derived from it."""
    code = resource["code"]
    known = r4_registry()[type_].get(code)
    if known is None:
        return False
    if known.type == resource["type"]:
        if resource.get("derivedFrom", "").partition("|")[0] == known.url:
            return True
        own = resource.get("expression", "")
        if _found(own, type_) == _found(known.expression, type_):
            return True
    raise _refused(
        f"{type_} has a published parameter {code} ({known.url}), which finds something else or in another way;"
        " give yours another code",
        "code",
        "business-rule",
    )


def _found(expression: str, type_: str) -> frozenset[tuple[Any, str]]:
    definitions = r4_registry().definitions
    with _at("expression"):
        return frozenset((route.steps, route.type) for route in routes(definitions, parse(expression), type_))


def _types(base: Iterable[str]) -> list[str]:
    """The resource types below these: all of them below Resource."""
    definitions = r4_registry().definitions
    unknown = [each for each in base if each not in definitions.types or not definitions.is_a(each, "Resource")]
    if unknown:
        raise _refused(f"{unknown[0][:80]!r} is not a resource type of FHIR R4", "base", "code-invalid")
    return sorted(type_ for type_ in definitions.resource_types if any(definitions.is_a(type_, each) for each in base))


# what can be read


def _check_values(parameter: Parameter, base: Iterable[str]) -> None:
    """Every type of the base must have something that a parameter of this type can look for."""
    for type_ in base:
        found = _routes(parameter.expression, type_, type_, "expression")
        if not any(True for each in found for _ in _indexer().ends.of(parameter, each)):
            kinds = " and ".join(sorted({each.type for each in found}))
            raise _refused(
                f"{parameter.expression[:500]!r} finds {kinds}, which a parameter of type {parameter.type} cannot"
                " look for",
                "expression",
            )


def _check_components(resource: Resource) -> None:
    """Where each component begins; what it finds is known when its definition is."""
    components = resource.get("component", [])
    if len(components) < 2:
        raise _refused("a composite has two components or more", "component", "required")
    for type_ in resource["base"]:
        for base in _routes(resource["expression"], type_, type_, "expression"):
            for index, component in enumerate(components):
                _routes(component["expression"], type_, base.type, f"component[{index}].expression")


def _linked(row_: Row, known: Mapping[str, Parameter]) -> Parameter:
    """The Parameter, with those that its components name; and the proof that its function can be written."""
    parameter = parameter_of(row_)
    parts: list[tuple[Parameter, str]] = []
    for index, component in enumerate(row_.get("component", ())):
        part = known.get(component["definition"].partition("|")[0])
        if part is None or part.type in ("composite", "special"):
            message = f"{row_['url']}: {component['definition']} is no search parameter that a component could be"
            raise Unfit(row_["id"], "not-found", message, f"component[{index}].definition")
        parts.append((part, component["expression"]))
    if len({part.code for part, _ in parts}) < len(parts):
        raise Unfit(row_["id"], "not-supported", f"{row_['url']}: two components have the same code", "component")
    parameter = parameter._replace(components=tuple(parts))
    try:
        _prove(parameter)
    except Outcome as refusal:
        element = "component" if parts else "expression"
        raise Unfit(row_["id"], "not-supported", str(refusal), element) from refusal
    return parameter


@lru_cache(maxsize=4096)
def _prove(parameter: Parameter) -> None:
    """Raises a 400 Outcome where the function of a type cannot be written: a component without values, say."""
    definitions = r4_registry().definitions
    alone = Indexer(definitions, Registry(definitions, [parameter]), "")
    for type_ in _types(parameter.base):
        alone.entry({"resourceType": type_})


def _routes(expression: str, type_: str, start: str, element: str) -> list[Route]:
    """Raises a 422 Outcome with the position where a path leads nowhere."""
    own = None if start == type_ and element == "expression" else start
    with _at(element):
        found = routes(r4_registry().definitions, parse(expression), type_, own)
    if not found:
        raise _refused(f"the search expression {expression[:500]!r} says nothing about {type_}", element)
    return found


@cache
def _indexer() -> Indexer:
    return Indexer(r4_registry().definitions, r4_registry(), "")


@contextmanager
def _at(element: str) -> Iterator[None]:
    """What an expression is refused for, as an issue about its element."""
    try:
        yield
    except Outcome as refusal:
        raise _refused(str(refusal), element, refusal.issues[0].code) from refusal


def _refused(message: str, element: str, code: str = "invalid") -> Outcome:
    return Outcome(422, code, message, f"{SEARCH_PARAMETER}.{element}")
