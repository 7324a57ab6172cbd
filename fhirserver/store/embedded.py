"""The embedded database: a real mongod as a child process, one-member replica set, loopback only.

Everything lives in the data folder: `server.lock` (held by the one server of this folder), `mongod.json` (generated
user, password and port), `keyfile`, `mongod.log` and `db`. A server that was killed leaves its mongod running; the next
one adopts it. https://www.mongodb.com/docs/manual/reference/program/mongod/
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, Self
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fhirserver.store.connect import DatabaseRefused
from fhirserver.store.mongod import cache_for, end, find_mongod, last_error, launch, memory_bytes, running, serves

REPLICA_SET = "healthmate"
START_SECONDS = 120  # a journal replayed after a crash takes its time; an ordinary start takes 1.5 s
ADOPT_SECONDS = 3

_log = logging.getLogger(__name__)


class State(NamedTuple):
    """What `mongod.json` keeps, written before mongod starts, so that no interruption can lose the password."""

    user: str
    password: str
    port: int

    def url(self, options: str) -> str:
        return f"mongodb://{self.user}:{quote(self.password)}@127.0.0.1:{self.port}/?authSource=admin&{options}"


@dataclass
class Embedded:
    """A running mongod that belongs to this server. Worker processes connect to `url`; only the parent stops it."""

    data: Path
    program: str
    cache_gb: float
    state: State = field(repr=False)
    pid: int
    lock: IO[str] = field(repr=False)
    process: subprocess.Popen[bytes] | None = field(repr=False)
    stopping: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def url(self) -> str:
        return self.state.url(f"replicaSet={REPLICA_SET}")

    def stop(self) -> None:
        """Shut down cleanly and let go of the data folder; safe to call twice."""
        self.stopping.set()
        if self.lock.closed:
            return
        end(self.pid, self.process)
        self.lock.close()

    def watch(self) -> None:
        """Start mongod again whenever it dies on its own, on the same port, so that clients reconnect."""
        threading.Thread(target=self._restart, name="mongod-watch", daemon=True).start()

    def _restart(self) -> None:
        while not self.stopping.wait(0.2):
            if running(self.pid, self.process):
                continue
            _log.error("mongod (pid %d) ended; starting it again", self.pid)
            try:
                self.process = launch(self.program, self.data, self.state.port, REPLICA_SET, self.cache_gb)
                self.pid = self.process.pid
                _ready(self.data, self.state, self.process)
            except DatabaseRefused as refusal:
                _log.error("%s", refusal)
                self.stopping.wait(2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(data: Path, mongod: str | None = None, cache_gb: float | None = None) -> Embedded:
    """Start or adopt the mongod of this data folder and wait until it takes writes. Raises DatabaseRefused."""
    data = data.absolute()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    data.chmod(0o700)
    lock = _lock(data / "server.lock")
    try:
        return _start(data, mongod, cache_gb or cache_for(memory_bytes()), lock)
    except BaseException:
        lock.close()
        raise


def begun(data: Path) -> bool:
    """Whether there ever was a database in this folder."""
    return (data / "db").exists()


def attach(data: Path) -> str | None:
    """The URL of the database that a running server keeps in this folder; None when no server runs there."""
    try:
        _lock(data / "server.lock").close()
    except FileNotFoundError:
        return None
    except DatabaseRefused:
        state = state_in(data / "mongod.json")
        with suppress(PyMongoError), _client(state.url("directConnection=true"), ADOPT_SECONDS) as client:
            client.admin.command("ping")
            return state.url(f"replicaSet={REPLICA_SET}")
    return None


def _start(data: Path, mongod: str | None, cache_gb: float, lock: IO[str]) -> Embedded:
    program = find_mongod(mongod)
    keyfile(data / "keyfile")
    state = state_in(data / "mongod.json")
    if pid := _adoptable(data, state):
        _log.info("adopted the mongod that an earlier server left behind (pid %d)", pid)
        _ready(data, state, None)
        return Embedded(data, program, cache_gb, state, pid, lock, None)
    if not _free(state.port):
        state = state._replace(port=any_port())
    _write(data / "mongod.json", json.dumps(state._asdict()))
    process = launch(program, data, state.port, REPLICA_SET, cache_gb)
    try:
        _ready(data, state, process)
    except BaseException:
        end(process.pid, process)
        raise
    return Embedded(data, program, cache_gb, state, process.pid, lock, process)


# --- readiness -------------------------------------------------------------------------------------------------------


def _ready(data: Path, state: State, process: subprocess.Popen[bytes] | None) -> None:
    """Wait for the port, make the replica set and the user where they are missing, wait for the election."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(state.port):
        if process is not None and process.poll() is not None:
            raise DatabaseRefused(f"mongod ended while starting: {last_error(data / 'mongod.log')}")
        if time.monotonic() > deadline:
            raise DatabaseRefused(f"mongod did not open its port in {START_SECONDS} s; see {data / 'mongod.log'}")
        time.sleep(0.02)
    try:
        _initialise(state, deadline)
    except PyMongoError as error:
        raise DatabaseRefused(
            f"the embedded database in {data} does not accept this server: {error}. If mongod.json or keyfile were"
            " changed or came from elsewhere, restore the ones this database was made with"
        ) from error


