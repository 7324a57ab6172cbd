"""read, vread, create, update, delete of one resource, as a client sees them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import pytest

from fhirserver.fhir import json

PATIENT = {"resourceType": "Patient", "name": [{"family": "Chalmers", "given": ["Peter"]}], "birthDate": "1974-12-25"}


def issue(answer: httpx.Response) -> dict:
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome", body
    return body["issue"][0]


def test_a_created_resource_is_read_back_with_what_the_server_owns(fhir):
    answer = fhir.post("Patient", {**PATIENT, "id": "mine", "meta": {"versionId": "7", "tag": [{"code": "x"}]}})
    assert answer.status_code == 201
    created = answer.json()
    assert created["id"] != "mine"
    assert created["meta"]["versionId"] == "1"
    assert created["meta"]["tag"] == [{"code": "x"}]
    assert answer.headers["location"] == f"{fhir.base_url}/Patient/{created['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"

    read = fhir.get(f"Patient/{created['id']}")
    assert (read.status_code, read.json()) == (200, created)
    assert read.headers["last-modified"].endswith("GMT")


def test_ids_sort_by_the_time_they_were_given(fhir):
    ids = [fhir.create(PATIENT)["id"] for _ in range(5)]
    assert ids == sorted(ids)


def test_an_update_makes_a_version_and_keeps_the_old_one(fhir):
    first = fhir.create(PATIENT)
    answer = fhir.put(f"Patient/{first['id']}", {**first, "gender": "male"})
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert fhir.get(f"Patient/{first['id']}").json()["gender"] == "male"
    assert fhir.get(f"Patient/{first['id']}/_history/1").json() == first
    assert fhir.get(f"Patient/{first['id']}/_history/2").json() == answer.json()
    assert fhir.get(f"Patient/{first['id']}/_history/3").status_code == 404
    assert fhir.get(f"Patient/{first['id']}/_history/x").status_code == 404


def test_put_to_an_unknown_id_creates_it(fhir):
    answer = fhir.put("Patient/my.own-id", {**PATIENT, "id": "my.own-id"})
    assert (answer.status_code, answer.json()["id"]) == (201, "my.own-id")


@pytest.mark.parametrize(
    ("path", "body", "expression"),
    [
        ("Patient/a", {**PATIENT, "id": "b"}, "Patient.id"),
        ("Patient/a", PATIENT, "Patient.id"),
        ("Patient/a", {"resourceType": "Group", "id": "a"}, "Patient.resourceType"),
        ("Patient/a_b", {**PATIENT, "id": "a_b"}, "Patient.id"),
        ("Patient/" + "a" * 65, {**PATIENT, "id": "a" * 65}, "Patient.id"),
    ],
)
def test_a_body_that_contradicts_its_url_is_refused(fhir, path, body, expression):
    answer = fhir.put(path, body)
    assert answer.status_code == 400
    assert issue(answer)["expression"] == [expression]


def test_a_deleted_resource_is_gone_and_stays_in_history(fhir):
    id_ = fhir.create(PATIENT)["id"]
    answer = fhir.delete(f"Patient/{id_}")
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (204, b"", 'W/"2"')
    assert fhir.delete(f"Patient/{id_}").status_code == 204
    assert fhir.delete("Patient/never-was").status_code == 204
    read = fhir.get(f"Patient/{id_}")
    assert (read.status_code, issue(read)["code"]) == (410, "deleted")
    assert fhir.get(f"Patient/{id_}/_history/2").status_code == 410
    assert fhir.get(f"Patient/{id_}/_history/1").status_code == 200

    back = fhir.put(f"Patient/{id_}", {**PATIENT, "id": id_})
    assert (back.status_code, back.headers["etag"]) == (201, 'W/"3"')
    assert fhir.get(f"Patient/{id_}").status_code == 200
    assert [e["request"]["method"] for e in fhir.bundle(f"Patient/{id_}/_history")["entry"]] == [
        "PUT",
        "DELETE",
        "POST",
    ]


def test_if_match_protects_from_lost_updates(fhir):
    first = fhir.create(PATIENT)
    path = f"Patient/{first['id']}"
    assert fhir.put(path, first, headers={"If-Match": 'W/"1"'}).status_code == 200
    for method in ("PUT", "DELETE"):
        stale = fhir.request(method, path, json=first, headers={"If-Match": 'W/"1"'})
        assert (stale.status_code, issue(stale)["code"]) == (412, "conflict")
    assert fhir.put("Patient/nobody", {**PATIENT, "id": "nobody"}, headers={"If-Match": 'W/"1"'}).status_code == 412
    assert fhir.put(path, first, headers={"If-Match": "two"}).status_code == 400


def test_of_concurrent_updates_with_if_match_one_wins(fhir):
    first = fhir.create(PATIENT)
    path = f"Patient/{first['id']}"

    def attempt(_: int) -> int:
        return fhir.put(path, first, headers={"If-Match": 'W/"1"'}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(attempt, range(8)))
    assert sorted(statuses) == [200] + [412] * 7


def test_concurrent_updates_all_become_versions(fhir):
    first = fhir.create(PATIENT)
    path = f"Patient/{first['id']}"
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: fhir.put(path, first), range(12)))
    stored = [int(a.headers["etag"][3:-1]) for a in answers if a.status_code == 200]
    assert sorted(stored) == list(range(2, len(stored) + 2))
    assert {a.status_code for a in answers} <= {200, 409}
    assert fhir.get(path).headers["etag"] == f'W/"{len(stored) + 1}"'


def test_a_client_that_has_it_already_gets_304(fhir):
    first = fhir.create(PATIENT)
    path = f"Patient/{first['id']}"
    modified = fhir.get(path).headers["last-modified"]
    for headers in ({"If-None-Match": 'W/"1"'}, {"If-None-Match": "*"}, {"If-Modified-Since": modified}):
        answer = fhir.get(path, headers=headers)
        assert (answer.status_code, answer.content) == (304, b"")
    for headers in (
        {"If-None-Match": 'W/"2"'},
        {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"If-Modified-Since": "yesterday"},
    ):
        assert fhir.get(path, headers=headers).status_code == 200


def test_head_answers_like_get_without_the_body(fhir):
    first = fhir.create(PATIENT)
    get, head = (fhir.request(method, f"Patient/{first['id']}") for method in ("GET", "HEAD"))
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.headers["etag"] == get.headers["etag"]


@pytest.mark.parametrize(
    ("prefer", "status", "type_"),
    [
        ("return=minimal", 201, None),
        ("return=representation", 201, "Patient"),
        ("return=OperationOutcome", 201, "OperationOutcome"),
        ("return=nonsense", 201, "Patient"),
    ],
)
def test_a_write_answers_as_preferred(fhir, prefer, status, type_):
    answer = fhir.post("Patient", PATIENT, headers={"Prefer": prefer})
    assert answer.status_code == status
    assert answer.headers["location"]
    assert (answer.json()["resourceType"] if answer.content else None) == type_


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "Nonsense/1", 404),
        ("GET", "Patient/1/2/3", 404),
        ("GET", "Patient/no%20id", 404),
        ("GET", "Patient/..%2f..%2fetc", 404),
        ("GET", "Patient/1/$nonsense", 404),
        ("GET", "$nonsense", 404),
        ("GET", "Patient/%ff", 400),
        ("DELETE", "metadata", 405),
        ("POST", "Patient/1", 405),
        ("PUT", "Patient/1/_history/1", 405),
        ("OPTIONS", "Patient", 405),
    ],
)
def test_urls_that_mean_nothing_say_so(fhir, method, path, status):
    answer = fhir.request(method, path, **({"json": PATIENT} if method in ("POST", "PUT") else {}))
    assert answer.status_code == status
    assert issue(answer)["diagnostics"]
    if status == 405:
        assert "GET" in answer.headers["allow"]


def test_every_resource_type_is_served(fhir):
    statement = fhir.get("metadata").json()
    types = [resource["type"] for resource in statement["rest"][0]["resource"]]
    assert len(types) == 146
    assert {fhir.get(f"{type_}/none").status_code for type_ in types} == {404}


def test_decimals_come_back_as_they_were_written(fhir):
    for digits in ("1.00", "0.000000000000000000000000001", "123456789012345678901234567890.5", "1e3", "-0.0", "1"):
        quantity = f'"valueQuantity":{{"value":{digits}}}'
        body = f'{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{quantity}}}'
        answer = fhir.request("POST", "Observation", content=body, headers={"Content-Type": "application/fhir+json"})
        assert answer.status_code == 201, answer.text
        read = json.resource(fhir.get(f"Observation/{answer.json()['id']}").content)
        assert Decimal(read["valueQuantity"]["value"]).as_tuple() == Decimal(digits).as_tuple()


def test_request_ids_are_echoed_or_given(fhir):
    assert fhir.get("Patient/x", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert len(fhir.get("Patient/x", headers={"X-Request-Id": "not ok!"}).headers["x-request-id"]) == 32


def test_a_refused_patch_does_not_tell_what_the_record_holds(fhir):
    id_ = fhir.create({"resourceType": "Patient", "name": [{"family": "Secret"}]})["id"]
    for path in ("/contact/-", "/name/0/given/0", "/name/7/family", "/name/x", "/name/0/family/x"):
        for operation in ("add", "replace", "remove", "test"):
            answer = fhir.patch(f"Patient/{id_}", [{"op": operation, "path": path, "value": "x"}])
            assert answer.status_code == 422, (operation, path)
            assert "Secret" not in answer.text


def test_updates_at_the_same_time_all_succeed_one_after_the_other(fhir):
    resource = fhir.create({"resourceType": "Patient"})
    path = f"Patient/{resource['id']}"

    def change(number: int) -> int:
        if number % 2:
            return fhir.patch(path, [{"op": "add", "path": "/active", "value": True}]).status_code
        return fhir.put(path, resource | {"name": [{"family": f"n{number}"}]}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(change, range(24))) == {200}
    assert fhir.get(path).headers["etag"] == 'W/"25"'
