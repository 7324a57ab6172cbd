"""Pages by key: each continues strictly after the last row of the one before, whatever was written in between.

Missing values come last in both directions (https://hl7.org/fhir/R4/search.html#sort); MongoDB puts them first when
ascending. So an ascending first key is found in two slices, with a value and without, which lets an index serve each;
under a later ascending key the absence is computed and sorted by. `_id` makes every order total.

    cursor = decode_cursor(key, query) if query.cursor else None
    for each in slices(query, query_filter(query, now), cursor):  # until count + 1 rows are there
        rows += store.find(type_, each.filter, each.sort, query.count + 1 - len(rows), fields, each.computed)
    found = page(rows, query, cursor)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import bson

from fhirserver.fhir.seals import seal, unseal
from fhirserver.search.filters import Filter, conjunction, disjunction, path
from fhirserver.search.query import RESULT, Query

Row = TypeVar("Row", bound=Mapping[str, Any])

_OPTIONS: bson.CodecOptions[dict[str, Any]] = bson.CodecOptions(tz_aware=True)


class Key(NamedTuple):
    """A field to sort by; `optional` where documents may lack it."""

    field: str
    descending: bool
    optional: bool


class Cursor(NamedTuple):
    """The sort values of a row (None for a missing one), and whether to go on before it instead of after."""

    values: tuple[Any, ...]
    backward: bool = False


class Slice(NamedTuple):
    """A part of the order: what to find, how to sort, and what to compute for that, which `find` cannot."""

    filter: Filter
    sort: list[tuple[str, int]]
    computed: dict[str, Any]


class Page(NamedTuple, Generic[Row]):
    """The rows of a page in the order asked for, and where its neighbours begin."""

    rows: list[Row]
    next: Cursor | None
    previous: Cursor | None


def keys(query: Query) -> tuple[Key, ...]:
    """The total order of a query; without _sort by `_id`, which grows with time."""
    found = []
    for code, parameter, descending in query.sort:
        field = path(parameter)
        stored = not field.startswith("search.")
        found.append(Key(field if stored else f"sort.{code}", descending, not stored))
        if field == "_id":
            return tuple(found)
    return (*found, Key("_id", bool(found) and found[-1].descending, False))


def slices(query: Query, filter_: Filter, cursor: Cursor | None = None) -> list[Slice]:
    """One or two finds, to be run in turn until the page is full."""
    order = keys(query)
    backward = cursor is not None and cursor.backward
    computed = {f"absent_{i}": _absent(key) for i, key in enumerate(order) if i and key.optional and not key.descending}
    sort: list[tuple[str, int]] = []
    for i, key in enumerate(order):
        if f"absent_{i}" in computed:
            sort.append((f"absent_{i}", -1 if backward else 1))
        sort.append((key.field, -1 if key.descending != backward else 1))
    return [Slice(conjunction([filter_, *parts]), sort, computed) for parts in _parts(order, cursor)]


def page(rows: Sequence[Row], query: Query, cursor: Cursor | None = None) -> Page[Row]:
    """From at most count + 1 rows, as the slices gave them."""
    more = len(rows) > query.count
    shown = list(rows[: query.count])
    if cursor is not None and cursor.backward:
        shown.reverse()
        before, after = more, True
    else:
        before, after = cursor is not None, more
    if not shown:
        return Page(shown, None, None)
    return Page(
        shown,
        cursor_of(query, shown[-1]) if after else None,
        cursor_of(query, shown[0], backward=True) if before else None,
    )


def cursor_of(query: Query, document: Mapping[str, Any], *, backward: bool = False) -> Cursor:
    """Where a row with `_id`, `updated` and `sort` stands."""
    return Cursor(tuple(_value(document, key.field) for key in keys(query)), backward)


def encode_cursor(secret: bytes, query: Query, cursor: Cursor) -> str:
    """Opaque, signed, and good for this search only."""
    return seal(secret, bson.encode({"v": list(cursor.values), "b": cursor.backward}), _purpose(query))


def decode_cursor(secret: bytes, query: Query) -> Cursor:
    """The cursor of a query; 400 for one that this server did not give out for it."""
    document = bson.decode(unseal(secret, query.cursor or "", _purpose(query)), _OPTIONS)
    return Cursor(tuple(document["v"]), document["b"])


def _parts(order: Sequence[Key], cursor: Cursor | None) -> Iterator[list[Filter]]:
    """The conditions of each slice."""
    first = order[0]
    beyond = [_beyond(order, cursor)] if cursor else []
    if not first.optional:
        yield [*_bound(first, cursor), *beyond]
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
        yield [absent, *beyond]
        if backward:
            yield [present]
    else:
        yield [*_bound(first, cursor), *beyond]
        if not backward:
            yield [absent]


def _bound(first: Key, cursor: Cursor | None) -> list[Filter]:
    """Follows from what lies beyond the cursor; said apart so that an index starts there."""
    if cursor is None:
        return []
    return [{first.field: {_comparison(first, cursor.backward) + "e": cursor.values[0]}}]


def _beyond(order: Sequence[Key], cursor: Cursor) -> Filter:
    """Strictly after the cursor in the order of its keys, or before it when going backward."""
    rows: list[Filter] = []
    same: list[Filter] = []
    for key, value in zip(order, cursor.values, strict=True):
        step = _step(key, value, cursor.backward)
        if step is not None:
            rows.append(conjunction([*same, step]))
        same.append({key.field: {"$exists": False} if value is None else {"$eq": value}})
    return disjunction(rows)


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


def _value(document: Mapping[str, Any], field: str) -> Any:
    """`sort.date` of a document, None where it is missing."""
    head, _, code = field.partition(".")
    return (document.get(head) or {}).get(code) if code else document[head]


def _purpose(query: Query) -> bytes:
    """What decides which rows there are and in what order."""
    criteria = [pair for pair in query.used if pair[0] not in RESULT or pair[0] == "_sort"]
    return repr((query.type_, query.compartment, criteria)).encode()
