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
HL7 = "http://terminology.hl7.org/CodeSystem/"
# What US certification asks that people can choose: https://www.healthit.gov/test-method/standardized-api-patient-and-population-services
CATEGORIES: dict[str, dict[str, str]] = {
    "Condition": {
        "encounter-diagnosis": f"{HL7}condition-category|encounter-diagnosis",
        "problem-list-item": f"{HL7}condition-category|problem-list-item",
        "health-concern": "http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern",
    },
    "Observation": {
        code: f"{HL7}observation-category|{code}"
        for code in ("laboratory", "vital-signs", "social-history", "survey", "imaging", "activity")
    },
}
CATEGORIES_CALLED = {
    "encounter-diagnosis": "Diagnoses of visits",
    "problem-list-item": "Problem list",
    "health-concern": "Health concerns",
    "laboratory": "Laboratory results",
    "vital-signs": "Vital signs: blood pressure, pulse, weight and others",
    "social-history": "Social history: smoking and others",
    "survey": "Questionnaires and assessments",
    "imaging": "Findings of imaging",
    "activity": "Physical activity",
}
KINDS = tuple(type_ for type_ in CALLED if type_ not in ("*", "AuditEvent", "Location", "Organization", "Practitioner"))
WRITES = frozenset("cud")


class Line(NamedTuple):
    """One line of the page: `whole` is everything that was asked, `reading` is it without writing (or nothing).

    `kinds` are what it may be narrowed to, and how that is called: types of a wildcard, categories of a type.
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
    return Line(text, _said(scope), _said(scope._replace(permissions=reading)) if both else None, _kinds(scope))


def narrower(scope: Scope, kind: str) -> Scope:
    """The part of a scope that is of a kind."""
    if scope.type == "*":
        return scope._replace(type=kind)
    return scope._replace(criteria=scope.criteria | {f"category={CATEGORIES[scope.type][kind]}"})


def _kinds(scope: Scope) -> tuple[tuple[str, str], ...]:
    if scope.type == "*":
        return tuple((type_, _begun(CALLED[type_])) for type_ in KINDS)
    chosen = any(each.startswith("category=") for each in scope.criteria)
    return () if chosen else tuple((code, CATEGORIES_CALLED[code]) for code in CATEGORIES.get(scope.type, ()))


def _said(scope: Scope) -> str:
    """Of the user's own scopes it is said that they reach no further than the user does."""
    return _begun(described(scope)) + (", as far as you may yourself" if scope.level == "user" else "")


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
