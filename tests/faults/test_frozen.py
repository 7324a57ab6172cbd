"""MongoDB stops answering without a word (SIGSTOP): every request is refused in time, and all works again later."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import free_port
from machine import Machine
from writers import HEADERS, Writers, device, observation, patient

TOGETHER = 4  # requests of each kind at once
SECONDS = 6.0  # request_timeout is 5
RECOVERY_SECONDS = 10.0

PATIENT = patient("frozen", id="p")
PATCH = [{"op": "replace", "path": "/name/0/family", "value": "Frost"}]


def bundle(kind: str) -> dict[str, Any]:
    entries = [
        {"request": {"method": "POST", "url": "Observation"}, "resource": observation("frozen", "Patient/p")},
        {"request": {"method": "PUT", "url": "Device/d"}, "resource": device("frozen", "d")},
        {"request": {"method": "GET", "url": "Patient/p"}},
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


# kind: (method, path, body, headers)
REQUESTS: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "ready": ("GET", "/readyz", None, {}),
    "read": ("GET", "/fhir/Patient/p", None, {}),
    "vread": ("GET", "/fhir/Patient/p/_history/1", None, {}),
    "search": ("GET", "/fhir/Patient?name=muster", None, {}),
    "search with total and include": ("GET", "/fhir/Observation?_include=Observation:*&_total=accurate", None, {}),
    "search of everything": ("GET", "/fhir?_type=Patient,Observation", None, {}),
    "compartment": ("GET", "/fhir/Patient/p/Observation", None, {}),
    "everything": ("GET", "/fhir/Patient/p/$everything", None, {}),
    "history": ("GET", "/fhir/Patient/p/_history", None, {}),
    "history of a type": ("GET", "/fhir/Patient/_history", None, {}),
    "history of everything": ("GET", "/fhir/_history", None, {}),
    "create": ("POST", "/fhir/Patient", patient("frozen"), {}),
    "first of its type": ("POST", "/fhir/Basic", {"resourceType": "Basic", "code": {"text": "x"}}, {}),
    "conditional create": ("POST", "/fhir/Patient", patient("frozen"), {"If-None-Exist": "identifier=urn:x|1"}),
    "update": ("PUT", "/fhir/Patient/p", PATIENT, {}),
    "conditional update": ("PUT", "/fhir/Patient?name=muster&_id=p", PATIENT, {}),
    "patch": ("PATCH", "/fhir/Patient/p", PATCH, {"Content-Type": "application/json-patch+json"}),
    "delete": ("DELETE", "/fhir/Device/gone", None, {}),
    "conditional delete": ("DELETE", "/fhir/Device?identifier=urn:x|gone", None, {}),
    "transaction": ("POST", "/fhir", bundle("transaction"), {}),
    "batch": ("POST", "/fhir", bundle("batch"), {}),
}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path / "data", free_port()) as running:
        yield running


def asked(machine: Machine, kind: str) -> tuple[str, httpx.Response, float]:
    method, path, body, headers = REQUESTS[kind]
    began = time.monotonic()
    answer = httpx.request(method, machine.url + path, json=body, headers=HEADERS | headers, timeout=60, verify=False)
    return kind, answer, time.monotonic() - began


def statuses(answer: httpx.Response) -> list[str]:
    """The status; of a batch those of its entries."""
    if answer.status_code == 200 and b'"batch-response"' in answer.content:
        return [entry["response"]["status"][:3] for entry in answer.json()["entry"]]
    return [str(answer.status_code)]


def test_a_silent_database_refuses_every_request_in_time_and_is_forgiven(machine: Machine) -> None:
    with ThreadPoolExecutor(len(REQUESTS) * TOGETHER) as clients, Writers(machine.url, 2) as writers:
        for path, resource in (("Patient/p", PATIENT), ("Device/d", device("frozen", "d"))):
            httpx.put(f"{machine.url}/fhir/{path}", json=resource, headers=HEADERS).raise_for_status()
        while not writers.ledger.transactions:
            time.sleep(0.01)
        machine.signal_mongod(signal.SIGSTOP)
        try:
            answers = list(clients.map(lambda kind: asked(machine, kind), list(REQUESTS) * TOGETHER))
            assert httpx.get(f"{machine.url}/healthz", timeout=1).status_code == 200
            assert httpx.get(f"{machine.url}/fhir/metadata", timeout=5).status_code == 200
        finally:
            machine.signal_mongod(signal.SIGCONT)
        thawed = time.monotonic()
        slowest = {kind: max(s for k, _, s in answers if k == kind) for kind in REQUESTS}
        print("\nfrozen:", ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in slowest.items()))
        wrong = {f"{kind}: {statuses(a)} {a.text}" for kind, a, seconds in answers if not _refused(a, seconds)}
        assert not wrong, "\n".join(sorted(wrong))

        for kind in REQUESTS:
            while not _served(machine, kind):
                assert time.monotonic() - thawed < RECOVERY_SECONDS, kind
        writers.update_shared()
        print(f"all kinds work again after {time.monotonic() - thawed:.1f} s")
        assert time.monotonic() - thawed < RECOVERY_SECONDS


def _refused(answer: httpx.Response, seconds: float) -> bool:
    if seconds > SECONDS or set(statuses(answer)) != {"503"}:
        return False
    if answer.status_code == 200 or answer.headers["content-type"].startswith("text/plain"):
        return True
    return answer.json()["resourceType"] == "OperationOutcome" and "retry-after" in answer.headers


def _served(machine: Machine, kind: str) -> bool:
    _, answer, _ = asked(machine, kind)
    found = statuses(answer)
    assert all(status[0] == "2" or status in ("503", "404") for status in found), answer.text
    return "503" not in found
