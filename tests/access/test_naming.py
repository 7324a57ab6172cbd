"""What a record refers to is seen with it. So nobody brings about such a reference to see what is not theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from record import SECRET, document, fill, put, resource
from seam import person

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served
    from seam import Apps


@pytest.fixture(scope="module")
def house(serve: Serve) -> Served:
    return serve(open=False)


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
    for name in UNKNOWN:
        assert app.get(name).status_code == 404
        assert app.ids(f"AuditEvent?entity={name}"), "the patient sees that it was asked for"
        assert app.get(name).status_code == 404, name
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
