"""Scopes as lines of the consent page, in the words of the people who are asked to agree to them."""

from __future__ import annotations

from typing import NamedTuple

from smart_auth.scopes import CALLED, Scope, described, parse

OTHERS = {
    "openid": "Know who you are",
    "fhirUser": "Know who you are in the health record",
    "profile": "Know your name",
    "launch/patient": "Know whose record it works with",
    "launch/encounter": "Know which visit it works with",
    "offline_access": "Stay connected when you are away, until you take it back",
    "online_access": "Stay connected while you are logged in",
}
KINDS = tuple(type_ for type_ in CALLED if type_ not in ("*", "AuditEvent", "Location", "Organization", "Practitioner"))
WRITES = frozenset("cud")


class Line(NamedTuple):
    """One line of the page: `whole` is everything that was asked, `reading` is it without writing (or nothing).

    `kinds` are types of resources that a wildcard may be narrowed to, and how they are called.
    """

    scope: str
    whole: str
    reading: str | None
    kinds: tuple[tuple[str, str], ...]


def line(text: str) -> Line | None:
    """How a scope is shown; nothing for what goes without saying (launch)."""
    scope = parse(text)
    if scope is None:
        return Line(text, OTHERS[text], None, ()) if text in OTHERS else None
    reading = scope.permissions - WRITES
    both = bool(reading) and reading != scope.permissions
    kinds = tuple((type_, _begun(CALLED[type_])) for type_ in KINDS) if scope.type == "*" else ()
    return Line(text, _said(scope), _said(scope._replace(permissions=reading)) if both else None, kinds)


def _said(scope: Scope) -> str:
    """Of the user's own scopes it is said that they reach no further than the user does."""
    return _begun(described(scope)) + (", as far as you may yourself" if scope.level == "user" else "")


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
