"""kill -9 while a new search parameter is being indexed: the job goes on where it was, and its receipt is the truth."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from machine import Machine
from test_crash import Strike, both_killed, mongod_killed, server_killed

PATIENTS, BATCH = 6_000, 500
SECONDS = 90
NICKNAME = {
    "resourceType": "SearchParameter",
    "url": "urn:healthmate:test:nickname",
    "name": "Nickname",
    "description": "What a patient is called by friends.",
    "status": "active",
    "code": "nickname",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.name.where(use='nickname').given",
}


def patient(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "name": [{"use": "nickname", "given": [f"Nick{number % 7}"]}],
    }


def filled(http: httpx.Client) -> None:
    for first in range(0, PATIENTS, BATCH):
        entries = [
            {"resource": patient(number), "request": {"method": "PUT", "url": f"Patient/p{number}"}}
            for number in range(first, first + BATCH)
        ]
        answer = http.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text


def told(http: httpx.Client) -> Iterator[dict[str, Any]]:
    """What is said of the job, time and again."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        listed = http.get("_jobs").json().get("parameter", [])
        assert len(listed) <= 1, listed
        for job in listed:
            yield {part["name"]: part for part in job["part"]}
        time.sleep(0.02)
    raise AssertionError(f"no end within {SECONDS} s")


def progress(said: dict[str, Any]) -> int:
    """`1,500 of 6,000 done`; before the first batch it is only a word."""
    first = said["progress"]["valueString"].split()[0].replace(",", "") if "progress" in said else ""
    return int(first) if first.isdigit() else 0


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("strike", [server_killed, mongod_killed, both_killed])
def test_a_reindex_survives_kill_9(strike: Strike, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHMATE_JOB_LEASE_SECONDS", "1")
    monkeypatch.setenv("HEALTHMATE_JOB_SWEEP_SECONDS", "0.3")
    chosen, written = random.Random(strike.__name__), itertools.count(PATIENTS)
    with (
        Machine(tmp_path / "data") as machine,
        httpx.Client(base_url=f"{machine.url}/fhir/", timeout=60) as http,
    ):
        filled(http)
        assert http.post("SearchParameter", json=NICKNAME).status_code == 201
        struck: list[int] = []
        for _ in range(3):
            before = struck[-1] if struck else 0
            done = next(progress(said) for said in told(http) if progress(said) > before or "receipt" in said)
            time.sleep(chosen.uniform(0, 0.1))
            strike(machine)
            struck.append(done)
            number = next(written)
            assert http.put(f"Patient/p{number}", json=patient(number)).status_code == 201
        said = next(said for said in told(http) if "receipt" in said)
        receipt = {part["name"]: part.get("valueInteger") for part in said["receipt"]["part"]}
        names = [f"Nick{number}" for number in range(7)]
        found = [http.get(f"Patient?nickname={name}&_summary=count").json()["total"] for name in names]
    print(f"\n{strike.__name__} at {struck} of {PATIENTS:,}: receipt {receipt}")
    assert struck[0] < PATIENTS, "it was done before anything was struck"
    assert sum(found) == receipt["documents"] == receipt["current"] == PATIENTS + len(struck)
    assert receipt["failed"] == 0
