"""Documents of an older generation of search parameters: however late they are written, they are found in the end."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from brief import briefly
from pymongo.errors import AutoReconnect

from fhirserver.assembly import contexts
from fhirserver.bulk.jobs import perform, sweep
from fhirserver.context import OPERATOR, Context
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.search import search_type
from fhirserver.interactions.write import update
from fhirserver.search.live import Live

if TYPE_CHECKING:
    from conftest import Serve, Served

Resource = dict[str, Any]
NICKNAME: Resource = {
    "resourceType": "SearchParameter",
    "id": "nickname",
    "url": "http://example.org/nickname",
    "name": "nickname",
    "status": "active",
    "description": "for a test",
    "code": "nickname",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.name.where(use = 'nickname').given",
}
A_MINUTE_AGO = [{"$set": {"beat": {"$subtract": ["$beat", 60_000]}}}]
STRICT = {"Prefer": "handling=strict"}


def ada(id_: str) -> Resource:
    return {"resourceType": "Patient", "id": id_, "name": [{"use": "nickname", "given": ["Ada"]}]}


async def put(ctx: Context, resource: Resource) -> Answer:
    type_, id_ = resource["resourceType"], resource["id"]
    return await update(ctx, Request(method="PUT", path=(type_, id_), body=resource), type_, id_)


async def found(ctx: Context, *, strict: bool = True) -> str:
    """The ids that a search by nickname finds, or the status of its refusal."""
    ctx = (await ctx.live.renew()) and ctx.fresh()
    request = Request(method="GET", path=("Patient",), pairs=(("nickname", "ada"),), strict=strict)
    try:
        answer = await search_type(ctx, request, "Patient")
    except Outcome as refusal:
        return str(refusal.status)
    return "".join(sorted(entry["resource"]["id"] for entry in json.loads(answer.body).get("entry", [])))


async def work(ctx: Context) -> None:
    for id_ in await sweep(ctx):
        await perform(ctx, id_)


Story = Callable[[Context, Context], Awaitable[None]]


@pytest.fixture
def told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], None]:
    """Tells a story of two servers of one database, who look at nothing unless they are made to."""

    async def never(self: Live) -> None: ...

    monkeypatch.setattr(Live, "follow", never)
    settings = serve().settings

    async def inside(story: Story) -> None:
        async with contexts(settings) as one, contexts(settings) as two:
            servers = [replace(each[""], caller=OPERATOR) for each in (one, two)]
            third = {"_id": {"$nin": [each.live.server for each in servers]}}  # which made the database, and is silent
            await servers[0].store["servers"].update_many(third, A_MINUTE_AGO)
            await story(*servers)

    return lambda story: briefly(inside(story))


async def silenced(*servers: Context) -> None:
    """As if nothing had been heard of them for a minute."""
    for ctx in servers:
        await ctx.store["servers"].update_one({"_id": ctx.live.server}, A_MINUTE_AGO)


def test_what_a_server_writes_that_was_taken_for_dead_is_found_in_the_end(told: Callable[[Story], None]) -> None:
    async def story(one: Context, frozen: Context) -> None:
        await put(one, ada("a"))
        await silenced(frozen)
        await put(one, NICKNAME)
        await work(one)
        assert await found(one) == "a"
        await put(frozen, ada("b"))  # it awakes, and knows of nothing
        await frozen.live.pulse()
        assert await found(one) == "503", "not every resource is indexed, and it is said"
        await work(one)
        assert await found(one) == await found(frozen) == "ab"

    told(story)


def test_a_write_that_was_under_way_when_the_server_froze_is_found_in_the_end(told: Callable[[Story], None]) -> None:
    async def story(one: Context, frozen: Context) -> None:
        await put(one, ada("a"))
        with frozen.indexer.in_use():
            await silenced(frozen)
            await put(one, NICKNAME)
            await work(one)
            await frozen.live.pulse()  # it awakes, and the write is not at its end
            await put(one, ada("c"))
            await put(replace(frozen, live=Begun(frozen)), ada("b"))
        await frozen.live.pulse()
        assert await found(one) == "503"
        await work(one)
        assert await found(one) == await found(frozen) == "abc"

    told(story)


class Begun(Live):
    """The rules of a write that began long ago."""

    def __init__(self, ctx: Context) -> None:
        self.rules = ctx.rules


def test_a_write_that_ends_is_waited_for_no_longer(told: Callable[[Story], None]) -> None:
    async def story(here: Context, there: Context) -> None:
        with here.indexer.in_use():
            await put(there, NICKNAME)
            assert await found(here) == "503"
        assert await found(here) == ""  # nothing is behind, and nobody can write what is

    told(story)


def test_a_job_that_could_not_be_asked_for_is_asked_for_again(
    told: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(one: Context, other: Context) -> None:
        await silenced(other)
        await put(one, ada("a"))
        enqueue = one.live.enqueue

        async def away(*_: Any) -> None:
            raise AutoReconnect("the database is away")

        monkeypatch.setattr(one.live, "enqueue", away)
        await put(one, NICKNAME)
        monkeypatch.setattr(one.live, "enqueue", enqueue)
        await one.live.pulse()
        await work(one)
        assert await found(one) == "a"

    told(story)


@contextmanager
def half_sent(served: Served, resource: Resource) -> Iterator[Callable[[], bytes]]:
    """A PUT of which half of the body is sent; what is called sends the rest."""
    body = json.dumps(resource).encode()
    head = (
        f"PUT /fhir/{resource['resourceType']}/{resource['id']} HTTP/1.1\r\nHost: 127.0.0.1:{served.settings.port}\r\n"
        f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.settings.port)) as client:
        client.sendall(head.encode() + body[:20])

        def finish() -> bytes:
            client.sendall(body[20:])
            return b"".join(iter(lambda: client.recv(65536), b""))

        yield finish


def test_a_resource_whose_body_came_slowly_is_indexed_by_the_parameters_of_now(serve: Serve) -> None:
    served = serve()
    fhir = served.client
    fhir.put("Patient/a", ada("a"))
    with half_sent(served, ada("b")) as finish:
        fhir.get("metadata")  # the server has begun to read the other one
        fhir.put("SearchParameter/nickname", NICKNAME)
        served.work()
        while fhir.get("Patient?nickname=ada", headers=STRICT).status_code == 503:
            served.work()
        assert b"201" in finish().partition(b"\r\n")[0]
    assert sorted(fhir.ids("Patient?nickname=ada", headers=STRICT)) == ["a", "b"]
