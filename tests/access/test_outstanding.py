"""Events are made of the lines of the ledger later than these are kept, and nobody who reads them can tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from brief import briefly
from ledgers import inside, line
from pymongo.errors import DocumentTooLarge
from worlds import NEVER

from fhirserver.assembly import contexts
from fhirserver.context import Context
from fhirserver.store.ledger import CHECKPOINTS, Ledger
from fhirserver.store.outstanding import LINES, Pace
from fhirserver.store.schema import AUDIT_EVENT
from fhirserver.store.seals import audit_key
from fhirserver.store.strands import Verdict, forget, verify

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served
    from seam import Apps

SECRET = "of lines"


class World(NamedTuple):
    served: Served
    system: Fhir


@pytest.fixture(scope="module")
def world(serve: Serve, apps: Apps, slowly: None) -> World:
    served = serve(open=False, secret=SECRET)
    system = apps(served, "system/*.cruds")
    system.put("Patient/p", {"resourceType": "Patient", "id": "p"})
    return World(served, system)


def entries(*requests: tuple[str, str], type_: str) -> dict[str, Any]:
    asked = [{"request": {"method": method, "url": url}} for method, url in requests]
    return {"resourceType": "Bundle", "type": type_, "entry": asked}


SEARCH = "AuditEvent?entity:identifier={}"
# method, path and body; {} is the id of the request whose event has to be in the answer
PATHS: list[tuple[str, str, Any]] = [
    ("GET", SEARCH, None),
    ("GET", SEARCH + "&_sort=-date", None),
    ("GET", "AuditEvent?_count=1000", None),
    ("POST", "AuditEvent/_search?entity:identifier={}", None),
    ("GET", "?_type=Patient,AuditEvent&_count=1000", None),
    ("GET", "Patient/p/AuditEvent?_count=1000", None),
    ("GET", "Patient?_id=p&_revinclude=AuditEvent:entity", None),
    ("GET", "Patient/p/$everything?_type=AuditEvent&_count=1000", None),
    ("GET", "AuditEvent/_history?_count=1000", None),
    ("GET", "_history?_count=1000", None),
    ("POST", "", entries(("GET", SEARCH), type_="batch")),
    ("POST", "", entries(("GET", SEARCH), type_="transaction")),
    ("POST", "", entries(("GET", "Patient/p"), ("GET", SEARCH), type_="transaction")),
]


@pytest.mark.parametrize(
    ("number", "row"), [*enumerate(PATHS)], ids=[f"{n} {r[0]} {r[1]}" for n, r in enumerate(PATHS)]
)
def test_an_event_that_was_acknowledged_is_in_every_answer(
    world: World, number: int, row: tuple[str, str, Any]
) -> None:
    method, path, body = row
    name = f"acknowledged-{number}-"
    world.system.get("Patient/p", headers={"X-Request-Id": name})
    sent = {} if body is None else {"json": json.loads(json.dumps(body).replace("{}", name))}
    answer = world.system.request(method, path.replace("{}", name), headers={"X-Request-Id": "asking"}, **sent)
    assert answer.status_code == 200, answer.text
    assert f'"value":"{name}"' in answer.text


COUNTS = [
    (f"{SEARCH}&_summary=count", "total"),
    (f"{SEARCH}&_total=accurate", "total"),
    (f"{SEARCH}&_total=estimate", "total"),
]


@pytest.mark.parametrize("row", COUNTS, ids=[row[0] for row in COUNTS])
def test_totals_count_what_was_acknowledged(world: World, row: tuple[str, str]) -> None:
    name = f"counted-{COUNTS.index(row)}"
    for _ in range(3):
        world.system.get("Patient/p", headers={"X-Request-Id": name})
    assert world.system.bundle(row[0].format(name))[row[1]] == 3


def test_a_chain_leads_over_what_was_acknowledged(world: World) -> None:
    world.system.get("Patient/p", headers={"X-Request-Id": "chained"})
    assert world.system.ids("Patient?_has:AuditEvent:entity:altid=nobody") == []
    assert world.system.ids("Patient?_has:AuditEvent:entity:entity:identifier=chained") == ["p"]


def test_a_condition_sees_what_was_acknowledged(world: World) -> None:
    world.system.get("Patient/p", headers={"X-Request-Id": "there"})
    (event,) = world.system.bundle(SEARCH.format("there"))["entry"]
    world.system.get("Patient/p", headers={"X-Request-Id": "there"})
    answer = world.system.post("AuditEvent", event["resource"], headers={"If-None-Exist": "entity:identifier=there"})
    assert answer.status_code == 412, answer.text


def test_an_event_is_as_it_was_when_it_was_acknowledged(world: World) -> None:
    """What is made later says when it happened, and is found by that."""
    world.system.get("Patient/p", headers={"X-Request-Id": "early"})
    early = world.system.bundle("AuditEvent?_count=1&_sort=-date")["entry"][0]["resource"]["recorded"]
    world.system.get("Patient/p", headers={"X-Request-Id": "late"})
    (event,) = world.system.bundle(SEARCH.format("late"))["entry"]
    recorded = event["resource"]["recorded"]
    assert recorded == event["resource"]["meta"]["lastUpdated"] > early
    assert world.system.ids(f"{SEARCH.format('late')}&_lastUpdated={recorded}&date={recorded}") != []


# --- what is left behind ---------------------------------------------------------------------------------------------


@pytest.fixture
def killed(serve: Serve, apps: Apps, slowly: None) -> World:
    """A server that acknowledged thirty requests and ended before it made events."""
    served = serve(open=False, secret=SECRET)
    system = apps(served, "system/*.cruds")
    for number in range(30):
        system.get(f"Patient/{number}")
    served.__exit__()
    return World(served, system)


async def checked(ctx: Context) -> Verdict:
    return await verify(ctx.store, audit_key(SECRET.encode()))


async def lines(ctx: Context) -> int:
    return sum([len(group["lines"]) async for group in ctx.store[LINES].find({})])


def test_what_a_server_left_behind_another_one_makes(killed: World, serve: Serve, apps: Apps) -> None:
    assert inside(killed.served, lines) == 30
    served = serve(open=False, secret=SECRET, database=killed.served.settings.database)
    system = apps(served, "system/*.cruds")
    found = system.bundle("AuditEvent?_count=100")["entry"]
    about = {entry["resource"]["entity"][0]["what"]["reference"] for entry in found}
    assert about == {f"Patient/{number}" for number in range(30)}
    assert inside(killed.served, checked).breaks == ()


def test_several_who_make_the_same_make_it_once(killed: World) -> None:
    async def work(ctx: Context) -> tuple[int, int, Verdict]:
        async with contexts(killed.served.settings) as others:
            both = (each.store for each in (ctx, others[""]))
            await asyncio.gather(*(store.caught_up(AUDIT_EVENT) for store in both for _ in range(3)))
        return await lines(ctx), await ctx.store[AUDIT_EVENT].count_documents({}), await checked(ctx)

    assert inside(killed.served, work) == (0, 30, Verdict(30, 1, ()))


def test_what_stands_already_is_made_no_second_time(killed: World) -> None:
    """A crash between the events and the end of their lines."""

    async def work(ctx: Context) -> tuple[int, Verdict]:
        groups = await ctx.store[LINES].find({}).to_list()
        await ctx.store.caught_up(AUDIT_EVENT)
        await ctx.store[LINES].insert_many(groups)
        await ctx.store.caught_up(AUDIT_EVENT)
        return await lines(ctx), await checked(ctx)

    assert inside(killed.served, work) == (0, Verdict(30, 1, ()))


async def changed(ctx: Context) -> None:
    group = await ctx.store[LINES].find_one({"_id.number": 7})
    assert group is not None
    text = group["lines"][0].replace(b'"4"', b'"0"')
    await ctx.store[LINES].update_one({"_id": group["_id"]}, {"$set": {"lines": [text]}})


async def taken_out(ctx: Context) -> None:
    await ctx.store[LINES].delete_one({"_id.number": 7})


async def cut_off(ctx: Context) -> None:
    await ctx.store[LINES].delete_many({"_id.number": {"$gt": 20}})


async def emptied(ctx: Context) -> None:
    await ctx.store[LINES].update_one({"_id.number": 30}, {"$set": {"lines": []}})


async def all_gone(ctx: Context) -> None:
    await ctx.store[LINES].delete_many({})


HARM = [(changed, 7), (taken_out, 7), (cut_off, 21), (emptied, 30), (all_gone, 1)]


@pytest.mark.parametrize(("harm", "number"), HARM, ids=[harm.__name__ for harm, _ in HARM])
def test_harm_to_lines_is_found(killed: World, harm: Callable[[Context], Awaitable[None]], number: int) -> None:
    inside(killed.served, harm)
    assert [found.number for found in inside(killed.served, checked).breaks] == [number]


def test_retention_takes_lines_too(killed: World) -> None:
    async def everything(ctx: Context) -> tuple[int, int, Verdict]:
        gone = await forget(ctx.store, audit_key(SECRET.encode()), ctx.now())
        return gone, await lines(ctx), await checked(ctx)

    assert inside(killed.served, everything) == (30, 0, Verdict(0, 1, ()))


# --- in time ---------------------------------------------------------------------------------------------------------


def paced(served: Served, pace: Pace, work: Callable[[Context, Ledger], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fhirserver.store.outstanding.PACE", pace)
            async with contexts(served.settings) as found:
                ctx = found[""]
                assert ctx.ledger is not None
                return await work(ctx, ctx.ledger)

    return briefly(run())


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1_000):
        if await found():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


PACES = {
    "soon": NEVER._replace(soon=0.05),
    "when they are many": NEVER._replace(many=5),
}


@pytest.mark.parametrize("pace", PACES.values(), ids=PACES)
def test_events_are_made_without_being_asked_for(serve: Serve, pace: Pace) -> None:
    async def work(ctx: Context, ledger: Ledger) -> int:
        await ledger.add([line(number) for number in range(10)])

        async def made() -> bool:
            return await lines(ctx) == 0

        await until(made)
        return await ctx.store[AUDIT_EVENT].count_documents({})

    assert paced(serve(open=False), pace, work) == 10


def test_beyond_measure_requests_wait_until_events_are_made(serve: Serve) -> None:
    async def work(ctx: Context, ledger: Ledger) -> tuple[bool, int]:
        await ledger.add([line(number) for number in range(10)])
        waiting = asyncio.create_task(ledger.add([line(10)]))
        await asyncio.sleep(0.05)
        waits = not waiting.done()
        await ctx.store.caught_up(AUDIT_EVENT)
        await waiting
        return waits, await lines(ctx)

    assert paced(serve(open=False), NEVER._replace(most=10), work) == (True, 1)


def test_where_no_events_can_be_made_requests_go_on_and_who_reads_events_is_refused(
    serve: Serve, apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("fhirserver.assembly._making", broken)
    monkeypatch.setattr("fhirserver.store.outstanding.PACE", Pace(soon=0.01, latest=0.01, many=1, most=1))
    served = serve(open=False, secret=SECRET)
    system = apps(served, "system/*.cruds")
    assert [system.get("Patient/p").status_code for _ in range(5)] == [404] * 5
    assert system.get("AuditEvent").status_code == 500
    monkeypatch.undo()
    assert len(inside(served, named)) == 6


async def named(ctx: Context) -> list[str]:
    await ctx.store.caught_up(AUDIT_EVENT)
    return [each["_id"] async for each in ctx.store[AUDIT_EVENT].find({})]


def test_an_end_that_is_cut_off_after_a_silence_is_found(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a strand stands is noted in time, whether anything is asked or not; that of one that ended early, too."""
    monkeypatch.setattr("fhirserver.store.ledger.CHECKPOINT_SECONDS", 0.05)
    monkeypatch.setattr("fhirserver.store.ledger.LARGEST_LINE", 99_000_000)

    async def work(ctx: Context, ledger: Ledger) -> list[int]:
        await ledger.add([line(1), line(2)])
        with pytest.raises(DocumentTooLarge):  # the strand ends, and another one goes on
            await ledger.add([b"x" * 17_000_000])
        await ledger.add([line(3)])

        async def noted() -> bool:
            return await ctx.store[CHECKPOINTS].count_documents({}) == 2

        await until(noted)
        await ctx.store.caught_up(AUDIT_EVENT)
        await ctx.store[AUDIT_EVENT].delete_many({"_id": {"$in": ["line-2", "line-3"]}})
        return sorted(found.number for found in (await verify(ctx.store, audit_key(SECRET.encode()))).breaks)

    assert paced(serve(open=False, secret=SECRET), NEVER, work) == [1, 2]


def test_what_is_too_long_fails_alone(serve: Serve) -> None:
    async def work(ctx: Context, ledger: Ledger) -> tuple[list[bool], int]:
        long = [
            line(number)[:-2] + b"x" * size + b'"]' for number, size in enumerate((3_000_000, 3_000_000, 17_000_000))
        ]
        found = await asyncio.gather(*(ledger.add([each]) for each in (*long, line(3))), return_exceptions=True)
        await ctx.store.caught_up(AUDIT_EVENT)
        return [isinstance(each, Exception) for each in found], await ctx.store[AUDIT_EVENT].count_documents({})

    assert paced(serve(open=False), NEVER, work) == ([False, False, True, False], 3)
