"""Pages by key: each continues strictly after the last row of the one before, whatever was written in between.

Missing values come last in both directions (https://hl7.org/fhir/R4/search.html#sort); MongoDB puts them first when
ascending. So an ascending first key is found in two bands, with a value and without, which lets an index serve each;
under a later ascending key the absence is computed and sorted by. Type and `_id` make every order total: without
`_sort` the types come one after the other, each a band of its own, otherwise the rows of a band are merged.

    cursor = decode_cursor(key, first) if first.cursor else None
    for band in bands(queries, filters, cursor):  # until room + 1 rows are there
        rows += merged([row for each in band for row in …], first, cursor)[: room(first, cursor) + 1 - len(rows)]
    found = page(rows, first, cursor)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import bson
from bson.decimal128 import Decimal128

from fhirserver.fhir.seals import seal, unseal
from fhirserver.search.contained import field
from fhirserver.search.filters import path
from fhirserver.search.full_text import score
from fhirserver.search.generated import LAST
from fhirserver.search.kept import kept
from fhirserver.search.mongo import Filter, conjunction, disjunction
from fhirserver.search.query import RESULT, SCORE, Query

_OPTIONS: bson.CodecOptions[dict[str, Any]] = bson.CodecOptions(tz_aware=True)


SCORED = "score"  # the field that a score is computed into
INSIDE = "inside"  # the index values of the contained resource that a row is about
WITHIN = "within"  # and its id


class Key(NamedTuple):
    """A field to sort by; `optional` where documents may lack it, `computed` where none has it."""

    field: str
    descending: bool
    optional: bool
    computed: bool = False


class Row(NamedTuple):
    """A document of a type; as `MedicationRequest#Medication` a contained resource with its container's document."""

    type: str
    document: dict[str, Any]


class Cursor(NamedTuple):
    """The sort values of a row (None for a missing one), its type, and whether to go on before it instead of after.

    `seen` is how many matches came before the place between the two pages.
    """

    values: tuple[Any, ...]
    type: str
    backward: bool = False
    seen: int = 0


class Slice(NamedTuple):
    """A part of the order in one type: what to find, how to sort, and what to compute for that, as `find` cannot.

    `among` is what to find among the computed; `apart` takes documents apart before, for rows of another `place`.
    """

    type: str
    filter: Filter
    sort: list[tuple[str, int]]
    computed: dict[str, Any]
    among: Filter
    apart: Sequence[dict[str, Any]] = ()
    place: str = ""

    @property
    def stages(self) -> list[dict[str, Any]]:
        """What lies between finding and sorting."""
        computed = [{"$set": self.computed}] if self.computed else []
        return [*self.apart, *computed, *([{"$match": self.among}] if self.among else [])]


class Page(NamedTuple):
    """The rows of a page in the order asked for, and where its neighbours begin."""

    rows: list[Row]
    next: Cursor | None
    previous: Cursor | None


@kept
def keys(query: Query) -> tuple[Key, ...]:
    """The order within a type; without _sort by `_id`, which grows with time. A container may have several rows."""
    found = _keys(query)
    return (*found, Key(WITHIN, found[-1].descending, False, computed=True)) if query.inside else found


def _keys(query: Query) -> tuple[Key, ...]:
    found = []
    for code, parameter, descending, largest in query.sort:
        if code == SCORE:
            found.append(Key(SCORED, descending, False, computed=True))
            continue
        field = path(parameter)
        stored = not field.startswith("search.")
        where = f"last.{code}" if largest else f"sort.{code}"
        found.append(Key(field if stored else where, descending, not stored, largest and not stored))
        if field == "_id":
            return tuple(found)
    return (*found, Key("_id", bool(found) and found[-1].descending, False))


@kept
def sort_fields(query: Query) -> list[str]:
    """What the place of a row is read from."""
    found = []
    for key in keys(query):
        field = key.field.replace("last.", "sort.", 1)
        found += [field, field + LAST] if key.descending and key.optional else [field]
    return found


def bands(queries: Sequence[Query], filters: Sequence[Filter], cursor: Cursor | None = None) -> list[list[Slice]]:
    """What to find one after the other until the page is full; the rows of each are merged. One query for each type."""
    backward = cursor is not None and cursor.backward
    pairs = sorted(zip(queries, filters, strict=True), key=lambda pair: pair[0].place, reverse=backward)
    found = [slices(query, filter_, cursor) for query, filter_ in pairs]
    if pairs and not queries[0].sort:
        return [[each] for own in found for each in own if each]
    return [[each for each in band if each] for band in zip(*found, strict=True)]


