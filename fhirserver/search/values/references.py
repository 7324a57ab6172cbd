"""References, canonicals and URLs. https://hl7.org/fhir/R4/search.html#reference"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fhirserver.search.values import CACHE, LONGEST_CACHED, Forms
from fhirserver.search.values.tokens import identifier

Json = dict[str, Any]


def uri(text: str) -> list[str]:
    return [text]


def canonical(text: str) -> list[str]:
    """With its version, and without."""
    url, bar, _ = text.partition("|")
    return [text, url] if bar and url else [text]


def reference_from(base_url: str) -> Forms:
    """References as `Type/id` where they lead to this server, else as they are; `#contained` leads nowhere."""
    own = base_url.rstrip("/") + "/"

    def relative(target: str) -> tuple[str, ...]:
        if target.startswith("#"):
            return ()
        target = target.removeprefix(own)
        unversioned, history, _ = target.partition("/_history/")
        return (unversioned, target) if history else (target,)

    cached = lru_cache(CACHE)(relative)

    def reference(value: Json) -> list[str]:
        target = value.get("reference")
        if not target:
            return []
        return [*(cached(target) if len(target) <= LONGEST_CACHED else relative(target))]

    return reference


def reference_identifier(value: Json) -> list[str]:
    known = value.get("identifier")
    return identifier(known) if known else []


def inline_resource(value: Json) -> list[str]:
    """A resource that stands where a reference might: Bundle.entry[0].resource."""
    type_, id_ = value.get("resourceType"), value.get("id")
    return [f"{type_}/{id_}"] if type_ and id_ else []
