"""The CapabilityStatement, from the registries that do the work: nothing is listed that is not wired.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from fhirserver.access.policy import knows
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.definitions import STRUCTURE
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.hierarchies import along
from fhirserver.interactions.own_operations import canonical
from fhirserver.interactions.profiles import Supported, supported
from fhirserver.interactions.summary import summarized
from fhirserver.interactions.terminology_capabilities import terminology_capabilities
from fhirserver.search.canonicals import leads
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.uses import said
from smart_auth.discovery import security

DATE = "2026-11-22"
INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
SYSTEM_INTERACTIONS = ("transaction", "batch", "search-system", "history-system")
FORMATS = ("application/fhir+json", "application/fhir+xml", "json", "xml")
PATCHES = ("application/json-patch+json", "application/fhir+json", "application/fhir+xml")
# https://hl7.org/fhir/R4/terminology-service.html: expand, lookup, validate-code, translate, closure
TERMINOLOGY_SERVER = "http://hl7.org/fhir/CapabilityStatement/terminology-server"
MODES = ("full", "normative", "terminology")

FILTER = {"name": "_filter", "type": "special", "definition": "http://hl7.org/fhir/SearchParameter/filter"}
LIST = {"name": "_list", "type": "special", "documentation": "members of a List, by its id"}


async def capabilities(ctx: Context, request: Request) -> Answer:
    """`mode=terminology` answers with TerminologyCapabilities: https://hl7.org/fhir/R4/http.html#capabilities"""
    mode = dict(request.pairs).get("mode", "full")
    if mode not in MODES:
        raise invalid(f"mode={mode} is not known; use full, normative or terminology", "mode")
    statement = await terminology_capabilities(ctx) if mode == "terminology" else await _cached(ctx)
    rest = tuple(pair for pair in request.pairs if pair[0] != "mode")
    return summarized(ctx, replace(request, pairs=rest), Answer(status=200, body=statement))


NONE: Supported = MappingProxyType({})
_statements: dict[tuple[str, bool], tuple[Registry, Supported, bytes]] = {}


async def _cached(ctx: Context) -> bytes:
    """Made again when the search parameters or the profiles change. What is stored is told to those who may use it."""
    profiles = await supported(ctx) if knows(ctx.caller) else NONE
    key = ctx.base_url, profiles is NONE
    registry, listed, known = _statements.get(key, (None, None, b""))
    if registry is not ctx.registry or listed != profiles:
        known = json.encode(statement(ctx, profiles))
        _statements[key] = (ctx.registry, profiles, known)
    return known


def statement(ctx: Context, profiles: Supported = NONE) -> dict[str, Any]:
    system: dict[str, Any] = {
        "mode": "server",
        "security": security(ctx.auth, cors=ctx.settings.cors_origins != ("none",)),
        "resource": [
            _resource(ctx, type_, profiles.get(type_, ())) for type_ in sorted(ctx.definitions.resource_types)
        ],
        "interaction": [{"code": code} for code in SYSTEM_INTERACTIONS],
        "searchParam": [*(_parameter(p, _lacking(ctx, p)) for p in _common(ctx)), FILTER, LIST],
    }
    if operations := _operations(ctx, ""):
        system["operation"] = operations
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{ctx.base_url}/metadata",
        "version": version("healthmate"),
        "name": "HealthMate",
        "title": "HealthMate FHIR server",
        "status": "active",
        "date": DATE,
        "publisher": "HealthMate",
        "kind": "instance",
        "instantiates": [TERMINOLOGY_SERVER],
        "software": {"name": "HealthMate", "version": version("healthmate")},
        "implementation": {"description": "HealthMate FHIR R4 server", "url": ctx.base_url},
        "fhirVersion": "4.0.1",
        "format": list(FORMATS),
        "patchFormat": list(PATCHES),
        "rest": [system],
    }


def _resource(ctx: Context, type_: str, profiles: Collection[str]) -> dict[str, Any]:
    parameters = ctx.registry[type_]
    includes = sorted(f"{type_}:{p.code}" for p in parameters.values() if leads(ctx.registry, p, type_))
    out: dict[str, Any] = {
        "type": type_,
        "profile": STRUCTURE + type_,
        "interaction": [{"code": code} for code in INTERACTIONS],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": ctx.settings.conditional_delete,
        "referencePolicy": ["literal", "logical", "local"]
        + (["enforced"] if ctx.settings.referential_integrity else []),
    }
    if profiles:
        out["supportedProfile"] = list(profiles)
    if includes:
        out["searchInclude"] = ["*", *includes]
    if reverse := sorted(_reverse(ctx).get(type_, ())):
        out["searchRevInclude"] = ["*", *reverse]
    listed = [FILTER, LIST, *(_parameter(p, along(ctx.registry, type_, p)) for p in parameters.values())]
    out["searchParam"] = sorted(listed, key=lambda parameter: parameter["name"])
    if operations := _operations(ctx, type_):
        out["operation"] = operations
    return out


def _reverse(ctx: Context) -> dict[str, set[str]]:
    return _reverse_of(ctx.registry, ctx.definitions.resource_types)


@lru_cache(maxsize=4)
def _reverse_of(registry: Any, types: frozenset[str]) -> dict[str, set[str]]:
    """{type: `Source:parameter` that may refer to it}; parameters that may refer to anything are left out."""
    out: dict[str, set[str]] = {}
    for source in types:
        for parameter in registry[source].values():
            if leads(registry, parameter, source) and len(parameter.targets) < len(types):
                for target in parameter.targets:
                    out.setdefault(target, set()).add(f"{source}:{parameter.code}")
    return out


def _parameter(parameter: Parameter, modifiers: str = "") -> dict[str, Any]:
    said_of = {"definition": parameter.url, "documentation": said(parameter) or modifiers}
    return {"name": parameter.code, "type": parameter.type} | {name: text for name, text in said_of.items() if text}


def _common(ctx: Context) -> list[Parameter]:
    """The parameters that a search over several types may use."""
    return [p for code, p in sorted(ctx.registry["Basic"].items()) if code.startswith("_")]


def _lacking(ctx: Context, parameter: Parameter) -> str:
    """Which types it cannot be asked of, so that a search of all types ignores it."""
    others = sorted(type_ for type_ in ctx.definitions.resource_types if parameter.code not in ctx.registry[type_])
    return f"not of {', '.join(others)}: name types by _type" if others else ""


def _operations(ctx: Context, type_: str) -> list[dict[str, str]]:
    named = {op.name: canonical(ctx, op.definition) for (on, *_), op in ctx.operations.items() if on == type_}
    return [{"name": name, "definition": definition} for name, definition in sorted(named.items())]
