"""Scopes as values: `patient/Observation.rs?category=laboratory`, in the grammars of SMART 1 and 2.

What cannot be read is no scope, so that it allows nothing.
https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple
from urllib.parse import quote, unquote_plus

from fhirserver.fhir.definitions import r4, search_table
from smart_auth import criteria

V1 = {"read": "rs", "write": "cud", "*": "cruds"}
PERMISSIONS = "cruds"
LEVELS = ("patient", "user", "system")
SPOKEN = (  # that are not about data
    "openid",
    "fhirUser",
    "profile",
    "launch",
    "launch/patient",
    "launch/encounter",
    "offline_access",
    "online_access",
)
MOST_CRITERIA = 8
# How an answer looks, or what other parts of the record say: no criteria about a resource itself.
NO_CRITERIA = frozenset({"_text", "_content", "_list", "_filter", "_has", "_query"})

_scope = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]{1,63})\.(read|write|\*|c?r?u?d?s?)(?:\?([\x21-\x7e]{1,1024}))?", re.ASCII
)
_name = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Scope(NamedTuple):
    """`level` is patient, user or system; `type` may be `*`; `permissions` are of cruds; `criteria` must all be met.

    A criterion is `name=value` as in a search, decoded.
    """

    level: str
    type: str
    permissions: frozenset[str]
    criteria: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """In the grammar of SMART 2, always the same for the same scope."""
        letters = "".join(letter for letter in PERMISSIONS if letter in self.permissions)
        pairs = (each.partition("=") for each in sorted(self.criteria))
        met = "&".join(f"{name}={quote(value, safe=':/|,$')}" for name, _, value in pairs)
        return f"{self.level}/{self.type}.{letters}{'?' if met else ''}{met}"

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

    def within(self, other: Scope) -> Scope | None:
        """What both permit, if they do anything."""
        if self.level != other.level or (self.type != other.type and "*" not in (self.type, other.type)):
            return None
        permissions = self.permissions & other.permissions
        type_ = other.type if self.type == "*" else self.type
        return Scope(self.level, type_, permissions, self.criteria | other.criteria) if permissions else None


def parse(text: str) -> Scope | None:
    """A scope about data; None for others (openid, launch) and for what is none."""
    match = _scope.fullmatch(text)
    if match is None or not match[3]:
        return None
    level, type_, permissions, asked = match.groups()
    if type_ != "*" and type_ not in r4().resource_types:
        return None
    met = frozenset(_criteria(asked)) if asked else frozenset()
    if asked and (permissions in V1 or len(met) > MOST_CRITERIA or not all(_meant(each, type_) for each in met)):
        return None
    return Scope(level, type_, frozenset(V1.get(permissions, permissions)), met)


def granted(asked: str, allowed: Iterable[Scope]) -> list[str]:
    """The scopes of a request as far as they are allowed: as they were written where they are wholly, else narrower.

    Those that are not about data are left out: whether they are allowed depends on other things.
    """
    known = tuple(allowed)
    found: dict[str, None] = {}
    for text in dict.fromkeys(asked.split()):
        scope = parse(text)
        if scope is not None and any(each.contains(scope) for each in known):
            found[text] = None
        elif scope is not None:
            found |= {str(part): None for each in known if (part := scope.within(each)) is not None}
    return [*found]


def _criteria(text: str) -> Iterator[str]:
    """As a query string has them; nothing for what cannot be read, and so is not meant."""
    for part in text.split("&"):
        name, _, value = part.partition("=")
        yield f"{name}={_decoded(value)}"


def _decoded(value: str) -> str:
    try:
        found = unquote_plus(value, errors="strict")
    except UnicodeDecodeError:
        return ""
    return found if found.isprintable() else ""


def _meant(criterion: str, type_: str) -> bool:
    """Whether it is a search parameter of the type with a value; modifiers and chains are experimental in SMART."""
    name, _, value = criterion.partition("=")
    return bool(value.strip() and _name.fullmatch(name)) and name in _parameters(type_)


@cache
def _parameters(type_: str) -> frozenset[str]:
    """Those that every type has, where it may be any."""
    bases = {"Resource"} if type_ == "*" else {"Resource", "DomainResource", type_}
    rows = search_table()["parameters"]
    return frozenset(row["code"] for row in rows if not bases.isdisjoint(row["base"])) - NO_CRITERIA


# what it means, for who is asked to allow it

CALLED = {
    "*": "everything",
    "AllergyIntolerance": "allergies",
    "Appointment": "appointments",
    "AuditEvent": "who looked at the record",
    "CarePlan": "care plans",
    "CareTeam": "care teams",
    "Condition": "diagnoses and health problems",
    "Consent": "consents",
    "Coverage": "insurance",
    "Device": "devices and implants",
    "DiagnosticReport": "reports of tests and examinations",
    "DocumentReference": "documents",
    "Encounter": "visits",
    "ExplanationOfBenefit": "bills and what insurance paid",
    "FamilyMemberHistory": "diseases in the family",
    "Goal": "health goals",
    "Immunization": "vaccinations",
    "List": "lists",
    "Location": "places of care",
    "Media": "pictures and recordings",
    "MedicationAdministration": "medicines that were given",
    "MedicationDispense": "medicines that were handed out",
    "MedicationRequest": "prescriptions",
    "MedicationStatement": "medicines that are taken",
    "Observation": "measurements and test results",
    "Organization": "hospitals and practices",
    "Patient": "name, birth date, address and other personal details",
    "Practitioner": "doctors, nurses and other professionals",
    "Procedure": "operations and other procedures",
    "QuestionnaireResponse": "answers to questionnaires",
    "RelatedPerson": "family and other people close to the patient",
    "ServiceRequest": "orders and referrals",
}
DONE = (("rs", "read"), ("c", "add"), ("u", "change"), ("d", "delete"))


def described(scope: Scope) -> str:
    """`read measurements and test results (only: category is laboratory)`"""
    verbs = [verb for letters, verb in DONE if not scope.permissions.isdisjoint(letters)]
    said = verbs[0] if len(verbs) == 1 else f"{', '.join(verbs[:-1])} and {verbs[-1]}"
    only = "; ".join(criteria.said(each, scope.type) for each in sorted(scope.criteria))
    return f"{said} {CALLED.get(scope.type) or _called(scope.type)}{f' (only: {only})' if only else ''}"


def _called(type_: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type_).lower() + " entries"
