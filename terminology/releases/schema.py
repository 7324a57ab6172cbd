"""How releases lie in the database: a row for each in `releases`, and a collection of its own for its concepts.

A row: {_id: key, kind, url, version, name, properties, state, written, total, begun, current}. `current` is when the
release was made the one that its URL means without a version; the latest counts.

A concept: {_id: code, n, said, display, inactive, abstract, line, facts, groups, words}. `said` is a `Concept` as JSON,
which is what is answered; the rest is to search by. `n` is its place in the order of the release, `line` are the places
of the concept and of all that subsume it, `facts` are `property=value`, `groups` those of each group of relationships,
`words` those of its names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from pymongo import ASCENDING, IndexModel

from terminology.concepts import Concept, words
from terminology.releases.closure import Line

Document = dict[str, Any]

RELEASES = "releases"
FORMAT = 1  # of what is below: another one is another load
PARENT = "parent"
MEMBER = "^"  # the fact of being in a reference set
COMPRESSED = {"wiredTiger": {"configString": "block_compressor=zstd"}}  # on disk, as store.schema has it
TOLD: Document = {"said": 1}  # the projection for what is said of a concept


def _index(name: str, *keys: str) -> IndexModel:
    return IndexModel([(key, ASCENDING) for key in keys], name=name, storageEngine=COMPRESSED)


INDEXES = (
    _index("n", "n"),
    _index("line", "line", "n", "_id"),
    _index("facts", "facts", "n", "_id"),
    _index("words", "words"),
)


def concepts_of(key: str) -> str:
    return f"{RELEASES}.{key}"


def fact(name: str, value: str) -> str:
    return f"{name}={value}"


class Staged(NamedTuple):
    """A concept at its place; `facts` are what it is searched by, `groups` those of them that stand together."""

    n: int
    concept: Concept
    facts: Sequence[str]
    groups: Sequence[Sequence[str]]


def document(staged: Staged, line: Line) -> Document:
    n, concept, facts, groups = staged
    said: Document = {
        "said": _encoder.encode(concept),
        "display": concept.display,
        "inactive": concept.inactive,
        "abstract": concept.abstract,
        "line": [*line],
        "facts": [*dict.fromkeys(facts)],
        "groups": groups,
        "words": [*dict.fromkeys(words("\n".join((concept.code, *concept.names()))))],
    }
    return {"_id": concept.code, "n": n, **{name: value for name, value in said.items() if value}}


def concept(document: Mapping[str, Any]) -> Concept:
    """As a document, in the projection TOLD, says it."""
    return _decoder.decode(document["said"])


_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(Concept, float_hook=Decimal)
