"""FHIR JSON in and out: decimals as written, duplicates refused, everything bounded.

https://hl7.org/fhir/R4/json.html. Decimals are `Decimal` inside (`1.00` stays `1.00`).
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from decimal import Decimal
from typing import Any

import msgspec

from fhirserver.fhir.outcome import Issue, Outcome

MAX_DEPTH = 64
MAX_NODES = 500_000

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")
_byte = re.compile(r"\(byte (\d+)\)")
_token = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]', re.DOTALL)
_escaped = re.compile(rb"\\u003[aA]")

encode = _encoder.encode


def decode(text: bytes, *, max_nodes: int = MAX_NODES) -> Any:
    """Any JSON value. Raises a 400 Outcome with line and column where the text is not acceptable JSON."""
    text = text.removeprefix(BOM_UTF8)  # https://www.rfc-editor.org/rfc/rfc8259#section-8.1
    try:
        value = _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise _refusal(text, _not_utf8(text), "the body is not UTF-8") from error
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.DecodeError, ValueError, ArithmeticError) as error:
        # ValueError: a number with more digits than Python converts; ArithmeticError: an exponent beyond Decimal
        found = _byte.search(str(error))
        offset = int(found[1]) if found else len(text)
        message = "the JSON ends too early" if "truncated" in str(error) else _byte.sub("", str(error)).strip()
        raise _refusal(text, offset, message) from error
    if len(text) > max_nodes and text.count(b",") + text.count(b"[") + text.count(b"{") > max_nodes:
        raise Outcome(400, "too-costly", f"the body has more than {max_nodes:,} values; send it in parts")
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    _check_duplicates(text, value)
    return value


def pretty(text: bytes) -> bytes:
    return msgspec.json.format(text, indent=2)


def resource(text: bytes) -> dict[str, Any]:
    """A JSON object; which resource it is, and whether it may be, is for validation to say."""
    value = decode(text)
    if not isinstance(value, dict):
        raise Outcome(
            400, "structure", "a resource is a JSON object", issues=(_issue("a resource is a JSON object", 1, 1),)
        )
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise _too_deep()


def _check_duplicates(text: bytes, value: Any) -> None:
    """Decoding keeps the last of two equal keys, so a duplicate shows as a key that encoding does not give back.

    Counting colons compares the two without walking; what has more, as where one was escaped, is walked.
    """
    if text.count(b":") == encode(value).count(b":") and not _escaped.search(text):
        return
    seen: list[set[bytes] | None] = []
    last = b""
    for match in _token.finditer(text):
        token = match[0]
        if token == b"{":
            seen.append(set())
        elif token == b"[":
            seen.append(None)
        elif token in (b"}", b"]"):
            seen.pop()
        elif token == b":":
            key = last if b"\\" not in last else encode(_decoder.decode(last))
            keys = seen[-1]
            if keys is not None and key in keys:
                raise _refusal(text, match.start(), f"the property {key.decode()} stands twice in one object")
            if keys is not None:
                keys.add(key)
        last = token


def _not_utf8(text: bytes) -> int:
    try:
        text.decode()
    except UnicodeDecodeError as error:  # the decoder of JSON counts from the beginning of a string
        return error.start
    return 0


def _issue(message: str, line: int, column: int, code: str = "structure") -> Issue:
    return Issue("error", code, message, None, line, column)


def _refusal(text: bytes, offset: int, message: str) -> Outcome:
    line = text.count(b"\n", 0, offset) + 1
    column = offset - (text.rfind(b"\n", 0, offset) + 1) + 1
    message = f"line {line}, column {column}: {message}"
    return Outcome(400, "structure", message, issues=(_issue(message, line, column),))


def _too_deep() -> Outcome:
    return Outcome(400, "too-costly", f"the body is nested more than {MAX_DEPTH} levels deep")
