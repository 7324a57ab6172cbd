"""A HealthMate process with its embedded mongod, as an operator runs it, and the accidents that befall the two."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from fhirserver.store import mongod

HEALTHMATE = (sys.executable, "-c", "from fhirserver.cli import main; main()")
BROKEN = (sys.executable, str(Path(__file__).with_name("broken.py")))
START_SECONDS = 60


class Machine:
    """`healthmate serve` on a data folder. Leaving the `with` ends everything it started."""

    def __init__(self, data: Path, program: Sequence[str] = HEALTHMATE, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        self.log = data.with_suffix(".log")
        self._command = [*program, "serve", *(options or ("--open",)), "--port", str(port), "--data", str(data)]
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(timeout=5)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"the server ended: {self.log.read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server is not ready: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def ready(self) -> bool:
        try:
            return self._http.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def kill_server(self) -> None:
        """kill -9: mongod stays behind, with the connections of the dead."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def mongod_pid(self, seconds: float = START_SECONDS) -> int:
        """mongod writes its pid into its lock file while it starts."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                pid = int((self.data / "db" / "mongod.lock").read_text())
                if mongod.serves(pid, self.data / "db"):
                    return pid
            time.sleep(0.02)
        raise RuntimeError("no mongod serves this folder")

    def signal_mongod(self, number: signal.Signals) -> None:
        os.kill(self.mongod_pid(), number)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self.kill_server()
        with suppress(RuntimeError):
            mongod.end(self.mongod_pid(1), None, signal.SIGKILL)
