"""A query string read as the server would, at a fixed time and base."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from fhirserver.search.parameters import r4_registry
from fhirserver.search.query import Query
from fhirserver.search.query_string import parse_each

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = "http://example.org/fhir"


def read(type_: str, text: str, *, strict: bool = True) -> Query:
    (query,) = read_each((type_,), text, strict=strict)
    return query


def read_each(types: Sequence[str], text: str, *, strict: bool = True) -> tuple[Query, ...]:
    pairs = parse_qsl(text.replace("+", "%2B"), keep_blank_values=True)
    return parse_each(types, pairs, r4_registry(), strict=strict, base_url=BASE, default_count=20, max_count=1000)
