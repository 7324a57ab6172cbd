"""All that is known to be wrong with a resource, or not as it should be. https://hl7.org/fhir/R4/validation.html

The rules of its type come first, since all others rest on them: then profiles and extensions, then codes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from fhirserver.context import Context
from fhirserver.fhir.outcome import Issue, Outcome, unprocessable
from fhirserver.interactions.bindings import answered
from fhirserver.interactions.profiles import known
from fhirserver.validation.conformance import conformance, named
from fhirserver.validation.findings import MOST_ISSUES, Finding, Question, wrong
from fhirserver.validation.profiles import Profile

SEVERITIES = ("fatal", "error", "warning", "information")
Json = dict[str, Any]


async def approved(ctx: Context, resource: Json) -> None:
    """Raises a 422 Outcome for what keeps the rules of its type and breaks those of profiles, where these count."""
    if ctx.settings.validation == "profiles" and (issues := refusing(await checked(ctx, resource))):
        raise unprocessable(issues)


async def checked(ctx: Context, resource: Any, nominated: Collection[str] = ()) -> list[Issue]:
    """Errors first, and warnings; at most a hundred. A `nominated` profile that is not known is a 404 Outcome."""
    found = ctx.validator.thorough(resource)
    issues, questions = found.issues, found.questions
    if not refusing(issues):
        findings = await _of_profiles(ctx, resource, nominated)
        issues = issues + [each for each in findings if isinstance(each, Issue)]
        questions = questions + [each for each in findings if isinstance(each, Question)]
    elif nominated:
        said = "the profile is asked when the rules of the type are kept"
        issues = [*issues, Issue("information", "informational", said, rule="profile-unasked")]
    return worst([*issues, *await answered(ctx, questions)])


def worst(issues: Iterable[Issue]) -> list[Issue]:
    """In the order of severity, each once."""
    return sorted(dict.fromkeys(issues), key=lambda issue: SEVERITIES.index(issue.severity))[:MOST_ISSUES]


def refusing(issues: Iterable[Issue]) -> list[Issue]:
    return [issue for issue in issues if issue.severity in ("error", "fatal")]


async def _of_profiles(ctx: Context, resource: Json, nominated: Collection[str]) -> list[Finding]:
    required = _required(ctx.settings.required_profiles).get(resource["resourceType"], ())
    profiles = await known(ctx, {*nominated, *required, *named(resource)})
    for url in nominated:
        if url not in profiles:
            raise Outcome(404, "not-found", f"the profile {url[:300]} is not known here", "profile")
    alternatives = [_conformance(ctx, resource, nominated, profiles, (each,)) for each in required]
    if not alternatives:
        return _conformance(ctx, resource, nominated, profiles)
    best = min(alternatives, key=lambda found: sum(each.severity == "error" for each in found))
    if len(required) > 1 and wrong(best):
        said = f"a {resource['resourceType']} has to conform to one of {', '.join(required)} here; these are nearest"
        best.insert(0, Issue("error", "structure", said, resource["resourceType"], rule="profile-required"))
    return best


def _conformance(
    ctx: Context,
    resource: Json,
    nominated: Collection[str],
    profiles: Mapping[str, Profile],
    required: tuple[str, ...] = (),
) -> list[Finding]:
    missing: list[Finding] = [
        Issue("error", "not-found", f"a {resource['resourceType']} has to conform to {url}, which is not known here")
        for url in required
        if url not in profiles
    ]
    asked = [url for url in dict.fromkeys((*nominated, *required)) if url in profiles]
    return missing + conformance(resource, asked, profiles, ctx.definitions)


@cache
def _required(setting: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """By type, of which the settings name one or several."""
    found: dict[str, tuple[str, ...]] = {}
    for each in setting:
        type_, _, url = each.partition("=")
        found[type_] = (*found.get(type_, ()), url)
    return found
