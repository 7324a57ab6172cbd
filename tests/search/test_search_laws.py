"""The prefixes as the specification words them, against what MongoDB finds by our filters.

https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from queries import NOW, read

from fhirserver.fhir.dates import EARLIEST, LATEST, parse
from fhirserver.search.filters import query_filter
from fhirserver.search.readers import PREFIXES, split, unescape
from fhirserver.search.values import dates, quantities, strings
from fhirserver.store.decimals import decimal128

Document = dict[str, Any]
Fill = Callable[[list[Document]], None]
Range = tuple[Any, Any]

once_filled = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# dates: half-open ranges


def overlap(a: Range, b: Range) -> bool:
    return bool(max(a[0], b[0]) < min(a[1], b[1]))


def contains(a: Range, b: Range) -> bool:
    return bool(a[0] <= b[0] and b[1] <= a[1])


def above(s: Range) -> Range:
    return (s[1], LATEST)


def below(s: Range) -> Range:
    return (EARLIEST, s[0])


def widened(s: Range) -> Range:
    tenth = timedelta(milliseconds=abs(NOW - s[0]) // timedelta(milliseconds=1) // 10)
    return (s[0] - min(tenth, s[0] - EARLIEST), s[1] + min(tenth, LATEST - s[1]))


SPEC: dict[str, Callable[[Range, Range], bool]] = {
    "eq": lambda s, t: contains(s, t),
    "ne": lambda s, t: not contains(s, t),
    "gt": lambda s, t: overlap(above(s), t),
    "lt": lambda s, t: overlap(below(s), t),
    "ge": lambda s, t: overlap(above(s), t) or contains(s, t),
    "le": lambda s, t: overlap(below(s), t) or contains(s, t),
    "sa": lambda s, t: not overlap(s, t) and contains(above(s), t),
    "eb": lambda s, t: not overlap(s, t) and contains(below(s), t),
    "ap": lambda s, t: overlap(widened(s), t),
}


def written(instant: datetime, precision: int, zone: str) -> str:
    return instant.isoformat(timespec="milliseconds")[:precision] + (zone if precision > 10 else "")


near = st.one_of(
    st.datetimes(datetime(2023, 12, 30), datetime(2024, 3, 2)),
    st.datetimes(datetime(2024, 1, 1), datetime(2024, 1, 1, 0, 0, 2)),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
)
date_texts = st.builds(
    written, near, st.sampled_from([4, 7, 10, 16, 19, 21, 23]), st.sampled_from(["Z", "+00:00", "-05:00", "+14:00"])
)
stored_dates = st.builds(
    lambda start, end: dates.period({"start": start, "end": end}),
    st.none() | date_texts,
    st.none() | date_texts,
) | date_texts.map(dates.date)


DATE_EDGES = """
    2023 2024 2025 2023-12 2024-01 2024-02 2023-12-31 2024-01-01 2024-01-31 2024-01-01T00:00Z 2024-01-01T00:00:00Z
    2024-01-01T00:00:00.000Z 2023-12-31T23:59:59.999Z 2024-01-01T00:00:00+01:00 2024-01-31T23:59:59Z 0001 9999
