"""What is stored for a value so that a search clause becomes plain equality or a range.

One function per parameter type and FHIR type; each answers a list, empty where the value says nothing to search for.
https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from bson.decimal128 import Decimal128

from fhirserver.fhir.dates import EARLIEST, LATEST, parse
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.units import UCUM, base
from fhirserver.store.decimals import CONTEXT, decimal128

Json = dict[str, Any]
Forms = Callable[[Any], Any]

WORDS = 8  # of a family name after the first
LONGEST_FOLDED = 1000  # characters; a prefix search looks no further, `:exact` compares the whole string
_CACHE = 65_536
_LONGEST_CACHED = 128

INFINITY = Decimal128("Infinity")
MINUS_INFINITY = Decimal128("-Infinity")
CONVERTED = 100  # powers of ten; what is larger or smaller is compared in its own unit only
_CURRENCIES = "urn:iso:std:iso:4217"


# string: https://hl7.org/fhir/R4/search.html#string


def fold(text: str) -> str:
    """As strings are compared: without case, accents, punctuation and surplus white space. `O'Hara` is `ohara`."""
    return _folded(text) if len(text) <= _LONGEST_CACHED else _fold(text)


def apart(text: str) -> str:
    """The same, with a space for punctuation that stands between: `Smith-Jones` is `smith jones`."""
    return _apart(text) if len(text) <= _LONGEST_CACHED else _fold(text, " ")


def bare(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    marked = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(mark for mark in marked if not unicodedata.combining(mark))


def _fold(text: str, between: str = "") -> str:
    plain = bare(text[: LONGEST_FOLDED * 4].translate(_APOSTROPHES))
    spaced = _mark.sub(lambda mark: between if unicodedata.category(mark[0])[0] == "P" else mark[0], plain)
    return " ".join(spaced.split())[:LONGEST_FOLDED]


_APOSTROPHES = str.maketrans(dict.fromkeys("'`\u00b4\u02bb\u02bc\u2018\u2019\u2032\uff07"))
_mark = re.compile(r"[^\w\s]|_")
_folded = lru_cache(_CACHE)(_fold)
_apart = lru_cache(_CACHE)(lambda text: _fold(text, " "))


@lru_cache(_CACHE)
def _spaced(text: str) -> tuple[str, ...]:
    spaced = apart(text)
    return () if spaced == fold(text) else (f"{spaced} ",)


@lru_cache(_CACHE)
def _later_words(family: str) -> tuple[str, ...]:
    words = apart(family).split(" ", WORDS)
    return tuple(f"{' '.join(words[i:])} " for i in range(1, len(words)))


def folded(texts: list[str]) -> list[str]:
    if len(texts) == 1:
        text = texts[0]
        return [_folded(text) if len(text) <= _LONGEST_CACHED else _fold(text)]
    return list(dict.fromkeys([_folded(text) if len(text) <= _LONGEST_CACHED else _fold(text) for text in texts]))


def otherwise(texts: list[str], families: list[str] | None) -> list[str]:
    """How else they may begin: with a space for punctuation, and a family name with each of its words.

    Each ends in a space, as nothing that is folded does, so that whole values can be told from these.
    """
    found = [each for text in texts for each in _spaced(text)]
    for family in families or ():
        found += _later_words(family)
    return found if len(found) < 2 else unique(found)


def string(text: str) -> list[str]:
    return [text]


def human_name(name: Json) -> list[str]:
    """Every part of a name, each searched for by itself."""
    return _parts(name, ("family", "text"), ("given", "prefix", "suffix"))


def family(name: Json) -> list[str]:
    found = name.get("family")
    return [] if found is None else [found]


def address(place: Json) -> list[str]:
    return _parts(place, ("city", "district", "state", "postalCode", "country", "text"), ("line",))


def _parts(value: Json, single: tuple[str, ...], repeated: tuple[str, ...]) -> list[str]:
    found = [value[key] for key in single if key in value]
    for key in repeated:
        if key in value:
            found += value[key]
    return [part for part in found if part is not None] if None in found else found


# token: https://hl7.org/fhir/R4/search.html#token


# What R4 publishes says `caseSensitive`, but for the tables of HL7 v2; `sid` are the systems of others.
_CASED = ("http://hl7.org/fhir/", "http://terminology.hl7.org/CodeSystem/")
_NOT_SAID = ("http://hl7.org/fhir/sid/", "http://terminology.hl7.org/CodeSystem/v2-")
_CASED_TOO = frozenset({UCUM, "http://dicom.nema.org/resources/ontology/DCM"})


def cased(system: str | None) -> bool:
    """Whether codes of a system are known to differ by their case. In doubt they do not, as R4 asks."""
    return system is not None and (
        system in _CASED_TOO or (system.startswith(_CASED) and not system.startswith(_NOT_SAID))
    )


def any_case(system: str | None, code: str) -> str | None:
    """What is stored beside a code that may be written in another case: it ends in a space, as no code does."""
    lower = code.casefold()
    return None if lower == code.upper() or cased(system) else f"{lower} "


def _token(system: str | None, code: str | None) -> tuple[str, ...]:
    if code is None:
        return () if system is None else (f"{system}|",)
    forms = name(code) if system is None else [f"{system}|{code}", code, f"{system}|"]
    lower = any_case(system, code)
    return tuple(forms) if lower is None else (*forms, f"{system or ''}|{lower}", lower)


def name(text: str) -> list[str]:
    """Of what has no system, and is the same in the same case only."""
    return [text, f"|{text}"]


_cached_token = lru_cache(_CACHE)(_token)


def token(system: str | None, code: str | None) -> tuple[str, ...]:
    """Every form in which a client may ask for a code: `system|code`, `code`, `system|`, `|code`."""
    short = len(system or "") + len(code or "") <= _LONGEST_CACHED
    return _cached_token(system, code) if short else _token(system, code)


def coding(value: Json) -> list[str]:
    return [*token(value.get("system"), value.get("code"))]


def coding_text(value: Json) -> list[str]:
    display = value.get("display")
    return [] if display is None else [apart(display)]


def concept(value: Json) -> list[str]:
    codings = value.get("coding")
    if not codings:
        return []
    if len(codings) == 1:
        return coding(codings[0])
    return unique([form for each in codings for form in token(each.get("system"), each.get("code"))])


def concept_text(value: Json) -> list[str]:
    text = value.get("text")
    found = [] if text is None else [apart(text)]
    for each in value.get("coding") or ():
        display = each.get("display")
        if display is not None and display != text:
            found.append(apart(display))
    return found if len(found) < 2 else unique(found)


def identifier(value: Json) -> list[str]:
    """With its case, as Identifier.value says: https://hl7.org/fhir/R4/datatypes.html#Identifier"""
    system, number = value.get("system"), value.get("value")
    if number is None:
        return [] if system is None else [f"{system}|"]
    return name(number) if system is None else [f"{system}|{number}", number, f"{system}|"]


