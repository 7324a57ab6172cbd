"""Systematic breaches of US Core and IPS: nearly all are caught.

Made from the official snapshots and examples alone: what must be there is dropped, codes that are fixed or bound are
replaced, what may be there once is doubled, values get another type, references lead elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from official import IPS, US_CORE, beside

from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.conformance import claims
from fhirserver.validation.findings import Finding
from fhirserver.validation.validate import Validator
from tests.validation.packages import Answers, examples, of_ips, profiles, structure_definitions

Json = dict[str, Any]
WRONG = "no-such-code"
MOST_ENTRIES = 10  # of Bundles that are broken: one of forty entries is broken in eight hundred ways


class Held(NamedTuple):
    """Values of an element in an object: under `key`, all or (of a slice, of an array) those at `places`."""

    holder: Json
    key: str
    places: tuple[int, ...] | None

    def values(self) -> list[Any]:
        value = self.holder[self.key]
        return [value] if self.places is None else [value[i] for i in self.places]

    def drop(self) -> None:
        if self.places is None or len(self.places) == len(self.holder[self.key]):
            del self.holder[self.key]
            self.holder.pop(f"_{self.key}", None)
        else:
            self.holder[self.key] = [v for i, v in enumerate(self.holder[self.key]) if i not in self.places]


class Snapshot:
    """The official elements of a profile, and where a resource has them."""

    def __init__(self, definition: Json) -> None:
        self.elements: dict[str, Json] = {each["id"]: each for each in definition["snapshot"]["element"]}

    def held(self, root: Json, id_: str) -> list[Held]:
        *above, last = id_.split(".")[1:]
        here, at = [root], id_.split(".")[0]
        for step in above:
            at = f"{at}.{step}"
            here = [v for each in here for held in self._step(each, step, at) for v in held.values()]
        return [held for each in here if isinstance(each, dict) for held in self._step(each, last, id_)]

    def _step(self, holder: Any, step: str, at: str) -> list[Held]:
        name, _, slice_ = step.partition(":")
        bare = name.removesuffix("[x]")
        types = {each["code"] for each in self.elements[at].get("type", ())}
        keys = [bare + t[:1].upper() + t[1:] for t in types] if name != bare else [bare]
        found = []
        for key in keys:
            if isinstance(holder, dict) and key in holder:
                value = holder[key]
                places = tuple(range(len(value))) if isinstance(value, list) else None
                if slice_ and places is not None:
                    places = tuple(i for i in places if self._of_slice(value[i], at))
                if places != ():
                    found.append(Held(holder, key, places))
        return found

    def _of_slice(self, value: Any, id_: str) -> bool:
        element = self.elements[id_]
        urls = [url for each in element.get("type", ()) for url in each.get("profile", ())]
        if urls and isinstance(value, dict) and "url" in value:
            return value["url"] in urls
        if (pattern := said(element)) is not None:
            return holds(pattern, value)
        inner = {at.removeprefix(f"{id_}."): each for at, each in self.elements.items() if at.startswith(f"{id_}.")}
        patterns = [(at, pattern) for at, each in inner.items() if (pattern := said(each)) is not None]
        return all(any(holds(pattern, each) for each in reach(value, at.split("."))) for at, pattern in patterns)

    def optional(self, id_: str) -> bool:
        """Within a slice that need not be there: without what tells it, a value may be of no slice."""
        steps = id_.split(".")
        slices = [".".join(steps[: i + 1]) for i, step in enumerate(steps) if ":" in step]
        inner = [at for at in slices if self.elements[at]["min"] == 0]
        return bool(inner) and any(
            (said(each) is not None or bound(each)) and (id_.startswith(at) or at.startswith(id_))
            for at, each in self.elements.items()
            if at.startswith(inner[0])
        )


def said(element: Json) -> Any:
    return next((value for key, value in element.items() if key.startswith(("fixed", "pattern"))), None)


def bound(element: Json) -> bool:
    return bool(element.get("binding", {}).get("strength") == "required")


def holds(pattern: Any, value: Any) -> bool:
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(key in value and holds(p, value[key]) for key, p in pattern.items())
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(holds(p, each) for each in value) for p in pattern)
    return bool(pattern == value)


def reach(value: Any, steps: list[str]) -> list[Any]:
    here = [value]
    for step in steps:
        name = step.partition(":")[0]
        values = [each[name] for each in here if isinstance(each, dict) and name in each]
        here = [inner for each in values for inner in (each if isinstance(each, list) else [each])]
    return here


Change = Callable[[list[Held]], None]


def drop(held: list[Held]) -> None:
    held[0].drop()


def double(held: list[Held]) -> None:
    values = held[0].holder[held[0].key]
    values.append(deepcopy(values[(held[0].places or (0,))[0]]))


def recode(held: list[Held]) -> None:
    """Another code everywhere in the value."""
    each = held[0]
    for i, value in enumerate(each.values()):
        if isinstance(value, dict):
            for coding in value.get("coding", [value]):
                coding["code" if "code" in coding else "system"] = WRONG
        elif each.places is None:
            each.holder[each.key] = WRONG
        else:
            each.holder[each.key][each.places[i]] = WRONG


VALUES: Json = {
    "boolean": True,
    "CodeableConcept": {"text": "x"},
    "dateTime": "2024",
    "instant": "2024-05-01T10:00:00Z",
    "integer": 1,
    "Period": {"start": "2024"},
    "Quantity": {"value": 1},
    "Reference": {"display": "x"},
    "string": "x",
    "Timing": {"code": {"text": "x"}},
}


def retype(bare: str, type_: str) -> Change:
    def change(held: list[Held]) -> None:
        held[0].drop()
        held[0].holder[bare + type_[:1].upper() + type_[1:]] = VALUES[type_]

    return change


def lead(type_: str) -> Change:
    def change(held: list[Held]) -> None:
        for value in held[0].values():
            value["reference"] = f"{type_}/1"
            value.pop("type", None)

    return change


def changes(snapshot: Snapshot, type_: str) -> Iterator[tuple[str, str, Change]]:
    """Kind, element and how, of all that breaks a profile wherever a resource has the element."""
    for id_, element in snapshot.elements.items():
        if "." not in id_ or snapshot.optional(id_):
            continue
        if element["min"]:
            yield "drop", id_, drop
        if said(element) is not None or bound(element):
            yield "code", id_, recode
        if element["max"] == "1" and element["base"]["max"] == "*":
            yield "double", id_, double
        owner, _, name = element["path"].rpartition(".")
        base = r4().types[owner].by_name.get(name.removesuffix("[x]")) if owner in r4().types else None
        if base is None or ":" in id_.rpartition(".")[2]:
            continue
        types = {each["code"] for each in element.get("type", ())}
        for other in [each for each in base.types if base.choice and each not in types and each in VALUES][:1]:
            yield "type", id_, retype(base.name, other)
        targets = {target_type(url) for each in element.get("type", ()) for url in each.get("targetProfile", ())}
        for other in [each for each in base.targets.get("Reference", ()) if targets and each not in targets][:1]:
            yield "target", id_, lead(other)


def target_type(url: str) -> str:
    return profiles()[url].type if url in profiles() else url.rpartition("/")[2]


def mutants(resource: Json, package: Path) -> Iterator[tuple[str, str, Json]]:
    """Each with one thing wrong: of its profiles, and of the extensions it has."""
    official = structure_definitions(package)
    roots: list[tuple[str, list[Any]]] = [(url, []) for url in resource["meta"]["profile"]]
    roots += [(each["url"], ["extension", i]) for i, each in enumerate(resource.get("extension", ()))]
    for url, way in roots:
        if url not in official:
            continue
        snapshot = Snapshot(official[url])
        for kind, id_, change in changes(snapshot, official[url]["type"]):
            for nth in range(len(snapshot.held(follow(resource, way), id_))):
                mutant = deepcopy(resource)
                change(snapshot.held(follow(mutant, way), id_)[nth:])
                yield kind, id_, mutant


def follow(node: Any, way: list[Any]) -> Any:
    for key in way:
        node = node[key]
    return node


class Judge:
    """Whether a resource is refused, by its type, by its profiles, and by terminology as far as packages have it."""

    def __init__(self, package: Path) -> None:
        self.validator, self.answers = Validator(r4(), required_codes()), Answers(package)

    async def refused(self, resource: Json) -> list[Finding]:
        base = self.validator.thorough(resource)
        if errors := [each for each in base.issues if each.severity == "error"]:
            return [*errors]
        return await self.answers.refused([*base.questions, *await self.answers.conformance(resource)])


async def judged(package: Path, resources: dict[str, Json]) -> tuple[Counter[str], Counter[str], list[str]]:
    """Breaches made and caught by their kind, and those that were missed."""
    judge = Judge(package)
    made, caught, missed = Counter[str](), Counter[str](), []
    for name, resource in resources.items():
        assert await judge.refused(resource) == [], name
        if len(resource.get("entry", ())) > MOST_ENTRIES:
            continue
        for kind, id_, mutant in mutants(resource, package):
            made[kind] += 1
            if await judge.refused(mutant):
                caught[kind] += 1
            else:
                missed.append(f"{kind} {id_} ({name})")
    rates = ", ".join(f"{kind} {caught[kind]}/{made[kind]}" for kind in sorted(made))
    print(f"caught {caught.total():,} of {made.total():,} breaches: {rates}; missed: {missed[:20]}")
    return made, caught, missed


@beside(US_CORE, IPS)
def test_nearly_all_systematic_breaches_of_us_core_are_caught() -> None:
    claiming = {
        name: each for name, each in examples(US_CORE).items() if any(url in profiles() for url in claims(each))
    }
    made, caught, _ = asyncio.run(judged(US_CORE, claiming))
    assert min(made[kind] for kind in ("drop", "code", "double", "type", "target")) >= 20
    assert caught.total() >= 0.97 * made.total() > 1400


@beside(US_CORE, IPS)
def test_nearly_all_systematic_breaches_of_ips_are_caught() -> None:
    kept = {
        name: {**each, "meta": {**each.get("meta", {}), "profile": [of_ips(name, each)]}}
        for name, each in examples(IPS).items()
    }
    made, caught, _ = asyncio.run(judged(IPS, kept))
    assert caught.total() >= 0.97 * made.total() > 450
