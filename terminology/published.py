"""The code systems and value sets that FHIR R4 publishes, where no stored one has the URL.

Made by tools/build_definitions.py. Where each one lies is read when the first is asked for; a resource, when it is.
https://hl7.org/fhir/R4/terminologies-systems.html
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from terminology.canonical import Canonical
from terminology.code_systems import CodeSystem
from terminology.value_sets import ValueSet

DATA = Path(__file__).parent / "data"
KEPT = 256  # systems, and value sets, in memory
Json = dict[str, Any]


@cache
def _index() -> dict[str, dict[str, tuple[int, int, int, int]]]:
    """{resource type: {url: (begin of its frame in the file, length, and of the resource in the frame: begin, end)}}"""
    packed = (DATA / "r4.index.json.zst").read_bytes()
    return msgspec.json.decode(
        zstandard.ZstdDecompressor().decompress(packed), type=dict[str, dict[str, tuple[int, int, int, int]]]
    )


def published_urls(type_: str) -> list[str]:
    return [*_index()[type_]]


@lru_cache(8)
def _frame(begin: int, length: int) -> bytes:
    with (DATA / "r4.zst").open("rb") as file:
        file.seek(begin)
        return zstandard.ZstdDecompressor().decompress(file.read(length))


def published(asked: Canonical) -> Json | None:
    place = _index().get(asked.type, {}).get(asked.url)
    if place is None:
        return None
    frame, length, begin, end = place
    found: Json = msgspec.json.decode(memoryview(_frame(frame, length))[begin:end])
    return found if asked.version in (None, found.get("version")) else None


@lru_cache(KEPT)
def published_system(asked: Canonical) -> CodeSystem | None:
    found = published(asked)
    return None if found is None else CodeSystem(found)


@lru_cache(KEPT)
def published_set(asked: Canonical) -> ValueSet | None:
    found = published(asked)
    return None if found is None else ValueSet(found)
