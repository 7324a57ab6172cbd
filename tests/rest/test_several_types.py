"""A search of several types: what all of them share can be asked, in one order, page by page."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

STRICT = {"Prefer": "handling=strict"}
LOINC = "http://loinc.org"
ORG = "Organization/org"


def ref(reference: str) -> dict[str, str]:
    return {"reference": reference}


def observation(id_: str, code: str, who: str, when: str | None = None) -> dict[str, Any]:
    coded = {"coding": [{"system": LOINC, "code": code}], "text": f"Sign {code}"}
    found = {"resourceType": "Observation", "id": id_, "status": "final", "code": coded, "subject": ref(who)}
    return found | ({"effectiveDateTime": when} if when else {})


def condition(id_: str, code: str, who: str) -> dict[str, Any]:
    coded = {"coding": [{"system": LOINC, "code": code}], "text": f"Trouble {code}"}
    return {"resourceType": "Condition", "id": id_, "code": coded, "subject": ref(who)}


def procedure(id_: str, who: str, when: str | None = None) -> dict[str, Any]:
    found = {"resourceType": "Procedure", "id": id_, "status": "completed", "subject": ref(who)}
    return found | ({"performedDateTime": when} if when else {})


# In the order in which they are written.
RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "org", "identifier": [{"value": "org"}]},
    {"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}], "managingOrganization": ref(ORG)},
    {"resourceType": "Patient", "id": "ben", "name": [{"family": "Zed"}]},
    observation("o1", "a", "Patient/ada", "2024-01-01"),
    condition("c1", "a", "Patient/ada"),
    observation("o2", "b", "Patient/ada"),
    procedure("p1", "Patient/ada", "2024-02-01"),
    condition("c2", "a", "Patient/ben"),
    observation("o3", "a", "Patient/ben", "2024-03-01"),
    procedure("p2", "Patient/ben"),
    {
        "resourceType": "Provenance",
        "id": "v",
        "target": [ref("Condition/c1"), ref("Observation/o3")],
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"who": ref("Organization/org")}],
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def record(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in RESOURCES:
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    return fhir


def found(bundle: dict[str, Any], mode: str = "match") -> str:
    return " ".join(e["resource"].get("id", "") for e in bundle.get("entry", []) if e["search"]["mode"] == mode)


def link(bundle: dict[str, Any], relation: str) -> str | None:
    return next((each["url"] for each in bundle["link"] if each["relation"] == relation), None)


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("_type=Observation,Condition", "c1 c2 o1 o2 o3"),
        ("_type=Observation&_type=Condition", "c1 c2 o1 o2 o3"),
        ("_type=Observation,Condition&code=a", "c1 c2 o1 o3"),
        (f"_type=Observation,Condition&code={LOINC}|a&patient=Patient/ada", "c1 o1"),
        ("_type=Observation,Condition&code:text=trouble", "c1 c2"),
        ("_type=Observation,Condition&code:not=a", "o2"),
        ("_type=Observation,Condition&patient.name=zed", "c2 o3"),
        ("_type=Observation,Condition&subject:Patient.organization.name:missing=true", "c1 o1 o2"),
        ("_type=Observation,Condition&_has:Provenance:target:agent=Organization/org", "c1 o3"),
        ("_type=Observation,Condition&_filter=code eq b or patient re Patient/ben", "c2 o2 o3"),
        ("_type=Observation,Condition&_filter=patient.name sw \"love\"", "c1 o1 o2"),
        ("_type=Observation,Condition&_id=c2,o1,p1", "c2 o1"),
        ("_type=Observation,Condition&_sort=-_id", "o3 o2 o1 c2 c1"),
        ("_type=Observation,Condition&_sort=_lastUpdated", "o1 c1 o2 c2 o3"),
        ("_type=Observation,Condition&code=a&_sort=-_lastUpdated", "o3 c2 c1 o1"),
        ("_type=Observation,Procedure&_sort=date", "o1 p1 o3 o2 p2"),
        ("_type=Observation,Procedure&_sort=-date", "o3 p1 o1 o2 p2"),
        ("_type=Observation,Condition,Procedure&_sort=subject,-_lastUpdated", "p1 o2 c1 o1 p2 o3 c2"),
        ("_type=Observation,Condition&_sort=code,-_id", "o3 o1 c2 c1 o2"),
        ("_type=Observation,Procedure&date=ge2024-02", "o3 p1"),
        ("_type=Observation,Condition&subject=Location/x", ""),
        ("_id=ada,o1", "o1 ada"),
        ("_lastUpdated=lt2000", ""),
    ],
)  # fmt: skip
def test_what_all_types_share_can_be_asked(record: Fhir, query: str, matches: str) -> None:
    assert found(record.bundle(f"?{query}", headers=STRICT)) == matches


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "query",
    [
        "_type=Observation,Condition,Procedure",
        "_type=Observation,Procedure&_sort=date",
        "_type=Observation,Procedure&_sort=-date,status",
        "_type=Observation,Condition,Procedure&_sort=-_lastUpdated",
        "_sort=_lastUpdated",
        "",
    ],
)
def test_pages_of_several_types_go_forward_and_back(record: Fhir, query: str, count: int) -> None:
    whole = found(record.bundle(f"?{query}")).split()
    page = record.bundle(f"?{query}&_count={count}")
    first, seen, urls = page, found(page).split(), [link(page, "self")]
    while (url := link(page, "next")) is not None:
        page = record.bundle(url)
        seen += found(page).split()
        urls.append(url)
        assert link(page, "first") == urls[0]
    assert seen == whole
    back: list[str] = []
    while (url := link(page, "previous")) is not None:
        page = record.bundle(url)
        back = found(page).split() + back
    assert back == whole[: len(back)]
    assert len(back) >= len(whole) - count
    assert found(page) == found(first)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("_type=Patient,Observation&code=a", "code is not a search parameter of Patient"),
        ("_type=Observation,Condition&value-quantity=5", "value-quantity is not a search parameter of Condition"),
        ("_type=Observation,Encounter&class=x", "class is not a search parameter of Observation"),
        ("_type=Observation,Patient&_has:Encounter:diagnosis:status=x", "never refers to Observation; it may"),
        ("_type=Observation,Organization&subject.name=x", "subject"),
        ("code=a", "code is not a search parameter of"),
        ("_type=Observation,Patient&_revinclude=Practitioner:organization", "names no reference"),
        ("_type=Observation,RiskEvidenceSynthesis&context=x", "context"),
    ],
)
def test_what_one_type_does_not_know_is_named(record: Fhir, query: str, named: str) -> None:
    bundle = record.bundle(f"?{query}")
    (outcome,) = (e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "outcome")
    assert named in outcome["issue"][0]["diagnostics"]
    name = query.rpartition("&")[2].partition("=")[0]
    assert name not in (link(bundle, "self") or "").replace("%3A", ":")
    refused = record.get(f"?{query}", headers=STRICT)
    assert refused.status_code == 400
    assert named in refused.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    "query",
    ["_type=Observation,Condition&_sort=date", "_type=Observation,Patient&_sort=value-quantity", "_sort=code",
     "_type=Observation,Condition&_filter=date gt 2020", "_type=Observation,Condition&code=a|b|c",
     "_type=Nonsense", "_type=,Condition", "_type=Observation,Condition&_cursor=AAAA"],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(record: Fhir, query: str) -> None:
    assert record.get(f"?{query}").status_code == 400


def test_a_search_of_one_type_may_name_it(record: Fhir) -> None:
    bundle = record.bundle("Observation?_type=Observation,Condition&code=b", headers=STRICT)
    assert found(bundle) == "o2"
    assert "_type=Observation,Condition" in (link(bundle, "self") or "")
    refused = record.get("Observation?_type=Condition&code=b")
    assert refused.status_code == 400
    assert refused.json()["issue"][0]["diagnostics"] == "_type: Condition is not searched here"


def test_a_name_of_two_kinds_has_no_values_and_no_order_that_types_share(record: Fhir) -> None:
    refused = record.get("?_type=Device,Medication&manufacturer=x", headers=STRICT)
    assert refused.status_code == 400
    assert "a string of Device and a reference of Medication" in refused.json()["issue"][0]["diagnostics"]
    assert found(record.bundle("?_type=Device,Medication&manufacturer=x"), "outcome") == ""
    assert record.get("?_type=Device,Medication&_sort=manufacturer").status_code == 400


def test_inclusions_start_from_whichever_type_has_them(record: Fhir) -> None:
    base = "?_type=Observation,Condition&code=a&patient=Patient/ada"
    assert found(record.bundle(f"{base}&_include=Observation:subject"), "include") == "ada"
    assert found(record.bundle(f"{base}&_include=Condition:subject", headers=STRICT), "include") == "ada"
    assert found(record.bundle(f"{base}&_include=*"), "include") == "ada"
    assert found(record.bundle(f"{base}&_revinclude=Provenance:target"), "include") == "v"
    iterated = f"{base}&_include=Observation:subject&_include:iterate=Patient:organization"
    assert sorted(found(record.bundle(iterated), "include").split()) == ["ada", "org"]
    matches_too = "?_type=Observation,Patient&_id=o1,ada&_include=Observation:subject"
    assert found(record.bundle(matches_too), "include") == ""


def test_totals_and_parts(record: Fhir) -> None:
    assert record.bundle("?_type=Observation,Condition&code=a&_summary=count")["total"] == 4
    assert record.bundle("?_type=Observation,Condition&_count=0")["total"] == 5
    assert record.bundle("?_type=Observation,Condition&_count=2&_total=accurate")["total"] == 5
    assert "total" not in record.bundle("?_type=Observation,Condition&_count=2")
    assert record.bundle("?_summary=count")["total"] == len(RESOURCES)
    (entry,) = record.bundle("?_type=Observation,Patient&_id=ada&_elements=name")["entry"]
    assert set(entry["resource"]) == {"resourceType", "id", "meta", "name"}
    (entry,) = record.bundle("?_type=Observation,Patient&_id=ada&_summary=true")["entry"]
    assert entry["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"


def test_a_compartment_is_searched_by_what_its_types_share(record: Fhir) -> None:
    assert found(record.bundle("Patient/ada/*?_type=Observation,Condition&code=a")) == "c1 o1"
    assert found(record.bundle("Patient/ada/*?_sort=-_lastUpdated")) == "p1 o2 c1 o1 ada"
    assert record.get("Patient/ada/*?_type=Questionnaire").status_code == 400
    page = record.bundle("Patient/ada/*?_sort=-_lastUpdated&_count=2")
    assert found(record.bundle(link(page, "next") or "")) == "c1 o1"
    other = (link(page, "next") or "").replace("Patient/ada", "Patient/ben")
    assert record.get(other).status_code == 400


def test_the_search_is_part_of_batches_and_transactions(record: Fhir) -> None:
    get = {"request": {"method": "GET", "url": "?_type=Observation,Procedure&_sort=date&_count=3"}}
    for kind in ("batch", "transaction"):
        answer = record.post("", {"resourceType": "Bundle", "type": kind, "entry": [get]}).json()
        assert found(answer["entry"][0]["resource"]) == "o1 p1 o3", kind


def test_what_stays_is_seen_once_while_others_come_and_go(serve: Serve) -> None:
    fhir = serve().client
    chance = random.Random(7)

    def write(number: int) -> None:
        day = chance.choice([None, f"2024-01-0{chance.randrange(1, 4)}"])
        made = (
            observation(f"n{number}", "a", "Patient/ada", day)
            if number % 2
            else procedure(f"n{number}", "Patient/ada", day)
        )
        assert fhir.put(f"{made['resourceType']}/{made['id']}", made).status_code in (200, 201)

    for number in range(30):
        write(number)
    staying = {f"n{number}" for number in range(15)}
    for order in ("", "date", "-date", "-_lastUpdated", "-_id"):
        search = "?_type=Observation,Procedure" + (f"&_sort={order}" if order else "")
        expected = [id_ for id_ in fhir.ids(f"{search}&_count=100") if id_ in staying]
        page = fhir.bundle(f"{search}&_count=4")
        for relation in ("next", "previous"):
            seen = found(page).split()
            while (url := link(page, relation)) is not None:
                gone = chance.randrange(15, 30)
                fhir.delete(f"{'Observation' if gone % 2 else 'Procedure'}/n{gone}")
                write(chance.randrange(15, 30))
                page = fhir.bundle(url)
                seen = seen + found(page).split() if relation == "next" else found(page).split() + seen
            assert [id_ for id_ in seen if id_ in staying] == expected, (order, relation)
