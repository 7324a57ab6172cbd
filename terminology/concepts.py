"""What a code system says of one of its codes, and what is asked of all of them.

https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Json = Mapping[str, Any]
Codes = frozenset[str]

_word = re.compile(r"[^\W_]+")


class Designation(NamedTuple):
    """Another name of a concept; `use` is a Coding."""

    value: str
    language: str | None = None
    use: Json | None = None


class Property(NamedTuple):
    """`type` is the end of value[x] (`Code`, `Coding`, `String`, `Integer`, `Boolean`, `DateTime`, `Decimal`)."""

    code: str
    type: str
    value: Any

    @property
    def text(self) -> str:
        """As a filter compares it; a Coding by its code."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return str(self.value.get("code", "")) if isinstance(self.value, Mapping) else str(self.value)


class Concept(NamedTuple):
    """A code with what its system says of it. `parents` and `children` are codes, one step away."""

    code: str
    display: str | None = None
    definition: str | None = None
    designations: tuple[Designation, ...] = ()
    properties: tuple[Property, ...] = ()
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    inactive: bool = False
    abstract: bool = False

    def shown(self, language: str | None = None) -> str | None:
        """Its display in a language (BCP 47, `de` also finds `de-CH`), else the one that the code system gives."""
        if language is not None:
            for designation in self.designations:
                if designation.language is not None and speaks(designation.language, language):
                    return designation.value
        return self.display

    def is_called(self, text: str) -> bool:
        """Whether a text is one of its names, whatever its case and white space."""
        return text == self.display or folded(text) in {folded(name) for name in self.names()}

    def names(self) -> Iterator[str]:
        if self.display is not None:
            yield self.display
        for designation in self.designations:
            yield designation.value


def speaks(one: str, asked: str) -> bool:
    """Whether a language is the one that is asked for, or a variety of it. https://www.rfc-editor.org/rfc/rfc4647"""
    one, asked = one.lower(), asked.lower()
    return one == asked or one.startswith(f"{asked}-")


def folded(text: str) -> str:
    return " ".join(text.casefold().split())


def words(text: str) -> list[str]:
    """In small letters; what is neither letter nor digit stands between them."""
    return _word.findall(text.casefold())


class Filter(NamedTuple):
    """https://hl7.org/fhir/R4/valueset-definitions.html#ValueSet.compose.include.filter"""

    property: str
    op: str
    value: str


class System(Protocol):
    """One version of a code system, wherever its concepts are kept.

    What is asked of a code that is not in it, or by a filter that it does not have, raises a 400 Outcome.
    """

    @property
    def url(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def name(self) -> str: ...
    @property
    def content(self) -> str:
        """`complete`, `fragment`, `example`, `not-present` or `supplement`."""
        ...

    @property
    def usable(self) -> bool:
        """Whether it has concepts that can be relied on, all of them or some."""
        ...

    @property
    def finite(self) -> bool:
        """Whether its codes can be counted. Those of a grammar cannot: `selected` knows examples of them."""
        ...

    async def concept(self, code: str) -> Concept | None:
        """By its code; in whatever case, where the system's codes have none."""
        ...

    async def concepts(self, codes: Collection[str]) -> Mapping[str, Concept]:
        """Those of the codes that there are."""
        ...

    async def passes(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether a code of the system passes all of the filters."""
        ...

    async def selected(self, filters: Sequence[Filter], *, active: bool = False) -> Codes:
        """The codes that pass all of the filters; `active`: without inactive ones."""
        ...

    async def ordered(self, codes: Codes) -> Sequence[str]:
        """Codes of the system in the order in which they are to be shown."""
        ...

    async def below(self, code: str) -> Codes:
        """The concept and all that it subsumes."""
        ...

    async def above(self, code: str) -> Codes:
        """The concept and all that subsume it."""
        ...

    async def subsumes(self, one: str, other: str) -> bool:
        """Whether the other is the one, or below it."""
        ...
