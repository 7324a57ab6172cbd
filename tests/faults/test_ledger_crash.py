"""kill -9 while requests are told to the ledger: what was answered has its event, and no strand is broken.

It starts servers, so it runs with `make faults`; tests/access/test_outstanding.py says the same of one process.
"""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from machine import HEALTHMATE, Machine

READERS = 8


class Readers:
    """Apps that read without pause, and the ids of the requests that were answered."""

    def __init__(self, url: str, token: str) -> None:
        self.answered: list[str] = []
        self._url, self._token = url, token
        self._enough = threading.Event()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(number,)) for number in range(READERS)]

    def _read(self, number: int) -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {self._token}"}, timeout=5) as http:
            for at in range(100_000):
                name = f"reader-{number}-{at}"
                try:
                    answer = http.get(f"{self._url}/fhir/Patient/nobody", headers={"X-Request-Id": name})
                except httpx.TransportError:
                    return
                assert answer.status_code == 404, answer.text
                self.answered.append(name)
                if len(self.answered) > 100:
                    self._enough.set()

    def until_enough(self) -> None:
        for each in self._threads:
            each.start()
        assert self._enough.wait(60)

    def end(self) -> None:
        for each in self._threads:
            each.join(30)


def healthmate(*arguments: str) -> str:
    return subprocess.run([*HEALTHMATE, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.faults
def test_no_event_of_what_was_answered_is_lost(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Machine(data, HEALTHMATE, "--demo", "0") as machine:
        token = healthmate("token", "--data", str(data), "--scope", "system/*.rs")
        readers = Readers(machine.url, token)
        readers.until_enough()
        machine.kill_server()
        readers.end()
        machine.start()
        told, url = set[str](), f"{machine.url}/fhir/AuditEvent?subtype=read&_count=1000"
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
            while url:
                page = http.get(url).json()
                events = [entry["resource"] for entry in page.get("entry", ())]
                told |= {event["entity"][-1]["what"]["identifier"]["value"] for event in events}
                url = next((each["url"] for each in page["link"] if each["relation"] == "next"), "")
        assert {*readers.answered} - told == set()
        assert "as they were written" in healthmate("audit", "verify", "--data", str(data))
