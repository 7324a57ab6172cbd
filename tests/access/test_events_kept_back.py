"""Who looked at a record: told to the patient, and to those from whom nothing of it is kept back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from consent_rules import CONFIDENTIALITY, LOINC, coding, consent, deny, permit
from record import code, document, pulse, put, resource, to
from seam import person, service

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps

Json = dict[str, Any]
HIV = (LOINC, "75622-1")
LEVELS = {each: {"security": [coding(CONFIDENTIALITY, each)]} for each in "RV"}
PAST = ["2020-01-01", "2020-12-31"]


def hiv(record: str) -> Json:
    return pulse(f"{record}-hiv", record, 70, code=code("HIV", HIV[1]))


def binary(name: str) -> Json:
    return resource(f"Binary/{name}", contentType="text/plain", data="aGk=")


# a record → what is in it beside a pulse, and who is told of it beside the patient
RECORDS: dict[str, tuple[list[Json], str]] = {
    "plain": ([], "admin aunt doctor nurse study"),
    "code": (
        [hiv("code"), consent("code", "code", deny(code=[HIV], actor="Practitioner/nurse"))],
        "admin aunt doctor study",
    ),
    "nothing-coded": (
        [consent("none", "nothing-coded", deny(code=[HIV], actor="RelatedPerson/aunt"))],
        "admin doctor nurse study",
    ),
    "all": ([consent("all", "all", deny())], ""),
    "but-doctor": ([consent("but", "but-doctor", deny(permit(actor="Practitioner/doctor")))], "doctor"),
    "but-pulses": (
        [consent("pulses", "but-pulses", deny(permit(class_="Observation"), actor="Practitioner/nurse"))],
        "admin aunt doctor study",
    ),
    "research": ([consent("research", "research", deny(purpose="HRESCH"))], "admin aunt doctor nurse"),
    "past": (
        [consent("past", "past", deny(actor="Practitioner/nurse", period=PAST))],
        "admin aunt doctor nurse study",
    ),
    "to-write": (
        [consent("write", "to-write", deny(actor="Practitioner/nurse", action="correct"))],
        "admin aunt doctor nurse study",
    ),
    "revoked": ([consent("revoked", "revoked", deny()) | {"status": "inactive"}], "admin aunt doctor nurse study"),
    "restricted": ([pulse("restricted-1", "restricted", 80, meta=LEVELS["R"])], "admin doctor"),
    "very": ([pulse("very-1", "very", 80, meta=LEVELS["V"])], ""),
    "gone": ([pulse("gone-1", "gone", 80, meta=LEVELS["V"])], ""),
    "plainly-gone": ([pulse("plainly-gone-1", "plainly-gone", 80)], "admin aunt doctor nurse study"),
    "document": (
        [binary("letter"), document("letter", "document", "letter", "a letter") | {"meta": LEVELS["R"]}],
        "admin doctor",
    ),
}
GONE = ("gone", "plainly-gone")


class Ward(NamedTuple):
    """`own` is the patient of whose record all is denied to everybody else."""

    callers: dict[str, Fhir]
    own: Fhir
    events: dict[str, str]


def looked(record: str) -> Json:
    """Somebody read the pulse of a record."""
    named = [{"what": to(f"Observation/{record}-pulse")}, {"what": to(f"Patient/{record}")}]
    return {
        "resourceType": "AuditEvent",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"identifier": {"value": "somebody"}}, "requestor": True}],
        "source": {"observer": {"display": "elsewhere"}},
        "entity": named,
    }


def listed(caller: Fhir, path: str) -> set[str]:
    found = [each["resource"] for each in caller.bundle(path)["entry"]]
    return {f"{each['resourceType']}/{each['id']}" for each in found}


@pytest.fixture(scope="module")
def ward(serve: Serve, apps: Apps) -> Ward:
    filling = serve()
    events = {}
    for name, (resources, _) in RECORDS.items():
        put(filling.client, resource(f"Patient/{name}", generalPractitioner=[to("Practitioner/doctor")]))
        for each in (pulse(f"{name}-pulse", name, 60), *resources):
            put(filling.client, each)
        events[name] = filling.client.create(looked(name))["id"]
    for name in GONE:
        assert filling.client.delete(f"Observation/{name}-1").status_code == 204
    served = serve(open=False, practitioner_access="all", database=filling.settings.database)
    staff = ("nurse", "doctor")
    made = {each: person(served, each, roles=["practitioner"], fhir_user=f"Practitioner/{each}") for each in staff}
    made["admin"] = person(served, "admin", roles=["admin"])
    made["aunt"] = person(served, "aunt", roles=["patient"], fhir_user="RelatedPerson/aunt", proxy_for=[*RECORDS])
    callers = {each: apps(served, "user/*.cruds", user=id_, client="desk") for each, id_ in made.items()}
    service(served, "study", "HRESCH")
    callers["study"] = apps(served, "system/*.cruds", client="study")
    own = person(served, "own", roles=["patient"], fhir_user="Patient/all", patient="all")
    return Ward(callers, apps(served, "user/*.cruds", user=own), events)


@pytest.mark.parametrize("who", ["admin", "aunt", "doctor", "nurse", "study"])
def test_who_is_told_who_looked_at_a_record(ward: Ward, who: str) -> None:
    caller = ward.callers[who]
    told = {record for record, (_, whom) in RECORDS.items() if who in whom.split()}
    events = {event: record for record, event in ward.events.items()}
    assert {events[id_] for id_ in caller.ids("AuditEvent?agent:identifier=somebody&_count=100")} == told
    assert caller.bundle("AuditEvent?agent:identifier=somebody&_summary=count")["total"] == len(told)
    assert {*caller.ids("Patient?_has:AuditEvent:patient:agent:identifier=somebody&_count=100")} == told
    for record, event in ward.events.items():
        status = 200 if record in told else 404
        assert caller.get(f"AuditEvent/{event}").status_code == status, record
    versions = listed(caller, "AuditEvent/_history?_count=500")
    beside = listed(caller, f"Patient?_id={','.join(RECORDS)}&_count=100&_revinclude=AuditEvent:patient")
    for record in ("code", "very", "gone", "plain", "document"):
        path = f"AuditEvent/{ward.events[record]}"
        assert (path in versions, path in beside) == (record in told, record in told), record
        for asked in (f"{path}/_history", f"{path}/_history/1"):
            assert caller.get(asked).status_code == (200 if record in told else 404), asked


def test_patients_are_always_told(ward: Ward) -> None:
    assert ward.own.ids("AuditEvent?agent:identifier=somebody") == [ward.events["all"]]


def test_services_add_events_that_they_are_not_told(ward: Ward) -> None:
    added = ward.callers["study"].post("AuditEvent", looked("very"))
    assert added.status_code == 201
    assert ward.callers["study"].get(added.headers["location"]).status_code == 404


def test_what_is_no_patients_is_not_named_either(ward: Ward) -> None:
    named = [
        resource("Organization/secret", name="Ward", meta=LEVELS["R"]),
        resource("Organization/other", name="Other"),
    ]
    admin, study = ward.callers["admin"], ward.callers["study"]
    for each in named:
        put(admin, each)
    for caller, seen in ((admin, {"secret", "other"}), (study, {"other"})):
        assert {name for name in ("secret", "other") if caller.ids(f"AuditEvent?entity=Organization/{name}")} == seen
    letter = "AuditEvent?entity=Binary/letter"
    assert admin.get("Binary/letter").status_code == 200
    assert admin.ids(letter)
    assert ward.callers["study"].ids(letter) == []


@pytest.mark.parametrize(
    "subject",
    [{"identifier": {"system": "urn:mrn", "value": "1"}}, to("https://o.example/fhir/Patient/1"), to("Location/x")],
    ids=["by identifier", "elsewhere", "a place"],
)
def test_what_is_restricted_and_somebodys_elsewhere_is_not_named(
    ward: Ward, subject: Json, request: pytest.FixtureRequest
) -> None:
    name = f"logical-{request.node.callspec.id.replace(' ', '-')}"
    admin, study = ward.callers["admin"], ward.callers["study"]
    put(admin, resource("Location/x", name="x"))
    put(admin, pulse(name, "x", 60) | {"subject": subject, "meta": LEVELS["R"]})
    assert study.get(f"Observation/{name}").status_code == 404
    assert study.ids(f"AuditEvent?entity=Observation/{name}") == []
    assert admin.ids(f"AuditEvent?entity=Observation/{name}")


def test_events_about_somebody_elsewhere_are_told(ward: Ward) -> None:
    event = {key: value for key, value in looked("plain").items() if key != "entity"}
    for what in (to("https://o.example/fhir/Patient/1"), {"type": "Patient", "identifier": {"value": "1"}}):
        made = ward.callers["study"].post("AuditEvent", event | {"entity": [{"what": what}]})
        assert made.status_code == 201, made.text
        for who in ("study", "admin"):
            assert ward.callers[who].get(f"AuditEvent/{made.json()['id']}").status_code == 200
