"""Ways around a deny and around a label, by name: by who is denied something, over HTTP, with a token of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from consent_rules import ACT_CODE, CONFIDENTIALITY, LOINC, coding, consent, deny, permit
from record import SECRET, code, fill, pulse, put, resource, to
from seam import person

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps

Json = dict[str, Any]
HIV = (LOINC, "75622-1")
DENIED = ["Practitioner/nurse", "RelatedPerson/aunt", "study", "app"]
ASKING = ("nurse", "aunt", "study", "app")
VERY = {"security": [coding(CONFIDENTIALITY, "V")]}
KEPT = consent("hiv", "p", deny(code=[HIV], actor=DENIED))


def hiv(name: str, /, patient: str = "p", **more: Any) -> Json:
    return pulse(name, patient, 70, code=code(SECRET, HIV[1]), note=[{"text": SECRET}], **more)


def secret(name: str, /, **more: Any) -> Json:
    return pulse(name, "p", 70, note=[{"text": SECRET}], **more)


def new(body: Json) -> Json:
    return {key: value for key, value in body.items() if key != "id"}


TEAM = resource("CareTeam/team", status="active", participant=[{"member": to("Practitioner/doctor")}])
GROUP = resource("Group/group", type="practitioner", actual=True, member=[{"entity": to("Practitioner/nurse")}])
RECORD = [
    KEPT,
    consent("team", "p", deny(permit(actor="CareTeam/team"), class_="Flag", actor="Practitioner/nurse")),
    consent("group", "p", deny(class_="Goal", actor="Group/group")),
    TEAM,
    GROUP,
    hiv("h"),
    hiv("gone"),
    secret("was", meta=VERY),
    pulse("was", "p", 70),
    secret("now"),
    pulse("now", "p", 70, meta=VERY),
    secret("v", meta=VERY),
    pulse("lead", "p", 72, hasMember=[to("Observation/h")], derivedFrom=[to("Observation/v")]),
    pulse("member", "p", 72),
    hiv("led", hasMember=[to("Observation/member")]),
    resource(
        "List/l",
        status="current",
        mode="working",
        subject=to("Patient/p"),
        entry=[{"item": to("Observation/h")}, {"item": to("Observation/v")}],
    ),
    resource("Patient/q", name=[{"family": "Other"}]),
]


class Ward(NamedTuple):
    """The record of a patient, who denies something to four of those who ask."""

    open: Fhir
    callers: dict[str, Fhir]

    def again(self) -> None:
        """As it was, whatever became of it."""
        for each in (KEPT, TEAM, GROUP):
            put(self.open, each)


@pytest.fixture(scope="module")
def ward(serve: Serve, apps: Apps) -> Ward:
    served = serve(practitioner_access="all")
    fill(served.client, others=False)
    for each in RECORD:
        put(served.client, each)
    assert served.client.delete("Observation/gone").status_code == 204
    staff = ("nurse", "doctor")
    made = {each: person(served, each, roles=["practitioner"], fhir_user=f"Practitioner/{each}") for each in staff}
    made["admin"] = person(served, "admin", roles=["admin"])
    made["patient"] = person(served, "patient", roles=["patient"], fhir_user="Patient/p", patient="p")
    made["aunt"] = person(served, "aunt", roles=["patient"], fhir_user="RelatedPerson/aunt", proxy_for=["p"])
    callers = {each: apps(served, "user/*.cruds", user=id_, client="desk") for each, id_ in made.items()}
    callers["study"] = apps(served, "system/*.cruds", client="study")
    callers["app"] = apps(served, "patient/*.cruds", "p", client="app")
    return Ward(served.client, callers)


PATHS = (
    "Observation?_count=100",
    "Observation/_history?_count=100",
    "_history?_count=200",
    "Observation/h",
    "Observation/h/_history",
    "Observation/h/_history/1",
    "Observation/gone",
    "Observation/gone/_history",
    "Observation/gone/_history/1",
    "Observation/was/_history/1",
    "Observation/was/_history",
    "Observation/now",
    "Observation/now/_history/1",
    "Observation/now/_history",
    "Observation?_id=lead&_include=Observation:has-member&_include=Observation:derived-from",
    "Observation?_id=lead&_include=*&_include:iterate=*",
    "Observation?_id=member&_revinclude=Observation:has-member",
    "Patient?_id=p&_revinclude=Observation:subject",
    "Observation?_list=l",
    "Patient/p/*?_count=200",
    "Patient/p/$everything?_count=500",
    "Patient/$everything?_count=500",
    "Observation/$lastn?patient=p&code=75622-1",
    "Observation/$lastn?patient=p&category=vital-signs&max=99",
    "Observation?_elements=note&_count=100",
    "Observation?_contained=both&code=75622-1",
    "Observation?_sort=-_lastUpdated&_count=100",
    "?_type=Observation,List&_count=100",
)


@pytest.mark.parametrize("who", ASKING)
def test_no_path_shows_what_is_kept_back(ward: Ward, who: str) -> None:
    assert SECRET in ward.open.get(PATHS[0]).text
    for path in PATHS:
        assert SECRET not in ward.callers[who].get(path).text, path


@pytest.mark.parametrize("who", ASKING)
def test_no_question_tells_that_something_is_kept_back(ward: Ward, who: str) -> None:
    asks = (
        "Patient?_has:Observation:patient:code=75622-1",
        "Patient?_has:Observation:patient:_security=V",
        "Observation?has-member.code=75622-1",
        "Observation?derived-from:Observation._security=V",
        "Observation?code=75622-1",
        "Observation?_security=V",
        "Observation?_filter=code eq 75622-1",
        "Patient/p/Observation?code=75622-1",
        "Patient?_has:List:patient:item:Observation.code=75622-1",
    )
    for ask in asks:
        assert ward.open.bundle(f"{ask}&_summary=count")["total"] > 0
        for more in ("&_summary=count", "&_total=estimate", "&_total=accurate&_count=1"):
            assert ward.callers[who].bundle(ask + more)["total"] == 0, ask


@pytest.mark.parametrize("who", ASKING)
def test_what_is_kept_back_is_not_written_over(ward: Ward, who: str) -> None:
    fhir = ward.callers[who]
    before = ward.open.get("Observation/h").text
    fhir.put("Observation/h", pulse("h", "p", 1))
    fhir.patch("Observation/h", [{"op": "test", "path": "/status", "value": "final"}])
    fhir.delete("Observation/h")
    fhir.delete("Observation?code=75622-1")
    fhir.put("Observation?code=75622-1", new(pulse("h", "p", 1)))
    assert ward.open.get("Observation/h").text == before
    assert fhir.post("Observation", new(hiv("h"))).status_code == 403
    assert fhir.post("Observation", new(secret("x", meta=VERY))).status_code == 403
    made = fhir.post("Observation", new(pulse("x", "p", 1)), headers={"If-None-Exist": "code=75622-1"})
    assert made.status_code == 201


CHANGES = {
    "revoke": lambda fhir: fhir.put("Consent/hiv", KEPT | {"status": "inactive"}),
    "except": lambda fhir: fhir.put(
        "Consent/hiv", KEPT | {"provision": deny(permit(actor=DENIED), code=[HIV], actor=DENIED)}
    ),
    "of another": lambda fhir: fhir.put("Consent/hiv", KEPT | {"patient": to("Patient/q")}),
    "patch": lambda fhir: fhir.patch("Consent/hiv", [{"op": "replace", "path": "/status", "value": "rejected"}]),
    "delete": lambda fhir: fhir.delete("Consent/hiv"),
    "delete what matches": lambda fhir: fhir.delete("Consent?_id=hiv"),
    "update what matches": lambda fhir: fhir.put("Consent?_id=hiv", KEPT | {"status": "inactive"}),
    "batch": lambda fhir: fhir.post(
        "",
        resource("Bundle/x", type="transaction", entry=[{"request": {"method": "DELETE", "url": "Consent/hiv"}}]),
    ),
    "join the team": lambda fhir: fhir.put(
        "CareTeam/team", TEAM | {"participant": [{"member": to("Practitioner/nurse")}]}
    ),
    "leave the group": lambda fhir: fhir.put(
        "Group/group", GROUP | {"member": [{"entity": to("Practitioner/doctor")}]}
    ),
    "delete the group": lambda fhir: fhir.delete("Group/group"),
}
# which are for services to keep, that belong to none
OF_TEAMS = ("join the team", "leave the group", "delete the group")


@pytest.mark.parametrize(
    ("who", "change"),
    [(who, change) for who in ASKING for change in CHANGES if who != "study" or change not in OF_TEAMS],
)
def test_nobody_lifts_what_is_denied_to_them(ward: Ward, who: str, change: str) -> None:
    answer = CHANGES[change](ward.callers[who])
    kept = ward.open.get("Consent/hiv").json()
    assert (answer.status_code, kept["status"]) in ((403, "active"), (404, "active"), (204, "active")), answer.text
    assert kept["provision"] == KEPT["provision"]
    assert ward.callers[who].get("Observation/h").status_code == 404
    assert ward.open.get("Group/group").json()["member"] == GROUP["member"]
    assert ward.open.get("CareTeam/team").json()["participant"] == TEAM["participant"]


@pytest.mark.parametrize("who", ["doctor", "admin", "patient"])
def test_others_may_lift_it(ward: Ward, who: str) -> None:
    for change in ("revoke", "delete"):
        assert CHANGES[change](ward.callers[who]).status_code in (200, 204)
        assert ward.callers["nurse"].get("Observation/h").status_code == 200
        ward.again()
    assert ward.callers["nurse"].get("Observation/h").status_code == 404


def test_what_is_denied_to_all_is_lifted_by_the_patient_and_by_administrators(ward: Ward) -> None:
    whole = consent("whole", "p", deny())
    for who, status in (("doctor", 403), ("study", 403), ("admin", 200), ("patient", 200)):
        put(ward.open, whole)
        assert ward.callers[who].put("Consent/whole", whole | {"status": "inactive"}).status_code == status, who
    assert ward.open.delete("Consent/whole").status_code == 204


@pytest.mark.parametrize("time", [["2999-01-01"], ["1999-01-01", "1999-12-31"]], ids=["to come", "over"])
def test_what_is_denied_at_another_time_is_not_lifted(ward: Ward, time: list[str]) -> None:
    put(ward.open, consent("timed", "p", deny(actor="Practitioner/nurse", period=time)))
    assert ward.callers["nurse"].get("Observation/pulse").status_code == 200
    assert ward.callers["nurse"].delete("Consent/timed").status_code == 403
    assert ward.open.delete("Consent/timed").status_code == 204


@pytest.mark.parametrize("provision", [permit(label="V"), permit(label="V", actor=["Practitioner/nurse", "study"])])
def test_nobody_permits_what_they_are_not_shown(ward: Ward, provision: Json) -> None:
    for who in (*ASKING, "doctor"):
        answer = ward.callers[who].post("Consent", new(consent("x", "p", provision)))
        assert answer.status_code == 403, who
        assert ward.callers[who].get("Observation/v").status_code == 404
    for who in ("admin", "patient"):
        answer = ward.callers[who].post("Consent", new(consent("x", "p", provision)))
        assert answer.status_code == 201, who
        assert ward.callers["nurse"].get("Observation/v").status_code == 200
        passed = ward.callers["nurse"].post("Consent", new(consent("x", "p", permit(label="V", actor="app"))))
        assert passed.status_code == 403
        assert ward.open.delete(f"Consent/{answer.json()['id']}").status_code == 204
    assert ward.callers["nurse"].get("Observation/v").status_code == 404


def test_who_cares_permits_what_is_restricted(ward: Ward) -> None:
    restricted = consent("x", "p", permit(label="R", actor="Practitioner/nurse"))
    assert ward.callers["nurse"].post("Consent", new(restricted)).status_code == 403
    made = ward.callers["doctor"].post("Consent", new(restricted))
    assert made.status_code == 201, made.text
    assert ward.open.delete(f"Consent/{made.json()['id']}").status_code == 204


def test_a_sensitivity_lifts_no_confidentiality(ward: Ward) -> None:
    """It is the high-water mark that somebody has to be cleared for."""
    put(ward.open, secret("both", meta={"security": [coding(ACT_CODE, "PSY"), *VERY["security"]]}))
    for label in ("PSY", ["R", "PSY"]):
        put(ward.open, consent("x", "p", permit(label=label, actor="Practitioner/nurse")))
        assert ward.callers["nurse"].get("Observation/both").status_code == 404
        assert "both" not in ward.callers["nurse"].ids("Observation?_count=100")
    put(ward.open, consent("x", "p", permit(label=["V", "PSY"], actor="Practitioner/nurse")))
    assert ward.callers["nurse"].get("Observation/both").status_code == 200
    for name in ("Consent/x", "Observation/both"):
        assert ward.open.delete(name).status_code == 204


def test_what_was_labelled_is_judged_by_its_label_where_nothing_has_one_now(serve: Serve, apps: Apps) -> None:
    """By a server that has never seen the label: all that has it is history."""
    first = serve()
    for each in (resource("Patient/p"), secret("was", meta=VERY), pulse("was", "p", 1), secret("gone", meta=VERY)):
        put(first.client, each)
    assert first.client.delete("Observation/gone").status_code == 204
    second = serve(database=first.settings.database, practitioner_access="all")
    nurse = person(second, "nurse", roles=["practitioner"], fhir_user="Practitioner/nurse")
    fhir = apps(second, "user/*.cruds", user=nurse)
    assert fhir.get("Observation/was").status_code == 200
    for path in ("was/_history/1", "gone", "gone/_history/1", "gone/_history"):
        assert fhir.get(f"Observation/{path}").status_code == 404, path
    for path in ("Observation/was/_history", "Observation/_history", "_history"):
        assert SECRET not in fhir.get(path).text, path
        assert "gone" not in fhir.get(path).text, path


def test_a_consent_that_could_not_be_kept_to_is_refused(ward: Ward) -> None:
    deep = deny()
    for _ in range(20):
        deep = deny(deep)
    for provision in (deep, deny(*(permit(actor=f"Practitioner/{each}") for each in range(200)))):
        refused = ward.open.post("Consent", new(consent("x", "p", provision)))
        assert refused.status_code == 422
        assert refused.json()["issue"][0]["expression"] == ["Consent.provision"]
