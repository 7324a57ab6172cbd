"""The one refusal of this server: an OperationOutcome that carries its own HTTP status.

Raise it where the fact is known; `rest` writes it and nobody translates it on the way.
https://hl7.org/fhir/R4/operationoutcome.html, codes: https://hl7.org/fhir/R4/valueset-issue-type.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

# What neither a FHIR string nor XML may hold, and client text that is quoted here may: https://www.w3.org/TR/xml/#charsets
_unwritable = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# The systems of the codings in `details`: which rule of ours, which invariant, which profile it was that was broken.
RULE, CONSTRAINT, PROFILE = "urn:healthmate:rule", "urn:healthmate:constraint", "urn:healthmate:profile"


HTTP = "http"


def in_query(name: str) -> str:
    """The `expression` of an issue about a parameter of the URL, by its name with what follows it there.

    https://hl7.org/fhir/R4/operationoutcome-definitions.html#OperationOutcome.issue.location
    """
    return f"{HTTP}.{name[:80]}"


class Issue(NamedTuple):
    """One issue. `expression` is a FHIRPath that locates it, or `in_query`; `line` and `column` of the text are from 1.

    Of validation: `rule` is a code that stays the same over releases (docs/validation.md), `constraint` the key of the
    invariant that is broken, `profile` the canonical URL of the profile that asks for it.
    """

    severity: str
    code: str
    diagnostics: str
    expression: str | None = None
    line: int | None = None
    column: int | None = None
    rule: str | None = None
    constraint: str | None = None
    profile: str | None = None

    def json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"severity": self.severity, "code": self.code, "diagnostics": _written(self.diagnostics)}
        named = ((RULE, self.rule), (CONSTRAINT, self.constraint), (PROFILE, self.profile))
        if codings := [{"system": system, "code": code} for system, code in named if code is not None]:
            out["details"] = {"coding": codings}
        if self.line is not None:
            column = "" if self.column is None else f", column {self.column}"
            out["location"] = [f"line {self.line}{column}"]
        if self.expression:
            out["expression"] = [_written(self.expression)]
        return out

    def under(self, prefix: str) -> Issue:
        """The same issue seen from outside: `Patient.name` under `Bundle.entry[3].resource`.

        A parameter is no element of what it is under.
        """
        root, dot, rest = (self.expression or "").partition(".")
        return self._replace(expression=f"{prefix}.{rest}" if dot and root != HTTP else prefix)


class Outcome(Exception):
    """A request refused: HTTP status, issues, and headers that the status calls for."""

    def __init__(
        self,
        status: int,
        code: str,
        diagnostics: str,
        expression: str | None = None,
        *,
        issues: tuple[Issue, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(diagnostics)
        self.status = status
        self.issues = issues or (Issue("error", code, diagnostics, expression),)
        self.headers = headers

    def resource(self) -> dict[str, Any]:
        return operation_outcome(self.issues)

    def under(self, prefix: str) -> Outcome:
        issues = tuple(issue.under(prefix) for issue in self.issues)
        return self.saying(issues)

    def saying(self, issues: Iterable[Issue]) -> Outcome:
        """The same refusal with more known of its issues."""
        return Outcome(self.status, self.issues[0].code, str(self), issues=tuple(issues), headers=self.headers)


def _written(text: str) -> str:
    return _unwritable.sub("\ufffd", text)


def operation_outcome(issues: tuple[Issue, ...] | list[Issue]) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [issue.json() for issue in issues]}


def invalid(diagnostics: str, expression: str | None = None, *, code: str = "invalid") -> Outcome:
    """400: the request cannot be understood."""
    return Outcome(400, code, diagnostics, expression)


def unprocessable(issues: list[Issue]) -> Outcome:
    """422: understood, and against the rules of FHIR or of a profile."""
    return Outcome(422, issues[0].code, issues[0].diagnostics, issues=tuple(issues))


def not_found(reference: str) -> Outcome:
    return Outcome(404, "not-found", f"{reference} is not known here")


def gone(reference: str) -> Outcome:
    return Outcome(410, "deleted", f"{reference} was deleted; its versions are in {reference}/_history")


def too_costly(diagnostics: str) -> Outcome:
    """422 too-costly: https://hl7.org/fhir/R4/valueset-issue-type.html"""
    return Outcome(422, "too-costly", diagnostics)
