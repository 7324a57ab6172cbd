"""The operators of `_filter` by kind of parameter: which clause each makes, and the filters that only they need.

What an ordinary search can ask (a prefix, a modifier) is asked in its words. https://hl7.org/fhir/R4/search_filter.html#ops
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from bson.decimal128 import Decimal128

from fhirserver.fhir.outcome import invalid
from fhirserver.search.criteria import Dates, Number, Token, Value
from fhirserver.search.mongo import Filter
from fhirserver.search.parameters import Parameter
from fhirserver.search.readers import PREFIXES, VALUES, Typed, shown
from fhirserver.search.values.strings import fold

Read = Callable[[str, Typed], Value]
_ORDERS = {"gt": "$gt", "lt": "$lt", "ge": "$gte", "le": "$lte"}
_INSTANT = timedelta(milliseconds=1)

# https://hl7.org/fhir/R4/search_filter.html: predefined in place of the whole system
SYSTEMS: Mapping[str, str] = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ucum": "http://unitsofmeasure.org",
}
_system = re.compile(rf"(?:^|(?<=[|$]))(?:{'|'.join(SYSTEMS)})(?=\|)")


class Comparison(NamedTuple):
    """The modifier of the clause that an operator makes, and how its value is read."""

    modifier: str | None
    read: Read


def _literal(text: str, typed: Typed) -> str:
    return text


def _letters(text: str, typed: Typed) -> str:
    """A part of a string: accents and punctuation alone are a part of each."""
    if not fold(text):
        raise invalid(f"{shown(text)!r} has nothing that is compared: accents and punctuation do not count")
    return text


def _as(kind: str, prefix: str = "", modifier: str | None = None) -> Read:
    """As an ordinary search reads it, under a prefix; a second one in the value is no value."""

    def read(text: str, typed: Typed) -> Value:
        return VALUES[kind, modifier](prefix + _system.sub(lambda match: SYSTEMS[match[0]], text), typed)

    return read


def _coded(text: str, typed: Typed) -> Value:
    value = _as("token")(text, typed)
    if isinstance(value, Token) and value.code is None:
        raise invalid(f"{text[:80]!r} has no code, of which a part is compared")
    return value


COMPARISONS: Mapping[tuple[str, str], Comparison] = {
    ("id", "eq"): Comparison(None, _literal),
    ("id", "ne"): Comparison("not", _literal),
    ("string", "eq"): Comparison("eq", _literal),
    ("string", "ne"): Comparison("ne", _literal),
    ("string", "co"): Comparison("contains", _letters),
    ("string", "sw"): Comparison(None, _letters),
    ("string", "ew"): Comparison("ew", _letters),
    **{("string", order): Comparison(order, _literal) for order in ("gt", "lt", "ge", "le")},
    ("uri", "eq"): Comparison(None, _literal),
    **{("uri", operator): Comparison(operator, _literal) for operator in ("ne", "co", "sw", "ew")},
    ("token", "eq"): Comparison(None, _as("token")),
    ("token", "ne"): Comparison("ne", _as("token")),
    **{("token", operator): Comparison(operator, _coded) for operator in ("co", "sw", "ew")},
    ("reference", "re"): Comparison(None, _as("reference")),
    ("composite", "eq"): Comparison(None, _as("composite")),
    **{
        (kind, prefix): Comparison(None, _as(kind, prefix))
        for kind in ("date", "instant", "number", "quantity")
        for prefix in PREFIXES
    },
    ("date", "co"): Comparison("co", _as("date", "eq")),
    ("date", "po"): Comparison("po", _as("date", "eq")),
    ("instant", "co"): Comparison("co", _as("instant", "eq")),
    ("instant", "po"): Comparison(None, _as("instant", "eq")),
    ("number", "co"): Comparison("co", _as("number", "eq")),
    ("text", "co"): Comparison(None, _as("text")),
}

# Operators that ask what a modifier asks: is it in a value set, is it below or above a code or a resource. `ni` is `in`
# negated.
TERMINOLOGY: Mapping[str, str] = {"in": "in", "ni": "in", "ss": "below", "sb": "above"}


def comparison(kind: str, operator: str) -> Comparison | None:
    """None where the operator makes no sense for the kind of parameter, or is not known here."""
    modifier = TERMINOLOGY.get(operator)
    if modifier is None:
        return COMPARISONS.get((kind, operator))
    if kind not in ("token", "reference") or (kind, modifier) not in VALUES:
        return None
    return Comparison(modifier, _as(kind, modifier=modifier))


def operators(kind: str) -> list[str]:
    """What may be asked of a kind of parameter; `pr` always may."""
    known = [operator for each, operator in COMPARISONS if each == kind]
    return [*known, *(each for each in TERMINOLOGY if comparison(kind, each)), "pr"]


# the filters


def _each(test: Callable[[Any], Filter]) -> Callable[[str, Sequence[Value], Parameter, datetime], Filter]:
    """One stored value that passes the test."""

    def filter_(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
        return {field: {"$elemMatch": test(values[0])}}

    return filter_


def _pattern(pattern: Callable[[Any], str], options: str = "") -> Callable[..., Filter]:
    def filter_(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
        found: Filter = {"$regex": pattern(values[0])}
        return {field: found | {"$options": options} if options else found}

    return filter_


def _other(operator: str) -> Callable[..., Filter]:
    """Of whole values: how else a string may begin is stored with a space at its end."""
    return _each(lambda text: {operator: fold(text), "$not": {"$regex": " $"}})


def _other_token(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """Coded, and in no coding like this: the codings of a concept say the same thing in other words."""
    return {
        field: {"$exists": True, "$nin": [form for value in values if isinstance(value, Token) for form in value.forms]}
    }


def _instant_contains(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    (span,) = values
    return {field: {"$gte": span.high - _INSTANT, "$lte": span.low}} if isinstance(span, Dates) else {}


def _within(number: Number) -> Filter:
    return {"lo": {"$lte": Decimal128(number.value)}, "hi": {"$gte": Decimal128(number.value)}}


def _code(before: str, after: str) -> Callable[[Token], str]:
    """A part of the code alone: its plain form has no bar, the one with the system begins with that."""

    def pattern(token: Token) -> str:
        start = r"^" if token.system is None else rf"^{re.escape(token.system)}\|"
        return f"{start}{before}{re.escape(token.code or '')}{after}"

    return pattern


COMPARED: Mapping[tuple[str, str | None], Callable[[str, Sequence[Value], Parameter, datetime], Filter]] = {
    ("string", "eq"): _each(lambda text: {"$eq": fold(text)}),
    ("string", "ne"): _other("$ne"),
    ("string", "ew"): _pattern(lambda text: f"{re.escape(fold(text))}$"),
    **{("string", order): _other(operator) for order, operator in _ORDERS.items()},
    ("uri", "ne"): _each(lambda text: {"$ne": text}),
    ("uri", "co"): _pattern(re.escape),
    ("uri", "sw"): _pattern(lambda text: f"^{re.escape(text)}"),
    ("uri", "ew"): _pattern(lambda text: f"{re.escape(text)}$"),
    ("token", "ne"): _other_token,
    ("token", "co"): _pattern(_code("[^|]*", "[^|]*$"), "i"),
    ("token", "sw"): _pattern(_code("", "[^|]*$"), "i"),
    ("token", "ew"): _pattern(_code("[^|]*", "$"), "i"),
    ("date", "co"): _each(lambda span: {"lo": {"$lte": span.low}, "hi": {"$gte": span.high}}),
    ("date", "po"): _each(lambda span: {"lo": {"$lt": span.high}, "hi": {"$gt": span.low}}),
    ("instant", "co"): _instant_contains,
    ("number", "co"): _each(_within),
}
