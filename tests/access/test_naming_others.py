"""What a record refers to is seen with it. So nobody brings about such a reference to see what is not theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from paths import NAMES
from record import SECRET, document, fill, pulse, put, resource, to
from seam import person

if TYPE_CHECKING:
    from conftest import Fhir, Resource, Serve, Served
    from seam import Apps


@pytest.fixture(scope="module")
def house(serve: Serve) -> Served:
    return serve(open=False, practitioner_access="care-team")


@pytest.fixture(scope="module")
def admin(house: Served, apps: Apps) -> Fhir:
    service: Fhir = apps(house, "system/*.cruds")
    fill(service, others=True)
    return service


@pytest.fixture(scope="module")
def patient(house: Served, admin: Fhir) -> str:
    """An account: what it does is in its own record, by the audit."""
    return person(house, "patient", patient="p", fhir_user="Patient/p")


UNKNOWN = ("Binary/other", "Practitioner/other", "Organization/other", "Location/other", "Medication/other")


@pytest.mark.parametrize("scope", ["patient/*.rs", "user/*.rs"])
def test_to_ask_for_something_does_not_bring_it_into_the_record(
    house: Served, apps: Apps, patient: str, scope: str
) -> None:
    app = apps(house, scope, "p", user=patient)
    first = {name: app.get(name).status_code for name in NAMES}
    assert [first[name] for name in UNKNOWN] == [404] * len(UNKNOWN)
    for name in UNKNOWN:
        assert app.ids(f"AuditEvent?entity={name}"), "the patient sees that it was asked for"
    assert {name: app.get(name).status_code for name in NAMES} == first
    types = [name.partition("/")[0] for name in UNKNOWN]
    for url in (*types, f"Patient/p/$everything?_type={','.join(types)}", "AuditEvent?_include=AuditEvent:entity"):
        told = {entry["fullUrl"].removeprefix(f"{app.base_url}/") for entry in app.bundle(url).get("entry", ())}
        assert told.isdisjoint(UNKNOWN), url


def test_what_a_record_names_no_more_is_not_seen_because_it_was_read_before(
    house: Served, admin: Fhir, apps: Apps, patient: str
) -> None:
    put(admin, resource("Binary/misfiled", contentType="text/plain", data="WnVzZQ=="))
    put(admin, document("misfiled", "p", "misfiled", SECRET))
    app = apps(house, "patient/*.rs", "p", user=patient)
    assert app.get("Binary/misfiled").status_code == 200
    assert app.ids("AuditEvent?entity=Binary/misfiled")
    assert admin.delete("DocumentReference/misfiled").status_code == 204
    assert app.get("Binary/misfiled").status_code == 404


def naming(name: str) -> Resource:
    """Something of a record that refers to this."""
    type_, _, id_ = name.partition("/")
    if type_ == "Binary":
        return document("x", "p", id_, "Mine now")
    return pulse("x", "p", 63, **({"device": to(name)} if type_ == "Device" else {"performer": [to(name)]}))


def answered(app: Fhir, name: str) -> tuple[int, int, int]:
    """What reading something is answered before and after a resource names it, and what that is answered."""
    before, body = app.get(name).status_code, naming(name)
    written = app.post(body["resourceType"], body)
    return before, written.status_code, app.get(name).status_code


DOCTOR = {"roles": ["practitioner"], "fhir_user": "Practitioner/doctor"}


@pytest.mark.parametrize(
    "scope",
    ["patient/*.cruds", "patient/*.cruds user/Patient.rs", "patient/*.rs user/Observation.c user/DocumentReference.c"],
)
def test_an_app_about_a_patient_keeps_to_that_when_a_practitioner_uses_it(
    house: Served, admin: Fhir, apps: Apps, scope: str
) -> None:
    put(admin, resource("Device/stray", lotNumber=SECRET))
    app = apps(house, scope, "p", user=person(house, f"doctor-{len(scope)}", **DOCTOR))
    for name in ("Practitioner/other", "Organization/other", "Device/stray", "Binary/other", "Binary/loose"):
        assert answered(app, name) == (404, 403, 404), name
    assert answered(app, "Practitioner/nurse") == (200, 201, 200), "the record names her already"


def test_a_practitioner_names_what_they_look_up(house: Served, admin: Fhir, apps: Apps) -> None:
    put(admin, resource("Device/stray", lotNumber=SECRET))
    app = apps(house, "patient/*.cruds user/*.rs", "p", user=person(house, "looks-up", **DOCTOR))
    assert answered(app, "Organization/other") == (200, 201, 200)
    assert answered(app, "Binary/other") == (404, 403, 404), "it is of a document of somebody else"
    own = apps(house, "user/*.cruds", user=person(house, "is-a-patient-too", **DOCTOR, patient="p"))
    assert answered(own, "Device/stray") == (200, 201, 200)
    assert answered(own, "Binary/other") == (404, 403, 404)


def test_a_practitioner_names_who_they_are(serve: Serve, apps: Apps) -> None:
    served = serve(open=False)
    service = apps(served, "system/*.cruds")
    for name in ("Patient/p", "Practitioner/me", "Practitioner/other"):
        put(service, resource(name))
    me = person(served, "me", roles=["practitioner"], fhir_user="Practitioner/me")
    app = apps(served, "patient/Observation.cruds", "p", user=me)
    for name, status in (("Practitioner/other", 403), ("Practitioner/me", 201)):
        assert app.post("Observation", naming(name)).status_code == status, name
