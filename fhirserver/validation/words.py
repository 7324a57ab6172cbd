"""The words of a diagnosis: what a value is called, how much of it is shown, what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from difflib import get_close_matches

_SHOWN = 60


def kind(value: object) -> str:
    """What JSON calls a value."""
    match value:
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case int() | float() | Decimal():
            return "a number"
        case None:
            return "null"
    return "no JSON value"


def shown(value: object) -> str:
    """The beginning of a value, as short as a sentence needs it."""
    match value:
        case str():
            return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value.bit_length() < 200 else "a number of more than 60 digits"
        case Decimal():
            text = str(value)
            return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return kind(value)


def one_of(words: Iterable[str], most: int = 12) -> str:
    known = sorted(words)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean "gender"?)`, or nothing."""
    close = get_close_matches(word, list(known), 1, 0.7) if len(word) <= 64 else []
    return f' (did you mean "{close[0]}"?)' if close else ""


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
