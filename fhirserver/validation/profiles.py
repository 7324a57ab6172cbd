"""Profiles: StructureDefinitions that add to the rules of a type. https://hl7.org/fhir/R4/profiling.html

A profile is compiled when the first value comes. `needs` names what it refers to: profiles, definitions of extensions,
value sets. Where it is given as a differential only, its elements are those of its base with the differential put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Final, NamedTuple

from fhirserver.fhir.definitions import STRUCTURE, Definitions, profile_table, r4
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.additions import Additions, named
from fhirserver.validation.findings import Finding, Issues, issue
from fhirserver.validation.reading import Ask
from fhirserver.validation.references import Container, Known, TooManyTrials
from fhirserver.validation.snapshots import TooLarge, kept, snapshot, type_elements
from fhirserver.validation.trees import tree

Json = dict[str, Any]
DEEPEST: Final = 40  # bases of bases, and profiles of types in them


class Profiles(dict[str, "Profile"]):
    """Profiles by canonical, with and without the version."""

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        super().__init__()
        for each in profiles:
            self[each.url] = each
            if each.version is not None:
                self[f"{each.url}|{each.version}"] = each


class Context(NamedTuple):
    """Where an extension may stand: `element`, `extension` or `fhirpath`, and which."""

    type: str
    expression: str


class Profile:
    """One profile, or the definition of an extension.

    Its elements are what came of its base when its first value came: where a base becomes another, it is made anew.
    """

    def __init__(self, structure_definition: Json, definitions: Definitions) -> None:
        self.url: str = structure_definition["url"]
        self.version: str | None = structure_definition.get("version")
        self.type: str = structure_definition["type"]
        self.base: str = structure_definition.get("baseDefinition", "")
        self.context = tuple(
            Context(each["type"], each["expression"]) for each in structure_definition.get("context", ())
        )
        self.invariants: tuple[str, ...] = tuple(structure_definition.get("contextInvariant", ()))
        self._definitions = definitions
        self._snapshot = _kept(structure_definition.get("snapshot"))
        self._differential = [] if self._snapshot else _kept(structure_definition.get("differential"))
        self._too_large = False
        self._asked: Ask | None = None

    @cached_property
    def needs(self) -> frozenset[str]:
        """Canonicals of the profiles, definitions of extensions and value sets that it names, and of its base."""
        named = set(_named(self._differential or self._snapshot, self._definitions))
        if self._differential and not self._of_type(self.base):
            named.add(self.base)
        return frozenset(named)

    @cached_property
    def modifier(self) -> bool:
        """Whether the extension it defines changes the meaning of what it stands in."""
        root = (self._differential or self._snapshot)[:1]
        return any("." not in each["path"] and bool(each.get("isModifier")) for each in root)

    def elements(self, profiles: Mapping[str, Known], seen: tuple[str, ...] = ()) -> Sequence[Json] | None:
        """The elements of the snapshot, generated where there is none; None where the base is not known here.

        Raises TooLarge where they would be too many.
        """
        if self._too_large:
            raise TooLarge
        if self._snapshot or len(seen) > DEEPEST:
            return self._snapshot or None

        def known(canonical: str) -> Sequence[Json] | None:
            profile = profiles.get(canonical)
            return profile.elements(profiles, (*seen, self.url)) if profile and profile.url not in seen else None

        type_ = self._of_type(self.base)
        base = type_elements(type_, self._definitions) if type_ else known(self.base)
        if base is None:
            return None
        try:
            self._snapshot = snapshot(self._differential, base, known, self._definitions)
        except TooLarge:
            self._too_large = True
            raise
        return self._snapshot

    def _of_type(self, canonical: str) -> str | None:
        """The type of FHIR that a canonical names."""
        name = canonical.partition("|")[0].removeprefix(STRUCTURE)
        return name if name in self._definitions.types else None

    def check(self, node: Any, container: Container) -> Issues:
        """What is wrong with a value of the type, and what is to be asked; expressions begin at the value."""
        type_ = node.get("resourceType", self.type)
        if not self._definitions.is_a(type_, self.type):
            said = f"{self.url} is a profile of {self.type}, and this is {type_}"
            return named(self.url, issue("structure", said, "type"))
        try:
            ask = self._asked or self._compiled(container.profiles)
            found = ask(node, None, container) if ask else self._unchecked(f"derives from {self.base}, not known here")
        except TooLarge:
            found = self._unchecked("has too many elements")
        except TooManyTrials:
            found = issue("too-costly", "there are too many values and slices to tell which belongs to which", "depth")
        return named(self.url, found) if found else None

    def _compiled(self, profiles: Mapping[str, Known]) -> Ask | None:
        elements = self.elements(profiles)
        if elements is not None:
            self._asked = Additions(self._definitions, self.url).of(tree(elements), self.type, None) or _nothing
        return self._asked

    def _unchecked(self, why: str) -> list[Finding]:
        said = f"the profile {self.url} {why}, so it is not checked"
        return [Issue("warning", "not-found", said, "", rule="profile-unknown")]


def _nothing(value: Any, sibling: Json | None, container: Container) -> Issues:
    """A profile that repeats its type."""
    return None


def _kept(part: Json | None) -> list[Json]:
    """The elements without their prose."""
    return [kept(each) for each in part["element"]] if part else []


def _named(elements: Iterable[Json], definitions: Definitions) -> Iterator[str]:
    for element in elements:
        for type_ in element.get("type", ()):
            for url in (*type_.get("profile", ()), *type_.get("targetProfile", ())):
                if url.removeprefix(STRUCTURE) not in definitions.types:
                    yield url
        binding = element.get("binding", {})
        if "valueSet" in binding and binding["strength"] != "example":
            yield binding["valueSet"]


def of_type(canonical: str, definitions: Definitions) -> Profile | None:
    """A type as the profile that it is of itself."""
    name = canonical.partition("|")[0].removeprefix(STRUCTURE)
    if name not in definitions.resource_types:
        return None
    whole = {"element": [{"path": name}]}
    return Profile({"url": STRUCTURE + name, "type": name, "snapshot": whole}, definitions)


@cache
def published() -> Profiles:
    """Those of R4: https://hl7.org/fhir/R4/profilelist.html, https://hl7.org/fhir/R4/extensibility-registry.html"""
    return Profiles(Profile(each, r4()) for each in profile_table())
