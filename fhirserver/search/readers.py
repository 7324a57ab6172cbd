"""Search values as typed by a client, parsed by parameter type and modifier: `ge2024-05` is a prefix and a range.

https://hl7.org/fhir/R4/search.html#ptypes. Refusals are 400 Outcomes; the caller adds the parameter's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Context, Decimal
from difflib import get_close_matches
from fractions import Fraction
from typing import NamedTuple

from fhirserver.fhir import dates
from fhirserver.fhir.ids import ID
from fhirserver.fhir.outcome import invalid
from fhirserver.fhir.units import base
from fhirserver.search.criteria import (
    Composite,
    Dates,
    Near,
    Number,
    Phrase,
    Quantity,
    Reference,
    Token,
    Value,
    kind,
)
from fhirserver.search.evaluation import type_of
from fhirserver.search.parameters import Parameter
from fhirserver.search.values.strings import fold
from fhirserver.search.words import words

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
TRUTHS = "http://hl7.org/fhir/special-values|"  # true and false may be said to be of it
MAX_DIGITS = 33  # one less than Decimal128 keeps: half a unit of the last digit needs one more
MAX_EXPONENT = 6000
MAX_LENGTH = 4096
MAX_SEGMENTS = 64  # of a URL that others are above
NEARBY = 50  # kilometres around a place where no distance is said

_escape = re.compile(r"\\([,|$\\])")
_prefix = re.compile(r"[A-Za-z]{2}(?![A-Za-z])")
_number = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,5})?")
_distance = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_relative = re.compile(r"([A-Za-z]+)/[A-Za-z0-9.-]{1,64}(/_history/[A-Za-z0-9.-]{1,64})?")
_absolute = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_marks = {separator: re.compile(rf"\\.|{re.escape(separator)}", re.DOTALL) for separator in ",|$"}
_exact = Context(prec=34)


class Unknown(Exception):
    """A name that is not served here: an error when strict, else reported."""


class Unfit(Unknown):
    """A type that a parameter never refers to. Without it the search would be another: an error when lenient, too."""


class Typed(NamedTuple):
    """What a value is read against: its parameter, the type a modifier names, the server's URL, the resource types.

    `any_case`: there may be codes among the values that differ in nothing but their case and mean the same.
    `boolean`: they are true and false.
    """

    parameter: Parameter
    base_url: str
    resource_types: frozenset[str]
    target: str | None = None
    any_case: bool = True
    boolean: bool = False


def split(text: str, separator: str) -> list[str]:
    """The parts between unescaped separators, still escaped. https://hl7.org/fhir/R4/search.html#escaping"""
    if separator not in text:
        return [text]
    parts, start = [], 0
    for mark in _marks[separator].finditer(text):
        if mark[0] == separator:
            parts.append(text[start : mark.start()])
            start = mark.end()
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    return _escape.sub(r"\1", text) if "\\" in text else text


def shown(text: str) -> str:
    """Client text as a sentence may hold it: short, and encodable."""
    return text[:80].encode(errors="replace").decode()


