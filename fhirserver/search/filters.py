"""A query as a MongoDB filter: one pure function per kind of parameter and modifier.

Stored forms (search/values.py) make every clause plain equality or a range. User text is only ever a value under an
operator, or escaped in a regular expression. https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Context, Decimal
from math import pi
from typing import Any

from bson.decimal128 import Decimal128

from fhirserver.fhir.dates import EARLIEST, LATEST
from fhirserver.fhir.outcome import too_costly
from fhirserver.fhir.units import UCUM, Base, base
from fhirserver.search import contained
from fhirserver.search.canonicals import UNVERSIONED, VERSIONS
from fhirserver.search.coded import BEGINNING, URL_ABOVE, URL_BELOW
from fhirserver.search.comparisons import COMPARED
from fhirserver.search.criteria import (
    AllOf,
    AnyOf,
    Belonging,
    CaredFor,
    Chain,
    Clause,
    Codes,
    Composite,
    Consented,
    Contained,
    Criterion,
    Dates,
    EntrustedTo,
    Near,
    Negation,
    Number,
    Phrase,
    Quantity,
    Ready,
    Reference,
    ReferredFrom,
    Token,
    Value,
    Within,
    kind,
)
from fhirserver.search.full_text import phrase_filter
from fhirserver.search.parameters import Parameter
from fhirserver.search.query import Query
from fhirserver.search.values import CONVERTED, apart, fold

Filter = dict[str, Any]

_AFTER_EVERY_LETTER = "\U0010ffff"
_DOCUMENT_FIELDS = {"id": "_id", "instant": "updated"}
_decimal128 = Context(prec=34)
_VALUED = frozenset({"$eq", "$in", "$elemMatch", "$regex"})
LISTED_BYTES = 14_500_000  # in all lists of one filter: a command has at most 16 MB
EARTH_RADIUS = 6_371_008.8  # metres, the mean
_ENDS = {"lo": "from", "hi": "to"}
_IN_BASE_UNITS = {"ap": "within"}
_MIRRORED = {"gt": "lt", "lt": "gt", "ge": "le", "le": "ge", "sa": "eb", "eb": "sa"}


def query_filter(query: Query, now: datetime) -> Filter:
    """What a query matches; tombstones never. `now` is for the prefix `ap`. Chains are resolved before."""
    inside = [in_compartment(query.compartment)] if query.compartment else []
    return conjunction([{"deleted": None}, *inside, *(criterion_filter(each, now) for each in query.criteria)])


def counting(filter_: Filter) -> Filter:
    """The same of what `query_filter` gave, to be counted: without what follows from the rest anyway.

    A tombstone has no index values and no compartment. That it is none needs no saying where those are asked for, and
    an index alone can count then: 60,077 of 200,000 documents in 119 ms instead of 746.
    """
    if any(_on_values(field, condition) for field, condition in filter_.items()):
        return {field: condition for field, condition in filter_.items() if field != "deleted"}
    return filter_


def _on_values(field: str, condition: Any) -> bool:
    """Whether a condition is met by a value only, not by the absence of one."""
    return field.partition(".")[0] in ("search", "compartments") and not _VALUED.isdisjoint(condition)


def criterion_filter(criterion: Criterion, now: datetime, inside: bool = False) -> Filter:
    """`inside`: of an element of a composite, or of a contained resource, where values lie under codes alone."""
    match criterion:
        case Clause(parameter, modifier, values):
            if inside and modifier == UNVERSIONED:
                return unversioned_element(parameter.code, values)
            return clause_filter(criterion, now, _field(parameter, inside))
        case AllOf(parts):
            return conjunction(criterion_filter(part, now, inside) for part in parts)
        case AnyOf(parts):
            return disjunction([criterion_filter(part, now, inside) for part in parts])
        case Negation(part):
            return {"$nor": [criterion_filter(part, now, inside)]}
        case Within(parameter, part):
            return {_field(parameter, inside): {"$elemMatch": criterion_filter(part, now, inside=True)}}
        case Contained():
            return contained_filter(criterion, now, inside)
        case Belonging(references):
            return in_one_of(references) if references else in_no_record()
        case Ready(filter_):
            return filter_
        case Chain() | ReferredFrom() | CaredFor() | EntrustedTo() | Consented():
            raise ValueError("what a chain matches is for the database to say: resolve it first")


def contained_filter(criterion: Contained, now: datetime, inside: bool) -> Filter:
    """One element that meets all. What follows from that is said apart, for the index.

    That there are elements is all that an index knows of a negation; and a range of both ends under two arrays is one
    end of it, but where it is said of the inner array alone: 30 keys instead of 530.
    """
    type_, part, by = criterion
    referred = {} if by is None else {contained.REFERRED: {"$eq": by}}
    element = conjunction([referred, criterion_filter(part, now, inside=True)])
    field = contained.field(type_)
    if inside:
        return {field: {"$elemMatch": element}}
    field = f"search.{field}"
    exists: Filter = {"$exists": True} if by is None else {}
    ranges = {f"{field}.{code}": each for code, each in element.items() if "$elemMatch" in each and code[0] != "$"}
    return {field: exists | ({"$elemMatch": element} if element else {}), **ranges}


def _field(parameter: Parameter, inside: bool) -> str:
    return parameter.code if inside else path(parameter)


def clause_filter(clause: Clause, now: datetime, field: str) -> Filter:
    """One parameter: any of its values."""
    if clause.modifier == "missing":
        return {field: {"$exists": not clause.values[0]}}
    asked = (kind(clause.parameter), clause.modifier)
    return (FILTERS.get(asked) or COMPARED[asked])(field, clause.values, clause.parameter, now)


def in_compartment(reference: str) -> Filter:
    """https://hl7.org/fhir/R4/compartmentdefinition.html"""
    return {"compartments": {"$eq": reference}}


