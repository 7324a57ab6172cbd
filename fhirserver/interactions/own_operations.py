"""The operations that no other server has to know, as OperationDefinitions: generated, and read only.

https://hl7.org/fhir/R4/operationdefinition.html. Their canonical URLs are where they are read.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context, Described, Parameter
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.exchange import Answer

TYPE = "OperationDefinition"
DATE = "2026-11-25"


def canonical(ctx: Context, definition: str | Described) -> str:
    return definition if isinstance(definition, str) else f"{ctx.base_url}/{TYPE}/{definition.id}"


def own_definition(ctx: Context, type_: str, id_: str) -> Described | None:
    """What is read at this place because the server has such an operation."""
    if type_ != TYPE:
        return None
    every = (each.definition for each in ctx.operations.values())
    return next((each for each in every if isinstance(each, Described) and each.id == id_), None)


def read_own(ctx: Context, own: Described) -> Answer:
    authorize(ctx.caller, "read", TYPE)
    return Answer(status=200, body=json.encode(_resource(ctx, own)))


def check_not_own(ctx: Context, type_: str, id_: str) -> None:
    """405 for a write to what describes this server."""
    if own_definition(ctx, type_, id_) is not None:
        message = f"{type_}/{id_} describes an operation of this server and can only be read"
        raise Outcome(405, "not-supported", message, headers=(("allow", "GET"),))


def _resource(ctx: Context, own: Described) -> dict[str, Any]:
    levels = [(type_, each) for (type_, *_), each in ctx.operations.items() if each.definition is own]
    types = sorted({type_ for type_, _ in levels if type_})
    named: dict[str, Any] = {"resource": ["Resource"] if len(types) == len(ctx.definitions.resource_types) else types}
    return {
        "resourceType": TYPE,
        "id": own.id,
        "url": canonical(ctx, own),
        "version": version("healthmate"),
        "name": "".join(word.capitalize() for word in own.id.split("-")),
        "title": own.title,
        "status": "active",
        "kind": "operation",
        "date": DATE,
        "publisher": "HealthMate",
        "description": own.description,
        "affectsState": own.affects_state,
        "code": levels[0][1].name,
        **(named if types else {}),
        "system": any(not type_ for type_, _ in levels),
        "type": any(type_ and not each.instance for type_, each in levels),
        "instance": any(each.instance for _, each in levels),
        "parameter": [_parameter(each) for each in own.parameters],
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    said = {key: getattr(parameter, key) for key in ("name", "use", "min", "max", "documentation")}
    if parameter.type is not None:
        return said | {"type": parameter.type}
    head = {"use": parameter.use, "min": 0, "max": "*"}
    return said | {"part": [{"name": name, **head, "type": type_} for name, type_ in parameter.parts]}
