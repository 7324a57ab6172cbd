"""The code systems, value sets and concept maps that FHIR R4 publishes, where no stored one has the URL.

Made by tools/build_definitions.py. Where each one lies is read when the first is asked for; a resource, when it is.
https://hl7.org/fhir/R4/terminologies-systems.html
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from terminology.canonical import Canonical
from terminology.code_systems import CodeSystem
from terminology.concept_maps import ConceptMap
from terminology.implicit import whole
from terminology.kept import Definition
from terminology.naming import OIDS, NamingSystem, plain
from terminology.supplements import Supplements
from terminology.ucum import Ucum
from terminology.value_sets import ValueSet

DATA = Path(__file__).parent / "data"
COMMON_UNITS = "http://hl7.org/fhir/ValueSet/ucum-common"
KEPT = 256  # half of the definitions that stay in memory
Json = dict[str, Any]


@cache
def _index() -> dict[str, dict[str, tuple[int, int, int, int]]]:
    """{resource type: {url: (begin of its frame in the file, length, and of the resource in the frame: begin, end)}}"""
    packed = (DATA / "r4.index.json.zst").read_bytes()
    return msgspec.json.decode(
        zstandard.ZstdDecompressor().decompress(packed), type=dict[str, dict[str, tuple[int, int, int, int]]]
    )


@cache
def _names() -> dict[str, dict[str, str]]:
    """{resource type: {OID: url}}; `implied`: {value set that nobody published: the code system of which it is all};
    `versions`: those of code systems with codes.
    """
    packed = (DATA / "r4.names.json.zst").read_bytes()
    found = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(packed), type=dict[str, dict[str, str]])
    return found | {"CodeSystem": OIDS | found["CodeSystem"]}


def published_name(asked: Canonical) -> str | None:
    """The URL of a value set that is asked for by its OID. Of code systems, `NamingSystem` says it."""
    return _names()["ValueSet"].get(plain(asked.url)) if asked.type == "ValueSet" else None


@cache
def _named() -> dict[str, NamingSystem]:
    """By URL and OID."""
    found: dict[str, NamingSystem] = {}
    for oid, url in _names()["CodeSystem"].items():
        names = [{"type": "uri", "value": url, "preferred": True}, {"type": "oid", "value": oid}]
        made = NamingSystem({"name": url, "kind": "codesystem", "uniqueId": names})
        found.setdefault(url, made)
        found.setdefault(oid, found[url])
    return found


def published_versions() -> dict[str, str | None]:
    """Of the code systems that are here with their codes, by URL."""
    return {url: code or None for url, code in _names()["versions"].items()} | {Ucum.url: _ucum().version}


def published_urls(type_: str) -> list[str]:
    return [*_index()[type_]]


@lru_cache(8)
def _frame(begin: int, length: int) -> bytes:
    with (DATA / "r4.zst").open("rb") as file:
        file.seek(begin)
        return zstandard.ZstdDecompressor().decompress(file.read(length))


def published(asked: Canonical) -> Json | None:
    places = _index().get(asked.type, {})
    place = places.get(asked.url) or places.get(published_name(asked) or "")
    if place is None:
        return None
    frame, length, begin, end = place
    found: Json = msgspec.json.decode(memoryview(_frame(frame, length))[begin:end])
    return found if asked.version in (None, found.get("version")) else None


MADE: dict[str, Callable[[Json], Definition]] = {
    "ValueSet": ValueSet,
    "CodeSystem": CodeSystem,
    "ConceptMap": ConceptMap,
    "NamingSystem": NamingSystem,
    "Supplements": Supplements,
}


@lru_cache(2 * KEPT)
def published_definition(asked: Canonical) -> Definition | None:
    if asked.type == "NamingSystem":
        return _named().get(plain(asked.url))
    if asked.type == "CodeSystem" and asked.url == Ucum.url:
        return _ucum() if asked.version in (None, _ucum().version) else None
    found = published(asked)
    if found is None and asked.type == "ValueSet" and asked.url in _names()["implied"]:
        system = published(Canonical("CodeSystem", _names()["implied"][asked.url], asked.version))
        return None if system is None else whole(system)
    return None if found is None else MADE[asked.type](found)


@cache
def _ucum() -> Ucum:
    """With the names that R4 gives the units in its list of the usual ones."""
    common = published_set(Canonical("ValueSet", COMMON_UNITS))
    listed = {} if common is None else common.includes[0].listed or {}
    return Ucum({code: said.get("display", code) for code, said in listed.items()})


def published_system(asked: Canonical) -> CodeSystem | None:
    found = published_definition(asked)
    return found if isinstance(found, CodeSystem) else None


def published_set(asked: Canonical) -> ValueSet | None:
    found = published_definition(asked)
    return found if isinstance(found, ValueSet) else None


@cache
def published_maps() -> dict[str, list[tuple[str | None, Canonical]]]:
    """By the system that they are from: the systems that they are to, and the maps."""
    found: dict[str, list[tuple[str | None, Canonical]]] = {}
    for url in published_urls("ConceptMap"):
        asked = Canonical("ConceptMap", url)
        for group in ConceptMap(published(asked) or {}).groups:
            found.setdefault(group.source or "", []).append((group.target, asked))
    return found
