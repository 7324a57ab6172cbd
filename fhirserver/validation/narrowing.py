"""Values that must conform to a profile, and references that must lead to what conforms to one.

https://hl7.org/fhir/R4/profiling.html#mustsupport, https://hl7.org/fhir/R4/elementdefinition.html#ElementDefinition.type
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fhirserver.fhir.definitions import STRUCTURE, Definitions
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.findings import Finding, Issues, Question, issue, located, wrong
from fhirserver.validation.reading import Ask, Json
from fhirserver.validation.references import Container, Known, target, target_type
from fhirserver.validation.trees import Type
from fhirserver.validation.words import one_of, shown


def conforming(profiles: tuple[str, ...], type_: str) -> Ask:
    """The value of an element, of a type, keeps one of the profiles."""

    def ask(value: Any, sibling: Json | None, container: Container) -> Issues:
        inside = container.entered(value) if "resourceType" in value else container
        known = [profile for url in profiles if (profile := container.profiles.get(url))]
        fitting = [each for each in known if each.type == type_]
        if len(fitting) == 1 == len(profiles):
            return fitting[0].check(value, inside)
        if some(conforms(each, value, inside) for each in fitting) is not False:
            return None
        if len(known) < len(profiles):
            return unchecked(profiles, container)
        return issue("structure", f"it conforms to none of the profiles {one_of(profiles)}", "type-profile")

    return ask


def unchecked(profiles: Iterable[str], container: Container) -> list[Finding]:
    missing = [url for url in profiles if url not in container.profiles]
    said = f"the profile {one_of(missing)} is not known here, so it is not checked"
    return [Issue("warning", "not-found", said, "", rule="profile-unknown")]


def conforms(profile: Known, value: Json, container: Container) -> bool | None:
    """Whether a value keeps a profile, asked once for each; None where only terminology can tell.

    What is asked while it is being answered is taken to.
    """
    asked = id(value), profile.url
    answers = container.trials.answers
    if asked not in answers:
        answers[asked] = value, True
        container.trials.spend(1)
        answers[asked] = value, _kept(profile.check(value, container) or [], container)
    return answers[asked][1]


def _kept(findings: list[Finding], container: Container) -> bool | None:
    if wrong(findings):
        return False
    member = container.hooks.member_of
    required = [each for each in findings if isinstance(each, Question) and each.strength == "required"]
    return every(member(each.value, each.value_set) if member else None for each in required)


def every(answers: Iterable[bool | None]) -> bool | None:
    """Whether all are true, as far as it is known."""
    known = [*answers]
    return False if False in known else None if None in known else True


def some(answers: Iterable[bool | None]) -> bool | None:
    """Whether any is true, as far as it is known."""
    known = [*answers]
    return True if True in known else None if None in known else False


def referring(type_: Type, base: frozenset[str], definitions: Definitions) -> Ask | None:
    """The targets that a profile leaves of those of the type, and how they may be given."""
    local = {url: url.removeprefix(STRUCTURE) for url in type_.targets}
    plain = {name for name in local.values() if name in definitions.types}
    profiles = tuple(url for url, name in local.items() if name not in definitions.types)
    narrower = bool(type_.targets) and (bool(profiles) or plain != base)
    how = _aggregation(type_)
    if not narrower:
        return how
    led = _led(plain, profiles, definitions)
    if how is None:
        return led
    given = how
    return lambda value, sibling, container: given(value, sibling, container) or led(value, sibling, container)


def _led(plain: set[str], profiles: tuple[str, ...], definitions: Definitions) -> Ask:
    resource_types = definitions.resource_types
    checks: dict[frozenset[str], Any] = {}

    def ask(value: Json, sibling: Json | None, container: Container) -> Issues:
        known = [profile for url in profiles if (profile := container.profiles.get(url))]
        if len(known) < len(profiles):
            return None  # it may be of a type that only the unknown profile can tell
        types = frozenset(plain).union(each.type for each in known)
        if types not in checks:
            checks[types] = target(tuple(types), resource_types)
        if problem := checks[types](value, container):
            return located(problem)
        reference = value.get("reference")
        resource = container.resolve(reference) if reference else None
        if resource is None or resource["resourceType"] in plain or "Resource" in plain:
            return None
        inside = container.entered(resource)
        fitting = [each for each in known if each.type == resource["resourceType"]]
        if not fitting or some(conforms(each, resource, inside) for each in fitting) is not False:
            return None
        asked = one_of(each.url for each in fitting)
        return issue(
            "value", f"{shown(reference)} leads to a resource that does not conform to {asked}", "type-profile"
        )

    return ask


def _aggregation(type_: Type) -> Ask | None:
    """https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html"""
    allowed = frozenset(type_.aggregation)
    versioned = {"specific": True, "independent": False}.get(type_.versioning or "")
    if not allowed and versioned is None:
        return None

    def ask(value: Json, sibling: Json | None, container: Container) -> Issues:
        reference = value.get("reference")
        if reference is None:
            return None
        given = "contained" if reference[:1] == "#" else "referenced"
        bundled = given == "referenced" and "bundled" in allowed and container.resolve(reference) is not None
        if allowed and given not in allowed and not bundled:
            said = f"{shown(reference)} is {given}, and here it must be {one_of(allowed)}"
            return issue("value", said, "reference-aggregation", ".reference")
        if versioned is not None and ("/_history/" in reference) is not versioned:
            said = f"{shown(reference)} must {'' if versioned else 'not '}name a version here"
            return issue("value", said, "reference-aggregation", ".reference")
        return None

    return ask


def type_of_target(value: Any, container: Container, definitions: Definitions) -> str | None:
    """The type of what a reference leads to, as far as that can be told."""
    if type(value) is not dict:
        return None
    resource = container.resolve(value["reference"]) if "reference" in value else None
    return resource["resourceType"] if resource else target_type(value, container, definitions.resource_types)
