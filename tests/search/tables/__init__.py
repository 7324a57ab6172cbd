"""What searches find, as R4 says, by type of parameter: a small world, and rows of (query, ids in their order).

The expectations are read from https://hl7.org/fhir/R4/search.html, never from an answer. Queries are as a client types
them, but for what a URL cannot hold; HERE is the base of the server that is asked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Row = tuple[str, str]
Resource = dict[str, Any]
HERE = "http://here.example/fhir"
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"


class Table(NamedTuple):
    """`refused` are queries that are 400, whatever `Prefer` says."""

    world: list[Resource]
    rows: list[Row]
    refused: list[str]


def observation(id_: str, **elements: Any) -> Resource:
    given = {"code": {"text": "x"}} | elements
    return {"resourceType": "Observation", "id": id_, "status": "final"} | given


def coding(system: str | None, code: str | None, display: str | None = None) -> dict[str, str]:
    parts = {"system": system, "code": code, "display": display}
    return {key: text for key, text in parts.items() if text is not None}


def concept(*codings: dict[str, str], **more: str) -> Resource:
    return ({"coding": [*codings]} if codings else {}) | more