def identifier_text(value: Json) -> list[str]:
    type_ = value.get("type")
    text = type_ and type_.get("text")
    return [apart(text)] if text else []


def identifier_of_type(value: Json) -> list[str]:
    """`system|code|value` for the modifier :of-type."""
    type_, number = value.get("type"), value.get("value")
    if not type_ or number is None:
        return []
    codings = type_.get("coding") or ()
    return [f"{each.get('system', '')}|{each['code']}|{number}" for each in codings if "code" in each]


def contact_point(value: Json) -> list[str]:
    """`phone|555-1`: R4 names no namespace here, R5 and the peers take ContactPoint.system."""
    return [*_token(value.get("system"), value.get("value"))]


def boolean(value: bool) -> list[str]:
    return ["true" if value else "false"]


def code(text: str) -> list[str]:
    return [*token(None, text)]


def code_of(system: str) -> Forms:
    """A code whose system is implied by its required binding."""
    return lambda text: [*token(system, text)]


def least_token(forms: list[str]) -> str:
    """What a token is sorted by: its code, without the system."""
    return forms[1] if _alone(forms) else min(_codes(forms))


def greatest_token(forms: list[str]) -> str:
    return forms[1] if _alone(forms) else max(_codes(forms))


def _alone(forms: list[str]) -> bool:
    """Whether they are all of one code in a system."""
    return len(forms) == 3 and forms[0] == forms[2] + forms[1]


