"""MongoDB stops answering without a word (SIGSTOP): every request is refused in time, and all works again later."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import aiohttp
import httpx
import pytest
from machine import Machine
from writers import HEADERS, Writers, device, observation, patient

TOGETHER = 5  # requests of each kind at once: more than the driver keeps connections, which is 100
SECONDS = 6.0  # request_timeout is 4
RECOVERY_SECONDS = 15.0

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
    "conditional update": ("PUT", "/fhir/Patient?_id=p", PATIENT, {}),
    "patch": ("PATCH", "/fhir/Patient/p", PATCH, {"Content-Type": "application/json-patch+json"}),
    "delete": ("DELETE", "/fhir/Device/gone", None, {}),
    "conditional delete": ("DELETE", "/fhir/Device?identifier=urn:x|gone", None, {}),
    "transaction": ("POST", "/fhir", bundle("transaction"), {}),
    "batch": ("POST", "/fhir", bundle("batch"), {}),
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("frozen") / "data") as running:
        for path, resource in (("Patient/p", PATIENT), ("Device/d", device("frozen", "d"))):
            httpx.put(f"{running.url}/fhir/{path}", json=resource, headers=HEADERS).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        yield client


@contextmanager
def silence(machine: Machine) -> Iterator[None]:
    machine.signal_mongod(signal.SIGSTOP)
    try:
        yield
    finally:
        machine.signal_mongod(signal.SIGCONT)


class Asked(NamedTuple):
    kind: str
    answer: httpx.Response
    seconds: float

    @property
    def statuses(self) -> set[str]:
        """The status; of a batch those of its entries."""
        if self.answer.status_code == 200 and b'"batch-response"' in self.answer.content:
            return {entry["response"]["status"][:3] for entry in self.answer.json()["entry"]}
        return {str(self.answer.status_code)}

    @property
    def refused_in_time(self) -> bool:
        if self.seconds > SECONDS or self.statuses != {"503"}:
            return False
        if self.kind == "ready" or self.answer.status_code == 200:
            return True
        return self.answer.json()["resourceType"] == "OperationOutcome" and "retry-after" in self.answer.headers

    def __str__(self) -> str:
        return f"{self.kind}: {self.statuses} after {self.seconds:.0f} s: {self.answer.text}"


def asked(machine: Machine, kinds: Iterable[str]) -> list[Asked]:
    """All of them at once, from one thread: a hundred of them would be late by themselves."""

    async def ask(session: aiohttp.ClientSession, kind: str) -> Asked:
        method, path, body, headers = REQUESTS[kind]
        began = time.monotonic()
        async with session.request(method, machine.url + path, json=body, headers=HEADERS | headers) as answer:
            content = await answer.read()
        response = httpx.Response(answer.status, headers=dict(answer.headers), content=content)
        return Asked(kind, response, time.monotonic() - began)

    async def together() -> list[Asked]:
        plain = {"Accept-Encoding": "identity"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=plain) as session:
            return await asyncio.gather(*(ask(session, kind) for kind in kinds))

    return asyncio.run(together())


def test_a_short_silence_is_waited_out(machine: Machine, http: httpx.Client) -> None:
    with silence(machine):
        thaw = threading.Timer(1.0, machine.signal_mongod, [signal.SIGCONT])
        thaw.start()
        answers = asked(machine, REQUESTS)
    assert not [str(one) for one in answers if not one.answer.is_success or one.seconds > SECONDS]


def test_a_long_silence_refuses_every_request_in_time_and_is_forgiven(machine: Machine, http: httpx.Client) -> None:
    with Writers(machine.url, 2) as writers:
        while not writers.ledger.transactions:
            time.sleep(0.01)
        with silence(machine):
            answers = asked(machine, list(REQUESTS) * TOGETHER)
            assert http.get(f"{machine.url}/healthz", timeout=1).status_code == 200
            assert http.get(f"{machine.url}/fhir/metadata", timeout=1).status_code == 200
            answers += asked(machine, REQUESTS)  # now that the server knows, and has no connection left
        thawed = time.monotonic()
        print(f"\nfrozen: {len(answers)} requests, slowest {max(one.seconds for one in answers):.1f} s")
        assert not {str(one) for one in answers if not one.refused_in_time}
        waiting = list(REQUESTS)
        while waiting:
            waiting = [one.kind for one in asked(machine, waiting) if not one.answer.is_success]
            assert time.monotonic() - thawed < RECOVERY_SECONDS, waiting
        writers.update_shared()
        print(f"all kinds work again after {time.monotonic() - thawed:.1f} s")
        assert time.monotonic() - thawed < RECOVERY_SECONDS
