"""What authorization and audit add to a read: CPU-ms of the server, each against a server without it.

    python -m benchmarks.authorized [--seconds 0.7] [--connections 8,32] [--rates 1000,2000] [--rounds 8] [--write]

Four servers on one embedded MongoDB, asked in turns so that what else the machine does falls on all of them alike: an
open one; one that is asked by a service (`system/*.rs`), one by a patient's app (`patient/*.rs`), by a practitioner and
by a proxy (`user/*.rs`), all without audit; and one by a patient's app with audit, as servers are by default. The
practitioner opens records of the patients whom they care for only, and the proxy keeps one by a RelatedPerson in it.

A server with audit answers fewer requests a second, and one that is not busy all the time takes more for each: it
sleeps in between, and wakes up to cold caches. So audit is compared twice: with each server asked as fast as it answers
(`audit_adds`), where that is in the difference, too, and with both asked equally often (`equally_often`).

Audit costs twice: a line in the ledger before the answer leaves (`audit_adds`), and an AuditEvent that is made of it
later (`making`, per event, of server and database). The two are kept apart as long as a turn is shorter than the time
after which events are made; `made_meanwhile` says how many were made all the same, whose cost is in `audit_adds`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from pymongo import MongoClient

from benchmarks.load import OBSERVATIONS, RESULTS, SHAPES, Processes, World, driver_alone, filled, run, running, serving
from fhirserver.store import embedded
from fhirserver.store.outstanding import LINES
from fhirserver.store.schema import AUDIT_EVENT

PATIENCE = 60  # seconds for all events to be made
PEOPLE = ("practitioner", "proxy")
AUDIT = ("app", "audited")
CARE_TEAM = {"HEALTHMATE_PRACTITIONER_ACCESS": "care-team"}


class Asked(NamedTuple):
    """A server, and by whom it is asked."""

    base: str
    processes: Processes
    token: str | None


def token(data: Path, scope: str, *more: str) -> str:
    return healthmate("token", "--data", str(data), "--scope", scope, *more)


def healthmate(*words: str) -> str:
    command = [str(Path(sys.executable).with_name("healthmate")), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def person(data: Path, base: str, role: str, patient: str) -> str:
    """A token of somebody who sees the record of a patient, because that says so."""
    subject = {"reference": f"Patient/{patient}"}
    who = {"practitioner": "Practitioner/bench", "proxy": "RelatedPerson/bench"}[role]
    says: dict[str, list[dict[str, Any]]] = {
        "practitioner": [
            {"resourceType": "Practitioner", "id": "bench"},
            {
                "resourceType": "CareTeam",
                "id": "bench",
                "status": "active",
                "subject": subject,
                "participant": [{"member": {"reference": who}}],
            },
        ],
        "proxy": [{"resourceType": "RelatedPerson", "id": "bench", "active": True, "patient": subject}],
    }
    for each in says[role]:
        httpx.put(f"{base}/{each['resourceType']}/{each['id']}", json=each).raise_for_status()
    healthmate("user", "add", role, "--role", role, "--fhir-user", who, "--data", str(data))
    return token(data, "user/*.rs", "--user", role)


class Ledger:
    """What is in it, for the benchmark to watch."""

    def __init__(self, url: str) -> None:
        client: MongoClient[dict[str, Any]] = MongoClient(url)
        self._database = client.get_default_database("healthmate")

    def outstanding(self) -> int:
        return sum(len(group["lines"]) for group in self._database[LINES].find({}, {"lines": 1}))

    def events(self) -> int:
        return self._database[AUDIT_EVENT].estimated_document_count()


class Making(NamedTuple):
    """CPU-ms per event, made after a turn; and how many were made during it."""

    server: float
    database: float
    meanwhile: int


def measure(connections: list[int], rates: list[int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = Path(folder)
        for base, processes in running(data):
            world = filled(base)
            own = World(world.patients[:1], world.observations[:OBSERVATIONS])  # of the first patient
            url = embedded.attach(data)
            if url is None:
                raise RuntimeError("the embedded database is not there")
            service = token(data, "system/*.rs")
            app = token(data, "patient/*.rs", "--patient", own.patients[0])
            asked = {"open": Asked(base, processes, None)}
            tokens = {role: person(data, base, role, own.patients[0]) for role in PEOPLE}
            for name, secret, audit in (("service", service, "no"), ("app", app, "no"), ("audited", app, "yes")):
                settings = {"HEALTHMATE_MONGODB_URL": url, "HEALTHMATE_AUDIT": audit, **CARE_TEAM}
                where, server = stack.enter_context(serving(**settings))
                asked[name] = Asked(where, Processes(server, processes.database), secret)
            asked |= {role: asked["app"]._replace(token=tokens[role]) for role in PEOPLE}
            ledger = Ledger(url)
            found = []
            for number in connections:
                row = _row(asked, own, number, rates, seconds, rounds, ledger)
                found.append(row | {"driver_read_cpu_ms": round(asyncio.run(driver_alone(url)), 3)})
            stack.close()
    return found


def _row(
    asked: dict[str, Asked],
    world: World,
    connections: int,
    rates: list[int],
    seconds: float,
    rounds: int,
    ledger: Ledger,
) -> dict[str, Any]:
    """Medians over the rounds; what is added is the median of the differences within each round."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in asked}
    paced: dict[int, dict[str, list[dict[str, Any]]]] = {rate: {name: [] for name in AUDIT} for rate in rates}
    made: list[Making] = []

    def ask(name: str, rate: int | None = None) -> dict[str, Any]:
        base, processes, secret = asked[name]
        events = ledger.events()
        row = asyncio.run(run(base, SHAPES["read"], world, connections, seconds, processes, secret, rate))
        if name == "audited":
            making = _made(ledger, asked[name], ledger.events() - events)
            made.extend([making] if rate is None else [])
        return row

    for at in range(rounds):
        order = 1 if at % 2 else -1
        for name in [*asked][::order]:
            taken[name].append(ask(name))
        for rate, rows in paced.items():
            for name in AUDIT[::order]:
                rows[name].append(ask(name, rate))

    return {
        "connections": connections,
        "errors": sum(row["errors"] for each in (taken, *paced.values()) for rows in each.values() for row in rows),
        "read_cpu_ms": _medians(taken, "server_cpu_ms"),
        "per_second": _medians(taken, "per_second"),
        "authorization_adds": {name: _added(taken, name, "open") for name in ("service", "app", *PEOPLE)},
        "audit_adds": _added(taken, "audited", "app"),
        "equally_often": [
            {
                "asked_per_second": rate,
                "per_second": _medians(rows, "per_second"),
                "read_cpu_ms": _medians(rows, "server_cpu_ms"),
                "audit_adds": _added(rows, "audited", "app"),
            }
            for rate, rows in paced.items()
        ],
        "making": {
            "server": round(statistics.median(each.server for each in made), 3),
            "database": round(statistics.median(each.database for each in made), 3),
            "made_meanwhile": sum(each.meanwhile for each in made),
        },
    }


