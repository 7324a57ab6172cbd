"""Which slice each value of an element belongs to, and whether the slices are as they must be.

https://hl7.org/fhir/R4/profiling.html#slicing, https://hl7.org/fhir/R4/profiling.html#discriminator
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fhirserver.fhir.definitions import Element
from fhirserver.validation.discriminators import Told, keyed, matcher
from fhirserver.validation.findings import Finding, Issues, Question, issue, under
from fhirserver.validation.reading import Ask, Found
from fhirserver.validation.references import Container
from fhirserver.validation.trees import Slicing, Spec
from fhirserver.validation.words import one_of, times

if TYPE_CHECKING:
    from fhirserver.validation.additions import Additions

DEFAULT = "@default"  # what is said of the values that belong to no slice


NONE, UNTOLD = -1, -2  # it belongs to no slice; it may belong to one, which only terminology can tell


class Slice(NamedTuple):
    name: str
    low: int
    high: int | None
    told: Told
    asks: dict[str, Ask]
    within: Slices | None  # the slices of this slice


class Slices:
    """The slices of one element."""

    def __init__(
        self,
        name: str,
        profile: str,
        slicing: Slicing,
        slices: Sequence[Slice],
        default: dict[str, Ask],
        keys: dict[str, int] | None,
    ) -> None:
        self.profile = profile
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
            asks = self.slices[place].asks if place >= 0 else self.default if place == NONE else {}
            ask = asks.get(value[2])
            if ask and (problems := ask(value[0], value[1], container)):
                problems = under(self._step(value), problems)
                found = found + problems if found else problems
        for each, own in zip(self.slices, held, strict=True):
            if len(own) < each.low and UNTOLD in places:
                found = (found or []) + self._asked(each, values, places, container)
            elif len(own) < each.low or (each.high is not None and len(own) > each.high):
                found = (found or []) + self._number(each, len(own))
            if each.within is not None and (more := each.within.findings(own, container)):
                found = (found or []) + more
        if not self.plain and (more := self._rules(values, places)):
            found = (found or []) + more
        return found

    def _place(self, value: Found, container: Container) -> int:
        """The slice that a value belongs to."""
        if self.keys is not None and type(value[0]) is dict:
            return self.keys.get(value[0].get("url", ""), NONE)
        other = NONE
        for place, each in enumerate(self.slices):
            container.trials.spend(1)
            matches = each.told.match(value, container)
            if matches:
                return place
            if matches is None:
                other = UNTOLD
        return other

    def _step(self, value: Found) -> str:
        return f".{self.name}" if value[3] is None else f".{self.name}[{value[3]}]"

    def _number(self, each: Slice, count: int) -> list[Finding]:
        what = f"the slice {each.name} of {self.name}{each.told.words}"
        if count < each.low:
            needed = "" if each.low == 1 else f" {times(each.low)}"
            there = f"there are {count}" if count else "there is none"
            return issue("required", f"{what} is needed{needed}; {there}", "cardinality-min", f".{self.name}")
        if each.high == 0:
            return issue("structure", f"{what} is not allowed here", "cardinality-max", f".{self.name}")
        said = f"{what} may be here {times(each.high or 0)} at most; there are {count}"
        return issue("structure", said, "cardinality-max", f".{self.name}")

    def _asked(self, each: Slice, values: list[Found], places: list[int], container: Container) -> list[Finding]:
        """Whether any of the values that may belong to a slice does."""
        bound = each.told.bound
        if bound is None:
            return []
        untold = [value for value, place in zip(values, places, strict=True) if place == UNTOLD]
        codings = bound.codings(untold, container)
        if not codings:
            return self._number(each, 0)
        return [
            Question("required", bound.value_set, "CodeableConcept", {"coding": codings}, f".{self.name}", self.profile)
        ]

    def _rules(self, values: list[Found], places: list[int]) -> list[Finding]:
        found: list[Finding] = []
        last = -1
        rules, ordered = self.slicing.rules, self.slicing.ordered
        behind = max((i for i, place in enumerate(places) if place >= 0), default=-1)
        for i, (value, place) in enumerate(zip(values, places, strict=True)):
            if place == NONE and not self.default and rules == "closed":
                said = f"it belongs to none of the slices of {self.name}: {one_of(each.name for each in self.slices)}"
                found += issue("structure", said, "slicing", self._step(value))
            elif place == NONE and rules == "openAtEnd" and i < behind:
                said = f"what belongs to no slice of {self.name} comes behind the slices"
                found += issue("structure", said, "slicing", self._step(value))
            elif ordered and 0 <= place < last:
                said = f"the slice {self.slices[place].name} comes before {self.slices[last].name}"
                found += issue("structure", said, "slicing", self._step(value))
            last = max(last, place)
        return found


def sliced(additions: Additions, spec: Spec, element: Element) -> Slices | None:
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
        told = matcher(additions.definitions, slicing, each, element, asks)
        within = sliced(additions, each, element)
        slices.append(Slice(each.slice_name or "", each.min or 0, each.most, told, asks, within))
    plain = slicing.rules == "open" and not slicing.ordered
    if plain and not default and not any(s.low or s.asks or s.within or s.high is not None for s in slices):
        return None
    keys = keyed(slicing, [each for each in spec.slices if each.slice_name != DEFAULT], element)
    return Slices(element.name, additions.url, slicing, slices, default, keys)
