"""A database that an earlier release indexed otherwise: it is said, until all of it is indexed again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from pymongo import MongoClient

from fhirserver import telemetry
from fhirserver.cli import main
from fhirserver.search.index import EDITION

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served

STRICT = {"Prefer": "handling=strict"}
WARNING = "family: Patient resources were indexed by another release of this server"
FAILED = "FAIL  Patient was indexed by another release"
GOOD = f"ok    index values: all of edition {EDITION}"


class Site:
    """A database, the servers that were started on it, and commands about it."""

    def __init__(self, serve: Serve, mongodb: str) -> None:
        self._serve = serve
        self._mongodb = mongodb
        self.server: Served = serve()
        self.client: MongoClient[dict[str, Any]] = MongoClient(mongodb)
        self.database = self.client[self.server.settings.database]

    def indexed_by(self, edition: int | None, *, stopped: bool = True) -> Fhir:
        """After a release of that edition served it, and was stopped (or not); None knew of no editions."""
        self.stop()
        change: Any = {"$unset": {"editions": ""}} if edition is None else {"$set": {"editions.written": edition}}
        self.database["server"].update_one({"_id": "search"}, change)
        if not stopped:
            self.old_server_beats()
        self.server = self._serve(database=self.server.settings.database)
        return self.server.client

    def old_server_beats(self) -> None:
        self.database["servers"].update_one({"_id": "old"}, [{"$set": {"generation": 0, "beat": "$$NOW"}}], True)

    def stop(self) -> None:
        self.server.__exit__()

    def run(self, command: str) -> Result:
        environment = {"HEALTHMATE_MONGODB_URL": self._mongodb, "HEALTHMATE_DATABASE": self.database.name}
        return CliRunner().invoke(main, [command], env=environment)


@pytest.fixture
def site(serve: Serve, mongodb: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(telemetry, "configure", lambda level: None)
    found = Site(serve, mongodb)
    fhir = found.server.client
    fhir.put("Patient/ada", {"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}]})
    fhir.put("Organization/gone", {"resourceType": "Organization", "id": "gone", "name": "Gone"})
    fhir.delete("Organization/gone")
    yield found
    found.client.close()


def warnings(fhir: Fhir, search: str) -> list[str]:
    entries = fhir.bundle(search, headers=STRICT).get("entry", [])
    outcomes = [each["resource"] for each in entries if each["search"]["mode"] == "outcome"]
    return [issue["diagnostics"] for each in outcomes for issue in each["issue"]]


def warned(fhir: Fhir, search: str) -> bool:
    """Soon: a server hears of it by a change stream."""
    deadline = time.monotonic() + 20
    while not (found := warnings(fhir, search)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(found) == 1


def test_what_this_release_indexed_is_as_it_should_be(site: Site) -> None:
    fhir = site.indexed_by(EDITION)
    assert warnings(fhir, "Patient?family=lovelace") == []
    check = site.run("check")
    assert (check.exit_code, GOOD in check.output) == (0, True)


def test_what_an_earlier_release_indexed_is_said_until_it_is_done_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fhir = site.indexed_by(None)
    assert "Patient: another release indexed these" in caplog.text
    (warning,) = warnings(fhir, "Patient?family=lovelace&_sort=family")
    assert warning.startswith(WARNING)
    assert fhir.bundle("Patient?family=lovelace")["total"] == 1
    assert len(warnings(fhir, "Observation?subject:Patient.family=lovelace&_count=0")) == 1
    for untouched in ("Patient", "Patient?_id=ada&_sort=_lastUpdated", "Organization?name=x", "Observation?code=x"):
        assert warnings(fhir, untouched) == [], untouched
    check = site.run("check")
    assert (check.exit_code, FAILED in check.output, "Organization was" in check.output) == (1, True, False)
    assert site.run("reindex").exit_code == 0
    check = site.run("check")
    assert (check.exit_code, GOOD in check.output) == (0, True)
    assert warnings(site.indexed_by(EDITION), "Patient?family=lovelace") == []


def test_a_job_indexes_again_and_is_enough(site: Site) -> None:
    fhir = site.indexed_by(None)
    assert fhir.post("Patient/$reindex", None).status_code == 202
    (job,) = site.server.work()
    assert job.state == "done"
    assert warnings(site.indexed_by(EDITION), "Patient?family=lovelace") == []


def test_what_failed_to_be_indexed_is_said_still(site: Site) -> None:
    fhir = site.indexed_by(None)
    site.database["Patient"].update_one({"_id": "ada"}, {"$set": {"body": b"none"}})
    assert site.run("reindex").exit_code == 1
    assert len(warnings(fhir, "Patient?family=lovelace&_id=nobody")) == 1
    assert FAILED in site.run("check").output


def test_who_writes_otherwise_is_waited_for(site: Site) -> None:
    """A server of an earlier release beside this one: nothing that it writes is taken for new."""
    fhir = site.indexed_by(None, stopped=False)
    assert site.run("reindex").exit_code == 0
    site.old_server_beats()
    assert len(warnings(fhir, "Patient?family=lovelace")) == 1
    assert len(warnings(fhir, "Observation?code=x")) == 1
    site.database["servers"].delete_one({"_id": "old"})
    assert site.run("reindex").exit_code == 0
    check = site.run("check")
    assert (check.exit_code, GOOD in check.output) == (0, True)


def test_who_comes_and_writes_otherwise_is_noticed(site: Site) -> None:
    fhir = site.indexed_by(EDITION)
    site.old_server_beats()
    assert site.run("check").exit_code == 1
    assert warned(fhir, "Patient?family=lovelace")
    site.database["servers"].delete_one({"_id": "old"})
    assert FAILED in site.run("check").output
    site.run("reindex")
    assert GOOD in site.run("check").output


def test_a_release_that_goes_back_says_so_too(site: Site) -> None:
    assert len(warnings(site.indexed_by(EDITION + 1), "Patient?family=lovelace")) == 1
