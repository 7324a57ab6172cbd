"""The command line as its user meets it: what it says, what it stores, how it ends."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from ports import free_port
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from test_files import archive

from fhirserver import demo, telemetry
from fhirserver.cli import main
from fhirserver.settings import Settings
from fhirserver.store import embedded
from fhirserver.store.mongod import find_mongod, running

ADA = {"resourceType": "Patient", "id": "ada", "gender": "female"}
PULSE = {
    "resourceType": "Observation",
    "id": "pulse",
    "status": "final",
    "code": {"text": "pulse"},
    "subject": {"reference": "Patient/ada"},
}
HEALTHMATE = [str(Path(sys.executable).with_name("healthmate"))]


@pytest.fixture(autouse=True)
def quiet_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log belongs to the test run; every setting comes from the test."""
    monkeypatch.setattr(telemetry, "configure", lambda level: None)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEALTHMATE_{name.upper()}", raising=False)


@pytest.fixture
def healthmate(mongodb: str, request: pytest.FixtureRequest) -> Callable[..., Result]:
    """Runs a command against a database of its own."""
    environment = {"HEALTHMATE_MONGODB_URL": mongodb, "HEALTHMATE_DATABASE": f"cli-{abs(hash(request.node.name))}"}

    def run(*arguments: str | Path, **variables: str) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment | variables)

    return run


def written(path: Path, *resources: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(resource) for resource in resources))
    return path


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_open_is_refused_where_others_can_connect(healthmate: Callable[..., Result]) -> None:
    result = healthmate("serve", "--open", "--host", "0.0.0.0")
    assert result.exit_code == 2
    assert "refused on 0.0.0.0" in result.output


def test_a_wrong_setting_is_named_with_its_variable(healthmate: Callable[..., Result]) -> None:
    result = healthmate("settings", HEALTHMATE_PORT="eighty")
    assert result.exit_code == 2
    assert result.output.startswith("HEALTHMATE_PORT: ")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mongodb://u:swordfish@127.0.0.1:{nobody}/", "No MongoDB answers at mongodb://***@127.0.0.1"),
        ("postgres://127.0.0.1/", "is not a MongoDB URL"),
        ("mongodb://127.0.0.1:notaport/", "is not a MongoDB URL"),
    ],
)
def test_a_mongodb_that_cannot_be_reached_is_said(url: str, sentence: str) -> None:
    # in a process of its own: the driver's monitor leaves its last socket to the end of the process
    environment = {
        "HEALTHMATE_MONGODB_URL": url.replace("{nobody}", str(free_port())),
        "HEALTHMATE_REQUEST_TIMEOUT": "0.5",
    }
    result = subprocess.run([*HEALTHMATE, "check"], capture_output=True, text=True, env=os.environ | environment)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "swordfish" not in result.stdout + result.stderr


