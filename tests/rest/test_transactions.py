"""batch and transaction: https://hl7.org/fhir/R4/http.html#transaction"""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

NOBODY = {"reference": "Patient?identifier=urn:mrn|nobody"}


def bundle(kind: str, *entries: dict) -> dict:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def entry(method: str, url: str, resource: dict | None = None, full_url: str | None = None, **request) -> dict:
    out: dict = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        out["resource"] = resource
    if full_url is not None:
        out["fullUrl"] = full_url
    return out


def urn() -> str:
    return f"urn:uuid:{uuid4()}"


def patient(value: str = "", **more) -> dict:
    return {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": value or uuid4().hex}], **more}


def observation(subject: str | dict, **more) -> dict:
    subject = subject if isinstance(subject, dict) else {"reference": subject}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": subject, **more}


def test_links_between_entries_become_links_between_resources(fhir):
    who, what = urn(), urn()
    narrative = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{who}">her</a> <img src="{what}"/> {who}</div>'
    extension = [{"url": "urn:x", "valueUri": who}, {"url": "urn:x", "valueCanonical": who}]
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry(
                "POST",
                "Observation",
                observation(who, text={"status": "generated", "div": narrative}, extension=extension),
                what,
            ),
            entry("POST", "Patient", patient(), who),
        ),
    )
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["type"], len(result["entry"])) == ("transaction-response", 2)
    observed, created = (e["response"] for e in result["entry"])
    assert observed["status"] == "201 Created"
    assert observed["etag"] == 'W/"1"'
    stored = fhir.get(observed["location"]).json()
    reference = created["location"].removesuffix("/_history/1")
    assert stored["subject"]["reference"] == reference
    assert stored["extension"][0]["valueUri"] == reference
    assert stored["extension"][1]["valueCanonical"] == who
    assert f'href="{reference}"' in stored["text"]["div"]
    assert f'src="{observed["location"].removesuffix("/_history/1")}"' in stored["text"]["div"]
    assert f"{who}</div>" in stored["text"]["div"]


def test_a_definition_under_its_own_url_keeps_it_and_so_does_what_names_it(fhir):
    url = f"http://acme.example/fhir/CodeSystem/{uuid4().hex}"
    system = {"resourceType": "CodeSystem", "status": "active", "content": "complete", "url": url}
    coded = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": url, "code": "a"}]},
        "extension": [{"url": url, "valueUri": url}],
    }
    linking = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": url}}
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry("POST", "CodeSystem", system, url),
            entry("POST", "Observation", coded),
            entry("POST", "Basic", linking),
        ),
    )
    assert answer.status_code == 200, answer.text
    stored, observed, basic = (fhir.get(e["response"]["location"]).json() for e in answer.json()["entry"])
    assert stored["url"] == observed["code"]["coding"][0]["system"] == url
    assert observed["extension"] == [{"url": url, "valueUri": url}]
    assert basic["subject"]["reference"] == f"CodeSystem/{stored['id']}"


def test_version_specific_links_stay_version_specific(fhir):
    id_ = fhir.create(patient())["id"]
    full = f"http://elsewhere.org/fhir/Patient/{id_}"
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry("PUT", f"Patient/{id_}", patient(id=id_), full),
            entry("POST", "Observation", observation(f"{full}/_history/9"), urn()),
        ),
    )
    assert answer.status_code == 200, answer.text
    stored = fhir.get(answer.json()["entry"][1]["response"]["location"]).json()
    assert stored["subject"]["reference"] == f"Patient/{id_}/_history/2"


def test_entries_are_processed_in_the_order_of_the_specification(fhir):
    old, kept = fhir.create(patient())["id"], fhir.create(patient())["id"]
    value = uuid4().hex
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry("GET", f"Patient?identifier=urn:mrn|{value}"),
            entry("GET", f"Patient/{kept}"),
            entry("PUT", f"Patient/{kept}", patient(id=kept, gender="male")),
            entry("POST", "Patient", patient(value)),
            entry("DELETE", f"Patient/{old}"),
        ),
    )
    assert answer.status_code == 200, answer.text
    found, read, updated, created, gone = answer.json()["entry"]
    assert found["resource"]["entry"][0]["resource"]["id"] in created["response"]["location"]
    assert read["resource"]["gender"] == "male"
    assert [e["response"]["status"] for e in (found, updated, created, gone)] == [
        "200 OK",
        "200 OK",
        "201 Created",
        "204 No Content",
    ]


