"""What a Reference may point at: https://hl7.org/fhir/R4/references.html"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fhirserver.validation.primitives import Problem
from fhirserver.validation.words import one_of, shown

STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"

# Type/id, with or without a server before it and a version behind it
_restful = re.compile(
    r"(?P<server>https?://\S*/)?(?P<type>[A-Za-z]+)(?P<id>/[A-Za-z0-9.\-]{1,64}(?:/_history/[A-Za-z0-9.\-]{1,64})?)?"
)


def _place(url: str) -> re.Match[str] | None:
    """The parts of Type/id, or of Type?criteria, which a transaction resolves."""
    before, question, _ = url.partition("?")
    found = _restful.fullmatch(before)
    return found if found and bool(found["id"]) != bool(question) else None


class Container:
    """The resource that contained resources and `#` references belong to."""

    __slots__ = ("_contained", "_sound", "resource")

    def __init__(self, resource: dict[str, Any]) -> None:
        self.resource = resource
        self._contained: dict[str, str] | None = None
        self._sound = True

    def contained(self) -> dict[str, str]:
        """Types by id; read once, and only when something points here."""
        if self._contained is None:
            self._contained = {}
            contained = self.resource.get("contained", [])
            for inner in contained if isinstance(contained, list) else [contained]:
                id_, type_ = (inner.get("id"), inner.get("resourceType")) if isinstance(inner, dict) else (None, None)
                if isinstance(id_, str) and isinstance(type_, str):
                    self._contained[id_] = type_
                else:
                    self._sound = False
        return self._contained

    def holds(self, id_: str) -> bool:
        """Whether `#id` leads somewhere; also said when what is contained is broken, which is reported there."""
        return not id_ or id_ in self.contained() or not self._sound


Target = Callable[[dict[str, Any], Container], Problem | None]


def target(allowed: tuple[str, ...], known: frozenset[str]) -> Target:
    """A check of Reference.reference and Reference.type; no `allowed`, or Resource among them, allows all types."""
    targets = frozenset(allowed)
    anything = not targets or "Resource" in targets

    def check(reference: dict[str, Any], container: Container) -> Problem | None:
        url, declared = reference.get("reference"), reference.get("type")
        type_: str | None = None
        if url is not None:
            if url[:1] == "#":
                type_ = container.contained().get(url[1:]) if len(url) > 1 else container.resource.get("resourceType")
                if not container.holds(url[1:]):
                    return "invariant", f"{shown(url)} is not the id of a contained resource (ref-1)"
            elif found := _place(url):
                if found["type"] in known:
                    type_ = found["type"]
                elif not found["server"]:
                    return "value", f"{shown(url)} points at {found['type']}, which is no resource type of FHIR R4"
        if declared is not None:
            declared = declared.removeprefix(STRUCTURE)
            if type_ is None:
                type_ = declared if declared in known else None
            elif declared != type_ and declared in known:
                return "value", f"the reference {shown(url)} points at {type_}, but its type says {declared}"
        if anything or type_ in targets or type_ not in known:
            return None
        return "value", f"a reference to {type_} is not allowed here; it may point at {one_of(targets)}"

    return check
