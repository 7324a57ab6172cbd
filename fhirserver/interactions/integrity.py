"""Referential integrity, where the operator asks for it: no reference to nowhere, no deletion under a reference.

https://hl7.org/fhir/R4/http.html#delete
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from typing import Any

from fhirserver.context import Context
from fhirserver.fhir.outcome import Issue, Outcome, unprocessable
from fhirserver.fhir.references import parse
from fhirserver.interactions.sight import seen

Resource = dict[str, Any]


async def check_references(
    ctx: Context, resources: Mapping[str, Resource], arriving: Set[str] = frozenset(), leaving: Set[str] = frozenset()
) -> None:
    """422 that names each reference to a resource that is not here, or `leaving`, nor `arriving` with this request.

    `resources` by their place in the request.
    """
    if not ctx.settings.referential_integrity:
        return
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for place, resource in resources.items():
        own = f"{resource['resourceType']}/{resource.get('id')}"
        for path, reference in _references(resource, place):
            literal = parse(reference.removeprefix(ctx.base_url + "/"))
            if literal is None or literal.base is not None:
                continue
            name = f"{literal.type}/{literal.id}"
            if name != own and name not in arriving:
                wanted[literal.type].setdefault(literal.id, path)
    issues = []
    for type_, ids in wanted.items():
        found = {each.id for each in await seen(ctx, await ctx.store.read_stored(type_, ids)) if not each.deleted}
        for id_ in ids.keys() - {id_ for id_ in found if f"{type_}/{id_}" not in leaving}:
            issues.append(Issue("error", "not-found", f"{type_}/{id_} is referred to and not known here", ids[id_]))
    if issues:
        raise unprocessable(issues)


async def check_unreferenced(ctx: Context, leaving: set[str], arriving: Set[str] = frozenset()) -> None:
    """409 that names a resource which still refers to one of those that are to be deleted, and is not replaced."""
    if not ctx.settings.referential_integrity or not leaving:
        return
    settled = leaving | arriving
    for type_ in await ctx.store.types():
        codes = [code for code, parameter in ctx.registry[type_].items() if parameter.type == "reference"]
        clauses = [{f"search.{code}": {"$in": sorted(leaving)}} for code in codes]
        if not clauses:
            continue
        for found in await ctx.store.find_stored(type_, {"$or": clauses, "deleted": None}, len(settled) + 1):
            if found.reference not in settled:
                names = ", ".join(sorted(leaving))
                who = found.reference if await seen(ctx, [found]) else "something else"
                raise Outcome(409, "conflict", f"{who} refers to {names}; delete or change it first")


def _references(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from _references(child, f"{path}[{index}]")
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == "reference" and isinstance(child, str):
                yield f"{path}.reference", child
            elif key == "resource" and isinstance(child, dict) and "resourceType" in child:
                continue  # in a Bundle: what it refers to lies beside it, https://hl7.org/fhir/R4/bundle.html#references
            elif isinstance(child, (dict, list)):
                yield from _references(child, f"{path}.{key}")