def test_conditional_references_are_resolved(fhir):
    value = uuid4().hex
    id_ = fhir.create(patient(value))["id"]
    result = fhir.post(
        "", bundle("transaction", entry("POST", "Observation", observation(f"Patient?identifier=urn:mrn|{value}")))
    )
    stored = fhir.get(result.json()["entry"][0]["response"]["location"]).json()
    assert stored["subject"]["reference"] == f"Patient/{id_}"
    nobody = bundle("transaction", entry("POST", "Observation", observation("Patient?identifier=urn:mrn|nobody")))
    answer = fhir.post("", nobody)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (412, ["Bundle.entry[0].resource.subject"])
    fhir.create(patient(value))
    several = fhir.post(
        "", bundle("transaction", entry("POST", "Observation", observation(f"Patient?identifier=urn:mrn|{value}")))
    )
    assert several.json()["issue"][0]["code"] == "multiple-matches"


def test_a_conditional_reference_finds_what_the_same_transaction_creates(fhir):
    value = uuid4().hex
    condition = f"identifier=urn:mrn|{value}"
    for expected in ("201 Created", "200 OK"):
        answer = fhir.post(
            "",
            bundle(
                "transaction",
                entry("POST", "Observation", observation(f"Patient?{condition}")),
                entry("POST", "Patient", patient(value), urn(), ifNoneExist=condition),
            ),
        )
        assert answer.status_code == 200, answer.text
        observed, created = (e["response"] for e in answer.json()["entry"])
        assert created["status"] == expected
        stored = fhir.get(observed["location"]).json()
        assert created["location"].startswith(stored["subject"]["reference"] + "/")


def test_conditional_entries_of_every_kind(fhir):
    one, two, three, four = (uuid4().hex for _ in range(4))
    ids = {value: fhir.create(patient(value, gender="male"))["id"] for value in (one, two, three)}
    change = [{"op": "replace", "path": "/gender", "value": "other"}]
    data = base64.b64encode(json.dumps(change).encode()).decode()
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry("PUT", f"Patient?identifier=urn:mrn|{one}", patient(one, gender="female")),
            entry("DELETE", f"Patient?identifier=urn:mrn|{two}"),
            entry(
                "PATCH",
                f"Patient?identifier=urn:mrn|{three}",
                {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data},
            ),
            entry("PUT", f"Patient?identifier=urn:mrn|{four}", patient(four)),
        ),
    )
    assert answer.status_code == 200, answer.text
    assert fhir.get(f"Patient/{ids[one]}").json()["gender"] == "female"
    assert fhir.get(f"Patient/{ids[two]}").status_code == 410
    assert fhir.get(f"Patient/{ids[three]}").json()["gender"] == "other"
    assert answer.json()["entry"][3]["response"]["status"] == "201 Created"


