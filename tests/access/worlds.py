"""Three servers that differ in what is hidden from a caller, and in nothing else.

They have one clock and give the same ids for the same request, so that what they answer can be compared as it is. What
each asks of its database is kept: the commands, with their values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import pytest
from bson import json_util
from pymongo import AsyncMongoClient, monitoring

from fhirserver.store.outstanding import Pace
from smart_auth.tokens import SECRET_LENGTH

if TYPE_CHECKING:
    from conftest import Fhir, Served
    from paths import Path

NEVER = Pace(soon=3_600, latest=3_600, many=10**6, most=10**6)
STEP = timedelta(milliseconds=10)
# of a command, what is of the connection and not of the question
CONNECTION = {
    *("lsid", "$clusterTime", "$db", "txnNumber", "maxTimeMS", "startTransaction", "autocommit", "readConcern"),
    "cursors",
}
# what happens beside requests, or is about the token and not about the record
_listed = re.compile(r'(?<="\$in": )\[[^\[\]]*\]')
BESIDE = (
    "getMore",
    "killCursors",
    "ping",
    "endSessions",
    "saslStart",
    "saslContinue",
    "servers",
    "server",
    "jobs",
    "audit.strands",
    "releases",
)


class Same:
    """The clock and the chance of all worlds: both stand still until they are told of the next request."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC).replace(microsecond=0)
        self.random = Random(0)
        self._asked = 0

    def next(self) -> None:
        self._asked += 1
        self.at += STEP
        self.again()

    def again(self) -> None:
        """In the next world."""
        self.random = Random(self._asked)

    def now(self) -> datetime:
        return self.at

    def time_ns(self) -> int:
        return int(self.at.timestamp() * 1_000) * 1_000_000

    def randbits(self, bits: int) -> int:
        return self.random.getrandbits(bits)

    @contextmanager
    def held(self) -> Iterator[None]:
        """By all servers that are started meanwhile."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fhirserver.assembly.now", self.now)
            patch.setattr("fhirserver.fhir.ids.time", self)
            patch.setattr("fhirserver.fhir.ids.secrets", self)
            patch.setattr("fhirserver.search.contained.monotonic", lambda: self.at.timestamp())
            for module in ("fhirserver.operations.value_sets", "smart_auth.tokens", "smart_auth.users"):
                patch.setattr(f"{module}.uuid4", lambda: UUID(int=self.randbits(128)))
            patch.setattr("smart_auth.tokens.new_secret", lambda: f"{self.randbits(128):0{SECRET_LENGTH}}")
            yield


class Commands(monitoring.CommandListener):
    """What a server asks of its database."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if said := shape(event.command_name, event.command):
            self.asked.append(said)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """That it was asked is all."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """That it was asked is all."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """To the servers that are started meanwhile."""
        with pytest.MonkeyPatch.context() as patch:
            client = partial(AsyncMongoClient, event_listeners=[self])
            patch.setattr("fhirserver.store.connect.AsyncMongoClient", client)
            patch.setattr("fhirserver.store.finds.LONGEST", 60.0)  # on a busy machine, too, nothing is asked again
            patch.setattr("fhirserver.store.outstanding.PACE", NEVER)  # events are made when somebody asks for them
            yield

    def told(self) -> list[str]:
        """Since it was last asked; sorted, for some go at the same time."""
        asked, self.asked = self.asked, []
        return sorted(asked)


def shape(name: str, command: Mapping[str, Any]) -> str:
    """A command as a text that is equal for what asks the same; nothing for what happens beside requests.

    Of lists it is told that they are, of writes the collection and how many, and of documents that are handed to the
    database that they are: what is written has its own seal, and what is handed over was read before.
    """
    collection = command.get(name)
    if name in BESIDE or collection in BESIDE or str(collection).startswith("auth."):
        return ""
    pipeline = command.get("pipeline") or [{}]
    if not {"$changeStream", "$currentOp"}.isdisjoint(pipeline[0]):
        return ""
    if _kept(command):
        return ""
    said = {key: value for key, value in command.items() if key not in CONNECTION}
    for key in ("documents", "updates", "deletes"):
        if key in said:
            said[key] = len(said[key])
    if "$documents" in pipeline[0]:
        said["pipeline"] = [{}, *pipeline[1:]]
    text = json.dumps(json.loads(json_util.dumps(said)), sort_keys=True)
    return f"{name} {_listed.sub('…', text)}"


def _kept(command: Mapping[str, Any]) -> bool:
    """What is asked once and kept until it changes: Consents in force, which types have labels, what URLs mean.

    And the events that are made of the lines of all requests before, by whoever reads some first.
    """
    return command.get("comment") in ("kept", "made")


class Told(NamedTuple):
    """What a request is answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


HEADERS = ("etag", "last-modified", "location", "content-location", "www-authenticate", "content-length", "retry-after")


class World:
    """A server of three; `open` fills it."""

    def __init__(self, served: Served, commands: Commands, open_: Fhir) -> None:
        self.served = served
        self.commands = commands
        self.open = open_


def told(fhir: Fhir, path: Path, number: int) -> Told:
    """The answer, as it is."""
    headers = {"X-Request-Id": f"r-{number}", **dict(path.headers)}
    if path.method == "PATCH":
        found = fhir.patch(path.url, path.body, headers=headers)
    elif path.body is not None:
        found = fhir.request(path.method, path.url, json=path.body, headers=headers)
    else:
        found = fhir.request(path.method, path.url, headers=headers)
    shown = tuple((name, found.headers[name]) for name in HEADERS if name in found.headers)
    return Told(found.status_code, shown, found.text)
