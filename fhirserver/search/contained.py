"""Contained resources: their index values lie beside those of what contains them, in the same document.

    search.#: ["medication"]
    search.#Medication: [{_id: "m1", #: ["medication"], code: [...], #Organization: [{_id: "o1", #: ["manufacturer"]}]}]

Under the type an element for each, with its id, the values of its own parameters, and under `#` the parameters by which
it is referred to. What it refers to itself lies in it in the same way, so that a chain is one element within another.
All parameters by which the container refers to what it contains are beside it.
https://hl7.org/fhir/R4/search.html#contained, docs/adr/0006-contained.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from fhirserver.search.criteria import AllOf, AnyOf, Chain, Clause, Contained, Criterion, Negation, Within, kind

Json = dict[str, Any]

REFERRED = "#"  # the key of the parameters by which contained resources are referred to
HOPS = 3  # references in a row that a chain follows within a container
COPIED = 1_000_000  # characters that elements within elements may have; with more, chains end sooner
VALUE = 100  # characters of a value that is no text
FRESH_SECONDS = 1.0


# Kinds of parameters that say nothing about a contained resource by itself, and why.
UNASKED: Mapping[str, str] = {
    "text": "the words of contained resources are found with what contains them",
    "list": "a list holds no contained resources",
    "instant": "a contained resource is as new as what contains it",
}


class Inner(NamedTuple):
    """One contained resource: its values, and by the name of what it refers to the codes by which it does."""

    type: str
    id: str | None
    values: Json
    references: Mapping[str, list[str]]


def field(type_: str) -> str:
    """The key of contained resources of a type; no search parameter can be called so."""
    return f"#{type_}"


def typed(container: Json) -> Json:
    """The container with what it knows of references within it: the types of what it contains, and its own name."""
    known = {f"#{each['id']}": {"type": each["resourceType"]} for each in container["contained"] if "id" in each}
    if "id" in container:
        known["#"] = {"reference": f"{container['resourceType']}/{container['id']}"}
    found: Json = knowing(container, known)
    return found


def knowing(node: Any, known: Mapping[str, Json]) -> Any:
    """A resource, whose references have what is known of them."""
    if isinstance(node, list):
        return [knowing(each, known) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: knowing(each, known) if isinstance(each, (dict, list)) else each for key, each in node.items()}
    reference = found.get("reference")
    return found | known[reference] if isinstance(reference, str) and reference in known else found


def stored(
    container: Json,
    values: Callable[[Json], Json],
    references: Callable[[Json], Iterable[tuple[str, str]]],
) -> Json:
    """The contained resources by key. `values` and `references` (code, `#id`) are those of one resource."""
    inside = {
        each["id"]: Inner(each["resourceType"], each["id"], values(each), _by_target(references(each)))
        for each in container["contained"]
        if "id" in each
    }
    direct = _by_target(references(container))
    leading = list(dict.fromkeys(code for id_, codes in direct.items() if id_ in inside for code in codes))
    found = elements(inside, {id_: direct.get(id_, []) for id_ in inside})
    return {REFERRED: leading} | found if leading else found


def _by_target(references: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for code, target in references:
        if target.startswith("#") and code not in (codes := found.setdefault(target[1:], [])):
            codes.append(code)
    return found


def elements(inside: Mapping[str, Inner], referred: Mapping[str, list[str]]) -> Json:
    """By key, those that are `referred` to, by these codes, and within them those to which they refer."""
    return _elements(inside, referred, _depth(inside))


def _elements(inside: Mapping[str, Inner], referred: Mapping[str, list[str]], hops: int) -> Json:
    found: Json = {}
    for name, codes in referred.items():
        if name in inside:
            type_, id_, values, references = inside[name]
            named = ({} if id_ is None else {"_id": id_}) | ({REFERRED: codes} if codes else {})
            further = _elements(inside, references, hops - 1) if hops > 1 and references else {}
            found.setdefault(field(type_), []).append(named | values | further)
    return found


def _depth(inside: Mapping[str, Inner]) -> int:
    """How many hops there is room for: of those that refer to each other in circles, each hop multiplies the copies."""
    if not any(target in inside for each in inside.values() for target in each.references):
        return 1
    own = {id_: _size(each.values) for id_, each in inside.items()}
    size = own
    for hops in range(1, HOPS):
        size = {
            id_: own[id_] + sum(size[target] for target in each.references if target in inside)
            for id_, each in inside.items()
        }
        if sum(size.values()) - sum(own.values()) > COPIED:
            return hops
    return HOPS


def _size(values: Json) -> int:
    """In characters, roughly."""
    lists = (each for each in values.values() if isinstance(each, list))
    return sum(len(value) if isinstance(value, str) else VALUE for each in lists for value in each)


class Leading:
    """Which parameters lead into contained resources, by type and code, as far as this process knows.

    Most never do, and their chains should not ask each time. One that does is known at once where that is written, and
    elsewhere after a second; it is never forgotten.
    """

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()
        self._looked: dict[tuple[str, str], float] = {}

    def add(self, type_: str, codes: Iterable[str]) -> None:
        self._known.update((type_, code) for code in codes)

    def known(self, type_: str, code: str) -> bool | None:
        """None where the database must be asked."""
        if (type_, code) in self._known:
            return True
        return False if monotonic() - self._looked.get((type_, code), -FRESH_SECONDS) < FRESH_SECONDS else None

    def absent(self, type_: str, code: str) -> None:
        """The database was asked, and there are none."""
        self._looked[type_, code] = monotonic()


def of_container(criterion: Criterion) -> bool:
    """Whether a criterion is about when a resource was written: what is contained is, with its container."""
    return isinstance(criterion, Clause) and kind(criterion.parameter) == "instant"


def unasked(criterion: Criterion) -> str | None:
    """Why a criterion cannot be asked of contained resources, if it cannot."""
    match criterion:
        case Clause(parameter) if kind(parameter) in UNASKED:
            return f"{parameter.code}: {UNASKED[kind(parameter)]}"
        case Chain(reverse=True):
            return "_has: nothing but what contains them refers to contained resources"
        case AllOf(parts) | AnyOf(parts):
            return next((reason for part in parts if (reason := unasked(part))), None)
        case Negation(part) | Within(part=part) | Contained(part=part):
            return unasked(part)
        case _:
            return None
