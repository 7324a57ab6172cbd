"""The formats of the primitive types: one check per type, linear in the length of the value.

https://hl7.org/fhir/R4/datatypes.html#primitive. A check gives None, or the issue code and the sentence.
The official patterns are not run as they stand: that of base64Binary takes exponential time, and a pattern
cannot say what is wrong with 2023-02-29.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from calendar import monthrange
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from fhirserver.fhir.ids import ID
from fhirserver.validation.findings import Problem
from fhirserver.validation.words import kind, shown

Check = Callable[[object], Problem | None]

MAX_STRING: Final = 1024 * 1024

# what XML 1.0 cannot carry, no FHIR string may hold: https://hl7.org/fhir/R4/datatypes.html#string
_forbidden = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_code_break = re.compile(r"^ | \Z|  |[^\S ]")
_space = re.compile(r"\s")
_oid = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
_uuid = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_DATE = r"(?!0000)([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01]))?)?"
_DAY = r"(?!0000)([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_date = re.compile(_DATE)
_date_time = re.compile(rf"(?:{_DAY}T{_TIME}{_ZONE}|{_DATE})")
_instant = re.compile(rf"{_DAY}T{_TIME}{_ZONE}")
_time = re.compile(_TIME)
_no_zone = re.compile(rf"{_DAY}T{_TIME}")
_no_seconds = re.compile(rf"{_DAY}T[0-9]{{2}}:[0-9]{{2}}(?:{_ZONE})?")


def _mistyped(value: object, type_: str, expected: str) -> Problem:
    return Problem("structure", f"expected a JSON {expected} ({type_}), found {kind(value)}", "json-type")


def _empty(type_: str) -> Problem:
    return Problem("value", f"an empty {type_} is no value; leave the element out", "empty")


def _string(type_: str) -> Check:
    def check(value: object) -> Problem | None:
        if type(value) is not str:
            return _mistyped(value, type_, "string")
        if not value:
            return _empty(type_)
        if not value.isprintable() and (found := _forbidden.search(value)):
            where = f"U+{ord(found[0]):04X} at position {found.start()}"
            return Problem("value", f"the character {where} may not stand in a {type_}", "format")
        if len(value) > MAX_STRING:
            said = f"a {type_} has at most {MAX_STRING:,} characters; this one has {len(value):,}"
            return Problem("too-long", said, "max-length")
        return None

    return check


def _text(type_: str, right: Callable[[str], object], rule: str) -> Check:
    """A string type with a format: `right` says whether a string has it, `rule` is the format in words."""

    def check(value: object) -> Problem | None:
        if type(value) is not str:
            return _mistyped(value, type_, "string")
        if not value:
            return _empty(type_)
        if not right(value):
            return Problem("value", f"{shown(value)} is no valid {type_}: {rule}", "format")
        return None

    return check


def _unbroken(value: str) -> bool:
    if value.isprintable():  # the space is the one white space that is
        return " " not in value
    return not _space.search(value) and not _forbidden.search(value)


def _code(value: str) -> bool:
    if value.isprintable():
        return " " not in value or not _code_break.search(value)
    return not _code_break.search(value) and not _forbidden.search(value)


def _calendar(type_: str, pattern: re.Pattern[str], explain: Callable[[str], str]) -> Check:
    def check(value: object) -> Problem | None:
        if type(value) is not str:
            return _mistyped(value, type_, "string")
        if not value:
            return _empty(type_)
        if pattern.fullmatch(value) is None:
            return Problem("value", f"{shown(value)} is no valid {type_}: {explain(value)}", "format")
        if value[8:10] > "28" and int(value[8:10]) > (days := monthrange(int(value[:4]), int(value[5:7]))[1]):
            return Problem("value", f"{shown(value)} is no valid {type_}: {value[:7]} has {days} days", "format")
        return None

    return check


def _not_a_date(value: str) -> str:
    return "it is written YYYY, YYYY-MM or YYYY-MM-DD"


def _not_a_moment(value: str) -> str:
    if _no_zone.fullmatch(value):
        return "a time needs its time zone, Z or ±hh:mm"
    if _no_seconds.fullmatch(value):
        return "a time needs its seconds and its time zone"
    return "it is written YYYY-MM-DDThh:mm:ss±hh:mm"


def _not_a_date_time(value: str) -> str:
    said = _not_a_moment(value)
    return said if said.startswith("a time") else "it is written YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss±hh:mm"


def _integer(type_: str, low: int) -> Check:
    high = 2**31 - 1

    def check(value: object) -> Problem | None:
        if type(value) is int:
            outside = f"{shown(value)} is outside {low:,} to {high:,}"
            return None if low <= value <= high else Problem("value", outside, "value-range")
        if type(value) is Decimal:
            return Problem("value", f"{shown(value)} is no valid {type_}: it has no fraction and no exponent", "format")
        return _mistyped(value, type_, "number")

    return check


def _decimal(value: object) -> Problem | None:
    if type(value) is Decimal:
        return None if value.is_finite() else Problem("value", f"{value} is no valid decimal", "format")
    return None if type(value) is int else _mistyped(value, "decimal", "number")


def _boolean(value: object) -> Problem | None:
    return None if value is True or value is False else _mistyped(value, "boolean", "true or false")


def _base64(value: object) -> Problem | None:
    if type(value) is not str:
        return _mistyped(value, "base64Binary", "string")
    if not value:
        return _empty("base64Binary")
    try:
        whole = a2b_base64(
            value if value.isprintable() and " " not in value else "".join(value.split()), strict_mode=True
        )
    except ValueError:
        whole = b""
    rule = "groups of four of A-Z a-z 0-9 + /, the last filled up with ="
    return None if whole else Problem("value", f"{shown(value)} is no valid base64Binary: it has {rule}", "format")


def urn(value: object) -> Problem | None:
    """What says that it is an OID or a UUID is one."""
    if type(value) is not str or value[:4] != "urn:":
        return None
    kind_ = value[4:9].partition(":")[0]
    return PRIMITIVES[kind_](value) if kind_ in ("oid", "uuid") else None


_uri_rule = "it has no white space and no control characters"

ELEMENT_ID = _text("id of an element", _unbroken, "it has no white space")
PRIMITIVES: dict[str, Check] = {
    "base64Binary": _base64,
    "boolean": _boolean,
    "canonical": _text("canonical", _unbroken, _uri_rule),
    "code": _text("code", _code, "it has no white space at its ends, and inside only single spaces"),
    "date": _calendar("date", _date, _not_a_date),
    "dateTime": _calendar("dateTime", _date_time, _not_a_date_time),
    "decimal": _decimal,
    "id": _text("id", ID.fullmatch, "it has 1 to 64 letters, digits, - and ."),
    "instant": _calendar("instant", _instant, _not_a_moment),
    "integer": _integer("integer", -(2**31)),
    "markdown": _string("markdown"),
    "oid": _text("oid", _oid.fullmatch, "it is written urn:oid:1.2.3"),
    "positiveInt": _integer("positiveInt", 1),
    "string": _string("string"),
    "time": _text("time", _time.fullmatch, "it is written hh:mm:ss, without a time zone"),
    "unsignedInt": _integer("unsignedInt", 0),
    "uri": _text("uri", _unbroken, _uri_rule),
    "url": _text("url", _unbroken, _uri_rule),
    "uuid": _text("uuid", _uuid.fullmatch, "it is written urn:uuid: and 36 lower-case characters"),
}
