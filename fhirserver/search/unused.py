"""What a search asks for in vain although each parameter by itself was understood: it is reported, never passed over.

https://hl7.org/fhir/R4/search.html#elements, https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from fhirserver.fhir.definitions import Definitions

HINTED = 3  # names of which it is looked up what was meant: among those of all types that takes 10 ms each


class Parts(NamedTuple):
    """Which parts of the resources are asked for, whether others are to come along, and which of what contains what.

    `unmet`: `_containedType` is said where `_contained` does not ask for what is contained.
    """

    elements: Sequence[str]
    summary: str
    inclusions: bool
    unmet: bool


class Unused(NamedTuple):
    """The sentence that says so, and what is dropped: whole parameters, or of `_elements` a name."""

    sentence: str
    parameters: frozenset[str] = frozenset()
    element: str | None = None


def unused(definitions: Definitions, types: Iterable[str], asked: Parts) -> Iterator[Unused]:
    known = _names(definitions, definitions.resource_types if asked.inclusions else types) if asked.elements else ()
    unknown = [name for name in dict.fromkeys(asked.elements) if name not in known]
    if len(unknown) < len({*asked.elements}) and asked.summary not in ("false", "count"):
        yield Unused(f"_summary={asked.summary}: _elements says which parts are wanted", frozenset({"_summary"}))
    elif asked.summary == "text" and asked.inclusions:
        yield Unused(
            "_include and _revinclude cannot be mixed with _summary=text, which is about the matches",
            frozenset({"_include", "_revinclude"}),
        )
    if asked.unmet:
        sentence = "_containedType says what is answered by _contained=true or both"
        yield Unused(sentence, frozenset({"_containedType"}))
    for number, name in enumerate(unknown):
        meant = (name.partition(".")[0] if name[0].islower() else name)[:64]
        near = get_close_matches(meant, known, 3) if number < HINTED else ()
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        yield Unused(f"_elements: {name[:80]} is no element at the top of what is searched{hint}", element=name)


def _names(definitions: Definitions, types: Iterable[str]) -> frozenset[str]:
    """`name`, `Patient.name`, and `valueQuantity` for the element `value`."""
    known = ((type_, definitions.types[type_]) for type_ in types)
    found = ((type_, name) for type_, each in known for name in ("resourceType", *each.by_name, *each.by_key))
    return frozenset(each for type_, name in found for each in (name, f"{type_}.{name}"))
