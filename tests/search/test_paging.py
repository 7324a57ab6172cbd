"""Pages by key: every row once, in order, whatever is written in between, forward and back."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from queries import NOW, read

from fhirserver.fhir.outcome import Outcome
from fhirserver.search.filters import query_filter
from fhirserver.search.paging import Cursor, Page, decode_cursor, encode_cursor, keys, page, slices
from fhirserver.search.query import Query

Document = dict[str, Any]
Fill = Callable[[list[Document]], None]

KEY = b"k" * 32
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
]


def document(number: int, updated: int, day: int | None, status: str | None, amount: str | None) -> Document:
    date = None if day is None else START + timedelta(days=day)
    sort = {"date": date, "status": status, "value-quantity": amount and Decimal128(amount)}
    return {
        "_id": f"{number:02}",
        "updated": START + timedelta(seconds=updated),
        "sort": {code: value for code, value in sort.items() if value is not None},
        "search": {
            "status": [status] if status else [],
            "date": [{"lo": date, "hi": date + timedelta(days=1)}] if date else [],
        },
    }


documents = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.none() | st.integers(-1, 2),
        st.none() | st.sampled_from(["amended", "final"]),
        st.none() | st.sampled_from(["-1", "5.0", "12", "100"]),
    ),
    min_size=1,
    max_size=14,
).map(lambda rows: [document(number, *row) for number, row in enumerate(rows)])


def in_order(query: Query, found: list[Document]) -> list[str]:
    """As the specification says, by comparing two at a time."""

    def value(document: Document, field: str) -> Any:
        head, _, code = field.partition(".")
        found = document[head].get(code) if code else document[head]
        return found.to_decimal() if isinstance(found, Decimal128) else found

    def compare(a: Document, b: Document) -> int:
        for key in keys(query):
            left, right = value(a, key.field), value(b, key.field)
            if left == right:
                continue
            if left is None or right is None:
                return 1 if left is None else -1
            return -1 if (left < right) != key.descending else 1
        return 0

    return [document["_id"] for document in sorted(found, key=cmp_to_key(compare))]


def fetch(collection: Collection[Document], query: Query, cursor: Cursor | None) -> Page[Document]:
    rows: list[Document] = []
    for each in slices(query, query_filter(query, NOW), cursor):
        limit = query.count + 1 - len(rows)
        if each.computed:
            ordered: list[Document] = [{"$set": each.computed}, {"$sort": dict(each.sort)}, {"$limit": limit}]
            rows += collection.aggregate([{"$match": each.filter}, *ordered])
        else:
            rows += collection.find(each.filter, {"updated": 1, "sort": 1}, sort=each.sort, limit=limit)
        if len(rows) > query.count:
            break
    return page(rows, query, cursor)


def walk(
    collection: Collection[Document], query: Query, step: str, cursor: Cursor | None, between: Callable[[], None]
) -> list[list[str]]:
    """The ids of every page, following `next` or `previous` as links that go out and come back."""
    pages = []
    while True:
        found = fetch(collection, query, cursor)
        pages.append([row["_id"] for row in found.rows])
        cursor = getattr(found, step)
        if cursor is None:
            return pages
        text = encode_cursor(KEY, query, cursor)
        assert decode_cursor(KEY, replaced(query, text)) == cursor
        between()


def replaced(query: Query, cursor: str) -> Query:
    return read("Observation", "&".join(f"{name}={value}" for name, value in query.used) + f"&_cursor={cursor}")


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=documents, count=st.integers(1, 4))
def test_walking_forward_and_back_gives_every_row_once_in_order(
    collection: Collection[Document], fill: Fill, order: str, rows: list[Document], count: int
) -> None:
    query = read("Observation", f"{order}&_count={count}")
    fill(rows)
    matching = list(collection.find(query_filter(query, NOW)))
    expected = in_order(query, matching)
    pages = walk(collection, query, "next", None, lambda: None)
    assert [id_ for ids in pages for id_ in ids] == expected
    assert all(len(ids) == count for ids in pages[:-1])
    if len(pages) > 1:
        last = fetch(collection, query, after(collection, query, pages[-2][-1]))
        assert last.previous is not None
        back = walk(collection, query, "previous", last.previous, lambda: None)
        assert [id_ for ids in reversed(back) for id_ in ids] == [id_ for ids in pages[:-1] for id_ in ids]
        assert fetch(collection, query, last.previous).next is not None


@pytest.mark.parametrize("order", ORDERS)
def test_rows_that_stay_are_seen_once_while_others_come_and_go(
    collection: Collection[Document], fill: Fill, order: str
) -> None:
    chance = random.Random(order)
    every = [
        document(
            number,
            chance.randrange(4),
            chance.choice([None, 0, 1, 2]),
            chance.choice([None, "amended", "final"]),
            chance.choice([None, "-1", "5.0", "12"]),
        )
        for number in range(60)
    ]
    stay, others = every[::2], every[1::2]
    fill(stay + others[:15])
    query = read("Observation", f"{order}&_count=3")
    expected = [row["_id"] for row in collection.find(query_filter(query, NOW)) if row in stay]

    def disturb() -> None:
        collection.delete_one({"_id": chance.choice(others)["_id"]})
        new = chance.choice(others)
        collection.replace_one({"_id": new["_id"]}, new, upsert=True)

    seen = [id_ for ids in walk(collection, query, "next", None, disturb) for id_ in ids]
    assert len(seen) == len(set(seen))
    staying = {row["_id"] for row in stay}
    in_result = [row for row in stay if row["_id"] in expected]
    assert [id_ for id_ in seen if id_ in staying] == in_order(query, in_result)


def after(collection: Collection[Document], query: Query, id_: str) -> Cursor:
    row = collection.find_one({"_id": id_})
    assert row is not None
    found = page([row, row], read("Observation", order_of(query) + "&_count=1"))
    assert found.next is not None
    return found.next


def order_of(query: Query) -> str:
    return "&".join(f"{name}={value}" for name, value in query.used if name == "_sort")


def test_a_search_by_date_descending_is_one_find() -> None:
    assert len(slices(read("Observation", "_sort=-date"), {})) == 1


def test_a_cursor_is_for_its_search_and_its_server_only() -> None:
    query = read("Observation", "status=final&_sort=date&_count=5")
    text = encode_cursor(KEY, query, Cursor((START, "01")))
    again = read("Observation", f"status=final&_sort=date&_count=10&_total=accurate&_cursor={text}")
    assert decode_cursor(KEY, again) == Cursor((START, "01"))
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
    assert page([], read("Observation", ""), Cursor(("01",))) == Page([], None, None)
