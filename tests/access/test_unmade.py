"""Lines of the ledger of which no event can be made: they blind nobody, and nobody is answered as if they were not."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from ledgers import inside, line
from pydantic import SecretStr
from pymongo.errors import OperationFailure

from fhirserver.access.audit_forms import event_of
from fhirserver.context import Context
from fhirserver.interactions.unmade import KNOWN, LACKING
from fhirserver.store.ledger import CHECKPOINTS
from fhirserver.store.outstanding import LINES, Outstanding
from fhirserver.store.schema import AUDIT_EVENT
from fhirserver.store.seals import audit_key
from fhirserver.store.strands import Verdict, forget, verify

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served
    from seam import Apps

Json = dict[str, Any]
HEALTHMATE = [sys.executable, "-c", "from fhirserver.cli import main; main()"]
SECRET = "of lines without events"
CHANGED, DEFECT = 5, 9
MANY = 12
HERE = 100  # is before the lines of the server that others are asked beside


def wording(indexer: Any, text: bytes, defect: int = DEFECT) -> Any:
    """With a defect in one line."""
    if b'"line-%d"' % defect in text:
        raise KeyError("a defect")
    return event_of(indexer, text)


async def group(ctx: Context, **values: Any) -> Json:
    """The last one; changed."""
    found = await ctx.store[LINES].find_one({}, sort=[("_id", -1)])
    assert found is not None
    if values:
        await ctx.store[LINES].update_one({"_id": found["_id"]}, {"$set": values})
    return found


async def write(ctx: Context, *numbers: int) -> None:
    assert ctx.ledger is not None
    await ctx.ledger.add([line(number, "Patient/p") for number in numbers])


async def emptied(ctx: Context) -> None:
    for name in (AUDIT_EVENT, LINES, CHECKPOINTS):
        await ctx.store[name].delete_many({})


def second(number: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC)


async def unmade(ctx: Context) -> list[int]:
    await ctx.store.caught_up(AUDIT_EVENT)
    return [each.number for each in ctx.store.late[AUDIT_EVENT].unmade]


async def checked(ctx: Context) -> Verdict:
    return await verify(ctx.store, audit_key(SECRET.encode()))


async def change(ctx: Context, number: int) -> None:
    found = await group(ctx)
    at = number - found["_id"]["number"]
    lines = [text.replace(b"app", b"nobody") if each == at else text for each, text in enumerate(found["lines"])]
    await group(ctx, lines=lines)


# --- what who reads AuditEvents is told ------------------------------------------------------------------------------


class World(NamedTuple):
    system: Fhir  # a service that may do everything
    patient: Fhir
    pulses: Fhir  # an app that may not see AuditEvents


@pytest.fixture(scope="module")
def world(serve: Serve, apps: Apps, slowly: None) -> Iterator[World]:
    served = serve(open=False, secret=SECRET)
    system = apps(served, "system/*.cruds")
    system.put("Patient/p", {"resourceType": "Patient", "id": "p"})
    served.__exit__()

    async def damaged(ctx: Context) -> None:
        await ctx.store.caught_up(AUDIT_EVENT)
        await write(ctx, *range(HERE + 1, HERE + MANY + 1))
        await change(ctx, CHANGED)

    inside(served, damaged)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fhirserver.assembly.event_of", partial(wording, defect=HERE + DEFECT))
        served = serve(open=False, secret=SECRET, database=served.settings.database)
        scopes = "patient/*.rs", "patient/Observation.rs patient/Patient.rs"
        system = apps(served, "system/*.cruds")
        yield World(system, *(apps(served, scope, "p") for scope in scopes))


def said(bundle: Json) -> list[str]:
    """What is said beside resources, of whatever Bundle and of those in it."""
    found = [each["display"] for each in bundle["meta"].get("tag", ())] if "meta" in bundle else []
    for entry in bundle.get("entry", ()):
        if entry.get("search", {}).get("mode") == "outcome":
            (issue,) = entry["resource"]["issue"]
            assert (issue["severity"], issue["code"]) == ("warning", "incomplete")
            found.append(issue["diagnostics"])
        elif entry.get("resource", {}).get("resourceType") == "Bundle":
            found += said(entry["resource"])
    return found


def bundle(type_: str) -> Json:
    entry = {"request": {"method": "GET", "url": "AuditEvent?entity=Patient/1"}}
    return {"resourceType": "Bundle", "type": type_, "entry": [entry]}


# a path (and a body that is sent there) → whether it is about AuditEvents
PATHS: list[tuple[str, Json | None, bool]] = [
    ("AuditEvent", None, True),
    ("AuditEvent?entity=Patient/nobody", None, True),
    ("AuditEvent?_summary=count", None, True),
    ("AuditEvent?_count=1&_sort=date", None, True),
    ("?_type=AuditEvent,Patient", None, True),
    ("Patient/p/AuditEvent", None, True),
    ("Patient?_id=p&_revinclude=AuditEvent:patient", None, True),
    ("Patient?_has:AuditEvent:patient:outcome=8", None, True),
    ("Patient/p/$everything", None, True),
    ("Patient/$everything", None, True),
    ("AuditEvent/_history", None, True),
    ("_history", None, True),
    ("", bundle("batch"), True),
    ("", bundle("transaction"), True),
    ("Patient?_id=p", None, False),
    ("Patient/p/$everything?_type=Observation", None, False),
    ("Patient/_history", None, False),
]


@pytest.mark.parametrize("row", PATHS, ids=[f"{n} {row[0]}" for n, row in enumerate(PATHS)])
def test_who_asks_for_audit_events_is_told_that_some_are_missing(
    world: World, row: tuple[str, Json | None, bool]
) -> None:
    path, body, about = row
    numbered = f"{LACKING}: 2, which `healthmate audit verify` names"
    for app, told in ((world.system, [numbered]), (world.patient, [LACKING]), (world.pulses, [])):
        answer = app.get(path) if body is None else app.request("POST", path, json=body)
        if app is world.pulses and answer.status_code == 403:
            continue
        assert answer.status_code == 200, answer.text
        if body is None or app is not world.pulses:  # of a batch, an entry that may not ask is refused
            assert said(answer.json()) == (told if about else []), answer.text


def test_all_events_that_can_be_made_are_there(world: World) -> None:
    for app in (world.system, world.patient):
        found = app.bundle("AuditEvent?date=2026-01-01&_sort=date&_count=100")
        ids = [each["resource"]["id"] for each in found["entry"] if each["search"]["mode"] == "match"]
        assert ids == [f"line-{HERE + number}" for number in range(1, MANY + 1) if number not in (CHANGED, DEFECT)]
        assert found["total"] == len(ids)


@pytest.mark.parametrize("way", ["{}", "{}/_history/1", "{}/_history"])
def test_what_could_not_be_made_is_no_404_to_who_sees_all(
    world: World, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert world.system.get("AuditEvent/" + way.format(f"line-{HERE + 1}")).status_code == 200
    for number in (CHANGED, DEFECT):
        answer = world.system.get("AuditEvent/" + way.format(f"line-{HERE + number}"))
        assert (answer.status_code, answer.json()["issue"][0]["diagnostics"]) == (500, KNOWN)
        assert f"no event is made of line {number} of audit strand" in caplog.messages[-1]
    answer = world.system.get("AuditEvent/" + way.format("nobody"))
    assert (answer.status_code, [each["severity"] for each in answer.json()["issue"]]) == (404, ["error", "warning"])
    assert len(world.system.get("Patient/" + way.format("nobody")).json()["issue"]) == 1


@pytest.mark.parametrize("way", ["{}", "{}/_history/1", "{}/_history"])
def test_to_others_it_is_as_what_never_was(world: World, way: str) -> None:
    known, nobody = (world.patient.get("AuditEvent/" + way.format(each)) for each in ("line-109", "nobody"))
    assert known.text.replace("line-109", "nobody") == nobody.text
    assert [each["diagnostics"] for each in nobody.json()["issue"]][1:] == [LACKING]
    assert (known.status_code, nobody.status_code) == (404, 404)


# --- which lines these are -------------------------------------------------------------------------------------------


@pytest.fixture
def left(serve: Serve, slowly: None) -> Served:
    """A server that has stopped."""
    served = serve(open=False, secret=SECRET)
    served.__exit__()
    return served


def cut(values: list[Any], number: int) -> list[Any]:
    return values[: number - 1] + values[number:]


# what is left of the lines and seals of a group of six → the lines of which no event is made
HARM: dict[str, tuple[Callable[[Json], Json], list[int]]] = {
    "a line": (lambda it: {"lines": [*it["lines"][:2], b"[]", *it["lines"][3:]]}, [3]),
    "a line that is no JSON": (lambda it: {"lines": [*it["lines"][:2], b"text", *it["lines"][3:]]}, [3]),
    "its time": (lambda it: {"lines": [*it["lines"][:2], b'["line-3","soon"]', *it["lines"][3:]]}, [3]),
    "all but its id": (lambda it: {"lines": [*it["lines"][:2], b'["line-3"]', *it["lines"][3:]]}, [3]),
    "its type": (lambda it: {"lines": [*it["lines"][:2], "text", *it["lines"][3:]]}, [3]),
    "a seal": (lambda it: {"seals": [*it["seals"][:2], b"seal", *it["seals"][3:]]}, [3, 4]),
    "the beginning": (lambda it: {"before": b"seal"}, [1]),
    "a line taken out": (lambda it: {"lines": cut(it["lines"], 3)}, [3]),
    "a seal taken out": (lambda it: {"seals": cut(it["seals"], 6)}, [6]),
    "a line put in": (lambda it: {"lines": [*it["lines"], it["lines"][0]]}, [7]),
    "a line put in between": (lambda it: {"lines": [*it["lines"][:2], b"[]", *it["lines"][2:]]}, [7]),
    "two at once": (lambda it: {"lines": [b"[]", *cut(it["lines"][1:], 2)]}, [1, 3]),
    "all lines": (lambda it: {"lines": []}, [1, 2, 3, 4, 5, 6]),
    "no list": (lambda it: {"lines": "text"}, [1]),
    "nothing": (lambda it: {"lines": [], "seals": []}, [1]),
}


@pytest.fixture(scope="module")
def harmed(serve: Serve, slowly: None) -> Served:
    served = serve(open=False, secret=SECRET)
    served.__exit__()
    return served


@pytest.mark.parametrize("harm", HARM)
def test_lines_beside_one_that_was_changed_become_events(harmed: Served, harm: str) -> None:
    change, lacking = HARM[harm]

    async def work(ctx: Context) -> tuple[list[int], list[int], list[int]]:
        await emptied(ctx)
        await write(ctx, *range(1, 7))
        await group(ctx, **change(await group(ctx)))
        found = await unmade(ctx)
        made = [each["ledger"]["number"] async for each in ctx.store[AUDIT_EVENT].find({}).sort("ledger.number", 1)]
        return found, made, [each.number for each in (await checked(ctx)).breaks]

    found, made, broken = inside(harmed, work)
    assert found == broken == lacking
    if harm not in ("no list", "nothing"):  # of which nobody can say how many there were
        assert made == [number for number in range(1, 7) if number not in lacking]


def test_what_is_no_group_of_lines_is_told_too(left: Served) -> None:
    async def work(ctx: Context) -> tuple[list[int], Verdict]:
        await ctx.store[LINES].insert_one({"_id": "x", "lines": 7})
        await write(ctx, 1, 2)
        return await unmade(ctx), await checked(ctx)

    found, verdict = inside(left, work)
    assert (found, verdict.lines, [each[:2] for each in verdict.breaks]) == ([0], 2, [("x", 0)])


def test_what_was_put_in_beside_lines_that_follow_is_named(left: Served) -> None:
    async def work(ctx: Context) -> tuple[list[int], Verdict]:
        await write(ctx, 1, 2)
        found = await group(ctx)
        await group(ctx, lines=[*found["lines"], b"[]"])
        await write(ctx, 3, 4)
        return await unmade(ctx), await checked(ctx)

    found, verdict = inside(left, work)
    assert (found, verdict.lines) == ([3], 4)
    assert [each[1:] for each in verdict.breaks] == [
        (3, "is a line without a seal: it was put in, or its seal was taken out")
    ]


def test_each_is_said_once_and_tried_once(
    left: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def trying(indexer: Any, text: bytes) -> Any:
        tried.append(text)
        return wording(indexer, text)

    monkeypatch.setattr("fhirserver.assembly.event_of", trying)

    async def work(ctx: Context) -> tuple[list[int], Verdict]:
        await write(ctx, *range(1, MANY + 1))
        await change(ctx, CHANGED)
        for _ in range(3):
            await ctx.store.caught_up(AUDIT_EVENT)
        return await unmade(ctx), await checked(ctx)

    with caplog.at_level(logging.ERROR):
        found, verdict = inside(left, work)
    assert found == [CHANGED, DEFECT]
    assert len(tried) == MANY - 1
    (strand,) = {each.strand for each in verdict.breaks}
    said = [each for each in caplog.messages if "no event is made" in each]
    assert said == [
        f"no event is made of line 5 of audit strand {strand}: it is not as it was written, or the key is another one",
        f"no event is made of line 9 of audit strand {strand}: KeyError: 'a defect'",
    ]
    assert verdict.lines == MANY - 2
    assert [each[1:] for each in verdict.breaks] == [
        (5, "was changed before an event was made of it, or the key is another one"),
        (9, "is as it was written, and no event could be made of it: KeyError: 'a defect'"),
    ]


def test_a_release_without_the_defect_makes_the_rest(left: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def before(ctx: Context) -> list[int]:
        await write(ctx, *range(1, MANY + 1))
        return await unmade(ctx)

    with monkeypatch.context() as patch:
        patch.setattr("fhirserver.assembly.event_of", wording)
        assert inside(left, before) == [DEFECT]

    async def after(ctx: Context) -> tuple[list[int], int, Verdict]:
        return await unmade(ctx), await ctx.store[LINES].count_documents({}), await checked(ctx)

    assert inside(left, after) == ([], 0, Verdict(MANY, 1, ()))


def test_what_was_put_right_is_made_by_and_by(left: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(ctx: Context) -> list[list[int]]:
        await write(ctx, 1, 2, 3)
        lines = (await group(ctx))["lines"]
        await change(ctx, 2)
        found = [await unmade(ctx)]
        await group(ctx, lines=lines)
        found.append(await unmade(ctx))
        monkeypatch.setattr("fhirserver.store.outstanding.monotonic", lambda: float("inf"))
        return [*found, await unmade(ctx)]

    assert inside(left, work) == [[2], [2], []]


def test_a_key_that_is_another_one_spoils_nothing(left: Served) -> None:
    async def wrong(ctx: Context) -> list[int]:
        return await unmade(ctx)

    inside(left, lambda ctx: write(ctx, *range(1, MANY + 1)))
    assert inside(left, wrong, secret=SecretStr("another")) == [*range(1, MANY + 1)]
    assert inside(left, checked) == Verdict(MANY, 1, ())


def test_the_command_line_names_them_all(left: Served) -> None:
    inside(left, lambda ctx: write(ctx, *range(1, 31)))
    url = left.settings.mongodb_url
    assert url
    said = subprocess.run(
        [*HEALTHMATE, "audit", "verify"],
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "HEALTHMATE_MONGODB_URL": url.get_secret_value(),
            "HEALTHMATE_DATABASE": left.settings.database,
            "HEALTHMATE_SECRET": "another",
        },
    )
    assert said.returncode == 1
    assert said.stdout == "0 audit events in 1 strands are as they were written.\n"
    named = [each for each in said.stderr.splitlines() if each.startswith("FAIL")]
    assert [int(each.split()[2]) for each in named] == [*range(1, 31)]


def refused(indexer: Any, text: bytes) -> Any:
    event = event_of(indexer, text)
    return event._replace(document=event.document | {"_id": ["line-2"]}) if b'"line-2"' in text else event


def test_where_the_database_is_full_all_lines_stay_as_they_are(left: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of how it is with the database no line is to blame."""
    monkeypatch.setattr("fhirserver.store.faults.DISK_FULL", {53})
    monkeypatch.setattr("fhirserver.assembly.event_of", refused)

    async def work(ctx: Context) -> tuple[int, int]:
        await write(ctx, 1, 2, 3)
        with pytest.raises(OperationFailure):
            await ctx.store.caught_up(AUDIT_EVENT)
        return len(ctx.store.late[AUDIT_EVENT].unmade), await ctx.store[LINES].count_documents({})

    assert inside(left, work) == (0, 1)


