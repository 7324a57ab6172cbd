"""How a value is told to belong to a slice: by a value, a pattern, a type, a profile, or by what exists.

https://hl7.org/fhir/R4/profiling.html#discriminator
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import STRUCTURE, Definitions, Element
from fhirserver.validation.findings import wrong
from fhirserver.validation.narrowing import conforms, every, some, type_of_target
from fhirserver.validation.reading import Ask, Found, Json, reader
from fhirserver.validation.references import Container
from fhirserver.validation.trees import Slicing, Spec
from fhirserver.validation.values import matches, written

Match = Callable[[Found, Container], bool | None]  # None: only terminology could tell
Expect = Callable[[Any], bool]

_step = re.compile(
    r"(?P<this>\$this)|(?P<resolve>resolve\(\))|(?:ofType|as)\((?P<type>\w+)\)"
    r"|extension\(['\"](?P<url>[^'\"]+)['\"]\)|(?P<name>\w+)(?:\[x\])?"
)


class Way:
    """A path of a discriminator, from a value to what tells its slice."""

    def __init__(self, path: str, definitions: Definitions) -> None:
        self.path = path
        self.definitions = definitions
        self.steps = [found for found in _step.finditer(path) if not found["this"]]
        self.resolved = any(found["resolve"] for found in self.steps)

    def specs(self, spec: Spec) -> list[Spec]:
        """What the slice says there; several where that is sliced itself."""
        here = [spec]
        for step in self.steps:
            if name := step["name"]:
                here = [child for each in here if (child := each.children.get(name))]
                here += [inner for each in here for inner in each.slices]
            elif url := step["url"]:
                extensions = [child for each in here if (child := each.children.get("extension"))]
                here = [inner for each in extensions for inner in each.slices if url_of(inner) == url]
            elif type_ := step["type"]:
                here = [each for each in here if not each.types or any(known.code == type_ for known in each.types)]
        return here

    def values(self, found: Found, container: Container) -> list[Found]:
        here = [found]
        for step in self.steps:
            ahead: list[Found] = []
            for value, sibling, type_, index in here:
                node = value if type(value) is dict else sibling
                if step["type"]:
                    ahead += [(value, sibling, type_, index)] if type_ == step["type"] else []
                elif step["resolve"]:
                    target = container.resolve(node["reference"]) if node and "reference" in node else None
                    ahead += [(target, None, target["resourceType"], None)] if target else []
                elif step["url"] and node:
                    extensions = node.get("extension", ())
                    ahead += [
                        (each, None, "Extension", i) for i, each in enumerate(extensions) if each["url"] == step["url"]
                    ]
                elif step["name"] and node:
                    definition = self.definitions.types.get(type_)
                    element = definition.by_name.get(step["name"]) if definition else None
                    ahead += reader(element, self.definitions)(node) if element else []
            here = ahead
        return here


def url_of(spec: Spec) -> str | None:
    """The url of the extensions of a slice."""
    if (url := spec.children.get("url")) and url.fixed is not None:
        return str(url.fixed)
    for type_ in spec.types:
        for profile in type_.profiles:
            return profile.partition("|")[0]
    return None


def keyed(slicing: Slicing, slices: Sequence[Spec], element: Element) -> dict[str, int] | None:
    """Extensions by their url: the one look-up that is faster than asking slice after slice."""
    if slicing.discriminators != (("value", "url"),) or element.types != ("Extension",):
        return None
    keys: dict[str, int] = {}
    for place, each in enumerate(slices):
        url = url_of(each)
        if url is None:
            return None
        keys.setdefault(url, place)
    return keys


class Told(NamedTuple):
    """How the values of a slice are told from others, and in words; by the codes of a value set, `bound`."""

    match: Match
    words: str = ""
    bound: Bound | None = None


class Bound(NamedTuple):
    """The values at the end of a way are of a value set."""

    way: Way
    value_set: str

    def codings(self, values: list[Found], container: Container) -> list[Json]:
        """Of all values, what a terminology service could be asked about."""
        found: list[Json] = []
        for each in values:
            for value, _, type_, _ in self.way.values(each, container):
                if type_ == "CodeableConcept":
                    found += value.get("coding", ())
                elif type_ == "Coding":
                    found.append(value)
                elif type_ == "code" and value is not None:
                    found.append({"code": value})
        return found


def matcher(definitions: Definitions, slicing: Slicing, spec: Spec, element: Element, asks: dict[str, Ask]) -> Told:
    """Whether a value belongs to a slice."""
    found = [
        KINDS[kind](Way(path, definitions), spec, element) for kind, path in slicing.discriminators if kind in KINDS
    ]
    parts = [each for each in found if each is not None]
    if not parts:
        return Told(_by_content(asks))
    words = ", ".join(each.words for each in parts if each.words)
    bound = next((each.bound for each in parts if each.bound), None)
    return Told(_by_all([each.match for each in parts]), f" ({words})" if words else "", bound)


def _by_all(parts: list[Match]) -> Match:
    if len(parts) == 1:
        return parts[0]

    return lambda value, container: every(part(value, container) for part in parts)


def _by_content(asks: dict[str, Ask]) -> Match:
    """Without a discriminator a value belongs to a slice when it keeps what the slice asks for."""

    def match(found: Found, container: Container) -> bool:
        ask = asks.get(found[2])
        return ask is None or not wrong(ask(found[0], found[1], container))

    return match


def _by_value(way: Way, spec: Spec, element: Element) -> Told | None:
    if way.path == "url" and (url := url_of(spec)):
        return Told(lambda found, container: type(found[0]) is dict and found[0].get("url") == url, f"url {url}")
    specs = way.specs(spec)
    expected = [told for each in specs if (told := expect(each))]
    if not expected:
        return _by_binding(way, specs)
    expects = tuple(each for each, _ in expected)
    what = expected[0][1]
    words = f"{way.path} {what}" if what and way.steps else what
    if not way.steps:
        return Told(lambda found, container: all(each(found[0]) for each in expects), words)

    def match(found: Found, container: Container) -> bool:
        values = way.values(found, container)
        return all(any(each(value[0]) for value in values) for each in expects)

    return Told(match, words)


def _by_binding(way: Way, specs: list[Spec]) -> Told | None:
    """By the value set that the codes must be of, where somebody can tell."""
    bindings = [each.value_set for spec in specs for each in spec.bindings if each.strength == "required"]
    if not bindings:
        return None

    def match(found: Found, container: Container) -> bool | None:
        member = container.hooks.member_of
        return some(member(value[0], bindings[0]) if member else None for value in way.values(found, container))

    return Told(match, f"{way.path} in {bindings[0]}", Bound(way, bindings[0]))


def expect(spec: Spec) -> tuple[Expect, str] | None:
    """What a slice says of the value of an element, as far as it tells one value from another."""
    if spec.fixed is not None:
        expected = spec.fixed
        return (lambda value: bool(value == expected)), written(expected)
    if spec.pattern is not None:
        pattern = spec.pattern
        return (lambda value: matches(pattern, value)), written(pattern)
    parts: list[tuple[str, Expect]] = []
    words: list[str] = []
    for name, child in spec.children.items():
        for each in (child, *(inner for inner in child.slices if inner.min)):
            if told := expect(each):
                parts.append((name, told[0]))
                words.append(f"{name} {told[1]}")
    if not parts:
        return None
    return (lambda value: all(_some(value, name, part) for name, part in parts)), ", ".join(words)


def _some(value: Any, name: str, expected: Expect) -> bool:
    inner = value.get(name) if type(value) is dict else None
    return any(map(expected, inner)) if type(inner) is list else inner is not None and expected(inner)


def _by_existence(way: Way, spec: Spec, element: Element) -> Told | None:
    specs = way.specs(spec)
    if not specs:
        return None
    wanted = specs[0].max != "0"
    words = f"{'with' if wanted else 'without'} {way.path}"
    return Told(lambda found, container: bool(way.values(found, container)) is wanted, words)


def _by_type(way: Way, spec: Spec, element: Element) -> Told | None:
    specs = way.specs(spec)
    if way.resolved:
        targets = tuple(url for each in specs for type_ in each.types for url in type_.targets)
        return Told(_leads_to(way, targets), " or ".join(targets)) if targets else None
    codes = frozenset(type_.code for each in specs for type_ in each.types)
    if not codes:
        return None
    ancestors = {code for code in codes if code in ("Resource", "DomainResource")}

    def match(found: Found, container: Container) -> bool:
        return any(value[2] in codes or bool(ancestors) for value in way.values(found, container))

    return Told(match, f"{'' if way.path == '$this' else way.path + ' '}{' or '.join(sorted(codes))}")


def _by_profile(way: Way, spec: Spec, element: Element) -> Told | None:
    specs = way.specs(spec)
    if way.resolved:
        targets = tuple(url for each in specs for type_ in each.types for url in type_.targets)
        return Told(_leads_to(way, targets, conforming=True), " or ".join(targets)) if targets else None
    profiles = tuple(url for each in specs for type_ in each.types for url in type_.profiles)
    if not profiles:
        return _by_type(way, spec, element)

    def match(found: Found, container: Container) -> bool | None:
        return some(_keeps(value[0], value[2], profiles, container) for value in way.values(found, container))

    return Told(match, " or ".join(profiles))


def _keeps(value: Any, type_: str, profiles: tuple[str, ...], container: Container) -> bool | None:
    answers: list[bool | None] = []
    for url in profiles:
        profile = container.profiles.get(url)
        if url.removeprefix(STRUCTURE) == type_:
            answers.append(True)
        elif profile is not None and profile.type == type_:
            inside = container.entered(value) if "resourceType" in value else container
            answers.append(conforms(profile, value, inside))
    return some(answers)


def _leads_to(way: Way, targets: tuple[str, ...], *, conforming: bool = False) -> Match:
    """Where the reference cannot be followed, by the type that it names."""
    names = frozenset(url.rpartition("/")[2] for url in targets)

    def match(found: Found, container: Container) -> bool | None:
        values = way.values(found, container)
        if values and conforming:
            return some(_keeps(value[0], value[2], targets, container) for value in values)
        type_ = values[0][2] if values else type_of_target(found[0], container, way.definitions)
        known = names.union(profile.type for url in targets if (profile := container.profiles.get(url)))
        return type_ in known or "Resource" in known

    return match


KINDS: dict[str, Callable[[Way, Spec, Element], Told | None]] = {
    "value": _by_value,
    "pattern": _by_value,
    "type": _by_type,
    "profile": _by_profile,
    "exists": _by_existence,
}
