"""Pages while others write: what was there all the time, unchanged, comes once, in order, forward and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
WORLD = "urn:world"
numbers = count()

statuses = st.sampled_from(["final", "amended", "preliminary"])
measured = st.fixed_dictionaries(
    {"status": statuses, "code": st.sampled_from(["a", "b", "c"]).map(lambda code: {"coding": [{"code": code}]})},
    optional={
        "effectiveDateTime": st.sampled_from(["2023", "2024", "2024-01-01", "2024-01-01T10:00:00Z", "2024-02"]),
        "valueQuantity": st.integers(-2, 12).map(lambda number: {"value": number}),
        "subject": st.sampled_from("12").map(lambda id_: {"reference": f"Patient/{id_}"}),
    },
).map(lambda elements: {"resourceType": "Observation", **elements})
visits = st.fixed_dictionaries(
    {"status": st.sampled_from(["planned", "finished"]), "class": st.just({"code": "AMB"})},
    optional={
        "period": st.sampled_from([{"start": "2024"}, {"end": "2024-01"}, {"start": "2023-05", "end": "2024-01-15"}]),
        "subject": st.sampled_from("12").map(lambda id_: {"reference": f"Patient/{id_}"}),
    },
).map(lambda elements: {"resourceType": "Encounter", **elements})

SHARED = ("_id", "_lastUpdated", "date", "status", "patient")
OWN = ("code", "value-quantity")


def orders(codes: tuple[str, ...]) -> st.SearchStrategy[str]:
    keys = st.tuples(st.sampled_from(["", "-"]), st.sampled_from(codes)).map("".join)
    return st.lists(keys, max_size=3, unique_by=lambda key: key.lstrip("-")).map(",".join)


searches = st.tuples(st.just("Observation?"), orders(SHARED + OWN)) | st.tuples(
    st.just("?_type=Observation,Encounter&"), orders(SHARED)
)


class Others:
    """Another connection, over which one world is filled and disturbed."""

    def __init__(self, client: Fhir, base_url: str) -> None:
        self.client = type(client)(base_url)
        self.world = f"w{next(numbers)}"
        self.untouched: set[str] = set()
        self.ids = (f"{self.world}-{number:03d}" for number in count())

    def __enter__(self) -> Others:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.http.close()

    def put(self, resource: Json, id_: str) -> None:
        tagged = resource | {"id": id_, "meta": {"tag": [{"system": WORLD, "code": self.world}]}}
        answer = self.client.put(f"{resource['resourceType']}/{id_}", tagged)
        assert answer.is_success, answer.text

    def fill(self, resources: list[Json]) -> None:
        entries = []
        for resource, id_ in zip(resources, self.ids, strict=False):
            tagged = resource | {"id": id_, "meta": {"tag": [{"system": WORLD, "code": self.world}]}}
            target = f"{resource['resourceType']}/{id_}"
            entries.append({"resource": tagged, "request": {"method": "PUT", "url": target}})
            self.untouched.add(target)
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        assert self.client.post("", bundle).status_code == 200

    def disturb(self, chosen: Random, things: list[Json]) -> None:
        """Inserts, updates that move a resource, deletes; of what is left alone so far, most stays so."""
        for _ in range(chosen.randint(0, 3)):
            thing, kind = chosen.choice(things), chosen.choice(["insert", "insert", "update", "delete"])
            mine = sorted(name for name in self.untouched if name.startswith(thing["resourceType"]))
            if kind == "insert":
                self.put(thing, chosen.choice(["0-", "z-", ""]) + next(self.ids))
            elif mine:
                name = chosen.choice(mine)
                self.untouched.discard(name)
                if kind == "update":
                    self.put(thing, name.partition("/")[2])
                else:
                    assert self.client.delete(name).is_success


def link(bundle: Json, relation: str) -> str | None:
    return next((each["url"] for each in bundle["link"] if each["relation"] == relation), None)


def matches(bundle: Json) -> list[str]:
    found = [entry for entry in bundle.get("entry", []) if entry["search"]["mode"] == "match"]
    return [f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in found]


def in_order(pages: Iterable[Json], others: Others) -> list[str]:
    return [name for page in pages for name in matches(page) if name in others.untouched]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    search=searches,
    first=st.lists(measured | visits, min_size=1, max_size=20),
    things=st.lists(measured | visits, min_size=5, max_size=20),
    size=st.integers(1, 7),
    seed=st.integers(0, 2**32),
)
def test_what_nobody_touches_comes_once_and_in_order(
    fhir: Fhir, search: tuple[str, str], first: list[Json], things: list[Json], size: int, seed: int
) -> None:
    (path, order), chosen = search, Random(seed)
    with Others(fhir, fhir.base_url) as others:
        others.fill(first)
        query = f"{path}_tag={WORLD}|{others.world}" + (f"&_sort={order}" if order else "")
        pages = walk(fhir, fhir.bundle(f"{query}&_count={size}"), "next", lambda: others.disturb(chosen, things))
        assert all(len(matches(page)) <= size for page in pages)
        assert in_order(pages, others) == in_order([fhir.bundle(f"{query}&_count=500")], others)
        while not matches(pages[-1]) and len(pages) > 1:  # the rest was deleted: an empty page has no neighbours
            pages.pop()
        back = walk(fhir, pages[-1], "previous", lambda: others.disturb(chosen, things))
        assert in_order(reversed(back), others) == in_order(pages, others)


def walk(fhir: Fhir, page: Json, relation: str, meanwhile: Callable[[], None]) -> list[Json]:
    """The pages from this one on, with something happening before each."""
    pages = [page]
    while url := link(pages[-1], relation):
        meanwhile()
        pages.append(fhir.bundle(url))
        assert len(pages) < 200, "the pages come to no end"
    return pages


@pytest.fixture
def page(fhir: Fhir) -> Iterator[Json]:
    with Others(fhir, fhir.base_url) as others:
        others.fill([{"resourceType": "Basic", "code": {"text": "x"}}] * 5)
        yield fhir.bundle(f"Basic?_tag={WORLD}|{others.world}&_sort=-_lastUpdated&_count=2")


def test_links_work_after_a_restart_and_on_another_server(serve: Serve) -> None:
    first = serve()
    with Others(first.client, first.client.base_url) as others:
        others.fill([{"resourceType": "Basic", "code": {"text": "x"}}] * 5)
    bundle = first.client.bundle("Basic?_sort=_id&_count=2")
    second = serve(database=first.settings.database).client
    elsewhere = second.bundle((link(bundle, "next") or "").replace(first.client.base_url, second.base_url))
    first.__exit__()
    again = serve(database=first.settings.database, port=first.settings.port).client
    after = again.bundle(link(bundle, "next") or "")
    assert matches(bundle) + matches(after) == sorted(others.untouched)[:4]
    assert matches(elsewhere) == matches(after)
    assert matches(again.bundle(link(after, "previous") or "")) == matches(bundle)
    assert matches(again.bundle(link(after, "next") or "")) == sorted(others.untouched)[4:]


def test_no_cursor_can_be_made_or_borrowed(serve: Serve, fhir: Fhir, page: Json) -> None:
    url = link(page, "next") or ""
    (cursor,) = parse_qs(urlsplit(url).query)["_cursor"]
    ask = url.replace(f"_cursor={cursor}", "_cursor={}")
    assert ask != url
    other = serve().client
    others = {
        "changed": [
            cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor) - 1)
        ],
        "cut": [cursor[:at] for at in range(0, len(cursor), 7)],
        "longer": [cursor + "A", "A" + cursor, cursor + cursor],
        "made up": ["A", "AAAA.BBBB", json.dumps({"v": [], "b": False}), "null", "%00", "é"],
    }
    for kind, forged in others.items():
        for each in forged:
            answer = fhir.get(ask.format(each))
            assert answer.status_code == 400, (kind, each, answer.text)
            assert answer.json()["issue"][0]["diagnostics"]
    assert fhir.get(url).status_code == 200
    assert fhir.get(url.replace("_sort=-_lastUpdated", "_sort=_lastUpdated")).status_code == 400
    assert fhir.get(url.replace("/Basic?", "/Patient?")).status_code == 400
    assert other.get(url.replace(fhir.base_url, other.base_url)).status_code == 400, "of another database"
