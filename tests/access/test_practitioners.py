"""Whose records a practitioner may open: a setting; and what may be done in an emergency, and who learns of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from record import pulse, put, resource, to
from seam import person

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served
    from seam import Apps

CLASS = {"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}}
REASON = "unconscious after a fall, allergies are needed"
ME = to("Practitioner/me")
PAST, NOW = {"start": "2020-01-01", "end": "2021-12-31"}, {"start": "2020-01-01", "end": "2999-12-31"}
UNKNOWN = {"url": "http://x.example/unknown", "valueBoolean": True}


def encounter(name: str, patient: str, status: str = "finished", **more: Any) -> dict[str, Any]:
    return resource(f"Encounter/{name}", status=status, subject=to(f"Patient/{patient}"), **CLASS, **more)


def team(name: str, patient: str, status: str = "active", member: str = "Practitioner/me") -> dict[str, Any]:
    return resource(
        f"CareTeam/{name}", status=status, subject=to(f"Patient/{patient}"), participant=[{"member": to(member)}]
    )


def patients(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [resource(f"Patient/{name}", **more) for name in names]


# Somebody's, though they are no patient here.
ELSEWHERE = {
    "by-identifier": {"identifier": {"system": "urn:mrn", "value": "1"}},
    "by-name-only": {"display": "Charles Babbage"},
    "at-another-server": to("https://other.example/fhir/Patient/1"),
    "at-another-name-of-this-one": to("https://LOCALHOST/fhir/Patient/by-name"),
    "by-a-uuid": to("urn:uuid:0b2c9c1e-7a55-4d2c-8f0e-6a6f3c7f3d11"),
    "within": to("#x"),
}

NOISE = {"status": "final", "code": {"text": "noise"}, "contained": [resource("Patient/x", active=True)]}
NOISE["note"] = [{"authorReference": to("#x"), "text": "heard"}]
WORLD = [
    resource("Organization/mine", name="Mine"),
    resource("Organization/theirs", name="Theirs"),
    resource("Practitioner/me", name=[{"family": "Me"}]),
    resource("Practitioner/other", name=[{"family": "Other"}]),
    resource("PractitionerRole/my", active=True, practitioner=ME, organization=to("Organization/mine")),
    resource("PractitionerRole/past", active=False, practitioner=ME, organization=to("Organization/theirs")),
    resource("PractitionerRole/ended", practitioner=ME, organization=to("Organization/theirs"), period=PAST),
    resource(
        "PractitionerRole/changed", modifierExtension=[UNKNOWN], practitioner=ME, organization=to("Organization/theirs")
    ),
    resource("PractitionerRole/lasting", practitioner=ME, organization=to("Organization/mine"), period=NOW),
    *patients("by-name", generalPractitioner=[ME]),
    *patients("by-role", generalPractitioner=[to("PractitionerRole/my")]),
    *patients("by-team", "by-visit", "of-house", "visited-house", "past-team", "cancelled", "stranger"),
    *patients("by-past-role", generalPractitioner=[to("PractitionerRole/ended")]),
    *patients("by-stay"),
    *patients("managed", managingOrganization=to("Organization/mine")),
    *patients("elsewhere", managingOrganization=to("Organization/theirs")),
    team("now", "by-team"),
    team("over", "past-team", "inactive"),
    team("ended", "past-team") | {"period": PAST},
    team("to-come", "past-team") | {"period": {"start": "2999-01-01"}},
    team("left", "past-team") | {"participant": [{"member": ME, "period": PAST}]},
    team("not", "past-team") | {"participant": [{"member": ME, "modifierExtension": [UNKNOWN]}]},
    team("still", "by-stay") | {"participant": [{"member": ME, "period": NOW}], "period": NOW},
    team("house", "of-house", member="Organization/mine"),
    encounter("visit", "by-visit", participant=[{"individual": ME}]),
    encounter("off", "cancelled", "cancelled", participant=[{"individual": ME}]),
    encounter("house", "visited-house", serviceProvider=to("Organization/mine")),
    resource("Observation/ward", subject=to("Location/ward"), **NOISE),
    *(resource(f"Observation/{name}", subject=subject, **NOISE) for name, subject in ELSEWHERE.items()),
    resource("Location/ward", name="Ward"),
    resource("DocumentReference/loose", status="current", content=[{"attachment": {"title": "whose?"}}]),
    resource("Bundle/loose", type="collection"),
]
CARED = {"by-name", "by-role", "by-team", "by-visit", "by-stay"}
HOUSE = CARED | {"of-house", "visited-house", "managed"}
ALL = {each["id"] for each in WORLD if each["resourceType"] == "Patient"}


class House(NamedTuple):
    """A served record, its administrator, and apps of people who have a role there."""

    served: Served
    admin: Fhir
    app: Callable[..., Fhir]


@pytest.fixture(scope="module")
def house(serve: Serve, apps: Apps) -> Callable[[str], House]:
    made: dict[str, House] = {}

    def of(practice: str) -> House:
        if practice not in made:
            served = serve(open=False, practitioner_access=practice)
            admin = apps(served, "system/*.cruds")
            for each in WORLD:
                put(admin, each)
            for each in sorted(ALL):
                put(admin, pulse(f"of-{each}", each, 60))
            me = person(served, "me", roles=["practitioner"], fhir_user="Practitioner/me")
            made[practice] = House(
                served, admin, lambda scope, who=me, **context: apps(served, scope, user=who, **context)
            )
        return made[practice]

    return of


@pytest.mark.parametrize(("practice", "seen"), [("all", ALL), ("organization", HOUSE), ("care-team", CARED)])
def test_a_practitioner_sees_whose_record_the_setting_lets_open(
    house: Callable[[str], House], practice: str, seen: set[str]
) -> None:
    app = house(practice).app("user/*.cruds")
    assert {*app.ids("Patient?_count=50")} == seen
    assert {*app.ids("Observation?code=8867-4&_count=50")} == {f"of-{each}" for each in seen}
    for name in sorted(ALL):
        status = 200 if name in seen else 404
        assert app.get(f"Patient/{name}").status_code == status, name
        assert app.get(f"Observation/of-{name}").status_code == status, name
        assert app.get(f"Observation/of-{name}/_history/1").status_code == status, name
        assert app.get(f"Patient/{name}/$everything").status_code == status, name
    everything = app.ids("Patient/$everything?_count=200&_type=Patient,Observation")
    assert {*everything} == {*seen, *(f"of-{each}" for each in seen)}
    versions = app.bundle("Observation/_history?_count=100")["entry"]
    assert len([each for each in versions if "/of-" in each["fullUrl"]]) == len(seen)


def test_all_records_are_for_who_may_search_them(house: Callable[[str], House]) -> None:
    whole = "Patient/$everything?_type=Patient,Observation"
    assert house("care-team").app("user/*.r").get(whole).status_code == 403
    assert {*house("care-team").app("user/Patient.rs user/Observation.r").ids(whole)} == CARED


@pytest.mark.parametrize("practice", ["organization", "care-team"])
def test_what_is_about_nobody_is_seen_and_what_may_be_about_somebody_is_not(
    house: Callable[[str], House], practice: str
) -> None:
    app = house(practice).app("user/*.cruds")
    for name in ("Organization/theirs", "Practitioner/other", "Location/ward", "Observation/ward"):
        assert app.get(name).status_code == 200, name
    for name in ("DocumentReference/loose", "Bundle/loose", *(f"Observation/{each}" for each in ELSEWHERE)):
        assert app.get(name).status_code == 404, name
        assert house("all").app("user/*.cruds").get(name).status_code == 200, name


@pytest.mark.parametrize(
    "subject",
    [{"type": "Location", "display": "Ward"}, {"type": "Device", "identifier": {"value": "1"}}, to("#device")],
    ids=["a place by name", "a device by identifier", "a device within"],
)
def test_what_says_that_it_is_no_patient_is_nobody(house: Callable[[str], House], subject: dict[str, Any]) -> None:
    here = house("care-team")
    within = {"contained": [resource("Device/device", status="active")]} if "#device" in str(subject) else {}
    made = {"resourceType": "Observation", "status": "final", "code": {"text": "noise"}, "subject": subject} | within
    created = here.admin.post("Observation", made)
    assert created.status_code == 201, created.text
    assert here.app("user/*.cruds").get(f"Observation/{created.json()['id']}").status_code == 200


def test_who_counts_is_told_to_those_whom_the_query_names_alone(house: Callable[[str], House]) -> None:
    here = house("care-team")
    app = here.app("user/*.cruds")
    for query, told in (("code=8867-4", set()), ("patient=by-team", {"by-team"})):
        name = f"counted-{query.partition('=')[0]}-"
        answer = app.get(f"Observation?{query}&_summary=count", headers={"X-Request-Id": name})
        assert answer.json()["total"] > 0
        found = here.admin.bundle("AuditEvent?_count=1000&_sort=-date")["entry"]
        events = [each["resource"] for each in found if name in str(each["resource"])]
        named = [
            each["what"]["reference"]
            for event in events
            for each in event["entity"]
            if "reference" in each.get("what", {})
        ]
        assert {each.removeprefix("Patient/") for each in named} == told


def test_a_list_is_looked_into_that_may_be_seen(house: Callable[[str], House]) -> None:
    here = house("care-team")
    for patient in ("by-team", "stranger"):
        item = [{"item": to(f"Observation/of-{patient}")}]
        whose = to(f"Patient/{patient}")
        put(here.admin, resource(f"List/{patient}", status="current", mode="working", subject=whose, entry=item))
    app = here.app("user/*.cruds")
    assert app.ids("Observation?_list=by-team") == ["of-by-team"]
    unseen, absent = (app.get(f"Observation?_list={name}") for name in ("stranger", "nobody"))
    assert (unseen.status_code, unseen.text) == (400, absent.text.replace("nobody", "stranger"))


def test_writes_keep_to_the_records_that_may_be_opened(house: Callable[[str], House]) -> None:
    app = house("care-team").app("user/*.cruds")
    body = {key: value for key, value in pulse("x", "by-team", 61).items() if key != "id"}
    assert app.post("Observation", body).status_code == 201
    assert app.post("Observation", body | {"subject": to("Patient/stranger")}).status_code == 403
    assert app.patch("Observation/of-stranger", [{"op": "add", "path": "/language", "value": "en"}]).status_code == 404
    assert app.patch("Observation/of-by-team", [{"op": "add", "path": "/language", "value": "en"}]).status_code == 200
    assert app.post("SearchParameter", resource("SearchParameter/x")).status_code in (400, 403)


def test_nobody_opens_more_records_by_saying_where_they_work(house: Callable[[str], House]) -> None:
    app = house("organization").app("user/*.cruds")
    role = {"resourceType": "PractitionerRole", "practitioner": ME, "organization": to("Organization/theirs")}
    assert app.post("PractitionerRole", role).status_code == 403
    assert app.put("PractitionerRole/past", role | {"id": "past", "active": True}).status_code == 403
    assert app.get("Patient/elsewhere").status_code == 404


@pytest.mark.parametrize("spelling", ["Patient/stranger/_history/1", "{base}/Patient/stranger", "#stranger"])
def test_nobody_joins_the_team_of_a_stranger(house: Callable[[str], House], spelling: str) -> None:
    here = house("care-team")
    app = here.app("user/*.cruds")
    whom = to(spelling.format(base=here.served.settings.base_url))
    inside = {"contained": [{"resourceType": "Patient", "id": "stranger"}]} if spelling.startswith("#") else {}
    for body in (team("x", "stranger"), encounter("x", "stranger", participant=[{"individual": ME}])):
        sent = {key: value for key, value in body.items() if key != "id"} | {"subject": whom} | inside
        app.post(body["resourceType"], sent)
    assert app.get("Patient/stranger").status_code == 404


def test_no_app_breaks_the_glass_that_may_not_read_for_its_user(house: Callable[[str], House]) -> None:
    here = house("care-team")
    apps = here.app("patient/*.cruds", patient="by-team"), here.app("user/Observation.rs openid")
    for app in apps:
        answer = app.post(f"Patient/stranger/$break-glass?reason={REASON}")
        assert answer.status_code == 403, answer.text
    assert here.app("user/*.rs").get("Patient/stranger").status_code == 404


def test_a_launch_opens_the_records_that_may_be_opened(house: Callable[[str], House]) -> None:
    here = house("care-team")
    mine, not_mine = (here.app("patient/*.rs", patient=each) for each in ("by-team", "stranger"))
    assert mine.ids("Patient") == ["by-team"]
    assert mine.get("Patient/by-visit").status_code == 404
    assert not_mine.ids("Patient") == []
    assert not_mine.get("Observation/of-stranger").status_code == 404


def test_who_has_no_role_sees_nothing(house: Callable[[str], House]) -> None:
    here = house("care-team")
    someone = {"roles": ["practitioner"], "fhir_user": "Person/x"}
    for number, values in enumerate(({"roles": []}, {"roles": ["practitioner"]}, someone)):
        who = person(here.served, f"nobody-{number}", **values)
        assert here.app("user/*.rs", who).ids("Patient") == []
    admin = person(here.served, "boss", roles=["admin"])
    assert {*here.app("user/*.rs", admin).ids("Patient?_count=50")} == ALL


def test_a_patient_sees_its_own_record_and_those_it_keeps(house: Callable[[str], House]) -> None:
    here = house("care-team")
    who = person(here.served, "ada", roles=["patient"], patient="by-team", proxy_for=["by-visit"])
    app = here.app("user/*.rs", who)
    assert {*app.ids("Patient")} == {"by-team", "by-visit"}
    assert app.get("Observation/of-by-visit").status_code == 200
    assert app.get("Observation/of-by-name").status_code == 404


def test_in_an_emergency_a_record_opens_with_a_reason_and_the_patient_learns_of_it(
    house: Callable[[str], House],
) -> None:
    here = house("care-team")
    two = person(here.served, "two", roles=["practitioner"], fhir_user="Practitioner/other")
    app, other = here.app("user/*.rs"), here.app("user/*.rs", two)
    assert app.get("Patient/elsewhere").status_code == 404
    assert app.get("Patient/elsewhere/$break-glass").status_code == 405
    for reason in ("", "why", " " * 40):
        assert app.post(f"Patient/elsewhere/$break-glass?reason={reason}").status_code == 400
    assert app.get("Patient/elsewhere").status_code == 404
    opened = app.post(f"Patient/elsewhere/$break-glass?reason={REASON}")
    assert opened.status_code == 200, opened.text
    assert opened.json()["parameter"][0]["name"] == "until"
    assert app.get("Patient/elsewhere").status_code == 200
    assert app.get("Observation/of-elsewhere").status_code == 200
    assert other.get("Patient/elsewhere").status_code == 404
    assert app.get("Patient/stranger").status_code == 404
    elsewhere = person(here.served, "owner", roles=["patient"], patient="elsewhere")
    owner = here.app("patient/*.rs", elsewhere, patient="elsewhere")
    events = [each["resource"] for each in owner.bundle("AuditEvent?_count=50")["entry"]]
    (event,) = [each for each in events if each["subtype"][0]["code"] == "110127"]
    assert event["entity"][0]["detail"] == [{"type": "reason", "valueString": REASON}]
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"
    assert any(each["who"].get("reference") == "Practitioner/me" for each in event["agent"])


def test_what_an_emergency_opened_is_told_with_it(house: Callable[[str], House]) -> None:
    here = house("care-team")
    for name in ("urgent-told", "urgent-cared"):
        put(here.admin, resource(f"Patient/{name}", **({"generalPractitioner": [ME]} if "cared" in name else {})))
        put(here.admin, pulse(f"of-{name}", name, 60))
        app = here.app("user/*.cruds")
        assert app.post(f"Patient/{name}/$break-glass?reason={REASON}").status_code == 200
        assert app.get(f"Observation/of-{name}").status_code == 200
        assert app.ids(f"Observation?patient={name}") == [f"of-{name}"]
        assert app.put(f"Observation/of-{name}", pulse(f"of-{name}", name, 61)).status_code == 200
        events = [each["resource"] for each in here.admin.bundle(f"AuditEvent?patient={name}&_count=50")["entry"]]
        done = {each["subtype"][0]["code"]: "purposeOfEvent" in each for each in events if len(each["agent"]) == 2}
        done.pop("110127", None)
        urgent = name == "urgent-told"  # else it is open without
        assert done.items() >= {"read": urgent, "search-type": urgent, "update": urgent}.items()


def test_nobody_writes_in_an_emergency_what_opens_the_record_when_it_is_over(house: Callable[[str], House]) -> None:
    here = house("care-team")
    put(here.admin, resource("Patient/urgent-written"))
    put(here.admin, team("of-urgent", "urgent-written", member="Practitioner/other"))
    app = here.app("user/*.cruds")
    assert app.post(f"Patient/urgent-written/$break-glass?reason={REASON}").status_code == 200
    assert app.get("CareTeam/of-urgent").status_code == 200
    mine = team("of-urgent", "urgent-written")
    consent = {
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"text": "privacy"}],
        "patient": to("Patient/urgent-written"),
        "policyRule": {"coding": [{"code": "OPTIN"}]},
    }
    opening = [
        mine,
        encounter("x", "urgent-written", participant=[{"individual": ME}]),
        resource("Patient/urgent-written", generalPractitioner=[ME]),
        resource("RelatedPerson/x", patient=to("Patient/urgent-written")),
        resource("Consent/x", **consent),
    ]
    for each in opening:
        type_, without = each["resourceType"], {key: value for key, value in each.items() if key != "id"}
        ways = [("PUT", f"{type_}/{each['id']}", each)] if each["id"] != "x" else [("POST", type_, without)]
        ways += [("POST", "", transaction(*way)) for way in ways]
        for method, path, body in ways:
            refused = app.request(method, path, json=body)
            assert refused.status_code == 403, (type_, path, refused.text)
            assert "emergency" in refused.text
    assert app.delete("CareTeam/of-urgent").status_code == 403
    assert app.post("Observation", pulse("x", "urgent-written", 60)).status_code == 201


def transaction(method: str, url: str, body: dict[str, Any]) -> dict[str, Any]:
    entry = {"request": {"method": method, "url": url}, "resource": body}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}


@pytest.mark.parametrize(
    ("number", "path"),
    [
        *enumerate(
            (
                "Patient/{}",
                "Patient/{}/$everything",
                "Patient/{}/_history",
                "Patient/{}/Observation",
                "Patient?_id={}",
                "Observation?patient={}",
                "Observation?subject=Patient/{}&_sort=-date",
                "Observation?subject:Patient={}",
                "Observation/$lastn?patient=Patient/{}&code:missing=false",
            )
        )
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_header_opens_the_one_record_that_is_asked_for(house: Callable[[str], House], number: int, path: str) -> None:
    here, id_ = house("care-team"), f"urgent-{number}"
    put(here.admin, resource(f"Patient/{id_}"))
    app, asked = here.app("user/*.rs"), path.format(id_)
    before = app.get(asked)
    assert before.status_code == 404 or before.json().get("total") == 0 or before.json().get("entry", []) == []
    opened = app.get(asked, headers={"X-Break-Glass": REASON})
    assert opened.status_code == 200, opened.text
    assert app.get(f"Patient/{id_}").status_code == 200
    owner = here.app("patient/*.rs", person(here.served, f"owner-{id_}", roles=["patient"], patient=id_), patient=id_)
    events = [each["resource"] for each in owner.bundle("AuditEvent?subtype=110127")["entry"]]
    assert [each["entity"][0]["detail"][0]["valueString"] for each in events] == [REASON]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "Patient"),
        ("GET", "Patient?_id=stranger,cancelled"),
        ("GET", "Observation?patient=stranger&subject=Patient/cancelled"),
        ("GET", "Observation?patient=stranger,cancelled"),
        ("GET", "Observation?subject=stranger"),
        ("GET", "Observation?subject=Group/stranger"),
        ("GET", "Observation/of-stranger"),
        ("GET", "metadata"),
        ("GET", "Patient/$everything"),
        ("DELETE", "Patient/stranger"),
        ("POST", ""),
    ],
)
def test_a_header_that_means_no_one_patient_is_refused(house: Callable[[str], House], method: str, path: str) -> None:
    app, body = house("care-team").app("user/*.cruds"), {}
    if method == "POST":
        body = {"json": {"resourceType": "Bundle", "type": "batch"}}
    answer = app.request(method, path, headers={"X-Break-Glass": REASON}, **body)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, ["X-Break-Glass"])
    assert app.get("Patient/stranger").status_code == 404


def test_a_header_needs_what_the_operation_needs(house: Callable[[str], House]) -> None:
    here = house("care-team")
    app = here.app("user/*.rs")
    for reason in ("", "why", "x" * 501):
        assert app.get("Patient/stranger", headers={"X-Break-Glass": reason}).status_code == 400
    assert app.get("Patient/nobody", headers={"X-Break-Glass": REASON}).status_code == 404
    patient = person(here.served, "curious-too", roles=["patient"], patient="by-team")
    for other in (here.admin, here.app("user/*.rs", patient), here.app("user/Observation.rs")):
        assert other.get("Patient/stranger", headers={"X-Break-Glass": REASON}).status_code == 403
    assert here.app("user/*.rs").get("Patient/stranger").status_code == 404
    german = "bewußtlos nach Sturz, Allergien nötig"
    put(here.admin, resource("Patient/umlaut"))
    assert app.get("Patient/umlaut", headers={"X-Break-Glass": german.encode()}).status_code == 200
    assert german in here.admin.get("AuditEvent?patient=umlaut&subtype=110127").text


def test_the_glass_is_broken_by_practitioners_only_and_where_it_is_accounted_for(
    house: Callable[[str], House], serve: Serve, apps: Apps
) -> None:
    here = house("care-team")
    patient = person(here.served, "curious", roles=["patient"], patient="by-team")
    narrow = here.app("user/Patient.rs?_id=by-team user/Observation.rs")
    nobody = person(here.served, "nobody-in-particular", roles=["practitioner"], patient="p", fhir_user="Patient/p")
    for app in (here.admin, here.app("user/*.rs", patient), narrow, here.app("user/*.rs", nobody)):
        assert app.post(f"Patient/stranger/$break-glass?reason={REASON}").status_code == 403
    assert here.app("user/*.rs").post(f"Patient/nobody/$break-glass?reason={REASON}").status_code == 404
    for settings in ({"audit": False}, {"emergency_hours": 0}):
        served = serve(open=False, practitioner_access="care-team", **settings)
        who = person(served, "me", roles=["practitioner"], fhir_user="Practitioner/me")
        put(apps(served, "system/*.cruds"), resource("Patient/p"))
        app = apps(served, "user/*.rs", user=who)
        assert app.post(f"Patient/p/$break-glass?reason={REASON}").status_code == 403


def test_a_record_that_was_opened_closes(serve: Serve, apps: Apps) -> None:
    served = serve(open=False, practitioner_access="care-team", emergency_hours=0.0000001)
    put(apps(served, "system/*.cruds"), resource("Patient/p"))
    who = person(served, "me", roles=["practitioner"], fhir_user="Practitioner/me")
    app = apps(served, "user/*.rs", user=who)
    assert app.post(f"Patient/p/$break-glass?reason={REASON}").status_code == 200
    assert app.get("Patient/p").status_code == 404
