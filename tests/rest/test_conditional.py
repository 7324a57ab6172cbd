"""Interactions that decide by a search: create, update, patch, delete on a condition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from pymongo import MongoClient

if TYPE_CHECKING:
    from conftest import Serve


def patient(value: str, **more) -> dict:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": value}], **more}


@pytest.fixture
def mrn() -> str:
    return uuid4().hex


def none_exist(value: str) -> dict[str, str]:
    return {"If-None-Exist": f"identifier=urn:mrn|{value}"}


def test_a_conditional_create_finds_what_exists(fhir, mrn):
    first = fhir.post("Patient", patient(mrn), headers=none_exist(mrn))
    again = fhir.post("Patient", patient(mrn, gender="male"), headers=none_exist(mrn))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    fhir.create(patient(mrn))
    many = fhir.post("Patient", patient(mrn), headers=none_exist(mrn))
    assert (many.status_code, many.json()["issue"][0]["code"]) == (412, "multiple-matches")


def test_fifty_concurrent_conditional_creates_make_one_resource(fhir, mrn):
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: fhir.post("Patient", patient(mrn), headers=none_exist(mrn)), range(50)))
    assert sorted(a.status_code for a in answers) == [200] * 49 + [201]
    assert len({a.json()["id"] for a in answers}) == 1
    assert len(fhir.ids(f"Patient?identifier=urn:mrn|{mrn}")) == 1


def test_a_deleted_match_does_not_count(fhir, mrn):
    first = fhir.post("Patient", patient(mrn), headers=none_exist(mrn)).json()
    fhir.delete(f"Patient/{first['id']}")
    second = fhir.post("Patient", patient(mrn), headers=none_exist(mrn))
    assert second.status_code == 201
    assert second.json()["id"] != first["id"]


ACCENT = "name=%CC%81"  # alone; it would find everybody who has a name


@pytest.mark.parametrize("criteria", ["", "nonsense=1", "identifier=", "_count=2", "birthdate=tomorrow", ACCENT])
def test_a_condition_that_says_nothing_is_refused(fhir, mrn, criteria):
    headers = {"If-None-Exist": criteria}
    assert fhir.post("Patient", patient(mrn), headers=headers).status_code in (400, 412)
    assert fhir.put(f"Patient?{criteria}", patient(mrn)).status_code in (400, 412)
    assert fhir.delete(f"Patient?{criteria}").status_code in (400, 412)
    assert fhir.ids(f"Patient?identifier={mrn}") == []


@pytest.mark.parametrize("before", ["", "?", "Patient?", "{base}/Patient?"])
def test_a_condition_may_name_what_it_is_on(fhir, mrn, before):
    """Letters need not be percent-encoded either, in UTF-8."""
    known = fhir.create(patient(mrn, name=[{"family": "Müller"}]))
    for family in ("M%C3%BCller", "Müller"):
        condition = f"{before.format(base=fhir.base_url)}identifier={mrn}&family:exact={family}"
        again = fhir.post("Patient", patient(mrn), headers={"If-None-Exist": condition.encode()})
        assert (again.status_code, again.json()["id"]) == (200, known["id"]), again.text


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (b"Observation?identifier=x", "the condition is on Observation, and what is decided by it is a Patient"),
        (b"http://elsewhere.org/Patient?identifier=x", "the condition is on http://elsewhere.org/Patient"),
        (b"identifier=%FF", "the condition is not percent-encoded UTF-8"),
        (b"identifier=\xff", "If-None-Exist is not UTF-8"),
    ],
)
def test_a_condition_that_means_something_else_creates_nothing(fhir, mrn, condition, sentence):
    answer = fhir.post("Patient", patient(mrn), headers={"If-None-Exist": condition})
    assert answer.status_code == 400, answer.text
    assert sentence in answer.json()["issue"][0]["diagnostics"]
    assert fhir.ids(f"Patient?identifier={mrn}") == []


def test_a_conditional_update_creates_then_updates(fhir, mrn):
    url = f"Patient?identifier=urn:mrn|{mrn}"
    made = fhir.put(url, patient(mrn))
    assert made.status_code == 201
    id_ = made.json()["id"]
    changed = fhir.put(url, patient(mrn, gender="female"))
    assert (changed.status_code, changed.json()["id"], changed.headers["etag"]) == (200, id_, 'W/"2"')
    assert fhir.put(url, patient(mrn, id=id_)).status_code == 200
    assert fhir.put(url, patient(mrn, id="other")).status_code == 400
    assert fhir.put(url, patient(mrn), headers={"If-Match": 'W/"1"'}).status_code == 412
    fhir.create(patient(mrn))
    assert fhir.put(url, patient(mrn)).status_code == 412


def test_a_conditional_update_takes_a_free_id_and_no_other(fhir, mrn):
    taken = fhir.create(patient(uuid4().hex))["id"]
    url = f"Patient?identifier=urn:mrn|{mrn}"
    assert fhir.put(url, patient(mrn, id=taken)).status_code == 409
    named = fhir.put(url, patient(mrn, id=f"free-{mrn}"))
    assert (named.status_code, named.json()["id"]) == (201, f"free-{mrn}")


def test_twenty_concurrent_conditional_updates_make_one_resource(fhir, mrn):
    url = f"Patient?identifier=urn:mrn|{mrn}"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: fhir.put(url, patient(mrn)), range(20)))
    assert {a.status_code for a in answers} <= {200, 201}
    assert len(fhir.ids(url)) == 1


def test_json_patch_and_fhirpath_patch(fhir, mrn):
    id_ = fhir.create(patient(mrn, gender="male"))["id"]
    by_json = fhir.patch(f"Patient/{id_}", [{"op": "replace", "path": "/gender", "value": "female"}])
    assert (by_json.status_code, by_json.json()["gender"], by_json.headers["etag"]) == (200, "female", 'W/"2"')
    operation = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.gender"},
        {"name": "value", "valueCode": "other"},
    ]
    by_path = fhir.patch(
        f"Patient/{id_}", {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": operation}]}
    )
    assert (by_path.status_code, by_path.json()["gender"]) == (200, "other")
    conditional = fhir.patch(f"Patient?identifier=urn:mrn|{mrn}", [{"op": "remove", "path": "/gender"}])
    assert conditional.status_code == 200
    assert "gender" not in conditional.json()


@pytest.mark.parametrize(
    ("patch", "statuses"),
    [
        ([{"op": "replace", "path": "/gender", "value": "purple"}], {400}),
        ([{"op": "replace", "path": "/nope/0", "value": 1}], {422}),
        ([{"op": "test", "path": "/gender", "value": "female"}], {422}),
        ([{"op": "replace", "path": "/id", "value": "other"}], {400, 422}),
        ([{"op": "remove", "path": "/resourceType"}], {400, 422}),
        ([{"op": "dance"}], {400}),
        (["x"], {400}),
        ({"resourceType": "Patient"}, {415}),
    ],
)
def test_a_patch_that_cannot_be_is_refused(fhir, mrn, patch, statuses):
    created = fhir.create(patient(mrn, gender="male"))
    answer = fhir.patch(f"Patient/{created['id']}", patch)
    assert answer.status_code in statuses, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert fhir.get(f"Patient/{created['id']}").json() == created


def test_a_patch_of_nothing(fhir, mrn):
    patch = [{"op": "remove", "path": "/gender"}]
    assert fhir.patch("Patient/none", patch).status_code == 404
    assert fhir.patch(f"Patient?identifier={mrn}", patch).status_code == 404
    id_ = fhir.create(patient(mrn))["id"]
    assert fhir.patch(f"Patient/{id_}", patch, headers={"If-Match": 'W/"9"'}).status_code == 412
    fhir.delete(f"Patient/{id_}")
    assert fhir.patch(f"Patient/{id_}", patch).status_code == 410


def test_a_conditional_delete_takes_one_match(fhir, mrn):
    url = f"Patient?identifier=urn:mrn|{mrn}"
    assert fhir.delete(url).status_code == 204
    fhir.create(patient(mrn))
    assert fhir.delete(url).status_code == 204
    assert fhir.ids(url) == []
    fhir.create(patient(mrn))
    fhir.create(patient(mrn))
    assert fhir.delete(url).status_code == 412
    assert len(fhir.ids(url)) == 2


def test_a_server_may_be_set_to_delete_all_matches(serve, mrn):
    many = serve(conditional_delete="multiple").client
    for _ in range(3):
        many.create(patient(mrn))
    assert many.delete(f"Patient?identifier=urn:mrn|{mrn}").status_code == 204
    assert many.ids(f"Patient?identifier=urn:mrn|{mrn}") == []
    resource = many.get("metadata").json()["rest"][0]["resource"][0]
    assert resource["conditionalDelete"] == "multiple"


def test_referential_integrity_where_it_is_asked_for(serve, mrn):
    strict = serve(referential_integrity=True).client
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    missing = strict.post("Observation", {**observation, "subject": {"reference": "Patient/none"}})
    assert missing.status_code == 422
    assert missing.json()["issue"][0]["expression"] == ["Observation.subject.reference"]
    id_ = strict.create(patient(mrn))["id"]
    held = strict.create({**observation, "subject": {"reference": f"Patient/{id_}"}})
    refused = strict.delete(f"Patient/{id_}")
    assert refused.status_code == 409
    assert f"Observation/{held['id']}" in refused.json()["issue"][0]["diagnostics"]
    assert strict.delete(f"Observation/{held['id']}").status_code == 204
    assert strict.delete(f"Patient/{id_}").status_code == 204


def test_a_conditional_delete_keeps_to_the_version_it_names(fhir, mrn):
    id_ = fhir.create(patient(mrn))["id"]
    refused = fhir.delete(f"Patient?identifier=urn:mrn|{mrn}", headers={"If-Match": 'W/"2"'})
    assert (refused.status_code, fhir.get(f"Patient/{id_}").status_code) == (412, 200)
    done = fhir.delete(f"Patient?identifier=urn:mrn|{mrn}", headers={"If-Match": 'W/"2", W/"1"'})
    assert (done.status_code, fhir.get(f"Patient/{id_}").status_code) == (204, 410)


def test_an_update_may_be_meant_for_what_is_not_here(fhir, mrn):
    only_new = {"If-None-Match": "*"}
    assert fhir.put(f"Patient/{mrn}", patient(mrn, id=mrn), headers=only_new).status_code == 201
    again = fhir.put(f"Patient/{mrn}", patient(mrn, id=mrn), headers=only_new)
    assert (again.status_code, again.json()["issue"][0]["code"]) == (412, "conflict")
    assert fhir.put(f"Patient/{mrn}", patient(mrn, id=mrn), headers={"If-None-Match": 'W/"9"'}).status_code == 200
    fhir.delete(f"Patient/{mrn}")
    assert fhir.put(f"Patient/{mrn}", patient(mrn, id=mrn), headers=only_new).status_code == 201


@pytest.mark.parametrize("condition", ["identifier={}", "?identifier={}", "Patient?identifier={}"])
def test_a_condition_may_hold_a_question_mark(fhir, mrn, condition):
    system = f"http://a.b/{mrn}?c=d"
    named = {"resourceType": "Patient", "identifier": [{"system": system, "value": "1?"}]}
    header = {"If-None-Exist": condition.format(f"{system}|1?")}
    assert [fhir.post("Patient", named, headers=header).status_code for _ in range(2)] == [201, 200]


def test_integrity_judges_what_a_transaction_leaves_behind(serve):
    strict = serve(referential_integrity=True).client

    def observation(id_: str, subject: str) -> dict:
        out = {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"}}
        return out | {"subject": {"reference": subject}}

    def entry(method: str, resource: dict) -> dict:
        url = f"{resource['resourceType']}/{resource['id']}"
        return {"request": {"method": method, "url": url}} | ({"resource": resource} if method == "PUT" else {})

    def transaction(*entries: dict):
        return strict.post("", {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)})

    old, new = ({"resourceType": "Patient", "id": id_} for id_ in ("old", "new"))
    assert transaction(entry("PUT", old), entry("PUT", observation("o", "Patient/old"))).status_code == 200
    moved = entry("PUT", new), entry("DELETE", old), entry("PUT", observation("o", "Patient/new"))
    assert transaction(*moved).status_code == 200
    refused = transaction(entry("PUT", old), entry("DELETE", new), entry("PUT", observation("o", "Patient/new")))
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (
        422,
        ["Bundle.entry[2].resource.subject.reference"],
    )
    assert strict.get("Patient/new").status_code == 200


def test_integrity_lets_a_resource_refer_to_itself_and_a_bundle_to_its_entries(serve):
    strict = serve(referential_integrity=True).client
    own = {"resourceType": "Patient", "id": "own", "link": [{"other": {"reference": "Patient/own"}, "type": "refer"}]}
    assert strict.put("Patient/own", own).status_code == 201
    beside = {"resourceType": "Patient", "link": [{"other": {"reference": "Patient/far"}, "type": "refer"}]}
    held = [{"fullUrl": "http://other.org/Patient/near", "resource": beside}]
    assert strict.post("Bundle", {"resourceType": "Bundle", "type": "collection", "entry": held}).status_code == 201


def test_a_conditional_update_may_bring_a_deleted_resource_back(fhir, mrn):
    url, resource = f"Patient?identifier=urn:mrn|{mrn}", patient(mrn, id=mrn)
    assert fhir.put(url, resource).status_code == 201
    fhir.delete(f"Patient/{mrn}")
    again = fhir.put(url, resource)
    assert (again.status_code, again.headers["etag"]) == (201, 'W/"3"')


def test_a_condition_makes_nothing(serve: Serve, mongodb: str) -> None:
    """Of types that were never written: what asks for them leaves no collection behind."""
    served = serve()
    fhir = served.client
    asked = "?identifier=x"
    assert fhir.delete(f"Account{asked}").status_code == 204
    assert fhir.patch(f"Basic{asked}", [{"op": "remove", "path": "/subject"}]).status_code == 404
    requests = [{"method": "GET", "url": f"Claim{asked}"}, {"method": "DELETE", "url": f"Coverage{asked}"}]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": each} for each in requests]}
    assert fhir.post("", bundle).status_code == 200
    subject = {"reference": f"Group{asked}"}
    referring = {"resourceType": "Flag", "status": "active", "code": {"text": "x"}, "subject": subject}
    bundle["entry"] = [{"resource": referring, "request": {"method": "POST", "url": "Flag"}}]
    assert fhir.post("", bundle).status_code == 412
    with MongoClient[dict[str, Any]](mongodb) as client:
        names = client[served.settings.database].list_collection_names()
    assert {"Account", "Basic", "Claim", "Coverage", "Group"}.isdisjoint(names)
    account = {"resourceType": "Account", "status": "active"}
    assert fhir.post("Account", account, headers=none_exist("x")).status_code == 201
