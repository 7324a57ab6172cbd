"""Functions on strings: http://hl7.org/fhirpath/N1/#string-manipulation. Patterns run in RE2, in linear time."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import re2

from fhirserver.fhir.fhirpath.conversions import to_text
from fhirserver.fhir.fhirpath.error import FhirPathError
from fhirserver.fhir.fhirpath.scope import MAX_ITEMS, Scope
from fhirserver.fhir.fhirpath.temporal import Temporal
from fhirserver.fhir.fhirpath.values import MAX_TEXT, bounded, kind, single

Items = list[Any]
Entry = tuple[Callable[..., Items], int, int]

_OPTIONS = re2.Options()
_OPTIONS.dot_nl = True
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20
_GROUP = re.compile(r"\$(?:(\d+)|\{(\w+)\})")


def text_of(value: Any, name: str) -> str | None:
    """The string a function works on: a date is taken as it is written, all else refused."""
    if value is None or type(value) is str:
        return value
    if type(value) is Temporal:
        return value.text
    raise FhirPathError(f"{name}() takes a string, not a {kind(value)}")


def _text(name: str, function: Callable[..., Any], least: int = 0, most: int | None = None) -> Entry:
    """A function of one string and its arguments; empty if any of them is."""

    def run(items: Items, scope: Scope, *arguments: Items) -> Items:
        value = text_of(single(items, "a single string"), name)
        values = [single(argument) for argument in arguments]
        if value is None or None in values:
            return []
        result = function(value, *values)
        return result if type(result) is list else [] if result is None else [result]

    return run, least, least if most is None else most


def _strings(function: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments must be strings too."""

    def run(value: str, *arguments: Any) -> Any:
        for argument in arguments:
            if type(argument) is not str:
                raise FhirPathError(f"a string is expected, not a {kind(argument)}")
        return function(value, *arguments)

    return run


def _substring(value: str, start: Any, length: Any = None) -> str | None:
    if type(start) is not int or (length is not None and type(length) is not int):
        raise FhirPathError("substring() takes integers")
    if not 0 <= start < len(value):
        return None
    return value[start:] if length is None else value[start : start + max(0, length)]


def _replace(value: str, pattern: str, substitution: str) -> str:
    if len(value) + (value.count(pattern) * len(substitution)) > MAX_TEXT:
        raise FhirPathError(f"the result is longer than {MAX_TEXT:,} characters")
    if pattern == "":
        return substitution + "".join(character + substitution for character in value)
    return value.replace(pattern, substitution)


@lru_cache(512)
def pattern(text: str) -> Any:
    """A compiled RE2 pattern, single line: http://hl7.org/fhirpath/N1/#matchesregex-string-boolean"""
    if len(text) > 10_000:
        raise FhirPathError("a regular expression may have at most 10,000 characters")
    try:
        return re2.compile(text, _OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown"
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise FhirPathError(f"{text!r} is no regular expression: {reason}") from error


def _matches(value: str, expression: str) -> bool:
    return pattern(expression).search(value) is not None


def _matches_full(value: str, expression: str) -> bool:
    return pattern(expression).fullmatch(value) is not None


def _replace_matches(value: str, expression: str, substitution: str) -> str:
    if expression == "":
        return value
    compiled = pattern(expression)
    out, size, end = [], 0, 0
    for match in compiled.finditer(value):
        piece = value[end : match.start()] + _expand(match, substitution)
        end = match.end()
        size += len(piece)
        if size > MAX_TEXT:
            raise FhirPathError(f"the result is longer than {MAX_TEXT:,} characters")
        out.append(piece)
    return "".join(out) + value[end:]


def _expand(match: Any, substitution: str) -> str:
    """`$1` and `${name}` stand for groups."""

    def group(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError) as error:
            raise FhirPathError(f"the regular expression has no group {name}") from error

    return _GROUP.sub(group, substitution)


def _split(value: str, separator: str) -> Items:
    parts = list(value) if separator == "" else value.split(separator)
    if len(parts) > MAX_ITEMS:
        raise FhirPathError(f"split() gives more than {MAX_ITEMS:,} items")
    return list(parts)


def _join(items: Items, scope: Scope, separator: Items | None = None) -> Items:
    between = single(separator, "a single string") if separator else ""
    if type(between) is not str:
        raise FhirPathError("join() takes a string")
    texts = []
    size = 0
    for item in items:
        text = to_text(single([item]))
        if text is None:
            raise FhirPathError("join() takes strings")
        size += len(text) + len(between)
        if size > MAX_TEXT:
            raise FhirPathError(f"the result is longer than {MAX_TEXT:,} characters")
        texts.append(text)
    return [between.join(texts)] if texts else []


def _encode(value: str, form: str) -> str:
    encoders: dict[str, Callable[[bytes], bytes]] = {
        "hex": binascii.hexlify,
        "base64": base64.b64encode,
        "urlbase64": base64.urlsafe_b64encode,
    }
    if form not in encoders:
        raise FhirPathError(f"{form!r} is no encoding; hex, base64 and urlbase64 are")
    return bounded(encoders[form](value.encode("utf-8", "replace")).decode("ascii"))


def _decode(value: str, form: str) -> str:
    try:
        if form == "hex":
            return bytes.fromhex(value).decode()
        if form in ("base64", "urlbase64"):
            return base64.b64decode(value, b"-_" if form == "urlbase64" else None, validate=True).decode()
    except ValueError as error:
        raise FhirPathError(f"the text is no {form} of UTF-8") from error
    raise FhirPathError(f"{form!r} is no encoding; hex, base64 and urlbase64 are")


def _escape(value: str, form: str) -> str:
    if form == "html":
        return bounded(html.escape(value, quote=True).replace("&#x27;", "&#39;"))
    if form == "json":
        return bounded(value.replace("\\", "\\\\").replace('"', '\\"'))
    raise FhirPathError(f"{form!r} is no escaping; html and json are")


def _unescape(value: str, form: str) -> str:
    if form == "html":
        return html.unescape(value)
    if form == "json":
        return re.sub(r"\\(.)", r"\1", value)
    raise FhirPathError(f"{form!r} is no escaping; html and json are")


TEXTS: dict[str, Entry] = {
    "indexOf": _text("indexOf", _strings(lambda value, part: value.find(part)), 1),
    "lastIndexOf": _text("lastIndexOf", _strings(lambda value, part: value.rfind(part)), 1),
    "substring": _text("substring", _substring, 1, 2),
    "upper": _text("upper", str.upper),
    "lower": _text("lower", str.lower),
    "trim": _text("trim", str.strip),
    "length": _text("length", len),
    "toChars": _text("toChars", lambda value: _split(value, "")),
    "replace": _text("replace", _strings(_replace), 2),
    "replaceMatches": _text("replaceMatches", _strings(_replace_matches), 2),
    "split": _text("split", _strings(_split), 1),
    "join": (_join, 0, 1),
    "encode": _text("encode", _strings(_encode), 1),
    "decode": _text("decode", _strings(_decode), 1),
    "escape": _text("escape", _strings(_escape), 1),
    "unescape": _text("unescape", _strings(_unescape), 1),
}

# Of a string and one more, with a boolean for an answer: compiled without lists.
TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
    "matches": _matches,
    "matchesFull": _matches_full,
}