def test_wrong_credentials_are_said(healthmate: Callable[..., Result], mongodb: str) -> None:
    address = mongodb.rpartition("@")[2]
    result = healthmate("check", HEALTHMATE_MONGODB_URL=f"mongodb://stranger:swordfish@{address}")
    assert result.exit_code == 2
    assert "refuses these credentials" in result.output


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[int]:
    """The port of a mongod that is not a replica set."""
    port = free_port()
    options = ["--dbpath", str(tmp_path), "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    process = subprocess.Popen([find_mongod(), *options, "--logpath", str(tmp_path / "log")], stdout=subprocess.DEVNULL)
    while not embedded.answers(port):
        time.sleep(0.05)
    yield port
    process.kill()
    process.wait()


def test_a_mongodb_that_is_no_replica_set_is_refused_with_the_remedy(
    healthmate: Callable[..., Result], standalone: int
) -> None:
    result = healthmate(
        "serve", "--port", str(free_port()), HEALTHMATE_MONGODB_URL=f"mongodb://127.0.0.1:{standalone}/"
    )
    assert result.exit_code == 2
    assert "is not a replica set" in result.output
    assert "rs.initiate()" in result.output


def test_a_port_that_is_taken_is_said(healthmate: Callable[..., Result]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = healthmate("serve", "--port", str(other.getsockname()[1]))
    assert result.exit_code == 2
    assert "Choose another with --port" in result.output


# --- commands ---------------------------------------------------------------------------------------------------------


def test_load_counts_what_it_stored_and_names_what_it_did_not(
    healthmate: Callable[..., Result], tmp_path: Path
) -> None:
    good = written(tmp_path / "good.ndjson", ADA, PULSE)
    result = healthmate("load", good)
    assert result.exit_code == 0, result.output
    assert "Stored 2 resources: 1 Observation, 1 Patient" in result.output
    bad = tmp_path / "bad.ndjson.gz"
    bad.write_bytes(gzip.compress(json.dumps(ADA).encode() + b"\n{\n" + json.dumps({**ADA, "sex": "f"}).encode()))
    result = healthmate("load", bad)
    assert result.exit_code == 1
    assert "Stored 0 resources; 1 were here already, unchanged" in result.output
    assert "bad.ndjson.gz, line 2" in result.output
    assert "sex" in result.output
    assert "2 were not stored" in result.output


def test_a_database_that_goes_away_stops_a_load_with_a_sentence(
    healthmate: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise AutoReconnect("connection closed")

    monkeypatch.setattr("fhirserver.store.resources.Store.write_all", gone)
    result = healthmate("load", written(tmp_path / "x", ADA))
    assert result.exit_code == 1
    assert "Stopped: the database does not answer in time" in result.output
    assert "Traceback" not in result.output


def test_a_long_list_of_failures_is_cut(healthmate: Callable[..., Result], tmp_path: Path) -> None:
    result = healthmate("load", written(tmp_path / "bad", *[{"resourceType": "Patient", "id": "_"}] * 25))
    assert result.exit_code == 1
    assert "… and 5 more" in result.output


def test_reindex_and_check_after_a_load(healthmate: Callable[..., Result], tmp_path: Path) -> None:
    healthmate("load", written(tmp_path / "x", ADA, PULSE))
    assert "Reindexed 2 resources." in healthmate("reindex").output
    result = healthmate("check")
    assert result.exit_code == 0, result.output
    assert "146 resource types" in result.output
    assert "2 resource types" in result.output


def test_check_finds_a_missing_index(healthmate: Callable[..., Result], mongodb: str, tmp_path: Path) -> None:
    healthmate("load", written(tmp_path / "x", ADA))
    with MongoClient(mongodb) as client:
        for name in client.list_database_names():
            if name.startswith("cli-"):
                client[name].Patient.drop_indexes()
    result = healthmate("check")
    assert result.exit_code == 1
    assert "FAIL  index search of Patient is missing" in result.output


def test_an_index_that_is_another_one_in_this_release_is_made_again(
    healthmate: Callable[..., Result], mongodb: str, tmp_path: Path
) -> None:
    healthmate("load", written(tmp_path / "x", ADA))
    with MongoClient(mongodb) as client:
        for name in client.list_database_names():
            if name.startswith("cli-") and "updated" in client[name].Patient.index_information():
                client[name].Patient.drop_index("updated")
                client[name].Patient.create_index("updated", name="updated")
    assert "FAIL  index updated of Patient is another one" in healthmate("check").output
    assert "Reindexed 1 resources." in healthmate("reindex").output
    assert healthmate("check").exit_code == 0


def test_a_search_parameter_of_an_earlier_release_is_used_and_one_that_cannot_be_is_named(
    healthmate: Callable[..., Result], mongodb: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a release stored them like any resource: nothing was kept about them, and nothing indexed."""
    mine = {
        "resourceType": "SearchParameter",
        "url": "http://example.org/mine",
        "name": "mine",
        "status": "active",
        "description": "for a test",
        "code": "mine",
        "base": ["Patient"],
        "type": "string",
        "expression": "Patient.language",
    }
    healthmate("load", written(tmp_path / "x", ADA | {"language": "de"}, mine | {"id": "a"}))
    with MongoClient(mongodb) as client:
        cli = [client[each] for each in client.list_database_names() if each.startswith("cli-")]
        (database,) = (each for each in cli if "SearchParameter" in each.list_collection_names())
        database.server.delete_one({"_id": "search"})
        database.Patient.update_many({}, {"$unset": {"generation": 1, "search.mine": 1}})
        database.SearchParameter.insert_one((database.SearchParameter.find_one() or {}) | {"_id": "b"})
    result = healthmate("check")
    assert "search parameters were stored that were not used: 1 are used from now on" in caplog.text
    assert result.exit_code == 1
    assert (
        "FAIL  SearchParameter/b is active and not used: SearchParameter/b and SearchParameter/a both" in result.output
    )
    assert "ok    search parameters: 1 of your own are used, 1 of types still being indexed" in result.output
    assert "Reindexed 3 resources." in healthmate("reindex").output
    assert "1 of your own are used, 0 of types still being indexed" in healthmate("check").output
    with MongoClient(mongodb) as client:
        assert [each["search"]["mine"] for each in client[database.name].Patient.find()] == [["de"]]


def test_a_package_is_loaded(healthmate: Callable[..., Result], tmp_path: Path) -> None:
    value_set = {"resourceType": "ValueSet", "id": "v", "status": "active", "url": "http://example.org/v"}
    result = healthmate("load-package", archive(tmp_path / "p.tgz", package__v=value_set, package__example__ada=ADA))
    assert result.exit_code == 0, result.output
    assert "Stored 1 resources: 1 ValueSet" in result.output


def test_examples_of_a_package_have_to_keep_its_profiles(healthmate: Callable[..., Result], tmp_path: Path) -> None:
    url = "http://example.org/StructureDefinition/p"
    element = [{"id": "Patient", "path": "Patient"}, {"id": "Patient.photo", "path": "Patient.photo", "min": 1}]
    profile = {
        "resourceType": "StructureDefinition",
        "id": "p",
        "url": url,
        "name": "P",
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "derivation": "constraint",
        "differential": {"element": element},
    }
    about = {"name": "x", "version": "1", "dependencies": {"y": "2"}}
    eve = {"resourceType": "Patient", "id": "eve", "meta": {"profile": [url]}}
    members = {"package__example__ada": ADA, "package__example__eve": eve}
    path = archive(tmp_path / "p.tgz", package__package=about, package__p=profile, **members)
    result = healthmate("load-package", path, "--examples", HEALTHMATE_VALIDATION="profiles")
    assert result.exit_code == 1
    assert "Stored 2 resources" in result.output
    assert "not stored: Patient/eve: Patient needs photo here" in result.output
    assert "x builds upon y#2" in result.output
    again = healthmate("load-package", path, "--examples")
    assert "Stored 1 resources: 1 Patient; 2 were here already, unchanged" in again.output
    later = archive(tmp_path / "q.tgz", package__package=about | {"fhirVersions": ["5.0.0"]}, package__p=profile)
    assert "x 1 is for FHIR 5.0.0, and this is R4" in healthmate("load-package", later).output


def test_capabilities_need_no_database(healthmate: Callable[..., Result]) -> None:
    result = healthmate("capabilities", HEALTHMATE_MONGODB_URL="mongodb://127.0.0.1:1")
    assert json.loads(result.stdout)["fhirVersion"] == "4.0.1"


def test_settings_are_printed_without_secrets(healthmate: Callable[..., Result]) -> None:
    result = healthmate("settings", HEALTHMATE_SECRET="swordfish", HEALTHMATE_PROT="1")
    assert "HEALTHMATE_PORT=8000" in result.stdout
    assert "swordfish" not in result.output
    assert "HEALTHMATE_PROT is not a setting" in result.stderr


# --- a whole server ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(data: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    command = [*HEALTHMATE, "serve", "--open", "--port", str(port), "--data", str(data), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    base = f"http://localhost:{port}/fhir"
    try:
        deadline = time.monotonic() + 180
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{base}/metadata").status_code == 200:
                    break
            time.sleep(0.1)
        yield process, base
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def test_a_server_generates_patients_once_shares_its_data_and_stops_in_order(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server(data, "--demo", "1") as (process, base):
        assert httpx.get(f"{base}/Patient").json()["entry"]
        loaded = subprocess.run(
            [*HEALTHMATE, "load", str(written(tmp_path / "x", ADA)), "--data", str(data)],
            capture_output=True,
            text=True,
        )
        assert loaded.returncode == 0, loaded.stderr
        assert httpx.get(f"{base}/Patient/ada").json()["gender"] == "female"
        second = subprocess.run(
            [*HEALTHMATE, "serve", "--port", str(free_port()), "--data", str(data)], capture_output=True, text=True
        )
        assert second.returncode == 2
        assert "another HealthMate server" in second.stderr
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "Generating 1 synthetic patients" in output
        assert "1 Patient" in output
        assert (data / "db" / "mongod.lock").read_bytes() == b""
    with server(data, "--demo", "1") as (process, base):
        assert httpx.get(f"{base}/Patient", params={"_summary": "count"}).json()["total"] == 2
        orphan = embedded.locked_by(data / "db" / "mongod.lock")
        process.kill()
        output, _ = process.communicate()
        assert "Generating" not in output
    with server(data) as (process, base):
        assert embedded.locked_by(data / "db" / "mongod.lock") == orphan
        assert httpx.get(f"{base}/Patient/ada").status_code == 200
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert orphan is not None
    assert not running(orphan, None)


def test_the_demo_is_corrected_where_the_generator_breaks_the_specification() -> None:
    patient = {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient"}}
    claim = {
        "fullUrl": "urn:uuid:2",
        "resource": {"resourceType": "ExplanationOfBenefit", "insurer": {"reference": "urn:uuid:1"}},
    }
    insured = {
        "fullUrl": "urn:uuid:3",
        "resource": {"resourceType": "ExplanationOfBenefit", "insurer": {"reference": "urn:uuid:9"}},
    }
    corrected = demo.corrected({"entry": [patient, claim, insured]})
    assert corrected["entry"][1]["resource"]["insurer"] == demo.SELF_PAY
    assert corrected["entry"][2]["resource"]["insurer"] == {"reference": "urn:uuid:9"}
