"""R4's rules for date, number, quantity and string, as naive predicates over plain resources.

Nothing here knows of an index. https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
Range = tuple[Any, Any]

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


def plain(text: str) -> str:
    """Without case, accents and repeated spaces."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())


STRINGS: dict[str, Callable[[str, str], bool]] = {
    "": lambda text, target: plain(target).startswith(plain(text)),
    ":contains": lambda text, target: plain(text) in plain(target),
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
