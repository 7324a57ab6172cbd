"""The embedded mongod: it starts, is shared, is adopted, and recovers from whatever ended it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from fhirserver.store import embedded, mongod
from fhirserver.store.connect import DatabaseRefused
from fhirserver.store.embedded import REPLICA_SET, Embedded, start

MANY = 1_500
SERVER = """
import sys, time
from pathlib import Path
from fhirserver.store.embedded import start
database = start(Path(sys.argv[1]))
print(database.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def collection(url: str) -> Iterator[Any]:
    with MongoClient(url, serverSelectionTimeoutMS=10_000, w="majority", journal=True) as client:
        yield client.healthmate.Patient


def ids(url: str) -> list[str]:
    with collection(url) as patients:
        return sorted(document["_id"] for document in patients.find())


def insert(url: str, id_: str) -> None:
    with collection(url) as patients:
        patients.insert_one({"_id": id_})


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder; whatever a failing test leaves running on it is ended."""
    folder = tmp_path / "data"
    yield folder
    pid = embedded.locked_by(folder / "db" / "mongod.lock")
    if pid and mongod.serves(pid, folder / "db"):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def killed_server(data: Path) -> Iterator[int]:
    """The pid of a mongod whose server was killed with -9, with Patient/kept in it."""
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(data)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        insert(embedded.state_in(data / "mongod.json").url(f"replicaSet={REPLICA_SET}"), "kept")
    finally:
        server.kill()
        server.communicate()
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_it_starts_in_five_seconds_keeps_data_and_stops_clean(data: Path) -> None:
    began = time.monotonic()
    with start(data) as database:
        assert time.monotonic() - began < 5
        insert(database.url, "kept")
        assert database.state.password not in repr(database)
    assert not mongod.running(database.pid, database.process)
    assert (data / "db" / "mongod.lock").read_bytes() == b""
    with start(data) as again:
        assert ids(again.url) == ["kept"]
        assert again.url == database.url
    again.stop()  # a second time changes nothing


def test_it_may_open_as_many_files_as_the_system_allows_though_a_shell_allows_few(data: Path) -> None:
    few = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, {MANY}))\n"
    server = subprocess.Popen([sys.executable, "-c", few + SERVER, str(data)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(rf"Max open files +{MANY} ", limits), limits
    finally:
        server.terminate()
        server.communicate()


def test_only_this_user_and_this_machine_can_reach_it(data: Path) -> None:
    with start(data) as database:
        modes = {path.name: path.stat().st_mode & 0o077 for path in [data, *data.iterdir()]}
        assert modes == dict.fromkeys(modes, 0)
        anonymous = f"mongodb://127.0.0.1:{database.state.port}/?directConnection=true"
        with collection(anonymous) as patients, pytest.raises(PyMongoError, match="requires authentication"):
            patients.find_one()
        with MongoClient(database.url) as client:
            options = client.admin.command("getCmdLineOpts")["parsed"]
        assert options["net"]["bindIp"] == "127.0.0.1"
        assert options["net"]["compression"]["compressors"] == "disabled"


def test_a_second_server_on_the_same_folder_is_refused_with_a_sentence(data: Path) -> None:
    with start(data) as database:
        with pytest.raises(DatabaseRefused, match=rf"another HealthMate server \(pid {os.getpid()}\) uses.*--data"):
            start(data)
        insert(database.url, "undisturbed")


def test_two_clients_share_one_mongod(data: Path) -> None:
    with start(data) as database:
        worker = f"from tests.test_embedded import insert; insert({database.url!r}, 'from a worker')"
        subprocess.run([sys.executable, "-c", worker], check=True, cwd=Path(__file__).parent.parent)
        assert ids(database.url) == ["from a worker"]


def test_the_mongod_of_a_killed_server_is_adopted(data: Path, killed_server: int) -> None:
    with start(data) as database:
        assert database.pid == killed_server
        assert ids(database.url) == ["kept"]
    assert not mongod.running(killed_server, None)


def test_a_mongod_left_behind_frozen_is_replaced(
    data: Path, killed_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ADOPT_SECONDS", 0.5)
    os.kill(killed_server, signal.SIGSTOP)
    with start(data) as database:
        assert database.pid != killed_server
        assert ids(database.url) == ["kept"]


def test_killing_server_and_mongod_loses_nothing(data: Path, killed_server: int) -> None:
    os.kill(killed_server, signal.SIGKILL)
    mongod.ended(killed_server, None)
    assert (data / "db" / "mongod.lock").read_text().strip() == str(killed_server)
    with start(data) as database:
        assert ids(database.url) == ["kept"]


def test_a_lock_file_with_the_pid_of_a_stranger_is_stale(data: Path) -> None:
    with start(data) as database:
        insert(database.url, "kept")
    (data / "db" / "mongod.lock").write_text(f"{os.getpid()}\n")
    (data / "server.lock").write_text("1")
    with start(data) as database:
        assert ids(database.url) == ["kept"]


def only_files(database: Embedded) -> None:
    """Killed before mongod ran."""


def only_launched(database: Embedded) -> None:
    process = mongod.launch(database.program, database.data, database.state.port, REPLICA_SET)
    while not embedded.answers(database.state.port):
        time.sleep(0.02)
    process.kill()
    process.wait()


def left_running_without_a_user(database: Embedded) -> None:
    mongod.launch(database.program, database.data, database.state.port, REPLICA_SET)
    while not embedded.answers(database.state.port):
        time.sleep(0.02)


def initiated_without_a_user(database: Embedded) -> None:
    process = mongod.launch(database.program, database.data, database.state.port, REPLICA_SET)
    while not embedded.answers(database.state.port):
        time.sleep(0.02)
    host = f"127.0.0.1:{database.state.port}"
    with MongoClient(f"mongodb://{host}/?directConnection=true") as client:
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": host}]})
    process.kill()
    process.wait()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the child is left running on purpose
@pytest.mark.parametrize(
    "interrupted", [only_files, only_launched, left_running_without_a_user, initiated_without_a_user]
)
def test_a_first_start_that_was_interrupted_is_completed(data: Path, interrupted: Callable[[Embedded], None]) -> None:
    data.mkdir(mode=0o700)
    embedded.keyfile(data / "keyfile")
    state = embedded.state_in(data / "mongod.json")
    with (data / "server.lock").open("w") as lock:
        interrupted(Embedded(data, mongod.find_mongod(), 0.25, state, 0, lock, None))
    with start(data) as database:
        assert database.state == state
        insert(database.url, "first")


@contextmanager
def occupied(port: int) -> Iterator[None]:
    """Another program has taken the port; it hangs up on whoever calls."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    other.accept()[0].close()

        caller = threading.Thread(target=hang_up, daemon=True)
        caller.start()
        yield
        other.shutdown(socket.SHUT_RDWR)
        caller.join()


def test_another_port_is_taken_when_its_own_is_occupied(data: Path) -> None:
    with start(data) as first:
        insert(first.url, "kept")
    with occupied(first.state.port), start(data) as database:
        assert database.state.port != first.state.port
        assert ids(database.url) == ["kept"]
        insert(database.url, "more")


def test_a_mongod_that_dies_under_the_server_is_started_again(data: Path) -> None:
    with start(data) as database:
        insert(database.url, "before")
        database.watch()
        killed = database.pid
        os.kill(killed, signal.SIGKILL)
        assert ids(database.url) == ["before"]
        assert database.pid != killed
    assert not mongod.running(database.pid, database.process)


def test_a_password_file_that_does_not_belong_to_the_database_is_refused(data: Path) -> None:
    start(data).stop()
    (data / "mongod.json").write_text("{")
    with pytest.raises(DatabaseRefused, match="damaged"):
        start(data)
    (data / "mongod.json").write_text(json.dumps(embedded.State("healthmate", "wrong", embedded.any_port())._asdict()))
    with pytest.raises(DatabaseRefused, match=r"restore the ones this database was made with"):
        start(data)


def test_a_database_that_mongod_cannot_open_is_refused_with_its_words(data: Path) -> None:
    start(data).stop()
    (data / "db" / "WiredTiger.turtle").write_text("garbage")
    for path in (data / "db").glob("WiredTiger.*"):
        if path.name != "WiredTiger.turtle":
            path.unlink()
    with pytest.raises(DatabaseRefused, match=r"mongod ended while starting: .+"):
        start(data)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open' >&2; exit 127", "libcurl4"),
        ("echo 'db version v5.0.9'", "is version 5.0; 6.0 or later is needed"),
        ("exit 3", "does not say its version"),
        (None, "does not run"),
    ],
)
def test_a_program_that_cannot_be_used_is_named_with_the_remedy(
    tmp_path: Path, script: str | None, sentence: str
) -> None:
    program = tmp_path / "mongod"
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    with pytest.raises(DatabaseRefused, match=sentence):
        start(tmp_path / "data", str(program))


def test_without_any_mongod_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mongod.shutil, "which", lambda name: None)
    monkeypatch.setattr(mongod.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatabaseRefused, match=r"no mongod.*healthmate\[embedded\]"):
        start(tmp_path)


@pytest.mark.parametrize(("memory_gb", "cache_gb"), [(1, 0.25), (4, 0.5), (24, 3.0), (512, 4.0)])
def test_the_cache_is_an_eighth_of_the_memory_within_bounds(memory_gb: int, cache_gb: float) -> None:
    assert mongod.cache_for(memory_gb * 2**30) == cache_gb


@pytest.mark.parametrize("limit", ["max", "536870912"])
def test_a_container_has_the_memory_that_it_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(mongod, "CGROUP", tmp_path / "memory.max")
    mongod.CGROUP.write_text(limit + "\n")
    assert (mongod.memory_bytes() == 536870912) == (limit != "max")


def test_the_cache_that_is_set_is_what_mongod_gets(tmp_path: Path) -> None:
    with embedded.start(tmp_path, cache_gb=0.5) as database, MongoClient[Any](database.url) as client:
        status = client.admin.command("serverStatus")
        assert status["wiredTiger"]["cache"]["maximum bytes configured"] == 2**29