@pytest.mark.parametrize("twice", ["condition", "identity", "mixed", "fullUrl"])
def test_the_same_thing_is_not_written_twice(fhir, twice):
    value = uuid4().hex
    id_ = fhir.create(patient(value))["id"]
    condition = f"Patient?identifier=urn:mrn|{value}"
    same = urn()
    pairs = {
        "condition": (entry("PUT", condition, patient(value)), entry("PUT", condition, patient(value, gender="male"))),
        "identity": (entry("PUT", f"Patient/{id_}", patient(id=id_)), entry("DELETE", f"Patient/{id_}")),
        "mixed": (entry("PUT", f"Patient/{id_}", patient(id=id_)), entry("PUT", condition, patient(value))),
        "fullUrl": (entry("POST", "Patient", patient(), same), entry("POST", "Patient", patient(), same)),
    }
    answer = fhir.post("", bundle("transaction", *pairs[twice]))
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["code"] == "duplicate"
    assert "Bundle.entry[" in answer.json()["issue"][0]["expression"][0]
    assert fhir.get(f"Patient/{id_}").headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("bad", "status", "expression"),
    [
        (
            entry("POST", "Patient", {"resourceType": "Patient", "gender": "purple"}),
            400,
            "Bundle.entry[1].resource.gender",
        ),
        (entry("POST", "Patient", {"resourceType": "Group"}), 400, "Bundle.entry[1].resource.resourceType"),
        (entry("POST", "Nonsense", {"resourceType": "Nonsense"}), 400, "Bundle.entry[1].resource"),
        (entry("POST", "Patient"), 400, "Bundle.entry[1].resource"),
        (entry("PUT", "Patient/x", {"resourceType": "Patient", "id": "y"}), 400, "Bundle.entry[1].resource.id"),
        (entry("GET", "Patient/none"), 404, "Bundle.entry[1]"),
        (entry("PATCH", "Patient/none", {"resourceType": "Parameters"}), 404, "Bundle.entry[1]"),
        (entry("PUT", "Patient/z", {"resourceType": "Patient", "id": "z"}, ifMatch='W/"3"'), 412, "Bundle.entry[1]"),
        (
            entry("PUT", "http://elsewhere.org/Patient/z", {"resourceType": "Patient"}),
            400,
            "Bundle.entry[1].request.url",
        ),
        ({"resource": {"resourceType": "Patient"}}, 400, "Bundle.entry[1].request"),
        (entry("GET", "Patient?identifier=%FF"), 400, "Bundle.entry[1].request.url"),
        (entry("DELETE", "Patient/%FF"), 400, "Bundle.entry[1].request.url"),
        (entry("POST", "Patient", patient(), ifNoneExist="Group?identifier=x"), 400, "Bundle.entry[1]"),
    ],
)
def test_one_bad_entry_stops_the_whole_and_is_named(fhir, bad, status, expression):
    value = uuid4().hex
    answer = fhir.post("", bundle("transaction", entry("POST", "Patient", patient(value)), bad))
    assert answer.status_code == status, answer.text
    assert answer.json()["issue"][0]["expression"][0].startswith(expression), answer.text
    assert fhir.ids(f"Patient?identifier={value}") == []


def test_entries_of_a_batch_fail_alone(fhir):
    answer = fhir.post(
        "",
        bundle(
            "batch",
            entry("POST", "Patient", patient()),
            entry("POST", "Patient", {"resourceType": "Patient", "gender": "purple"}),
            entry("GET", "Patient/none"),
            entry("GET", "Patient?_count=1"),
            entry("GET", "metadata"),
            {"request": {"method": "DANCE", "url": "Patient"}},
            entry("POST", "", bundle("batch")),
            entry("DELETE", "Patient/none"),
        ),
    )
    assert answer.status_code in (200, 400)
    statuses = [e["response"]["status"][:3] for e in answer.json()["entry"]]
    assert statuses == ["201", "400", "404", "200", "200", "400", "400", "204"]
    failed = answer.json()["entry"][1]["response"]["outcome"]["issue"][0]
    assert failed["expression"] == ["Bundle.entry[1].resource.gender"]


@pytest.mark.parametrize(
    ("document", "expression"),
    [
        ({"resourceType": "Patient"}, "Bundle"),
        ({"resourceType": "Bundle", "type": "collection"}, "Bundle.type"),
        ({"resourceType": "Bundle"}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, "Bundle.entry"),
        ({"resourceType": "Bundle", "type": "transaction", "entry": ["x"]}, "Bundle.entry[0]"),
        ({"resourceType": "Bundle", "type": "transaction", "nonsense": 1}, "Bundle.nonsense"),
    ],
)
def test_what_is_not_a_batch_is_refused(fhir, document, expression):
    answer = fhir.post("", document)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == [expression]


def test_resources_come_back_when_asked_for(fhir):
    document = bundle("transaction", entry("POST", "Patient", patient()))
    assert "resource" not in fhir.post("", document).json()["entry"][0]
    full = fhir.post("", document, headers={"Prefer": "return=representation"}).json()["entry"][0]
    assert full["resource"]["resourceType"] == "Patient"


def test_a_thousand_entries(fhir):
    who = urn()
    entries = [entry("POST", "Patient", patient(), who)]
    entries += [entry("POST", "Observation", observation(who), urn()) for _ in range(999)]
    answer = fhir.post("", bundle("transaction", *entries))
    assert answer.status_code == 200, answer.text
    locations = {e["response"]["location"] for e in answer.json()["entry"]}
    assert len(locations) == 1000
    reference = answer.json()["entry"][0]["response"]["location"].removesuffix("/_history/1")
    assert fhir.bundle(f"Observation?subject={reference}&_summary=count")["total"] == 999


