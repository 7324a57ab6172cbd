"""What a Reference may point at: https://hl7.org/fhir/R4/references.html"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

from fhirserver.fhir.definitions import STRUCTURE
from fhirserver.fhir.fhirpath import Hooks
from fhirserver.fhir.fhirpath.scope import NO_HOOKS
from fhirserver.validation.findings import Issues, Problem
from fhirserver.validation.words import one_of, shown

MOST_TRIALS: Final = 250_000
NO_PROFILES: Final[Mapping[str, Known]] = MappingProxyType({})

# Type/id, with or without a server before it and a version behind it
_restful = re.compile(
    r"(?P<server>https?://\S*/)?(?P<type>[A-Za-z]+)(?P<id>/[A-Za-z0-9.\-]{1,64}(?:/_history/[A-Za-z0-9.\-]{1,64})?)?"
)
# another kind of absolute URI, a query, or a part of what is referred to
_elsewhere = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+\Z|[^\s?]+\?\S*\Z|[A-Za-z]+/[A-Za-z0-9.\-]{1,64}#\S+\Z")


def _place(url: str) -> re.Match[str] | None:
    """The parts of Type/id, or of Type?criteria, which a transaction resolves."""
    before, question, _ = url.partition("?")
    found = _restful.fullmatch(before)
    return found if found and bool(found["id"]) != bool(question) else None


class Known(Protocol):
    """A profile, as those see it that name it."""

    @property
    def url(self) -> str: ...

    @property
    def type(self) -> str: ...

    def check(self, node: Any, container: Container) -> Issues: ...

    def elements(
        self, profiles: Mapping[str, Known], seen: tuple[str, ...] = ()
    ) -> Sequence[dict[str, Any]] | None: ...


class Trials:
    """What was tried in the whole that is being checked: which values conform to which profile; how much is left."""

    __slots__ = ("answers", "left")

    def __init__(self) -> None:
        # with the value, so that its id stays its own; None: only terminology can tell
        self.answers: dict[tuple[int, str], tuple[Any, bool | None]] = {}
        self.left = MOST_TRIALS

    def spend(self, trials: int) -> None:
        self.left -= trials
        if self.left < 0:
            raise TooManyTrials


class TooManyTrials(Exception):
    """Finding the slices of values takes too long."""


class Container:
    """The resource that contained resources and `#` references belong to; `inner` is the one that is being checked.

    `profiles` are those that are known, by canonical.
    """

    __slots__ = ("_contained", "_entered", "_pointers", "_sound", "hooks", "inner", "profiles", "resource", "trials")

    def __init__(
        self,
        resource: dict[str, Any],
        hooks: Hooks = NO_HOOKS,
        profiles: Mapping[str, Known] = NO_PROFILES,
        trials: Trials | None = None,
    ) -> None:
        self.resource = self.inner = resource
        self.hooks = hooks
        self.profiles = profiles
        self.trials = trials or Trials()
        self._pointers: tuple[set[str], set[int]] | None = None
        self._contained: dict[str, str] | None = None
        self._entered: Hooks | None = None
        self._sound = True

    def entered(self, resource: dict[str, Any]) -> Container:
        """The container of a resource within this one: of what is contained, or of an entry of a Bundle."""
        if resource is self.resource or resource is self.inner:
            return self
        contained = any(resource is each for each in self.resource.get("contained", ()))
        if contained:
            inside = Container(self.resource, self.hooks, self.profiles, self.trials)
        else:
            if self._entered is None:
                self._entered = self.hooks._replace(resolve=_entries(self.resource, self.hooks))
            inside = Container(resource, self._entered, self.profiles, self.trials)
        inside.inner = resource
        return inside

    def resolve(self, reference: str) -> dict[str, Any] | None:
        """What a reference leads to, where that is at hand."""
        if reference[:1] != "#":
            return self.hooks.resolve(reference) if self.hooks.resolve else None
        if reference == "#":
            return self.resource
        contained = self.resource.get("contained", ())
        return next((each for each in contained if type(each) is dict and each.get("id") == reference[1:]), None)

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

    def pointers(self) -> tuple[set[str], set[int]]:
        """The `#id` that anything says, and the contained resources (by identity) that point at their container."""
        if self._pointers is None:
            named: set[str] = set()
            up: set[int] = set()
            for inner in self.resource.get("contained", ()):
                pointing = set(_pointing(inner))
                named |= pointing
                if "#" in pointing:
                    up.add(id(inner))
            named.update(_pointing({key: each for key, each in self.resource.items() if key != "contained"}))
            self._pointers = named, up
        return self._pointers


def _pointing(node: Any) -> Iterator[str]:
    """Whatever text begins with `#`: references, canonicals and other URIs."""
    ahead = [node]
    while ahead:
        here = ahead.pop()
        if type(here) is str:
            if here[:1] == "#":
                yield here
        elif type(here) is dict:
            ahead += here.values()
        elif type(here) is list:
            ahead += here


def _entries(bundle: dict[str, Any], hooks: Hooks) -> Callable[[str], dict[str, Any] | None] | None:
    """Looks in the entries first. https://hl7.org/fhir/R4/bundle.html#references"""
    known: dict[str, dict[str, Any]] = {}
    for entry in bundle.get("entry", ()):
        resource = entry.get("resource")
        if resource is not None:
            known.setdefault(f"{resource['resourceType']}/{resource.get('id')}", resource)
            known[entry.get("fullUrl", "")] = resource
    if not known:
        return hooks.resolve

    def resolve(reference: str) -> dict[str, Any] | None:
        found = known.get(reference.partition("#")[0].partition("/_history/")[0])
        return hooks.resolve(reference) if found is None and hooks.resolve else found

    return resolve


def target_type(reference: dict[str, Any], container: Container, known: frozenset[str]) -> str | None:
    """The type that a reference names, by its URL or by its type."""
    url = reference.get("reference")
    if url is not None and url[:1] == "#":
        return container.contained().get(url[1:]) if len(url) > 1 else container.resource.get("resourceType")
    if url is not None and (found := _place(url)) and found["type"] in known:
        return found["type"]
    declared: str = reference.get("type", "").removeprefix(STRUCTURE)
    return declared if declared in known else None


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
                    said = f"{shown(url)} is not the id of a contained resource (ref-1)"
                    return Problem("invariant", said, "reference-contained", "ref-1")
            elif found := _place(url):
                if found["type"] in known:
                    type_ = found["type"]
                elif not found["server"]:
                    said = f"{shown(url)} points at {found['type']}, which is no resource type of FHIR R4"
                    return Problem("value", said, "reference-target")
            elif not _elsewhere.match(url):
                said = f"{shown(url)} is no reference: it is written Type/id, as an absolute URL, or #id"
                return Problem("value", said, "reference-format")
        if declared is not None:
            declared = declared.removeprefix(STRUCTURE)
            if type_ is None:
                type_ = declared if declared in known else None
            elif declared != type_ and declared in known:
                said = f"the reference {shown(url)} points at {type_}, but its type says {declared}"
                return Problem("value", said, "reference-target")
        if anything or type_ in targets or type_ not in known:
            return None
        said = f"a reference to {type_} is not allowed here; it may point at {one_of(targets)}"
        return Problem("value", said, "reference-target")

    return check
