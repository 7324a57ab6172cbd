"""A release in the database as a code system. What it is asked goes to the database; little of it is remembered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ExecutionTimeout

from fhirserver.fhir.outcome import invalid, too_costly
from terminology.canonical import Canonical
from terminology.codes import MOST
from terminology.concepts import Codes, Concept, Filter
from terminology.releases.constraints import Family
from terminology.releases.filters import below, condition
from terminology.releases.schema import TOLD, Document, concept, concepts_of, fact

REMEMBERED = 4_096  # concepts
AT_ONCE = 10_000  # codes in one question
MOST_MATCHING = 50_000  # of a regular expression
BATCH = 10_000  # rows of an answer, as far as 16 MB go
K = TypeVar("K")
V = TypeVar("V")


class _Recent(Generic[K, V]):
    """What was asked last; the oldest is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        return self._known.get(key)

    def keep(self, key: K, value: V) -> V:
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[key] = value
        return value


class Page(NamedTuple):
    """What is asked of a large code system: some of the codes that pass all filters and have all words.

    A word is the beginning of one. Without `size`, all of them, and no more than one above `most`.
    """

    filters: tuple[Filter, ...]
    words: tuple[str, ...] = ()
    active: bool = False
    selectable: bool = False
    offset: int = 0
    size: int | None = None
    most: int = MOST