def test_what_the_database_refuses_stays_alone(left: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.assembly.event_of", refused)

    async def work(ctx: Context) -> tuple[list[int], list[str]]:
        await write(ctx, 1, 2, 3)
        return await unmade(ctx), [each.cause for each in ctx.store.late[AUDIT_EVENT].unmade]

    assert inside(left, work) == ([2], ["the database refuses it with code 53"])


def test_retention_takes_a_group_whole_or_not_at_all(left: Served) -> None:
    """Events of a group of which something is left are made again where there are none."""

    async def work(ctx: Context) -> list[tuple[int, int, list[int]]]:
        await write(ctx, *range(1, 7))
        await change(ctx, 3)
        await write(ctx, *range(7, 13))
        found = []
        for number in (5, 9, 30):
            gone = await forget(ctx.store, audit_key(SECRET.encode()), second(number))
            verdict = await checked(ctx)
            found.append((gone, verdict.lines, [each.number for each in verdict.breaks]))
        return found

    assert inside(left, work) == [(0, 11, [3]), (7, 4, []), (4, 0, [])]
    assert inside(left, checked) == Verdict(0, 1, ())


# groups of lines, each at a second of that number, of which "not" one cannot be made, and "changed" one was changed
# → how many events go that are older than second 20, how many groups are left, and what verifying names
KEPT: list[tuple[list[list[int]], dict[str, int], tuple[int, int, list[int]]]] = [
    ([[1, 2], [3]], {"not": 3}, (2, 0, [])),
    ([[1]], {"not": 1}, (0, 0, [])),
    ([[1], [2], [3, 4]], {"not": 2}, (3, 0, [])),
    ([[1, 2], [30]], {"not": 30}, (2, 1, [3])),
    ([[1, 2], [3]], {"changed": 3}, (2, 1, [3])),
    ([[1, 2, 30]], {"not": 2}, (0, 1, [2])),
    ([[1], [2], [3, 30]], {"not": 2}, (2, 0, [])),
    ([[1], [2, 30]], {"not": 30}, (1, 1, [3])),
    # a clock that went wrong for a while: what is younger stays, and so does what comes after it
    ([[30], [2], [31]], {}, (0, 0, [])),
    ([[1], [30], [2, 3]], {}, (1, 0, [])),
    ([[30], [2]], {"not": 30}, (0, 1, [1])),
    ([[1], [2, 30, 3]], {"not": 30}, (1, 1, [3])),
]


@pytest.mark.parametrize("row", KEPT, ids=[f"{n} {row[0]} {row[1]}" for n, row in enumerate(KEPT)])
def test_retention_of_lines_without_an_event(
    harmed: Served,
    monkeypatch: pytest.MonkeyPatch,
    row: tuple[list[list[int]], dict[str, int], tuple[int, int, list[int]]],
) -> None:
    groups, lacking, left = row
    monkeypatch.setattr("fhirserver.assembly.event_of", partial(wording, defect=lacking.get("not", 0)))

    async def work(ctx: Context) -> tuple[int, int, list[int]]:
        await emptied(ctx)
        for numbers in groups:
            await write(ctx, *numbers)
        if "changed" in lacking:
            await change(ctx, lacking["changed"])
        gone = await forget(ctx.store, audit_key(SECRET.encode()), second(20))
        breaks = [each.number for each in (await checked(ctx)).breaks]
        return gone, await ctx.store[LINES].count_documents({}), breaks

    assert inside(harmed, work) == left


def test_retention_takes_no_line_before_its_event_was_made(left: Served) -> None:
    """Of two groups that are written meanwhile another server makes the later one first; its clock is wrong."""

    async def nothing(_: Outstanding) -> None:
        pass

    async def work(ctx: Context) -> tuple[int, list[int]]:
        await write(ctx, 30)
        await write(ctx, 2)
        assert ctx.ledger is not None
        await ctx.ledger.outstanding._make([(await group(ctx))["_id"]])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Outstanding, "catch_up", nothing)
            gone = await forget(ctx.store, audit_key(SECRET.encode()), second(20))
        verdict = await checked(ctx)
        return gone, [verdict.lines, len(verdict.breaks)]

    assert inside(left, work) == (0, [2, 0])
