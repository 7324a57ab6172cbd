"""R4's rules for date, number, quantity, string, token and reference, as naive predicates over plain resources.

Nothing here knows of an index. https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

Json = dict[str, Any]
Range = tuple[Any, Any]
Coding = tuple[str | None, str | None]

EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
WIDTHS = {10: timedelta(days=1), 16: timedelta(minutes=1), 19: timedelta(seconds=1), 23: timedelta(milliseconds=1)}


def instants(text: str) -> Range:
    """A date is the half-open range of all it leaves unsaid; without a zone it is UTC."""
    local, zone = (text[:-1], "+00:00") if text.endswith("Z") else (text, "+00:00")
    if len(text) > 10 and text[-6] in "+-":
        local, zone = text[:-6], text[-6:]
    low = datetime.fromisoformat(local + "0001-01-01T00:00:00.000"[len(local) :] + zone).astimezone(UTC)
    if len(local) == 4:
        return low, low.replace(year=low.year + 1)
    if len(local) == 7:
        return low, (low + timedelta(days=31)).replace(day=1)
    return low, low + WIDTHS[len(local)]


def period(value: Json) -> Iterator[Range]:
    low = instants(value["start"])[0] if "start" in value else EVER[0]
    high = instants(value["end"])[1] if "end" in value else EVER[1]
    if value and low < high:
        yield low, high


def comparable(value: Json) -> Iterator[Range]:
    """A quantity with a comparator is open on that side."""
    if "value" in value:
        comparator = value.get("comparator", "")
        yield (
            Decimal("-Infinity") if "<" in comparator else value["value"],
            Decimal("Infinity") if ">" in comparator else value["value"],
        )


def date_matches(prefix: str, text: str, target: Range, now: datetime) -> bool:
    (low, high), (start, end) = instants(text), target
    slack = timedelta(milliseconds=abs(now - low) // timedelta(milliseconds=1) // 10)
    inside = low <= start and end <= high
    return {
        "eq": inside,
        "ne": not inside,
        "gt": end > high,
        "lt": start < low,
        "ge": end > high or inside,
        "le": start < low or inside,
        "sa": start >= high,
        "eb": end <= low,
        "ap": start < high + slack and end > low - slack,
    }[prefix]


def number_matches(prefix: str, text: str, target: Range, now: datetime) -> bool:
    number, (low, high) = Decimal(text), target
    half = Decimal(1).scaleb(-len(text.partition(".")[2])) / 2
    inside = number - half <= low and high < number + half
    slack = max(half, abs(number) / 10)
    return {
        "eq": inside,
        "ne": not inside,
        "gt": high > number,
        "lt": low < number,
        "ge": high >= number,
        "le": low <= number,
        "sa": low > number,
        "eb": high < number,
        "ap": low <= number + slack and high >= number - slack,
    }[prefix]


APOSTROPHES = "'\u2019\u02bc"


def plain(text: str, between: str = "") -> str:
    """Without case, accents, repeated spaces and punctuation; an apostrophe is never a gap between words."""
    letters = unicodedata.normalize("NFKD", "".join(c for c in text if c not in APOSTROPHES).casefold())
    marked = "".join(c for c in letters if not unicodedata.combining(c))
    return " ".join("".join(between if unicodedata.category(c).startswith("P") else c for c in marked).split())


def ways(text: str) -> set[str]:
    """Punctuation counts as nothing or as a space."""
    return {plain(text), plain(text, " ")}


def beginnings(family: str) -> set[str]:
    """Each word of a family name may be the first."""
    words = plain(family, " ").split()
    return ways(family) | {" ".join(words[i:]) for i in range(len(words))}


STRINGS: dict[str, Callable[[str, str], bool]] = {
    "": lambda text, target: any(one.startswith(each) for each in ways(text) for one in beginnings(target)),
    ":contains": lambda text, target: any(each in one for each in ways(text) for one in ways(target)),
    ":exact": lambda text, target: target == text,
}


def dates(resource: Json) -> Iterator[Range]:
    if "effectiveDateTime" in resource:
        yield instants(resource["effectiveDateTime"])
    yield from period(resource.get("effectivePeriod", {}))


def quantities(resource: Json) -> Iterator[Range]:
    yield from comparable(resource.get("valueQuantity", {}))


def probabilities(resource: Json) -> Iterator[Range]:
    for prediction in resource.get("prediction", []):
        yield from comparable({"value": prediction["probabilityDecimal"]})


def families(resource: Json) -> Iterator[str]:
    yield from (name["family"] for name in resource.get("name", []))


# clauses: a parameter, a modifier, and values of which any may match

UCUM = "http://unitsofmeasure.org"
SCALES = {"ug": -6, "mg": -3, "g": 0}
PERFORMERS = ("Practitioner", "PractitionerRole", "Organization", "CareTeam", "Patient", "RelatedPerson")


class Clause(NamedTuple):
    parameter: str
    modifier: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.parameter}:{self.modifier}" if self.modifier else self.parameter


def meets(resource: Json, clause: Clause, base: str, now: datetime) -> bool:
    """https://hl7.org/fhir/R4/search.html#modifiers, https://hl7.org/fhir/R4/search.html#combining"""
    found = [*TARGETS[clause.parameter](resource)]
    if clause.modifier == "missing":  # an element that is there and says nothing is not missing
        present = bool(found) or not resource.keys().isdisjoint(ELEMENTS[clause.parameter])
        return clause.values == ("false" if present else "true",)
    matched = any(MATCHES[clause.parameter](value, each, base, now) for value in clause.values for each in found)
    return not matched if clause.modifier == "not" else matched


