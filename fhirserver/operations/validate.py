"""$validate: what is wrong with a resource, and whether the server would take it.

https://hl7.org/fhir/R4/resource-operation-validate.html. The answer is an OperationOutcome with 200, whatever it says;
another status says that there was nothing to validate, or no way to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import Issue, Outcome, invalid, operation_outcome
from fhirserver.fhir.places import placed
from fhirserver.fhir.xml.places import Path
from fhirserver.interactions.changes import storable
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.in_force import unclear_once_done
from fhirserver.interactions.integrity import check_references, check_unreferenced
from fhirserver.interactions.own_operations import check_not_own
from fhirserver.interactions.sight import current
from fhirserver.interactions.validation import checked, refusing, worst
from fhirserver.interactions.write import check_links, existing, identified
from fhirserver.operations.parameters import given, once, taken
from fhirserver.operations.registry import operation
from fhirserver.search.custom import SEARCH_PARAMETER, row

DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
MODES = ("create", "update", "delete", "profile")
NAMES = ("mode", "profile")
ELSEWHERE = {"name": "resource", "valueBoolean": True}  # in place of the resource, which is for the validator
Json = dict[str, Any]


class Asked(NamedTuple):
    """`resource` as it came; `at` is where in the body."""

    resource: Any
    at: Path
    mode: str | None
    profiles: tuple[str, ...]


@operation("validate", "", *sorted(r4().resource_types), instance=False, definition=DEFINITION)
@operation("validate", *sorted(r4().resource_types), instance=True, definition=DEFINITION)
async def validate(ctx: Context, request: Request, type_: str, id_: str | None) -> Answer:
    """The resource that was sent; on an instance where none was, the one that is stored."""
    authorize(ctx.caller, "validate", type_ or None)
    asked = _asked(ctx, request, type_)
    if asked.mode == "delete":
        issues = await _deletable(ctx, type_, id_)
    else:
        resource = asked.resource
        if resource is None:
            resource = await _stored(ctx, type_, id_)
        issues = await _issues(ctx, resource, asked, type_, id_)
        if asked.resource is not None:
            issues = placed(request.sent, issues, ctx.definitions, asked.at)
    if not issues:
        issues = [Issue("information", "informational", "nothing is wrong with it")]
    return Answer(status=200, body=json.encode(operation_outcome(issues)))


def _asked(ctx: Context, request: Request, type_: str) -> Asked:
    """The body is the resource itself, or Parameters with it and with what else could be in the URL."""
    body, values = request.body, [*request.pairs]
    at: Path = ()
    if isinstance(body, dict) and _is_call(body, type_):
        parameters = body.get("parameter", [])
        listed = parameters if isinstance(parameters, list) else []
        inside = [each for each in listed if _name(each) == "resource"]
        if len(inside) > 1:
            raise invalid("one resource is expected", "Parameters.parameter")
        shell = body | {"parameter": [ELSEWHERE if each in inside else each for each in listed]} if listed else body
        values += [each for each in given(ctx, replace(request, pairs=(), body=shell)) if each[0] != "resource"]
        body = inside[0].get("resource") if inside else None
        at = ("parameter", parameters.index(inside[0]), "resource") if body is not None else ()
    found = taken("$validate", values, NAMES)
    mode = once(found, "mode")
    if mode is not None and mode not in MODES:
        raise invalid(f"mode={mode[:80]} is none of {', '.join(MODES)}", "mode")
    profiles = tuple(each for each in found.get("profile", ()) if isinstance(each, str))
    if mode == "profile" and not profiles:
        raise invalid("mode=profile needs the profile", "profile", code="required")
    return Asked(body, at, mode, profiles)


def _is_call(body: Json, type_: str) -> bool:
    """Whether Parameters are those of this operation, and not a resource to validate."""
    if body.get("resourceType") != "Parameters":
        return False
    if type_ not in ("", "Parameters"):
        return True
    parameters = body.get("parameter")
    return isinstance(parameters, list) and all(_name(each) in ("resource", *NAMES) for each in parameters)


def _name(parameter: Any) -> str | None:
    name = parameter.get("name") if isinstance(parameter, dict) else None
    return name if isinstance(name, str) else None


async def _stored(ctx: Context, type_: str, id_: str | None) -> Json:
    if id_ is None:
        raise invalid("a resource is expected, as the body or in Parameters", "resource", code="required")
    authorize(ctx.caller, "read", type_)
    return json.resource(existing(await current(ctx, type_, id_), f"{type_}/{id_}").body)


async def _issues(ctx: Context, resource: Any, asked: Asked, type_: str, id_: str | None) -> list[Issue]:
    named = resource.get("resourceType") if isinstance(resource, dict) else None
    if type_ and isinstance(named, str) and named != type_:
        said = f"the URL says {type_}, the resource says {named[:80]}"
        return [Issue("error", "invalid", said, f"{named[:80]}.resourceType", rule="resource-type")]
    issues = await checked(ctx, resource, asked.profiles)
    if not refusing(issues) and named == SEARCH_PARAMETER:
        issues = worst([*issues, *_unusable(resource)])
    if not refusing(issues) and asked.mode in ("create", "update"):
        issues = worst([*issues, *await _refusals(ctx, resource, asked.mode, id_)])
    if ctx.validator.issues(resource):  # what it says cannot be read then
        return issues
    return worst([*issues, *unclear_once_done(ctx, resource)])


def _unusable(parameter: Json) -> list[Issue]:
    """Why a server could not find anything by an active SearchParameter."""
    try:
        row(parameter)
    except Outcome as refusal:
        return [*refusal.issues]
    return []


async def _refusals(ctx: Context, resource: Json, mode: str, id_: str | None) -> list[Issue]:
    """Why a valid resource would not be written all the same."""
    type_ = resource["resourceType"]
    target = id_ or resource.get("id")
    try:
        storable(resource)
        check_links(ctx, resource)
        if mode == "update":
            if target is None:
                raise invalid("an update needs an id, in the URL and in the resource", f"{type_}.id", code="required")
            check_not_own(ctx, type_, target)
            identified(resource, target)
        await check_references(ctx, {type_: resource})
    except Outcome as refusal:
        return [*refusal.issues]
    return []


async def _deletable(ctx: Context, type_: str, id_: str | None) -> list[Issue]:
    """Its content does not matter."""
    if id_ is None:
        raise invalid("mode=delete is asked of a resource, at [type]/[id]/$validate", "mode")
    authorize(ctx.caller, "read", type_)
    try:
        check_not_own(ctx, type_, id_)
        stored = existing(await current(ctx, type_, id_), f"{type_}/{id_}")
        await check_unreferenced(ctx, {stored.reference})
    except Outcome as refusal:
        return [*refusal.issues]
    return []
