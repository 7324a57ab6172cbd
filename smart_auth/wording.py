"""Scopes in the words of the people who are asked to agree to them."""

from __future__ import annotations

import re
from typing import NamedTuple

from smart_auth.scopes import Scope, parse

OTHERS = {
    "openid": "Know who you are",
    "fhirUser": "Know who you are in the health record",
    "profile": "Know your name",
    "launch/patient": "Know whose record it works with",
    "launch/encounter": "Know which visit it works with",
    "offline_access": "Stay connected when you are away, until you take it back",
    "online_access": "Stay connected while you are logged in",
}
TYPES = {
    "*": "everything in the record",
    "AllergyIntolerance": "allergies",
    "Appointment": "appointments",
    "CarePlan": "care plans",
    "CareTeam": "care teams",
    "Condition": "conditions and diagnoses",
    "Consent": "consents",
    "Coverage": "insurance",
    "Device": "devices",
    "DiagnosticReport": "test reports",
    "DocumentReference": "documents and notes",
    "Encounter": "visits and stays",
    "ExplanationOfBenefit": "claims and payments",
    "FamilyMemberHistory": "family history",
    "Goal": "goals",
    "Immunization": "vaccinations",
    "Media": "photos and recordings",
    "Medication": "medicines",
    "MedicationAdministration": "medicines that were given",
    "MedicationDispense": "medicines that were handed out",
    "MedicationRequest": "prescriptions",
    "MedicationStatement": "medicines that are taken",
    "Observation": "measurements and lab results",
    "Patient": "name, address and other personal details",
    "Practitioner": "doctors and nurses",
    "Procedure": "operations and procedures",
    "QuestionnaireResponse": "answers to questionnaires",
    "RelatedPerson": "relatives and contacts",
    "ServiceRequest": "orders and referrals",
    "Specimen": "samples",
}
KINDS = tuple(type_ for type_ in TYPES if type_ not in ("*", "Practitioner", "Medication"))
VERBS = {"c": "add", "u": "change", "d": "delete"}
WRITES = frozenset("cud")
_capital = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Line(NamedTuple):
    """One line of the page: `whole` is everything that was asked, `reading` is it without writing (or nothing)."""

    scope: str
    whole: str
    reading: str | None
    kinds: tuple[tuple[str, str], ...]


def kind(type_: str) -> str:
    return TYPES.get(type_) or _capital.sub(" ", type_).lower()


def said(scope: Scope) -> str:
    """See and add measurements and lab results (category laboratory)."""
    reads = ["see"] if scope.permissions & {"r", "s"} else []
    verbs = reads + [verb for letter, verb in VERBS.items() if letter in scope.permissions]
    what = "everything that you may see" if (scope.level, scope.type) == ("user", "*") else kind(scope.type)
    only = f" (only {', '.join(_criterion(each) for each in sorted(scope.criteria))})" if scope.criteria else ""
    return f"{_listed(verbs).capitalize()} {what}{only}"


def line(text: str) -> Line | None:
    """How a scope is shown; nothing for what goes without saying (launch)."""
    scope = parse(text)
    if scope is None:
        return Line(text, OTHERS[text], None, ()) if text in OTHERS else None
    reading = scope.permissions - WRITES
    both = bool(reading) and reading != scope.permissions
    kinds = tuple((type_, TYPES[type_]) for type_ in KINDS) if scope.type == "*" else ()
    return Line(text, said(scope), said(scope._replace(permissions=reading)) if both else None, kinds)


def _criterion(text: str) -> str:
    name, _, value = text.partition("=")
    return f"{name.replace('-', ' ')} {value.rpartition('|')[2].replace('-', ' ')}"


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "nothing of"
