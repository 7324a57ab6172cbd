"""What a person decided about an app before, as the form that asks again is filled in.

Who is asked for more should not give back by "Allow" what they kept to themselves.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from smart_auth import wording
from smart_auth.scopes import Scope, parse


class Filled(NamedTuple):
    """A line of the form: `reading` is it without writing, `kinds` are those that it is narrowed to."""

    ticked: bool = True
    reading: bool = False
    kinds: frozenset[str] = frozenset()


NEW = Filled()
REFUSED = Filled(ticked=False)


def filled(text: str, asked: Collection[str], granted: Collection[str]) -> Filled:
    """The line of a scope, where that much was asked and granted before. Sent as it is, it grants no more of it."""
    if text not in asked or text in granted:
        return NEW
    scope = parse(text)
    if scope is None:
        return REFUSED
    parts = frozenset(part for each in granted if (part := parse(each)) and scope.contains(part))
    reading = scope._replace(permissions=scope.permissions - wording.WRITES)
    return _narrowed(text, scope, parts) or _narrowed(text, reading, parts) or REFUSED


def _narrowed(text: str, scope: Scope, parts: Collection[Scope]) -> Filled | None:
    """How the form comes to these, with writing or without."""
    line = wording.line(text)
    without = bool(line and line.reading and scope != parse(text))
    if scope in parts:
        return Filled(reading=without)
    kinds = frozenset(kind for kind, _ in (line.kinds if line else ()) if wording.narrower(scope, kind) in parts)
    return Filled(reading=without, kinds=kinds) if kinds else None