"""


@once_filled
@example(targets=[dates.date(text) for text in DATE_EDGES.split()], searched=DATE_EDGES.split())
@given(targets=st.lists(stored_dates, min_size=1, max_size=15), searched=st.lists(date_texts, min_size=1, max_size=3))
def test_every_date_prefix_means_what_the_specification_says(
    collection: Collection[Document], fill: Fill, targets: list[list[Document]], searched: list[str]
) -> None:
    fill([{"_id": i, "search": {"date": target}} for i, target in enumerate(targets)])
    for text in searched:
        s = parse(text)[:2]
        found = {prefix: ids(collection, "Observation", f"date={prefix}{text}") for prefix in PREFIXES}
        for prefix in PREFIXES:
            expected = {
                i for i, target in enumerate(targets) if any(SPEC[prefix](s, (t["lo"], t["hi"])) for t in target)
            }
            assert found[prefix] == expected, (prefix, text)
        check_relations(found, {i for i, target in enumerate(targets) if target})


@once_filled
@given(moments=st.lists(near, min_size=1, max_size=15), searched=st.lists(date_texts, min_size=1, max_size=3))
def test_last_updated_is_inside_before_or_after(
    collection: Collection[Document], fill: Fill, moments: list[datetime], searched: list[str]
) -> None:
    spans = [parse(written(moment, 23, "Z")) for moment in moments]
    fill([{"_id": i, "updated": span.low} for i, span in enumerate(spans)])
    for text in searched:
        found = {prefix: ids(collection, "Observation", f"_lastUpdated={prefix}{text}") for prefix in PREFIXES}
        for prefix in PREFIXES:
            assert found[prefix] == {i for i, t in enumerate(spans) if SPEC[prefix](parse(text)[:2], t[:2])}, (
                prefix,
                text,
            )
        check_relations(found, {*range(len(spans))})


def check_relations(found: dict[str, set[int]], valued: set[int]) -> None:
    assert found["ne"] == valued - found["eq"]
    assert found["ge"] == found["gt"] | found["eq"]
    assert found["le"] == found["lt"] | found["eq"]
    assert found["sa"] <= found["gt"] - found["eq"]
    assert found["eb"] <= found["lt"] - found["eq"]
    assert found["sa"].isdisjoint(found["eb"])
    assert found["eq"] <= found["ap"]
    assert found["gt"] | found["lt"] | found["eq"] == valued


# numbers: closed ranges, points but for a Range


def implicit(text: str) -> Range:
    """Half a unit of the last digit either way, counted out in the text."""
    mantissa, _, exponent = text.lower().partition("e")
    unit = Decimal(10) ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return (Decimal(text) - unit / 2, Decimal(text) + unit / 2)


def number_spec(prefix: str, text: str, low: Decimal, high: Decimal) -> bool:
    n, (least, most) = Decimal(text), implicit(text)
    return {
        "eq": least <= low and high < most,
        "ne": not (least <= low and high < most),
        "gt": high > n,
        "lt": low < n,
        "ge": high >= n,
        "le": low <= n,
        "sa": low > n,
        "eb": high < n,
        "ap": low <= max(most, n + abs(n) / 10) and high >= min(least, n - abs(n) / 10),
    }[prefix]


NUMBER_EDGES = "0 -0 50 150 90 110 100 100.0 1e2 1E-3 99.5 100.5 99.95 5.40 5.395 5.405 5.4 -5.4 -5.45 -5.35"
number_texts = st.one_of(
    st.sampled_from(
        ["0", "-0", "100", "100.0", "1e2", "1E-3", "99.5", "100.5", "5.40", "5.395", "5.405", "5.4", "-5.4"]
    ),
    st.integers(-200, 200).map(str),
    st.decimals(-110, 110, places=2).map(str),
    st.decimals(-6, 6, places=3).map(str),
)
ranges = st.tuples(
    number_texts.map(Decimal) | st.just(Decimal("-Infinity")), number_texts.map(Decimal) | st.just(Decimal("Infinity"))
).map(lambda ends: (min(ends), max(ends)))


@once_filled
@example(
    points=NUMBER_EDGES.split(),
    wide=[(Decimal(50), Decimal(100)), (Decimal(100), Decimal("100.5"))],
    searched=NUMBER_EDGES.split(),
)
@given(
    points=st.lists(number_texts, min_size=1, max_size=12),
    wide=st.lists(ranges, max_size=5),
    searched=st.lists(number_texts, min_size=1, max_size=3),
)
def test_every_number_prefix_means_what_the_specification_says(
    collection: Collection[Document],
    fill: Fill,
    points: list[str],
    wide: list[tuple[Decimal, Decimal]],
    searched: list[str],
) -> None:
    targets = [(Decimal(point), Decimal(point)) for point in points] + wide
    fill([{"_id": i, "search": {"probability": [stored(*target)]}} for i, target in enumerate(targets)])
    for text in searched:
        for prefix in PREFIXES:
            found = ids(collection, "RiskAssessment", f"probability={prefix}{text}")
            assert found == {i for i, t in enumerate(targets) if number_spec(prefix, text, *t)}, (prefix, text)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_number_and_unit_are_of_one_value(collection: Collection[Document], fill: Fill, prefix: str) -> None:
    mg = quantities.quantity(
        {"value": Decimal("7"), "system": "http://unitsofmeasure.org", "code": "mg", "unit": "milligram"}
    )
    gram = quantities.quantity({"value": Decimal("5"), "unit": "g"})
    fill([{"_id": 0, "search": {"value-quantity": mg + gram}}, {"_id": 1, "search": {"value-quantity": gram}}])
    for unit, amount in (("http://unitsofmeasure.org|mg", 7), ("|mg", 7), ("|milligram", 7), ("|g", 5)):
        for text in ("5", "6", "7"):
            holders = {0, 1} if unit == "|g" else {0}
            expected = holders if number_spec(prefix, text, Decimal(amount), Decimal(amount)) else set()
            assert ids(collection, "Observation", f"value-quantity={prefix}{text}|{unit}") == expected, (unit, text)


def stored(low: Decimal, high: Decimal) -> Document:
    return {"lo": decimal128(low), "hi": decimal128(high)}


def ids(collection: Collection[Document], type_: str, text: str) -> set[int]:
    return {document["_id"] for document in collection.find(query_filter(read(type_, text), NOW), {"_id": 1})}


# strings and escapes

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


@once_filled
@given(names=st.lists(texts, min_size=1, max_size=10), searched=texts.filter(lambda text: strings.fold(text) != ""))
def test_a_string_finds_what_starts_or_contains_or_is(
    collection: Collection[Document], fill: Fill, names: list[str], searched: str
) -> None:
    names = [*names, searched, f"{searched} more", f"some {searched}"]
    fill([{"_id": i, "search": {"name": [strings.fold(n)], "name:exact": [n]}} for i, n in enumerate(names)])
    text = quoted(escaped(searched))
    wanted = strings.fold(searched)
    plain = [strings.fold(name) for name in names]
    assert ids(collection, "Patient", f"name={text}") == {i for i, n in enumerate(plain) if n.startswith(wanted)}
    assert ids(collection, "Patient", f"name:contains={text}") == {i for i, n in enumerate(plain) if wanted in n}
    assert ids(collection, "Patient", f"name:exact={text}") == {i for i, n in enumerate(names) if n == searched}


@given(parts=st.lists(st.text("ab,|$\\", max_size=6), min_size=1, max_size=4), separator=st.sampled_from(",|$"))
def test_escaped_text_survives_splitting(parts: list[str], separator: str) -> None:
    joined = separator.join(escaped(part) for part in parts)
    assert [unescape(part) for part in split(joined, separator)] == parts


def escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in ",|$\\" else letter for letter in text)


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())