def in_one_of(references: Sequence[str]) -> Filter:
    return in_compartment(references[0]) if len(references) == 1 else {"compartments": {"$in": [*references]}}


def in_no_record(but: Sequence[str] = ()) -> Filter:
    """What is in the compartment of no patient (but these)."""
    return {"compartments": {"$not": {"$elemMatch": {"$regex": "^Patient/", "$nin": [*but]}}}}


def in_a_record() -> Filter:
    """What is in the compartment of some patient."""
    return {"compartments": {"$elemMatch": {"$gte": "Patient/", "$lt": "Patient0"}}}


def path(parameter: Parameter) -> str:
    """Where a parameter's values lie in a stored document."""
    return _DOCUMENT_FIELDS.get(kind(parameter)) or f"search.{parameter.code}"


def conjunction(filters: Iterable[Filter]) -> Filter:
    """All of them, in one level while no key stands twice."""
    merged: Filter = {}
    others = []
    for each in filters:
        if merged.keys().isdisjoint(each):
            merged |= each
        else:
            others.append(each)
    if not others:
        return merged
    also: list[Filter] = merged.pop("$and", [])
    return {**merged, "$and": [*also, *others]}


def disjunction(filters: Sequence[Filter]) -> Filter:
    """Any of them; of none, what no document meets."""
    if not filters:
        return {"_id": {"$in": []}}
    return filters[0] if len(filters) == 1 else {"$or": [*filters]}


# string, token, reference, uri