def test_concurrent_transactions_on_the_same_resources_are_all_or_nothing(fhir):
    ids = [fhir.create(patient())["id"] for _ in range(3)]

    def attempt(number: int) -> int:
        marked = [patient(id=id_, name=[{"family": f"n{number}"}]) for id_ in ids]
        order = marked if number % 2 else marked[::-1]
        return fhir.post("", bundle("transaction", *(entry("PUT", f"Patient/{p['id']}", p) for p in order))).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(attempt, range(16)))
    assert set(statuses) <= {200, 409, 503}
    resources = [fhir.get(f"Patient/{id_}").json() for id_ in ids]
    assert len({resource["name"][0]["family"] for resource in resources}) == 1
    assert {int(resource["meta"]["versionId"]) for resource in resources} == {1 + statuses.count(200)}
    assert statuses.count(200) == 16


def test_concurrent_conditional_creates_in_transactions_make_one(fhir):
    value = uuid4().hex
    document = bundle(
        "transaction", entry("POST", "Patient", patient(value), ifNoneExist=f"identifier=urn:mrn|{value}")
    )
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fhir.post("", document), range(16)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.json()["entry"][0]["response"]["location"] for a in answers}) == 1


def test_what_a_transaction_deletes_is_not_found_by_its_conditions(fhir):
    value, who = uuid4().hex, urn()
    old = fhir.create(patient(value))["id"]
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry("POST", "Patient", patient(value), who, ifNoneExist=f"identifier=urn:mrn|{value}"),
            entry("POST", "Observation", observation(who)),
            entry("DELETE", f"Patient/{old}"),
        ),
    )
    assert [e["response"]["status"][:3] for e in answer.json()["entry"]] == ["201", "201", "204"]
    (new,) = fhir.ids(f"Patient?identifier=urn:mrn|{value}")
    assert new != old
    assert len(fhir.ids(f"Observation?subject=Patient/{new}")) == 1
    linked = observation(f"Patient?identifier=urn:mrn|{value}")
    refused = fhir.post(
        "", bundle("transaction", entry("POST", "Observation", linked), entry("DELETE", f"Patient/{new}"))
    )
    assert (refused.status_code, fhir.get(f"Patient/{new}").status_code) == (412, 200)


def test_a_relative_reference_means_what_lies_beside_its_own_entry(fhir):
    here = fhir.create(patient())["id"]
    other = f"http://other.org/fhir/Patient/{here}"
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry("POST", "Patient", patient(), other),
            entry("POST", "Observation", observation(f"Patient/{here}"), "http://other.org/fhir/Observation/1"),
            entry("POST", "Observation", observation(f"Patient/{here}"), urn()),
            entry("POST", "Observation", observation(f"Patient/{here}")),
        ),
        headers={"Prefer": "return=representation"},
    )
    new, *observations = (e["resource"] for e in answer.json()["entry"])
    assert [o["subject"]["reference"] for o in observations] == [
        f"Patient/{new['id']}",
        f"Patient/{here}",
        f"Patient/{here}",
    ]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_entries_may_be_heads(fhir, kind):
    id_ = fhir.create(patient())["id"]
    (head,) = fhir.post("", bundle(kind, entry("HEAD", f"Patient/{id_}"))).json()["entry"]
    assert "resource" not in head
    assert (head["response"]["status"], head["response"]["etag"]) == ("200 OK", 'W/"1"')


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_entries_keep_to_the_versions_that_they_name(fhir, kind):
    value = uuid4().hex
    id_ = fhir.create(patient(value))["id"]
    for asked in (
        entry("DELETE", f"Patient?identifier=urn:mrn|{value}", ifMatch='W/"7"'),
        entry("PUT", f"Patient/{id_}", patient(value, id=id_), ifNoneMatch="*"),
    ):
        answer = fhir.post("", bundle(kind, asked))
        found = answer.json()["entry"][0]["response"]["status"] if kind == "batch" else str(answer.status_code)
        assert found == "412", answer.text
    assert fhir.get(f"Patient/{id_}").headers["etag"] == 'W/"1"'