class Release:
    """A `concepts.System`, of one row of `releases`; what it says never changes.

    Each question has so many milliseconds.
    """

    content = "complete"
    usable = True
    finite = True
    size = REMEMBERED  # as `kept` counts

    def __init__(self, database: AsyncDatabase[Document], row: Mapping[str, Any], milliseconds: int) -> None:
        self.url: str = row["url"]
        self.version: str | None = row["version"]
        self.name: str = row["name"]
        self.kind: str = row["kind"]
        self._total: int = row["total"]
        self.properties = frozenset[str](row["properties"])
        self._collection = database[concepts_of(row["_id"])]
        self._milliseconds = milliseconds
        self._known: _Recent[str, tuple[Concept, int, tuple[int, ...]]] = _Recent(REMEMBERED)
        self._passed: _Recent[tuple[str, tuple[Filter, ...]], bool] = _Recent(REMEMBERED)

    def needs(self) -> Iterator[Canonical]:
        yield from ()

    async def _found(
        self, filter_: Document, projection: Document, sort: str | None = None, skip: int = 0, limit: int = 0
    ) -> list[Document]:
        with self._in_time():
            cursor = self._collection.find(
                filter_,
                projection,
                sort=[(sort, 1)] if sort else None,
                skip=skip,
                limit=limit,
                batch_size=BATCH,
                max_time_ms=self._milliseconds,
            )
            return await cursor.to_list()

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            yield
        except ExecutionTimeout as error:
            raise too_costly(f"{self.name} is too large to answer this in time; ask for less of it") from error

    # one code

    async def _one(self, code: str) -> tuple[Concept, int, tuple[int, ...]] | None:
        """With its place, and those of all above it."""
        known = self._known.get(code)
        if known is None:
            found = await self._collection.find_one(
                {"_id": code}, TOLD | {"n": 1, "line": 1}, max_time_ms=self._milliseconds
            )
            if found is None:
                return None
            known = self._known.keep(code, (concept(found), found["n"], tuple(found["line"])))
        return known

    async def _present(self, code: str) -> tuple[Concept, int, tuple[int, ...]]:
        found = await self._one(code)
        if found is None:
            raise invalid(f"{code[:80]!r} is not a code of code system {self.url}", code="not-found")
        return found

    async def concept(self, code: str) -> Concept | None:
        found = await self._one(code)
        return None if found is None else found[0]

    async def place(self, code: str) -> int:
        return (await self._present(code))[1]

    async def line(self, code: str) -> Collection[int]:
        return (await self._present(code))[2]

    async def over(self, code: str) -> Collection[str]:
        return (await self._present(code))[0].parents

    async def subsumes(self, one: str, other: str) -> bool:
        _, _, line = await self._present(other)
        found = await self._one(one)
        return found is not None and found[1] in line

    async def passes(self, code: str, filters: Sequence[Filter]) -> bool:
        key = code, tuple(filters)
        known = self._passed.get(key)
        if known is None:
            known = self._passed.keep(key, await self.has(await self._all(filters, {"_id": code})))
        return known

    async def codes(self, document: Document) -> list[str]:
        rows = await self._found(document, {"_id": 1}, limit=MOST + 1)
        if len(rows) > MOST:
            raise too_costly(f"these are more than {MOST:,} codes of {self.name}, more than can be held at once")
        return [row["_id"] for row in rows]

    async def families(self, codes: Sequence[str]) -> list[Family]:
        rows = await self._found({"_id": {"$in": [*codes]}}, TOLD | {"n": 1, "line": 1})
        return [Family(row["_id"], row["n"], row["line"], concept(row).parents) for row in rows]

    async def matching(self, field: str, fits: Callable[[str], bool], within: Document) -> list[str]:
        cursor = self._collection.find(within, {field: 1}, batch_size=BATCH, max_time_ms=self._milliseconds)
        found: list[str] = []
        with self._in_time():
            async for row in cursor:
                texts = row.get(field, ())
                if any(map(fits, (texts,) if isinstance(texts, str) else texts)):
                    found.append(row["_id"])
                if len(found) > MOST_MATCHING:
                    raise too_costly(f"more than {MOST_MATCHING:,} codes of {self.name} fit the regular expression")
        return found

    async def grouped(self, fits: Callable[[Sequence[str]], bool], within: Document) -> list[str]:
        cursor = self._collection.find(within, {"groups": 1}, batch_size=BATCH, max_time_ms=self._milliseconds)
        found: list[str] = []
        with self._in_time():
            async for row in cursor:
                if any(map(fits, row.get("groups", ()))):
                    found.append(row["_id"])
                if len(found) > MOST_MATCHING:
                    raise too_costly(f"more than {MOST_MATCHING:,} codes of {self.name} have such a group")
        return found

    async def values(self, names: Sequence[str], within: Document) -> list[str]:
        begins = tuple([fact(name, "") for name in names])
        cursor = self._collection.find(within, {"facts": 1}, batch_size=BATCH, max_time_ms=self._milliseconds)
        found: set[str] = set()
        with self._in_time():
            async for row in cursor:
                found |= {text.partition("=")[2] for text in row["facts"] if text.startswith(begins)}
        return sorted(found)

    async def has(self, document: Document) -> bool:
        return await self._collection.find_one(document, {"_id": 1}, max_time_ms=self._milliseconds) is not None

    # many

    async def _all(self, filters: Sequence[Filter], *others: Document) -> Document:
        asked = [each for each in (*others, *[await condition(self, each) for each in filters]) if each]
        return {"$and": asked} if asked else {}

    async def page(self, asked: Page) -> tuple[int, list[Concept]]:
        """How many there are, and those of a page, in the order of the release; by words, with all of them to rank."""
        others: list[Document] = [{"inactive": None}] if asked.active else []
        others += [{"abstract": None}] if asked.selectable else []
        others += [{"words": {"$elemMatch": {"$gte": word, "$lt": f"{word}\U0010ffff"}}} for word in asked.words]
        filter_ = await self._all(asked.filters, *others)
        limit = asked.most + 1 if asked.size is None else asked.size
        rows = await self._found(filter_, TOLD, sort="n", skip=asked.offset, limit=limit) if limit else []
        last = bool(rows) and len(rows) < limit
        total = asked.offset + len(rows) if last else await self._counted(filter_)
        return total, [concept(row) for row in rows]

    async def _counted(self, filter_: Document) -> int:
        if not filter_:
            return self._total
        with self._in_time():
            return await self._collection.count_documents(filter_, maxTimeMS=self._milliseconds)

    async def concepts(self, codes: Collection[str]) -> Mapping[str, Concept]:
        found: dict[str, Concept] = {}
        asked = sorted(codes)
        for at in range(0, len(asked), AT_ONCE):
            rows = await self._found({"_id": {"$in": asked[at : at + AT_ONCE]}}, TOLD)
            found |= {row["_id"]: concept(row) for row in rows}
        return found

    async def selected(self, filters: Sequence[Filter], *, active: bool = False) -> Codes:
        usable: list[Document] = [{"inactive": None}] if active else []
        return frozenset(await self.codes(await self._all(filters, *usable)))

    async def ordered(self, codes: Codes) -> Sequence[str]:
        places: dict[str, int] = {}
        asked = sorted(codes)
        for at in range(0, len(asked), AT_ONCE):
            rows = await self._found({"_id": {"$in": asked[at : at + AT_ONCE]}}, {"n": 1})
            places |= {row["_id"]: row["n"] for row in rows}
        return sorted(places, key=places.__getitem__)

    async def below(self, code: str) -> Codes:
        return frozenset(await self.codes(await below(self, code)))

    async def above(self, code: str) -> Codes:
        line = await self.line(code)
        return frozenset(await self.codes({"n": {"$in": [*line]}}))
