"""The code systems and value sets that FHIR R4 publishes, where no stored one has the URL. Read when first asked for.

Made by tools/build_definitions.py: complete code systems and all value sets, codes without their displays.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from terminology.canonical import Canonical
from terminology.code_systems import CodeSystem

TABLE = Path(__file__).parent / "data" / "r4.json.zst"
Json = dict[str, Any]


@cache
def _table() -> dict[str, dict[str, Json]]:
    """{resource type: {url: resource}}"""
    table: dict[str, dict[str, Json]] = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(TABLE.read_bytes()))
    return table


def published_urls(type_: str) -> list[str]:
    return [*_table()[type_]]


def published(asked: Canonical) -> Json | None:
    found = _table().get(asked.type, {}).get(asked.url)
    return found if found is not None and asked.version in (None, found.get("version")) else None


@lru_cache(64)
def published_system(asked: Canonical) -> CodeSystem | None:
    found = published(asked)
    return None if found is None else CodeSystem({"url": asked.url, **found})
