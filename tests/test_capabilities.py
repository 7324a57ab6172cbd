"""The CapabilityStatement says what is wired, and the copy in the repository is the one that is served."""

from __future__ import annotations

import json
from pathlib import Path

from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.validate import Validator

SNAPSHOT = Path(__file__).parent.parent / "capability_statement.json"
DEFAULT_BASE = "http://localhost:8000/fhir"


def test_the_snapshot_is_what_the_server_says(fhir):
    served = fhir.get("metadata").text.replace(fhir.base_url.removesuffix("/fhir"), DEFAULT_BASE.removesuffix("/fhir"))
    assert json.loads(served) == json.loads(SNAPSHOT.read_text()), (
        "renew it: healthmate capabilities > capability_statement.json"
    )


def test_both_statements_are_valid_fhir(fhir):
    validator = Validator(r4(), required_codes())
    for mode in ("full", "normative", "terminology"):
        statement = fhir.get(f"metadata?mode={mode}").json()
        assert validator.issues(statement) == []
    assert fhir.get("metadata?mode=terminology").json()["resourceType"] == "TerminologyCapabilities"
    assert fhir.get("metadata?mode=nonsense").status_code == 400


def test_a_part_of_a_statement_is_enough_for_many(fhir):
    """Java clients look at `_summary` before they use a server: the whole is more than a megabyte."""
    whole, summary = fhir.get("metadata"), fhir.get("metadata?_summary=true")
    assert len(summary.content) * 10 < len(whole.content)
    assert summary.json()["fhirVersion"] == "4.0.1"
    assert summary.json()["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert [*fhir.get("metadata?_elements=software&mode=full").json()] == [
        *("resourceType", "meta", "status", "date", "kind", "software", "fhirVersion", "format"),
    ]
    assert "rest" not in fhir.get("metadata?mode=terminology&_elements=software&_format=json").json()
    strict = {"Prefer": "handling=strict"}
    assert fhir.get("metadata?mode=full&_summary=text&_pretty=true", headers=strict).status_code == 200
    for unknown in ("_elements=softwares", "_sumary=true"):
        assert fhir.get(f"metadata?{unknown}").content == whole.content
        refused = fhir.get(f"metadata?{unknown}", headers=strict)
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "not-supported")


def test_what_is_said_to_have_others_above_and_below_has(fhir):
    for resource in fhir.get("metadata").json()["rest"][0]["resource"]:
        said = {each["name"]: each.get("documentation", "") for each in resource["searchParam"]}
        along = {name: text.partition(" along ")[2].partition(":")[0] for name, text in said.items()}
        asked = [f"{name}:{way}={to}/x" for name, to in along.items() if to for way in ("above", "below")]
        asked += [f"{name}:below=urn:x|1" for name, text in said.items() if text.endswith("version of the URL")]
        answer = fhir.get(f"{resource['type']}?{'&'.join(asked)}", headers={"Prefer": "handling=strict"})
        assert answer.status_code == 200, answer.text
        if resource["type"] == "Encounter":
            assert said["location"] == ":above and :below along Location:partof"
            assert not said["patient"]


def test_what_is_listed_answers(fhir):
    """Every search parameter of every type is accepted strictly, and every operation is there."""
    statement = fhir.get("metadata").json()["rest"][0]
    strict = {"Prefer": "handling=strict"}
    values = {"date": "2020", "number": "1", "quantity": "1", "token": "true", "string": "x", "uri": "urn:x"}
    for resource in statement["resource"]:
        parameters = {p["name"]: p["type"] for p in resource["searchParam"] if p["type"] in values}
        query = "&".join(f"{name}={values[type_]}" for name, type_ in parameters.items())
        answer = fhir.get(f"{resource['type']}?{query}", headers=strict)
        assert answer.status_code == 200, answer.text
        for include in resource.get("searchInclude", []):
            if include != "*":
                answer = fhir.get(f"{resource['type']}?_include={include}&_count=1", headers=strict)
                assert answer.status_code == 200, answer.text
