"""Profiles: StructureDefinitions that add to the rules of a type. https://hl7.org/fhir/R4/profiling.html

A profile is compiled when the first value comes. `needs` names what it refers to: profiles, definitions of extensions,
value sets. Where it is given as a differential only, its elements are those of its base with the differential put in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fhirserver.fhir.definitions import Definitions
from fhirserver.validation.additions import Additions, named
from fhirserver.validation.findings import Issues, issue
from fhirserver.validation.reading import Ask
from fhirserver.validation.references import STRUCTURE, Container, TooManyTrials
from fhirserver.validation.trees import Spec, tree

Json = dict[str, Any]


class Profiles(dict[str, "Profile"]):
    """Profiles by canonical, with and without the version."""

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        super().__init__()
        for each in profiles:
            self[each.url] = each
            if each.version is not None:
                self[f"{each.url}|{each.version}"] = each


class Profile:
    """One profile, or the definition of an extension."""

    def __init__(self, structure_definition: Json, definitions: Definitions) -> None:
        self.url: str = structure_definition["url"]
        self.version: str | None = structure_definition.get("version")
        self.type: str = structure_definition["type"]
        self.base: str = structure_definition.get("baseDefinition", "")
        self._definitions = definitions
        self._elements: list[Json] = structure_definition["snapshot"]["element"]
        self._ask: Ask | None = None
        self._compiled = False
        self.needs = frozenset(_needs(tree(self._elements), definitions))

    def check(self, node: Any, container: Container) -> Issues:
        """What is wrong with a value of the type, and what is to be asked; expressions begin at the value."""
        type_ = node.get("resourceType", self.type)
        if type_ != self.type:
            said = f"{self.url} is a profile of {self.type}, and this is {type_}"
            return named(self.url, issue("structure", said, "type"))
        if not self._compiled:
            self._ask = Additions(self._definitions, self.url).of(tree(self._elements), self.type, None)
            self._compiled = True
        if self._ask is None:
            return None
        try:
            found = self._ask(node, None, container)
        except TooManyTrials:
            said = "there are too many values and slices to tell which belongs to which"
            found = issue("too-costly", said, "depth")
        return named(self.url, found) if found else None


def _needs(root: Spec, definitions: Definitions) -> Iterable[str]:
    for spec in root.within():
        for type_ in spec.types:
            for url in (*type_.profiles, *type_.targets):
                if url.removeprefix(STRUCTURE) not in definitions.types:
                    yield url
        for binding in spec.bindings:
            if binding.strength != "example":
                yield binding.value_set
