"""What the values of a token parameter are: codes of code systems, media types, URLs.

https://hl7.org/fhir/R4/search.html#token
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fhirserver.fhir.outcome import invalid
from fhirserver.search.criteria import AnyOf, Clause, Criterion, Token, Value
from fhirserver.search.expressions import parse, routes
from fhirserver.search.forms import implied_system
from fhirserver.search.media_types import BINDING, broader, narrower
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.readers import shown
from terminology.codes import Expansion

CODES = frozenset({"Coding", "CodeableConcept", "Extension"})  # an Extension stands for its value
TEXTS = frozenset({"code", "string", "uri"})
# Modifiers of our own making.
BEGINNING = "beginning"
URL_BELOW, URL_ABOVE = "url-below", "url-above"


class Coded(NamedTuple):
    """Whether a parameter's values are codes that name their system, codes without one, media types, URLs."""

    named: bool
    bare: bool
    media: bool = False
    urls: bool = False


def coded(registry: Registry, type_: str, parameter: Parameter) -> Coded:
    """Of elements of type `code` the system is implied, or not known."""
    ends = routes(registry.definitions, parse(parameter.expression), type_)
    implied = [end.type == "code" and implied_system(end) is not None for end in ends]
    named = any(end.type in CODES or system for end, system in zip(ends, implied, strict=True))
    bare = any(end.type in TEXTS and not system for end, system in zip(ends, implied, strict=True))
    bindings = [end.element.binding for end in ends if end.element is not None and end.element.binding is not None]
    media = any(binding.value_set.partition("|")[0] == BINDING for binding in bindings)
    return Coded(named, bare, media, any(end.type == "uri" for end in ends))


def apart(clause: Clause, asked: Coded) -> tuple[list[Criterion], tuple[Value, ...]]:
    """What a text alone tells to be above or below, media types and URLs; and the other values, which are concepts."""
    told: list[Criterion] = []
    concepts: list[Value] = []
    for value in clause.values:
        code = value.code or "" if isinstance(value, Token) else ""
        if not isinstance(value, Token) or (value.system and code):
            concepts.append(value)
        elif asked.media and code:
            told.append(_of_media(clause, code))
        elif asked.urls and "://" in code:
            told.append(Clause(clause.parameter, URL_BELOW if clause.modifier == "below" else URL_ABOVE, (code,)))
        else:
            lack = "no code" if value.system else "no code system, which says what is above and below"
            raise invalid(f"{shown(value.form)!r} names {lack}: write system|code")
    return told, tuple(concepts)


def _of_media(clause: Clause, text: str) -> Criterion:
    if clause.modifier == "below":
        starts = Clause(clause.parameter, BEGINNING, tuple(narrower(text)))
        return AnyOf((Clause(clause.parameter, None, (Token(None, text),)), starts))
    return Clause(clause.parameter, None, tuple(Token(None, each) for each in broader(text)))


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