def _medians(taken: dict[str, list[dict[str, Any]]], figure: str) -> dict[str, float]:
    return {name: round(statistics.median(row[figure] for row in rows), 3) for name, rows in taken.items()}


def _added(taken: dict[str, list[dict[str, Any]]], name: str, to: str) -> float:
    ones, others = ([row["server_cpu_ms"] for row in taken[each]] for each in (name, to))
    differences = [float(one - other) for one, other in zip(ones, others, strict=True)]
    return round(statistics.median(differences), 3)


def _made(ledger: Ledger, at: Asked, meanwhile: int) -> Making:
    """What making the rest costs, as who asks for events has it done; with the count that is asked for."""
    lines, before = ledger.outstanding(), at.processes.cpu()
    headers = {"Authorization": f"Bearer {at.token}"}
    httpx.get(f"{at.base}/AuditEvent?_summary=count", headers=headers, timeout=PATIENCE).raise_for_status()
    server, database = (
        (after - start) / max(lines, 1) * 1000 for after, start in zip(at.processes.cpu(), before, strict=True)
    )
    return Making(server, database, meanwhile)


def main(given: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=1)
    arguments.add_argument("--connections", default="8,32")
    arguments.add_argument("--rates", default="1000,2000", help="reads a second at which audit is compared, too")
    arguments.add_argument("--rounds", type=int, default=8)
    arguments.add_argument("--write", action="store_true", help="keep the result in benchmarks/results")
    asked = arguments.parse_args(given)
    connections, rates = ([*map(int, each.split(","))] for each in (asked.connections, asked.rates))
    result = measure(connections, rates, asked.seconds, asked.rounds)
    print(json.dumps(result, indent=2))
    if asked.write:
        target = RESULTS / f"{date.today()}-authorized.json"
        target.write_text(json.dumps(result, indent=2) + "\n")
        print(f"written to {target.name}")


if __name__ == "__main__":
    main()
