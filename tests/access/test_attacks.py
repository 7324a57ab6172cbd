"""Ways to another patient's data that worked elsewhere, by name. None of them works here, nor tells whether it would.

After public reports on FHIR servers: searches by chains and `_has` as oracles, `_include` and `$everything` past the
compartment, histories and versions without a check, links of pages that belong to others, conditions that say what
exists, references and patches that move data into one's own record, Binary beside the law, scopes taken too widely.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from paths import NAMES, READING, WRITING
from record import CATEGORY, OWN, SECRET, SHARED, code, document, fill, pulse, put, resource, to
from test_paths import answer

from fhirserver.access.reach import EVERYTHING, OF_SOMEBODY, in_records, reach
from fhirserver.context import Caller
from fhirserver.fhir.definitions import r4
from fhirserver.search.live import Live
from fhirserver.store import union
from fhirserver.store.jobs import Job, Progress
from smart_auth.scopes import Scope

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps


class Clinic(NamedTuple):
    """A record of two patients: an app of the first, and what it looks like to everybody."""

    app: Fhir
    open: Fhir
    scoped: Any


@pytest.fixture(scope="module")
def clinic(serve: Serve, apps: Apps) -> Clinic:
    served = serve()
    fill(served.client, others=True)

    def scoped(scope: str, patient: str | None = "p") -> Fhir:
        found: Fhir = apps(served, scope, patient)
        return found

    return Clinic(scoped("patient/*.cruds"), served.client, scoped)


def entries(answer: dict[str, Any]) -> list[str]:
    return [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in answer.get("entry", ())]


def test_guessing_ids_finds_nothing_and_tells_nothing(clinic: Clinic) -> None:
    """The classic: Patient/1, Patient/2, …"""
    for name in ("Patient/q", "Observation/other", "Observation/other-gone", "Binary/other", "Bundle/other"):
        taken, free = clinic.app.get(name), clinic.app.get(f"{name}-nobody")
        assert (taken.status_code, free.status_code) == (404, 404)
        assert taken.text == free.text.replace("-nobody", "")


@pytest.mark.parametrize("guess", ["zuse", "Zus", "z"])
def test_a_chain_is_no_oracle(clinic: Clinic, guess: str) -> None:
    """Blind extraction letter by letter: does anything match `subject.family=z`?"""
    for query in (
        f"Observation?subject:Patient.family={guess}",
        f"Encounter?part-of.subject:Patient.family={guess}",
        f"Practitioner?_has:Patient:general-practitioner:family={guess}",
        f"Organization?_has:Medication:manufacturer:_id={guess}",
        f"Observation?_has:Observation:has-member:patient.family={guess}",
        f"Patient?_has:Patient:link:family={guess}",
    ):
        assert entries(clinic.app.bundle(f"{query}&_total=accurate")) == [], query
        assert clinic.app.bundle(f"{query}&_summary=count")["total"] == 0
    assert entries(clinic.open.bundle(f"Observation?subject:Patient.family={guess}"))


def test_a_negation_does_not_find_the_rest(clinic: Clinic) -> None:
    for query in ("Patient?_id:not=p", "Observation?code:not=8867-4", "Patient?_filter=not (family eq lovelace)"):
        assert entries(clinic.app.bundle(query)) == []


def test_one_patient_parameter_does_not_replace_the_law(clinic: Clinic) -> None:
    """A filter that is added only where the client names no patient."""
    for query in (
        "patient=q",
        "subject=Patient/q",
        "patient=p,q",
        "patient=Patient/p&subject=Patient/q",
        "patient:Patient=q",
    ):
        assert SECRET not in clinic.app.get(f"Observation?{query}").text
    assert SECRET not in clinic.app.get("Observation?_filter=patient eq p or patient eq q").text


def test_what_is_included_is_within_the_record(clinic: Clinic) -> None:
    found = clinic.app.get("Patient?_include=*&_revinclude=Patient:link&_revinclude=Observation:focus").text
    assert SECRET not in found
    assert SECRET not in clinic.app.get("Observation?_include:iterate=*&_revinclude=Observation:has-member").text


def test_inclusions_need_scopes_of_their_own(clinic: Clinic) -> None:
    narrow = clinic.scoped("patient/Observation.rs")
    assert entries(narrow.bundle("Observation?_id=pulse&_include=Observation:subject")) == ["Observation/pulse"]
    assert narrow.get("Patient/p").status_code == 403
    assert entries(narrow.bundle("Observation?subject:Patient.family=lovelace")) == []


def test_everything_of_another_is_nothing(clinic: Clinic) -> None:
    for name in ("Patient/q", "Encounter/other"):
        assert clinic.app.get(f"{name}/$everything").status_code == 404
    assert SECRET not in clinic.app.get("Patient/p/$everything?_count=500").text


def test_everything_but_patients_goes_through_no_other_patients(clinic: Clinic) -> None:
    """`_type` leaves the patient out; others of that type, and those that are no more, do not come in its place."""
    put(clinic.open, resource("Patient/a-former-one"))
    clinic.open.delete("Patient/a-former-one")
    found = clinic.app.bundle("Patient/p/$everything?_type=Condition&_count=2")
    assert entries(found) == ["Condition/cold"]
    assert (found["total"], [each["relation"] for each in found["link"]]) == (1, ["self"])


def test_versions_are_judged_by_what_they_say(clinic: Clinic) -> None:
    """A report was filed under the wrong patient and corrected: the old version is still of the other."""
    put(clinic.open, pulse("misfiled", "q", 99, note=[{"text": SECRET}]))
    put(clinic.open, pulse("misfiled", "p", 99))
    assert clinic.app.get("Observation/misfiled/_history/2").status_code == 200
    assert clinic.app.get("Observation/misfiled/_history/1").status_code == 404
    assert SECRET not in clinic.app.get("Observation/misfiled/_history").text
    put(clinic.open, pulse("taken-back", "p", 99))
    put(clinic.open, pulse("taken-back", "q", 99, note=[{"text": SECRET}]))
    assert clinic.app.get("Observation/taken-back/_history/1").status_code == 404
    assert clinic.app.get("Observation/taken-back/_history").status_code == 404
    assert "taken-back" not in clinic.app.get("Observation/_history?_count=100").text


def test_a_deleted_resource_of_another_is_not_said_to_be_gone(clinic: Clinic) -> None:
    assert clinic.app.get("Observation/other-gone").status_code == 404
    assert clinic.app.get("Observation/old").status_code == 410
    assert clinic.open.get("Observation/other-gone").status_code == 410


def test_a_page_link_of_somebody_else_shows_ones_own(clinic: Clinic) -> None:
    link = next(
        e["url"]
        for e in clinic.open.bundle("Observation?_sort=-value-quantity&_count=1")["link"]
        if e["relation"] == "next"
    )
    assert SECRET not in clinic.app.get(link).text
    history = next(e["url"] for e in clinic.open.bundle("_history?_count=1")["link"] if e["relation"] == "next")
    assert SECRET not in clinic.app.get(history).text


def test_conditions_do_not_say_what_exists(clinic: Clinic) -> None:
    body = {key: value for key, value in pulse("x", "p", 70).items() if key != "id"}
    made = clinic.app.post("Observation", body, headers={"If-None-Exist": "value-quantity=205"})
    assert made.status_code == 201
    assert clinic.app.delete("Observation?value-quantity=205").status_code in (204, 404)
    assert clinic.open.get("Observation/other").status_code == 200
    assert clinic.app.put("Observation?_id=other", body | {"id": "other"}).status_code == 404
    without = clinic.scoped("patient/Observation.c")
    assert without.post("Observation", body, headers={"If-None-Exist": "code=8867-4"}).status_code == 403


def test_data_is_not_moved_into_ones_own_record(clinic: Clinic) -> None:
    patch = [{"op": "replace", "path": "/subject/reference", "value": "Patient/p"}]
    assert clinic.app.patch("Observation/other", patch).status_code == 404
    assert clinic.app.put("Observation/other", pulse("other", "p", 1)).status_code == 404
    assert clinic.open.get("Observation/other").json()["subject"]["reference"] == "Patient/q"


def test_nothing_is_planted_in_the_record_of_another(clinic: Clinic) -> None:
    for body in (
        pulse("x", "q", 1),
        pulse("x", "p", 1, performer=[to("Patient/q")]),
        pulse("x", "p", 1, subject=to(f"{clinic.open.base_url}/Patient/q")),
        pulse("x", "p", 1, subject=to("Patient/q/_history/1")),
    ):
        answer = clinic.app.post("Observation", {key: value for key, value in body.items() if key != "id"})
        assert answer.status_code == 403, answer.text
        assert "insufficient_scope" in answer.headers["www-authenticate"]
    move = [{"op": "replace", "path": "/subject/reference", "value": "Patient/q"}]
    assert clinic.app.patch("Observation/lab", move).status_code == 403
    link = [{"op": "add", "path": "/link", "value": [{"other": to("Patient/q"), "type": "refer"}]}]
    assert clinic.app.patch("Patient/p", link).status_code == 403
    assert clinic.app.patch("Patient/p", [{"op": "add", "path": "/gender", "value": "female"}]).status_code == 200


def test_a_resource_of_two_patients_is_not_changed_by_one(clinic: Clinic) -> None:
    both = resource(
        "Group/both", type="person", actual=True, member=[{"entity": to("Patient/p")}, {"entity": to("Patient/q")}]
    )
    put(clinic.open, both)
    assert clinic.app.get("Group/both").status_code == 200
    assert clinic.app.put("Group/both", both | {"member": [{"entity": to("Patient/p")}]}).status_code == 403
    assert clinic.app.delete("Group/both").status_code == 403


def test_a_reference_of_ones_own_brings_nothing_into_sight(clinic: Clinic) -> None:
    """Write a document that names somebody's Binary, and read it as one's own."""
    mine = {key: value for key, value in document("x", "p", "other", "Mine").items() if key != "id"}
    assert clinic.app.post("DocumentReference", mine).status_code == 403
    absolute = {"attachment": {"url": f"{clinic.open.base_url}/Binary/other", "title": "Mine"}}
    assert clinic.app.post("DocumentReference", mine | {"content": [absolute]}).status_code == 403
    add = [{"op": "replace", "path": "/content/0/attachment/url", "value": "Binary/other"}]
    assert clinic.app.patch("DocumentReference/letter", add).status_code == 403
    assert clinic.app.get("Binary/other").status_code == 404
    made = clinic.app.post("Binary", resource("Binary/x", contentType="text/plain", securityContext=to("Patient/p")))
    assert made.status_code == 201
    named = mine | {"content": [{"attachment": {"url": f"Binary/{made.json()['id']}", "title": "Mine"}}]}
    assert clinic.app.post("DocumentReference", named).status_code == 201


def test_binary_is_under_the_law_in_any_representation(clinic: Clinic) -> None:
    for accept in ("text/plain", "*/*", "application/fhir+json", "application/fhir+xml"):
        for name in ("Binary/other", "Binary/loose", "Binary/other/_history/1"):
            assert clinic.app.get(name, headers={"Accept": accept}).status_code == 404
    assert clinic.app.get("Binary/letter", headers={"Accept": "text/plain"}).text == "hi"
    assert clinic.scoped("patient/DocumentReference.rs").get("Binary/letter").status_code == 403


def test_a_bundle_is_no_way_around(clinic: Clinic) -> None:
    asked = [
        {"request": {"method": "GET", "url": url}}
        for url in ("Patient/q", "Observation?patient=q", "Patient/q/$everything")
    ]
    batch = clinic.app.post("", {"resourceType": "Bundle", "type": "batch", "entry": asked})
    assert batch.status_code == 200
    assert SECRET not in batch.text
    link = "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d"
    entry = [
        {
            "fullUrl": f"{clinic.open.base_url}/Patient/q",
            "resource": resource("Patient/q"),
            "request": {"method": "PUT", "url": "Patient/q"},
        },
        {"fullUrl": link, "resource": pulse("x", "q", 1), "request": {"method": "POST", "url": "Observation"}},
    ]
    refused = clinic.app.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entry})
    assert refused.status_code == 404
    assert clinic.open.get("Patient/q").json()["name"]


def test_scopes_are_not_taken_more_widely_than_they_are(clinic: Clinic) -> None:
    for scope, name, status in (
        ("patient/Patient.r", "Patient/p", 200),
        ("patient/Patient.r", "Patient", 403),
        ("patient/Patient.s", "Patient/p", 403),
        ("patient/Patient.read", "Patient", 200),
        ("patient/Patient.write", "Patient/p", 403),
        ("patient/Observation.*", "Condition", 403),
        ("user/*.cruds", "Patient", 200),
        ("system:Patient.read", "Patient/p", 403),
        ("patient/patient.rs", "Patient/p", 403),
        ("patient/Patient.rs?nonsense=x", "Patient", 403),
        ("openid launch/patient", "Patient/p", 403),
    ):
        assert clinic.scoped(scope).get(name).status_code == status, scope
    assert entries(clinic.scoped("user/*.cruds").bundle("Patient")) == []  # a token without a person
    assert entries(clinic.scoped("patient/*.rs", None).bundle("Patient")) == []  # and one without a patient
    assert clinic.scoped("patient/*.rs", None).get("Patient/p").status_code == 404


def test_a_patch_is_no_way_to_read(clinic: Clinic) -> None:
    writer, note = clinic.scoped("patient/Observation.us"), [{"op": "add", "path": "/language", "value": "en"}]
    want = {"Prefer": "return=representation"}
    binary = {
        "resourceType": "Binary",
        "contentType": "application/json-patch+json",
        "data": b64encode(json.dumps(note).encode()).decode(),
    }
    entry = {"request": {"method": "PATCH", "url": "Observation/patched"}, "resource": binary}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    put(clinic.open, pulse("patched", "p", 60))
    answers = [
        writer.patch("Observation/patched", note, headers=want),
        writer.patch("Observation?_id=patched", note, headers=want),
        writer.request("POST", "", json=bundle, headers=want),
    ]
    for each in answers:
        assert each.status_code == 200, each.text
        assert "valueQuantity" not in each.text
    assert "valueQuantity" in clinic.app.patch("Observation/patched", note, headers=want).text
    clinic.open.delete("Observation/patched")


def fhirpath_patch(path: str) -> dict[str, Any]:
    """It deletes what the path leads to, which must be one element."""
    said = {"type": "delete", "path": path}
    parts = [{"name": name, "valueCode" if name == "type" else "valueString": text} for name, text in said.items()]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


@pytest.mark.parametrize(
    "guess",
    [
        [{"op": "test", "path": "/valueQuantity/value", "value": 60}],
        [{"op": "copy", "from": "/note/0/text", "path": "/status"}],
        [{"op": "replace", "path": "/note/1/text", "value": "is there a second note?"}],
        fhirpath_patch("Observation.note.where(text.startsWith('l'))"),
    ],
    ids=["test", "copy-into-a-refusal", "is-it-there", "where"],
)
def test_a_patch_is_no_oracle_for_who_may_only_write(clinic: Clinic, guess: Any) -> None:
    """A right guess and a wrong one are answered alike, alone and in a transaction; an update still works."""
    blind = clinic.scoped("patient/Observation.u")
    right, wrong = (pulse("guessed", "p", value, note=[{"text": text}]) for value, text in ((60, "low"), (61, "high")))
    told = []
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
    binary |= {"data": b64encode(json.dumps(guess).encode()).decode()}
    body = guess if isinstance(guess, dict) else binary
    entry = {"request": {"method": "PATCH", "url": "Observation/guessed"}, "resource": body}
    for here in (right, wrong):
        put(clinic.open, here)
        alone = blind.patch("Observation/guessed", guess)
        bundle = blind.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
        told.append([(each.status_code, each.text) for each in (alone, bundle)])
    assert told[0] == told[1]
    assert [status for status, _ in told[0]] == [403, 403]
    assert blind.put("Observation/guessed", right).status_code == 200
    assert clinic.scoped("patient/Observation.ru").patch("Observation/guessed", guess).status_code != 403
    clinic.open.delete("Observation/guessed")


OF_AN_APP, OF_A_USER = (Scope(level, "*", frozenset("cruds"), frozenset()) for level in ("patient", "user"))
PRACTICES = frozenset({"practitioner"})
LIMITED = {
    "app of a patient": Caller("x", scopes=(OF_AN_APP,), patient="p", client="app"),
    "patient": Caller("x", scopes=(OF_A_USER,), user="x", roles=frozenset({"patient"}), records=("p",)),
    "proxy": Caller("x", scopes=(OF_A_USER,), user="x", records=("p", "r")),
    "practitioner": Caller("x", scopes=(OF_A_USER,), user="x", roles=PRACTICES, fhir_user="Practitioner/x"),
}


@pytest.mark.parametrize("who", LIMITED)
def test_no_type_of_resource_is_left_out_of_the_law(who: str) -> None:
    """OpenEMR, CVE-2026-24487: apps of one patient saw the care teams of all, a type that nobody had thought of."""
    for type_ in sorted(r4().resource_types):
        for permission in "cruds":
            if who != "practitioner" or in_records(type_) or type_ in OF_SOMEBODY:
                assert reach(LIMITED[who], type_, permission) != EVERYTHING, (type_, permission)


def test_a_token_that_lets_do_nothing_does_nothing(clinic: Clinic) -> None:
    """OpenEMR, CVE-2026-25164: routes of documents and insurances asked for a token, and not for its scopes."""
    before = {name: clinic.open.get(name).text for name in NAMES}
    for scope in ("openid fhirUser launch/patient", "patient/Schedule.cruds"):
        app = clinic.scoped(scope)
        for path in (*READING, *WRITING):
            status, said = answer(app, path)
            assert SECRET not in said, path
            assert status >= 400 or (status == 200 and "fullUrl" not in said), path
    assert {name: clinic.open.get(name).text for name in NAMES} == before


def test_a_composite_of_a_chain_is_no_oracle(clinic: Clinic) -> None:
    """HAPI FHIR, issue 6065: `_has` with a composite told the values of observations that were not to be seen."""
    narrow = clinic.scoped("patient/Patient.rs")
    for value in ("gt0", "gt50", "lt1000"):
        asked = f"Patient?_has:Observation:patient:code-value-quantity=8867-4${value}&_total=accurate"
        assert entries(clinic.open.bundle(asked)) != [] or value == "gt1000"
        assert narrow.bundle(asked)["total"] == 0
        assert clinic.app.bundle(asked.replace(value, "gt150"))["total"] == 0


def test_a_user_who_is_nobody_here_reaches_nobodys_data(clinic: Clinic) -> None:
    """Microsoft FHIR server, MSRC-128308: without fhirUser the compartment was left out, and all could be read."""
    for scope in ("user/*.cruds", "patient/*.cruds"):
        app = clinic.scoped(scope, None)
        for name in ("Patient", "Observation", "DocumentReference", "Practitioner", "Binary", "_history"):
            assert entries(app.bundle(name)) == [], (scope, name)
        for name in NAMES:
            assert app.get(name).status_code == 404, (scope, name)


def test_two_patients_in_one_request_are_not_both_let_in(clinic: Clinic) -> None:
    """HAPI FHIR, pull request 5556: a list of patients was let in for one of them."""
    for query in (
        "Patient?_id=p,q",
        "Patient?_id=q,p",
        "Observation?patient=Patient/p,Patient/q&_include=Observation:patient",
        "Observation?patient=Patient/p&_id=pulse,other",
        "?_type=Patient,Observation&_id=p,q,other",
    ):
        assert SECRET not in clinic.app.get(query).text, query
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueString": "q"}]}
    assert SECRET not in clinic.app.post("Observation/$lastn?patient=p&category=vital-signs", parameters).text


# what Medplum mended, as its pull requests say it, translated to what there is here


@pytest.mark.parametrize(
    ("scope", "direct", "chain"),
    [
        ("patient/Observation.rs", "Patient?family=lovelace", "Observation?subject:Patient.family=lovelace"),
        ("patient/Observation.rs patient/Patient.r", "Patient?family=lovelace", "Observation?patient.family=lovelace"),
        ("patient/Patient.rs", "Observation?code=8867-4", "Patient?_has:Observation:patient:code=8867-4"),
        ("patient/Patient.rs patient/Observation.r", "Observation?_id=lab", "Patient?_has:Observation:patient:_id=lab"),
        (
            "patient/Patient.rs patient/Observation.rs?category=laboratory",
            "Observation?_id=pulse",
            "Patient?_has:Observation:patient:_id=pulse",
        ),
        (
            "patient/Observation.rs?category=laboratory",
            "Observation?_id=pulse",
            "Observation?has-member:Observation._id=pulse",
        ),
        ("patient/QuestionnaireResponse.rs", "Questionnaire?_id=form", "QuestionnaireResponse?questionnaire._id=form"),
        (
            "patient/Patient.rs patient/Encounter.rs",
            "Location?name=ward",
            "Patient?_has:Encounter:patient:location.name=ward",
        ),
        ("patient/*.rs", "Patient?family=zuse", "Organization?_has:Patient:organization:family=zuse"),
    ],
)
def test_what_a_link_leads_to_is_found_as_by_a_search_of_its_own(
    clinic: Clinic, scope: str, direct: str, chain: str
) -> None:
    """Medplum, pull request 9973: chains and `_has` asked linked resources without the filters of a direct search."""
    app = clinic.scoped(scope)
    found = app.get(direct)
    assert found.status_code == 403 or entries(found.json()) == []
    asked = app.get(f"{chain}&_total=accurate")
    assert asked.status_code == 403 or (entries(asked.json()), asked.json()["total"]) == ([], 0)
    sees = clinic.open.bundle(chain)
    assert "zuse" in chain or entries(sees), "the chain would find something"


@pytest.mark.parametrize("name", ["compartment", "project", "account", "accounts", "author"])
def test_meta_says_nothing_about_whose_data_it_is(clinic: Clinic, name: str) -> None:
    """Medplum, pull requests 6145 and 9255: who wrote `meta.compartment` or `meta.accounts` moved data to others."""
    value: Any = [to("Patient/q")] if name in ("compartment", "accounts") else to("Patient/q")
    mine = pulse("moved", "p", 66)
    put(clinic.open, mine)
    theirs = clinic.scoped("patient/*.cruds", "q")
    for tried in (
        clinic.app.put("Observation/moved", mine | {"meta": {name: value}}),
        clinic.app.patch("Observation/moved", [{"op": "add", "path": f"/meta/{name}", "value": value}]),
        clinic.app.patch("Observation/moved", [{"op": "replace", "path": "/meta", "value": {name: value}}]),
        clinic.app.put("Observation/moved", mine | {"compartments": ["Patient/q"], "belonged": ["Patient/q"]}),
        theirs.put("Observation/moved", mine | {"meta": {name: value}}),
    ):
        assert tried.status_code in (400, 404, 422), tried.text
    inside = {"url": f"http://example.org/{name}", "valueReference": to("Patient/q")}
    assert clinic.app.put("Observation/moved", mine | {"meta": {"extension": [inside]}}).status_code in (200, 403)
    assert theirs.get("Observation/moved").status_code == 404
    assert "moved" not in theirs.get("Observation?_count=100").text
    assert clinic.app.get("Observation/moved").status_code == 200
    assert clinic.open.delete("Observation/moved").status_code == 204


def test_a_search_needs_leave_to_search(clinic: Clinic) -> None:
    """Medplum, pull request 8521: who might read a type, but not search it, searched it all the same."""
    reader = clinic.scoped("patient/*.r")
    assert reader.get("Observation/pulse").status_code == 200
    for query in (
        "Observation?_id=pulse",
        "Observation?_summary=count",
        "Patient/p/Observation",
        "Patient/p/*",
        "?_type=Observation",
        "Observation/_history",
        "_history",
        "Patient/$everything",
        "Observation/$lastn?patient=p&category=vital-signs",
        "Observation/$stats?subject=Patient/p&code=8867-4&statistic=count",
    ):
        answer = reader.get(query)
        assert answer.status_code == 403 or entries(answer.json()) == [], query
        assert answer.json().get("total", 0) == 0, query
    body = {key: value for key, value in pulse("x", "p", 70).items() if key != "id"}
    writer = clinic.scoped("patient/*.crud")
    assert writer.put("Observation?code=8867-4", body).status_code == 403
    assert writer.patch("Observation?code=8867-4", [{"op": "remove", "path": "/note"}]).status_code == 403
    assert writer.delete("Observation?code=8867-4").status_code == 403
    assert writer.post("Observation", body, headers={"If-None-Exist": "code=8867-4"}).status_code == 403
    linked = body | {"encounter": to("Encounter?patient=p")}
    transaction = {"resource": linked, "request": {"method": "POST", "url": "Observation"}}
    answer = writer.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [transaction]})
    assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("scope", ["patient/*.cruds", "patient/Observation.cruds", "user/*.cruds"])
def test_a_scope_without_a_context_writes_nowhere(clinic: Clinic, scope: str) -> None:
    """Medplum, pull request 10500: `patient/` scopes without a patient in the launch were not refused."""
    lost = clinic.scoped(scope, None)
    body = pulse("pulse", "p", 90)
    for tried in (
        lost.put("Observation/pulse", body),
        lost.post("Observation", {key: value for key, value in body.items() if key != "id"}),
        lost.post("Observation", {key: value for key, value in body.items() if key not in ("id", "subject")}),
        lost.patch("Observation/pulse", [{"op": "replace", "path": "/status", "value": "amended"}]),
        lost.put("Patient/p", resource("Patient/p", name=[{"family": "Changed"}])),
    ):
        assert tried.status_code in (403, 404), tried.text
    lost.delete("Observation/pulse")
    assert clinic.app.get("Observation/pulse").status_code == 200


@pytest.mark.parametrize(
    "criterion",
    [
        *(
            "category=laboratory",
            "code=8867-4",
            "value-quantity=gt61",
            "date=2026-01-06",
            "performer=PractitionerRole/role",
        ),
        *("performer:missing=false", "performer:missing=true", "category:not=laboratory", "_id:missing=true"),
    ],
)
def test_a_criterion_means_the_same_in_a_read_as_in_a_search(clinic: Clinic, criterion: str) -> None:
    """Medplum, pull request 2840: the check of one resource did not know `:missing`, which searches knew.

    Here scopes have no modifiers: who asks for one reaches nothing, either way.
    """
    names = ("pulse", "lab", "other", "other-lab")
    wide = {*entries(clinic.app.bundle(f"Observation?{criterion}&_count=100"))}
    wide = set() if ":" in criterion else wide
    assert ":" in criterion or wide & {f"Observation/{name}" for name in names}
    app = clinic.scoped(f"patient/Observation.rs?{criterion}")
    for name in names:
        reference = f"Observation/{name}"
        seen = app.get(reference).status_code == 200
        assert seen == (reference in wide), reference
        found = app.get(f"Observation?_id={name}")
        assert (found.status_code == 200 and entries(found.json()) == [reference]) == seen
        version = clinic.open.get(reference).json()["meta"]["versionId"]
        assert (app.get(f"{reference}/_history/{version}").status_code == 200) == seen


def test_a_reference_does_not_tell_whether_it_leads_somewhere(serve: Serve, apps: Apps) -> None:
    """Medplum, pull request 3207: references were checked on writing as the server sees, not as the writer does."""
    served = serve(referential_integrity=True)
    for each in (
        resource("Patient/p"),
        resource("Patient/q"),
        resource("Practitioner/other", name=[{"family": SECRET}]),
        resource("Device/other", patient=to("Patient/q")),
    ):
        put(served.client, each)
    app = apps(served, "patient/*.cruds", "p")
    for there, nowhere in (("Practitioner/other", "Practitioner/nobody"), ("Device/other", "Device/nobody")):
        body = {key: value for key, value in pulse("x", "p", 70).items() if key != "id"}
        name = "device" if there.startswith("Device") else "performer"
        told = []
        for target in (there, nowhere):
            answer = app.post("Observation", body | {name: to(target) if name == "device" else [to(target)]})
            told.append((answer.status_code, answer.text.replace(target, "")))
        assert told[0] == told[1]
        assert told[0][0] >= 400


def test_nobody_makes_themselves_somebody_who_sees_more(clinic: Clinic) -> None:
    """Medplum, pull request 82: `meta.project` made who wrote it a member. Here it would be one of these."""
    consented = [{"meaning": "related", "reference": to("Patient/q")}]
    apps = [clinic.app, clinic.scoped("user/*.cruds")]
    for body in (
        resource("RelatedPerson/x", patient=to("Patient/q"), active=True, name=[{"family": "Lovelace"}]),
        resource("PractitionerRole/x", practitioner=to("Practitioner/doctor"), organization=to("Organization/clinic")),
        resource("CareTeam/x", status="active", subject=to("Patient/q"), participant=[{"member": to("Patient/p")}]),
        resource("Group/x", type="person", actual=True, member=[{"entity": to("Patient/q")}]),
        resource("Person/x", link=[{"target": to("Patient/q")}, {"target": to("Patient/p")}]),
        resource("Device/x", patient=to("Patient/q")),
        resource(
            "Consent/x",
            status="active",
            scope=code("privacy", "patient-privacy", "http://terminology.hl7.org/CodeSystem/consentscope"),
            category=[code("privacy", "59284-0")],
            patient=to("Patient/q"),
            policyRule={"text": "all"},
            provision={"type": "permit", "actor": [{"role": {"text": "x"}, "reference": to("Patient/p")}]}
            | {"data": consented},
        ),
    ):
        name = body["resourceType"]
        for app in apps:
            made = app.post(name, {key: value for key, value in body.items() if key != "id"})
            assert made.status_code == 403, (name, made.text)
    assert clinic.app.get("Patient/q").status_code == 404


def test_criteria_of_scopes_hold_on_every_path(clinic: Clinic) -> None:
    labs = clinic.scoped("patient/Observation.cruds?category=laboratory")
    assert entries(labs.bundle("Observation")) == ["Observation/lab"]
    assert labs.get("Observation/lab").status_code == 200
    assert labs.get("Observation/pulse").status_code == 404
    assert labs.get("Observation/pulse/_history/1").status_code == 404
    assert labs.get("Observation/old").status_code == 404
    assert entries(labs.bundle("Observation/_history")) == ["Observation/lab"]
    assert entries(labs.bundle("Observation?_has:Observation:has-member:_id=lab")) == []
    assert labs.delete("Observation/pulse").status_code == 204
    assert clinic.app.get("Observation/pulse").status_code == 200
    body = {key: value for key, value in pulse("x", "p", 71).items() if key != "id"}
    assert labs.post("Observation", body).status_code == 403
    made = labs.post(
        "Observation", {key: value for key, value in pulse("x", "p", 71, "laboratory").items() if key != "id"}
    )
    assert made.status_code == 201
    away = [{"op": "replace", "path": "/category/0/coding/0/code", "value": "exam"}]
    assert labs.patch(f"Observation/{made.json()['id']}", away).status_code == 403
    assert labs.delete(f"Observation/{made.json()['id']}").status_code == 204


def test_of_two_scopes_the_wider_one_counts(clinic: Clinic) -> None:
    both = clinic.scoped("patient/Observation.rs?category=laboratory patient/Observation.rs?category=vital-signs")
    assert {"Observation/lab", "Observation/pulse"} <= {*entries(both.bundle("Observation"))}
    mixed = clinic.scoped("patient/Observation.rs patient/Observation.d?category=laboratory")
    assert mixed.delete("Observation/pulse").status_code == 403  # it is seen, so there is nothing to hide
    assert clinic.app.get("Observation/pulse").status_code == 200


def test_totals_and_guesses_are_of_ones_own(clinic: Clinic) -> None:
    mine = clinic.app.bundle("Observation?_total=accurate&_count=1")["total"]
    assert clinic.app.bundle("Observation?_total=estimate&_count=1")["total"] == mine
    assert clinic.app.bundle("Observation?_summary=count")["total"] == mine
    assert clinic.open.bundle("Observation?_summary=count")["total"] > mine


def test_how_far_an_index_is_is_no_count_of_others(serve: Serve, apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    served.client.put("Patient/p", {"resourceType": "Patient", "id": "p"})
    nickname = resource("SearchParameter/nickname", url="http://example.org/nickname", name="N", status="active")
    nickname |= {"description": "x", "base": ["Patient"], "code": "nickname", "type": "string"}
    put(served.client, nickname | {"expression": "Patient.name.given"})
    asked = Live.job

    async def half_done(live: Live, type_: str) -> Job | None:
        job = await asked(live, type_)
        return job and job._replace(progress=Progress(321, 642))

    monkeypatch.setattr(Live, "job", half_done)
    for fhir, told in ((served.client, True), (apps(served, "patient/*.cruds", "p"), False)):
        said = fhir.get("Patient?nickname=x").text
        assert "nickname is a new search parameter" in said
        assert ("50 % of 642 Patient resources are indexed" in said) is told


def test_what_others_contain_and_is_not_indexed_yet_is_nobody_elses_lack(serve: Serve, apps: Apps) -> None:
    served = serve()
    lot = resource("SearchParameter/lot", url="http://example.org/lot", name="Lot", status="active", description="x")
    lot |= {"base": ["Medication"], "code": "lot", "type": "string", "expression": "Medication.batch.lotNumber"}

    def ordered(name: str, patient: str) -> dict[str, Any]:
        inside = [{"resourceType": "Medication", "id": "m", "batch": {"lotNumber": "L7"}}]
        what = {"medicationReference": to("#m"), "contained": inside, "subject": to(f"Patient/{patient}")}
        return resource(f"MedicationRequest/{name}", status="active", intent="order") | what

    for each in (resource("Patient/p"), resource("Patient/q"), ordered("other", "q"), lot):
        put(served.client, each)
    served.work()
    put(served.client, ordered("mine", "p"))
    app = apps(served, "patient/*.rs", "p")
    for search in ("MedicationRequest?medication.lot=l7", "Medication?lot=l7&_contained=true"):
        assert '"incomplete"' in served.client.get(search).text
        found = app.bundle(search)
        assert (entries(found), found["total"]) == (["MedicationRequest/mine"], 1)


def test_the_server_is_not_told_what_to_do(clinic: Clinic) -> None:
    """What is for administrators, and what would change it for everybody."""
    for name in ("_jobs", "$stats", "Observation/$explain", "Observation?_explain=true"):
        answer = clinic.app.get(name)
        assert answer.status_code == 403, name
        assert "is for administrators: it takes an access token of an administrator's account" in answer.text, name
    for name in ("$reindex", "Observation/$reindex", "Observation/pulse/$reindex"):
        assert clinic.app.post(name).status_code == 403, name
    for type_ in ("SearchParameter", "AuditEvent", "Organization", "Practitioner", "Patient", "Subscription"):
        answer = clinic.app.post(type_, resource(f"{type_}/x"))
        assert answer.status_code in (400, 403, 422), type_


def test_who_looked_at_a_record_is_not_rewritten(clinic: Clinic) -> None:
    seen = resource(
        "AuditEvent/seen",
        type={"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        recorded="2026-01-01T00:00:00Z",
        agent=[{"requestor": True, "who": to("Practitioner/doctor")}],
        source={"observer": {"display": "server"}},
        entity=[{"what": to("Patient/p")}],
    )
    put(clinic.open, seen)
    assert entries(clinic.app.bundle("AuditEvent")) == ["AuditEvent/seen"]
    assert clinic.app.delete("AuditEvent/seen").status_code == 403
    assert clinic.app.put("AuditEvent/seen", seen | {"recorded": "2025-01-01T00:00:00Z"}).status_code == 403
    assert clinic.app.post("AuditEvent", seen).status_code == 403


def test_who_is_linked_to_a_patient_does_not_learn_who_looked_at_that_one(serve: Serve, apps: Apps) -> None:
    """An event is for the patient whose data was touched, not for all that are named there."""
    served = serve(open=False)
    system, app = apps(served, "system/*.cruds"), apps(served, "patient/*.rs", "p")
    put(system, resource("Patient/p"))
    put(system, resource("Patient/q", link=[{"other": to("Patient/p"), "type": "seealso"}]))
    system.get("Patient/q")
    assert "Patient/q" not in app.get("AuditEvent?_count=50").text
    assert "Patient/p" in app.get("AuditEvent?_count=50").text


def test_what_has_the_url_of_a_definition_is_no_definition(serve: Serve, apps: Apps) -> None:
    """A record names a questionnaire by its URL; a device that answers at the same one is not named with it."""
    served = serve()
    answers = {"status": "completed", "subject": to("Patient/p"), "questionnaire": "http://example.org/x"}
    for each in (
        resource("Patient/p"),
        resource("Questionnaire/x", status="active", url="http://example.org/x"),
        resource("Device/x", url="http://example.org/x", lotNumber=SECRET),
        resource("QuestionnaireResponse/x", **answers),
    ):
        put(served.client, each)
    app = apps(served, "patient/*.rs", "p")
    assert app.get("Questionnaire/x").status_code == 200
    assert entries(app.bundle("Questionnaire/_history")) == ["Questionnaire/x"]
    assert app.get("Device/x").status_code == 404
    assert entries(app.bundle("Device")) == []


def test_tokens_are_asked_for_and_only_tokens_count(serve: Serve, apps: Apps) -> None:
    served = serve(open=False)
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic cDpw"}):
        answer = served.client.get("Patient/p", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    system = apps(served, "system/*.cruds")
    for each in (*SHARED, *OWN):
        put(system, each)
    assert system.get("Patient/p").status_code == 200
    reader = apps(served, "system/Observation.u")
    assert reader.put("Observation/pulse", pulse("pulse", "p", 64)).status_code == 200
    assert reader.put("Observation/fresh", pulse("fresh", "p", 64)).status_code == 403
    assert reader.get("Observation/pulse").status_code == 403


def test_a_history_inside_a_transaction_misses_nothing_beside_what_is_hidden(
    serve: Serve, apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what is hidden fills more than an answer, and the versions of a type come in several batches."""
    monkeypatch.setattr(union, "IN_ONE_BATCH", 2)
    served = serve(max_response_bytes=20_000)
    hidden, text = [pulse(f"h{number}", "p", 60, "laboratory") for number in range(9)], "x" * 6_000
    written = [pulse("first", "p", 60), pulse("first", "p", 61), pulse("second", "p", 62)]
    for each in (resource("Patient/p"), *written, *(each | {"note": [{"text": text}]} for each in hidden)):
        put(served.client, each)
    app = apps(served, f"system/Observation.rs?category={CATEGORY}|vital-signs")
    bundle = {"resourceType": "Bundle", "type": "transaction"}
    bundle["entry"] = [{"request": {"method": "GET", "url": "Observation/_history"}}]
    alone, together = app.bundle("Observation/_history"), app.post("", bundle).json()["entry"][0]["resource"]
    assert entries(alone) == entries(together) == ["Observation/second", "Observation/first", "Observation/first"]


@pytest.mark.parametrize("first", ["vital-signs", "laboratory"])
def test_each_deletion_is_seen_by_who_saw_what_was_deleted(serve: Serve, apps: Apps, first: str) -> None:
    """Not by who saw what was deleted under the same id at another time."""
    served = serve()
    put(served.client, resource("Patient/p"))
    second = "vital-signs" if first == "laboratory" else "laboratory"
    for category in (first, second):
        put(served.client, pulse("x", "p", 60, category))
        assert served.client.delete("Observation/x").status_code == 204
    put(served.client, pulse("x", "p", 60))
    app = apps(served, f"system/Observation.rs?category={CATEGORY}|vital-signs")
    seen = [5, 4, 3] if second == "vital-signs" else [5, 2, 1]
    for url in ("Observation/_history", "Observation/x/_history"):
        assert [e["response"]["etag"] for e in app.bundle(url)["entry"]] == [f'W/"{number}"' for number in seen]
