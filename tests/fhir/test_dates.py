"""Dates are ranges: https://hl7.org/fhir/R4/search.html#date"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.dates import EARLIEST, LATEST, Span, parse
from fhirserver.fhir.outcome import Outcome

MILLISECOND = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "low", "high", "precision"),
    [
        ("2024", "2024-01-01", "2025-01-01", "year"),
        ("2024-05", "2024-05-01", "2024-06-01", "month"),
        ("2024-12", "2024-12-01", "2025-01-01", "month"),
        ("2024-02-29", "2024-02-29", "2024-03-01", "day"),
        ("2013-01-14T10:00", "2013-01-14T10:00", "2013-01-14T10:01", "minute"),
        ("2013-01-14T10:00Z", "2013-01-14T10:00", "2013-01-14T10:01", "minute"),
        ("2013-01-14T10:00:07", "2013-01-14T10:00:07", "2013-01-14T10:00:08", "second"),
        ("2013-01-14T10:00:07Z", "2013-01-14T10:00:07", "2013-01-14T10:00:08", "second"),
        ("2013-01-14T10:00:07+02:00", "2013-01-14T08:00:07", "2013-01-14T08:00:08", "second"),
        ("2013-01-14T10:00:07 02:00", "2013-01-14T08:00:07", "2013-01-14T08:00:08", "second"),
        ("2013-01-14T20:00:07-05:30", "2013-01-15T01:30:07", "2013-01-15T01:30:08", "second"),
        ("2013-01-14T10:00:07.5Z", "2013-01-14T10:00:07.500", "2013-01-14T10:00:07.600", "fraction"),
        ("2013-01-14T10:00:07.50Z", "2013-01-14T10:00:07.500", "2013-01-14T10:00:07.510", "fraction"),
        ("2013-01-14T10:00:07.123Z", "2013-01-14T10:00:07.123", "2013-01-14T10:00:07.124", "fraction"),
        ("2013-01-14T10:00:07.1239999Z", "2013-01-14T10:00:07.123", "2013-01-14T10:00:07.124", "fraction"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00", "2017-01-01T00:00:01", "second"),
        ("9999", "9999-01-01", "9999-12-31T23:59:59.999", "year"),
        ("9999-12", "9999-12-01", "9999-12-31T23:59:59.999", "month"),
        ("9999-12-31", "9999-12-31", "9999-12-31T23:59:59.999", "day"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01", "0001-01-01T00:00:01", "second"),
    ],
)
def test_a_date_is_as_wide_as_what_it_leaves_unsaid(text: str, low: str, high: str, precision: str) -> None:
    ends = (datetime.fromisoformat(end).replace(tzinfo=UTC) for end in (low, high))
    assert parse(text) == Span(*ends, precision)


@pytest.mark.parametrize(
    "text",
    [
        *("", "24", "0000", "2024-00", "2024-13", "2024-1", "2023-02-29", "2024-04-31", "20240401", "2024-W01-1"),
        *("2024-01-01T24:00:00Z", "2024-01-01T10", "2024-01-01T10:60", "2024-01-01T10:00:61Z", "2024-01-01 10:00:00"),
        *("2024-01-01T10:00:00.Z", "2024-01-01T10:00:00z", "2024-01-01T10:00:00+15:00", "2024-01-01Z", "2024-01-01\n"),
        *("٢٠٢٤", "2024-01-01T10:00:00+14:30", " 2024", "-2024", "1" * 100_000),
    ],
)
def test_what_is_not_a_date_is_refused(text: str) -> None:
    with pytest.raises(Outcome) as refusal:
        parse(text)
    assert refusal.value.status == 400
    assert len(str(refusal.value)) < 200


@given(st.dates().map(str))
def test_a_day_is_inside_its_month_and_its_year(day: str) -> None:
    inner, month, year = parse(day), parse(day[:7]), parse(day[:4])
    assert year.low <= month.low <= inner.low < inner.high <= month.high <= year.high


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=zones))
def test_an_instant_lies_in_its_own_span_whatever_the_zone(instant: datetime) -> None:
    span = parse(instant.isoformat())
    assert span.low <= instant < span.high
    assert span.low.tzinfo is UTC


@given(st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9](:[0-5][0-9]){2}(\.[0-9]{1,60})?Z", fullmatch=True))
def test_a_span_is_never_empty_and_has_whole_milliseconds(text: str) -> None:
    with suppress(Outcome):
        low, high, _ = parse(text)
        assert EARLIEST <= low < high <= LATEST
        assert low.microsecond % 1000 == high.microsecond % 1000 == 0


@pytest.mark.parametrize(
    "text",
    ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.99999Z"],
)
def test_the_end_of_time_is_a_span_too(text: str) -> None:
    assert parse(text)[:2] == (LATEST - MILLISECOND, LATEST)


@given(st.text())
def test_any_text_is_a_date_or_a_refusal(text: str) -> None:
    with suppress(Outcome):
        assert parse(text).precision
