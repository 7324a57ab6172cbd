"""kill -9 while a release is loaded: nothing of it is seen before it is whole, and a run again goes on where it was."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from machine import HEALTHMATE, Machine
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from test_crash import both_killed, mongod_killed

from fhirserver.store import embedded

CONCEPTS, BATCH, STRIKES = 24_000, 2_000, 3
SECONDS = 120
URL = "http://www.nlm.nih.gov/research/umls/rxnorm"
Running = subprocess.Popen[bytes]
Strike = Callable[[Machine, Running], None]


def release(folder: Path) -> Path:
    """A tree of drugs, ten below each."""
    folder.mkdir()
    names = (f"{code}|ENG||||||{code}||||RXNORM|SCD|{code}|drug {code}||N||\n" for code in range(1, CONCEPTS + 1))
    (folder / "RXNCONSO.RRF").write_text("".join(names))
    below = (f"{code // 10}||CUI|RN|{code}||CUI|isa|||RXNORM|||||\n" for code in range(10, CONCEPTS + 1))
    (folder / "RXNREL.RRF").write_text("".join(below))
    (folder / "RXNSAB.RRF").write_text("C1||RXNORM_26AA_260105F|RXNORM|RxNorm|SF|26AA_260105F|||||||||||||||||\n")
    return folder


def loading(machine: Machine, files: Path, database: str = "healthmate") -> Running:
    command = [*HEALTHMATE, "load-terminology", "rxnorm", str(files), "--data", str(machine.data)]
    environment = {"HEALTHMATE_DATABASE": database, "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def rows(machine: Machine) -> list[dict[str, Any]]:
    """What the database says of the loads; nothing while it is away."""
    url = embedded.attach(machine.data)
    if url is None:
        return []
    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=500) as client:
        try:
            return client["healthmate"]["releases"].find().to_list()
        except PyMongoError:
            return []


def written(machine: Machine) -> int:
    return max((row["written"] for row in rows(machine)), default=0)


def loader_killed(machine: Machine, running: Running) -> None:
    running.kill()


def loader_and_mongod_killed(machine: Machine, running: Running) -> None:
    running.kill()
    mongod_killed(machine)


def mongod_killed_under_it(machine: Machine, running: Running) -> None:
    mongod_killed(machine)


def all_killed(machine: Machine, running: Running) -> None:
    running.kill()
    both_killed(machine)


def known(machine: Machine, code: str) -> bool:
    asked = {"url": URL, "code": code}
    answer = httpx.get(f"{machine.url}/fhir/CodeSystem/$validate-code", params=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    (result,) = [each["valueBoolean"] for each in answer.json()["parameter"] if each["name"] == "result"]
    return bool(result)


def documents(machine: Machine, database: str) -> list[dict[str, Any]]:
    url = embedded.attach(machine.data)
    assert url is not None
    with MongoClient[dict[str, Any]](url) as client:
        (row,) = client[database]["releases"].find()
        assert row["state"] == "ready"
        return client[database][f"releases.{row['_id']}"].find(sort=[("n", 1)]).to_list()


def further(machine: Machine, running: Running, before: int) -> int:
    """How many are written when it is more than before, or when the load ends."""
    deadline = time.monotonic() + SECONDS
    while (now := written(machine)) < before + BATCH and running.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return now


def again(machine: Machine, files: Path, running: Running) -> Running:
    """A load may outlive an outage of the database, or end with a sentence."""
    with suppress(subprocess.TimeoutExpired):
        said = running.communicate(timeout=3)[0].decode()
        assert running.returncode == -9 or "run it again to go on" in said or "current now" in said, said
        return loading(machine, files)
    return running


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strike", [loader_killed, loader_and_mongod_killed, mongod_killed_under_it, all_killed])
def test_a_load_survives_kill_9(strike: Strike, tmp_path: Path) -> None:
    files = release(tmp_path / "files")
    with Machine(tmp_path / "data") as machine:
        struck: list[int] = []
        running = loading(machine, files)
        for _ in range(STRIKES):
            now = further(machine, running, struck[-1] if struck else 0)
            if now == CONCEPTS:
                break
            assert not known(machine, "1"), "a part of a release was seen"
            strike(machine, running)
            struck.append(now)
            running = again(machine, files, running)
        said = running.communicate(timeout=SECONDS)[0].decode()
        assert running.returncode == 0, said
        clean = loading(machine, files, "clean")
        clean.communicate(timeout=SECONDS)
        assert clean.returncode == 0
        print(f"\n{strike.__name__} at {struck} of {CONCEPTS:,}: {said.splitlines()[-1]}")
        assert struck[0] < CONCEPTS, "it was done before anything was struck"
        assert f"{CONCEPTS:,} concepts" in said
        assert known(machine, str(CONCEPTS))
        assert documents(machine, "healthmate") == documents(machine, "clean")
