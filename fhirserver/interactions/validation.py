"""All that is known to be wrong with a resource, or not as it should be. https://hl7.org/fhir/R4/validation.html"""

from __future__ import annotations

from typing import Any

from fhirserver.context import Context
from fhirserver.fhir.outcome import Issue
from fhirserver.interactions.bindings import answered
from fhirserver.validation.findings import MOST_ISSUES

SEVERITIES = ("fatal", "error", "warning", "information")


async def checked(ctx: Context, resource: Any) -> list[Issue]:
    """Errors first, and warnings; at most a hundred."""
    found = ctx.validator.thorough(resource)
    return worst([*found.issues, *await answered(ctx, found.questions)])


def worst(issues: list[Issue]) -> list[Issue]:
    """In the order of severity, each once."""
    return sorted(dict.fromkeys(issues), key=lambda issue: SEVERITIES.index(issue.severity))[:MOST_ISSUES]


def refusing(issues: list[Issue]) -> list[Issue]:
    return [issue for issue in issues if issue.severity in ("error", "fatal")]
