"""Chained parameters and `_has` over HTTP. https://hl7.org/fhir/R4/search.html#chaining"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.interactions import chains, resolve, walk
from fhirserver.interactions import pages as gathered

UCUM = "http://unitsofmeasure.org"
STRICT = {"Prefer": "handling=strict"}
ASSESSED = "http://hl7.org/fhir/StructureDefinition/DiagnosticReport-geneticsAssessedCondition"


def ref(reference: str) -> dict[str, str]:
    return {"reference": reference}


def patient(id_: str, family: str, gender: str, born: str, **more: Any) -> dict[str, Any]:
    name = [{"family": family}]
    return {"resourceType": "Patient", "id": id_, "name": name, "gender": gender, "birthDate": born, **more}


def observation(id_: str, code: str, **more: Any) -> dict[str, Any]:
    coded = {"coding": [{"system": "http://loinc.org", "code": code}], "text": f"Sign {code}"}
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": coded, **more}


def quantity(value: float) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": "beats", "system": UCUM, "code": "/min"}}


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "top", "name": "Kingdom", "active": True},
    {"resourceType": "Organization", "id": "mid", "name": "County", "partOf": ref("Organization/top")},
    {"resourceType": "Organization", "id": "low", "name": "Clinic", "partOf": ref("Organization/mid")},
    {"resourceType": "Practitioner", "id": "grace", "name": [{"family": "Hopper"}], "gender": "female"},
    {"resourceType": "Device", "id": "cuff", "deviceName": [{"name": "Cuff", "type": "user-friendly-name"}]},
    {"resourceType": "Location", "id": "ward", "name": "Adams Ward"},
    patient(
        "ada",
        "Adams",
        "female",
        "1980-02-01",
        identifier=[{"system": "urn:mrn", "value": "A-1"}],
        managingOrganization=ref("Organization/low"),
        generalPractitioner=[ref("Practitioner/grace")],
        meta={"tag": [{"code": "vip"}]},
    ),
    patient("ben", "Brown", "male", "1990-05-17", managingOrganization=ref("Organization/top")),
    patient("cyd", "Cole", "female", "2000", generalPractitioner=[ref("Practitioner/grace/_history/1")]),
    {"resourceType": "Patient", "id": "dot"},
    observation("o1", "pulse", subject=ref("Patient/ada"), effectiveDateTime="2024-01-01", **quantity(60)),
    observation("o2", "pulse", subject=ref("Patient/ada"), performer=[ref("Practitioner/grace")], **quantity(70)),
    observation("o3", "bp", subject=ref("Patient/ben"), device=ref("Device/cuff"), effectiveDateTime="2024-02-01"),
    observation("o4", "pulse", subject=ref("Patient/cyd"), performer=[ref("Patient/cyd")]),
    observation("o5", "bp", subject=ref("Location/ward")),
    observation("o6", "sum", hasMember=[ref("Observation/o1"), ref("Observation/o3")]),
    observation("o7", "bp", subject=ref("Patient/nobody")),
    observation("o8", "bp", subject=ref("http://elsewhere.org/Patient/ada")),
    {
        "resourceType": "Group",
        "id": "g1",
        "type": "person",
        "actual": True,
        "code": {"text": "trial", "coding": [{"code": "trial"}]},
        "member": [{"entity": ref("Patient/ada")}, {"entity": ref("Patient/ben")}],
    },
    {
        "resourceType": "AuditEvent",
        "id": "a1",
        "type": {"code": "rest"},
        "recorded": "2024-03-01T00:00:00Z",
        "agent": [{"who": ref("Practitioner/grace"), "requestor": True}],
        "source": {"observer": ref("Device/cuff")},
        "entity": [{"what": ref("Observation/o1")}, {"what": ref("Observation/o3")}],
    },
    *(
        {
            "resourceType": "Provenance",
            "id": id_,
            "target": [ref(target)],
            "recorded": "2024-03-01T00:00:00Z",
            "agent": [{"who": ref("Practitioner/grace")}],
        }
        for id_, target in (("p1", "AuditEvent/a1"), ("p2", "Provenance/p1"))
    ),
    {"resourceType": "Condition", "id": "c1", "subject": ref("Patient/ada"), "code": {"text": "inherited"}},
    {
        "resourceType": "DiagnosticReport",
        "id": "d1",
        "status": "final",
        "code": {"text": "genome"},
        "extension": [{"url": ASSESSED, "valueReference": ref("Condition/c1")}],
    },
]


@pytest.fixture(scope="module")
def world(fhir):
    for resource in RESOURCES:
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    return fhir


SEVEN = "entity:Observation.patient.organization.partof.partof."  # after two hops more
NESTED = (  # six of seven
    "_has:Organization:partof:_has:Organization:partof:_has:Patient:organization:_has:Observation:patient:"
    "_has:AuditEvent:entity:_has:Provenance:target:"
)

FOUND = [
    # to one type
    ("Observation?subject:Patient.name=adams", "o1 o2"),
    ("Observation?subject:Patient.name=ADA,br", "o1 o2 o3"),
    ("Observation?subject:Patient.family:exact=Adams", "o1 o2"),
    ("Observation?subject:Patient.family:exact=adams", ""),
    ("Observation?subject:Patient.family:contains=ow", "o3"),
    ("Observation?subject:Patient.gender=female", "o1 o2 o4"),
    ("Observation?subject:Patient.gender:not=female", "o3"),
    ("Observation?subject:Patient.gender:missing=true", ""),
    ("Observation?subject:Patient.name:missing=false", "o1 o2 o3 o4"),
    ("Observation?subject:Patient.birthdate=1980", "o1 o2"),
    ("Observation?subject:Patient.birthdate=ge1990", "o3 o4"),
    ("Observation?subject:Patient.birthdate=sa1980-02-01", "o3 o4"),
    ("Observation?patient.identifier=urn:mrn|A-1", "o1 o2"),
    ("Observation?patient._id=ada,cyd", "o1 o2 o4"),
    ("Observation?patient._id=nobody", ""),
    ("Observation?patient._tag=vip", "o1 o2"),
    ("Observation?patient._lastUpdated=gt2020", "o1 o2 o3 o4"),
    ("Observation?subject:Patient.general-practitioner=Practitioner/grace", "o1 o2 o4"),
    # by a reference in an extension
    ("DiagnosticReport?assessed-condition:Condition.patient.name=adams", "d1"),
    ("DiagnosticReport?assessed-condition:Condition.patient.name=brown", ""),
    ("Condition?_has:DiagnosticReport:assessed-condition:code:text=genome", "c1"),
    # to every type that has the parameter
    ("Observation?subject.name=adams", "o1 o2 o5"),
    ("Observation?subject:Location.name=adams", "o5"),
    ("Observation?subject.gender=male", "o3"),
    ("Observation?subject._id=ward", "o5"),
    ("Observation?performer.name=hop,cole", "o2 o4"),
    ("Observation?device.device-name=cuff", "o3"),
    # deeper
    ("Observation?patient.organization.name=clinic", "o1 o2"),
    ("Observation?patient.organization.partof.name=county", "o1 o2"),
    ("Observation?patient.organization.partof.partof.name=kingdom", "o1 o2"),
    ("Observation?patient.organization.active=true", "o3"),
    ("Observation?patient.general-practitioner:Practitioner.family=hopper", "o1 o2 o4"),
    ("Observation?has-member:Observation.patient.organization.name=king", "o6"),
    (f"Provenance?target:Provenance.target:AuditEvent.{SEVEN}name=kingdom", "p2"),
    (f"Provenance?target:Provenance.target:AuditEvent.{SEVEN}name=county", ""),
    (f"Provenance?_filter=target:Provenance.target:AuditEvent.{SEVEN}name eq kingdom", "p2"),
    ("Organization?" + "partof." * 20 + "name=x", ""),
    # quantities and composites at the end
    ("Observation?has-member:Observation.value-quantity=gt50", "o6"),
    (f"Observation?has-member:Observation.value-quantity=60|{UCUM}|/min", "o6"),
    (f"Observation?has-member:Observation.value-quantity=61|{UCUM}|/min", ""),
    ("Observation?has-member:Observation.code-value-quantity=pulse$gt50", "o6"),
    ("Observation?has-member:Observation.code-value-quantity=bp$gt50", ""),
    # several
    ("Observation?patient.gender=female&patient.birthdate=lt1990", "o1 o2"),
    ("Observation?patient.gender=female&code=pulse&performer:Practitioner.name=hopper", "o2"),
    ("Observation?patient.name=adams&patient.gender=male", ""),
    # _has
    ("Patient?_has:Observation:patient:code=pulse", "ada cyd"),
    ("Patient?_has:Observation:patient:code=bp", "ben"),
    ("Patient?_has:Observation:patient:code=pulse,bp", "ada ben cyd"),
    ("Patient?_has:Observation:subject:code:text=sign", "ada ben cyd"),
    ("Patient?_has:Observation:patient:date:missing=true", "ada cyd"),
    ("Patient?_has:Observation:patient:value-quantity=ge70", "ada"),
    ("Patient?_has:Observation:patient:code=pulse&_has:Observation:patient:performer=Practitioner/grace", "ada"),
    ("Patient?_has:Observation:patient:code=pulse&gender=female&birthdate=2000", "cyd"),
    ("Patient?_has:Observation:patient:_id=o3", "ben"),
    ("Patient?_has:Group:member:code=trial", "ada ben"),
    ("Location?_has:Observation:subject:code=bp", "ward"),
    ("Practitioner?_has:Patient:general-practitioner:gender=female", "grace"),
    ("Practitioner?_has:Patient:general-practitioner:name=cole", "grace"),
    ("Patient?_has:Observation:patient:_has:AuditEvent:entity:agent=Practitioner/grace", "ada ben"),
    ("Patient?_has:Observation:patient:_has:AuditEvent:entity:agent=grace&gender=male", "ben"),
    ("Organization?_has:Patient:organization:_has:Observation:patient:code=pulse", "low"),
    (f"Organization?{NESTED}_has:Provenance:target:_id=p2", "top"),
    (f"Organization?{NESTED}_has:Provenance:target:_id=p1", ""),
    (f"Organization?{NESTED}_has:Provenance:target:agent:Practitioner.name=hopper", "top"),
    # each inside the other
    ("Patient?_has:Observation:patient:performer:Practitioner.name=hopper", "ada"),
    ("Patient?_has:Observation:patient:device.device-name=cuff", "ben"),
    ("Observation?patient._has:Group:member:code=trial", "o1 o2 o3"),
    ("Observation?patient._has:Group:member:code=other", ""),
    ("Observation?patient._has:Observation:patient:date=2024-02", "o3"),
    ("Patient?organization.partof.name=county&_has:Observation:patient:code=pulse", "ada"),
    ("Patient?organization.partof.partof._has:Organization:partof:_has:Organization:partof:name=clinic", "ada"),
    (f"Patient?organization.partof.partof.{NESTED}_has:Provenance:target:target:Provenance._id=p1", "ada"),
]


@pytest.mark.parametrize(("url", "found"), FOUND)
def test_what_a_chain_finds(world, url, found):
    assert world.ids(url) == found.split()
    bundle = world.bundle(url)
    assert (bundle["total"], bundle["link"][0]["relation"]) == (len(found.split()), "self")
    assert world.ids(bundle["link"][0]["url"]) == found.split()
    assert world.bundle(f"{url}&_summary=count")["total"] == len(found.split())
    type_, _, query = url.partition("?")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = world.request("POST", f"{type_}/_search", content=query, headers=form).json()
    assert [entry["resource"]["id"] for entry in posted.get("entry", [])] == found.split()


def test_a_chain_in_a_compartment_with_a_sort_and_an_inclusion(world):
    assert world.ids("Patient/ada/Observation?performer:Practitioner.name=hopper") == ["o2"]
    assert world.ids("Observation?patient.gender=female&_sort=-date") == ["o1", "o4", "o2"]
    bundle = world.bundle("Observation?patient.organization.name=clinic&_include=Observation:patient")
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == ["o1", "o2", "ada"]
    bundle = world.bundle("Patient?_has:Observation:patient:code=bp&_revinclude=Observation:patient")
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == ["ben", "o3"]


def test_unknown_parts_are_reported_or_refused(world):
    said = "nme is not a search parameter of Patient here; did you mean name?"
    bundle = world.bundle("Observation?_id=o1&patient.nme=x")
    assert said in bundle["entry"][-1]["resource"]["issue"][0]["diagnostics"]
    assert bundle["link"][0]["url"].endswith("Observation?_id=o1")
    refused = world.get("Observation?_id=o1&patient.nme=x", headers=STRICT)
    assert refused.status_code == 400
    assert said in refused.json()["issue"][0]["diagnostics"]
    for url in ("Observation?_sort=patient.name", "Observation?patient.birthdate=then"):
        assert world.get(url).status_code == 400


def test_a_parameter_without_a_value_is_reported_and_ignored_but_in_conditions(world):
    bundle = world.bundle("Patient?_id=ada&name=&_has:Observation:patient:code=")
    assert [entry["resource"]["id"] for entry in bundle["entry"][:-1]] == ["ada"]
    said = [issue["diagnostics"] for issue in bundle["entry"][-1]["resource"]["issue"]]
    assert said == ["name: has no value; it was ignored", "code: has no value; it was ignored"]
    assert bundle["link"][0]["url"].endswith("Patient?_id=ada")
    assert world.get("Patient?_id=ada&name=", headers=STRICT).status_code == 400
    assert world.delete("Patient?name=").status_code == 400
    assert world.ids("Patient?_id=ada") == ["ada"]


def walked(fhir, url: str) -> list[list[str]]:
    pages = []
    while url:
        bundle = fhir.bundle(url)
        pages.append([entry["resource"]["id"] for entry in bundle.get("entry", [])])
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return pages


WALKED = {
    "Patient?_has:Observation:patient:code=pulse,bp": "ada ben cyd",
    "Patient?_has:Observation:patient:code=pulse": "ada cyd",
    "Patient?_has:Observation:patient:code=pulse&gender=female,male&_lastUpdated=gt2000": "ada cyd",
    "Patient?_has:Observation:patient:code=pulse,bp&_has:Observation:patient:code=pulse": "ada cyd",
    "Patient?_has:Observation:patient:code=pulse&name=cole": "cyd",
    "Patient?_has:Observation:patient:code=unknown": "",
}


@pytest.mark.parametrize(
    ("step", "dense", "sparse", "short"), [(1, 1_000, 0, 0), (2, 1, 9, 0), (1, 1, 9, 9), (9, 1, 1, 0)]
)
@pytest.mark.parametrize(("url", "found"), WALKED.items(), ids=[*WALKED])
def test_pages_are_the_same_walked_or_listed(world, monkeypatch, url, found, step, dense, sparse, short):
    monkeypatch.setattr(gathered, "STEP", step)
    for name, number in (("DENSE", dense), ("SPARSE", sparse), ("SHORT", short)):
        monkeypatch.setattr(walk, name, number)
    assert world.ids(url) == found.split()
    pages = walked(world, f"{url}&_count=1")
    assert [id_ for page in pages for id_ in page] == found.split()
    bundle = world.bundle(f"{url}&_count=2&_revinclude=Observation:patient")
    assert bundle.get("total") == (len(found.split()) if len(found.split()) <= 2 else None)
    assert world.bundle(f"{url}&_count=1&_total=accurate")["total"] == len(found.split())
    for link in bundle["link"]:
        if link["relation"] == "next":
            following = world.bundle(link["url"])
            before = next(each["url"] for each in following["link"] if each["relation"] == "previous")
            assert world.ids(before)[:2] == found.split()[:2]


def test_pages_of_a_chained_search(world):
    assert walked(world, "Observation?patient.name:missing=false&_count=3") == [["o1", "o2", "o3"], ["o4"]]
    assert walked(world, "Observation?patient.name:missing=false&_count=2&_sort=-code") == [["o4", "o2"], ["o1", "o3"]]
    assert walked(world, "Patient?_has:Observation:patient:code=pulse,bp&_count=2") == [["ada", "ben"], ["cyd"]]
    first = world.bundle("Patient?_has:Observation:patient:code=pulse,bp&_count=2&_total=accurate")
    assert first["total"] == 3
    following = first["link"][-1]["url"]
    assert world.get(following.replace("pulse", "bp")).status_code == 400


def test_what_was_deleted_leads_nowhere(fhir):
    fhir.put("Patient/gone", patient("gone", "Unique", "female", "1980", managingOrganization=ref("Organization/end")))
    fhir.put("Organization/end", {"resourceType": "Organization", "id": "end", "name": "Terminal"})
    fhir.put("Observation/left", observation("left", "rare", subject=ref("Patient/gone")))
    urls = (
        "patient.name=unique",
        "patient.organization.name=terminal",
        "patient._id=gone",
        "patient.name:exact=Unique",
    )
    for url in urls:
        assert fhir.ids(f"Observation?{url}") == ["left"]
    assert fhir.ids("Organization?_has:Patient:organization:_has:Observation:patient:code=rare") == ["end"]
    fhir.delete("Patient/gone")
    for url in (*urls, "patient.gender:not=male&code=rare", "patient.gender:missing=true&code=rare"):
        assert fhir.ids(f"Observation?{url}") == []
    assert fhir.ids("Organization?_has:Patient:organization:_has:Observation:patient:code=rare") == []
    assert fhir.ids("Patient?_has:Observation:patient:code=rare") == []
    fhir.put("Patient/gone", patient("gone", "Unique", "female", "1980"))
    assert fhir.ids("Patient?_has:Observation:patient:code=rare") == ["gone"]
    fhir.delete("Observation/left")
    assert fhir.ids("Patient?_has:Observation:patient:code=rare") == []


def test_conditions_may_be_chains(world):
    made = observation("x", "weight", subject=ref("Patient/ben"))
    del made["id"]
    same = {"If-None-Exist": "patient.name=brown&code=weight"}
    first, again = (world.post("Observation", made, headers=same) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    changed = world.put("Observation?patient.organization.name=kingdom&code=weight", made | {"status": "amended"})
    assert (changed.status_code, changed.json()["id"]) == (200, first.json()["id"])
    assert world.put("Observation?patient.nme=brown&code=weight", made).status_code == 400
    many = world.put("Observation?patient.gender=female", made)
    assert (many.status_code, many.json()["issue"][0]["code"]) == (412, "multiple-matches")
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": ref("Patient?organization.name=kingdom")}
    linked = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "resource": basic,
                "request": {"method": "POST", "url": "Basic"},
            },
            {"request": {"method": "GET", "url": "Patient?_has:Observation:patient:code=weight"}},
            {"request": {"method": "DELETE", "url": "Observation?patient.name=brown&code=weight"}},
        ],
    }
    answer = world.post("", linked)
    assert answer.status_code == 200, answer.text
    created = answer.json()["entry"][0]["response"]["location"].split("/_history")[0]
    assert world.get(created).json()["subject"] == ref("Patient/ben")
    assert world.ids("Observation?patient.name=brown&code=weight") == []


def test_a_chain_that_leads_through_too_much_is_too_costly(world, monkeypatch):
    for each in (chains, resolve):
        monkeypatch.setattr(each, "LISTED", 2)
    for url in (
        "Observation?subject.name:missing=false",
        "Patient?_has:Observation:patient:code=pulse,bp&_sort=birthdate",
    ):
        refused = world.get(url)
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (422, "too-costly")
        assert "narrow it" in refused.json()["issue"][0]["diagnostics"]
    monkeypatch.undo()
    monkeypatch.setattr(resolve, "LISTED_BYTES", 100)
    assert world.get("Observation?patient.name=adams&patient.gender=female").status_code == 200
    refused = world.get("Observation?patient.gender=female&patient.name:missing=false")
    assert refused.json()["issue"][0]["code"] == "too-costly"


def test_a_chain_has_the_time_of_one_search(serve):
    hasty = serve(search_timeout_ms=1).client
    for number in range(300):
        hasty.create({"resourceType": "Organization", "name": f"Part {number}"})
    refused = hasty.get("Organization?" + "partof." * 5 + "name=part")
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (422, "too-costly")


# A chain finds what a client finds in two steps.

SIZE = "_count=1000"
linked = st.lists(st.none() | st.integers(0, 3), min_size=5, max_size=5)
worlds = st.tuples(
    linked, st.lists(st.sampled_from(["male", "female"]), min_size=5, max_size=5), linked, st.sets(st.integers(0, 3))
)


def build(fhir, organizations, genders, subjects, deleted) -> None:
    entries: list[dict[str, Any]] = []

    def add(resource: dict[str, Any]) -> None:
        request = {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}
        entries.append({"resource": resource, "request": request})

    for number, (organization, gender, subject) in enumerate(zip(organizations, genders, subjects, strict=True)):
        add({"resourceType": "Organization", "id": f"w{number}", "name": f"N{number % 2}"})
        managed = {} if organization is None else {"managingOrganization": ref(f"Organization/w{organization}")}
        add({"resourceType": "Patient", "id": f"w{number}", "gender": gender, **managed})
        about = {} if subject is None else {"subject": ref(f"Patient/w{subject}")}
        add(observation(f"w{number}", f"c{number % 3}", **about))
    answer = fhir.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert {entry["response"]["status"][:3] for entry in answer.json()["entry"]} <= {"200", "201"}
    for number in deleted:
        assert fhir.delete(f"Patient/w{number}").status_code in (200, 204)


def forward(fhir, type_: str, code: str, far: str, ids: set[str]) -> set[str]:
    joined = ",".join(f"{far}/{id_}" for id_ in sorted(ids))
    return set(fhir.ids(f"{type_}?{code}={joined}&{SIZE}")) if ids else set()


def backward(fhir, type_: str, source: str, field: str, ids: set[str]) -> set[str]:
    joined = ",".join(sorted(ids))
    entries = fhir.bundle(f"{source}?_id={joined}&{SIZE}").get("entry", []) if ids else []
    referred = {entry["resource"][field]["reference"].split("/")[1] for entry in entries if field in entry["resource"]}
    return set(fhir.ids(f"{type_}?_id={','.join(sorted(referred))}&{SIZE}")) if referred else set()


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(worlds)
def test_a_chain_finds_what_two_steps_find(serve_alone, world_):
    fhir = serve_alone
    build(fhir, *world_)
    women = set(fhir.ids(f"Patient?gender=female&{SIZE}"))
    of_women = forward(fhir, "Observation", "patient", "Patient", women)
    assert set(fhir.ids(f"Observation?patient.gender=female&{SIZE}")) == of_women
    assert set(fhir.ids(f"Observation?subject.gender=female&{SIZE}")) == of_women

    managed = forward(fhir, "Patient", "organization", "Organization", set(fhir.ids(f"Organization?name=n1&{SIZE}")))
    of_managed = forward(fhir, "Observation", "patient", "Patient", managed)
    assert set(fhir.ids(f"Observation?patient.organization.name=n1&{SIZE}")) == of_managed
    both = f"Observation?patient.organization.name=n1&patient.gender=female&{SIZE}"
    assert set(fhir.ids(both)) == of_managed & of_women

    coded = set(fhir.ids(f"Observation?code=c1&{SIZE}"))
    having = backward(fhir, "Patient", "Observation", "subject", coded)
    assert set(fhir.ids(f"Patient?_has:Observation:patient:code=c1&{SIZE}")) == having
    managing = backward(fhir, "Organization", "Patient", "managingOrganization", having)
    nested = f"Organization?_has:Patient:organization:_has:Observation:patient:code=c1&{SIZE}"
    assert set(fhir.ids(nested)) == managing
    mixed = f"Observation?patient._has:Observation:patient:code=c1&{SIZE}"
    assert set(fhir.ids(mixed)) == forward(fhir, "Observation", "patient", "Patient", having)
    within = f"Patient?_has:Observation:patient:patient.gender=female&{SIZE}"
    assert set(fhir.ids(within)) == backward(fhir, "Patient", "Observation", "subject", of_women)

    # however many refer to it, a resource is one row; and no more rows than there are references
    rows = fhir.ids(f"Patient?_has:Observation:patient:code=c1&{SIZE}")
    assert len(rows) == len(set(rows)) <= len(coded)
    assert fhir.bundle("Patient?_has:Observation:patient:code=c1&_summary=count")["total"] == len(rows)
    by_one = "Patient?_has:Observation:patient:code=c1&_count=1"
    assert [id_ for page in walked(fhir, by_one) for id_ in page] == rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "DENSE", 0)  # always a list
        patch.setattr(walk, "SPARSE", 0)
        assert [id_ for page in walked(fhir, by_one) for id_ in page] == rows


@pytest.fixture(scope="module")
def serve_alone(serve):
    """A database of its own, which the random worlds write over and over."""
    return serve().client
