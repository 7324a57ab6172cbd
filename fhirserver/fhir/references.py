"""Literal references: taken apart, and rewritten wherever a resource holds them.

https://hl7.org/fhir/R4/references.html, https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Definitions

_literal = re.compile(
    r"(?:(?P<base>https?://[^?#]*?)/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)
_link = re.compile(r"""(<(?:a|img)\b[^>]*?\b(?:href|src)\s*=\s*)("[^"]*"|'[^']*')""", re.IGNORECASE)
_version = re.compile(r"(?P<target>.+)/_history/[A-Za-z0-9\-.]{1,64}")


class Literal(NamedTuple):
    """`[base/]Type/id[/_history/version]`. `base` is None for a relative reference."""

    base: str | None
    type: str
    id: str
    version: str | None


def parse(reference: str) -> Literal | None:
    """None for what is not a RESTful reference: fragments, urn:uuid:…, canonical URLs with a query."""
    match = _literal.fullmatch(reference)
    return Literal(match["base"], match["type"], match["id"], match["version"]) if match else None


class Target(NamedTuple):
    """What a link of the Bundle becomes; `names` where values of type uri name a definition by it, and stay."""

    reference: str
    version: int
    names: bool = False


def linked(full_url: str, resource: Mapping[str, Any], id_: str, version: int = 1) -> Target:
    """What links to an entry become. The fullUrl of a definition may be its own URL, which `Coding.system`,
    `Extension.url` and the definition itself keep; no server has it by another name."""
    return Target(f"{resource['resourceType']}/{id_}", version, names=resource.get("url") == full_url)


def rewrite(resource: dict[str, Any], targets: Mapping[str, Target], definitions: Definitions) -> dict[str, Any]:
    """The resource with every link to a key of `targets` replaced: references, uri, url, oid, uuid, narrative.

    Elements of type canonical stay, and those of type uri where the key names a definition. A version-specific link
    stays version-specific. The input is not changed.
    """
    if not targets:
        return resource
    rewritten: dict[str, Any] = _Rewriter(targets, definitions).node(resource, resource["resourceType"])
    return rewritten


def links(node: Any) -> Iterator[str]:
    """Every `reference` of a resource, but for those inside a Bundle that it is, which link its own entries."""
    if isinstance(node, list):
        for value in node:
            yield from links(value)
    elif isinstance(node, dict) and node.get("resourceType") != "Bundle":
        for key, value in node.items():
            if key == "reference" and isinstance(value, str):
                yield value
            elif isinstance(value, (dict, list)):
                yield from links(value)


def place_of(reference: str, resource: dict[str, Any], definitions: Definitions) -> str:
    """The FHIRPath of the first element that holds it, one of the `links` of a resource: `Observation.subject`."""
    type_: str = resource["resourceType"]
    return f"{type_}{_below(reference, resource, type_, definitions) or ''}"


def _below(reference: str, node: dict[str, Any], type_: str, definitions: Definitions) -> str | None:
    """The steps from a node to the element that holds a reference; None where it is not there."""
    if type_ == "Bundle":
        return None
    if node.get("reference") == reference:
        return ""
    definition = definitions.types.get(type_)
    for key, value in node.items():
        known = definition.by_key.get(key.removeprefix("_")) if definition else None
        name, inner = (known[0].name, known[1]) if known else (key.removeprefix("_"), "Element")
        inner = "Element" if key.startswith("_") else inner
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, dict):
                found = _below(reference, child, child.get("resourceType", inner), definitions)
                if found is not None:
                    return f".{name}[{index}]{found}" if isinstance(value, list) else f".{name}{found}"
    return None


def mentioned(bodies: Iterable[bytes], base_url: str) -> dict[str, set[str]]:
    """The resources of this server that bodies refer to, {type: ids}: references, and attachments kept as a Binary.

    The bytes are searched, not decoded, as `json.encode` wrote them: quotes within a text are escaped, so that
    `"reference":"` is always the property of that name. What a reference says of a version is left out.
    """
    patterns = _mentions(base_url)
    found: dict[str, set[str]] = {}
    for mention in {each for body in bodies for pattern in patterns for each in pattern.findall(body)}:
        type_, _, id_ = mention.decode().partition("/")
        found.setdefault(type_, set()).add(id_)
    return found


@lru_cache(maxsize=64)
def _mentions(base_url: str) -> tuple[re.Pattern[bytes], ...]:
    base, end = re.escape(base_url).encode(), rb'[A-Za-z0-9\-.]{1,64})(?:"|/_history/)'
    names = {b"reference": b"[A-Z][A-Za-z]+", b"url": b"Binary"}
    return tuple(re.compile(b'"%b":"(?:%b/)?(%b/%b' % (key, base, type_, end)) for key, type_ in names.items())


def is_conditional(reference: str, definitions: Definitions) -> bool:
    """`Patient?identifier=…`: https://hl7.org/fhir/R4/http.html#2.21.0.10.1"""
    type_, mark, _ = reference.partition("?")
    return bool(mark) and type_ in definitions.resource_types


class _Rewriter:
    """Walks a resource along its definition, because only the definition tells a uri from a canonical."""

    linking = frozenset(("uri", "url", "oid", "uuid"))

    def __init__(self, targets: Mapping[str, Target], definitions: Definitions) -> None:
        self.targets = targets
        self.types = definitions.types

    def node(self, node: dict[str, Any], type_: str) -> dict[str, Any]:
        if "resourceType" in node:
            type_ = node["resourceType"]
        definition = self.types.get(type_)
        if definition is None:
            return node
        out = {}
        for key, value in node.items():
            found = definition.by_key.get(key)
            if found is None:
                out[key] = self.children(value, "Element") if key.startswith("_") else value
            elif key == "reference" and type_ == "Reference":
                out[key] = self.link(value)
            else:
                out[key] = self.value(value, found[1])
        return out

    def children(self, value: Any, type_: str) -> Any:
        if isinstance(value, list):
            return [self.children(child, type_) for child in value]
        return self.node(value, type_) if isinstance(value, dict) else value

    def value(self, value: Any, type_: str) -> Any:
        if isinstance(value, (dict, list)) and type_ not in self.linking:
            return self.children(value, type_)
        if type_ in self.linking:
            return [self.uri(link) for link in value] if isinstance(value, list) else self.uri(value)
        if type_ == "xhtml" and isinstance(value, str):
            return _link.sub(self.narrative, value)
        return value

    def uri(self, link: Any) -> Any:
        target = self.targets.get(link) if isinstance(link, str) else None
        return link if target and target.names else self.link(link)

    def link(self, link: Any) -> Any:
        if not isinstance(link, str):
            return link
        target = self.targets.get(link)
        if target is not None:
            return target.reference
        versioned = _version.fullmatch(link) if "/_history/" in link else None
        target = self.targets.get(versioned["target"]) if versioned else None
        return f"{target.reference}/_history/{target.version}" if target else link

    def narrative(self, match: re.Match[str]) -> str:
        quote = match[2][0]
        return f"{match[1]}{quote}{self.link(match[2][1:-1])}{quote}"
