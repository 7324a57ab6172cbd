"""Closed-loop load on a real server: requests/s, latency, and CPU per request of server and database apart.

    make bench            or: python -m benchmarks.load [--seconds 4] [--connections 1,8,32] [--only read,create]

Starts its own embedded MongoDB and its own server process, fills them with synthetic resources, and runs every shape
at every number of connections. CPU comes from /proc of the two processes, so the client's own work is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import httpx
import psutil
import uvloop
from pymongo import AsyncMongoClient
from yarl import URL

from fhirserver.store import embedded

Shape = Callable[[random.Random, "World"], tuple[str, str, Any]]
PATIENTS, OBSERVATIONS = 200, 100
LARGE, RECORD = "bench-large", 2_000  # a patient, and how many resources the record has
CODES = ("8867-4", "8480-6", "8462-4", "29463-7", "8302-2")
HEALTH = "/healthz"
RESULTS = Path(__file__).parent / "results"


class World(NamedTuple):
    """What the shapes refer to."""

    patients: list[str]
    observations: list[str]


def patient(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:bench:mrn", "value": f"mrn-{number}"}],
        "active": True,
        "name": [{"use": "official", "family": f"Family{number % 50}", "given": ["Given", f"Middle{number}"]}],
        "telecom": [{"system": "phone", "value": f"555-{number:06d}", "use": "home"}],
        "gender": ("male", "female")[number % 2],
        "birthDate": f"{1940 + number % 70}-{1 + number % 12:02d}-{1 + number % 28:02d}",
        "address": [{"line": [f"{number} Main St"], "city": "Boston", "state": "MA", "postalCode": "02101"}],
    }


def observation(who: str, number: int) -> dict[str, Any]:
    code = CODES[number % len(CODES)]
    day = date(2020, 1, 1).toordinal() + number * 7 % 1500
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": category, "code": "vital-signs", "display": "Vital Signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": "A vital sign"}], "text": "sign"},
        "subject": {"reference": f"Patient/{who}"},
        "effectiveDateTime": f"{date.fromordinal(day)}T08:30:{number % 60:02d}+01:00",
        "issued": f"{date.fromordinal(day)}T08:31:00.123+01:00",
        "valueQuantity": {
            "value": 60 + number % 60,
            "unit": "/min",
            "system": "http://unitsofmeasure.org",
            "code": "/min",
        },
    }


def transaction(rng: random.Random) -> dict[str, Any]:
    who = "urn:uuid:00000000-0000-4000-8000-000000000000"
    entries = [
        {"fullUrl": who, "resource": patient(rng.randrange(10**6)), "request": {"method": "POST", "url": "Patient"}}
    ]
    for number in range(49):
        resource = observation("x", number) | {"subject": {"reference": who}}
        entries.append({"resource": resource, "request": {"method": "POST", "url": "Observation"}})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def updated(rng: random.Random, world: World) -> tuple[str, str, Any]:
    id_ = rng.choice(world.patients)
    return "PUT", f"/Patient/{id_}", patient(rng.randrange(10**6)) | {"id": id_}


SHAPES: dict[str, Shape] = {
    "no work at all (/healthz)": lambda rng, world: ("GET", HEALTH, None),
    "read": lambda rng, world: ("GET", f"/Observation/{rng.choice(world.observations)}", None),
    "create": lambda rng, world: ("POST", "/Observation", observation(rng.choice(world.patients), rng.randrange(9999))),
    "update": updated,
    "search patient+code+date, 20 newest": lambda rng, world: (
        "GET",
        f"/Observation?patient=Patient/{rng.choice(world.patients)}&code=http://loinc.org|{rng.choice(CODES)}"
        "&date=ge2020-01-01&_sort=-date&_count=20",
        None,
    ),
    "search identifier": lambda rng, world: (
        "GET",
        f"/Patient?identifier=urn:bench:mrn|mrn-{rng.randrange(PATIENTS)}",
        None,
    ),
    "search name": lambda rng, world: ("GET", f"/Patient?name=family{rng.randrange(50)}&_count=20", None),
    "search _include": lambda rng, world: (
        "GET",
        f"/Observation?patient=Patient/{rng.choice(world.patients)}&_include=Observation:subject&_count=20",
        None,
    ),
    "search _revinclude": lambda rng, world: (
        "GET",
        f"/Patient?_id={rng.choice(world.patients)}&_revinclude=Observation:subject",
        None,
    ),
    "search chained": lambda rng, world: (
        "GET",
        f"/Observation?subject:Patient.identifier=urn:bench:mrn|mrn-{rng.randrange(PATIENTS)}&_sort=-date&_count=20",
        None,
    ),
    "history of one": lambda rng, world: ("GET", f"/Patient/{rng.choice(world.patients)}/_history", None),
    "$everything": lambda rng, world: ("GET", f"/Patient/{rng.choice(world.patients)}/$everything?_count=50", None),
    f"$everything of {RECORD:,}": lambda rng, world: ("GET", f"/Patient/{LARGE}/$everything?_count={RECORD}", None),
    "$validate-code": lambda rng, world: (
        "GET",
        "/ValueSet/$validate-code?url=http://hl7.org/fhir/ValueSet/administrative-gender"
        "&system=http://hl7.org/fhir/administrative-gender&code=" + rng.choice(("male", "female", "other", "wrong")),
        None,
    ),
    "$lookup": lambda rng, world: (
        "GET",
        "/CodeSystem/$lookup?system=http://terminology.hl7.org/CodeSystem/v3-ActCode&code="
        + rng.choice(("IMP", "AMB", "EMER", "HH")),
        None,
    ),
    "transaction of 50": lambda rng, world: ("POST", "", transaction(rng)),
}


class Processes(NamedTuple):
    """CPU seconds (user + system) so far."""

    server: psutil.Process
    database: psutil.Process

    def cpu(self) -> tuple[float, float]:
        server, database = (sum(process.cpu_times()[:2]) for process in self)
        return server, database


async def run(
    base: str,
    shape: Shape,
    world: World,
    connections: int,
    seconds: float,
    at: Processes,
    token: str | None = None,
    rate: float | None = None,
) -> dict[str, Any]:
    """One shape. Each connection asks again once it was answered and, where there is a `rate`, once it is its turn.

    `rate`: requests a second of all connections together; one that is late catches up at once.
    """
    times: list[float] = []
    errors = 0
    started = time.perf_counter()
    deadline = started + seconds

    async def one(number: int) -> None:
        nonlocal errors
        rng = random.Random(number)
        headers = {"Content-Type": "application/fhir+json", "Accept-Encoding": "identity"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=1)) as client:
            turn = started + number / rate if rate else 0.0
            while time.perf_counter() < deadline:
                if rate:
                    await asyncio.sleep(turn - time.perf_counter())
                    turn += connections / rate
                method, path, body = shape(rng, world)
                url = base.removesuffix("/fhir") + path if path == HEALTH else base + path
                content = json.dumps(body).encode() if body is not None else None
                start = time.perf_counter()
                async with client.request(method, URL(url, encoded=True), data=content) as answer:
                    await answer.read()
                times.append(time.perf_counter() - start)
                errors += answer.status >= 400

    before = at.cpu()
    await asyncio.gather(*(one(number) for number in range(connections)))
    elapsed = time.perf_counter() - started
    server, database = (after - start for after, start in zip(at.cpu(), before, strict=True))
    ordered = sorted(times)
    return {
        "connections": connections,
        "requests": len(times),
        "errors": errors,
        "per_second": round(len(times) / elapsed, 1),
        "p50_ms": round(statistics.median(ordered) * 1000, 2),
        "p95_ms": round(ordered[int(len(ordered) * 0.95)] * 1000, 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 2),
        "server_cpu_ms": round(server / len(times) * 1000, 3),
        "database_cpu_ms": round(database / len(times) * 1000, 3),
    }


def running(data: Path) -> Iterator[tuple[str, Processes]]:
    """An open server on a data folder of its own."""
    with serving("--open", "--data", str(data), HEALTHMATE_MAX_COUNT=str(RECORD)) as (base, server):
        database = next(p for p in server.children(recursive=True) if p.name() == "mongod")
        yield base, Processes(server, database)


@contextmanager
def serving(*options: str, **settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """The base URL of a server that is ready, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("healthmate")), "serve", "--port", str(port), *options]
    environment = os.environ | {"HEALTHMATE_LOG_LEVEL": "warning"} | settings
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(300):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            raise RuntimeError("the server did not start")
        yield f"http://127.0.0.1:{port}/fhir", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def driver_alone(url: str) -> float:
    """CPU-ms of a bare point read by the driver on this machine: the floor of everything that asks the database."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url)
    collection = client["healthmate"]["Patient"]
    rounds = 400

    async def one() -> None:
        for _ in range(rounds):
            await collection.find_one({"_id": "bench-0"}, {"body": 1})

    await asyncio.gather(*(one() for _ in range(8)))
    start = time.process_time()
    await asyncio.gather(*(one() for _ in range(8)))
    elapsed = time.process_time() - start
    await client.close()
    return elapsed / (8 * rounds) * 1000


def filled(base: str) -> World:
    patients = [f"bench-{number}" for number in range(PATIENTS)]
    observations: list[str] = []
    with httpx.Client(timeout=120) as client:
        for first in range(0, PATIENTS, 5):
            entries = []
            for number, id_ in enumerate(patients[first : first + 5], first):
                entries += [put(patient(number) | {"id": id_}), *posts(id_, number, OBSERVATIONS)]
            observations += told(client, base, entries)
        told(client, base, [put(patient(PATIENTS) | {"id": LARGE}), *posts(LARGE, 0, RECORD - 1)])
    return World(patients, observations)


def put(resource: dict[str, Any]) -> dict[str, Any]:
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def posts(who: str, first: int, number: int) -> list[dict[str, Any]]:
    request = {"method": "POST", "url": "Observation"}
    return [{"resource": observation(who, first + each), "request": request} for each in range(number)]


def told(client: httpx.Client, base: str, entries: list[dict[str, Any]]) -> list[str]:
    """The ids of the observations of a transaction."""
    document = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = client.post(base, json=document, headers={"Content-Type": "application/fhir+json"})
    answer.raise_for_status()
    locations = (each["response"]["location"] for each in answer.json()["entry"])
    return [where.split("/")[1] for where in locations if where.startswith("Observation/")]


def main(given: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=4)
    arguments.add_argument("--connections", default="1,8,32")
    arguments.add_argument("--only", default="", help="comma-separated beginnings of shape names")
    arguments.add_argument("--write", action="store_true", help="keep the result in benchmarks/results")
    asked = arguments.parse_args(given)
    only = tuple(name for name in asked.only.split(",") if name)
    results: dict[str, Any] = {"python": sys.version}
    print(f"Python {sys.version}")
    with tempfile.TemporaryDirectory() as folder:
        for base, processes in running(Path(folder)):
            world = filled(base)
            url = embedded.attach(Path(folder))
            if url:
                floor = round(uvloop.run(driver_alone(url)), 3)
                results["driver alone, point read"] = [{"cpu_ms": floor}]
                print(f"driver alone, a point read under uvloop: {floor} CPU-ms")
            columns = ("connections", "per_second", "p50_ms", "p95_ms", "p99_ms", "server_cpu_ms", "database_cpu_ms")
            print(f"{'shape':36} " + " ".join(f"{column:>15}" for column in (*columns, "errors")))
            for name, shape in SHAPES.items():
                if only and not name.startswith(only):
                    continue
                for connections in map(int, asked.connections.split(",")):
                    row = asyncio.run(run(base, shape, world, connections, asked.seconds, processes))
                    results.setdefault(name, []).append(row)
                    print(f"{name:36} " + " ".join(f"{row[column]:>15}" for column in (*columns, "errors")), flush=True)
    if asked.write:
        RESULTS.mkdir(exist_ok=True)
        target = RESULTS / f"{date.today()}.json"
        target.write_text(json.dumps(results, indent=2) + "\n")
        print(f"written to {target.name}")


if __name__ == "__main__":
    main()