def _initialise(state: State, deadline: float) -> None:
    """Safe to repeat from any point: an earlier start may have been killed between any two of these steps."""
    host = f"127.0.0.1:{state.port}"
    # without credentials: mongod allows this on loopback until the first user exists
    with _client(f"mongodb://{host}/?directConnection=true") as anonymous:
        config = {"_id": REPLICA_SET, "members": [{"_id": 0, "host": host}]}
        with _unless(13, 23):  # Unauthorized: users exist, so it was initiated; AlreadyInitialized
            anonymous.admin.command("replSetInitiate", config)
        while not (hello := anonymous.admin.command("hello")).get("isWritablePrimary"):
            if hello.get("isreplicaset"):  # no valid configuration: it names another port, or is not loaded yet
                _move(state, host)
            if time.monotonic() > deadline:
                raise DatabaseRefused("the embedded replica set elected no primary")
            time.sleep(0.02)
        with _unless(13):  # Unauthorized: the user exists, and the exception is over
            anonymous.admin.command(
                "createUser", state.user, pwd=state.password, roles=["root"], mechanisms=["SCRAM-SHA-256"]
            )
    with _client(state.url("directConnection=true")) as client:
        client.admin.command("ping")


def _move(state: State, host: str) -> None:
    """Name the member by its present port; its old one has been taken by someone else since."""
    with _client(state.url("directConnection=true")) as client, _unless(94, 109):  # NotYetInitialized, InProgress
        config = client.admin.command("replSetGetConfig")["config"]
        if config["members"][0]["host"] != host:
            config["members"][0]["host"] = host
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)


@contextmanager
def _unless(*codes: int) -> Iterator[None]:
    """The command, or the sign that an earlier start has already done it."""
    try:
        yield
    except OperationFailure as error:
        if error.code not in codes:
            raise


@contextmanager
def _client(url: str, seconds: float = 10) -> Iterator[MongoClient[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(
        url, serverSelectionTimeoutMS=int(seconds * 1000), socketTimeoutMS=int(seconds * 1000)
    )
    with closing(client):
        yield client


# --- the process left behind -----------------------------------------------------------------------------------------


def _adoptable(data: Path, state: State) -> int | None:
    """The pid of a mongod that already serves this folder; one that hangs is ended, for its journal is complete."""
    dbpath = data / "db"
    pid = locked_by(dbpath / "mongod.lock")
    if pid is None or not serves(pid, dbpath):
        return None
    try:
        with _client(state.url("directConnection=true"), ADOPT_SECONDS) as client:
            options = client.admin.command("getCmdLineOpts")
    except OperationFailure:  # it has no user yet: the start that launched it was cut short
        return pid
    except PyMongoError:
        _log.warning("the mongod left behind (pid %d) does not answer; ending it", pid)
        end(pid, None, signal.SIGKILL)
        return None
    return pid if options["parsed"]["storage"]["dbPath"] == str(dbpath) else None


def locked_by(path: Path) -> int | None:
    """mongod writes its pid into mongod.lock and empties the file when it ends in order."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


# --- files and ports -------------------------------------------------------------------------------------------------


def _lock(path: Path) -> IO[str]:
    """Held until the file is closed or the process dies, however it dies."""
    lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = lock.read().strip()
        lock.close()
        raise DatabaseRefused(
            f"another HealthMate server{f' (pid {holder})' if holder else ''} uses the data folder {path.parent}. Stop"
            " it first, or give this one a folder of its own with --data"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def state_in(path: Path) -> State:
    try:
        return State(**json.loads(path.read_text()))
    except FileNotFoundError:
        state = State("healthmate", secrets.token_urlsafe(32), any_port())
    except (ValueError, TypeError) as error:
        raise DatabaseRefused(f"{path} is damaged; restore it from a backup: it holds the database password") from error
    _write(path, json.dumps(state._asdict()))
    return state


def keyfile(path: Path) -> None:
    if not path.exists():
        _write(path, base64.b64encode(secrets.token_bytes(512)).decode())


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and for this user only."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def any_port() -> int:
    """Below the range that outgoing connections use, so that the port is still free next time."""
    ports = (secrets.choice(range(20_000, 32_000)) for _ in range(1000))
    return next(port for port in ports if _free(port))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
