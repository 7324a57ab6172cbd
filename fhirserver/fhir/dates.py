"""A date is a range: as wide as what was left unsaid.

`2024-05` is every instant of that May. Ranges are half-open, in UTC, in whole milliseconds (what MongoDB keeps).
https://hl7.org/fhir/R4/datatypes.html#dateTime, https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import Outcome, invalid

EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)

_PATTERN = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:T([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]|60)(?:\.([0-9]+))?)?"
    r"(?:Z|([-+ ])((?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))?)?)?)?"
)
_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_FRACTIONS = (_SECOND, _MILLISECOND * 100, _MILLISECOND * 10, _MILLISECOND)
_LONGEST_CACHED = 40


class Span(NamedTuple):
    """The instants a date may mean: low ≤ instant < high. `precision`: year month day minute second fraction."""

    low: datetime
    high: datetime
    precision: str


def parse(text: str) -> Span:
    """A date, dateTime or instant; without a zone it is UTC. Raises a 400 Outcome.

    Search values may stop at the minute, and a `+` that a query string turned into a space is read as `+`.
    """
    return _cached(text) if len(text) <= _LONGEST_CACHED else _parse(text)


def given(name: str, text: str) -> Span:
    """The same of a parameter, which a refusal names."""
    try:
        return parse(text)
    except Outcome as refusal:
        raise invalid(f"{name}: {refusal}", name) from refusal


def _parse(text: str) -> Span:
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise _refusal(text)
    year, month, day, hour, minute, second, fraction, sign, zone = match.groups()
    try:
        if hour is None:
            return _calendar(int(year), month, day)
        leap = second == "60"
        seconds = 59 if leap else int(second or 0)
        microseconds = int(fraction[:3].ljust(3, "0")) * 1000 if fraction else 0
        low = datetime(int(year), int(month), int(day), int(hour), int(minute), seconds, microseconds, UTC)
    except ValueError as error:
        raise _refusal(text) from error
    if leap:  # the first second after it, as in POSIX time
        low = _plus(low, _SECOND)
    if zone is not None:
        low = _plus(low, _to_utc(sign, zone))
    if low >= LATEST:  # nothing would fit after it
        low = LATEST - _MILLISECOND
    if fraction is not None:
        return Span(low, _plus(low, _FRACTIONS[min(len(fraction), 3)]), "fraction")
    if second is not None:
        return Span(low, _plus(low, _SECOND), "second")
    return Span(low, _plus(low, _MINUTE), "minute")


_cached = lru_cache(maxsize=65_536)(_parse)


def _calendar(year: int, month: str | None, day: str | None) -> Span:
    if day is not None and month is not None:
        low = datetime(year, int(month), int(day), tzinfo=UTC)
        return Span(low, _plus(low, _DAY), "day")
    if month is not None:
        low = datetime(year, int(month), 1, tzinfo=UTC)
        december = low.month == 12
        return Span(low, _first(year + december, 1 if december else low.month + 1), "month")
    return Span(datetime(year, 1, 1, tzinfo=UTC), _first(year + 1, 1), "year")


def _first(year: int, month: int) -> datetime:
    return LATEST if year > 9999 else datetime(year, month, 1, tzinfo=UTC)


def _plus(instant: datetime, offset: timedelta) -> datetime:
    """The sum, kept inside what a datetime holds."""
    try:
        moved = instant + offset
    except OverflowError:
        return EARLIEST if offset < timedelta(0) else LATEST
    return moved if moved < LATEST else LATEST


@lru_cache
def _to_utc(sign: str, zone: str) -> timedelta:
    ahead = timedelta(hours=int(zone[:2]), minutes=int(zone[3:]))
    return ahead if sign == "-" else -ahead


def _refusal(text: str) -> Outcome:
    return invalid(
        f"{text[:_LONGEST_CACHED]!r} is not a date: write YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz"
    )


def lasts(period: Mapping[str, Any], now: datetime) -> bool:
    """Whether now is in a Period; a side that is open has no end."""
    begun = "start" not in period or parse(period["start"]).low <= now
    return begun and ("end" not in period or now < parse(period["end"]).high)


def turns(period: Mapping[str, Any]) -> Iterator[datetime]:
    """When a Period begins, and when it is over."""
    if "start" in period:
        yield parse(period["start"]).low
    if "end" in period:
        yield parse(period["end"]).high
