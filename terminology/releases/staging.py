"""What the files of a release say, put together by concepts: an SQLite file, so that no release must fit in memory.

The files come one after the other, each in its own order; a concept is written to the database once, with all of it.
In memory are the codes, and who is above whom.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from terminology.concepts import Concept, Designation, Property
from terminology.releases.schema import PARENT, Staged, fact

TOGETHER = 5_000  # rows
TABLES = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;
CREATE TABLE concepts (n INTEGER PRIMARY KEY, display TEXT, definition TEXT, inactive INTEGER, abstract INTEGER);
CREATE TABLE designations (n INTEGER, rank INTEGER, value TEXT, language TEXT, use TEXT);
CREATE TABLE facts (n INTEGER, fact TEXT, shown TEXT, together INTEGER);
"""
INSERTS = {
    "concepts": "INSERT INTO concepts VALUES (?, ?, ?, ?, ?)",
    "designations": "INSERT INTO designations VALUES (?, ?, ?, ?, ?)",
    "facts": "INSERT INTO facts VALUES (?, ?, ?, ?)",
}
READY = "CREATE INDEX of_designations ON designations (n, rank); CREATE INDEX of_facts ON facts (n);"
CONCEPTS = "SELECT n, display, definition, inactive, abstract FROM concepts WHERE n BETWEEN ? AND ? ORDER BY n"
DESIGNATIONS = """SELECT n, value, language, use FROM designations WHERE n BETWEEN ? AND ?
ORDER BY n, rank, rowid"""
FACTS = "SELECT n, fact, shown, together FROM facts WHERE n BETWEEN ? AND ? ORDER BY n, rowid"


class Staging:
    """Written first, each concept before what is said of it; then `sealed`, then read.

    What is said of a code that is not there is left out. Places count from 0.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.executescript(TABLES)
        self._database.execute("BEGIN")
        self._waiting: dict[str, list[tuple[Any, ...]]] = {}
        self._places: dict[str, int] = {}
        self._codes: list[str] = []
        self.parents: dict[int, list[int]] = {}
        self.children: dict[int, list[int]] = {}
        self.names: set[str] = set()

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def __contains__(self, code: str) -> bool:
        return code in self._places

    # writing

    def concept(
        self,
        code: str,
        display: str | None = None,
        definition: str | None = None,
        *,
        inactive: bool = False,
        abstract: bool = False,
    ) -> None:
        """Once for each code. Without a display of its own, it is called by the first of its designations."""
        if code not in self._places:
            n = self._places[code] = len(self._codes)
            self._codes.append(code)
            self._add("concepts", (n, display or None, definition or None, inactive, abstract))

    def designation(
        self, code: str, value: str, language: str | None = None, use: Mapping[str, Any] | None = None, rank: int = 0
    ) -> None:
        """Lower ranks come first."""
        n = self._places.get(code)
        if n is not None and value:
            self._add("designations", (n, rank, value, language, None if use is None else _text(use)))

    def property(self, code: str, name: str, type_: str, value: Any, together: int | None = None) -> None:
        """`together`: the number of the group of relationships that it is in; 0 is a group of its own."""
        n = self._places.get(code)
        if n is not None:
            found = Property(name, type_, value)
            self.names.add(name)
            self._add("facts", (n, fact(name, found.text), _text(found), together))

    def fact(self, code: str, name: str, value: str) -> None:
        """What is searched by, and not shown."""
        n = self._places.get(code)
        if n is not None:
            self.names.add(name)
            self._add("facts", (n, fact(name, value), None, None))

    def below(self, code: str, parent: str) -> None:
        child, above = self._places.get(code), self._places.get(parent)
        if child is not None and above is not None and above not in self.parents.get(child, ()):
            self.parents.setdefault(child, []).append(above)
            self.children.setdefault(above, []).append(child)

    def _add(self, table: str, row: tuple[Any, ...]) -> None:
        rows = self._waiting.setdefault(table, [])
        rows.append(row)
        if len(rows) == TOGETHER:
            self._flush(table)

    def _flush(self, table: str) -> None:
        self._database.executemany(INSERTS[table], self._waiting.pop(table))

    def sealed(self) -> int:
        """How many concepts there are."""
        for table in [*self._waiting]:
            self._flush(table)
        self._database.execute("COMMIT")
        self._database.executescript(READY)
        return len(self._codes)

    # reading

    def batch(self, first: int, count: int) -> Iterator[Staged]:
        """The concepts from a place on."""
        span = first, first + count - 1
        named, known = self._by_concept(DESIGNATIONS, span), self._by_concept(FACTS, span)
        for n, display, definition, inactive, abstract in self._database.execute(CONCEPTS, span):
            designations = tuple(
                [
                    Designation(value, language, None if use is None else _use(use))
                    for _, value, language, use in named.get(n, ())
                ]
            )
            facts = known.get(n, ())
            parents = [self._codes[each] for each in self.parents.get(n, ())]
            concept = Concept(
                self._codes[n],
                display or (designations[0].value if designations else None),
                definition,
                designations,
                tuple([_property(shown) for _, _, shown, _ in facts if shown is not None]),
                tuple(parents),
                tuple([self._codes[each] for each in self.children.get(n, ())]),
                bool(inactive),
                bool(abstract),
            )
            told = [*(each for _, each, *_ in facts), *(fact(PARENT, each) for each in parents)]
            yield Staged(n, concept, told, _groups((each, number) for _, each, _, number in facts))

    def _by_concept(self, question: str, span: tuple[int, int]) -> dict[int, list[tuple[Any, ...]]]:
        return {n: [*rows] for n, rows in groupby(self._database.execute(question, span), key=lambda row: row[0])}


def _groups(facts: Iterable[tuple[str, int | None]]) -> list[list[str]]:
    alone: list[list[str]] = []
    found: dict[int, list[str]] = {}
    for each, number in facts:
        if number == 0:
            alone.append([each])
        elif number is not None:
            found.setdefault(number, []).append(each)
    return [*found.values(), *alone]


_encoder = msgspec.json.Encoder(decimal_format="number")
_property = msgspec.json.Decoder(Property).decode


def _text(value: Any) -> str:
    return _encoder.encode(value).decode()


@lru_cache(1000)  # there are few, and they come again and again
def _use(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = msgspec.json.decode(text)
    return found
