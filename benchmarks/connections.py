"""A thousand clients at once: mixed traffic over as many open connections, errors, latency, and memory on both sides.

    python -m benchmarks.connections [--connections 1000] [--seconds 60] [--write]

Every connection asks, waits for the answer, thinks for a moment, and asks again: reads, searches, creates and updates
in the proportions of MIX. What counts is that nothing is refused or lost, and that memory stays where it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from benchmarks.load import RESULTS, SHAPES, Processes, World, filled, running

MIX = {
    "read": 45,
    "search patient+code+date, 20 newest": 25,
    "search identifier": 10,
    "search _include": 5,
    "history of one": 5,
    "create": 7,
    "update": 3,
}
THINK_SECONDS = 2.0
SAMPLE_SECONDS = 1.0


class Tally:
    """What the clients saw."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.memory: list[tuple[int, int]] = []


async def client(base: str, world: World, number: int, deadline: float, tally: Tally) -> None:
    rng = random.Random(number)
    headers = {"Content-Type": "application/fhir+json", "Accept-Encoding": "identity"}
    await asyncio.sleep(rng.random() * THINK_SECONDS)
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=1)) as session:
        while time.perf_counter() < deadline:
            (name,) = rng.choices(list(MIX), list(MIX.values()))
            method, path, body = SHAPES[name](rng, world)
            content = json.dumps(body).encode() if body is not None else None
            start = time.perf_counter()
            try:
                async with session.request(method, URL(base + path, encoded=True), data=content) as answer:
                    await answer.read()
                    tally.statuses[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                tally.statuses[type(error).__name__] += 1
            tally.milliseconds.append((time.perf_counter() - start) * 1000)
            await asyncio.sleep(rng.expovariate(1 / THINK_SECONDS))


async def sampled(processes: Processes, deadline: float, tally: Tally) -> None:
    while time.perf_counter() < deadline:
        server, database = (process.memory_info().rss // 1_000_000 for process in processes)
        tally.memory.append((server, database))
        await asyncio.sleep(SAMPLE_SECONDS)


async def traffic(base: str, world: World, processes: Processes, connections: int, seconds: float) -> dict[str, Any]:
    tally = Tally()
    before = processes.cpu()
    deadline = time.perf_counter() + seconds
    clients = (client(base, world, number, deadline, tally) for number in range(connections))
    await asyncio.gather(sampled(processes, deadline, tally), *clients)
    server, database = (after - start for after, start in zip(processes.cpu(), before, strict=True))
    ordered = sorted(tally.milliseconds)
    refused = sum(n for status, n in tally.statuses.items() if not status.startswith("2"))
    third = max(1, len(tally.memory) // 3)
    return {
        "connections": connections,
        "seconds": seconds,
        "requests": len(ordered),
        "per_second": round(len(ordered) / seconds, 1),
        "error_rate": refused / len(ordered),
        "statuses": dict(tally.statuses),
        "p50_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[int(len(ordered) * 0.95)], 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "server_cpu": round(server / seconds, 2),
        "database_cpu": round(database / seconds, 2),
        "memory_mb": {
            name: {
                "first third": round(statistics.mean(sample[at] for sample in tally.memory[:third])),
                "last third": round(statistics.mean(sample[at] for sample in tally.memory[-third:])),
                "most": max(sample[at] for sample in tally.memory),
            }
            for at, name in enumerate(("server", "database"))
        },
    }


def main(given: list[str] | None = None) -> dict[str, Any]:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--connections", type=int, default=1000)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--write", action="store_true", help="keep the result in benchmarks/results")
    asked = arguments.parse_args(given)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for base, processes in running(Path(folder)):
            world = filled(base)
            result = asyncio.run(traffic(base, world, processes, asked.connections, asked.seconds))
    print(json.dumps(result, indent=2))
    if asked.write:
        target = RESULTS / f"{date.today()}-connections.json"
        target.write_text(json.dumps(result, indent=2) + "\n")
        print(f"written to {target.name}")
    return result


if __name__ == "__main__":
    main()