def one_of(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """The values as they are: uri, `:exact`, `:of-type`, `_id`."""
    return {field: {"$in": [str(value) for value in values]}}


def none_of(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return {field: {"$nin": [str(value) for value in values]}}


def exact_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return one_of(f"{field}:exact", values, parameter, now)


def string_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """A value that starts like this, whatever case, accents and punctuation: as a range, which an index answers."""
    return disjunction([{field: _starting(start)} for start in _compared(values)])


def contains_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return disjunction([{field: {"$regex": re.escape(part)}} for part in _compared(values)])


def _compared(values: Sequence[Value]) -> list[str]:
    """Punctuation counts as nothing, or as a space between words."""
    return list(dict.fromkeys(form for value in values for form in (fold(str(value)), apart(str(value)))))


def token_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return {field: {"$in": _forms(values)}}


def not_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """Also what has no value: https://hl7.org/fhir/R4/search.html#token"""
    return {field: {"$nin": _forms(values)}}


def text_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """A text in which a word starts like this: `code:text=head` finds "Tension headache"."""
    return disjunction([{f"{field}:text": {"$regex": f"(?:^| ){re.escape(apart(str(value)))}"}} for value in values])


def of_type_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return one_of(f"{field}:of-type", values, parameter, now)


def reference_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return {field: {"$in": [form for value in values if isinstance(value, Reference) for form in value.forms]}}


def unversioned_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """One of these URLs, and it does not stand beside `url|version`, of which the index holds both forms."""
    urls = [str(value) for value in values]
    asked: Filter = {"$setIntersection": [f"${field}", {"$literal": urls}]}
    versions = {"$eq": [{"$indexOfBytes": ["$$form", {"$concat": ["$$url", "|"]}]}, 0]}
    versioned = {"$anyElementTrue": {"$map": {"input": f"${field}", "as": "form", "in": versions}}}
    alone = {"$anyElementTrue": {"$map": {"input": asked, "as": "url", "in": {"$not": [versioned]}}}}
    return {field: {"$in": urls}, "$expr": {"$and": [{"$isArray": [f"${field}"]}, alone]}}


def unversioned_element(field: str, values: Sequence[Value]) -> Filter:
    """The same within an element, where MongoDB takes no expressions."""
    alone = ({field: {"$in": [str(value)], "$not": {"$regex": f"^{re.escape(str(value))}\\|"}}} for value in values)
    return disjunction([*alone])


def versions_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """`url|1` and what goes on: `url|1.0`, `url|1-beta`, not `url|10`."""
    return disjunction([{field: _going_on(str(value))} for value in values])


def _going_on(canonical: str) -> Filter:
    """After one of `+`, `-` and `.`; the characters between them end no version either."""
    return {"$elemMatch": {"$gte": f"{canonical}+", "$lt": f"{canonical}0"}}


def beginning_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """A value that starts like this, to the letter."""
    return disjunction([{field: _starting(str(value))} for value in values])


def _starting(text: str) -> Filter:
    return {"$elemMatch": {"$gte": text, "$lt": text + _AFTER_EVERY_LETTER}}


def identifier_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return token_filter(f"{field}:identifier", values, parameter, now)


def below_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """The URL and what begins with it, by whole segments of its path: http://a/b has http://a/b/c below it.

    Below `url|1` are the versions that begin so.
    """
    return disjunction([each for value in values for each in _below(field, str(value))])


def _below(field: str, value: str) -> tuple[Filter, Filter]:
    if "|" in value:
        return {field: {"$eq": value}}, {field: _going_on(value)}
    start = value.rstrip("/")
    return (
        {field: {"$in": list(dict.fromkeys([value, start]))}},
        {field: _starting(f"{start}/")},
    )


def above_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """The URL and those that it begins with, by whole segments of its path."""
    forms = dict.fromkeys(form for value in values for form in _ancestry(str(value)))
    if sum(map(len, forms)) > LISTED_BYTES:
        raise too_costly(f"{parameter.code}:above: these URLs have more above them than one search can hold")
    return {field: {"$in": [*forms]}}


def _ancestry(url: str) -> list[str]:
    found, path = [url], url.rstrip("/")
    while not path.endswith(("/", ":")):
        found += [path, f"{path}/"]
        path = path.rpartition("/")[0]
    return list(dict.fromkeys(found))


def _forms(values: Sequence[Value]) -> list[str]:
    plain = [form for value in values if isinstance(value, Token) for form in value.forms]
    return [*plain, *(form for value in values if isinstance(value, Codes) for form in value.forms)]


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


# composite


def composite_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """Slots of the same element, each by its component's rules."""
    return disjunction(
        [
            {field: {"$elemMatch": conjunction(_slots(value, parameter, now))}}
            for value in values
            if isinstance(value, Composite)
        ]
    )


def _slots(value: Composite, parameter: Parameter, now: datetime) -> list[Filter]:
    return [
        FILTERS[kind(component), None](component.code, (part,), component, now)
        for part, (component, _) in zip(value.parts, parameter.components, strict=True)
    ]


# special


def near_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    """Within a distance on the globe. https://www.mongodb.com/docs/manual/reference/operator/query/centerSphere/"""
    return disjunction([{field: _around(value)} for value in values if isinstance(value, Near)])


def _around(place: Near) -> Filter:
    angle = place.metres / EARTH_RADIUS
    if angle >= pi:  # all the way round
        return {"$exists": True}
    return {"$geoWithin": {"$centerSphere": [[place.longitude, place.latitude], angle]}}


def words_filter(field: str, values: Sequence[Value], parameter: Parameter, now: datetime) -> Filter:
    return disjunction([phrase_filter(field, value) for value in values if isinstance(value, Phrase)])


FILTERS: Mapping[tuple[str, str | None], Callable[[str, Sequence[Value], Parameter, datetime], Filter]] = {
    ("id", None): one_of,
    ("id", "not"): none_of,
    ("instant", None): instant_filter,
    ("string", None): string_filter,
    ("string", "exact"): exact_filter,
    ("string", "contains"): contains_filter,
    ("token", None): token_filter,
    ("token", "not"): not_filter,
    ("token", "text"): text_filter,
    ("token", "of-type"): of_type_filter,
    ("token", BEGINNING): beginning_filter,
    ("token", URL_BELOW): below_filter,
    ("token", URL_ABOVE): above_filter,
    ("reference", None): reference_filter,
    ("reference", "identifier"): identifier_filter,
    ("reference", UNVERSIONED): unversioned_filter,
    ("reference", VERSIONS): versions_filter,
    ("date", None): date_filter,
    ("number", None): number_filter,
    ("quantity", None): quantity_filter,
    ("uri", None): one_of,
    ("uri", "above"): above_filter,
    ("uri", "below"): below_filter,
    ("uri", UNVERSIONED): unversioned_filter,
    ("composite", None): composite_filter,
    ("special", None): near_filter,
    ("text", None): words_filter,
}
