"""Contained resources: chains lead into them, and `_contained` finds them. https://hl7.org/fhir/R4/search.html#contained"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

if TYPE_CHECKING:
    from conftest import Fhir, Serve

RX = "http://example.org/medications"
STRICT = {"Prefer": "handling=strict"}
Json = dict[str, Any]


def to(reference: str) -> Json:
    return {"reference": reference}


def coded(*codes: str) -> Json:
    return {"coding": [{"system": RX, "code": code} for code in codes]}


def medication(id_: str, *codes: str, **more: Any) -> Json:
    return {"resourceType": "Medication", "id": id_, "code": coded(*codes), **more}


def organization(id_: str, name: str, **more: Any) -> Json:
    return {"resourceType": "Organization", "id": id_, "name": name, **more}


def request(id_: str, *inside: Json, medication: str = "#m", patient: str = "Patient/ada", **more: Any) -> Json:
    found = {"resourceType": "MedicationRequest", "id": id_, "status": "active", "intent": "order"}
    found |= {"subject": to(patient), "medicationReference": to(medication), **more}
    return found | ({"contained": [*inside]} if inside else {})


RESOURCES: list[Json] = [
    {"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}], "gender": "female"},
    organization("acme", "Acme"),
    medication("plain", "abc", manufacturer=to("Organization/acme")),
    medication("made", "xyz", manufacturer=to("#o"), contained=[organization("o", "Bolt")]),
    request("r1", medication("m", "abc", ingredient=[{"itemCodeableConcept": coded("salt")}])),
    request("r2", medication("m", "xyz", manufacturer=to("Organization/acme"))),
    request("r3", medication("m", "abc", manufacturer=to("#o")), organization("o", "Bolt", partOf=to("#top")),
            organization("top", "Cog")),
    request("r4", medication="Medication/plain"),
    request("r5", medication="Medication/made"),
    request("r6", medication("m", "abc"), medication("n", "xyz", manufacturer=to("#o")), organization("o", "Bolt"),
            {"resourceType": "Condition", "id": "c", "subject": to("Patient/ada"), "code": coded("ill")},
            reasonReference=[to("#c")], supportingInformation=[to("#n")]),
    {
        "resourceType": "Observation", "id": "o1", "status": "final", "code": coded("pulse"), "subject": to("#p"),
        "effectiveDateTime": "2024-01-01",
        "contained": [{
            "resourceType": "Patient", "id": "p", "name": [{"family": "Émile"}], "birthDate": "1990-05",
            "identifier": [{"system": "urn:mrn", "value": "7"}],
        }],
    },
    {
        "resourceType": "Observation", "id": "o2", "status": "final", "code": coded("pulse"),
        "subject": to("Patient/ada"), "effectiveDateTime": "2024-02-01",
    },
    {
        "resourceType": "DiagnosticReport", "id": "d", "status": "final", "code": coded("panel"),
        "subject": to("Patient/ada"), "result": [to("#high"), to("#low")],
        "contained": [
            {"resourceType": "Observation", "id": id_, "status": status, "code": coded("pulse"),
             "subject": to("Patient/ada"), "valueQuantity": {"value": value, "unit": "/min"}}
            for id_, status, value in (("high", "final", 90), ("low", "preliminary", 50))
        ],
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def record(fhir: Fhir) -> Fhir:
    for resource in RESOURCES:
        answer = fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


# chains


@pytest.mark.parametrize(
    ("search", "matches"),
    [
        ("MedicationRequest?medication.code=abc", "r1 r3 r4 r6"),
        (f"MedicationRequest?medication.code={RX}|xyz", "r2 r5"),
        ("MedicationRequest?medication:Medication.ingredient-code=salt", "r1"),
        ("MedicationRequest?medication.ingredient-code:missing=true", "r2 r3 r4 r5 r6"),
        ("MedicationRequest?medication.code:not=abc", "r2 r5"),
        ("MedicationRequest?medication._id=m", "r1 r2 r3 r6"),
        ("MedicationRequest?medication.manufacturer.name=acme", "r2 r4"),  # from what is contained to what is not
        ("MedicationRequest?medication.manufacturer.name=bolt", "r3 r5"),  # within, and from without into it
        ("MedicationRequest?medication.manufacturer.partof.name=cog", "r3"),
        ("MedicationRequest?medication.manufacturer.partof=Organization/acme", ""),
        ("MedicationRequest?medication.manufacturer:missing=true", "r1 r6"),
        ("MedicationRequest?patient.name=love&medication.code=xyz", "r2 r5"),
        ("MedicationRequest?_filter=medication[code eq abc].manufacturer.name eq bolt", "r3"),
        ("MedicationRequest?_filter=medication.code eq abc and not (medication.manufacturer pr true)", "r1 r6"),
        ("Observation?patient.name=emil", "o1"),
        ("Observation?subject:Patient.birthdate=1990", "o1"),
        ("Observation?subject:Patient.birthdate=lt1990", ""),
        ("Observation?subject.identifier=urn:mrn|7", "o1"),
        ("Observation?subject.name:contains=mil", "o1"),
        ("Observation?patient:missing=true", ""),
        ("DiagnosticReport?result.status=final&result.value-quantity=lt60", "d"),  # each of one, not both
        ("DiagnosticReport?_filter=result[status eq final].value-quantity lt 60", ""),
        ("DiagnosticReport?_filter=result[status eq final].value-quantity gt 60", "d"),
        ("DiagnosticReport?result.code-value-quantity=pulse$gt80", "d"),
        ("DiagnosticReport?result.code-value-quantity=panel$gt80", ""),
        ("DiagnosticReport?result.patient.name=lovelace", "d"),
        ("Medication?manufacturer.name=bolt", "made"),
        ("Patient?_has:Observation:patient:code=pulse&_has:MedicationRequest:patient:medication.code=xyz", "ada"),
        ("Patient?_has:DiagnosticReport:patient:result.status=preliminary", "ada"),
    ],
)
def test_a_chain_is_evaluated_inside_contained_resources(record: Fhir, search: str, matches: str) -> None:
    assert " ".join(sorted(record.ids(search, headers=STRICT))) == matches


# _contained


def entries(bundle: Json, mode: str = "match") -> list[Json]:
    return [each for each in bundle.get("entry", ()) if each["search"]["mode"] == mode]


def urls(fhir: Fhir, bundle: Json, mode: str = "match") -> str:
    """The ids of containers, with their types where they have several."""
    return " ".join(each["fullUrl"].removeprefix(f"{fhir.base_url}/") for each in entries(bundle, mode))


R = "MedicationRequest"


@pytest.mark.parametrize(
    ("search", "container", "contained"),
    [
        ("Medication?code=abc", "r1 r3 r6", "r1#m r3#m r6#m"),
        (f"Medication?code={RX}|xyz", "r2 r6", "r2#m r6#n"),
        ("Medication?code:not=abc", "r2 r6", "r2#m r6#n"),
        ("Medication?code=abc,xyz&manufacturer:missing=true", "r1 r6", "r1#m r6#m"),  # of one resource
        ("Medication?_filter=code eq abc and manufacturer pr true", "r3", "r3#m"),
        ("Medication?manufacturer=Organization/acme", "r2", "r2#m"),
        ("Medication?manufacturer.name=acme", "r2", "r2#m"),
        ("Medication?manufacturer.name=bolt", "r3 r6", "r3#m r6#n"),
        ("Medication?manufacturer.partof.name=cog", "r3", "r3#m"),
        ("Medication?code=abc&manufacturer.name=bolt", "r3", "r3#m"),
        ("Medication?_id=n", "r6", "r6#n"),
        ("Medication?_id=plain", "", ""),
        ("Medication", "r1 r2 r3 r6", "r1#m r2#m r3#m r6#m r6#n"),
        ("Medication?_lastUpdated=gt2020&code=xyz", "r2 r6", "r2#m r6#n"),
        ("Medication?_lastUpdated=lt2020", "", ""),
        ("Medication?_sort=-_id", "r6 r3 r2 r1", "r6#n r6#m r3#m r2#m r1#m"),
        ("Medication?_sort=_lastUpdated", "r1 r2 r3 r6", "r1#m r2#m r3#m r6#m r6#n"),
        ("Medication?_count=2&_maxresults=3", "r1 r2", "r1#m r2#m"),
        ("Organization", "Medication/made r3 r6", "Medication/made#o r3#o r3#top r6#o"),
        ("Organization?_sort=-_lastUpdated", "r6 r3 Medication/made", "r6#o r3#top r3#o Medication/made#o"),
        ("Organization?name=bolt", "Medication/made r3 r6", "Medication/made#o r3#o r6#o"),
        ("Observation?value-quantity=gt80", "DiagnosticReport/d", "DiagnosticReport/d#high"),
        ("Observation?value-quantity=gt80&status=preliminary", "", ""),
        ("Observation?code-value-quantity=pulse$lt60", "DiagnosticReport/d", "DiagnosticReport/d#low"),
        ("Observation?patient.name=lovelace", "DiagnosticReport/d", "DiagnosticReport/d#high DiagnosticReport/d#low"),
        ("Patient?birthdate=1990", "Observation/o1", "Observation/o1#p"),
        ("Patient?name:exact=Émile", "Observation/o1", "Observation/o1#p"),
        ("Encounter", "", ""),
        ("Patient/ada/Condition", f"{R}/r6", f"{R}/r6#c"),
        ("Patient/ada/Observation?status=final", "DiagnosticReport/d", "DiagnosticReport/d#high"),
    ],
)
def test_contained_resources_are_found(record: Fhir, search: str, container: str, contained: str) -> None:
    search += f"{'&' if '?' in search else '?'}_contained=true"
    for kind, expected in (("container", container), ("contained", contained)):
        bundle = record.bundle(f"{search}&_containedType={kind}", headers=STRICT)
        assert urls(record, bundle) == " ".join(each if "/" in each else f"{R}/{each}" for each in expected.split()), (
            kind
        )
    assert urls(record, record.bundle(search)) == urls(record, record.bundle(f"{search}&_containedType=container"))


@pytest.mark.parametrize(
    ("search", "container", "contained"),
    [
        ("Medication?code=abc", f"Medication/plain {R}/r1 {R}/r3 {R}/r6",
         f"Medication/plain {R}/r1#m {R}/r3#m {R}/r6#m"),
        ("Medication?_id=made,n", f"Medication/made {R}/r6", f"Medication/made {R}/r6#n"),
        ("Organization?name=a", "Organization/acme", "Organization/acme"),
        ("Organization", f"Medication/made {R}/r3 {R}/r6 Organization/acme",
         f"Medication/made#o {R}/r3#o {R}/r3#top {R}/r6#o Organization/acme"),
        ("Medication?_sort=-_id", f"{R}/r6 {R}/r3 {R}/r2 {R}/r1 Medication/plain Medication/made",
         f"{R}/r6#n {R}/r6#m {R}/r3#m {R}/r2#m {R}/r1#m Medication/plain Medication/made"),
        ("Observation?code=pulse&patient=Patient/ada", "DiagnosticReport/d Observation/o2",
         "DiagnosticReport/d#high DiagnosticReport/d#low Observation/o2"),
        ("Patient/ada/Observation", "DiagnosticReport/d Observation/o2",
         "DiagnosticReport/d#high DiagnosticReport/d#low Observation/o2"),
    ],
)  # fmt: skip
def test_both_finds_matches_of_either_kind(record: Fhir, search: str, container: str, contained: str) -> None:
    search += f"{'&' if '?' in search else '?'}_contained=both"
    assert urls(record, record.bundle(search, headers=STRICT)) == container
    assert urls(record, record.bundle(f"{search}&_containedType=contained", headers=STRICT)) == contained
    found = record.bundle(f"{search}&_containedType=contained&_summary=count")
    assert found["total"] == len(contained.split())
    assert record.bundle(f"{search}&_total=estimate&_count=0")["total"] == len(container.split())


def test_what_is_contained_is_the_entry_itself(record: Fhir) -> None:
    (found,) = entries(record.bundle("Medication?ingredient-code=salt&_contained=true&_containedType=contained"))
    assert found["fullUrl"] == f"{record.base_url}/{R}/r1#m"
    assert found["resource"] == RESOURCES[4]["contained"][0]
    (found,) = entries(record.bundle("Medication?ingredient-code=salt&_contained=true"))
    assert found["resource"]["resourceType"] == R
    assert found["resource"]["contained"] == RESOURCES[4]["contained"]


@pytest.mark.parametrize("contained", ["true", "both"])
@pytest.mark.parametrize("kind", ["container", "contained"])
@pytest.mark.parametrize("sort", ["", "&_sort=_id", "&_sort=-_id", "&_sort=-_lastUpdated", "&_sort=_lastUpdated,-_id"])
@pytest.mark.parametrize("type_", ["Medication", "Organization", "Observation"])
def test_pages_go_forward_and_back(record: Fhir, type_: str, sort: str, kind: str, contained: str) -> None:
    search = f"{type_}?_contained={contained}&_containedType={kind}{sort}"
    whole = urls(record, record.bundle(search)).split()
    assert len(whole) == len({*whole}) == record.bundle(f"{search}&_summary=count")["total"]
    for count in (1, 2, 3):
        bundle = record.bundle(f"{search}&_count={count}")
        pages = [urls(record, bundle).split()]
        while forward := link(bundle, "next"):
            bundle = record.bundle(forward)
            pages.append(urls(record, bundle).split())
        assert [each for page in pages for each in page] == whole
        for page in reversed(pages[:-1]):
            bundle = record.bundle(link(bundle, "previous") or "")
            assert urls(record, bundle).split() == page
        assert "previous" not in [each["relation"] for each in bundle["link"]] or not urls(
            record, record.bundle(link(bundle, "previous") or "")
        )


def link(bundle: Json, relation: str) -> str | None:
    return next((each["url"] for each in bundle["link"] if each["relation"] == relation), None)


def test_a_cursor_is_good_for_its_own_search_only(record: Fhir) -> None:
    forward = link(record.bundle("Medication?_contained=true&_count=1"), "next")
    assert forward is not None
    assert record.get(forward).status_code == 200
    for other in (
        forward.replace("_contained=true", "_contained=both"),
        forward.replace("_contained=true", "_contained=true&_containedType=contained"),
        forward.replace("_contained=true&", ""),
        forward.replace("/Medication?", "/Organization?"),
    ):
        assert record.get(other).status_code == 400, other


def test_only_a_part_of_it_may_be_asked_for(record: Fhir) -> None:
    search = "Medication?ingredient-code=salt&_contained=true"
    (found,) = entries(record.bundle(f"{search}&_containedType=contained&_elements=code", headers=STRICT))
    assert set(found["resource"]) == {"resourceType", "id", "meta", "code"}
    assert found["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
    (found,) = entries(record.bundle(f"{search}&_elements={R}.status", headers=STRICT))
    assert found["resource"]["status"] == "active"
    assert "contained" not in found["resource"]
    (found,) = entries(record.bundle(f"{search}&_containedType=contained&_summary=true"))
    assert "ingredient" not in found["resource"]


# inclusions


@pytest.mark.parametrize(
    ("search", "included"),
    [
        (f"{R}?_id=r1&_include={R}:medication", ""),  # it is in its container already
        (f"{R}?_id=r4&_include={R}:medication", "Medication/plain"),
        (f"{R}?_id=r6&_include={R}:*", "Patient/ada"),
        (f"{R}?_id=r1,r4&_include={R}:medication&_include:iterate=Medication:manufacturer",
         "Medication/plain Organization/acme"),
        (f"Medication?code=xyz&_contained=true&_include={R}:patient", "Patient/ada"),
        ("Medication?code=xyz&_contained=true&_containedType=contained&_include=Medication:manufacturer",
         "Organization/acme"),
        ("Medication?code=xyz&_contained=both&_containedType=contained&_include=Medication:manufacturer",
         "Organization/acme"),
        ("Medication?code=abc&_contained=true&_containedType=contained&_include=Medication:manufacturer", ""),
        (f"Medication?_id=plain&_contained=both&_containedType=contained&_revinclude={R}:medication", f"{R}/r4"),
        (f"Medication?code=abc&_contained=true&_containedType=contained&_revinclude={R}:medication", ""),
        ("Observation?status=final&_contained=true&_include=DiagnosticReport:subject", "Patient/ada"),
    ],
)  # fmt: skip
def test_an_inclusion_never_repeats_what_is_contained(record: Fhir, search: str, included: str) -> None:
    bundle = record.bundle(search, headers=STRICT)
    assert urls(record, bundle, "include") == included
    assert all("#" not in each["fullUrl"] for each in entries(bundle, "include"))


# refusals


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ("Medication?_contained=yes", "'yes' is none of false, true, both"),
        ("Medication?_contained=true&_containedType=x", "'x' is none of container, contained"),
        ("Medication?_contained=true&_contained=true", "stands twice"),
        ("Medication?_contained=true&_sort=code", "contained resources are sorted by _id or _lastUpdated"),
        ("Medication?_contained=both&_content=x", "_content: the words of contained resources are found with"),
        ("Medication?_contained=true&_list=1", "_list: a list holds no contained resources"),
        (f"Medication?_contained=true&_has:{R}:medication:status=active", "_has: nothing but what contains them"),
        ("Medication?_contained=true&_filter=_lastUpdated gt 2020 or code eq x", "_lastUpdated: a contained resource"),
        ("?_type=Medication,Observation&_contained=true", "contained resources are searched by one type"),
        ("Medication?_contained:exact=true", "the modifier :exact is not supported"),
    ],
)
def test_what_makes_no_sense_is_refused(record: Fhir, search: str, sentence: str) -> None:
    answer = record.get(search)
    assert answer.status_code == 400, answer.text
    assert sentence in answer.json()["issue"][0]["diagnostics"]


def test_a_condition_is_about_resources_alone(record: Fhir) -> None:
    new = medication("x", "abc")
    del new["id"]
    condition = {"If-None-Exist": "code=abc&_contained=true"}
    for answer in (
        record.post("Medication", new, headers=condition),
        record.put("Medication?code=abc&_contained=both", new),
        record.delete("Medication?code=abc&_contained=true"),
    ):
        assert answer.status_code == 400, answer.text
        assert "a condition is about resources" in answer.json()["issue"][0]["diagnostics"]


def test_it_works_in_transactions_and_is_explained(record: Fhir) -> None:
    search = "Medication?code=xyz&_contained=true&_containedType=contained"
    get = {"request": {"method": "GET", "url": search}}
    answer = record.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [get]}).json()
    assert urls(record, answer["entry"][0]["resource"]) == f"{R}/r2#m {R}/r6#n"
    said = record.bundle(f"Medication/$explain?{search.partition('?')[2]}")["parameter"]
    assert any(each["name"] == "step" for each in said)
    assert f"{R}#Medication" not in str(said)


def test_an_update_and_a_deletion_are_seen_at_once(record: Fhir) -> None:
    record.put(f"{R}/r9", request("r9", medication("m", "new")))
    search = "Medication?code=new,newer&_contained=true"
    assert urls(record, record.bundle(search)) == f"{R}/r9"
    record.put(f"{R}/r9", request("r9", medication("k", "newer"), medication="#k"))
    assert urls(record, record.bundle(f"{search}&_containedType=contained")) == f"{R}/r9#k"
    assert record.ids(f"{R}?medication.code=newer") == ["r9"]
    record.delete(f"{R}/r9")
    assert record.bundle(search)["total"] == 0
    assert record.ids(f"{R}?medication.code=newer") == []


# what is stored already


def test_what_an_earlier_release_stored_is_found_after_a_reindex(serve: Serve, mongodb: str) -> None:
    served = serve()
    fhir = served.client
    fhir.put(f"{R}/old", request("old", medication("m", "abc")))
    with MongoClient[Json](mongodb) as client:
        requests = client[served.settings.database][R]
        requests.update_one({"_id": "old"}, {"$unset": {"search.#": 1, "search.#Medication": 1}})
    assert fhir.ids("Medication?code=abc&_contained=true") == []
    said = fhir.post(f"{R}/old/$reindex")
    assert said.status_code == 200, said.text
    assert "#Medication" in said.text
    assert fhir.ids("Medication?code=abc&_contained=true") == ["old"]
    assert fhir.ids(f"{R}?medication.code=abc") == ["old"]


LOT = {
    "resourceType": "SearchParameter",
    "url": "http://example.org/fhir/SearchParameter/lot",
    "name": "Lot",
    "status": "active",
    "description": "The lot of a medication",
    "code": "lot",
    "base": ["Medication"],
    "type": "string",
    "expression": "Medication.batch.lotNumber",
}


def test_a_new_parameter_finds_what_is_contained_and_says_what_it_may_miss(serve: Serve) -> None:
    served = serve()
    fhir = served.client
    lots = {id_: medication("m", "abc", batch={"lotNumber": "L7"}) for id_ in ("old", "new")}
    fhir.put(f"{R}/old", request("old", lots["old"]))
    fhir.put("SearchParameter/lot", LOT | {"id": "lot"})
    served.work()
    searches = ("Medication?lot=l7&_contained=true", f"{R}?medication.lot=l7")
    for known in ([], ["new"]):
        for search in searches:
            bundle = fhir.bundle(search)
            assert [each["resource"]["id"] for each in entries(bundle)] == known
            (outcome,) = entries(bundle, "outcome")
            assert f"lot: what each {R} contains is indexed" in outcome["resource"]["issue"][0]["diagnostics"]
            assert "total" not in bundle
            assert fhir.get(search, headers=STRICT).status_code == 400
        assert fhir.delete(f"{R}?medication.lot=l7").status_code == 400
        fhir.put(f"{R}/new", request("new", lots["new"]))
    assert fhir.ids("Medication?code=abc&_contained=true", headers=STRICT) == ["new", "old"]
    assert fhir.post(f"{R}/$reindex").status_code == 202
    served.work()
    for search in searches:
        assert fhir.ids(search, headers=STRICT) == ["new", "old"]


def test_a_chain_from_what_is_contained_follows_canonical_urls(serve: Serve) -> None:
    fhir = serve().client
    base = {"resourceType": "Questionnaire", "url": "http://example.org/q", "status": "active"}
    for version in ("1", "2"):
        fhir.put(
            f"Questionnaire/q{version}", base | {"id": f"q{version}", "version": version, "title": f"Form {version}"}
        )
    for id_, canonical in (("any", ""), ("one", "|1"), ("two", "|2")):
        inner = {"resourceType": "QuestionnaireResponse", "id": "a", "status": "completed"}
        inner |= {"questionnaire": f"http://example.org/q{canonical}"}
        fhir.put(
            f"Observation/{id_}",
            {"resourceType": "Observation", "id": id_, "status": "final", "code": coded("x"),
             "derivedFrom": [to("#a")], "contained": [inner]},
        )  # fmt: skip
    search = "QuestionnaireResponse?questionnaire.title=form 1&_contained=true"
    assert fhir.ids(search, headers=STRICT) == ["any", "one"]
    chain = "Observation?derived-from:QuestionnaireResponse.questionnaire.title=form 2"
    assert fhir.ids(chain, headers=STRICT) == ["any", "two"]