def _codes(forms: list[str]) -> list[str]:
    return [form for form in forms if "|" not in form and form[-1:] != " "] or forms


# date: https://hl7.org/fhir/R4/search.html#date


def date(text: str) -> list[Json]:
    try:
        low, high, _ = parse(text)
    except Outcome:  # validation may be off; what is no date is not found by date
        return []
    return [{"lo": low, "hi": high}]


def period(value: Json) -> list[Json]:
    start, end = value.get("start"), value.get("end")
    if start is None and end is None:
        return []
    try:
        low = EARLIEST if start is None else parse(start).low
        high = LATEST if end is None else parse(end).high
    except Outcome:
        return []
    return [{"lo": low, "hi": high}] if low < high else []


def timing(value: Json) -> list[Json]:
    """The outer limits only: https://hl7.org/fhir/R4/search.html#date"""
    spans = [span for event in value.get("event") or () if event is not None for span in date(event)]
    bounds = (value.get("repeat") or {}).get("boundsPeriod")
    if bounds:
        spans += period(bounds)
    if not spans:
        return []
    return [{"lo": min(span["lo"] for span in spans), "hi": max(span["hi"] for span in spans)}]


def earliest(spans: list[Json]) -> datetime:
    first: datetime = min(span["lo"] for span in spans) if len(spans) > 1 else spans[0]["lo"]
    return first


def latest(spans: list[Json]) -> datetime:
    last: datetime = max(span["lo"] for span in spans)
    return last


# number and quantity: https://hl7.org/fhir/R4/search.html#quantity


def number(value: Decimal | int) -> list[Json]:
    point = decimal128(value)
    return [{"lo": point, "hi": point}]


def number_range(value: Json) -> list[Json]:
    low, high = (value.get("low") or {}).get("value"), (value.get("high") or {}).get("value")
    return [] if low is None and high is None else [_ends(low, high)]


def _ends(low: Decimal | int | None, high: Decimal | int | None) -> Json:
    return {
        "lo": MINUS_INFINITY if low is None else decimal128(low),
        "hi": INFINITY if high is None else decimal128(high),
    }


def quantity(value: Json) -> list[Json]:
    """`<5` is known to be at most 5: https://hl7.org/fhir/R4/valueset-quantity-comparator.html"""
    amount = value.get("value")
    if amount is None:
        return []
    comparator = value.get("comparator")
    low = None if comparator in ("<", "<=") else amount
    high = None if comparator in (">", ">=") else amount
    return [{**_ends(low, high), "unit": _unit(value), **_base(value, low, high)}]


def _base(value: Json, low: Decimal | int | None, high: Decimal | int | None) -> Json:
    """The same in base units, where the unit is one of UCUM: 5.4 mg is 0.0054 g, 98.6 [degF] is 310.15 K."""
    if value.get("system") != UCUM:
        return {}
    found = base(value.get("code") or "")
    if found is None or any(end is not None and abs(Decimal(end).adjusted()) > CONVERTED for end in (low, high)):
        return {}
    first, last = (high, low) if found.falling else (low, high)
    start, end = None if first is None else found.of(first), None if last is None else found.of(last)
    if (start is None) != (first is None) or (end is None) != (last is None):
        return {}
    ends = _ends(start, end)
    return {"in": found.unit, "from": ends["lo"], "to": ends["hi"]}


def _unit(value: Json) -> list[str]:
    """`system|code`, `code`, and the unit as people read it."""
    system, code, display = value.get("system"), value.get("code"), value.get("unit")
    forms = [] if code is None else [code] if system is None else [f"{system}|{code}", code]
    if display is not None and display not in forms:
        forms.append(display)
    return forms


