"""The tables of searches over HTTP: each world is a tenant, each row a search, and who disagrees with R4 is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tables import (
    HERE,
    Table,
    composites,
    dates,
    for_all,
    numbers,
    orders,
    quantities,
    references,
    strings,
    tokens,
    uris,
)

if TYPE_CHECKING:
    from conftest import Fhir, Serve

MODULES = [composites, dates, for_all, numbers, orders, quantities, references, strings, tokens, uris]
TABLES: dict[str, Table] = {module.__name__.rpartition(".")[2].replace("_", "-"): module.TABLE for module in MODULES}
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(serve: Serve) -> Ask:
    """`ask(table, query)`: of a server that holds the table's world."""
    client = serve(tenants=",".join(TABLES)).client
    for name, table in TABLES.items():
        put(client, name, table.world)

    def ask(name: str, query: str, **headers: str) -> Any:
        type_, _, text = query.replace(HERE, f"{client.base_url}/{name}").partition("?")
        return client.get(f"{name}/{type_}?{quote(text, safe='%=&:/|,$?')}", headers=headers)

    return ask


def put(client: Fhir, name: str, world: list[Any]) -> None:
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in json.loads(json.dumps(world).replace(HERE, f"{client.base_url}/{name}"))
    ]
    answer = client.post(name, {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, (name, answer.text)


@pytest.mark.parametrize(
    ("table", "query", "found"), [(name, *row) for name, table in TABLES.items() for row in table.rows]
)
def test_what_is_found(ask: Ask, table: str, query: str, found: str) -> None:
    answer = ask(table, query, Prefer="handling=strict")
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", [])
    assert [entry["resource"]["id"] for entry in entries] == found.split()
    assert all(entry["search"]["mode"] == "match" for entry in entries)


@pytest.mark.parametrize(("table", "query"), [(name, each) for name, table in TABLES.items() for each in table.refused])
def test_what_is_refused(ask: Ask, table: str, query: str) -> None:
    for handling in ("strict", "lenient"):
        answer = ask(table, query, Prefer=f"handling={handling}")
        assert answer.status_code == 400, answer.text
        issue = answer.json()["issue"][0]
        assert issue["severity"] == "error"
        assert query.partition("?")[2].partition("=")[0].partition(":")[0] in issue["diagnostics"]


def test_there_are_rows_enough(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {name: len(table.rows) for name, table in TABLES.items()}
    with capsys.disabled():
        print(f"\n{sum(counts.values())} rows of searches: {counts}")
    assert sum(counts.values()) >= 300
    assert all(len(table.rows) == len({query for query, _ in table.rows}) for table in TABLES.values())
