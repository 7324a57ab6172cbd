"""A load says what it did, keeps the order of its file, and loses nothing to whoever writes meanwhile."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import randbytes
from typing import Any
from uuid import uuid4

import pytest

from fhirserver.assembly import contexts
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.interactions.exchange import Request
from fhirserver.interactions.load import PART_BYTES, load
from fhirserver.interactions.reindex import reindex, silent
from fhirserver.interactions.write import update
from fhirserver.process import OPERATOR, summary
from fhirserver.settings import Settings
from fhirserver.store.resources import Store
from fhirserver.store.versions import Change, Stored


@asynccontextmanager
async def opened(mongodb: str) -> AsyncIterator[Context]:
    settings = Settings.model_validate({"mongodb_url": mongodb, "database": f"load-{uuid4().hex[:12]}"})
    async with contexts(settings) as found:
        yield replace(found[""], caller=OPERATOR)


def run(mongodb: str, story: Callable[[Context], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with opened(mongodb) as ctx:
            await story(ctx)

    asyncio.run(inside())


def patient(id_: str, family: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "name": [{"family": family}]}


async def family(ctx: Context, id_: str, version: int | None = None) -> str:
    found = await (ctx.store.read("Patient", id_) if version is None else ctx.store.vread("Patient", id_, version))
    assert found is not None
    return str(json.resource(found.body)["name"][0]["family"])


def test_a_second_load_of_the_same_file_writes_nothing(mongodb: str) -> None:
    async def story(ctx: Context) -> None:
        file = [patient(f"p{i}", "Chalmers") for i in range(300)]
        assert (await load(ctx, file)).stored == {"Patient": 300}
        receipt = await load(ctx, [*file[:-1], patient("p299", "Windsor")])
        assert (receipt.stored, receipt.unchanged, receipt.missing) == ({"Patient": 1}, 299, 0)
        assert summary(receipt) == "Stored 1 resources: 1 Patient; 299 were here already, unchanged"
        assert await ctx.store.read_versions("Patient", ["p0", "p299"]) == {"p0": 1, "p299": 2}

    run(mongodb, story)


def test_of_two_versions_in_a_file_the_later_is_written_later(mongodb: str) -> None:
    async def story(ctx: Context) -> None:
        file = [patient(f"p{i % 3}", f"Version{i}") for i in range(30)]
        receipt = await load(ctx, file)
        assert (receipt.stored, receipt.missing) == ({"Patient": 30}, 0)
        assert [await family(ctx, f"p{i}") for i in range(3)] == ["Version27", "Version28", "Version29"]
        assert [await family(ctx, "p0", v) for v in range(1, 11)] == [f"Version{i}" for i in range(0, 30, 3)]

    run(mongodb, story)


class Overtaken(Store):
    """Somebody else updates a resource between what a load reads and what it writes."""

    other: Callable[[], Awaitable[object]] | None = None

    async def write_all(self, changes: Any) -> list[Stored]:
        other, self.other = self.other, None
        if other is not None:
            await other()
        return await super().write_all(changes)


def test_a_load_that_is_overtaken_writes_nevertheless(mongodb: str) -> None:
    async def story(ctx: Context) -> None:
        await load(ctx, [patient("a", "First"), patient("b", "First")])
        store = Overtaken(ctx.store.database)
        theirs = Request(method="PUT", path=("Patient", "a"), body=patient("a", "Theirs"))
        store.other = lambda: update(ctx, theirs, "Patient", "a")
        receipt = await load(replace(ctx, store=store), [patient("a", "Loaded"), patient("b", "Loaded")])
        assert (receipt.stored, receipt.failed, receipt.missing) == ({"Patient": 2}, [], 0)
        assert [await family(ctx, "a", v) for v in (1, 2, 3)] == ["First", "Theirs", "Loaded"]
        assert [await family(ctx, "b", v) for v in (1, 2)] == ["First", "Loaded"]

    run(mongodb, story)


def test_a_resource_that_no_document_can_hold_is_named_and_the_rest_goes_on(mongodb: str) -> None:
    async def story(ctx: Context) -> None:
        film = {"resourceType": "Binary", "contentType": "video/mp4"}
        noise = b64encode(randbytes(18_000_000)).decode()  # no compression makes less of it
        films = [film | {"id": "long", "data": noise}, film | {"id": "short", "data": "AAAA"}]
        receipt = await load(ctx, [patient("a", "First"), *films])
        assert receipt.stored == {"Patient": 1, "Binary": 1}
        assert [place for place, _ in receipt.failed] == ["Binary/long"]
        assert "16 MB" in receipt.failed[0][1]

    run(mongodb, story)


def test_what_is_no_resource_is_named_and_the_rest_goes_on(mongodb: str) -> None:
    async def story(ctx: Context) -> None:
        odd: list[dict[str, Any]] = [
            {"resourceType": "Patient", "id": {}},
            {"resourceType": [], "id": "a"},
            {"id": "b"},
        ]
        receipt = await load(ctx, [*odd, patient("c", "First")])
        assert (receipt.asked, receipt.stored, receipt.missing) == (4, {"Patient": 1}, 0)
        assert [place for place, _ in receipt.failed] == ["Patient/{}", "[]/a", "None/b"]

    run(mongodb, story)


def test_types_that_take_turns_in_a_file_are_written_whole(mongodb: str) -> None:
    async def story(ctx: Context) -> None:
        basic = {"resourceType": "Basic", "code": {"text": "a note"}}
        file = [item for i in range(600) for item in (patient(f"p{i % 400}", f"V{i}"), basic | {"id": f"b{i}"})]
        told: list[int] = []
        receipt = await load(ctx, iter(file), told.append)
        assert (receipt.stored, receipt.missing, sum(told)) == ({"Patient": 600, "Basic": 600}, 0, 1200)
        assert [await family(ctx, "p7"), await family(ctx, "p7", 1), await family(ctx, "p399")] == [
            "V407",
            "V7",
            "V399",
        ]

    run(mongodb, story)


def test_resources_that_refer_to_thousands_are_written_a_few_at_a_time(
    mongodb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def provenance(number: int) -> dict[str, Any]:
        return {
            "resourceType": "Provenance",
            "id": f"p{number}",
            "target": [{"reference": f"Observation/{'x' * 50}{i}"} for i in range(3_000)],
            "recorded": "2024-05-01T10:00:00Z",
            "agent": [{"who": {"display": "x"}}],
        }

    async def story(ctx: Context) -> None:
        commands: list[int] = []
        write_all = ctx.store.write_all

        async def counted(changes: Sequence[Change]) -> list[Stored]:
            commands.append(sum(len(change.body or b"") for change in changes))
            return await write_all(changes)

        monkeypatch.setattr(ctx.store, "write_all", counted)
        assert (await load(ctx, [provenance(number) for number in range(20)])).stored == {"Provenance": 20}
        assert len(commands) > 1
        assert max(commands) <= PART_BYTES

    run(mongodb, story)


def test_reindex_knows_numbers_that_bson_does_not(mongodb: str) -> None:
    async def story(ctx: Context) -> None:
        code = {"text": "a count"}
        large = {"resourceType": "Observation", "id": "n", "status": "final", "code": code}
        await load(ctx, [large | {"valueQuantity": {"value": 2**70}}])
        await ctx.store["Observation"].update_one({"_id": "n"}, {"$unset": {"search": 1, "resource": 1}})
        assert (await reindex(ctx, "Observation", silent)).done == 1
        found = await ctx.store["Observation"].find_one({"_id": "n"})
        assert found is not None
        assert found["search"]["value-quantity"]
        assert found["search"]["_content"] == ["a", "count"]
        assert found["resource"]["valueQuantity"]["value"].to_decimal() == 2**70

    run(mongodb, story)


def test_reindex_leaves_a_newer_version_alone(mongodb: str) -> None:
    async def story(ctx: Context) -> None:
        await load(ctx, [patient("a", "First")])
        await load(ctx, [patient("a", "Second")])
        old = await ctx.store.vread("Patient", "a", 1)
        assert old is not None
        stale = Change("Patient", "a", 1, old.updated, old.body, patient("a", "First"), {"family": ["first"]}, {}, [])
        assert await ctx.store.derive([stale]) == 0
        found = await ctx.store["Patient"].find_one({"_id": "a"})
        assert found is not None
        assert found["search"]["family"] == ["second"]

    run(mongodb, story)
