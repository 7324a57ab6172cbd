"""Values that no resource can have where they are asked for: they find nothing, and who typed them is told.

    Observation?subject=Medication/1    the subject of an Observation is never a Medication
    Patient?_id=a b                     no id has a space
    Bundle?composition=Composition/1    a Bundle holds its composition, and no reference to it

https://hl7.org/fhir/R4/search.html#errors
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fhirserver.fhir.definitions import r4
from fhirserver.fhir.ids import ID
from fhirserver.search.bundled import holds
from fhirserver.search.criteria import (
    AllOf,
    AnyOf,
    Chain,
    Clause,
    Composite,
    Contained,
    Criterion,
    Negation,
    Reference,
    Value,
    Within,
    kind,
)
from fhirserver.search.expressions import parse, reference_targets
from fhirserver.search.parameters import Parameter
from fhirserver.search.readers import shown

_ANY = frozenset({"Resource", "Any"})


def impossible(asked: Sequence[tuple[str, Criterion]]) -> list[str]:
    """A sentence for each such value of what is asked of several types; none where one of them can have it."""
    found = [list(dict.fromkeys(_of(type_, criterion))) for type_, criterion in asked]
    return found[0] if found and all(found) else []


def _of(type_: str, criterion: Criterion) -> Iterator[str]:
    match criterion:
        case Clause(parameter, modifier, values) if modifier != "missing":
            for value in values:
                yield from _said(type_, parameter, value)
        case Chain(others=others):
            yield from impossible(others)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _of(type_, part)
        case Negation(part) | Within(part=part):
            yield from _of(type_, part)
        case Contained(inner, part):
            yield from _of(inner, part)


def _said(type_: str, parameter: Parameter, value: Value) -> Iterator[str]:
    match value:
        case str() if kind(parameter) == "id" and not ID.fullmatch(value):
            yield f"{shown(value)!r} is no id, which has 1 to 64 letters, digits, '-' and '.': nothing matches it"
        case Reference() if holds(parameter):
            whole = f"{parameter.code} of {type_} is a whole resource and no reference, so that no value matches it"
            yield f"{whole}; a chain asks it, as in {parameter.code}.identifier"
        case Reference((form,)) if parameter.type == "reference" and (target := _never(type_, parameter, form)):
            known = ", ".join(parameter.targets[:8])
            never = f"{parameter.code} of {type_} never refers to a {target}, so that nothing matches {shown(form)}"
            yield f"{never}; it may refer to {known}"
        case Composite(parts):
            for (component, _), part in zip(parameter.components, parts, strict=True):
                yield from _said(type_, component, part)


def _never(type_: str, parameter: Parameter, form: str) -> str | None:
    """The type of a reference to a resource here, if the parameter leads to others alone, and so does its element.

    A definition may name fewer types than the element has: what is there is found all the same.
    """
    target, slash, _ = form.partition("/")
    if not slash or not target.isalpha() or not parameter.targets or not _ANY.isdisjoint(parameter.targets):
        return None
    if target in parameter.targets or target in reference_targets(r4(), parse(parameter.expression), type_):
        return None
    return target
