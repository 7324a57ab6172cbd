"""Scopes as values: `patient/Observation.rs?category=…`, in the grammars of SMART 1 and 2.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from typing import NamedTuple

V1 = {"read": "rs", "write": "cud", "*": "cruds"}
_scope = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]{1,63})\.(read|write|\*|c?r?u?d?s?)(?:\?([\x21-\x7e]{1,1024}))?", re.ASCII
)


class Scope(NamedTuple):
    """`level` is patient, user or system; `type` may be `*`; `permissions` are of cruds; `criteria` must all be met."""

    level: str
    type: str
    permissions: frozenset[str]
    criteria: frozenset[str] = frozenset()

    def contains(self, other: Scope) -> bool:
        """Whether whatever the other permits, this permits too."""
        return (
            self.level == other.level
            and self.type in ("*", other.type)
            and other.permissions <= self.permissions
            and self.criteria <= other.criteria
        )

    def permits(self, type_: str, permission: str) -> bool:
        """As far as the type goes; what the criteria say is for who sees the resource."""
        return self.type in ("*", type_) and permission in self.permissions


def parse(text: str) -> Scope | None:
    """A scope about data; None for others (openid, launch) and for what is none."""
    match = _scope.fullmatch(text)
    if match is None or not match[3]:
        return None
    level, type_, permissions, criteria = match.groups()
    if criteria and permissions in V1:
        return None
    return Scope(
        level,
        type_,
        frozenset(V1.get(permissions, permissions)),
        frozenset(criteria.split("&")) if criteria else frozenset(),
    )
