"""Parts of resources: `_summary` and `_elements`. https://hl7.org/fhir/R4/search.html#summary

A part is marked SUBSETTED, so that nobody writes it back by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.definitions import Definitions, Element
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.search.query_reader import MAX_ELEMENTS
from fhirserver.search.unused import Parts, Unused, unused

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
ALWAYS = ("resourceType", "id", "meta")
PARAMETERS = frozenset({"_summary", "_elements", "_format", "_pretty"})
MODES = ("true", "text", "data", "count", "false")


class Part(NamedTuple):
    """Which part is asked for. `elements` are names at the top level, or `Type.name`."""

    summary: str = "false"
    elements: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        return not self.elements and self.summary in ("false", "count")

    def without(self, unused: Collection[Unused]) -> Part:
        names = self.elements.difference(each.element for each in unused if each.element)
        return Part("false" if any("_summary" in each.parameters for each in unused) else self.summary, names)


def part(ctx: Context, request: Request) -> Part:
    """Of a read or a history; searches take it from their Query."""
    names = ",".join(value for name, value in request.pairs if name == "_elements")
    asked = part_of({**dict(request.pairs), "_elements": names})
    if not asked.elements:
        return asked
    types = ctx.definitions.resource_types.intersection(request.path[:1]) or ctx.definitions.resource_types
    vain = [
        *unused(ctx.definitions, types, Parts(sorted(asked.elements), asked.summary, inclusions=False, unmet=False))
    ]
    if vain and request.strict:
        raise invalid(vain[0].sentence, next(iter(vain[0].parameters), "_elements"), code="not-supported")
    return asked.without(vain)


def part_of(values: Mapping[str, str]) -> Part:
    summary = values.get("_summary", "false")
    if summary not in MODES or summary == "count":
        raise invalid(f"_summary={summary} is not possible here; use true, text, data or false", "_summary")
    names = frozenset(name.strip() for name in values.get("_elements", "").split(","))
    if len(names) > MAX_ELEMENTS:
        raise invalid(f"_elements has at most {MAX_ELEMENTS} names", "_elements", code="too-costly")
    return Part(summary, names - {""})


def summarized(ctx: Context, request: Request, answer: Answer) -> Answer:
    if not request.pairs or answer.status != 200:
        return answer
    for name, _ in request.pairs:
        if name not in PARAMETERS and request.strict:
            said = f"{name[:80]} is no parameter of this; there are _summary, _elements, _format and _pretty"
            raise invalid(said, name[:80], code="not-supported")
    wanted = part(ctx, request)
    return answer if wanted.whole else replace(answer, body=trim(ctx.definitions, answer.body, wanted))


def subsetted(resource: dict[str, Any]) -> bool:
    """Whether a resource is marked as a part."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return isinstance(tags, list) and any(isinstance(tag, dict) and SUBSETTED.items() <= tag.items() for tag in tags)


def trim(definitions: Definitions, body: bytes, wanted: Part) -> bytes:
    """The part of a resource that is asked for; mandatory and modifier elements stay."""
    resource = json.resource(body)
    type_ = resource["resourceType"]
    if wanted.elements:
        kept = _elements(definitions, resource, wanted.elements)
    elif wanted.summary == "true":
        kept = _node(definitions, resource, type_, _in_summary)
    elif wanted.summary == "text":
        kept = _top(definitions, resource, lambda e: e.name == "text" or e.min > 0)
    else:
        kept = {key: value for key, value in resource.items() if key not in ("text", "_text")}
    meta = dict(resource.get("meta", {}))
    meta["tag"] = [*meta.get("tag", []), SUBSETTED]
    return json.encode(
        {key: kept[key] for key in ("resourceType", "id") if key in kept}
        | {"meta": meta}
        | {key: value for key, value in kept.items() if key not in ALWAYS}
    )


def _elements(definitions: Definitions, resource: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """https://hl7.org/fhir/R4/search.html#elements"""
    type_ = resource["resourceType"]
    by_key = definitions.types[type_].by_key
    plain = (name.removeprefix(f"{type_}.") for name in names)
    own = {by_key[name][0].name if name in by_key else name for name in plain}
    return _top(definitions, resource, lambda e: e.name in own or e.min > 0 or e.modifier)


def _in_summary(element: Element) -> bool:
    return element.summary or element.min > 0


def _top(definitions: Definitions, resource: dict[str, Any], keep: Callable[[Element], bool]) -> dict[str, Any]:
    by_key = definitions.types[resource["resourceType"]].by_key
    return {
        key: value
        for key, value in resource.items()
        if key in ALWAYS or ((found := by_key.get(key.removeprefix("_"))) and keep(found[0]))
    }


def _node(definitions: Definitions, node: Any, type_: str, keep: Callable[[Element], bool]) -> Any:
    if isinstance(node, list):
        return [_node(definitions, child, type_, keep) for child in node]
    if not isinstance(node, dict):
        return node
    type_ = node.get("resourceType", type_)
    definition = definitions.types.get(type_)
    if definition is None or not definition.by_key:
        return node
    out = {}
    for key, value in node.items():
        found = definition.by_key.get(key.removeprefix("_"))
        if key in ALWAYS:
            out[key] = value
        elif found and keep(found[0]):
            nested = _node(definitions, value, found[1], keep)
            if nested not in ({}, []):
                out[key] = nested
    return out
