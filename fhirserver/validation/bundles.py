"""What a Bundle must be as a whole, beyond its invariants: full URLs, and references that lead to its entries.

https://hl7.org/fhir/R4/bundle.html#references, https://hl7.org/fhir/R4/bundle.html#bundle-unique
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fhirserver.validation.findings import MOST_ISSUES, Finding, issue
from fhirserver.validation.references import Container
from fhirserver.validation.words import shown

SELF_CONTAINED = frozenset({"document", "message", "transaction"})  # a urn: in one of these can only mean an entry
_absolute = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_restful = re.compile(r"https?://\S+/(?P<type>[A-Z][A-Za-z]*)/(?P<id>[A-Za-z0-9.\-]{1,64})")

Json = dict[str, Any]


def bundle_rules(bundle: Json, container: Container) -> list[Finding]:
    found: list[Finding] = []
    entries: list[Json] = bundle.get("entry", [])
    for index, entry in enumerate(entries):
        if (url := entry.get("fullUrl")) is not None and (said := _full_url(url, entry.get("resource", {}))):
            found += issue("value", said, "bundle-fullurl", f".entry[{index}].fullUrl")
    if bundle.get("type") in SELF_CONTAINED:
        found += _dangling(entries)
    return found[:MOST_ISSUES]


def _full_url(url: str, resource: Json) -> str | None:
    if _absolute.fullmatch(url) is None:
        return f"a fullUrl is absolute; {shown(url)} is not"
    named = _restful.fullmatch(url)
    type_, id_ = resource.get("resourceType"), resource.get("id")
    if named is not None and type_ is not None and named["type"] == type_ and id_ not in (None, named["id"]):
        return f"the fullUrl {shown(url)} disagrees with the id of the resource, {shown(id_)}"
    return None


def _dangling(entries: list[Json]) -> Iterator[Finding]:
    """References by urn:uuid or urn:oid that no entry has."""
    known = {entry.get("fullUrl") for entry in entries}
    for index, entry in enumerate(entries):
        for path, url in _urns(entry.get("resource", {}), ""):
            if url.partition("#")[0] not in known:
                said = f"no entry of the Bundle has the fullUrl {shown(url)}"
                yield from issue("not-found", said, "bundle-reference", f".entry[{index}].resource{path}")


def _urns(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where a Reference is by urn:, and to what."""
    ahead = [(node, path)]
    while ahead:
        here, where = ahead.pop()
        if type(here) is list:
            ahead += [(each, f"{where}[{i}]") for i, each in reversed([*enumerate(here)])]
        elif type(here) is dict:
            url = here.get("reference")
            if type(url) is str and url.startswith(("urn:uuid:", "urn:oid:")):
                yield where, url
            ahead += [(each, f"{where}.{key}") for key, each in reversed(here.items()) if type(each) in (dict, list)]
