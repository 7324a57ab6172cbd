"""The elements of a StructureDefinition as a tree: each with the parts and the slices it has.

https://hl7.org/fhir/R4/elementdefinition.html, https://hl7.org/fhir/R4/profiling.html#slicing. Prose is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fhirserver.fhir.definitions import STRUCTURE, Binding, Constraint

Json = dict[str, Any]

MAX_VALUE_SET: Final = STRUCTURE + "elementdefinition-maxValueSet"


class Type(NamedTuple):
    """One type that an element may have, with the profiles of the value and of what it refers to."""

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    aggregation: tuple[str, ...] = ()
    versioning: str | None = None


class Slicing(NamedTuple):
    discriminators: tuple[tuple[str, str], ...] = ()
    rules: str = "open"
    ordered: bool = False


@dataclass(slots=True, eq=False)
class Spec:
    """What a profile says of one element, or of one slice of it. None: nothing is said."""

    name: str
    slice_name: str | None = None
    min: int | None = None
    max: str | None = None
    types: tuple[Type, ...] = ()
    fixed: Any = None
    pattern: Any = None
    low: Any = None
    high: Any = None
    max_length: int | None = None
    bindings: tuple[Binding, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    slicing: Slicing | None = None
    children: dict[str, Spec] = field(default_factory=dict)
    slices: list[Spec] = field(default_factory=list)

    @property
    def most(self) -> int | None:
        return None if self.max is None or self.max == "*" else int(self.max)


def tree(elements: Iterable[Json]) -> Spec:
    """The root, from the elements of a snapshot: they come in the order of the tree, slices behind what they slice."""
    open_: list[tuple[str, Spec, Spec]] = []  # path, the element, and the slice of it that is being read
    for each in elements:
        path: str = each["path"]
        spec = _spec(each)
        if not open_:
            open_.append((path, spec, spec))
            continue
        while len(open_) > 1 and open_[-1][0] != path and not path.startswith(open_[-1][0] + "."):
            open_.pop()
        if open_[-1][0] == path:
            open_.pop()
        parent = open_[-1][2]
        if spec.slice_name is None:
            parent.children[spec.name] = whole = spec
        else:
            whole = parent.children.setdefault(spec.name, Spec(spec.name))
            _sliced(whole, spec.slice_name).slices.append(spec)
        open_.append((path, whole, spec))
    if not open_:
        raise ValueError("a StructureDefinition has elements")
    return open_[0][1]


def _sliced(whole: Spec, name: str) -> Spec:
    """What a slice is a slice of: `a/b` of the slice `a`. https://hl7.org/fhir/R4/profiling.html#reslicing"""
    here = whole
    while inner := next((each for each in here.slices if name.startswith(f"{each.slice_name}/")), None):
        here = inner
    return here


def _spec(element: Json) -> Spec:
    name = element["path"].rpartition(".")[2].removesuffix("[x]")
    return Spec(
        name,
        element.get("sliceName"),
        element.get("min"),
        element.get("max"),
        tuple(map(_type, element.get("type", ()))),
        fixed=_value(element, "fixed"),
        pattern=_value(element, "pattern"),
        low=_value(element, "minValue"),
        high=_value(element, "maxValue"),
        max_length=element.get("maxLength"),
        bindings=tuple(_bindings(element.get("binding", {}))),
        constraints=tuple(_constraints(element.get("constraint", ()))),
        slicing=_slicing(element["slicing"]) if "slicing" in element else None,
    )


def _type(type_: Json) -> Type:
    profiles, targets, aggregation = (tuple(type_.get(key, ())) for key in ("profile", "targetProfile", "aggregation"))
    return Type(type_.get("code", ""), profiles, targets, aggregation, type_.get("versioning"))


def _value(element: Json, prefix: str) -> Any:
    """Of fixed[x], pattern[x], minValue[x], maxValue[x]."""
    return next((value for key, value in element.items() if key.startswith(prefix)), None)


def _bindings(binding: Json) -> Iterator[Binding]:
    """The binding, and the widest that may be where the binding can be left: all codes are of that."""
    if "valueSet" in binding:
        yield Binding(binding["strength"], binding["valueSet"])
    for extension in binding.get("extension", ()):
        if extension["url"] == MAX_VALUE_SET:
            yield Binding("required", extension.get("valueCanonical") or extension.get("valueUri", ""))


def _constraints(constraints: Iterable[Json]) -> Iterator[Constraint]:
    for each in constraints:
        if "expression" in each:
            yield Constraint(each["key"], each["severity"], each["human"], each["expression"])


def _slicing(slicing: Json) -> Slicing:
    discriminators = tuple((each["type"], each["path"]) for each in slicing.get("discriminator", ()))
    return Slicing(discriminators, slicing.get("rules", "open"), slicing.get("ordered", False))
