"""Referential integrity, where the operator asks for it: no reference to nowhere, no deletion under a reference.

https://hl7.org/fhir/R4/http.html#delete
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fhirserver.context import Context
from fhirserver.fhir.outcome import Issue, Outcome, unprocessable
from fhirserver.fhir.references import parse

Resource = dict[str, Any]


async def check_references(ctx: Context, resources: list[Resource], arriving: frozenset[str] = frozenset()) -> None:
    """422 that names each reference to a resource that is neither here nor `arriving` with this request."""
    if not ctx.settings.referential_integrity:
        return
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for resource in resources:
        for path, reference in _references(resource, resource["resourceType"]):
            literal = parse(reference.removeprefix(ctx.base_url + "/"))
            if literal and literal.base is None and f"{literal.type}/{literal.id}" not in arriving:
                wanted[literal.type].setdefault(literal.id, path)
    issues = []
    for type_, ids in wanted.items():
        found = {d["_id"] for d in await ctx.store.read_many(type_, ids) if "deleted" not in d}
        for id_ in ids.keys() - found:
            issues.append(Issue("error", "not-found", f"{type_}/{id_} is referred to and not known here", ids[id_]))
    if issues:
        raise unprocessable(issues)


async def check_unreferenced(ctx: Context, leaving: set[str]) -> None:
    """409 that names a resource which still refers to one of those that are to be deleted."""
    if not ctx.settings.referential_integrity or not leaving:
        return
    for type_ in await ctx.store.types():
        codes = [code for code, parameter in ctx.registry[type_].items() if parameter.type == "reference"]
        clauses = [{f"search.{code}": {"$in": sorted(leaving)}} for code in codes]
        if not clauses:
            continue
        for found in await ctx.store.find_stored(type_, {"$or": clauses, "deleted": None}, len(leaving) + 1):
            if found.reference not in leaving:
                names = ", ".join(sorted(leaving))
                raise Outcome(409, "conflict", f"{found.reference} refers to {names}; delete or change it first")


def _references(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from _references(child, f"{path}[{index}]")
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == "reference" and isinstance(child, str):
                yield f"{path}.reference", child
            elif isinstance(child, (dict, list)):
                yield from _references(child, f"{path}.{key}")
