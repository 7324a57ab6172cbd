"""Which slice each value of an element belongs to, and whether the slices are as they must be.

https://hl7.org/fhir/R4/profiling.html#slicing, https://hl7.org/fhir/R4/profiling.html#discriminator
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fhirserver.fhir.definitions import Element
from fhirserver.validation.discriminators import Match, keyed, matcher
from fhirserver.validation.findings import Finding, Issues, issue, under
from fhirserver.validation.reading import Ask, Found
from fhirserver.validation.references import Container
from fhirserver.validation.trees import Slicing, Spec
from fhirserver.validation.words import one_of

if TYPE_CHECKING:
    from fhirserver.validation.additions import Additions

DEFAULT = "@default"  # what is said of the values that belong to no slice


class Slice(NamedTuple):
    name: str
    low: int
    high: int | None
    match: Match
    asks: dict[str, Ask]
    within: Slices | None  # the slices of this slice
    said: str


class Slices:
    """The slices of one element."""

    def __init__(
        self, name: str, slicing: Slicing, slices: Sequence[Slice], default: dict[str, Ask], keys: dict[str, int] | None
    ) -> None:
        self.name, self.slicing, self.slices, self.default = name, slicing, slices, default
        self.keys = keys
        self.plain = slicing.rules == "open" and not slicing.ordered and not default

    def findings(self, values: list[Found], container: Container) -> Issues:
        found: Issues = None
        held: list[list[Found]] = [[] for _ in self.slices]
        places: list[int] = []
        for value in values:
            place = self._place(value, container)
            places.append(place)
            if place >= 0:
                held[place].append(value)
            asks = self.slices[place].asks if place >= 0 else self.default
            ask = asks.get(value[2])
            if ask and (problems := ask(value[0], value[1], container)):
                problems = under(self._step(value), problems)
                found = found + problems if found else problems
        for each, own in zip(self.slices, held, strict=True):
            if not each.low <= len(own) or (each.high is not None and len(own) > each.high):
                found = (found or []) + self._number(each, len(own))
            if each.within is not None and (more := each.within.findings(own, container)):
                found = (found or []) + more
        if not self.plain and (more := self._rules(values, places)):
            found = (found or []) + more
        return found

    def _place(self, value: Found, container: Container) -> int:
        """The slice that a value belongs to; -1 for none."""
        if self.keys is not None and type(value[0]) is dict:
            return self.keys.get(value[0].get("url", ""), -1)
        for place, each in enumerate(self.slices):
            container.trials.spend(1)
            if each.match(value, container):
                return place
        return -1

    def _step(self, value: Found) -> str:
        return f".{self.name}" if value[3] is None else f".{self.name}[{value[3]}]"

    def _number(self, each: Slice, count: int) -> list[Finding]:
        what = f"the slice {each.name} of {self.name}{each.said}"
        if count < each.low:
            times = "" if each.low == 1 else f" {each.low} times"
            return issue("required", f"{what} is needed{times}; there are {count}", "cardinality-min", f".{self.name}")
        if each.high == 0:
            return issue("structure", f"{what} is not allowed here", "cardinality-max", f".{self.name}")
        said = f"{what} may be here {each.high} times at most; there are {count}"
        return issue("structure", said, "cardinality-max", f".{self.name}")

    def _rules(self, values: list[Found], places: list[int]) -> list[Finding]:
        found: list[Finding] = []
        last = -1
        rules, ordered = self.slicing.rules, self.slicing.ordered
        behind = max((i for i, place in enumerate(places) if place >= 0), default=-1)
        for i, (value, place) in enumerate(zip(values, places, strict=True)):
            if place < 0 and not self.default and rules == "closed":
                said = f"it belongs to none of the slices of {self.name}: {one_of(each.name for each in self.slices)}"
                found += issue("structure", said, "slicing", self._step(value))
            elif place < 0 and rules == "openAtEnd" and i < behind:
                said = f"what belongs to no slice of {self.name} comes behind the slices"
                found += issue("structure", said, "slicing", self._step(value))
            elif ordered and 0 <= place < last:
                said = f"the slice {self.slices[place].name} comes before {self.slices[last].name}"
                found += issue("structure", said, "slicing", self._step(value))
            last = max(last, place)
        return found


def sliced(additions: Additions, spec: Spec, element: Element, beside: Spec | None) -> Slices | None:
    """The slices of an element, where they ask for anything."""
    if not spec.slices:
        return None
    slicing = spec.slicing or Slicing()
    slices: list[Slice] = []
    default: dict[str, Ask] = {}
    for each in spec.slices:
        asks = {
            type_: ask
            for type_ in additions.allowed(each, element)
            if (ask := additions.of(each, type_, element, spec))
        }
        if each.slice_name == DEFAULT:
            default = asks
            continue
        match, said = matcher(additions.definitions, slicing, each, element, asks)
        within = sliced(additions, each, element, spec)
        slices.append(Slice(each.slice_name or "", each.min or 0, each.most, match, asks, within, said))
    plain = slicing.rules == "open" and not slicing.ordered
    if plain and not default and not any(s.low or s.asks or s.within or s.high is not None for s in slices):
        return None
    return Slices(element.name, slicing, slices, default, keyed(slicing, spec.slices, element))