def test_every_get_may_stand_in_a_transaction(fhir):
    id_ = uuid4().hex
    asked = (
        f"Patient/{id_}/$everything",
        f"Patient/{id_}/*",
        f"?_type=Patient,Observation&_id={id_}",
        f"Patient/{id_}/_history",
        "_history?_count=1",
        "Patient/_history?_at=2990&_count=1",
        f"Patient/{id_}/Observation",
        "metadata",
    )
    entries = [entry("PUT", f"Patient/{id_}", patient(id=id_)), *(entry("GET", url) for url in asked)]
    answer = fhir.post("", bundle("transaction", *entries))
    assert answer.status_code == 200, answer.text
    written, *bundles, nothing, _ = answer.json()["entry"]
    assert written["response"]["status"] == "201 Created"
    for found in bundles:
        assert [e["resource"]["id"] for e in found["resource"]["entry"]] == [id_]
    assert "entry" not in nothing["resource"]


def test_a_link_to_no_entry_is_refused(fhir):
    dangling = urn()
    answer = fhir.post("", bundle("transaction", entry("POST", "Observation", observation(dangling), urn())))
    assert answer.status_code == 400
    assert dangling in answer.json()["issue"][0]["diagnostics"]
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[0].resource.subject"]


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({"note": [{"text": "a"}, {"authorReference": NOBODY, "text": "b"}]}, "note[1].author"),
        ({"contained": [{"resourceType": "Group", "managingEntity": NOBODY}]}, "contained[0].managingEntity"),
        ({"extension": [{"url": "urn:x", "valueReference": NOBODY}]}, "extension[0].value"),
        ({"_status": {"extension": [{"url": "urn:x", "valueReference": NOBODY}]}}, "status.extension[0].value"),
    ],
)
def test_a_link_that_is_refused_is_found(fhir, resource, place):
    resource = {**observation("Patient/p"), **resource}
    transaction = fhir.post("", bundle("transaction", entry("POST", "Observation", resource)))
    batch = fhir.post("", bundle("batch", entry("POST", "Observation", resource)))
    outcome = batch.json()["entry"][0]["response"]["outcome"]
    for issue in (transaction.json()["issue"][0], outcome["issue"][0]):
        assert issue["expression"] == [f"Bundle.entry[0].resource.{place}"], issue
    assert transaction.json()["issue"][0]["location"]


def test_a_conditional_reference_that_cannot_be_read_is_quoted(fhir):
    answer = fhir.post("", bundle("transaction", entry("POST", "Observation", observation("Patient?name:is=Ada"))))
    assert answer.status_code == 400
    said = answer.json()["issue"][0]["diagnostics"]
    assert said.startswith("the conditional reference Patient?name:is=Ada: name:is: the modifier :is is not supported")


def test_a_conditional_reference_needs_a_transaction(fhir):
    value = uuid4().hex
    fhir.create(patient(value))
    conditional = observation(f"Patient?identifier=urn:mrn|{value}")
    for answer in (
        fhir.post("Observation", conditional),
        fhir.put("Observation/conditional", conditional | {"id": "conditional"}),
    ):
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "not-supported")


def test_a_batch_says_which_entries_it_had_no_time_for(fhir, monkeypatch):
    monkeypatch.setattr("fhirserver.interactions.batch.BATCH_SECONDS", -1)
    answer = fhir.post("", bundle("batch", entry("POST", "Patient", patient()), entry("GET", "Patient?_count=1")))
    assert answer.status_code == 200
    assert [e["response"]["status"] for e in answer.json()["entry"]] == ["503", "503"]
    assert answer.json()["entry"][0]["response"]["outcome"]["issue"][0]["code"] == "timeout"


def test_a_batch_keeps_what_it_did_when_the_database_goes_away(fhir, monkeypatch):
    from pymongo.errors import NetworkTimeout

    from fhirserver.store.resources import Store

    read = Store.read

    async def away(self, type_, id_):
        if id_ == "away":
            raise NetworkTimeout("timed out")
        return await read(self, type_, id_)

    monkeypatch.setattr(Store, "read", away)
    gone = entry("GET", "Patient/away")
    answer = fhir.post(
        "", bundle("batch", entry("POST", "Patient", patient()), gone, entry("POST", "Patient", patient()))
    )
    assert [e["response"]["status"] for e in answer.json()["entry"]] == ["201 Created", "503", "503"]
    assert fhir.post("", bundle("batch", gone)).status_code == 503