def unknown_parameter(type_: str, code: str, known: Iterable[str]) -> Unknown:
    if not code:
        return Unknown(f"an empty name is no search parameter of {type_}")
    spelled = {each.lower(): each for each in known}
    near = [spelled[each] for each in get_close_matches(code[:64].lower(), spelled, 3)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return Unknown(f"{shown(code)} is not a search parameter of {type_} here{hint}")


def missing(text: str, typed: Typed) -> bool:
    """https://hl7.org/fhir/R4/search.html#missing"""
    if text not in ("true", "false"):
        raise invalid(f"{text[:80]!r} is neither true nor false")
    return text == "true"


def string(text: str, typed: Typed) -> str:
    return unescape(text)


def letters(text: str, typed: Typed) -> str:
    """A string to compare without case, accents and punctuation. What is left of it must say something."""
    found = unescape(text)
    if not fold(found):
        raise invalid(f"{shown(text)!r} has nothing that is compared: accents and punctuation do not count")
    return found


def list_(text: str, typed: Typed) -> str:
    """`42` or `List/42`. https://hl7.org/fhir/R4/lifecycle.html#current"""
    if text.startswith("$"):
        sentence = f"{text[:80]} is a list that a server works out; none is here, only List resources: write an id"
        raise invalid(sentence, code="not-supported")
    id_ = unescape(text).removeprefix(typed.base_url.rstrip("/") + "/").removeprefix("List/")
    if not ID.fullmatch(id_):
        raise invalid(f"{text[:80]!r} is not a List: write its id")
    return id_


def token(text: str, typed: Typed) -> Token:
    """https://hl7.org/fhir/R4/search.html#token"""
    if typed.boolean:
        text = text.removeprefix(TRUTHS)
        if text not in ("true", "false"):
            raise invalid(f"{shown(text)!r} is neither true nor false")
    match [unescape(part) for part in split(text, "|")]:
        case [code]:
            return Token(None, code, typed.any_case)
        case ["", code] if code:
            return Token("", code, typed.any_case)
        case [system, code] if system:
            return Token(system, code or None, typed.any_case)
    raise invalid(f"{text[:80]!r} is not a token: write code, system|code, system| or |code")


def location(text: str, typed: Typed) -> str:
    """A URL, for `:above` and `:below`: what is no path is not above or below. https://hl7.org/fhir/R4/search.html#uri

    A canonical may have versions above and below it, whatever its URL is.
    """
    found = unescape(text)
    if "://" not in found and "|" not in found:
        raise invalid(f"{text[:80]!r} is not a URL; only URLs have others above and below them, URNs have not")
    if found.count("/") > MAX_SEGMENTS:
        raise invalid(f"{shown(text)!r}… has more than {MAX_SEGMENTS} segments", code="too-costly")
    return found


def of_type(text: str, typed: Typed) -> str:
    """`type system|type code|value`. https://hl7.org/fhir/R4/search.html#token"""
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise invalid(f"{text[:80]!r} is not an identifier of a type: write system|code|value")
    return "|".join(parts)


def date(text: str, typed: Typed) -> Dates:
    """https://hl7.org/fhir/R4/search.html#date"""
    prefix, rest = _prefixed(unescape(text))
    span = dates.parse(rest)
    return Dates(prefix, span.low, span.high)


def number(text: str, typed: Typed) -> Number:
    """https://hl7.org/fhir/R4/search.html#number"""
    prefix, rest = _prefixed(unescape(text))
    value = Decimal(rest) if _number.fullmatch(rest) else None
    if value is None:
        raise invalid(f"{rest[:80]!r} is not a number")
    _, digits, exponent = value.as_tuple()
    if len(digits) > MAX_DIGITS or not isinstance(exponent, int) or abs(exponent) > MAX_EXPONENT:
        raise invalid(f"{rest[:80]!r} has more than {MAX_DIGITS} digits or an exponent beyond {MAX_EXPONENT}")
    half = Decimal((0, (5,), exponent - 1))
    return Number(prefix, value, _exact.subtract(value, half), _exact.add(value, half))


def quantity(text: str, typed: Typed) -> Quantity:
    """https://hl7.org/fhir/R4/search.html#quantity"""
    match split(text, "|"):
        case [value] | [value, "", ""]:
            return Quantity(number(value, typed), None)
        case [value, system, code] if code:
            form = f"{unescape(system)}|{unescape(code)}" if system else unescape(code)
            return Quantity(number(value, typed), form)
    raise invalid(f"{text[:80]!r} is not a quantity: write number, number|system|code or number||code")


def reference(text: str, typed: Typed) -> Reference:
    """https://hl7.org/fhir/R4/search.html#reference"""
    url = unescape(text).removeprefix(typed.base_url.rstrip("/") + "/")
    if match := _relative.fullmatch(url):
        if match[1] not in typed.resource_types:
            raise invalid(f"{match[1][:80]} is not a resource type")
        if typed.target not in (None, match[1]):
            raise invalid(f"{url[:80]} is not a reference to {typed.target}")
        return Reference((url,))
    if _absolute.match(url) or typed.parameter.type == "uri":
        said = type_of(url)
        if typed.target is not None and said in typed.resource_types and said != typed.target:
            raise invalid(f"{url[:80]} is not a reference to {typed.target}")
        return Reference((url,))
    if not ID.fullmatch(url):
        raise invalid(f"{url[:80]!r} is not a reference: write an id, Type/id or a URL")
    targets = (typed.target,) if typed.target else _targets(typed)
    return Reference(tuple(f"{target}/{url}" for target in targets))


def composite(text: str, typed: Typed) -> Composite:
    """https://hl7.org/fhir/R4/search.html#composite"""
    components = [component for component, _ in typed.parameter.components]
    parts = split(text, "$")
    if len(parts) != len(components) or not all(parts):
        raise invalid(f"{text[:80]!r} is not a composite: write {'$'.join(component.code for component in components)}")
    return Composite(
        tuple(
            VALUES[kind(component), None](part, typed._replace(parameter=component))
            for part, component in zip(parts, components, strict=True)
        )
    )


def near(text: str, typed: Typed) -> Near:
    """`latitude|longitude|distance|unit`: https://hl7.org/fhir/R4/location.html#search"""
    parts = [unescape(part) for part in split(text, "|")]
    if not 2 <= len(parts) <= 4 or not all(_number.fullmatch(part) for part in parts[:2]):
        raise invalid(f"{text[:80]!r} is not a place: write latitude|longitude|distance|unit, as in 42.25|-83.69|11|km")
    latitude, longitude = float(parts[0]), float(parts[1])
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise invalid(f"{text[:80]!r} lies on no globe: latitude is within ±90 and longitude within ±180 degrees")
    distance, unit = (*parts[2:], "", "")[:2]
    length = base(unit or "km")
    if length is None or length.unit != "m" or length.scale is not None:
        raise invalid(f"{unit[:80]!r} is no length in UCUM; km, m, [mi_i] and [mi_us] are")
    if distance and not _distance.fullmatch(distance):
        raise invalid(f"{distance[:80]!r} is not a distance")
    return Near(latitude, longitude, float(Fraction(distance or NEARBY) * length.factor))


def phrase(text: str, typed: Typed) -> Phrase:
    """The words of a text in a row; search/text_language.py reads more than that."""
    found = tuple(words(text))
    if not found:
        raise invalid(f"{text[:80]!r} has no letter or digit")
    return Phrase(found)


# (kind of parameter, modifier) → how its values are read. `:missing` is for all; `:[type]` is a Typed.target.
VALUES: Mapping[tuple[str, str | None], Callable[[str, Typed], Value]] = {
    ("id", None): string,
    ("id", "not"): string,
    ("instant", None): date,
    ("string", None): letters,
    ("string", "exact"): string,
    ("string", "contains"): letters,
    ("token", None): token,
    ("token", "not"): token,
    ("token", "text"): letters,
    ("token", "of-type"): of_type,
    ("token", "in"): string,
    ("token", "not-in"): string,
    ("token", "above"): token,
    ("token", "below"): token,
    ("reference", None): reference,
    ("reference", "identifier"): token,
    ("reference", "above"): reference,
    ("reference", "below"): reference,
    ("date", None): date,
    ("number", None): number,
    ("quantity", None): quantity,
    ("uri", None): string,
    ("uri", "above"): location,
    ("uri", "below"): location,
    ("composite", None): composite,
    ("special", None): near,
    ("text", None): phrase,
    ("list", None): list_,
}


def _prefixed(text: str) -> tuple[str, str]:
    """https://hl7.org/fhir/R4/search.html#prefix"""
    if text[:2] in PREFIXES:
        return text[:2], text[2:]
    if _prefix.match(text):
        raise invalid(f"{text[:2]!r} is not a prefix; the prefixes are {', '.join(PREFIXES)}")
    return "eq", text


def _targets(typed: Typed) -> tuple[str, ...]:
    """Every type where the parameter does not say."""
    targets = typed.parameter.targets
    return targets if targets and "Resource" not in targets else tuple(sorted(typed.resource_types))
