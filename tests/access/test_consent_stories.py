"""What a consent or a label does beside hiding: to writes, versions, documents, emergencies, and at which moment."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from consent_rules import ACT_CODE, CONFIDENTIALITY, LOINC, coding, concept, consent, deny, permit, said
from official import EXAMPLES, beside, examples
from record import code, document, pulse, put, resource, summary, to
from seam import person

from fhirserver.fhir import json

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served
    from seam import Apps

Json = dict[str, Any]
HIV = code("HIV", "75622-1")
REASON = "unconscious after a fall, allergies are needed"


def labelled(level: str, **more: Any) -> Json:
    return {"meta": {"security": [coding(CONFIDENTIALITY, level)]}} | more


def changed(provision: Json, *names: str) -> Json:
    """With something in these elements that nobody here knows, and that changes what they say."""
    unknown = {"modifierExtension": [{"url": "http://x.example/unknown", "valueBoolean": True}]}
    return provision | {name: [each | unknown for each in provision[name]] for name in names}


class House(NamedTuple):
    """A served record: who runs it, a doctor who may open all records, a service, and apps of others."""

    served: Served
    open: Fhir
    doctor: Fhir
    service: Fhir
    apps: Apps

    def someone(self, login: str, **values: Any) -> Fhir:
        return self.apps(self.served, "user/*.cruds", user=person(self.served, login, **values))


@pytest.fixture(scope="module")
def house(serve: Serve, apps: Apps) -> House:
    served = serve(open=False)
    running = serve(database=served.settings.database).client
    for each in ("doctor", "nurse"):
        put(running, resource(f"Practitioner/{each}"))
    who = person(served, "doctor", roles=["practitioner"], fhir_user="Practitioner/doctor")
    doctor = apps(served, "user/*.cruds", user=who)
    return House(served, running, doctor, apps(served, "system/*.cruds", client="service"), apps)


def patient(house: House, name: str, *resources: Json) -> None:
    for each in (resource(f"Patient/{name}"), *resources):
        put(house.open, each)
    settled(house, name)


def settled(house: House, name: str) -> None:
    """What another server wrote is told here some milliseconds later."""
    probe = f"Consent/{name}-settled"
    put(house.open, consent(f"{name}-settled", name, deny(class_="Coverage")))
    put(
        house.open,
        resource(
            f"Coverage/{name}",
            status="active",
            beneficiary=to(f"Patient/{name}"),
            payor=[to("#x")],
            contained=[resource("Organization/x", name="x")],
        ),
    )
    deadline = time.monotonic() + 10
    while house.service.get(f"Coverage/{name}").status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert house.service.get(f"Coverage/{name}").status_code == 404, probe


def test_of_their_own_record_nothing_is_kept_from_a_patient(house: House) -> None:
    patient(house, "own", pulse("own", "own", 60, **labelled("V")), consent("own", "own", deny()))
    own = house.someone("own", roles=["patient"], patient="own")
    mother = house.someone("mother", roles=["patient"], proxy_for=["own"])
    of_app = house.apps(house.served, "patient/*.rs", "own", user=person(house.served, "own2", patient="own"))
    for name in ("Patient/own", "Observation/own", "Consent/own", "Observation/own/_history/1"):
        assert own.get(name).status_code == 200, name
        assert of_app.get(name).status_code == 200, name
        assert mother.get(name).status_code == (200 if name == "Consent/own" else 404), name
    assert own.ids("Observation") == ["own"]
    assert mother.ids("Observation") == []
    record = own.bundle("Patient/own/$everything")["entry"]
    assert {each["resource"]["resourceType"] for each in record} >= {"Patient", "Observation", "Consent"}


def test_a_consent_counts_with_the_next_request(house: House) -> None:
    patient(house, "next", pulse("next", "next", 60))
    own = house.someone("next", roles=["patient"], patient="next")
    for _ in range(5):
        stored = own.create({k: v for k, v in consent("x", "next", deny(class_="Observation")).items() if k != "id"})
        assert house.doctor.get("Observation/next").status_code == 404
        assert house.doctor.ids("Observation?_id=next") == []
        assert own.put(f"Consent/{stored['id']}", stored | {"status": "inactive"}).status_code == 200
        assert house.doctor.get("Observation/next").status_code == 200
        assert house.doctor.ids("Observation?_id=next") == ["next"]
    transaction = {"request": {"method": "PUT", "url": f"Consent/{stored['id']}"}, "resource": stored}
    assert own.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [transaction]}).status_code == 200
    assert house.doctor.get("Observation/next").status_code == 404
    assert own.delete(f"Consent/{stored['id']}").status_code == 204
    assert house.doctor.get("Observation/next").status_code == 200


def test_care_of_which_no_date_is_told_goes_by_when_it_was_written(house: House) -> None:
    daily = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}
    order = {"status": "active", "intent": "order", "subject": to("Patient/daily"), "occurrenceTiming": daily}
    patient(house, "daily", resource("ServiceRequest/daily", **order), pulse("daily", "daily", 60))
    put(house.open, consent("daily", "daily", deny(dates=["2026-01-01"])))
    settled(house, "daily")
    for app in (house.doctor, house.service):
        assert app.get("ServiceRequest/daily").status_code == 404
        assert app.ids("ServiceRequest?patient=daily") == []
    put(house.open, consent("daily", "daily", deny(dates=[None, "2025-12-31"])))
    settled(house, "daily")
    for app in (house.doctor, house.service):
        assert app.get("ServiceRequest/daily").status_code == 200
        assert app.ids("ServiceRequest?patient=daily") == ["daily"]


def test_documents_go_by_the_care_that_they_are_about_else_by_their_date(house: House) -> None:
    body = {"status": "current", "subject": to("Patient/dated"), "content": [{"attachment": {"title": "x"}}]}
    care, date = {"context": {"period": {"start": "2020-05"}}}, {"date": "2021-05-05T00:00:00Z"}
    patient(
        house,
        "dated",
        resource("DocumentReference/about", **(body | date | {"context": {"period": {"end": "2020-05"}}})),
        resource("DocumentReference/of", **(body | date)),
        resource("DocumentReference/on", **(body | care)),
    )
    hidden = {("2020", "2020"): ["about", "on"], ("2021", "2021"): ["of", "on"], ("2019", "2019"): ["about"]}
    for dates, names in hidden.items():
        put(house.open, consent("dated", "dated", deny(dates=[*dates])))
        settled(house, "dated")
        left = [each for each in ("about", "of", "on") if each not in names]
        assert house.service.ids("DocumentReference?patient=dated&_sort=_id") == left
        seen = [name for name in ("about", "of", "on") if house.doctor.get(f"DocumentReference/{name}").is_success]
        assert seen == left


def test_what_may_be_seen_and_not_changed_is_forbidden_and_what_is_hidden_is_not_there(house: House) -> None:
    patient(
        house,
        "written",
        pulse("seen", "written", 60),
        pulse("hidden", "written", 61, code=HIV),
        consent("written-1", "written", deny(code=(LOINC, "75622-1"), action="access")),
        consent("written-2", "written", deny(class_="Observation", action=["correct", "collect"])),
    )
    for app in (house.doctor, house.service):
        assert app.put("Observation/seen", pulse("seen", "written", 70)).status_code == 403
        assert app.patch("Observation/seen", [{"op": "add", "path": "/language", "value": "de"}]).status_code == 403
        assert app.delete("Observation/seen").status_code == 403
        assert app.patch("Observation/hidden", [{"op": "add", "path": "/language", "value": "de"}]).status_code == 404
        assert app.delete("Observation/hidden").status_code == 204
        body = {key: value for key, value in pulse("x", "written", 62).items() if key != "id"}
        assert app.post("Observation", body).status_code == 403
        entry = {"request": {"method": "POST", "url": "Observation"}, "resource": body}
        answer = app.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
        assert answer.status_code == 403, answer.text
        condition = {"resourceType": "Condition", "subject": to("Patient/written")}
        assert app.post("Condition", condition).status_code == 201
        found = app.post("Observation", body, headers={"If-None-Exist": "code=75622-1&patient=written"})
        assert found.status_code == 403
    assert house.open.get("Observation/hidden").status_code == 200


def test_nobody_lifts_a_consent_that_is_about_them(house: House) -> None:
    patient(house, "firm", consent("firm", "firm", deny(actor=["Practitioner/doctor", "service"])))
    for app in (house.doctor, house.service):
        assert app.get("Consent/firm").status_code == 200
        assert app.put("Consent/firm", consent("firm", "firm", permit())).status_code == 403
        assert app.delete("Consent/firm").status_code == 403
        assert app.get("Patient/firm").status_code == 404


def test_a_label_is_not_put_where_it_could_not_be_seen(house: House) -> None:
    patient(house, "label", pulse("plain", "label", 60))
    body = {key: value for key, value in pulse("x", "label", 61, **labelled("R")).items() if key != "id"}
    assert house.service.post("Observation", body).status_code == 403
    assert house.doctor.post("Observation", body).status_code == 403  # who does not care for the patient
    assert house.doctor.put("Observation/plain", pulse("plain", "label", 60, **labelled("V"))).status_code == 403
    put(house.open, resource("Patient/label", generalPractitioner=[to("Practitioner/doctor")]))
    settled(house, "label")
    created = house.doctor.create(body)
    assert house.doctor.get(f"Observation/{created['id']}").status_code == 200
    assert house.service.get(f"Observation/{created['id']}").status_code == 404
    assert house.service.delete(f"Observation/{created['id']}").status_code == 204
    assert house.doctor.get(f"Observation/{created['id']}").status_code == 200


def test_versions_from_before_a_label_and_what_was_deleted_are_hidden_with_it(house: House) -> None:
    patient(house, "past", pulse("past", "past", 60), pulse("gone", "past", 61, **labelled("R")))
    put(house.open, pulse("past", "past", 60, **labelled("R")))
    assert house.open.delete("Observation/gone").status_code == 204
    for name in ("past", "gone"):
        for place in ("", "/_history", "/_history/1", "/_history/2"):
            assert house.service.get(f"Observation/{name}{place}").status_code == 404, (name, place)
    history = house.service.bundle("Observation/_history?_count=100").get("entry", [])
    assert not [each for each in history if each["fullUrl"].rpartition("/")[2] in ("past", "gone")]
    put(house.open, pulse("past", "past", 60))  # without the label again: its labelled version stays hidden
    assert house.service.get("Observation/past").status_code == 200
    assert house.service.get("Observation/past/_history/1").status_code == 200
    assert house.service.get("Observation/past/_history/2").status_code == 404
    assert len(house.service.bundle("Observation/past/_history")["entry"]) == 2


def test_a_search_for_labels_finds_those_that_are_seen_and_tells_of_no_others(house: House) -> None:
    sensitive = {"meta": {"security": [coding(ACT_CODE, "HIV")]}}
    patient(
        house,
        "search",
        pulse("open", "search", 60, **sensitive),
        pulse("closed", "search", 61, **labelled("V")),
    )
    about = "Observation?patient=search"
    for app in (house.doctor, house.service):
        assert app.ids(f"{about}&_security={ACT_CODE}|HIV") == ["open"]
        for asked in (f"_security={CONFIDENTIALITY}|V", "_security=V", "_security:not=HIV"):
            assert app.ids(f"{about}&{asked}") == [], asked
            for total in ("_total=accurate&_count=1", "_summary=count", "_total=estimate&_count=1", "_count=0"):
                assert app.bundle(f"{about}&{asked}&{total}")["total"] == 0, (asked, total)
        assert app.bundle(f"{about}&_total=estimate&_count=1")["total"] == 1
        for way in (
            "_has:Observation:subject:_security=V",
            "_has:Observation:patient:value-quantity=61",
        ):
            assert app.ids(f"Patient?_id=search&{way}") == [], way


def test_the_content_of_a_document_is_hidden_with_it(house: House) -> None:
    patient(
        house,
        "papers",
        document("papers", "papers", "papers", "HIV") | {"type": HIV},
        document("other-papers", "papers", "other-papers", "Cold"),
        resource("Binary/papers", contentType="text/plain", data="aGk="),
        resource("Binary/other-papers", contentType="text/plain", data="aGk="),
        resource(
            "Binary/secured", contentType="text/plain", data="aGk=", securityContext=to("DocumentReference/papers")
        ),
        consent("papers", "papers", deny(code=(LOINC, "75622-1"))),
    )
    mother = house.someone("papers", roles=["patient"], proxy_for=["papers"])
    own = house.someone("papers-own", roles=["patient"], patient="papers")
    for app in (house.doctor, house.service, mother):
        assert app.get("DocumentReference/papers").status_code == 404
        assert app.get("Binary/papers").status_code == 404
        assert app.get("Binary/secured").status_code == 404
        assert app.get("Binary/papers/_history/1").status_code == 404
        assert app.get("Binary/other-papers").status_code == 200
        assert {"papers", "secured"}.isdisjoint(app.ids("Binary?_count=100"))
        assert "other-papers" in app.ids("Binary?_count=100")
    assert own.get("Binary/papers").status_code == 200


def papers(name: str, url: str, **more: Any) -> Json:
    return document(name, "folder", "x", "HIV") | {"content": [{"attachment": {"url": url}}]} | more


def binary(name: str, **more: Any) -> Json:
    return resource(f"Binary/{name}", contentType="text/plain", data="aGk=", **more)


def test_the_content_of_a_document_stays_hidden_whatever_becomes_of_the_document(house: House) -> None:
    """Named with its version, or no more: its last version that has it says whether it is seen."""
    base = house.open.base_url
    names = ("version", "absolute", "gone", "secures", "before", "unmarked", "public", "again", "moved")
    patient(
        house,
        "folder",
        *(binary(each) for each in names if each != "secures"),
        papers("version", "Binary/version/_history/1", type=HIV),
        papers("absolute", f"{base}/Binary/absolute/_history/1", type=HIV),
        papers("gone", "Binary/gone", type=HIV),
        papers("secures", "https://elsewhere.example/1", type=HIV),
        binary("secures", securityContext=to("DocumentReference/secures")),
        papers("before", "Binary/before", type=HIV),
        papers("unmarked", "Binary/unmarked", **labelled("V")),
        papers("public", "Binary/public"),
        papers("again", "Binary/again", type=HIV),
        papers("moved", "Binary/moved", type=HIV),
        consent("folder", "folder", deny(code=(LOINC, "75622-1"))),
    )
    for each in ("gone", "secures", "public"):
        assert house.open.delete(f"DocumentReference/{each}").status_code == 204
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "request": {"method": "PUT", "url": f"DocumentReference/{each['id']}"},
                "resource": each,
            }
            for each in (
                papers("before", "https://elsewhere.example/1", type=HIV),
                papers("unmarked", "https://elsewhere.example/1"),  # and it is labelled no more
            )
        ],
    }
    assert house.open.request("POST", "", json=bundle).status_code == 200
    for url in ("https://elsewhere.example/1", "Binary/again"):  # the last time it is for all to see
        put(house.open, papers("again", url))
    put(house.open, papers("moved", "https://elsewhere.example/1", type=HIV))
    own = house.someone("folder-own", roles=["patient"], patient="folder")
    shown = {"public", "again"}
    for app in (house.doctor, house.service):
        for each in names:
            for path in (f"Binary/{each}", f"Binary/{each}/_history/1"):
                assert app.get(path).status_code == (200 if each in shown else 404), path
        found = f"Binary?_id={','.join(names)}&_count=100"
        assert {*app.ids(found)} == shown
        listed = app.bundle("Binary/_history?_count=500")["entry"]
        assert {each["resource"]["id"] for each in listed}.intersection(names) == shown
    for each in ("version", "absolute"):
        assert own.get(f"Binary/{each}").status_code == 200, each


@pytest.mark.parametrize(
    ("number", "form"),
    [*enumerate(("Binary/{}#page=2", "Binary/{}?x=1", "Binary/{}/", "/Binary/{}", "./Binary/{}", "{base}//Binary/{}"))],
)
def test_the_content_of_a_document_is_hidden_however_its_url_is_written(house: House, number: int, form: str) -> None:
    name = f"spelt-{number}"
    url = form.format(name, base=house.open.base_url)
    patient(house, "spelt", binary(name), papers(name, url, **labelled("V")) | {"subject": to("Patient/spelt")})
    own = house.someone(f"own-{name}", roles=["patient"], patient="spelt")
    for app, status in ((house.doctor, 404), (house.service, 404), (own, 200)):
        assert app.get(f"Binary/{name}").status_code == status
        assert app.ids(f"Binary?_id={name}") == ([name] if status == 200 else [])


def test_of_two_who_change_a_document_at_once_neither_opens_what_it_had(house: House) -> None:
    patient(house, "raced", *(binary(f"raced-{each}") for each in "ab"))

    def with_(*names: str) -> Json:
        attachments = [{"attachment": {"url": f"Binary/raced-{each}"}} for each in names]
        return papers("raced", "x", **labelled("V")) | {"content": attachments}

    put(house.open, with_("a", "b"))
    for _ in range(12):
        version = house.open.get("DocumentReference/raced").headers["etag"]
        headers = {"If-Match": version}
        with ThreadPoolExecutor(2) as pool:
            put_ = partial(house.open.put, "DocumentReference/raced", headers=headers)
            asked = [pool.submit(put_, with_(each)) for each in "ab"]
        assert sorted(each.result().status_code for each in asked) == [200, 412]
        assert [house.doctor.get(f"Binary/raced-{each}").status_code for each in "ab"] == [404, 404]
        put(house.open, with_("a", "b"))


def test_nobody_takes_what_two_records_share_from_the_other(house: House) -> None:
    """By a document of theirs that is labelled, and then has it no more."""
    leaflet = [papers(f"leaflet-{name}", "Binary/leaflet") | {"subject": to(f"Patient/shared-{name}")} for name in "pq"]
    patient(house, "shared-p", binary("leaflet"), resource("Patient/shared-q"), *leaflet)
    p, q = (house.someone(f"shared-{each}", roles=["patient"], patient=f"shared-{each}") for each in "pq")
    hidden = {key: value for key, value in leaflet[0].items() if key != "id"} | labelled("V")
    made = p.post("DocumentReference", hidden)
    assert made.status_code == 201, made.text
    assert q.get("Binary/leaflet").status_code == 200
    id_ = made.json()["id"]
    assert p.put(
        f"DocumentReference/{id_}", hidden | {"id": id_, "content": [{"attachment": {"title": "x"}}]}
    ).is_success
    for ending in (lambda: None, lambda: p.delete(f"DocumentReference/{id_}")):
        ending()
        for app in (p, q, house.doctor, house.service):
            assert app.get("Binary/leaflet").status_code == 200
            assert app.ids("Binary?_id=leaflet") == ["leaflet"]


def test_a_label_that_a_document_had_counts_where_nothing_else_is_labelled(serve: Serve, apps: Apps) -> None:
    running = serve()
    put(running.client, resource("Patient/folder"))
    put(running.client, binary("unmarked"))
    put(running.client, papers("unmarked", "Binary/unmarked", **labelled("V")))
    put(running.client, papers("unmarked", "https://elsewhere.example/1"))
    served = serve(open=False, database=running.settings.database)
    service = apps(served, "system/*.cruds", client="service")
    assert service.get("Binary/unmarked").status_code == 404
    assert service.ids("Binary?_id=unmarked") == []
    assert service.get("DocumentReference/unmarked").status_code == 200


@pytest.mark.parametrize(
    ("said_", "more", "cared"),
    [
        (deny(class_="Bundle"), {}, 404),
        (deny(), {}, 404),
        (None, labelled("R"), 200),
        (None, labelled("V"), 404),
        (None, {}, 200),
    ],
    ids=["its class", "all", "restricted", "very restricted", "nothing"],
)
def test_a_document_is_in_the_record_of_the_patient_whom_it_is_about(
    house: House, said_: Json | None, more: Json, cared: int, request: pytest.FixtureRequest
) -> None:
    name = f"summed-{request.node.callspec.id.replace(' ', '-')}"
    consents = [consent(name, name, said_)] if said_ else []
    patient(house, name, summary(name, name, "Summary") | more, *consents)
    put(house.open, resource(f"Patient/{name}", generalPractitioner=[to("Practitioner/doctor")]))
    own = house.someone(f"own-{name}", roles=["patient"], patient=name)
    nurse = house.someone(f"nurse-{name}", roles=["practitioner"], fhir_user="Practitioner/nurse")
    other = house.someone(f"other-{name}", roles=["patient"], patient="nobody")
    free = 200 if said_ is None and not more else 404
    for app, status in ((own, 200), (house.doctor, cared), (nurse, free), (house.service, free), (other, 404)):
        assert app.get(f"Bundle/{name}").status_code == status
        assert app.ids(f"Bundle?_id={name}") == ([name] if status == 200 else [])


def test_a_document_of_nobody_here_that_is_restricted_is_for_administrators(house: House) -> None:
    put(house.open, resource("Patient/elsewhere"))
    put(house.open, summary("elsewhere", "elsewhere", "Summary", "http://other.example/") | labelled("R"))
    own = house.someone("own-elsewhere", roles=["patient"], patient="elsewhere")
    admin = house.someone("admin-elsewhere", roles=["admin"])
    for app, status in ((own, 404), (house.doctor, 404), (house.service, 404), (admin, 200)):
        assert app.get("Bundle/elsewhere").status_code == status


def test_what_is_hidden_shows_nothing_of_what_it_refers_to(house: House) -> None:
    seen, hidden = pulse("a", "refers", 60, performer=[to("Practitioner/doctor")]), pulse("b", "refers", 61, code=HIV)
    hidden |= {"performer": [to("Practitioner/nurse")]}
    patient(house, "refers", seen, hidden, consent("refers", "refers", deny(code=(LOINC, "75622-1"))))
    mother = house.someone("refers", roles=["patient"], proxy_for=["refers"])
    own = house.someone("refers-own", roles=["patient"], patient="refers")
    assert mother.ids("Practitioner") == ["doctor"]
    assert sorted(own.ids("Practitioner")) == ["doctor", "nurse"]


def test_in_an_emergency_what_was_denied_is_seen_and_the_patient_reads_why(house: House) -> None:
    patient(
        house,
        "urgent",
        pulse("urgent", "urgent", 60),
        pulse("urgent-v", "urgent", 61, **labelled("V")),
        pulse("urgent-never", "urgent", 62, code=HIV),
        consent("urgent", "urgent", deny()),
        consent("never", "urgent", deny(code=(LOINC, "75622-1"), purpose="ETREAT")),
    )
    rescuer = house.someone("rescuer", roles=["practitioner"], fhir_user="Practitioner/rescuer")
    names = ("Patient/urgent", "Observation/urgent", "Observation/urgent-v")
    assert [rescuer.get(each).status_code for each in names] == [404, 404, 404]
    assert rescuer.post(f"Patient/urgent/$break-glass?reason={REASON}").status_code == 200
    assert [rescuer.get(each).status_code for each in names] == [200, 200, 200]
    assert sorted(rescuer.ids("Observation?patient=urgent")) == ["urgent", "urgent-v"]
    assert rescuer.get("Observation/urgent-never").status_code == 404
    assert house.doctor.get("Observation/urgent").status_code == 404
    own = house.someone("urgent", roles=["patient"], patient="urgent")
    events = [each["resource"] for each in own.bundle("AuditEvent?agent=Practitioner/rescuer&_count=50")["entry"]]
    seen = [each for each in events if each["subtype"][0]["code"] in ("read", "search-type") and each["outcome"] == "0"]
    assert len(seen) >= 4
    for event in seen:
        assert event["purposeOfEvent"][0]["coding"][0]["code"] == "ETREAT", event


def test_administrators_read_that_consents_narrow_a_search(house: House) -> None:
    patient(house, "plan", pulse("plan", "plan", 60), consent("plan", "plan", deny(actor="Practitioner/nurse")))
    admin = house.someone("plan", roles=["admin"])
    answer = admin.get("Observation/$explain?patient=plan")
    assert answer.status_code == 200, answer.text
    assert "consents and security labels" in answer.text
    assert admin.ids("Observation?patient=plan") == ["plan"]


def test_what_an_emergency_shows_is_not_shown_for_good_by_who_writes_then(house: House) -> None:
    """Whoever may open all records: neither a team that is restricted, nor a label taken off, nor a move."""
    restricted = pulse("urgent-r", "urgent-all", 60, **labelled("R"))
    team = resource("CareTeam/urgent-r", status="active", subject=to("Patient/urgent-all"), **labelled("R"))
    patient(house, "urgent-all", restricted, team, pulse("urgent-n", "urgent-all", 61))
    rescuer = house.someone("rescuer-all", roles=["practitioner"], fhir_user="Practitioner/rescuer")
    assert rescuer.get("Observation/urgent-r").status_code == 404
    assert rescuer.post(f"Patient/urgent-all/$break-glass?reason={REASON}").status_code == 200
    assert rescuer.get("Observation/urgent-r").status_code == 200
    mine = {"participant": [{"member": to("Practitioner/rescuer")}]}
    plain = {key: value for key, value in restricted.items() if key != "meta"}
    for path, body in (("CareTeam/urgent-r", team | mine), ("Observation/urgent-r", plain)):
        refused = rescuer.put(path, body)
        assert refused.status_code == 403, refused.text
        assert "emergency" in refused.text
    unlabelled = [{"op": "remove", "path": "/meta/security"}]
    assert rescuer.request("PATCH", "Observation/urgent-r", json=unlabelled, headers=JSON_PATCH).status_code == 403
    new = {key: value for key, value in (team | mine).items() if key != "id"}
    assert rescuer.post("CareTeam", new).status_code == 403
    assert rescuer.put("Observation/urgent-r", restricted | {"note": [{"text": "seen"}]}).status_code == 200
    assert rescuer.put("Observation/urgent-n", pulse("urgent-n", "urgent-all", 62)).status_code == 200


def test_labels_may_be_ignored_and_consents_still_name_them(serve: Serve, house: House, apps: Apps) -> None:
    served = serve(open=False, database=house.served.settings.database, security_labels="ignored")
    patient(
        house,
        "ignored",
        pulse("ignored", "ignored", 60, **labelled("V")),
        pulse("named", "ignored", 61, meta={"security": [coding(ACT_CODE, "ETH")]}),
        consent("ignored", "ignored", deny(label="ETH")),
    )
    service = apps(served, "system/*.rs", client="service")
    assert service.get("Observation/ignored").status_code == 200
    assert service.get("Observation/named").status_code == 404
    assert house.service.get("Observation/ignored").status_code == 404


@pytest.mark.parametrize(
    ("provision", "more", "places"),
    [
        (deny(class_="Observation"), {}, []),
        (deny(actor={"display": "my neighbour"}), {}, ["Consent.provision.actor[0]"]),
        (
            permit(deny(code={"text": "HIV"}, purpose="NONSENSE")),
            {},
            ["Consent.provision.provision[0].purpose[0]", "Consent.provision.provision[0].code[0]"],
        ),
        (
            changed(permit(actor="Practitioner/doctor", data=("instance", "Observation/x")), "actor", "data"),
            {},
            ["Consent.provision.actor[0].modifierExtension", "Consent.provision.data[0].modifierExtension"],
        ),
        (said(None, actor="Practitioner/doctor"), {}, ["Consent.provision.type"]),
        (deny(), {"policyRule": {"text": "opt-out"}}, ["Consent.policyRule"]),
        (deny(), {"status": "draft"}, ["Consent"]),
        (deny(), {"scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", "research")}, ["Consent"]),
    ],
    ids=[
        *("clear", "somebody by name", "a text and no purpose", "changed by what is not known"),
        *("an exception that does not say so", "a policy in words", "a draft", "research"),
    ],
)
def test_who_writes_a_consent_is_told_what_of_it_cannot_be_kept(
    house: House, provision: Json, more: Json, places: list[str]
) -> None:
    put(house.open, resource("Patient/told"))
    body = {key: value for key, value in consent("x", "told", provision, **more).items() if key != "id"}
    answer = house.service.post("Consent", body, headers=ASKING)
    assert answer.status_code == 201, answer.text
    assert told(answer.json()) == places
    made = answer.headers["location"].partition("/_history")[0].rpartition("/")[2]
    assert house.open.delete(f"Consent/{made}").status_code == 204
    for path in ("Consent/$validate", "$validate"):
        assert told(house.open.post(path, body).json()) == places
    told_of = {"patient": to("urn:uuid:0b2c9c1e-7a55-4d2c-8f0e-6a6f3c7f3d11")}
    entries = [
        {
            "fullUrl": told_of["patient"]["reference"],
            "request": {"method": "POST", "url": "Patient"},
            "resource": {"resourceType": "Patient"},
        },
        {"request": {"method": "POST", "url": "Consent"}, "resource": body | told_of},
    ]
    here = [f"Bundle.entry[1].resource{each.removeprefix('Consent')}" for each in places]
    transaction = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert told(house.open.post("Bundle/$validate", transaction).json()) == here
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entries[0], entries[1] | {"resource": body}]}
    for bundle in (transaction, batch):
        responses = house.service.post("", bundle).json()["entry"]
        assert "outcome" not in responses[0]["response"]
        assert told(responses[1]["response"].get("outcome", {})) == here
        made = responses[1]["response"]["location"].partition("/_history")[0]
        assert house.open.delete(made).status_code == 204
    collected = {"fullUrl": "urn:uuid:5d6d1c0e-1f56-4a0e-9d0e-3c1b6a4c9d52", "resource": body}
    collection = {"resourceType": "Bundle", "type": "collection", "entry": [collected]}
    kept = house.open.post("Bundle", collection, headers=ASKING)
    assert told(kept.json()) == ["Bundle"]


def test_a_permit_to_somebody_changed_by_what_is_not_known_opens_nothing(house: House) -> None:
    opening = permit(actor="Practitioner/doctor", label="V")
    patient(house, "modified", pulse("opened", "modified", 60, **labelled("V")))
    for provision, status in ((changed(opening, "actor"), 404), (opening, 200)):
        put(house.open, consent("opening", "modified", provision))
        settled(house, "modified")
        assert house.doctor.get("Observation/opened").status_code == status


@beside(EXAMPLES)
@pytest.mark.parametrize(
    ("name", "permitted", "others"),
    [
        ("Out", 200, 404),  # all but the hospital
        ("grantor", 200, 404),  # for whom it is meant to be open
        ("notAuthor", 404, 200),  # only the hospital
        ("notOrg", 404, 200),
        ("Emergency", 404, 404),  # the hospital in emergencies only
        ("basic", 200, 200),  # it is over
        ("pkb", 200, 404),
    ],
)
def test_the_examples_of_r4_are_read_as_exceptions_to_their_policy(
    house: House, name: str, permitted: int, others: int
) -> None:
    """Not as they were written, which differs from one to the other, but as the specification has it."""
    example = json.decode(examples()[f"Consent-consent-example-{name}"])
    record = f"example-{name.lower()}"
    f001 = resource("Organization/f001", name="Good Health")
    role = resource(
        "PractitionerRole/f001", practitioner=to("Practitioner/nurse"), organization=to("Organization/f001")
    )
    patient(house, record, f001, role, pulse(f"of-{record}", record, 60))
    example = {key: example[key] for key in ("resourceType", "status", "scope", "category", "policyRule", "provision")}
    put(house.open, example | {"id": record, "patient": to(f"Patient/{record}")})
    settled(house, record)
    nurse = house.someone(f"nurse-{record}", roles=["practitioner"], fhir_user="Practitioner/nurse")
    assert nurse.get(f"Observation/of-{record}").status_code == permitted
    assert house.service.get(f"Observation/of-{record}").status_code == others


JSON_PATCH = {"Content-Type": "application/json-patch+json"}
ASKING = {"Prefer": "return=OperationOutcome"}


def told(outcome: Json) -> list[str]:
    """Where a Consent says what is not kept to."""
    kind = ("warning", "not-supported")
    return [each["expression"][0] for each in outcome.get("issue", ()) if (each["severity"], each["code"]) == kind]


def test_the_consents_of_a_patient_who_was_merged_are_about_their_own_record_until_they_are_moved(house: House) -> None:
    old = resource("Patient/merged", active=False, link=[{"other": to("Patient/kept"), "type": "replaced-by"}])
    kept = consent("merged", "merged", deny(class_="Observation"))
    for each in (resource("Patient/kept"), old, pulse("of-merged", "merged", 60), pulse("of-kept", "kept", 60), kept):
        put(house.open, each)
    settled(house, "merged")
    assert house.service.get("Observation/of-merged").status_code == 404
    assert house.service.get("Observation/of-kept").status_code == 200
    moved = [pulse("of-merged", "kept", 60), kept | {"patient": to("Patient/kept")}]
    entries = [
        {"request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}, "resource": each}
        for each in moved
    ]
    done = house.open.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert done.status_code == 200, done.text
    settled(house, "kept")
    for name in ("of-merged", "of-kept"):
        assert house.service.get(f"Observation/{name}").status_code == 404
