"""Dates, dateTimes and times as FHIRPath sees them: with the precision they were written in.

http://hl7.org/fhirpath/N1/#datetime-equality, http://hl7.org/fhirpath/N1/#datetime-arithmetic
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.quantities import CALENDAR_UNITS, Quantity

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:(T)(?:(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d{1,30})?))?)?(Z|[+-]\d\d:\d\d)?)?)?",
    re.ASCII,
)
_TIME = re.compile(r"T?(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d{1,30})?))?)?", re.ASCII)
_MILLISECOND = Decimal("0.001")
_SECONDS: dict[str, Decimal] = {
    "week": Decimal(604800),
    "day": Decimal(86400),
    "hour": Decimal(3600),
    "minute": Decimal(60),
    "second": Decimal(1),
    "millisecond": _MILLISECOND,
}
_LATEST = (Decimal(23), Decimal(59), Decimal("60.999"))


class Temporal(NamedTuple):
    """`fields` holds year, month, day, hour, minute, second as far as they are known (a time: from the hour on)."""

    kind: str  # date, dateTime or time
    fields: tuple[int | Decimal, ...]
    offset: int | None  # minutes east of UTC
    text: str


@lru_cache(4096)
def parse(text: str) -> Temporal | None:
    """A date or dateTime as FHIR or a literal (without its `@`) writes it; None where it is neither."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, t, hour, minute, second, zone = match.groups()
    fields: list[int | Decimal] = [int(part) for part in (year, month, day, hour, minute) if part is not None]
    if second is not None:
        fields.append(Decimal(second))
    if hour is not None and day is None:
        return None
    if not _valid_date(fields[:3]) or not _valid_time(fields[3:]):
        return None
    offset = None
    if zone is not None:
        offset = 0 if zone == "Z" else (int(zone[1:3]) * 60 + int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
    return Temporal("dateTime" if t else "date", tuple(fields), offset, text)


@lru_cache(4096)
def parse_date_time(text: str) -> Temporal | None:
    """The same for an element of type dateTime, where `2015` is no date but a vague dateTime."""
    moment = parse(text)
    return moment._replace(kind="dateTime") if moment else None


@lru_cache(1024)
def parse_time(text: str) -> Temporal | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = match.groups()
    fields: list[int | Decimal] = [int(part) for part in (hour, minute) if part is not None]
    if second is not None:
        fields.append(Decimal(second))
    return Temporal("time", tuple(fields), None, text.removeprefix("T")) if _valid_time(fields) else None


def _valid_date(fields: list[int | Decimal]) -> bool:
    year, month, day = (*(int(field) for field in fields), 1, 1)[:3]
    return year >= 1 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]


def _valid_time(fields: list[int | Decimal]) -> bool:
    return all(field <= most for field, most in zip(fields, _LATEST, strict=False))


def build(kind: str, fields: tuple[int | Decimal, ...], offset: int | None) -> Temporal:
    """The value together with its text."""
    if kind == "time":
        return Temporal(kind, fields, None, _time_text(fields))
    text = "-".join(f"{int(part):0{width}d}" for part, width in zip(fields[:3], (4, 2, 2), strict=False))
    if len(fields) > 3:
        text += "T" + _time_text(fields[3:])
        if offset is not None:
            sign = "-" if offset < 0 else "+"
            text += "Z" if offset == 0 else f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    return Temporal(kind, fields, offset if len(fields) > 3 else None, text)


def _time_text(fields: tuple[int | Decimal, ...]) -> str:
    texts = [f"{int(part):02d}" for part in fields[:2]]
    if len(fields) > 2:
        whole, dot, fraction = str(fields[2]).partition(".")
        texts.append(whole.zfill(2) + dot + fraction)
    return ":".join(texts)


