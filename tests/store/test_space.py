"""Where the disk of the database is nearly full, writes are refused and reads go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pymongo.errors import OperationFailure

from fhirserver.cli import main
from fhirserver.store.space import Space

BASIC = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
ALL_OF_IT = 10**12  # megabytes


def bundle(kind: str) -> dict[str, Any]:
    entry = {"resource": BASIC, "request": {"method": "PUT", "url": "Basic/b"}}
    return {"resourceType": "Bundle", "type": kind, "entry": [entry]}


def test_what_would_take_the_spare_disk_is_refused(serve: Any) -> None:
    roomy = serve()
    full = serve(database=roomy.settings.database, spare_disk_mb=ALL_OF_IT).client
    assert roomy.client.put("Basic/b", BASIC).status_code == 201
    for answer in (
        full.post("Basic", BASIC),
        full.put("Basic/b", BASIC | {"code": {"text": "y"}}),
        full.delete("Basic/b"),
        full.post("", bundle("transaction")),
        full.post("", bundle("batch")),
    ):
        assert answer.status_code == 507, answer.text
        issue = answer.json()["issue"][0]
        assert (issue["code"], issue["diagnostics"].partition(";")[0]) == (
            "no-store",
            "the disk of the database is full",
        )
    assert full.get("Basic/b").json()["code"] == {"text": "x"}
    assert full.ids("Basic") == ["b"]
    assert full.get("Basic/b/_history").json()["total"] == 1


def test_a_server_that_keeps_nothing_spare_does_not_look(serve: Any) -> None:
    assert serve(spare_disk_mb=0).client.post("Basic", BASIC).status_code == 201


def test_a_load_stops_with_a_sentence(mongodb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MONGODB_URL": mongodb, "DATABASE": "full-disk", "SPARE_DISK_MB": str(ALL_OF_IT)}.items():
        monkeypatch.setenv(f"HEALTHMATE_{name}", value)
    file = tmp_path / "one.json"
    file.write_text(json.dumps(BASIC))
    result = CliRunner().invoke(main, ["load", str(file)])
    assert result.exit_code == 1, result.output
    assert "Stopped: the disk of the database is full" in result.output


def test_a_folder_that_goes_away_stops_nobody(tmp_path: Path) -> None:
    """An unmounted disk is for mongod to complain of; a guess would be no better."""
    Space(tmp_path / "unmounted", 1).claim()
    with pytest.raises(OperationFailure):
        Space(tmp_path, ALL_OF_IT << 20).claim()
