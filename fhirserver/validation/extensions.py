"""Extensions, each checked by its definition: its content, where it stands, and whether it changes the meaning of that.

https://hl7.org/fhir/R4/extensibility.html, https://hl7.org/fhir/R4/defining-extensions.html#context
"""

from __future__ import annotations

from collections.abc import Mapping

from fhirserver.fhir.definitions import STRUCTURE, Definitions
from fhirserver.fhir.fhirpath import FhirPathError, Node, compile_expression
from fhirserver.fhir.outcome import Issue
from fhirserver.validation.additions import named
from fhirserver.validation.findings import Finding, issue, under
from fhirserver.validation.places import Place
from fhirserver.validation.profiles import Context, Profile
from fhirserver.validation.reading import Json
from fhirserver.validation.words import one_of, shown

# where R4 and the guides on it put extensions that R4 declares for fewer places
ALSO = {
    STRUCTURE + "capabilitystatement-expectation": "Element",
    STRUCTURE + "regex": "ElementDefinition.type",
    STRUCTURE + "structuredefinition-fhir-type": "ElementDefinition.type",
    STRUCTURE + "structuredefinition-normative-version": "ElementDefinition",
}
KEYS = ("extension", "modifierExtension")


def extensions(place: Place, profiles: Mapping[str, Profile], definitions: Definitions) -> list[Finding]:
    """What is wrong with the extensions that an element holds, in a resource that keeps the rules of its type."""
    found: list[Finding] = []
    for key in KEYS:
        for index, extension in enumerate(place.node.get(key, ())):
            if problems := _checked(extension, key, place, profiles, definitions):
                found += under(f"{place.expression}.{key}[{index}]", problems)
    return found


def _checked(
    extension: Json, key: str, place: Place, profiles: Mapping[str, Profile], definitions: Definitions
) -> list[Finding] | None:
    url: str = extension["url"]
    profile = profiles.get(url)
    if profile is not None and profile.type == "Extension":
        misplaced = _misplaced(profile, key, place, definitions)
        return named(url, misplaced) if misplaced else profile.check(extension, place.container)
    if ":" not in url:
        return None  # a part of the extension around it, which says what its parts are
    return _unknown(url, key)


def _unknown(url: str, key: str) -> list[Finding]:
    """https://hl7.org/fhir/R4/extensibility.html#modifierExtension"""
    if key == "extension":
        said = f"the extension {shown(url)} is not known here, so it is not checked"
        return [Issue("information", "not-found", said, ".url", rule="extension-unknown")]
    said = f"{shown(url)} changes the meaning of what it stands in, and is not known here"
    return [Issue("warning", "not-found", said, ".url", rule="extension-unknown")]


def _misplaced(profile: Profile, key: str, place: Place, definitions: Definitions) -> list[Finding] | None:
    if profile.modifier is not (key == "modifierExtension"):
        where = "modifierExtension" if profile.modifier else "extension"
        return issue("structure", f"this extension stands in {where}, as its definition says", "extension-modifier")
    places = (*profile.context, *(Context("element", also) for url, also in ALSO.items() if url == profile.url))
    if profile.context and not any(_allowed(each, place, definitions) for each in places):
        allowed = one_of(each.expression for each in profile.context)
        said = f"this extension may not stand in {place.paths[0]}, only in {allowed}"
        return issue("structure", said, "extension-context")
    for text in profile.invariants:
        if not _holds(text, place, definitions):
            return issue("invariant", f"this extension may stand only where {text}", "extension-context")
    return None


def _allowed(context: Context, place: Place, definitions: Definitions) -> bool:
    if context.type == "extension":
        return place.type == "Extension" and place.value["url"] == context.expression
    if context.type == "fhirpath":
        return _selected(context.expression, place, definitions)
    wanted = context.expression.removeprefix(STRUCTURE).rpartition("#")[2].replace("[x]", "")
    return wanted in ("Element", "*") or wanted in place.paths or definitions.is_a(place.type, wanted)


def _selected(expression: str, place: Place, definitions: Definitions) -> bool:
    """Whether the element is one of those that an expression finds in its resource."""
    try:
        found = compile_expression(expression, definitions).nodes(place.container.inner, hooks=place.container.hooks)
    except FhirPathError:
        return True  # what cannot be evaluated forbids nothing
    return any(node.place == place.keys for node in found)


def _holds(text: str, place: Place, definitions: Definitions) -> bool:
    inner, outer = place.container.inner, place.container.resource
    resource, root = Node(inner, inner["resourceType"]), Node(outer, outer["resourceType"])
    element = resource if place.value is inner else Node(place.value, place.type, place.sibling)
    try:
        return compile_expression(text, definitions).holds(element, resource, root, place.container.hooks)
    except FhirPathError:
        return True