def prefixed(value: str) -> tuple[str, str]:
    return (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)


def date_value_matches(value: str, target: Range, base: str, now: datetime) -> bool:
    return date_matches(*prefixed(value), target, now)


def quantity_value_matches(value: str, target: Json, base: str, now: datetime) -> bool:
    """`system|code` is a unit to convert to, where that is possible; `|code` is the unit as coded or as printed."""
    number, bar, unit = value.partition("|")
    system, _, code = unit.partition("|")
    coded = (target.get("system"), target.get("code"))
    scale = 0
    if bar and not system:
        if code not in (target.get("code"), target.get("unit")):
            return False
    elif bar and system == coded[0] == UCUM and {code, coded[1]} <= SCALES.keys():
        scale = SCALES[coded[1] or ""] - SCALES[code]
    elif bar and (system, code) != coded:
        return False
    return any(
        number_matches(*prefixed(number), (low.scaleb(scale), high.scaleb(scale)), now)
        for low, high in comparable(target)
    )


def token_matches(value: str, target: Coding, base: str, now: datetime) -> bool:
    """Case counts where a code system is known to say so: https://hl7.org/fhir/R4/search.html#token"""
    system, bar, code = value.rpartition("|")
    if bar and not code:
        return target[0] == system
    written, asked = (target[1] or "", code) if target[0] == UCUM else ((target[1] or "").lower(), code.lower())
    return written == asked and (not bar or target[0] == (system or None))


def reference_matches(value: str, target: str, base: str, now: datetime) -> bool:
    """https://hl7.org/fhir/R4/search.html#reference"""
    here = [text.removeprefix(f"{base}/") for text in (value, target)]
    return here[1] == here[0] if "/" in here[0] else here[1] in {f"{type_}/{here[0]}" for type_ in PERFORMERS}


def categories(resource: Json) -> Iterator[Coding]:
    for concept in resource.get("category", ()):
        yield from ((coding.get("system"), coding.get("code")) for coding in concept["coding"])


def performers(resource: Json) -> Iterator[str]:
    yield from (each["reference"] for each in resource.get("performer", ()))


def all_quantities(resource: Json) -> Iterator[Json]:
    for holder in (resource, *resource.get("component", ())):
        if "valueQuantity" in holder:
            yield holder["valueQuantity"]


TARGETS: dict[str, Callable[[Json], Iterator[Any]]] = {
    "category": categories,
    "performer": performers,
    "date": dates,
    "combo-value-quantity": all_quantities,
}
ELEMENTS: dict[str, tuple[str, ...]] = {
    "category": ("category",),
    "performer": ("performer",),
    "date": ("effectiveDateTime", "effectivePeriod"),
    "combo-value-quantity": ("valueQuantity", "component"),
}
MATCHES: dict[str, Callable[[str, Any, str, datetime], bool]] = {
    "category": token_matches,
    "performer": reference_matches,
    "date": date_value_matches,
    "combo-value-quantity": quantity_value_matches,
}
