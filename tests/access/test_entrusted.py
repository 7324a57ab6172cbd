"""A record entrusts itself to somebody: by a RelatedPerson, or by a Consent of its patient; as things are now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record import pulse, put, resource, to
from seam import person

from fhirserver.interactions.entrusted import lasts, names

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served
    from seam import Apps

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
RECEIVER = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
SCOPE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
UNKNOWN = {"url": "http://x.example/not-in-force", "valueBoolean": True}
CATEGORY = [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}]
MOTHER = resource("RelatedPerson/mother", active=True, patient=to("Patient/child"))


def action(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": code}]}


def actor(reference: str, role: str = "IRCP") -> dict[str, Any]:
    return {"role": {"coding": [{**RECEIVER["coding"][0], "code": role}]}, "reference": to(reference)}


def consent(name: str, patient: str, to_whom: str, status: str = "active", **provision: Any) -> dict[str, Any]:
    provision = {"type": "permit", "actor": [actor(to_whom)]} | provision
    more = {"scope": SCOPE, "category": CATEGORY, "policyRule": {"text": "opt-in"}}
    return resource(f"Consent/{name}", status=status, patient=to(f"Patient/{patient}"), provision=provision, **more)


class Home(NamedTuple):
    served: Served
    system: Fhir
    mother: Fhir
    friend: Fhir
    ids: dict[str, str]


@pytest.fixture(scope="module")
def furnished(serve: Serve, apps: Apps) -> Home:
    """A mother who is nothing but that, and a friend who is a patient here, too; each by an app that may do all."""
    served = serve(open=False)
    system = apps(served, "system/*.cruds")
    for name in ("child", "friend", "neighbour"):
        put(system, resource(f"Patient/{name}"))
        put(system, pulse(f"of-{name}", name, 60))
    put(system, MOTHER)
    mother = person(served, "mother", roles=["proxy"], fhir_user="RelatedPerson/mother")
    friend = person(served, "friend", roles=["patient"], patient="friend", fhir_user="Patient/friend")
    scope = "user/*.cruds"
    ids = {"mother": mother, "friend": friend}
    return Home(served, system, apps(served, scope, user=mother), apps(served, scope, user=friend), ids)


@pytest.fixture
def home(furnished: Home) -> Home:
    """As it was: nobody consented to anything."""
    put(furnished.system, MOTHER)
    for each in furnished.system.ids("Consent?_count=100"):
        assert furnished.system.delete(f"Consent/{each}").status_code in (200, 204)
    return furnished


def test_who_is_related_keeps_the_record_of_that_patient(home: Home) -> None:
    assert home.mother.ids("Patient") == ["child"]
    assert home.mother.get("Observation/of-child").status_code == 200
    assert home.mother.ids("Observation?code:missing=false") == ["of-child"]
    assert home.mother.get("Patient/child/$everything").status_code == 200
    assert home.mother.get("Observation/of-neighbour").status_code == 404
    made = home.mother.create(pulse("new", "child", 61))
    assert home.mother.delete(f"Observation/{made['id']}").status_code in (200, 204)
    assert home.mother.post("Observation", pulse("new", "neighbour", 61)).status_code in (403, 404)


@pytest.mark.parametrize(
    "change",
    [
        {"active": False},
        {"period": {"end": "2026-01-01"}},
        {"period": {"start": "2100"}},
        {"patient": to("Patient/neighbour")},
        {"modifierExtension": [UNKNOWN]},
    ],
    ids=["not in use", "over", "not begun", "of somebody else", "changed by what is not known"],
)
def test_it_ends_with_the_next_request(home: Home, change: dict[str, Any]) -> None:
    assert home.mother.get("Observation/of-child").status_code == 200
    put(home.system, MOTHER | change)
    assert home.mother.get("Observation/of-child").status_code == 404
    assert "child" not in home.mother.ids("Patient")
    put(home.system, MOTHER)
    assert home.mother.get("Observation/of-child").status_code == 200


def test_an_app_that_was_launched_about_the_patient_sees_as_much(home: Home, apps: Apps) -> None:
    app = apps(home.served, "patient/*.rs", "child", user=home.ids["mother"])
    assert app.ids("Observation") == ["of-child"]
    put(home.system, MOTHER | {"active": False})
    assert app.ids("Observation") == []
    assert app.get("Patient/child").status_code == 404
    other = apps(home.served, "patient/*.rs", "neighbour", user=home.ids["mother"])
    assert other.get("Patient/neighbour").status_code == 404


def test_a_consent_names_a_proxy_until_it_is_revoked(home: Home) -> None:
    assert home.friend.ids("Patient") == ["friend"]
    put(home.system, consent("c", "neighbour", "Patient/friend"))
    assert {*home.friend.ids("Patient")} == {"friend", "neighbour"}
    assert home.friend.get("Observation/of-neighbour").status_code == 200
    put(home.system, consent("c", "neighbour", "Patient/friend", "inactive"))
    assert home.friend.ids("Patient") == ["friend"]
    assert home.friend.get("Observation/of-neighbour").status_code == 404


def test_a_permit_to_see_is_none_to_write(home: Home) -> None:
    put(home.system, consent("c", "neighbour", "Patient/friend", action=[action("access")]))
    assert home.friend.get("Observation/of-neighbour").status_code == 200
    assert home.friend.post("Observation", pulse("new", "neighbour", 61)).status_code in (403, 404)
    put(home.system, consent("c", "neighbour", "Patient/friend", action=[action("access"), action("correct")]))
    made = home.friend.create(pulse("new", "neighbour", 61))
    assert home.friend.delete(f"Observation/{made['id']}").status_code in (200, 204)


def test_nobody_prolongs_their_own_time_or_passes_it_on(home: Home, apps: Apps) -> None:
    """What says who keeps a record is not written by who keeps it."""
    put(home.system, MOTHER | {"period": {"end": "2100"}})
    longer = MOTHER | {"period": {"end": "2200"}}
    launched = apps(home.served, "patient/*.cruds", "child", user=home.ids["mother"])
    for app in (home.mother, launched):
        assert app.get("RelatedPerson/mother").status_code == 200
        assert app.put("RelatedPerson/mother", longer).status_code in (403, 404)
        assert app.post("Consent", consent("x", "child", "Patient/friend")).status_code in (403, 404)
    assert home.system.get("RelatedPerson/mother").json()["period"] == {"end": "2100"}
    own = home.friend.create(consent("x", "friend", "RelatedPerson/mother"))
    assert {*home.mother.ids("Patient")} == {"child", "friend"}  # one's own record one does entrust
    assert home.friend.delete(f"Consent/{own['id']}").status_code in (200, 204)


BASE = consent("c", "p", "RelatedPerson/mother")
ROWS: list[tuple[str, dict[str, Any], bool]] = [
    ("as it is", {}, True),
    ("a draft", {"status": "draft"}, False),
    ("rejected", {"status": "rejected"}, False),
    ("for research", {"scope": {"coding": [{"code": "research"}]}}, False),
    ("a deny", {"type": "deny"}, False),
    ("no type", {"type": None}, False),
    ("somebody else", {"actor": [actor("RelatedPerson/father")]}, False),
    ("one of two", {"actor": [actor("RelatedPerson/father"), actor("RelatedPerson/mother")]}, True),
    ("who grants it", {"actor": [actor("RelatedPerson/mother", "GRANTOR")]}, False),
    ("a guardian", {"actor": [actor("RelatedPerson/mother", "GUARD")]}, True),
    ("over", {"period": {"end": "2026-06-14"}}, False),
    ("until today", {"period": {"end": "2026-06-15"}}, True),
    ("from tomorrow", {"period": {"start": "2026-06-16"}}, False),
    ("of some data", {"code": [{"text": "pulse"}]}, False),
    ("of a class", {"class": [{"code": "Observation"}]}, False),
    ("for a purpose", {"purpose": [{"code": "HRESCH"}]}, False),
    ("of some time", {"dataPeriod": {"start": "2025"}}, False),
    ("of a label", {"securityLabel": [{"code": "N"}]}, False),
    ("to see", {"action": [action("access")]}, True),
    ("to disclose", {"action": [action("disclose")]}, False),
    ("changed by what is not known", {"modifierExtension": [UNKNOWN]}, False),
    ("to somebody so changed", {"actor": [actor("RelatedPerson/mother") | {"modifierExtension": [UNKNOWN]}]}, False),
]


@pytest.mark.parametrize(("change", "named"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_which_consents_name_a_proxy(change: dict[str, Any], named: bool) -> None:
    found: dict[str, Any] = {**BASE, "provision": {**BASE["provision"]}}
    for name, value in change.items():
        (found if name in ("status", "scope") else found["provision"])[name] = value
    found["provision"] = {name: value for name, value in found["provision"].items() if value is not None}
    assert names(found, "RelatedPerson/mother", "r", NOW) is named


def test_a_consent_that_is_changed_by_what_is_not_known_names_nobody() -> None:
    assert not names(BASE | {"modifierExtension": [UNKNOWN]}, "RelatedPerson/mother", "r", NOW)


instants = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(instants, instants)
def test_a_period_lasts_from_its_start_to_its_end(start: datetime, end: datetime) -> None:
    period = {"start": start.isoformat(timespec="milliseconds"), "end": end.isoformat(timespec="milliseconds")}
    assert lasts(period, NOW) == (lasts({"start": period["start"]}, NOW) and lasts({"end": period["end"]}, NOW))
    assert lasts({}, NOW)
