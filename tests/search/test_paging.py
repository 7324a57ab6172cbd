"""Pages by key: every row once, in order, whatever is written in between, forward and back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection
from queries import NOW, read, read_each

from fhirserver.fhir.outcome import Outcome
from fhirserver.search.filters import query_filter
from fhirserver.search.paging import (
    Cursor,
    Key,
    Page,
    Row,
    bands,
    cursor_of,
    decode_cursor,
    encode_cursor,
    keys,
    merged,
    page,
)
from fhirserver.search.query import Query

Document = dict[str, Any]
World = Mapping[str, Collection[Document]]

KEY = b"k" * 32
ONE = ("Observation",)
SEVERAL = ("Encounter", "Observation", "Procedure")
START = datetime(2024, 1, 1, tzinfo=UTC)
ORDERS = [
    "",
    "_sort=_id",
    "_sort=-_id",
    "_sort=_lastUpdated",
    "_sort=-_lastUpdated",
    "_sort=date",
    "_sort=-date",
    "_sort=date,status",
    "_sort=-date,status",
    "_sort=date,-status",
    "_sort=-date,-status",
    "_sort=status,-_lastUpdated,value-quantity",
    "_sort=-status,value-quantity,date,_lastUpdated",
    "status=final&_sort=-value-quantity,status",
    "_id=00,01,02,03,04,05,06,07,08,09&_sort=date",
    "status=final,amended&date=ge2024&_sort=date,status",
    "_sort=identifier",
    "_sort=-identifier",
    "_sort=-identifier,date",
    "_sort=-identifier,-date",
    "_sort=date,-identifier",
    "_sort=-date,-identifier",
    "_sort=status,-identifier,_lastUpdated",
]


SEARCHES = [(types, order) for types in (ONE, SEVERAL) for order in ORDERS if types == ONE or "value" not in order]


@pytest.fixture(scope="module")
def world(mongodb: str) -> Iterator[World]:
    """A collection for each type."""
    options: CodecOptions[Document] = CodecOptions(tz_aware=True)
    with MongoClient[Document](mongodb) as client:
        yield {type_: client.paging_laws.get_collection(type_, options) for type_ in SEVERAL}
        client.drop_database("paging_laws")


def fill(world: World, rows: Sequence[Row]) -> None:
    for type_, collection in world.items():
        collection.delete_many({})
        if documents := [row.document for row in rows if row.type == type_]:
            collection.insert_many(documents)


def document(
    number: int, updated: int, day: int | None, status: str | None, amount: str | None, identifiers: str
) -> Document:
    date = None if day is None else START + timedelta(days=day)
    first, last = min(identifiers, default=None), max(identifiers, default=None)
    sort = {"date": date, "status": status, "value-quantity": amount and Decimal128(amount), "identifier": first}
    sort |= {"identifier:last": last if last != first else None}
    return {
        "_id": f"{number:02}",
        "updated": START + timedelta(seconds=updated),
        "sort": {code: value for code, value in sort.items() if value is not None},
        "identifiers": identifiers,
        "search": {
            "status": [status] if status else [],
            "date": [{"lo": date, "hi": date + timedelta(days=1)}] if date else [],
        },
    }


documents = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 3),
        st.none() | st.integers(-1, 2),
        st.none() | st.sampled_from(["amended", "final"]),
        st.none() | st.sampled_from(["-1", "5.0", "12", "100"]),
        st.sampled_from(["", "a", "b", "c", "ab", "ac", "cb"]),
    ),
    min_size=1,
    max_size=14,
)


def placed(types: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[Row]:
    """Each in one of the types; half as many ids as rows, so that types have some in common."""
    seen: dict[Any, Row] = {}
    for number, (type_, *values) in enumerate(rows):
        row = Row(types[type_ % len(types)], document(number if types == ONE else number // 2, *values))
        seen[row.type, row.document["_id"]] = row
    return list(seen.values())


def named(row: Row) -> str:
    return f"{row.type}/{row.document['_id']}"


def in_order(query: Query, found: list[Row]) -> list[str]:
    """As the specification says, by comparing two at a time; then by type and id."""

    def value(row: Row, key: Key) -> Any:
        head, _, code = key.field.partition(".")
        if code == "identifier":
            several = sorted(row.document["identifiers"], reverse=key.descending)
            return several[0] if several else None
        found = row.document[head].get(code) if code else row.document[head]
        return found.to_decimal() if isinstance(found, Decimal128) else found

    def compare(a: Row, b: Row) -> int:
        order = [*keys(query)]
        for key in order if query.sort else []:
            left, right = value(a, key), value(b, key)
            if key.field == "_id" and not any(each.code == "_id" for each in query.sort) and a.type != b.type:
                break
            if left == right:
                continue
            if left is None or right is None:
                return 1 if left is None else -1
            return -1 if (left < right) != key.descending else 1
        left, right = (a.type, a.document["_id"]), (b.type, b.document["_id"])
        return (left > right) - (left < right)

    return [named(row) for row in sorted(found, key=cmp_to_key(compare))]


def matching(world: World, queries: Sequence[Query]) -> list[Row]:
    found = ((query.type_, world[query.type_].find(query_filter(query, NOW))) for query in queries)
    return [Row(type_, row) for type_, rows in found for row in rows]


def fetch(world: World, queries: Sequence[Query], cursor: Cursor | None) -> Page:
    first, rows = queries[0], list[Row]()
    for band in bands(queries, [query_filter(query, NOW) for query in queries], cursor):
        limit = first.count + 1 - len(rows)
        found: list[Row] = []
        for each in band:
            collection = world[each.type]
            if each.stages:
                ordered: list[Document] = [*each.stages, {"$sort": dict(each.sort)}, {"$limit": limit}]
                some = [*collection.aggregate([{"$match": each.filter}, *ordered])]
            else:
                some = [*collection.find(each.filter, {"updated": 1, "sort": 1}, sort=each.sort, limit=limit)]
            found += [Row(each.place, row) for row in some]
        rows += merged(found, first, cursor)[:limit]
        if len(rows) > first.count:
            break
    return page(rows, first, cursor)


def walk(
    world: World, queries: Sequence[Query], step: str, cursor: Cursor | None, between: Callable[[], None]
) -> list[list[str]]:
    """The rows of every page, following `next` or `previous` as links that go out and come back."""
    pages = []
    while True:
        found = fetch(world, queries, cursor)
        pages.append([named(row) for row in found.rows])
        cursor = getattr(found, step)
        if cursor is None:
            return pages
        text = encode_cursor(KEY, queries[0], cursor)
        assert decode_cursor(KEY, replace(queries[0], cursor=text)) == cursor
        between()


@pytest.mark.parametrize(("types", "order"), SEARCHES)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=documents, count=st.integers(1, 4))
def test_walking_forward_and_back_gives_every_row_once_in_order(
    world: World, types: Sequence[str], order: str, drawn: list[tuple[Any, ...]], count: int
) -> None:
    queries = read_each(types, f"{order}&_count={count}")
    fill(world, placed(types, drawn))
    expected = in_order(queries[0], matching(world, queries))
    pages = walk(world, queries, "next", None, lambda: None)
    assert [name for names in pages for name in names] == expected
    assert all(len(names) == count for names in pages[:-1])
    if len(pages) > 1:
        last = fetch(world, queries, after(world, queries[0], pages[-2][-1]))
        assert last.previous is not None
        back = walk(world, queries, "previous", last.previous, lambda: None)
        assert [name for names in reversed(back) for name in names] == [n for names in pages[:-1] for n in names]
        assert fetch(world, queries, last.previous).next is not None


@pytest.mark.parametrize(("types", "order"), SEARCHES)
def test_rows_that_stay_are_seen_once_while_others_come_and_go(world: World, types: Sequence[str], order: str) -> None:
    chance = random.Random(order)
    every = placed(
        types,
        [
            (
                chance.randrange(3),
                chance.randrange(4),
                chance.choice([None, 0, 1, 2]),
                chance.choice([None, "amended", "final"]),
                chance.choice([None, "-1", "5.0", "12"]),
                chance.choice(["", "a", "b", "ab", "cb"]),
            )
            for _ in range(60)
        ],
    )
    stay, others = every[::2], every[1::2]
    fill(world, stay + others[:15])
    queries = read_each(types, f"{order}&_count=3")
    matched = {named(row) for row in matching(world, queries)}
    expected = in_order(queries[0], [row for row in stay if named(row) in matched])

    def disturb() -> None:
        leaving = chance.choice(others)
        world[leaving.type].delete_one({"_id": leaving.document["_id"]})
        new = chance.choice(others)
        world[new.type].replace_one({"_id": new.document["_id"]}, new.document, upsert=True)

    staying = {named(row) for row in stay}
    pages = walk(world, queries, "next", None, disturb)
    seen = [name for names in pages for name in names]
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name in staying] == expected
    end = after(world, queries[0], expected[-1])._replace(backward=True)
    pages = walk(world, queries, "previous", end, disturb)
    back = [name for names in reversed(pages) for name in names]
    assert len(back) == len(set(back))
    assert [name for name in back if name in staying] == expected[:-1]


def after(world: World, query: Query, name: str) -> Cursor:
    type_, _, id_ = name.partition("/")
    row = world[type_].find_one({"_id": id_})
    assert row is not None
    return cursor_of(query, Row(type_, row))


def test_a_search_by_date_descending_is_one_find() -> None:
    (((only),),) = bands([read("Observation", "_sort=-date")], [{}])
    assert (only.sort, only.computed, only.among) == ([("sort.date", -1), ("_id", -1)], {}, {})


def test_what_the_first_key_says_is_for_an_index_to_know() -> None:
    query = read("Observation", "_sort=-date,-identifier")
    here = Cursor((START, "b", "01"), "Observation")
    ((only,), *_) = bands([query], [{"deleted": None}], here)
    assert only.filter == {"deleted": None, "sort.date": {"$lte": START}}
    assert only.computed == {"last.identifier": {"$ifNull": ["$sort.identifier:last", "$sort.identifier"]}}


def test_a_cursor_is_for_its_search_and_its_server_only() -> None:
    query = read("Observation", "status=final&_sort=date&_count=5")
    text = encode_cursor(KEY, query, Cursor((START, "01"), "Observation"))
    again = read("Observation", f"status=final&_sort=date&_count=10&_total=accurate&_cursor={text}")
    assert decode_cursor(KEY, again) == Cursor((START, "01"), "Observation")
    middle = "A" if text[40] != "A" else "B"
    for key, other in [
        (b"x" * 32, f"status=final&_sort=date&_cursor={text}"),
        (KEY, f"status=amended&_sort=date&_cursor={text}"),
        (KEY, f"status=final&_sort=-date&_cursor={text}"),
        (KEY, f"status=final&_cursor={text}"),
        (KEY, f"status=final&_sort=date&_cursor={text[:40]}{middle}{text[41:]}"),
        (KEY, f"status=final&_sort=date&_cursor={text[:-1]}"),
        (KEY, "status=final&_sort=date&_cursor=x"),
        (KEY, "status=final&_sort=date&_cursor=%C3%A9"),
        (KEY, "status=final&_sort=date&_cursor=" + "A" * 100_000),
    ]:
        with pytest.raises(Outcome) as refusal:
            decode_cursor(key, read("Observation", other))
        assert refusal.value.status == 400


def test_an_empty_page_leads_nowhere() -> None:
    assert page([], read("Observation", ""), Cursor(("01",), "Observation")) == Page([], None, None)
