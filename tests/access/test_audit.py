"""Who looked at my record: a request with a token leaves events, each sealed to the next, before its answer leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64decode
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from ledgers import inside
from seam import person

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.store import strands
from fhirserver.store.blobs import pack, unpack
from fhirserver.store.ledger import CHECKPOINTS
from fhirserver.store.resources import Store
from fhirserver.store.seals import audit_key
from fhirserver.store.strands import Verdict, forget, verify
from fhirserver.validation.validate import Validator
from smart_auth import users

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Fhir, Serve, Served
    from seam import Apps

Event = dict[str, Any]
SECRET = "of the ledger"
KEY = audit_key(SECRET.encode())
HEALTHMATE = [sys.executable, "-c", "from fhirserver.cli import main; main()"]
VALIDATOR = Validator(r4(), required_codes())


class World(NamedTuple):
    served: Served
    system: Fhir  # a service that may do everything
    doctor: Fhir
    user: str  # the doctor's account


async def account(ctx: Context) -> str:
    found = await users.create(ctx.auth, "ada", roles=["practitioner"], fhir_user="Practitioner/doctor")
    return found.id


def pulse(patient: str, **more: Any) -> dict[str, Any]:
    value = {"value": 60, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"}
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    found = {"resourceType": "Observation", "status": "final", "code": code, "valueQuantity": value}
    return found | {"subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": "2026-01-01"} | more


@pytest.fixture(scope="module")
def world(serve: Serve, apps: Apps) -> World:
    served = serve(open=False, secret=SECRET)
    system = apps(served, "system/*.cruds")
    for patient in ("p", "q"):
        system.put(f"Patient/{patient}", {"resourceType": "Patient", "id": patient, "name": [{"family": "Lovelace"}]})
    system.put("Organization/clinic", {"resourceType": "Organization", "id": "clinic", "name": "Clinic"})
    system.put("Observation/o", pulse("p", id="o"))
    system.put("Binary/b", {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "aGk="})
    letter = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": {"reference": "Patient/p"},
    }
    for url in ("Binary/replaced", "Binary/b/_history/1"):
        system.put("DocumentReference/d", letter | {"content": [{"attachment": {"url": url}}]})
    for name in ("replaced", "secured", "nobodys"):
        secured = {"securityContext": {"reference": "DocumentReference/d"}} if name == "secured" else {}
        text = {"resourceType": "Binary", "id": name, "contentType": "text/plain", "data": "aGk="}
        system.put(f"Binary/{name}", text | secured)
    user = inside(served, account)
    return World(served, system, apps(served, "user/*.cruds", user=user), user)


def told(world: World, request_id: str) -> list[Event]:
    """What the ledger has of one request."""
    found = world.system.bundle("AuditEvent?_count=1000")
    return [each["resource"] for each in found["entry"] if request_id in json.encode(each["resource"]).decode()]


def about(event: Event) -> list[str]:
    return [each["what"]["reference"] for each in event["entity"] if "reference" in each.get("what", {})]


BATCH = {
    "resourceType": "Bundle",
    "type": "batch",
    "entry": [{"request": {"method": "GET", "url": f"Patient/{patient}"}} for patient in "pq"],
}
TRANSACTION = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [{"request": {"method": "PUT", "url": "Observation/t"}, "resource": pulse("q", id="t")}],
}
FOUND = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {"request": {"method": "POST", "url": "Observation", "ifNoneExist": "_id=o"}, "resource": pulse("p")},
    ],
}
STATS = "Observation/$stats?subject=Patient/p&code=http://loinc.org|8867-4&statistic=count"
# method, path, body → interaction, outcome, and what each of its events is about
REQUESTS: list[tuple[str, str, Any, str, str, list[list[str]]]] = [
    ("GET", "Patient/p", None, "read", "0", [["Patient/p", "Patient/p"]]),
    ("GET", "Patient/p/_history/1", None, "vread", "0", [["Patient/p", "Patient/p"]]),
    ("GET", "Patient/nobody", None, "read", "4", [["Patient/nobody"]]),
    ("GET", "Organization/clinic", None, "read", "0", [["Organization/clinic"]]),
    ("GET", "Patient?_id=p", None, "search-type", "0", [["Patient/p"]]),
    ("POST", "Patient/_search", "_id=p", "search-type", "0", [["Patient/p"]]),
    ("GET", "Patient?_id=p,q", None, "search-type", "0", [[], ["Patient/p"], ["Patient/q"]]),
    ("GET", "Patient?_id=nobody", None, "search-type", "0", [[]]),
    ("GET", "Patient?birthdate=soon", None, "search-type", "4", [[]]),
    ("GET", "Observation?_id=o&_include=Observation:subject", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "?_type=Patient&_id=p", None, "search-system", "0", [["Patient/p"]]),
    ("GET", "Patient/p/Observation", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "Patient/p/_history", None, "history-instance", "0", [["Patient/p", "Patient/p"]]),
    ("PUT", "Observation/mine", pulse("p", id="mine"), "update", "0", [["Observation/mine", "Patient/p"]]),
    ("DELETE", "Observation/mine", None, "delete", "0", [["Observation/mine", "Patient/p"]]),
    ("PUT", "Observation/bad", pulse("p", id="bad", status="x"), "update", "4", [["Observation/bad"]]),
    ("POST", "", BATCH, "batch", "0", [["Patient/p", "Patient/p"], ["Patient/q", "Patient/q"]]),
    ("POST", "", TRANSACTION, "transaction", "0", [["Observation/t", "Patient/q"]]),
    ("GET", "Patient/p/$everything", None, "operation", "0", [["Patient/p", "Patient/p"]]),
    (
        "GET",
        "Patient/$everything?_type=Patient",
        None,
        "operation",
        "0",
        [[], ["Patient/p", "Patient/p"], ["Patient/q", "Patient/q"]],
    ),
    ("GET", "Observation/$lastn?patient=p&code=8867-4", None, "operation", "0", [["Observation/o", "Patient/p"]]),
    ("GET", STATS, None, "operation", "0", [["Patient/p", "Patient/p"]]),
    ("GET", STATS.replace("Patient/p", "p"), None, "operation", "0", [["Patient/p", "Patient/p"]]),
    (
        "GET",
        STATS.replace("Patient/p", "Patient/p,Patient/q"),
        None,
        "operation",
        "4",
        [[]],
    ),
    ("GET", "Observation/o", None, "read", "0", [["Observation/o", "Patient/p"]]),
    ("GET", "Binary/b", None, "read", "0", [["Binary/b", "Patient/p"]]),
    ("GET", "Binary/b/_history/1", None, "vread", "0", [["Binary/b", "Patient/p"]]),
    ("GET", "Patient?_id=p,nobody", None, "search-type", "0", [[], ["Patient/p"]]),
    ("GET", "Observation?patient=p,nobody&_count=1", None, "search-type", "0", [[], ["Patient/p"]]),
    ("GET", "Observation?_filter=patient re Patient/p&_id=o", None, "search-type", "0", [[], ["Patient/p"]]),
    ("GET", "Observation?_id=o&code=8867-4,x&_sort=date,code", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "Patient/p/Observation?code=8867-4,x", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "Observation?patient=p&_summary=count", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "Observation?subject=Patient/p&_count=0", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "Patient/p/Observation?_summary=count", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "Patient?_id=p&_summary=count", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "Observation?patient=nobody&_summary=count", None, "search-type", "0", [[]]),
    ("GET", "?_type=Observation,Condition&patient=p&_summary=count", None, "search-system", "0", [["Patient/p"]]),
    ("GET", "Binary?_id=b", None, "search-type", "0", [["Patient/p"]]),
    ("GET", "?_type=Binary&_id=b,nobody", None, "search-system", "0", [[], ["Patient/p"]]),
    ("GET", "Binary/b/_history", None, "history-instance", "0", [["Binary/b", "Patient/p"]]),
    ("GET", "Binary/replaced", None, "read", "0", [["Binary/replaced", "Patient/p"]]),
    ("GET", "Binary/secured", None, "read", "0", [["Binary/secured", "Patient/p"]]),
    ("GET", "Binary/nobodys", None, "read", "0", [["Binary/nobodys"]]),
    ("HEAD", "Observation/o", None, "read", "0", [["Observation/o", "Patient/p"]]),
    ("POST", "", FOUND, "transaction", "0", [["Observation/o", "Patient/p"]]),
    ("GET", "Observation/o/$validate", None, "operation", "0", [["Observation/o", "Patient/p"]]),
]


@pytest.mark.parametrize(("number", "row"), [*enumerate(REQUESTS)], ids=[f"{row[0]} {row[1]}" for row in REQUESTS])
def test_a_request_leaves_its_events(world: World, number: int, row: tuple[Any, ...]) -> None:
    method, path, body, interaction, outcome, expected = row
    request_id = f"request-{number}-"
    headers = {"X-Request-Id": request_id}
    if isinstance(body, str):
        form = headers | {"Content-Type": "application/x-www-form-urlencoded"}
        world.doctor.request(method, path, content=body, headers=form)
    else:
        world.doctor.request(method, path, headers=headers, **({} if body is None else {"json": body}))
    events = told(world, request_id)
    assert {(each["subtype"][0]["code"], each["outcome"]) for each in events} == {(interaction, outcome)}
    assert sorted(about(each) for each in events) == sorted(expected)
    for event in events:
        app, person = event["agent"]
        assert app["who"]["identifier"]["value"] == "app"
        assert person["who"] == {"identifier": {"value": world.user}, "reference": "Practitioner/doctor"}
        assert VALIDATOR.issues(event) == []


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "Observation/o", {"If-None-Match": "*"}),
        ("POST", "Observation", {"If-None-Exist": "_id=o"}),
    ],
)
def test_what_is_not_sent_again_or_was_there_already_is_told(
    world: World, method: str, path: str, headers: dict[str, str]
) -> None:
    name = f"there-already-{method}"
    body = {} if method == "GET" else {"json": pulse("p")}
    world.doctor.request(method, path, headers={"X-Request-Id": name, **headers}, **body)
    assert [about(each) for each in told(world, name)] == [["Observation/o", "Patient/p"]]


def test_who_asks_in_vain_for_another_leaves_no_event_in_their_own_record(world: World, apps: Apps) -> None:
    """Their own proxies would read in it whether the other record has something that is kept from them."""
    q = person(world.served, "patient-q", roles=["patient"], patient="q", fhir_user="Patient/q")
    app = apps(world.served, "user/*.rs", user=q)
    for name, patient in (("in-vain-", "p"), ("of-own-", "q")):
        app.get(f"Patient/{patient}", headers={"X-Request-Id": name})
        (event,) = told(world, name)
        person_ = next(each for each in event["agent"] if each["who"]["identifier"]["value"] == q)
        assert ("reference" in person_["who"]) == (patient == "q"), event
    (event,) = told(world, "in-vain-")
    assert event["id"] not in app.ids("AuditEvent?_count=1000")


def test_events_about_nobody_are_not_for_practitioners(world: World) -> None:
    world.doctor.get("Organization/clinic", headers={"X-Request-Id": "about-nobody-"})
    (event,) = told(world, "about-nobody-")
    assert world.doctor.get(f"AuditEvent/{event['id']}").status_code == 404
    assert event["id"] not in world.doctor.ids("AuditEvent?_count=1000")


MOVES = {
    "an update": ("PUT", "Observation/moving", pulse("q", id="moving")),
    "a conditional update": ("PUT", "Observation?_id=moving", pulse("q")),
    "a transaction": (
        "POST",
        "",
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"request": {"method": "PUT", "url": "Observation/moving"}, "resource": pulse("q", id="moving")}],
        },
    ),
}


@pytest.mark.parametrize("how", MOVES)
def test_what_is_moved_out_of_a_record_is_told_in_it(world: World, how: str) -> None:
    method, path, body = MOVES[how]
    world.system.put("Observation/moving", pulse("p", id="moving"))
    name = f"moved-by-{how.replace(' ', '-')}"
    assert world.system.request(method, path, json=body, headers={"X-Request-Id": name}).status_code == 200
    told_ = sorted(about(each) for each in told(world, name))
    assert told_ == [["Observation/moving", "Patient/p"], ["Observation/moving", "Patient/q"]]


def test_what_is_contained_is_told_by_what_contains_it(world: World) -> None:
    inside = {"resourceType": "Medication", "id": "m", "code": {"text": "aspirin"}}
    order = {"resourceType": "MedicationRequest", "id": "order", "status": "active", "intent": "order"}
    order |= {"medicationReference": {"reference": "#m"}, "contained": [inside]}
    world.system.put("MedicationRequest/order", order | {"subject": {"reference": "Patient/p"}})
    url = "Medication?_contained=true&_containedType=contained&code:text=aspirin"
    entry = {"request": {"method": "GET", "url": url}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = world.system.request("POST", "", json=batch, headers={"X-Request-Id": "contained-"})
    assert len(answer.json()["entry"][0]["resource"]["entry"]) == 1
    assert ["MedicationRequest/order", "Patient/p"] in [about(each) for each in told(world, "contained-")]


def test_an_app_is_told_by_its_name_whatever_that_is(world: World, apps: Apps) -> None:
    names = ("audit-own-id", "audit-patient", "audit-request", "audit-data-000")
    for name in names:
        apps(world.served, "system/*.rs", client=name).get("Patient/p", headers={"X-Request-Id": f"by-{name}"})
        (event,) = told(world, f"by-{name}")
        assert event["agent"][0]["who"]["identifier"]["value"] == name


def test_no_name_hides_what_was_done_to_whom(world: World) -> None:
    written = ("audit-data-001", "audit-patient", "audit-own-id")
    entries = [
        {"request": {"method": "PUT", "url": f"Observation/{id_}"}, "resource": pulse("p", id=id_)} for id_ in written
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = world.system.request("POST", "", json=bundle, headers={"X-Request-Id": "audit-query"})
    assert answer.status_code == 200, answer.text
    (event,) = told(world, "audit-query")
    assert event["type"]["system"] == "http://terminology.hl7.org/CodeSystem/audit-event-type"
    assert about(event) == [*(f"Observation/{id_}" for id_ in written), "Patient/p"]


def test_all_that_a_transaction_wrote_is_named(world: World) -> None:
    """Nothing hides behind others: where no query says what was asked, there are as many events as it takes."""
    written = [f"Observation/many-{number}" for number in range(45)]
    entries = [
        {"request": {"method": "PUT", "url": each}, "resource": pulse("p", id=each.partition("/")[2])}
        for each in written
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = world.system.request("POST", "", json=bundle, headers={"X-Request-Id": "of-many"})
    assert answer.status_code == 200, answer.text
    named = [about(each) for each in told(world, "of-many")]
    assert sorted(len(each) for each in named) == [6, 21, 21]
    assert sorted({each for every in named for each in every}) == sorted([*written, "Patient/p"])


@pytest.mark.parametrize("type_", ["batch", "transaction"])
def test_what_a_bundle_searched_for_is_told(world: World, type_: str) -> None:
    searches = ["Patient?_id=p,q", "Observation?code=http://loinc.org|8867-4&_id=nothing", "Organization"]
    asked = [{"request": {"method": "GET", "url": url}} for url in (*searches, "Patient/p")]
    bundle = {"resourceType": "Bundle", "type": type_, "entry": asked}
    answer = world.system.request("POST", "", json=bundle, headers={"X-Request-Id": f"bundled-{type_}"})
    assert answer.status_code == 200, answer.text
    events = told(world, f"bundled-{type_}")
    queries = {
        b64decode(of["query"]).decode(): about(each) for each in events for of in each["entity"] if "query" in of
    }
    assert queries == {each: [] for each in searches}  # for no patient to read
    assert {"Patient/p", "Patient/q"} <= {each for event in events for each in about(event)}


@pytest.mark.parametrize("entry", ["x", [3], [{"request": 3}], [{"request": {"method": "GET", "url": 3}}]])
def test_what_is_no_bundle_is_told_too(world: World, entry: Any) -> None:
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entry}
    answer = world.system.request("POST", "", json=bundle, headers={"X-Request-Id": "no-bundle"})
    assert answer.status_code in (200, 400, 422)
    assert told(world, "no-bundle")


def test_an_event_is_found_by_the_id_of_its_request(world: World) -> None:
    world.doctor.get("Observation/o", headers={"X-Request-Id": "found-by-its-id"})
    (event,) = told(world, "found-by-its-id")
    assert world.system.ids("AuditEvent?entity:identifier=found-by-its-id") == [event["id"]]


def test_an_event_is_json_whatever_was_asked_for(world: World) -> None:
    world.doctor.get("Observation/%22%7D%25s", headers={"X-Request-Id": "quotes"})
    (event,) = told(world, "quotes")
    assert about(event) == ['Observation/"}%s']


def test_a_search_is_told_as_it_was_asked(world: World) -> None:
    world.doctor.get("Patient?family=Lovelace&birthdate=lt2020", headers={"X-Request-Id": "searching"})
    assert queries(told(world, "searching")) == ["Patient?family=Lovelace&birthdate=lt2020"]
    world.doctor.get("Patient?family=Lovelace", headers={"X-Request-Id": "finding"})
    assert queries(told(world, "finding")) == ["Patient", "Patient", "Patient?family=Lovelace"]


def test_patients_see_who_was_refused(world: World, apps: Apps) -> None:
    """What is filled in is as if it had been indexed, in a refusal too."""
    apps(world.served, "patient/*.rs", "q").get("Patient/p", headers={"X-Request-Id": "curious"})
    patient = apps(world.served, "patient/*.rs", "p")
    for query in ("", "&patient=p", "&entity=Patient/p"):
        found = patient.bundle(f"AuditEvent?outcome=4&_count=500{query}")["entry"]
        assert any("curious" in json.encode(each).decode() for each in found), query


def queries(events: list[Event]) -> list[str]:
    return sorted(b64decode(each["query"]).decode() for event in events for each in event["entity"] if "query" in each)


def test_patients_see_who_looked_and_nothing_of_others(world: World, apps: Apps) -> None:
    world.doctor.get("Patient?_id=p,q", headers={"X-Request-Id": "both"})
    patient = apps(world.served, "patient/*.cruds", "p")
    found = [each["resource"] for each in patient.bundle("AuditEvent?agent=Practitioner/doctor&_count=500")["entry"]]
    assert any("both" in json.encode(each).decode() for each in found)
    assert all("Patient/q" not in json.encode(each).decode() for each in found)
    assert all("q" not in each for each in queries(found) if "_id=" in each)
    looked = {each["id"] for each in found}
    # what is filled in is found as if it had been indexed
    for query in ("patient=p", "entity=Patient/p", "date=ge2026", "type=rest", "outcome=0", "_sort=-date"):
        more = patient.ids(f"AuditEvent?agent=Practitioner/doctor&_count=500&{query}")
        assert looked - {*more} <= {each["id"] for each in found if each["outcome"] != "0"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_events_stay_as_they_are(world: World, method: str) -> None:
    id_ = world.system.ids("AuditEvent?_count=1")[0]
    event = world.system.get(f"AuditEvent/{id_}").json()
    body = {"PUT": event, "PATCH": [{"op": "replace", "path": "/outcome", "value": "0"}]}.get(method)
    answer = (
        world.system.patch(f"AuditEvent/{id_}", body)
        if method == "PATCH"
        else world.system.request(method, f"AuditEvent/{id_}", **({} if body is None else {"json": body}))
    )
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (403, "forbidden")


def test_where_no_event_can_be_kept_the_request_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("fhirserver.store.ledger.Ledger.add", full)
    answer = world.doctor.get("Patient/p")
    assert answer.status_code == 500
    assert "Lovelace" not in answer.text


# --- the ledger ------------------------------------------------------------------------------------------------------


def checked(world: World) -> Verdict:
    async def work(ctx: Context) -> Verdict:
        return await verify(ctx.store, KEY)

    verdict: Verdict = inside(world.served, work)
    return verdict


@pytest.fixture
def kept(serve: Serve, apps: Apps) -> World:
    """A server that kept the events of thirty requests, and has stopped."""
    served = serve(open=False, secret=SECRET)
    system = apps(served, "system/*.cruds")
    for number in range(30):
        system.get(f"Patient/{number}")
    served.__exit__()
    return World(served, system, system, "")


def test_a_ledger_that_nobody_touched_is_whole(kept: World) -> None:
    assert checked(kept) == Verdict(30, 1, ())
    url = kept.served.settings.mongodb_url
    assert url
    environment = os.environ | {
        "HEALTHMATE_MONGODB_URL": url.get_secret_value(),
        "HEALTHMATE_DATABASE": kept.served.settings.database,
        "HEALTHMATE_SECRET": SECRET,
    }
    said = subprocess.run([*HEALTHMATE, "audit", "verify"], capture_output=True, text=True, env=environment, check=True)
    assert said.stdout == "30 audit events in 1 strands are as they were written.\n"
    said = subprocess.run(
        [*HEALTHMATE, "audit", "verify"], capture_output=True, text=True, env=environment | {"HEALTHMATE_SECRET": "x"}
    )
    assert said.returncode == 1
    assert "event 1 of strand" in said.stderr


async def changed(ctx: Context) -> None:
    line = await ctx.store["AuditEvent"].find_one({"ledger.number": 7})
    assert line is not None
    body = pack(unpack(line["body"]).replace(b'"outcome":"4"', b'"outcome":"0"'))
    await ctx.store["AuditEvent"].update_one({"_id": line["_id"]}, {"$set": {"body": body}})


async def taken_out(ctx: Context) -> None:
    await ctx.store["AuditEvent"].delete_one({"ledger.number": 7})


async def swapped(ctx: Context) -> None:
    lines = [await ctx.store["AuditEvent"].find_one({"ledger.number": number}) for number in (7, 8)]
    for line, number in zip(lines, (8, 7), strict=True):
        assert line is not None
        await ctx.store["AuditEvent"].update_one({"_id": line["_id"]}, {"$set": {"ledger.number": number}})


async def cut_off(ctx: Context) -> None:
    await ctx.store["AuditEvent"].delete_many({"ledger.number": {"$gt": 20}})


async def all_gone(ctx: Context) -> None:
    await ctx.store["AuditEvent"].delete_many({})


async def _seventh(ctx: Context) -> Event:
    found = await ctx.store["AuditEvent"].find_one({"ledger.number": 7})
    assert found is not None
    return found


async def deleted(ctx: Context) -> None:
    await ctx.store["AuditEvent"].update_one({"ledger.number": 7}, {"$set": {"deleted": True}})


async def dated(ctx: Context) -> None:
    """So that retention takes it, with all before."""
    time = ctx.now() - timedelta(days=9_999)
    await ctx.store["AuditEvent"].update_one({"ledger.number": 7}, {"$set": {"updated": time}})


async def renamed(ctx: Context) -> None:
    found = await _seventh(ctx)
    await ctx.store["AuditEvent"].delete_one({"_id": found["_id"]})
    await ctx.store["AuditEvent"].insert_one(found | {"_id": "another"})


async def copied(ctx: Context) -> None:
    await ctx.store["AuditEvent"].insert_one(await _seventh(ctx) | {"_id": "another"})


async def taken_as_old(ctx: Context) -> None:
    """As if retention had."""
    place = (await _seventh(ctx))["ledger"]
    note = {"forgotten": {"number": 7, "seal": place["seal"], "taken": b"x" * 32}}
    await ctx.store[CHECKPOINTS].update_one({"_id": place["strand"]}, {"$set": note})
    await ctx.store["AuditEvent"].delete_many({"ledger.number": {"$lte": 7}})


HARM = [
    (changed, 7),
    (taken_out, 7),
    (swapped, 7),
    (cut_off, 21),
    (all_gone, 1),
    (deleted, 7),
    (dated, 7),
    (renamed, 7),
    (copied, 8),
    (taken_as_old, 1),
]


@pytest.mark.parametrize(("harm", "number"), HARM, ids=[harm.__name__ for harm, _ in HARM])
def test_harm_is_found(kept: World, harm: Callable[[Context], Awaitable[None]], number: int) -> None:
    inside(kept.served, harm)
    assert [found.number for found in checked(kept).breaks] == [number]


def test_retention_takes_the_beginning_and_the_rest_is_whole(kept: World) -> None:
    async def older(ctx: Context) -> int:
        line = await ctx.store["AuditEvent"].find_one({"ledger.number": 11})
        assert line is not None
        return await forget(ctx.store, KEY, line["updated"])

    gone = inside(kept.served, older)
    assert 0 < gone <= 10
    assert checked(kept) == Verdict(30 - gone, 1, ())

    async def everything(ctx: Context) -> int:
        return await forget(ctx.store, KEY, ctx.now() + timedelta(days=1))

    assert inside(kept.served, everything) == 30 - gone
    assert checked(kept).breaks == ()


def test_retention_that_was_cut_off_leaves_a_ledger_that_is_whole(kept: World) -> None:
    """Killed after it was noted what goes, before that is gone; the next one takes it."""

    async def work(ctx: Context) -> list[tuple[int, int]]:
        events = await ctx.store["AuditEvent"].find({"ledger.number": {"$lte": 9}}).to_list()
        gone = await forget(ctx.store, KEY, (await _seventh(ctx))["updated"])
        await ctx.store["AuditEvent"].insert_many(events[:gone])
        verdict = await verify(ctx.store, KEY)
        assert verdict.breaks == ()
        return [(gone, verdict.lines), (await forget(ctx.store, KEY, (await _seventh(ctx))["updated"]), verdict.lines)]

    first, again = inside(kept.served, work)
    assert first[0] > 0
    assert first == again
    assert first[1] == 30 - first[0]


def test_retention_beside_it_spoils_no_verdict(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = strands.strand_ends

    async def meanwhile(store: Store) -> dict[str, int]:
        found = await ends(store)
        line = await store["AuditEvent"].find_one({"ledger.number": 11})
        assert line is not None
        await forget(store, KEY, line["updated"])
        return found

    monkeypatch.setattr(strands, "strand_ends", meanwhile)
    verdict = checked(kept)
    assert verdict.breaks == ()
    assert 20 <= verdict.lines < 30


def test_what_a_patient_did_for_another_is_in_the_record_of_the_other_alone(world: World, apps: Apps) -> None:
    """Their own proxies and apps read what lies in their own."""

    async def made(ctx: Context) -> str:
        of_two = {"patient": "q", "fhir_user": "Patient/q", "proxy_for": ["p"]}
        return (await users.create(ctx.auth, "helper", roles=["patient"], **of_two)).id

    user = inside(world.served, made)
    helper = apps(world.served, "user/*.rs", user=user)
    own = apps(world.served, "patient/*.rs", patient="q")
    asked = {
        f"of-{n}": url
        for n, url in enumerate(("Observation/o", "Observation?patient=p", "Observation?code=none&patient=p"))
    }
    for name, url in asked.items():
        assert helper.get(url, headers={"X-Request-Id": name}).status_code == 200
        for event in (events := told(world, name)):
            assert {each["who"]["identifier"]["value"] for each in event["agent"]} >= {user}
        assert events
    assert helper.get("Patient/q", headers={"X-Request-Id": "of-own"}).status_code == 200
    seen = own.get("AuditEvent?_count=500").text
    assert [name for name in (*asked, "of-own") if name in seen] == ["of-own"]
    assert '"reference":"Patient/q"' in json.encode(told(world, "of-own")[0]["agent"]).decode()
