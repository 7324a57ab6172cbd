"""Dates, numbers and quantities as MongoDB filters: a prefix and the ends of a range.

https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Context, Decimal

from bson.decimal128 import Decimal128

from fhirserver.fhir.dates import EARLIEST, LATEST
from fhirserver.fhir.units import UCUM, Base, base
from fhirserver.search.criteria import Dates, Number, Quantity, Value
from fhirserver.search.mongo import Filter, disjunction
from fhirserver.search.parameters import Parameter
from fhirserver.search.values.quantities import CONVERTED

_decimal128 = Context(prec=34)
_ENDS = {"lo": "from", "hi": "to"}
_IN_BASE_UNITS = {"ap": "within"}
_MIRRORED = {"gt": "lt", "lt": "gt", "ge": "le", "le": "ge", "sa": "eb", "eb": "sa"}

# date: stored as {lo, hi}, half-open. https://hl7.org/fhir/R4/search.html#prefix
# Bounds that follow from the others (lo < hi always) are there for the index. `ne` asks for a value that is not
# equal: what has none does not match, what has several matches by any of them.

DATES: Mapping[str, Callable[[datetime, datetime], Filter]] = {
    "eq": lambda low, high: {"lo": {"$gte": low, "$lt": high}, "hi": {"$lte": high}},
    "ne": lambda low, high: {"$or": [{"lo": {"$lt": low}}, {"hi": {"$gt": high}}]},
    "gt": lambda low, high: {"hi": {"$gt": high}},
    "lt": lambda low, high: {"lo": {"$lt": low}},
    "ge": lambda low, high: {"hi": {"$gt": low}, "$or": [{"hi": {"$gt": high}}, {"lo": {"$gte": low}}]},
    "le": lambda low, high: {"lo": {"$lt": high}, "$or": [{"lo": {"$lt": low}}, {"hi": {"$lte": high}}]},
    "sa": lambda low, high: {"lo": {"$gte": high}},
    "eb": lambda low, high: {"hi": {"$lte": low}},
    "ap": lambda low, high: {"lo": {"$lt": high}, "hi": {"$gt": low}},
}

# _lastUpdated: an instant, which is inside the range, before or after it.
INSTANTS: Mapping[str, Callable[[datetime, datetime], Filter]] = {
    "eq": lambda low, high: {"$gte": low, "$lt": high},
    "ne": lambda low, high: {"$not": {"$gte": low, "$lt": high}},
    "gt": lambda low, high: {"$gte": high},
    "lt": lambda low, high: {"$lt": low},
    "ge": lambda low, high: {"$gte": low},
    "le": lambda low, high: {"$lt": high},
    "sa": lambda low, high: {"$gte": high},
    "eb": lambda low, high: {"$lt": low},
    "ap": lambda low, high: {"$gte": low, "$lt": high},
}


def date_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return disjunction(
        [
            {field: {"$elemMatch": DATES[value.prefix](*_range(value, now))}}
            for value in values
            if isinstance(value, Dates)
        ]
    )


def instant_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return disjunction(
        [{field: INSTANTS[value.prefix](*_range(value, now))} for value in values if isinstance(value, Dates)]
    )


def _range(value: Dates, now: datetime) -> tuple[datetime, datetime]:
    """For `ap`, wider by a tenth of the time between then and now."""
    if value.prefix != "ap":
        return value.low, value.high
    slack = timedelta(milliseconds=abs(now - value.low) // timedelta(milliseconds=10))
    return value.low - min(slack, value.low - EARLIEST), value.high + min(slack, LATEST - value.high)


# number and quantity: stored as {lo, hi}, closed, lo = hi but for a Range. https://hl7.org/fhir/R4/search.html#number
# eq and ne compare with the implicit range of the number as typed; the others with the number itself.

NUMBERS: Mapping[str, Callable[[Number], Filter]] = {
    "eq": lambda n: {
        "lo": {"$gte": stored(n.low), "$lt": stored(n.high)},
        "hi": {"$lt": stored(n.high)},
    },
    "ne": lambda n: {"$or": [{"lo": {"$lt": stored(n.low)}}, {"hi": {"$gte": stored(n.high)}}]},
    "gt": lambda n: {"hi": {"$gt": stored(n.value)}},
    "lt": lambda n: {"lo": {"$lt": stored(n.value)}},
    "ge": lambda n: {"hi": {"$gte": stored(n.value)}},
    "le": lambda n: {"lo": {"$lte": stored(n.value)}},
    "sa": lambda n: {"lo": {"$gt": stored(n.value)}},
    "eb": lambda n: {"hi": {"$lt": stored(n.value)}},
    "within": lambda n: {"lo": {"$lte": stored(n.high)}, "hi": {"$gte": stored(n.low)}},
    "ap": lambda n: {"lo": {"$lte": stored(nearby(n)[1])}, "hi": {"$gte": stored(nearby(n)[0])}},
}


def nearby(number: Number) -> tuple[Decimal, Decimal]:
    """Within a tenth of the number, or within its implicit range where that is wider."""
    tenth = _decimal128.scaleb(_decimal128.abs(number.value), -1)
    low, high = _decimal128.subtract(number.value, tenth), _decimal128.add(number.value, tenth)
    return min(number.low, low), max(number.high, high)


def number_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return disjunction(
        [{field: {"$elemMatch": NUMBERS[value.prefix](value)}} for value in values if isinstance(value, Number)]
    )


def quantity_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """Number and unit of the same value. `ne` of a unit is a value in that unit that is not equal.

    A unit of UCUM finds whatever converts to it: `5.4|http://unitsofmeasure.org|mg` is 0.0054 g too.
    """
    return disjunction([{field: {"$elemMatch": _quantity(value)}} for value in values if isinstance(value, Quantity)])


def _quantity(value: Quantity) -> Filter:
    if value.unit is None:
        return NUMBERS[value.number.prefix](value.number)
    converted = in_base_units(value)
    if converted is None:
        return NUMBERS[value.number.prefix](value.number) | {"unit": {"$eq": value.unit}}
    number, unit = converted
    return _renamed(NUMBERS[number.prefix](number)) | {"in": {"$eq": unit}}


def in_base_units(value: Quantity) -> tuple[Number, str] | None:
    """A number of base units and which these are, where the unit is one of UCUM and it can be told exactly enough."""
    system, _, code = (value.unit or "").rpartition("|")
    found = base(code) if system == UCUM and abs(value.number.value.adjusted()) <= CONVERTED else None
    number = None if found is None else _converted(value.number, found)
    return None if found is None or number is None else (number, found.unit)


def _converted(number: Number, unit: Base) -> Number | None:
    """The number and its range, each by itself. Where more is less, what is greater is smaller.

    A tenth of what was asked for is no tenth of it in base units: 37 Cel is 310 K.
    """
    ends = nearby(number) if number.prefix == "ap" else (number.low, number.high)
    value, low, high = unit.of(number.value), unit.of(ends[0]), unit.of(ends[1])
    if value is None or low is None or high is None:
        return None
    prefix = _IN_BASE_UNITS.get(number.prefix, number.prefix)
    if unit.falling:
        return Number(_MIRRORED.get(prefix, prefix), value, high, low)
    return Number(prefix, value, low, high)


def _renamed(filter_: Filter) -> Filter:
    """About the ends in base units instead of those as written."""
    return {
        _ENDS.get(key, key): [_renamed(each) for each in part] if key == "$or" else part
        for key, part in filter_.items()
    }


def stored(value: Decimal) -> Decimal128:
    return Decimal128(value)
