"""$explain: an answer that says what was understood, what the database did, and what would help."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.fhir.json import resource
from fhirserver.search.explain import Plan, hints, plan
from fhirserver.search.query import Query
from fhirserver.validation.validate import Validator

LOINC = "http://loinc.org"


@pytest.fixture(scope="module")
def world(fhir):
    fhir.put("Patient/ada", {"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}]})
    for number in range(5):
        coding = {"system": LOINC, "code": "8867-4"}
        pulse = {"resourceType": "Observation", "status": "final", "code": {"coding": [coding]}}
        pulse |= {"subject": {"reference": "Patient/ada"}, "effectiveDateTime": f"2024-05-0{number + 1}"}
        fhir.create(pulse)
    return fhir


def parts(parameters: list[dict[str, Any]], name: str) -> list[Any]:
    return [next((each[key] for key in each if key != "name"), None) for each in parameters if each["name"] == name]


def explained(world, path: str) -> list[dict[str, Any]]:
    answer = world.get(path)
    assert answer.status_code == 200, answer.text
    assert Validator(r4(), required_codes()).issues(resource(answer.content)) == []
    return answer.json()["parameter"]


def steps_of(parameters: list[dict[str, Any]]) -> list[Any]:
    """Without the question whether anything is contained, which a process asks once a second at most."""
    return [step for step in parts(parameters, "step") if '"search.#"' not in parts(step, "command")[0]]


def test_what_was_understood_and_what_the_database_did(world):
    said = explained(
        world, f"Observation/$explain?patient=Patient/ada&code={LOINC}|8867-4&_sort=-date&_count=2&colour=x"
    )
    assert [parts(each, "parameter") for each in parts(said, "criterion")] == [["patient"], ["code"]]
    assert parts(parts(said, "criterion")[1], "value") == [f"system={LOINC}, code=8867-4, any_case=True"]
    (ignored,) = parts(said, "ignored")
    assert "colour is not a search parameter" in parts(ignored, "reason")[0]
    (step,) = parts(said, "step")
    filter_ = json.loads(parts(step, "command")[0])["filter"]
    assert filter_["search.patient"] == {"$in": ["Patient/ada"]}
    assert parts(parts(step, "index")[0], "name")[0] in ("patient-date", "code-date", "search", "code-id")
    assert parts(step, "returned") == [3]  # one more than a page says whether there is a next
    assert 3 <= parts(step, "keysExamined")[0] <= 6
    (times,) = parts(said, "milliseconds")
    assert {each["name"] for each in times} == {"total", "parse", "database", "build"}


def test_every_hop_the_inclusions_and_the_count_are_steps(world):
    query = "patient.name=lovelace&_include=Observation:subject&_total=accurate&_count=1"
    steps = steps_of(explained(world, f"Observation/$explain?{query}"))
    assert [parts(step, "type") for step in steps] == [["Patient"], ["Observation"], ["Patient"], ["Observation"]]
    has = "Patient/$explain?_has:Observation:patient:code=8867-4"
    walked, listed = (steps_of(explained(world, url)) for url in (has, f"{has}&_sort=-birthdate"))
    assert [parts(step, "type") for step in walked] == [["Patient"], ["Observation"]]
    assert [parts(step, "type") for step in listed] == [["Observation"], ["Patient"]]


@pytest.mark.parametrize(
    "search",
    [
        "_summary=count",
        "_sort=date,code",
        "_filter=code eq 8867-4 or not (patient re Patient/ada)",
        "code:missing=true",
        "date=ge2024&value-quantity=gt5",
        "component-code-value-quantity=8867-4$gt5",
        "_id=" + ",".join(f"x{number}" for number in range(50)),
        "",
    ],
)
def test_every_search_can_be_explained(world, search):
    assert parts(explained(world, f"Observation/$explain?{search}"), "step")


def test_a_type_that_nobody_has_written_is_explained_too(world):
    assert parts(explained(world, "Basic/$explain?code=x"), "step")


@pytest.mark.parametrize(("search", "about"), [("name:contains=x", "name:contains"), ("gender:not=male", "gender:not")])
def test_what_no_index_answers_is_hinted_at(world, search, about):
    assert parts(explained(world, f"Patient/$explain?{search}"), "hint")[0].startswith(about)


def test_much_examined_for_little_is_hinted_at():
    poor = Plan(("FETCH", "IXSCAN"), (("search", {}),), 5_000, 5_000, 3)
    assert "5,000" in hints([Query("Patient")], [("Patient", poor)])[0]["valueString"]
    assert hints([Query("Patient")], [("Patient", poor._replace(keys=20, documents=20, returned=20))]) == []


def test_parameters_may_be_posted(world):
    asked = {"resourceType": "Parameters", "parameter": [{"name": "family", "valueString": "lovelace"}]}
    answer = world.post("Patient/$explain", asked)
    assert parts(parts(answer.json()["parameter"], "criterion")[0], "value") == ["lovelace"]


def test_what_is_refused(world, serve):
    assert world.get("Patient/$explain?birthdate=yesterday").status_code == 400
    assert world.get("Patient/$explain?colour=x", headers={"Prefer": "handling=strict"}).status_code == 400
    assert world.get("Patient/ada/$explain").status_code == 404
    assert world.request("DELETE", "Patient/$explain").status_code == 405
    complex_ = {"resourceType": "Parameters", "parameter": [{"name": "code", "valueCoding": {"code": "x"}}]}
    assert world.post("Patient/$explain", complex_).status_code == 400
    assert serve(open=False).client.get("Patient/$explain").status_code == 401


def test_what_is_too_large_for_the_database_to_explain_is_a_step_all_the_same(world, monkeypatch):
    monkeypatch.setattr("fhirserver.store.trace.EXPLAINED_BYTES", 10)
    said = explained(world, "Patient/$explain?family=lovelace")
    (step,) = parts(said, "step")
    assert parts(step, "returned") == [1]
    assert "too many values" in parts(step, "plan")[0]
    assert parts(said, "hint")


def entries(bundle: dict[str, Any], mode: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle.get("entry", []) if entry["search"]["mode"] == mode]


def test_a_search_may_carry_its_explanation(world):
    search = "Observation?patient.name=lovelace&_include=Observation:subject&_total=accurate&_count=1&colour=x"
    bundle = world.bundle(f"{search}&_explain=true")
    outcome, said = entries(bundle, "outcome")
    assert outcome["resourceType"] == "OperationOutcome"
    assert said["resourceType"] == "Parameters"
    steps = steps_of(said["parameter"])
    assert [parts(step, "type") for step in steps] == [["Patient"], ["Observation"], ["Patient"], ["Observation"]]
    assert parts(steps[-1], "returned") == [5]
    assert bundle["total"] == 5
    assert all(parts(step, "keysExamined") for step in steps)
    assert "colour" in parts(parts(said["parameter"], "ignored")[0], "reason")[0]
    without = world.bundle(search)
    assert [entries(bundle, mode) for mode in ("match", "include")] == [
        entries(without, mode) for mode in ("match", "include")
    ]
    assert without["total"] == bundle["total"]
    next_ = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
    assert "_explain=true" in next_
    assert len(entries(world.bundle(next_), "outcome")) == 1
    assert "_explain" not in str(entries(world.bundle("Observation?_explain=false"), "outcome"))


def test_what_is_only_counted_is_run_once(world, monkeypatch):
    ran: list[str] = []
    monkeypatch.setattr(
        "pymongo.asynchronous.collection.AsyncCollection.count_documents", lambda *_, **__: ran.append("count")
    )
    assert world.bundle("Observation?_summary=count&_explain=true")["total"] == 5
    assert world.bundle("Observation?_count=1&_total=accurate&_maxresults=3&_explain=true")["total"] == 3
    assert ran == []


@pytest.mark.parametrize(
    "path",
    ["Patient/ada/Observation?code=8867-4", "Patient/ada/*?_sort=-_lastUpdated", "?_type=Patient,Observation",
     "?_id=ada", "?_type=Basic&_summary=count", "Observation?_count=1&_total=estimate&code=8867-4"],
)  # fmt: skip
def test_every_kind_of_search_may_carry_it(world, path):
    said = entries(world.bundle(f"{path}&_explain=true"), "outcome")[-1]
    assert parts(said["parameter"], "step")
    assert parts(said["parameter"], "milliseconds")


def test_it_is_part_of_transactions(world):
    get = {"request": {"method": "GET", "url": "Observation?_summary=count&_explain=true"}}
    answer = world.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [get]}).json()
    bundle = answer["entry"][0]["resource"]
    assert bundle["total"] == 5
    assert parts(entries(bundle, "outcome")[0]["parameter"], "step")


def test_a_search_of_several_types_is_explained_type_by_type(world):
    said = explained(world, "$explain?_type=Patient,Observation&_sort=-_lastUpdated&_tag=x&colour=y")
    assert [parts(each, "type") for each in parts(said, "query")] == [["Observation"], ["Patient"]]
    assert [parts(step, "type") for step in parts(said, "step")] == [["Observation"], ["Patient"]]
    assert parts(said, "ignored")
    everything = explained(world, "$explain?_lastUpdated=gt2000")
    assert {parts(step, "type")[0] for step in parts(everything, "step")} == {"Observation", "Patient"}


def test_explain_asks_the_law(world, serve):
    assert world.get("Patient?_explain=maybe").status_code == 400
    closed = serve(open=False).client
    for path in ("Patient?_explain=true", "$explain?_type=Patient", "?_type=Patient&_explain=true"):
        assert closed.get(path).status_code == 401, path


# What a sharded cluster says: https://www.mongodb.com/docs/v6.0/reference/explain-results/#sharded-collection


def leaf(index: str | None = None) -> dict[str, Any]:
    scan = {"stage": "IXSCAN", "indexName": index, "indexBounds": {"a": ["[1, 1]"]}} if index else {"stage": "COLLSCAN"}
    return {"stage": "SHARDING_FILTER", "inputStage": {"stage": "FETCH", "inputStage": scan}}


def stats(returned: int, keys: int, documents: int, **stages: Any) -> dict[str, Any]:
    examined = {"totalKeysExamined": keys, "totalDocsExamined": documents, "executionTimeMillis": 2}
    return {"nReturned": returned, **examined, "executionStages": stages}


FIND = {
    "queryPlanner": {
        "mongosPlannerVersion": 1,
        "winningPlan": {
            "stage": "SHARD_MERGE",
            "shards": [
                {"shardName": "a", "winningPlan": leaf("search")},
                {"shardName": "b", "winningPlan": {"queryPlan": leaf("search"), "slotBasedPlan": {}}},
            ],
        },
    },
    "executionStats": stats(7, 9, 8, stage="SHARD_MERGE", shards=[{"shardName": "a"}, {"shardName": "b"}]),
}
ONE = {
    "queryPlanner": {
        "winningPlan": {"stage": "SINGLE_SHARD", "shards": [{"shardName": "a", "winningPlan": leaf("code-id")}]}
    },
    "executionStats": stats(1, 1, 1, stage="SINGLE_SHARD", shards=[{"shardName": "a"}]),
}
PIPELINE = {
    "mergeType": "mongos",
    "splitPipeline": {"shardsPart": [{"$match": {}}], "mergerPart": [{"$group": {}}]},
    "shards": {
        "a": {
            "stages": [
                {"$cursor": {"queryPlanner": {"winningPlan": leaf("search")}, "executionStats": stats(3, 4, 4)}},
                {"$group": {}, "nReturned": 1},
            ]
        },
        "b": {"queryPlanner": {"winningPlan": leaf()}, "executionStats": stats(2, 0, 50)},
    },
}


@pytest.mark.parametrize(
    ("said", "stages", "indexes", "numbers"),
    [
        (FIND, ("SHARD_MERGE", "SHARDING_FILTER", "FETCH", "IXSCAN"), ["search"], (9, 8, 7, 2)),
        (ONE, ("SINGLE_SHARD", "SHARDING_FILTER", "FETCH", "IXSCAN"), ["code-id"], (1, 1, 1, 1)),
        (PIPELINE, ("SHARDING_FILTER", "FETCH", "IXSCAN", "COLLSCAN"), ["search"], (4, 54, 5, 2)),
    ],
)
def test_the_plans_of_all_shards_are_one_plan(said, stages, indexes, numbers):
    found = plan(said)
    assert found is not None
    assert found.stages == stages
    assert [name for name, _bounds in found.indexes] == indexes
    assert (found.keys, found.documents, found.returned, found.shards) == numbers
