"""What is kept of whose records somebody may open: it ends with what says so, on all servers, and with its time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from record import pulse, put, resource, to
from seam import person

from fhirserver.consents.opening import MOST, MOST_IDS, Openable, Opening

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEAM = resource("CareTeam/team", status="active", subject=to("Patient/p"))
MEMBER = {"participant": [{"member": to("Practitioner/nurse")}]}
AUNT = resource("RelatedPerson/aunt", active=True, patient=to("Patient/p"))


def test_what_is_kept_ends_with_a_change_with_its_time_and_where_nobody_tells() -> None:
    opening, found = Opening(), Openable(("p",), NOW + timedelta(hours=1))
    opening.keep("nurse", found, opening.epoch)
    assert opening.get("nurse", NOW) is None
    opening.heard()
    assert opening.get("nurse", NOW) == found
    assert opening.get("doctor", NOW) is None
    assert opening.get("nurse", NOW + timedelta(hours=1)) is None
    opening.changed()
    assert opening.get("nurse", NOW) is None
    began = opening.epoch
    opening.changed()
    opening.keep("nurse", found, began)  # somebody wrote while it was looked up
    assert opening.get("nurse", NOW) is None


def test_what_is_kept_is_bounded() -> None:
    opening = Opening()
    opening.heard()
    for number in range(MOST + 1):
        opening.keep(number, Openable(("p",)), 0)
    assert (opening.get(0, NOW), opening.get(MOST, NOW)) == (None, Openable(("p",)))
    opening.keep("all", Openable(("p",) * MOST_IDS), 0)
    assert opening.get(MOST, NOW) is None


def test_what_says_who_may_open_a_record_counts_at_once_and_soon_on_other_servers(serve: Serve, apps: Apps) -> None:
    first = serve(open=False, practitioner_access="care-team")
    second = serve(open=False, practitioner_access="care-team", database=first.settings.database)
    system = apps(first, "system/*.cruds")
    for each in (resource("Patient/p"), pulse("pulse", "p", 60), TEAM | MEMBER, AUNT):
        put(system, each)
    nurse = person(first, "nurse", roles=["practitioner"], fhir_user="Practitioner/nurse")
    aunt = person(first, "aunt", roles=["proxy"], fhir_user="RelatedPerson/aunt")
    here = [apps(first, "user/*.rs", user=each) for each in (nurse, aunt)]
    there = [apps(second, "user/*.rs", user=each) for each in (nurse, aunt)]
    for status, changes in ((200, ()), (404, (TEAM, AUNT | {"active": False})), (200, (TEAM | MEMBER, AUNT))):
        for each in changes:
            put(system, each)
        assert [statuses(fhir) for fhir in here] == [[status] * 3] * 2
        soon(there, status)
    assert system.delete("CareTeam/team").status_code == 204
    assert statuses(here[0]) == [404] * 3


def team(patient: str, member: dict[str, str], **more: Any) -> dict[str, Any]:
    of = {"status": "active", "subject": to(f"Patient/{patient}"), "participant": [{"member": member}]}
    return resource(f"CareTeam/{patient}", **of, **more)


def test_what_somebody_is_for_a_time_ends_by_itself(serve: Serve, apps: Apps) -> None:
    """Whose records they open by a team, and whom a Consent means by an organization."""
    served = serve(open=False, practitioner_access="care-team")
    system = apps(served, "system/*.cruds")
    ending = {"end": (datetime.now(UTC) + timedelta(seconds=4)).isoformat(timespec="milliseconds")}
    clinic = to("Organization/clinic")
    nurse = to("Practitioner/nurse")
    denying = {
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"text": "privacy"}],
        "patient": to("Patient/p"),
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "provision": {"type": "deny", "actor": [{"role": {"text": "any"}, "reference": clinic}]},
    }
    for each in (
        *(resource(f"Patient/{name}") for name in "pq"),
        pulse("pulse", "q", 60),
        pulse("denied", "p", 60),
        resource("Organization/clinic", name="Clinic"),
        resource(
            "CareTeam/q", status="active", subject=to("Patient/q"), participant=[{"member": nurse}], period=ending
        ),
        resource("CareTeam/p", status="active", subject=to("Patient/p"), participant=[{"member": nurse}]),
        resource("PractitionerRole/nurse", practitioner=nurse, organization=clinic, period=ending),
        resource("Consent/p", **denying),
    ):
        put(system, each)
    app = apps(served, "user/*.rs", user=person(served, "n", roles=["practitioner"], fhir_user="Practitioner/nurse"))
    assert (statuses(app), app.get("Observation/denied").status_code) == ([200] * 3, 404)
    soon([app], 404)
    assert app.get("Observation/denied").status_code == 200


def statuses(fhir: Fhir) -> list[int]:
    """Asked several times: the first answer may have been looked up, and the others not."""
    return [fhir.get("Observation/pulse").status_code for _ in range(3)]


def soon(callers: list[Fhir], status: int) -> None:
    deadline = time.monotonic() + 10
    while {each.get("Observation/pulse").status_code for each in callers} != {status}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
