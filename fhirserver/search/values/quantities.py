"""Numbers and quantities, as they are and in base units. https://hl7.org/fhir/R4/search.html#quantity"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

from bson.decimal128 import Decimal128

from fhirserver.fhir.units import UCUM, base
from fhirserver.search.values import CACHE
from fhirserver.store.decimals import CONTEXT, decimal128

Json = dict[str, Any]

INFINITY = Decimal128("Infinity")
MINUS_INFINITY = Decimal128("-Infinity")
CONVERTED = 100  # powers of ten; what is larger or smaller is compared in its own unit only
_CURRENCIES = "urn:iso:std:iso:4217"


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


@lru_cache(CACHE)
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
