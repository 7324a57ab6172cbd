"""Lines of the ledger as they lie in the database until events are made of them: which are as they were written.

A group is a document `{_id: {strand, number}, before, lines, seals}`: the number of its first line, and the seal before
that. Somebody may have changed it in whatever way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fhirserver.store.seals import digest_of, sealed
from fhirserver.store.versions import Document

FARTHEST = 16  # places from its seal that a line is looked for


class Row(NamedTuple):
    """A line, the seal that was written with it, and whether that holds by the seal written before it.

    What is not bytes in the database is None, and what was taken out.
    """

    strand: str
    number: int
    line: bytes | None
    seal: bytes | None
    intact: bool


def rows(key: bytes, group: Document) -> Iterator[Row]:
    """Each line that is there or was, by the key of the ledger. What is no group any more is one row, not intact.

    A line that was changed leaves those beside it as they were: the next one is sealed to what was written of it.
    """
    match group:
        case {"_id": {"strand": str(strand), "number": int(number)}, "lines": list(lines), "seals": list(seals)} if (
            number > 0 and (lines or seals)
        ):
            yield from _judged(key, strand, number, group.get("before"), lines, seals)
        case {"_id": {"strand": str(strand), "number": int(number)}}:
            yield Row(strand, number, None, None, intact=False)
        case _:
            yield Row(str(group["_id"]), 0, None, None, intact=False)


def _judged(
    key: bytes, strand: str, first: int, before: object, lines: list[object], seals: list[object]
) -> Iterator[Row]:
    """Where lines were taken out or put in, each of the others lies at most so many places from its seal."""
    moved = len(lines) - len(seals)
    low, high = max(min(moved, 0), -FARTHEST), min(max(moved, 0), FARTHEST)
    used = set[int]()
    for at, written in enumerate(seals):
        here = range(max(at + low, 0), min(at + high + 1, len(lines)))
        found = next((each for each in here if _holds(key, before, first + at, lines[each], written)), None)
        line = lines[at] if found is None and not moved else None if found is None else lines[found]
        used.add(at if found is None else found)
        yield Row(strand, first + at, _bytes(line), _bytes(written), found is not None)
        before = written
    beyond = [line for at, line in enumerate(lines) if at not in used] if moved > 0 else []
    for number, line in enumerate(beyond[-moved:], first + len(seals)):
        yield Row(strand, number, _bytes(line), None, intact=False)


def _holds(key: bytes, before: object, number: int, line: object, written: object) -> bool:
    if not (isinstance(before, bytes) and isinstance(line, bytes)):
        return False
    return sealed(key, before, number, digest_of(line)) == written


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None
