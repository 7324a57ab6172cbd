"""What a check finds: issues, and questions that only the terminology service can answer.

A check gives None or a list; expressions begin at the value that was checked (`.name[0]`), and each level above puts
its own step before them, so that what is right pays for no expression. The rules are listed in docs/validation.md.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fhirserver.fhir.outcome import Issue

MOST_ISSUES: Final = 100
MOST_FINDINGS: Final = 5_000  # with the questions


class Problem(NamedTuple):
    """Of one value, with no place yet. `code` is an IssueType, `rule` a stable code of ours."""

    code: str
    said: str
    rule: str
    constraint: str | None = None
    severity: str = "error"


class Question(NamedTuple):
    """Whether a coded value is in a value set. `type` is that of the value: code, Coding, CodeableConcept, Quantity…"""

    strength: str
    value_set: str
    type: str
    value: Any
    expression: str | None = ""
    profile: str | None = None
    severity: str = "question"


Finding = Issue | Question
Issues = list[Finding] | None


def issue(code: str, said: str, rule: str, expression: str = "", constraint: str | None = None) -> list[Finding]:
    """One error; its expression begins at the object being checked."""
    return [Issue("error", code, said, expression, rule=rule, constraint=constraint)]


def located(problem: Problem, expression: str = "") -> list[Finding]:
    code, said, rule, constraint, severity = problem
    return [Issue(severity, code, said, expression, rule=rule, constraint=constraint)]


def under(step: str, findings: list[Finding]) -> list[Finding]:
    return [each._replace(expression=step + (each.expression or "")) for each in findings]


def full(findings: list[Finding]) -> bool:
    """Whether there is no need to look for more."""
    if len(findings) < MOST_ISSUES:
        return False
    return len(findings) >= MOST_FINDINGS or sum(each.severity == "error" for each in findings) >= MOST_ISSUES


def wrong(findings: Issues) -> bool:
    """Whether there is an error among them, so that what rests on the value being right is not asked."""
    return findings is not None and any(each.severity == "error" for each in findings)
