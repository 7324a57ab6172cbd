"""The values of a clause as a MongoDB filter: one pure function per kind of parameter and modifier.

Stored forms (search/values/) make each of them plain equality or a range. User text is only ever a value under an
operator, or escaped in a regular expression. https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import pi

from fhirserver.fhir.outcome import too_costly
from fhirserver.search.canonicals import UNVERSIONED, VERSIONS
from fhirserver.search.coded import BEGINNING, URL_ABOVE, URL_BELOW
from fhirserver.search.criteria import Codes, Composite, Near, Phrase, Reference, Token, Value, kind
from fhirserver.search.full_text import phrase_filter
from fhirserver.search.mongo import AFTER_EVERY_LETTER, LISTED_BYTES, Filter, conjunction, disjunction
from fhirserver.search.parameters import Parameter
from fhirserver.search.ranges import date_filter, instant_filter, number_filter, quantity_filter
from fhirserver.search.values.strings import apart, fold

EARTH_RADIUS = 6_371_008.8  # metres, the mean

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
    return {"$elemMatch": {"$gte": text, "$lt": text + AFTER_EVERY_LETTER}}


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
