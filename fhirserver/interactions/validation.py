"""All that is known to be wrong with a resource, or not as it should be. https://hl7.org/fhir/R4/validation.html

The rules of its type come first, since all others rest on them: then profiles and extensions, then codes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache, partial
from typing import Any

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.fhirpath import Hooks
from fhirserver.fhir.outcome import Issue, Outcome, unprocessable
from fhirserver.interactions.bindings import answered, members
from fhirserver.interactions.profiles import known
from fhirserver.validation.conformance import conformance, named
from fhirserver.validation.findings import MOST_ISSUES, Finding, Question, wrong
from fhirserver.validation.kept import Member
from fhirserver.validation.profiles import Profile

MOST_ROUNDS = 4  # of asking terminology which slices values belong to, before what is within these is known
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
    kept = await known(ctx, {*nominated, *required, *named(resource)})
    for url in nominated:
        if url not in kept.profiles:
            raise Outcome(404, "not-found", f"the profile {url[:300]} is not known here", "profile")
    for _ in range(MOST_ROUNDS):
        asked: dict[Member, Any] = {}
        hooks = Hooks(member_of=partial(_told, kept.members, asked))
        ways = [(*nominated, each) for each in required] or [(*nominated,)]
        alternatives = [_conformance(ctx, resource, way, kept.profiles, hooks) for way in ways]
        if not asked:
            break
        kept.members |= await members(ctx, asked)
    best = min(alternatives, key=lambda found: sum(each.severity == "error" for each in found))
    if len(required) > 1 and wrong(best):
        said = f"a {resource['resourceType']} has to conform to one of {', '.join(required)} here; these are nearest"
        best.insert(0, Issue("error", "structure", said, resource["resourceType"], rule="profile-required"))
    return best


def _told(known: Mapping[Member, bool | None], asked: dict[Member, Any], value: Any, value_set: str) -> bool | None:
    """Whether a value is in a value set, as far as it was asked before."""
    member = Member(value_set, json.encode(value))
    if member not in known:
        asked[member] = value
    return known.get(member)


def _conformance(
    ctx: Context, resource: Json, asked: Iterable[str], profiles: Mapping[str, Profile], hooks: Hooks
) -> list[Finding]:
    type_ = resource["resourceType"]
    present = [url for url in dict.fromkeys(asked) if url in profiles]
    missing = [url for url in asked if url not in profiles]
    said = "a {} has to conform to {}, which is not known here"
    unknown = [Issue("error", "not-found", said.format(type_, url), type_, rule="profile-unknown") for url in missing]
    return [*unknown, *conformance(resource, present, profiles, ctx.definitions, hooks)]


@cache
def _required(setting: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """By type, of which the settings name one or several."""
    found: dict[str, tuple[str, ...]] = {}
    for each in setting:
        type_, _, url = each.partition("=")
        found[type_] = (*found.get(type_, ()), url)
    return found
