"""What consents and labels cost: CPU-ms of this process for a read and a search by a service, in process.

    python -m benchmarks.consents [--others 0,1000,10000,90000] [--reads 2000]

One patient has an Observation and no consent; `others` have one each, of ten forms. Then the patient has one, too, that
is about something else; and the Observation a label. Beside the time, the commands that the database is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

from fhirserver.assembly import contexts
from fhirserver.context import OPERATOR, Caller, Context
from fhirserver.interactions.changes import written
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.in_force import known
from fhirserver.interactions.route import perform
from fhirserver.settings import Settings
from fhirserver.store import embedded
from smart_auth.scopes import parse

SERVICE = Caller("bench", scopes=tuple(filter(None, [parse("system/*.rs")])), client="bench")
READ = Request(method="GET", path=("Observation", "own"))
SEARCH = Request(method="GET", path=("Observation",), pairs=(("patient", "own"), ("_count", "20")))
LOINC = "http://loinc.org"


def consent(patient: str, code: str) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "id": f"of-{patient}",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "patient": {"reference": f"Patient/{patient}"},
        "provision": {"type": "deny", "code": [{"coding": [{"system": LOINC, "code": code}]}]},
    }


def observation(**more: Any) -> dict[str, Any]:
    pulse = {"coding": [{"system": LOINC, "code": "8867-4"}]}
    about = {"status": "final", "code": pulse, "subject": {"reference": "Patient/own"}}
    return {"resourceType": "Observation", "id": "own", **about, "effectiveDateTime": "2026-01-01", **more}


async def store(ctx: Context, *resources: dict[str, Any]) -> None:
    for each in resources:
        previous = await ctx.store.read(each["resourceType"], each["id"])
        await ctx.store.write(written(ctx, each, each["id"], previous))


async def taken(run: Callable[[], Awaitable[Answer]], number: int) -> float:
    """CPU-ms each; what is kept is kept before."""
    for _ in range(20):
        assert (await run()).status == 200
    began = process_time()
    for _ in range(number):
        await run()
    return round((process_time() - began) * 1000 / number, 3)


async def measured(ctx: Context, number: int, what: str) -> dict[str, Any]:
    asked = replace(ctx.fresh(), caller=SERVICE)
    read = await taken(lambda: perform(asked, READ), number)
    search = await taken(lambda: perform(asked, SEARCH), number // 4)
    return {"with": what, "read_cpu_ms": read, "search_cpu_ms": search}


async def measure(url: str, others: list[int], number: int) -> list[dict[str, Any]]:
    rows = []
    values: dict[str, Any] = {"mongodb_url": url, "audit": False}
    async with contexts(Settings(**values)) as found:
        ctx = replace(found[""], caller=OPERATOR)
        await store(ctx, {"resourceType": "Patient", "id": "own"}, observation())
        open_ = await taken(lambda: perform(ctx, READ), number)
        search = await taken(lambda: perform(ctx, SEARCH), number // 4)
        rows.append({"with": "no law: the operator", "read_cpu_ms": open_, "search_cpu_ms": search})
        there = 0
        for many in others:
            batch = [
                written(ctx, each, each["id"]) for each in (consent(f"p{n}", f"{n % 10}-0") for n in range(there, many))
            ]
            for at in range(0, len(batch), 1_000):
                await ctx.store.write_all(batch[at : at + 1_000])
            there = max(there, many)
            began = process_time()
            await known(ctx)
            compiled = round((process_time() - began) * 1000)
            rows.append(await measured(ctx, number, f"consents of {many:,} others") | {"compiled_cpu_ms": compiled})
        await store(ctx, consent("own", "1-1"))
        rows.append(await measured(ctx, number, "a consent of the patient, too, about another code"))
        await store(ctx, observation(meta={"security": [{"system": "http://x.example", "code": "HIV"}]}))
        rows.append(await measured(ctx, number, "a label of the Observation, too"))
    return rows


def main(given: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--others", default="0,1000,10000,90000")
    arguments.add_argument("--reads", type=int, default=2_000)
    asked = arguments.parse_args(given)
    with tempfile.TemporaryDirectory() as folder, embedded.start(Path(folder)) as running:
        rows = asyncio.run(measure(running.url, [*map(int, asked.others.split(","))], asked.reads))
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