def now(moment: datetime | None = None) -> Temporal:
    moment = moment or datetime.now(UTC)
    second = Decimal(moment.second) + Decimal(moment.microsecond // 1000) * _MILLISECOND
    fields = (moment.year, moment.month, moment.day, moment.hour, moment.minute, second)
    return build("dateTime", fields, 0)


def compare(left: Temporal, right: Temporal) -> int | None:
    """-1, 0 or 1; None where the precision or a missing time zone leaves it open. Both are times, or neither is."""
    ours, theirs = left.fields, right.fields
    if left.offset != right.offset and len(ours) > 3 and len(theirs) > 3:
        if left.offset is None or right.offset is None:
            return None
        ours, theirs = _instant(left), _instant(right)
    known = min(len(ours), len(theirs))
    if ours[:known] != theirs[:known]:
        return -1 if ours < theirs else 1
    return 0 if len(ours) == len(theirs) else None


def _instant(value: Temporal) -> tuple[int | Decimal, ...]:
    """Minutes since the year 0 in UTC, then the seconds if they are known."""
    year, month, day, hour, *rest = value.fields
    minute = int(rest[0]) if rest else 0
    minutes = date(int(year), int(month), int(day)).toordinal() * 1440 + int(hour) * 60 + minute - (value.offset or 0)
    return (minutes, *rest[1:])


def add(value: Temporal, quantity: Quantity, sign: int) -> Temporal:
    """http://hl7.org/fhirpath/N1/#datetime-arithmetic"""
    unit = CALENDAR_UNITS.get(quantity.unit)
    if unit is None:
        raise FhirPathError(f"'{quantity.unit}' cannot be added to a date or time; use a calendar unit such as days")
    if abs(quantity.value) > 10**12:
        raise FhirPathError(f"{quantity.value} {quantity.unit} leaves the range of dates")
    amount = quantity.value * sign
    if unit not in ("second", "millisecond"):
        amount = Decimal(int(amount))
    if value.kind == "time":
        return _add_to_time(value, amount * _SECONDS.get(unit, Decimal(0)))
    try:
        fields = (
            _add_months(value, int(amount), unit) if unit in ("year", "month") else _add_seconds(value, amount, unit)
        )
    except (OverflowError, ValueError) as error:
        raise FhirPathError(f"{value.text} and {quantity.value} {quantity.unit} leave the range of dates") from error
    return build(value.kind, fields, value.offset)


def _add_to_time(value: Temporal, seconds: Decimal) -> Temporal:
    hour, minute, second = (*value.fields, 0, 0)[:3]
    total = (int(hour) * 3600 + int(minute) * 60 + second + seconds) % 86400
    fields = (int(total // 3600), int(total % 3600 // 60), total % 60)
    return build("time", fields[: len(value.fields)], None)


def _add_months(value: Temporal, amount: int, unit: str) -> tuple[int | Decimal, ...]:
    year, month = int(value.fields[0]), int(value.fields[1]) if len(value.fields) > 1 else 1
    months = year * 12 + month - 1 + amount * (12 if unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    if not 1 <= year <= 9999:
        raise ValueError(year)
    day = min(int(value.fields[2]), monthrange(year, month)[1]) if len(value.fields) > 2 else 1
    return (year, month, day, *value.fields[3:])[: len(value.fields)]


def _add_seconds(value: Temporal, amount: Decimal, unit: str) -> tuple[int | Decimal, ...]:
    """A partial date moves by whole units of its own precision: a month is 30 days, a year 365."""
    fields = value.fields
    seconds = amount * _SECONDS[unit]
    if len(fields) < 3:
        days = int(seconds / 86400)
        return _add_months(
            value, int(days / (365 if len(fields) == 1 else 30)), "year" if len(fields) == 1 else "month"
        )
    year, month, day, hour, minute, second = (*fields, 0, 0, 0)[:6]
    total = seconds + second
    moment = datetime(int(year), int(month), int(day), int(hour), int(minute)) + timedelta(minutes=int(total // 60))
    moved = (moment.year, moment.month, moment.day, moment.hour, moment.minute, total % 60)
    return moved[: len(fields)]


def boundary(value: Temporal, digits: int | None, *, high: bool) -> Temporal | None:
    """The first or last moment the value can mean, to a precision given in digits (17: milliseconds).

    http://hl7.org/fhirpath/#lowboundaryprecision-integer-decimal--date--datetime--time
    """
    widths = {2: 1, 4: 2, 6: 3, 9: 3} if value.kind == "time" else {4: 1, 6: 2, 8: 3, 10: 4, 12: 5, 14: 6, 17: 6}
    finest = {"time": 9, "date": 8, "dateTime": 17}[value.kind]
    digits = finest if digits is None else digits
    width = widths.get(digits)
    if width is None:
        return None
    fields = list(value.fields)
    if value.kind != "time":
        if len(fields) < 2:
            fields.append(12 if high else 1)
        if len(fields) < 3:
            fields.append(monthrange(int(fields[0]), int(fields[1]))[1] if high else 1)
    clock = 0 if value.kind == "time" else 3
    while len(fields) < clock + 2:
        fields.append((23 if len(fields) == clock else 59) if high else 0)
    if len(fields) < clock + 3:
        fields.append(Decimal("59.999") if high else Decimal("0.000"))
    said = fields[clock + 2]
    second = Decimal(said)
    if digits in (9, 17):
        fraction = isinstance(said, Decimal) and said.as_tuple().exponent != 0
        fields[clock + 2] = (second + (0 if fraction or not high else Decimal("0.999"))).quantize(_MILLISECOND)
    else:
        fields[clock + 2] = int(second)
    offset = value.offset
    if value.kind != "time" and width > 3 and offset is None:
        offset = -720 if high else 840
    return build(value.kind, tuple(fields[:width]), offset)
