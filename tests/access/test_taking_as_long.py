"""What is not seen takes as long as what does not exist: the database is asked the same of both."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from consent_rules import consent, deny
from paths import Path, bundle
from record import LOINC, code, fill, pulse, put
from worlds import Commands, told

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps

_given = re.compile(r"0[0-9a-f]{7}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}")  # ids, and times
TRIES = 3  # what is kept can be too old in between, and is read again
RENAMED = [{"op": "replace", "path": "/status", "value": "amended"}]
SCOPES = {
    "all": "patient/*.cruds",
    "criteria": "patient/Observation.cruds?category=laboratory patient/Patient.rs",
    "writing-only": "patient/Observation.ud",
}
# What is hidden: of another patient (now, before and no more), of the patient itself beyond a category, and what the
# patient's consents deny to the app.
HIDDEN = ("other", "corrected", "other-gone", "beyond", "beyond-gone", "denied", "denied-gone")
DENIED = {"code": code("HIV", "75622-1")}


def asked(name: str) -> list[Path]:
    """All ways to one Observation by its id."""
    body = pulse(name, "p", 1, "laboratory")
    place = f"Observation/{name}"
    return [
        Path("read", place),
        Path("read", place, "HEAD"),
        Path("read", place, headers=(("If-None-Match", "*"),)),
        Path("vread", f"{place}/_history/1"),
        Path("vread", f"{place}/_history/2"),
        Path("history-instance", f"{place}/_history"),
        Path("update", place, "PUT", body),
        Path("update", place, "PUT", body, (("If-Match", 'W/"1"'),)),
        Path("patch", place, "PATCH", RENAMED),
        Path("delete", place, "DELETE"),
        Path("delete", place, "DELETE", None, (("If-Match", 'W/"1"'),)),
        Path("search", f"Observation?_id={name}"),
        Path("search", f"Observation?has-member={place}"),
        Path("search", f"Observation?_list={name}"),
        Path("create", "Observation", "POST", _without_id(body), (("If-None-Exist", f"_id={name}"),)),
        Path("create", "Observation", "POST", _without_id(body) | {"hasMember": [{"reference": place}]}),
        Path("update", f"Observation?_id={name}", "PUT", _without_id(body)),
        Path("delete", f"Observation?_id={name}", "DELETE"),
        Path("operation", f"{place}/$validate?mode=delete", "POST"),
        bundle("transaction", ("PUT", place, body)),
        bundle("transaction", ("DELETE", place)),
        bundle("batch", ("GET", place), ("GET", f"{place}/_history/1")),
    ]


def _without_id(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "id"}


def _unnamed(text: str, *names: str) -> str:
    for name in names:
        text = text.replace(name, "it")
    return _given.sub("", text)


class Listened(NamedTuple):
    """A server with the records of two patients, and what it asks of its database."""

    app: Callable[[str], Fhir]
    commands: Commands


@pytest.fixture(scope="module")
def listened(serve: Serve, apps: Apps) -> Listened:
    commands = Commands()
    with commands.listening():
        served = serve()
    fill(served.client, others=True)
    for name in ("beyond", "beyond-gone"):
        assert served.client.put(f"Observation/{name}", pulse(name, "p", 180)).status_code == 201
        assert served.client.put(f"Observation/{name}", pulse(name, "p", 181)).status_code == 200
    for name in ("denied", "denied-gone"):
        for value in (182, 183):
            denied = pulse(name, "p", value, "laboratory", **DENIED)
            assert served.client.put(f"Observation/{name}", denied).status_code in (200, 201)
    for name in ("beyond-gone", "denied-gone"):
        assert served.client.delete(f"Observation/{name}").status_code == 204
    put(served.client, consent("denies", "p", deny(actor="app", code=(LOINC, "75622-1"))))
    return Listened(lambda scope: apps(served, scope, "p"), commands)


@pytest.mark.parametrize(
    ("scope", "name"),
    [(scope, name) for scope in SCOPES for name in HIDDEN if scope == "criteria" or not name.startswith("beyond")],
)
def test_the_database_is_asked_the_same(listened: Listened, scope: str, name: str) -> None:
    app, nobody = listened.app(SCOPES[scope]), f"nobody-{scope}-{name}"  # whom nothing refers to yet
    for hidden, absent in zip(asked(name), asked(nobody), strict=True):
        told(app, absent, 0)  # what is asked once only is asked now
        for _ in range(TRIES):
            answers, commands = [], []
            for path in (hidden, absent):
                listened.commands.told()
                answer = told(app, path, 0)
                answers.append((answer.status, _unnamed(answer.body, nobody, name) if answer.status >= 400 else ""))
                commands.append([_unnamed(each, nobody, name) for each in listened.commands.told()])
            assert answers[0] == answers[1], hidden
            if commands[0] == commands[1]:
                break
        assert commands[0] == commands[1], hidden