def slices(query: Query, filter_: Filter, cursor: Cursor | None = None) -> list[Slice | None]:
    """One or two finds in a type, one for each band; None where it has nothing there."""
    order = keys(query)
    backward = cursor is not None and cursor.backward
    computed = {f"absent_{i}": _absent(key) for i, key in enumerate(order) if i and key.optional and not key.descending}
    sort: list[tuple[str, int]] = []
    for i, key in enumerate(order):
        if f"absent_{i}" in computed:
            sort.append((f"absent_{i}", -1 if backward else 1))
        sort.append((key.field, -1 if key.descending != backward else 1))
    for key in order:
        if key.computed and key.field != WITHIN:
            computed[key.field] = score(query.criteria) if key.field == SCORED else _largest(key)
    found: list[Slice | None] = []
    for parts in _parts(query, order, cursor):
        if parts is None:
            found.append(None)
            continue
        late = [part for part in parts if any(key.computed for key in order) and not _of_stored(part, order[0])]
        early = [part for part in parts if part not in late]
        whole, among = conjunction([filter_, *early]), conjunction(late)
        found.append(Slice(query.type_, whole, sort, computed, among, apart(query, filter_), query.place))
    return found


def apart(query: Query, filter_: Filter) -> list[dict[str, Any]]:
    """The stages that make a row of each contained resource that matches: of one at a time the same is asked again."""
    if query.inside is None:
        return []
    elements = f"search.{field(query.inside)}"
    return [
        {"$set": {INSIDE: f"${elements}"}},
        {"$unwind": f"${INSIDE}"},
        {"$set": {elements: [f"${INSIDE}"], WITHIN: f"${INSIDE}._id"}},
        {"$match": filter_},
    ]


def _of_stored(part: Filter, first: Key) -> bool:
    """Whether a condition is about nothing but the first key, and an index may know that."""
    return not first.computed and part.keys() == {first.field}


def _largest(key: Key) -> dict[str, Any]:
    """https://hl7.org/fhir/R4/search.html#sort: of several values the one that comes first in the order."""
    stored = key.field.replace("last.", "$sort.", 1)
    return {"$ifNull": [f"{stored}{LAST}", stored]}


def merged(rows: list[Row], query: Query, cursor: Cursor | None = None) -> list[Row]:
    """In the order of all types: from the last key to the first, for sorting is stable."""
    backward = cursor is not None and cursor.backward
    order = keys(query)
    before = _before_type(query, order)
    for key in reversed(order[before:]):
        _sort(rows, key, backward)
    rows.sort(key=lambda row: row.type, reverse=backward)
    for key in reversed(order[:before]):
        _sort(rows, key, backward)
    return rows


def _sort(rows: list[Row], key: Key, backward: bool) -> None:
    def place(row: Row) -> tuple[bool, int, Any]:
        value = _value(row.document, key)
        here = value is None  # the greatest of an ascending key and the least of a descending one: last of both
        return here != key.descending, _bracket(value), value.to_decimal() if isinstance(value, Decimal128) else value

    rows.sort(key=place, reverse=key.descending != backward)


def _bracket(value: Any) -> int:
    """Numbers, texts and dates in MongoDB's order. A parameter has several while it is indexed anew as another type.

    https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
    """
    return 1 if isinstance(value, str) else 2 if isinstance(value, datetime) else 0


def _before_type(query: Query, order: Sequence[Key]) -> int:
    """How many keys come before the type in the order: those that were asked for."""
    return len(order) - (query.inside is not None) - (not any(key.code == "_id" for key in query.sort))


def room(query: Query, cursor: Cursor | None = None) -> int:
    """How many matches this page has at most."""
    if query.most is None or (cursor is not None and cursor.backward):
        return query.count
    return max(0, min(query.count, query.most - (cursor.seen if cursor else 0)))


def page(rows: Sequence[Row], query: Query, cursor: Cursor | None = None, most: int | None = None) -> Page:
    """From at most one row more than there is room for, as the bands gave them; of these at most so many."""
    size = room(query, cursor) if most is None else min(most, room(query, cursor))
    more = len(rows) > size
    shown = list(rows[:size])
    start = cursor.seen if cursor else 0
    if cursor is not None and cursor.backward:
        shown.reverse()
        before, after = more, True
        start = max(0, start - len(shown))
    else:
        before, after = cursor is not None, more
    end = start + len(shown)
    if not shown:
        return Page(shown, None, None)
    return Page(
        shown,
        cursor_of(query, shown[-1], seen=end) if after and (query.most is None or end < query.most) else None,
        cursor_of(query, shown[0], seen=start, backward=True) if before else None,
    )


