"""Strangers' FHIR clients against this server: they create, search, page and update."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from pathlib import Path
from uuid import uuid4

import pytest

JAVASCRIPT = Path(__file__).parent.parent / "js"


@pytest.fixture
def family() -> str:
    return f"Client-{uuid4().hex[:8]}"


def test_fhirpy(fhir, family):
    from fhirpy import SyncFHIRClient
    from fhirpy.base.exceptions import ResourceNotFound

    client = SyncFHIRClient(fhir.base_url)
    for number in range(5):
        patient = client.resource("Patient", name=[{"family": family, "given": [f"Given{number}"]}])
        patient.save()
    assert patient.id
    found = client.resources("Patient").search(family=family)
    assert found.count() == 5
    assert len(found.limit(2).fetch()) == 2
    assert len(found.limit(2).fetch_all()) == 5
    assert [p["name"][0]["given"][0] for p in found.sort("-given").fetch()] == [f"Given{n}" for n in (4, 3, 2, 1, 0)]

    patient["gender"] = "other"
    patient.save()
    assert client.reference("Patient", patient.id).to_resource()["gender"] == "other"

    observation = client.resource(
        "Observation", status="final", code={"text": "x"}, subject=patient.to_reference().serialize()
    )
    observation.save()
    included = client.resources("Observation").search(subject=patient.to_reference()).include("Observation", "subject")
    assert {
        r.resource_type for r in included.fetch_raw().entry and [e.resource for e in included.fetch_raw().entry]
    } == {
        "Observation",
        "Patient",
    }
    _, created = (
        client.resources("Patient")
        .search(family=family, given="Given9")
        .get_or_create(client.resource("Patient", name=[{"family": family, "given": ["Given9"]}]))
    )
    assert created
    observation.delete()
    with pytest.raises(ResourceNotFound):
        client.reference("Patient", "never-was").to_resource()


def test_fhirclient(fhir, family):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fhirclient import client
        from fhirclient.models.humanname import HumanName
        from fhirclient.models.patient import Patient

    smart = client.FHIRClient(settings={"app_id": "tests", "api_base": fhir.base_url})
    smart.prepare()
    for number in range(5):
        patient = Patient()
        patient.name = [HumanName({"family": family, "given": [f"Given{number}"]})]
        assert patient.create(smart.server)["id"]
    pages = list(Patient.where({"family": family, "_count": "2"}).perform_iter(smart.server))
    assert [len(page.entry) for page in pages] == [2, 2, 1]
    search = Patient.where({"family": family, "_count": "2"})
    paged = list(search.perform_resources_iter(smart.server))
    assert len(paged) == 5
    one = paged[0]
    one.gender = "female"
    one.update(smart.server)
    again = Patient.read(one.id, smart.server)
    assert (again.gender, again.meta.versionId) == ("female", "2")
    again.delete()
    assert len(list(Patient.where({"family": family}).perform_resources_iter(smart.server))) == 4


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; `make test` installs it")
def test_fhir_kit_client(fhir, family):
    if not (JAVASCRIPT / "node_modules").is_dir():
        pytest.fail("run `npm ci` in tests/js first; `make test` does")
    command = ["node", str(JAVASCRIPT / "walk.js"), fhir.base_url, family]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    seen.pop("id")
    assert seen == {
        "fhirVersion": "4.0.1",
        "version": "2",
        "firstGender": None,
        "patched": "female",
        "pages": [2, 2, 1],
        "byPost": 5,
        "versions": 3,
        "transaction": "204 No Content",
        "gone": 410,
        "outcome": "OperationOutcome",
    }