def money(value: Json) -> list[Json]:
    amount = value.get("value")
    if amount is None:
        return []
    point = decimal128(amount)
    return [{"lo": point, "hi": point, "unit": _unit({"system": _CURRENCIES, "code": value.get("currency")})}]


def quantity_range(value: Json) -> list[Json]:
    low, high = value.get("low") or {}, value.get("high") or {}
    known = low if low.get("value") is not None else high
    if known.get("value") is None:
        return []
    ends = low.get("value"), high.get("value")
    return [{**_ends(*ends), "unit": _unit(known), **_base(known, *ends)}]


def sampled_data(value: Json) -> list[Json]:
    """From the smallest to the largest sample: https://hl7.org/fhir/R4/datatypes.html#SampledData"""
    origin = value.get("origin") or {}
    zero, factor = origin.get("value"), value.get("factor", 1)
    samples = [sample for sample in (value.get("data") or "").split() if sample not in ("E", "L", "U")]
    if zero is None or not samples:
        return []
    try:
        ends = sorted(
            CONTEXT.add(Decimal(zero), CONTEXT.multiply(Decimal(end), Decimal(factor)))
            for end in (min(samples, key=float), max(samples, key=float))
        )
    except (ValueError, ArithmeticError):
        return []
    return [{**_ends(*ends), "unit": _unit(origin), **_base(origin, *ends)}]


def smallest(ranges: list[Json]) -> Decimal128:
    low: Decimal128 = ranges[0]["lo"]
    return low if len(ranges) == 1 else min((each["lo"] for each in ranges), key=_ordered)


def largest(ranges: list[Json]) -> Decimal128:
    high: Decimal128 = max((each["lo"] for each in ranges), key=_ordered)
    return high


def _ordered(value: Decimal128) -> Decimal:
    return _from_bid(value.bid)


@lru_cache(_CACHE)
def _from_bid(bid: bytes) -> Decimal:
    return Decimal128.from_bid(bid).to_decimal()


def exact(code: str, ranges: list[Json]) -> Json:
    """For compound indexes: the number, as it is and in base units, where it is one point, and True where it is not."""
    several, first = len(ranges) > 1, ranges[0]
    found = {f"{code}:point": several or _point(first["lo"], first["hi"])}
    if several or "in" in first:
        found[f"{code}:base"] = several or _point(first["from"], first["to"])
    return found


def _point(low: Decimal128, high: Decimal128) -> Decimal128 | bool:
    return low if low == high else True


# uri and reference: https://hl7.org/fhir/R4/search.html#reference


def uri(text: str) -> list[str]:
    return [text]


def canonical(text: str) -> list[str]:
    """With its version, and without."""
    url, bar, _ = text.partition("|")
    return [text, url] if bar and url else [text]


def reference_from(base_url: str) -> Forms:
    """References as `Type/id` where they lead to this server, else as they are; `#contained` leads nowhere."""
    own = base_url.rstrip("/") + "/"

    def relative(target: str) -> tuple[str, ...]:
        if target.startswith("#"):
            return ()
        target = target.removeprefix(own)
        unversioned, history, _ = target.partition("/_history/")
        return (unversioned, target) if history else (target,)

    cached = lru_cache(_CACHE)(relative)

    def reference(value: Json) -> list[str]:
        target = value.get("reference")
        if not target:
            return []
        return [*(cached(target) if len(target) <= _LONGEST_CACHED else relative(target))]

    return reference


def reference_identifier(value: Json) -> list[str]:
    known = value.get("identifier")
    return identifier(known) if known else []


def inline_resource(value: Json) -> list[str]:
    """A resource that stands where a reference might: Bundle.entry[0].resource."""
    type_, id_ = value.get("resourceType"), value.get("id")
    return [f"{type_}/{id_}"] if type_ and id_ else []


# special: https://hl7.org/fhir/R4/location.html#search


def position(value: Json) -> Json | None:
    """A GeoJSON point, longitude first; one, for MongoDB indexes no list of them. What lies on no globe is no place."""
    latitude, longitude = value.get("latitude"), value.get("longitude")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return {"type": "Point", "coordinates": [float(longitude), float(latitude)]}


def unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
