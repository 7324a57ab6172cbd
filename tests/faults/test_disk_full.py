"""The disk of the database is full: writes are refused, what was acknowledged is there, and reading goes on.

The disk is a small tmpfs that is mounted for the test, which only root may do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from machine import Machine
from writers import HEADERS

DISK_MB = 640  # of which an empty embedded database takes 300
SPARE_MB = 200
RECOVERY_SECONDS = 60.0
FULL_SECONDS = 10.0

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount the small disk that is filled here"),
]


class Disk:
    """A small one, and what others put on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.foreign = folder / "foreign"

    @property
    def free(self) -> int:
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def fill(self, leave: int = 0) -> None:
        """With a foreign file, as large as it may become."""
        with self.foreign.open("wb", buffering=0) as file, suppress(OSError):  # ENOSPC
            while self.free > leave:
                file.write(bytes(1 << 16))

    def clear(self) -> None:
        self.foreign.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def machine(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("HEALTHMATE_SPARE_DISK_MB", str(SPARE_MB))
    machine = Machine(disk.folder / "data")
    machine.log = tmp_path / "server.log"
    with machine:
        yield machine


class Client:
    """Writes and reads, and keeps what was answered."""

    def __init__(self, machine: Machine) -> None:
        self.base = f"{machine.url}/fhir"
        self.http = httpx.Client(timeout=30, headers=HEADERS)
        self.acknowledged: dict[str, str] = {}
        self.refused: Counter[int] = Counter()
        self.reads: Counter[int] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def write(self, size: int = 100, *, transaction: bool = False) -> bool:
        """Random text, which nothing compresses."""
        text = os.urandom(size).hex()
        basic = {"resourceType": "Basic", "code": {"text": text}}
        entry = {"resource": basic, "request": {"method": "POST", "url": "Basic"}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        url, body = (self.base, bundle) if transaction else (f"{self.base}/Basic", basic)
        answer = self.http.post(url, json=body)
        if answer.is_success:
            location = answer.json()["entry"][0]["response"]["location"] if transaction else answer.headers["location"]
            self.acknowledged[location.split("/_history/")[0].rpartition("/")[2]] = text
            return True
        assert answer.status_code in (503, 507), answer.text
        assert answer.json()["resourceType"] == "OperationOutcome"
        self.refused[answer.status_code] += 1
        return False

    def read(self) -> None:
        answer = self.http.get(f"{self.base}/Basic/{next(iter(self.acknowledged))}")
        self.reads[answer.status_code] += 1

    def busy(self, until: Callable[[], bool]) -> None:
        turn = 0
        while not until():
            self.write(20_000, transaction=turn % 3 == 0)
            self.read()
            turn += 1

    def write_again(self) -> float:
        """How long until a write is taken."""
        began = time.monotonic()
        while not self.write():
            assert time.monotonic() - began < RECOVERY_SECONDS, "no write is taken although there is room again"
            time.sleep(0.1)
        return time.monotonic() - began

    def lost(self) -> list[str]:
        """What was acknowledged and is not there as it was written."""
        found: dict[str, Any] = {}
        for id_ in self.acknowledged:
            answer = self.http.get(f"{self.base}/Basic/{id_}")
            found[id_] = answer.json()["code"]["text"] if answer.is_success else answer.status_code
        return [id_ for id_, text in self.acknowledged.items() if found[id_] != text]

    def say(self, name: str, seconds: float) -> None:
        kept = f"acknowledged {len(self.acknowledged)}, lost {len(self.lost())}"
        print(f"\n{name}: {kept}, refused {dict(self.refused)}, reads {dict(self.reads)}, again after {seconds:.1f} s")


@pytest.fixture
def client(machine: Machine) -> Iterator[Client]:
    with Client(machine) as client:
        yield client


def test_writes_stop_while_the_database_can_still_read(machine: Machine, disk: Disk, client: Client) -> None:
    pid = machine.mongod_pid()
    assert client.write()
    disk.fill(leave=(SPARE_MB + 10) << 20)
    client.busy(until=lambda: client.refused.total() > 50)
    assert client.refused.keys() == {507}
    assert client.reads.keys() == {200}
    disk.clear()
    seconds = client.write_again()
    assert machine.mongod_pid() == pid, "nothing had to be started again"
    assert client.lost() == []
    client.say("disk full", seconds)


def test_a_disk_that_others_fill_to_the_last_byte_loses_nothing(machine: Machine, disk: Disk, client: Client) -> None:
    for _ in range(20):
        assert client.write(20_000)
    disk.fill()
    end = time.monotonic() + FULL_SECONDS
    client.busy(until=lambda: time.monotonic() > end)
    assert client.refused.total()
    assert client.reads.keys() <= {200, 503}
    disk.clear()
    seconds = client.write_again()
    assert client.lost() == []
    machine.kill_server()
    machine.signal_mongod(signal.SIGKILL)
    machine.start()
    assert client.lost() == []
    client.say("disk filled by another", seconds)
