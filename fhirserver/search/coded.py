"""The codes of code systems as tokens of a parameter. https://hl7.org/fhir/R4/search.html#token"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fhirserver.fhir.outcome import invalid
from fhirserver.search.criteria import Token
from fhirserver.search.expressions import parse, routes
from fhirserver.search.index import implied_system
from fhirserver.search.parameters import Parameter, Registry
from terminology.value_sets import Expansion

CODES = frozenset({"Coding", "CodeableConcept", "Extension"})  # an Extension stands for its value
TEXTS = frozenset({"code", "string", "uri"})


class Coded(NamedTuple):
    """Whether a parameter's values are codes that name their system, and whether they are codes without one."""

    named: bool
    bare: bool


def coded(registry: Registry, type_: str, parameter: Parameter) -> Coded:
    """Of elements of type `code` the system is implied, or not known."""
    ends = routes(registry.definitions, parse(parameter.expression), type_)
    implied = [end.type == "code" and implied_system(end) is not None for end in ends]
    named = any(end.type in CODES or system for end, system in zip(ends, implied, strict=True))
    return Coded(named, any(end.type in TEXTS and not system for end, system in zip(ends, implied, strict=True)))


def tokens(expansion: Expansion | Mapping[str, frozenset[str]], asked: Coded) -> Iterator[Token]:
    """A code without a system is any of its name: nothing says that it means something else."""
    for system, codes in expansion.items():
        if codes is None:
            if asked.bare:
                raise invalid(f"the codes of {system} are not here, and the values name no system", code="not-found")
            yield Token(system, None)
            continue
        for code in codes:
            if asked.named:
                yield Token(system, code)
            if asked.bare:
                yield Token("", code)
