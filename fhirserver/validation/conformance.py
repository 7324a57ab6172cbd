"""Whether a resource that keeps the rules of its type keeps those of profiles too.

Asked are the profiles that it must keep, those that it says it keeps, as do the resources in it, and the definitions of
all extensions. https://hl7.org/fhir/R4/profiling.html#resources
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fhirserver.fhir.definitions import Definitions
from fhirserver.fhir.fhirpath import Hooks
from fhirserver.fhir.fhirpath.scope import NO_HOOKS
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.extensions import extensions
from fhirserver.validation.findings import Finding, Question, under
from fhirserver.validation.narrowing import conforms
from fhirserver.validation.places import at, objects
from fhirserver.validation.profiles import Profile
from fhirserver.validation.reading import Json
from fhirserver.validation.references import Container
from fhirserver.validation.words import shown

SAYING = frozenset({"resourceType", "extension", "modifierExtension"})  # what holds something to be asked here


def conformance(
    resource: Json,
    asked: Iterable[str],
    profiles: Mapping[str, Profile],
    definitions: Definitions,
    hooks: Hooks = NO_HOOKS,
) -> list[Finding]:
    """What is wrong, and what is to be asked of terminology; expressions begin with the type of the resource."""
    container = Container(resource, hooks, profiles)
    container.hooks = hooks._replace(conforms_to=_conforms_to(container, profiles))
    found: list[Finding] = []
    for canonical in asked:
        found += _kept(canonical, resource, container, profiles)
    for steps, node in objects(resource):
        if SAYING.isdisjoint(node):
            continue
        place = at(resource, steps, container, definitions)
        for i, canonical in enumerate(claims(node) if "resourceType" in node else ()):
            problems = _kept(canonical, node, place.container, profiles, f".meta.profile[{i}]")
            found += under(place.expression, problems)
        found += extensions(place, profiles, definitions)
    return under(resource["resourceType"], list(_once(found)))


def named(resource: Json) -> set[str]:
    """Canonicals of the profiles and extensions that it names, also within."""
    found: set[str] = set()
    for _, node in objects(resource):
        if "resourceType" in node:
            found.update(claims(node))
        for key in ("extension", "modifierExtension"):
            found.update(each["url"] for each in node.get(key, ()) if ":" in each["url"])
    return found


def _conforms_to(container: Container, profiles: Mapping[str, Profile]) -> Callable[[Any, str], bool | None]:
    """Of FHIRPath, for resources: https://hl7.org/fhir/R4/fhirpath.html#functions"""

    def answer(value: Any, canonical: str) -> bool | None:
        profile = profiles.get(canonical)
        if profile is None or type(value) is not dict or "resourceType" not in value:
            return None
        return conforms(profile, value, container.entered(value))

    return answer


def claims(resource: Json) -> list[str]:
    """Canonicals of the profiles that a resource says it keeps."""
    return [each for each in resource.get("meta", {}).get("profile", ()) if each is not None]


def _kept(
    canonical: str, resource: Json, container: Container, profiles: Mapping[str, Profile], claimed: str = ""
) -> list[Finding]:
    profile = profiles.get(canonical)
    if profile is not None:
        return profile.check(resource, container) or []
    said = f"the profile {shown(canonical)} is not known here, so it is not checked"
    return [Issue("warning", "not-found", said, claimed, rule="profile-unknown")]


def _once(findings: list[Finding]) -> Iterator[Finding]:
    """One cause is one issue, whichever profiles say so."""
    seen: set[tuple[str | None, ...]] = set()
    for each in findings:
        said = (each.strength, each.value_set) if isinstance(each, Question) else (each.rule or "", each.diagnostics)
        known = each.expression, each.severity, *said
        if known not in seen:
            seen.add(known)
            yield each