def cursor_of(query: Query, row: Row, *, backward: bool = False, seen: int = 0) -> Cursor:
    """Where a row with `_id`, `updated` and `sort` stands."""
    return Cursor(tuple(_value(row.document, key) for key in keys(query)), row.type, backward, seen)


def encode_cursor(secret: bytes, query: Query, cursor: Cursor) -> str:
    """Opaque, signed, and good for this search only."""
    place = {"v": list(cursor.values), "t": cursor.type, "b": cursor.backward, "n": cursor.seen}
    return seal(secret, bson.encode(place), _purpose(query))


def decode_cursor(secret: bytes, query: Query) -> Cursor:
    """The cursor of a query; 400 for one that this server did not give out for it."""
    document = bson.decode(unseal(secret, query.cursor or "", _purpose(query)), _OPTIONS)
    return Cursor(tuple(document["v"]), document.get("t", query.type_), document["b"], document.get("n", 0))


def _parts(query: Query, order: Sequence[Key], cursor: Cursor | None) -> Iterator[list[Filter] | None]:
    """The conditions of each band; the bands are the same for every type."""
    first = order[0]
    beyond = _onward(query, order, cursor)
    if not first.optional:
        yield beyond
        return
    at, backward = (cursor.values[0], cursor.backward) if cursor else (None, False)
    present: Filter = {first.field: {"$exists": True}}
    absent: Filter = {first.field: {"$exists": False}}
    if first.descending and cursor is None:  # in MongoDB's own order, in one find
        yield []
    elif cursor is None:
        yield [present]
        yield [absent]
    elif at is None:
        yield None if beyond is None else [absent, *beyond]
        if backward:
            yield [present]
    else:
        yield beyond
        if not backward:
            yield [absent]


def _onward(query: Query, order: Sequence[Key], cursor: Cursor | None) -> list[Filter] | None:
    """What is left of a type at a cursor: None for nothing, no condition for all.

    A type that comes after the cursor's has what equals it in the keys before the type, too.
    """
    if cursor is None:
        return []
    before = _before_type(query, order)
    later = (query.place > cursor.type) != cursor.backward
    if query.place == cursor.type:
        beyond = _beyond(order, cursor)
    elif before == 0:
        return [] if later else None
    else:
        beyond = _beyond(order[:before], cursor, equal=later)
    return None if beyond is None else [*_bound(order[0], cursor), beyond]


def _bound(first: Key, cursor: Cursor) -> list[Filter]:
    """Follows from what lies beyond the cursor; said apart so that an index starts there."""
    if cursor.values[0] is None:
        return []
    return [{first.field: {_comparison(first, cursor.backward) + "e": cursor.values[0]}}]


def _beyond(order: Sequence[Key], cursor: Cursor, *, equal: bool = False) -> Filter | None:
    """Strictly after the cursor in the order of these keys, or before it when going backward; `equal`: or there."""
    rows: list[Filter] = []
    same: list[Filter] = []
    for key, value in zip(order, cursor.values, strict=False):
        step = _step(key, value, cursor.backward)
        if step is not None:
            rows.append(conjunction([*same, step]))
        same.append({key.field: {"$exists": False} if value is None else {"$eq": value}})
    if equal:
        rows.append(conjunction(same))
    return disjunction(rows) if rows else None


def _step(key: Key, value: Any, backward: bool) -> Filter | None:
    """What comes after a value of this key alone; a missing one is after all others."""
    if value is None:
        return {key.field: {"$exists": True}} if backward else None
    further: Filter = {key.field: {_comparison(key, backward): value}}
    return {"$or": [further, {key.field: {"$exists": False}}]} if key.optional and not backward else further


def _comparison(key: Key, backward: bool) -> str:
    return "$lt" if key.descending != backward else "$gt"


def _absent(key: Key) -> dict[str, Any]:
    return {"$eq": [{"$type": f"${key.field}"}, "missing"]}


def _value(document: Mapping[str, Any], key: Key) -> Any:
    """`sort.date` of a document, or where it is sorted by the last of several the last; None where it is missing."""
    head, _, code = key.field.partition(".")
    if not code:
        return document.get(head)
    found = document.get("sort") or {}
    return found.get(code + LAST, found.get(code)) if key.descending else found.get(code)


def _purpose(query: Query) -> bytes:
    """What decides which rows there are and in what order."""
    deciding = ("_sort", "_contained", "_containedType")
    criteria = [pair for pair in query.used if pair[0] not in RESULT or pair[0] in deciding]
    return repr((query.type_, query.compartment, criteria)).encode()
