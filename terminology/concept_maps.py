"""A concept map taken apart: what a code of one system is in another. https://hl7.org/fhir/R4/conceptmap.html"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import invalid
from terminology.canonical import Canonical, canonical

Json = Mapping[str, Any]

# https://hl7.org/fhir/R4/valueset-concept-map-equivalence.html; those that say that nothing is the same
NEGATIVE = frozenset({"unmatched", "disjoint"})
INVERSE = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}
DEEPEST = 8  # maps that go on in other maps


class Other(NamedTuple):
    """A dependsOn or product: another element, and its value."""

    property: str
    system: str | None
    value: str
    display: str | None


class Target(NamedTuple):
    code: str | None
    display: str | None
    equivalence: str
    depends_on: tuple[Other, ...]
    product: tuple[Other, ...]


class Group(NamedTuple):
    """From one system to another. `source_codes` has the targets by code, in the order of the map."""

    source: str | None
    target: str | None
    target_version: str | None
    source_codes: Mapping[str, Sequence[Target]]
    displays: Mapping[str, str]
    unmapped: Json | None


class ConceptMap:
    """Taken apart once, and never changed."""

    def __init__(self, resource: Json) -> None:
        self.url: str = resource.get("url", "")
        self.version: str | None = resource.get("version")
        self.source = _scope(resource, "source")
        self.target = _scope(resource, "target")
        self.groups = tuple(_group(each) for each in resource.get("group", ()))

    @property
    def size(self) -> int:
        """How many codes it lists."""
        return sum(len(group.source_codes) for group in self.groups)

    def needs(self) -> Iterator[Canonical]:
        """The maps in which it goes on."""
        for group in self.groups:
            if group.unmapped is not None and "url" in group.unmapped:
                yield canonical("ConceptMap", group.unmapped["url"])


class Question(NamedTuple):
    """`systems` and `target_systems` are the names of one system; none means any.

    `dependencies` are what is known of other elements: (element, system, code).
    """

    code: str
    systems: frozenset[str] = frozenset()
    target_systems: frozenset[str] = frozenset()
    target: str | None = None
    dependencies: frozenset[tuple[str, str | None, str]] = frozenset()
    reverse: bool = False


class Match(NamedTuple):
    """`source` is the map that says so."""

    equivalence: str
    system: str | None
    version: str | None
    code: str | None
    display: str | None
    product: tuple[Other, ...]
    source: str


def translate(asked: Canonical, maps: Mapping[Canonical, ConceptMap], question: Question) -> list[Match]:
    """What the map says, in its order. Raises a 400 Outcome where it goes on in one that is not here."""
    return [*_translated(asked, maps, question, ())]


def _translated(
    asked: Canonical, maps: Mapping[Canonical, ConceptMap], question: Question, within: tuple[Canonical, ...]
) -> Iterator[Match]:
    if asked in within or len(within) >= DEEPEST:
        raise invalid(f"concept map {asked} goes on in itself, or in more than {DEEPEST} others", code="processing")
    if asked not in maps:
        raise invalid(f"concept map {asked}, in which {within[-1]} goes on, is not known here", code="not-found")
    concept_map = maps[asked]
    if question.target is not None and concept_map.target not in (None, question.target):
        return
    for group in concept_map.groups:
        if question.reverse:
            yield from _backwards(group, concept_map.url, question)
            yield from _unmapped_backwards(group, maps, question, (*within, asked))
            continue
        if not (_meant(group.source, question.systems) and _meant(group.target, question.target_systems)):
            continue
        targets = group.source_codes.get(question.code)
        if targets is None:
            yield from _unmapped(group, maps, question, (*within, asked))
        for each in _applicable(targets or (), question):
            version, source = group.target_version, concept_map.url
            yield Match(each.equivalence, group.target, version, each.code, each.display, each.product, source)


def _meant(system: str | None, names: frozenset[str]) -> bool:
    return not names or system in names


def _applicable(targets: Iterable[Target], question: Question) -> Iterator[Target]:
    """https://hl7.org/fhir/R4/conceptmap-definitions.html#ConceptMap.group.element.target.dependsOn"""
    for each in targets:
        if all(_known(other, question) for other in each.depends_on):
            yield each


def _known(other: Other, question: Question) -> bool:
    return any(
        element == other.property and value == other.value and other.system in (None, system)
        for element, system, value in question.dependencies
    )


def _unmapped(
    group: Group, maps: Mapping[Canonical, ConceptMap], question: Question, within: tuple[Canonical, ...]
) -> Iterator[Match]:
    """https://hl7.org/fhir/R4/valueset-conceptmap-unmapped-mode.html"""
    said, source = group.unmapped, maps[within[-1]].url
    match said and said.get("mode"):
        case "provided":
            yield Match("equal", group.target, group.target_version, question.code, None, (), source)
        case "fixed" if said is not None:
            code, display = said.get("code"), said.get("display")
            yield Match("relatedto", group.target, group.target_version, code, display, (), source)
        case "other-map" if said is not None and "url" in said:
            yield from _translated(canonical("ConceptMap", said["url"]), maps, question, within)


def _backwards(group: Group, source: str, question: Question) -> Iterator[Match]:
    if not (_meant(group.target, question.systems) and _meant(group.source, question.target_systems)):
        return
    for code, targets in group.source_codes.items():
        for each in targets:
            if each.code == question.code and each.equivalence not in NEGATIVE:
                equivalence = INVERSE.get(each.equivalence, each.equivalence)
                yield Match(equivalence, group.source, None, code, group.displays.get(code), (), source)


def _unmapped_backwards(
    group: Group, maps: Mapping[Canonical, ConceptMap], question: Question, within: tuple[Canonical, ...]
) -> Iterator[Match]:
    """Codes that the group does not map: the same on both sides, or as another map says."""
    if not (_meant(group.target, question.systems) and _meant(group.source, question.target_systems)):
        return
    match group.unmapped and group.unmapped.get("mode"):
        case "provided" if not _mentions(group, question.code):
            yield Match("equal", group.source, None, question.code, None, (), maps[within[-1]].url)
        case "other-map" if group.unmapped is not None and "url" in group.unmapped:
            others = _translated(canonical("ConceptMap", group.unmapped["url"]), maps, question, within)
            yield from (each for each in others if each.code not in group.source_codes)


def _mentions(group: Group, code: str) -> bool:
    return code in group.source_codes or any(each.code == code for many in group.source_codes.values() for each in many)


def _scope(resource: Json, name: str) -> str | None:
    found = resource.get(f"{name}Canonical", resource.get(f"{name}Uri"))
    return None if found is None else str(found).partition("|")[0]


def _group(group: Json) -> Group:
    elements = [each for each in group.get("element", ()) if "code" in each]
    codes: dict[str, list[Target]] = {}
    for each in elements:
        codes.setdefault(each["code"], []).extend(_target(target) for target in each.get("target", ()))
    displays = {each["code"]: each["display"] for each in elements if "display" in each}
    version = group.get("targetVersion")
    return Group(group.get("source"), group.get("target"), version, codes, displays, group.get("unmapped"))


def _target(target: Json) -> Target:
    others = (tuple(_other(each) for each in target.get(name, ())) for name in ("dependsOn", "product"))
    depends_on, product = others
    equivalence = target.get("equivalence", "relatedto")
    return Target(target.get("code"), target.get("display"), equivalence, depends_on, product)


def _other(each: Json) -> Other:
    return Other(each.get("property", ""), each.get("system"), each.get("value", ""), each.get("display"))
