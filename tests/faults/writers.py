"""Clients that write without pause, and the ledger of what the server acknowledged to them."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from uuid import uuid4

import httpx

Resource = dict[str, Any]
SYSTEM = "urn:healthmate:write"  # of the tag that says which request wrote a version
ENTRIES = 6
SHARED = ("a", "b", "c")  # ids of the Devices that every client updates
HEADERS = {"Content-Type": "application/fhir+json"}


class Version(NamedTuple):
    type: str
    id: str
    number: int


class Ledger:
    """What was acknowledged: the version and the tag it was written with. And what else was answered."""

    def __init__(self) -> None:
        self.acknowledged: dict[Version, str] = {}
        self.transactions: set[str] = set()
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, tag: str, answer: httpx.Response) -> None:
        with self._lock:
            self.answers[str(answer.status_code)] += 1
            if not answer.is_success:
                return
            if "location" in answer.headers:
                self.acknowledged[_version(answer.headers["location"])] = tag
                return
            self.transactions.add(tag)
            for entry in answer.json()["entry"]:
                self.acknowledged[_version(entry["response"]["location"])] = tag

    def failed(self, error: httpx.TransportError) -> None:
        with self._lock:
            self.answers[type(error).__name__] += 1


def _version(location: str) -> Version:
    type_, id_, _, number = location.rsplit("/", 3)
    return Version(type_.rpartition("/")[2], id_, int(number))


class Writers:
    """Threads that write until the `with` ends, through every crash."""

    def __init__(self, url: str, threads: int = 4) -> None:
        self.base = f"{url}/fhir"
        self.ledger = Ledger()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed,), daemon=True) for seed in range(threads)]

    def __enter__(self) -> Self:
        self.update_shared()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client got no answer within a minute"

    def update_shared(self) -> None:
        """Write every contended resource once: after a crash, nothing may stand in the way of that."""
        with httpx.Client(timeout=30) as http:
            for id_ in SHARED:
                while not self._send(http, f"put-{uuid4().hex}", _put_shared(id_)):
                    if self._stop.wait(0.05):
                        return

    def _run(self, seed: int) -> None:
        chosen = random.Random(seed)
        own = f"own-{seed}-{uuid4().hex[:8]}"
        condition = ""
        with httpx.Client(timeout=30) as http:
            for turn in itertools.count():
                if self._stop.is_set():
                    return
                tag = f"{('tx', 'post', 'put', 'tx', 'once', 'own')[turn % 6]}-{uuid4().hex}"
                kind = tag.partition("-")[0]
                if kind == "once":  # sent again until it is acknowledged, as a careful client does
                    condition = condition or uuid4().hex
                    condition = "" if self._send(http, tag, _post_once(condition)) else condition
                else:
                    made = {"tx": _transaction, "post": _post, "put": _put_shared, "own": _put}[kind]
                    self._send(http, tag, made(own if kind == "own" else chosen.choice(SHARED)))

    def _send(self, http: httpx.Client, tag: str, make: Callable[[str], Resource]) -> bool:
        """Send one request; whatever it writes carries the tag."""
        request = make(tag)
        try:
            answer = http.request(request["method"], f"{self.base}{request['url']}", **request["with"])
        except httpx.TransportError as error:
            self.ledger.failed(error)
            self._stop.wait(0.1)
            return False
        self.ledger.note(tag, answer)
        if not answer.is_success:
            self._stop.wait(0.05)
        return answer.is_success


# --- the requests ----------------------------------------------------------------------------------------------------


def _request(method: str, url: str, body: Resource, **headers: str) -> Resource:
    return {"method": method, "url": url, "with": {"json": body, "headers": HEADERS | headers}}


def _tagged(tag: str, resource: Resource) -> Resource:
    return resource | {"meta": {"tag": [{"system": SYSTEM, "code": tag}]}}


def patient(tag: str, **more: Any) -> Resource:
    return _tagged(tag, {"resourceType": "Patient", "name": [{"family": "Muster"}], **more})


def observation(tag: str, subject: str) -> Resource:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    measured = {"status": "final", "code": code, "subject": {"reference": subject}, "valueQuantity": {"value": 61}}
    return _tagged(tag, {"resourceType": "Observation", **measured})


def device(tag: str, id_: str) -> Resource:
    return _tagged(tag, {"resourceType": "Device", "id": id_, "lotNumber": tag})


def _post(_: str) -> Callable[[str], Resource]:
    return lambda tag: _request("POST", "/Patient", patient(tag))


def _post_once(value: str) -> Callable[[str], Resource]:
    identifier = {"system": SYSTEM, "value": value}
    condition = {"If-None-Exist": f"identifier={SYSTEM}|{value}"}
    return lambda tag: _request("POST", "/Patient", patient(tag, identifier=[identifier]), **condition)


def _put_shared(id_: str) -> Callable[[str], Resource]:
    return lambda tag: _request("PUT", f"/Device/{id_}", device(tag, id_))


def _put(id_: str) -> Callable[[str], Resource]:
    return lambda tag: _request("PUT", f"/Patient/{id_}", patient(tag, id=id_))


def _transaction(shared: str) -> Callable[[str], Resource]:
    """A new Patient, four Observations of it, and a new version of what the other clients update too."""

    def make(tag: str) -> Resource:
        who = f"urn:uuid:{uuid4()}"
        entries = [_entry("POST", "Patient", patient(tag), who)]
        entries += [_entry("POST", "Observation", observation(tag, who)) for _ in range(ENTRIES - 2)]
        entries.append(_entry("PUT", f"Device/{shared}", device(tag, shared)))
        return _request("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})

    return make


def _entry(method: str, url: str, resource: Resource, full_url: str | None = None) -> Resource:
    entry = {"resource": resource, "request": {"method": method, "url": url}}
    return entry | {"fullUrl": full_url} if full_url else entry
