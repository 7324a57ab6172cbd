"""$everything of a patient and of an encounter: what is in it, what comes with it, and its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir import json
from fhirserver.fhir.references import links, mentioned, parse

if TYPE_CHECKING:
    from conftest import Fhir

BASE = "http://localhost:8000/fhir"
Json = dict[str, Any]


def to(reference: str) -> Json:
    return {"reference": reference}


def observation(id_: str, **more: Any) -> Json:
    said = {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"}}
    return said | {"subject": to("Patient/ada")} | more


def resources(base: str) -> list[Json]:
    clinic = {"resourceType": "Organization", "name": "Clinic"}
    document = {"resourceType": "DocumentReference", "status": "current", "subject": to("Patient/ada")}
    return [
        {"resourceType": "Patient", "id": "ada", "managingOrganization": to("Organization/clinic")},
        {"resourceType": "Patient", "id": "bob", "link": [{"other": to("Patient/ada"), "type": "seealso"}]},
        clinic | {"id": "clinic"},
        clinic | {"id": "ward"},
        clinic | {"id": "lab"},
        clinic | {"id": "unrelated"},
        {"resourceType": "Practitioner", "id": "grace"},
        {"resourceType": "Practitioner", "id": "alan"},
        {"resourceType": "Medication", "id": "drug"},
        {"resourceType": "Binary", "id": "scan", "contentType": "image/png", "data": "AAAA"},
        {"resourceType": "Binary", "id": "other", "contentType": "image/png", "data": "AAAA"},
        {
            "resourceType": "Encounter",
            "id": "stay",
            "status": "finished",
            "class": {"code": "IMP"},
            "subject": to("Patient/ada"),
            "participant": [{"individual": to("Practitioner/grace")}],
            "serviceProvider": to("Organization/ward"),
        },
        observation("plain"),
        observation("during", encounter=to("Encounter/stay"), performer=[to(f"{base}/Practitioner/alan")]),
        observation("bobs", subject=to("Patient/bob"), encounter=to("Encounter/stay")),
        observation("water", subject=to("Location/pond")),
        observation(
            "relating", derivedFrom=[to("Observation/water"), to("Observation/secret"), to("Observation/plain")]
        ),
        observation("secret", subject=to("Patient/bob")),
        observation(
            "versioned", performer=[to("Organization/lab/_history/1"), to("http://else.where/Practitioner/alan")]
        ),
        observation("told", note=[{"text": 'they said {"reference":"Organization/unrelated"} and left'}]),
        {
            "resourceType": "MedicationRequest",
            "id": "order",
            "status": "active",
            "intent": "order",
            "subject": to("Patient/ada"),
            "medicationReference": to("#inside"),
            "contained": [{"resourceType": "Medication", "id": "inside", "manufacturer": to("Organization/lab")}],
            "extension": [{"url": "urn:used", "valueReference": to("Medication/drug")}],
        },
        document | {"id": "doc", "content": [{"attachment": {"url": "Binary/scan"}}]},
    ]


@pytest.fixture(scope="module")
def record(fhir: Fhir) -> Fhir:
    for resource in resources(fhir.base_url):
        answer = fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


def found(record: Fhir, path: str) -> tuple[list[str], set[str]]:
    """References of matches, in order, and of what comes with them."""
    entries = record.bundle(path).get("entry", [])
    named = [(e["search"]["mode"], "/".join(e["fullUrl"].split("/")[-2:])) for e in entries]
    assert len(set(named)) == len(named)
    return [name for mode, name in named if mode == "match"], {name for mode, name in named if mode == "include"}


OBSERVATIONS = ["Observation/during", "Observation/plain", "Observation/relating", "Observation/told"]
MATCHES = ["Patient/ada", "DocumentReference/doc", "Encounter/stay", "MedicationRequest/order", *OBSERVATIONS]
MATCHES += ["Observation/versioned", "Patient/bob"]
WARD, STAFF = {"Organization/ward"}, {"Practitioner/grace", "Practitioner/alan"}
ALL = {"Organization/clinic", *WARD, "Organization/lab", *STAFF, "Medication/drug", "Binary/scan", "Observation/water"}

CASES: list[tuple[str, list[str], set[str]]] = [
    ("Patient/ada/$everything", MATCHES, ALL),
    ("Patient/ada/$everything?_type=Observation", [*OBSERVATIONS, "Observation/versioned"], {"Observation/water"}),
    ("Patient/ada/$everything?_type=Patient,Encounter", ["Patient/ada", "Encounter/stay", "Patient/bob"], set()),
    ("Patient/ada/$everything?_type=Patient&_type=Encounter", ["Patient/ada", "Encounter/stay", "Patient/bob"], set()),
    ("Patient/ada/$everything?_type=Practitioner", [], STAFF),
    ("Patient/ada/$everything?_type=Encounter,Medication", ["Encounter/stay"], {"Medication/drug"}),
    ("Patient/ada/$everything?_type=Claim", [], set()),
    ("Patient/ada/$everything?_since=2990", [], set()),
    ("Patient/ada/$everything?_since=2020-05", MATCHES, ALL),
    ("Encounter/stay/$everything", ["Encounter/stay", "Observation/bobs", "Observation/during"], WARD | STAFF),
    ("Encounter/stay/$everything?_type=Patient", [], {"Patient/ada"}),
    ("Encounter/stay/$everything?_type=Observation", ["Observation/bobs", "Observation/during"], set()),
    ("Encounter/stay/$everything?_since=2990-01-01T00:00:00Z", [], set()),
]


@pytest.mark.parametrize(("path", "matches", "others"), CASES)
def test_what_is_in_a_record(record: Fhir, path: str, matches: list[str], others: set[str]) -> None:
    if path == "Encounter/stay/$everything":
        others = others | {"Patient/ada"}
    assert found(record, path) == (matches, others)


OF_ALL = ["DocumentReference/doc", "Encounter/stay", "MedicationRequest/order"]
OF_ALL += sorted([*OBSERVATIONS, "Observation/bobs", "Observation/secret", "Observation/versioned"])
OF_ALL += ["Patient/ada", "Patient/bob"]
OF_EVERYBODY: list[tuple[str, list[str], set[str]]] = [
    ("", OF_ALL, ALL),
    ("_type=Patient", ["Patient/ada", "Patient/bob"], set()),
    ("_type=Encounter,Practitioner", ["Encounter/stay"], STAFF),
    ("_type=Organization", [], {"Organization/clinic", "Organization/lab", *WARD}),
    ("_type=Claim", [], set()),
    ("_since=2990", [], set()),
]


@pytest.mark.parametrize(("query", "matches", "others"), OF_EVERYBODY)
def test_what_is_in_all_records(record: Fhir, query: str, matches: list[str], others: set[str]) -> None:
    """https://hl7.org/fhir/R4/patient-operation-everything.html: of a type, all patients that the caller may see."""
    assert found(record, f"Patient/$everything?{query}") == (matches, others)


def test_all_records_are_posted_for_and_described(record: Fhir) -> None:
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Patient"}]}
    answer = record.post("Patient/$everything", parameters).json()
    assert answer["total"] == 2
    (listed,) = (each for each in record.bundle("metadata")["rest"][0]["resource"] if each["type"] == "Patient")
    assert "everything" in {each["name"] for each in listed["operation"]}
    assert record.get("Encounter/$everything").status_code == 404


@pytest.mark.parametrize("path", ["Patient/ada", "Encounter/stay", "Patient"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_pages_are_the_whole_in_parts(record: Fhir, path: str, count: int) -> None:
    whole, others = found(record, f"{path}/$everything")
    matches, came, url = [], set[str](), f"{path}/$everything?_count={count}"
    for _ in range(20):
        links_ = {link["relation"]: link["url"] for link in record.bundle(url)["link"]}
        page, with_it = found(record, url)
        assert len(page) <= count
        assert ("first" in links_) == bool(matches)
        assert links_.get("first", links_["self"]).endswith(f"{path}/$everything?_count={count}")
        matches, came, url = matches + page, came | with_it, links_.get("next", "")
        if not url:
            break
    assert (matches, came) == (whole, others)


def test_the_focus_takes_no_place_where_it_is_not_asked_for(record: Fhir) -> None:
    matches, _ = found(record, "Patient/ada/$everything?_type=Observation")
    first, _ = found(record, "Patient/ada/$everything?_type=Observation&_count=1")
    assert first == matches[:1]


def test_only_a_whole_record_has_a_total(record: Fhir) -> None:
    assert record.bundle("Patient/ada/$everything")["total"] == len(MATCHES)
    first = record.bundle("Patient/ada/$everything?_count=2")
    assert "total" not in first
    assert record.bundle("Patient/ada/$everything?_type=Observation")["total"] == 5


def test_parts_of_resources(record: Fhir) -> None:
    query = "_type=Encounter,Practitioner&_elements=status"
    encounter, *others = (e["resource"] for e in record.bundle(f"Patient/ada/$everything?{query}")["entry"])
    assert set(encounter) == {"resourceType", "id", "meta", "status", "class"}
    assert {each["id"] for each in others} == {"grace", "alan"}  # found although their references are left out
    summary = record.bundle("Patient/ada/$everything?_type=Patient&_summary=true")["entry"][0]["resource"]
    assert summary["meta"]["tag"][0]["code"] == "SUBSETTED"


REFUSED = [
    ("Patient/ada/$everything?_summary=count", "_summary=count is not possible here"),
    ("Patient/ada/$everything?_since=then", "then"),
    ("Patient/ada/$everything?_since=2020&_since=2021", "_since: one simple value"),
    ("Patient/ada/$everything?_type=Patient&_type=Nonsense", "Nonsense is not a resource type"),
    ("Patient/ada/$everything?_count=-1", "_count=-1 is not a whole number"),
    ("Patient/ada/$everything?_sort=date", "has no parameter '_sort'"),
    ("Encounter/stay/$everything?start=2020", "has no parameter 'start' here; it has _since, _type"),
    ("Encounter/stay/$everything?_cursor=AAAA", "cursor"),
    ("Patient/$everything?patient=ada", "has no parameter 'patient' here"),
    ("Patient/ada/$everything?_type=", "_type: has no value"),
]

# each for all records, for one, and for an encounter
IGNORED = [
    ("nonsense=1", "http.nonsense", "$everything has no parameter 'nonsense' here; it has "),
    ("_sort=date", "http._sort", "has no parameter '_sort' here"),
    ("_since=", "http._since", "_since: has no value"),
    ("_pretty=foo", "http._pretty", "_pretty: 'foo' is neither true nor false"),
    ("_elements=name,nmae", "http._elements", "_elements: nmae is no element at the top of what is searched"),
    ("_elements=code&_summary=true", "http._summary", "_elements says which parts are wanted"),
]


@pytest.mark.parametrize("path", ["Patient/$everything", "Patient/ada/$everything", "Encounter/stay/$everything"])
@pytest.mark.parametrize(("query", "place", "sentence"), IGNORED)
def test_what_is_ignored_is_told(record: Fhir, path: str, query: str, place: str, sentence: str) -> None:
    *entries, told = record.bundle(f"{path}?{query}&_count=2")["entry"]
    assert [each["fullUrl"] for each in entries] == [
        each["fullUrl"] for each in record.bundle(f"{path}?_count=2")["entry"]
    ]
    (issue,) = told["resource"]["issue"]
    assert (told["search"], issue["severity"], issue["expression"]) == ({"mode": "outcome"}, "warning", [place])
    assert sentence in issue["diagnostics"]
    assert issue["diagnostics"].endswith("; it was ignored")
    refused = record.get(f"{path}?{query}", headers={"Prefer": "handling=strict"})
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (400, [place])


def test_a_page_that_is_too_large_is_told(record: Fhir) -> None:
    whole = record.bundle("Patient/ada/$everything?_count=1001", headers={"Prefer": "handling=strict"})
    assert whole["link"][0]["url"].endswith("Patient/ada/$everything?_count=1000")
    (issue,) = whole["entry"][-1]["resource"]["issue"]
    assert (issue["severity"], issue["diagnostics"]) == ("information", "_count: a page has at most 1000 matches")


@pytest.mark.parametrize(("path", "sentence"), REFUSED)
def test_refusals(record: Fhir, path: str, sentence: str) -> None:
    answer = record.get(path, headers={"Prefer": "handling=strict"})
    assert answer.status_code == 400, answer.text
    assert sentence in answer.json()["issue"][0]["diagnostics"]


def test_a_cursor_is_good_for_its_record_only(record: Fhir) -> None:
    pages = record.bundle("Encounter/stay/$everything?_count=1")["link"]
    cursor = next(link["url"] for link in pages if link["relation"] == "next").partition("_cursor=")[2]
    assert record.get(f"Patient/ada/$everything?_cursor={cursor}").status_code == 400
    assert record.get(f"Patient/$everything?_cursor={cursor}").status_code == 400


def test_what_is_gone_has_no_record(record: Fhir) -> None:
    record.put("Patient/gone", {"resourceType": "Patient", "id": "gone"})
    record.put("Observation/left", observation("left", subject=to("Patient/gone")))
    assert found(record, "Patient/gone/$everything")[0] == ["Patient/gone", "Observation/left"]
    pages = {link["relation"]: link["url"] for link in record.bundle("Patient/gone/$everything?_count=1")["link"]}
    record.delete("Patient/gone")
    assert record.get("Patient/gone/$everything").status_code == 410
    assert record.get(pages["next"]).status_code == 410
    assert record.get("Encounter/nowhere/$everything").status_code == 404


def test_where_too_much_would_come_with_a_page_it_is_smaller_or_refused(
    record: Fhir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirserver.operations.everything.REFERRED", 2)
    matches, url = 0, "Patient/ada/$everything"
    while url:
        page = record.bundle(url)
        matches += sum(each["search"]["mode"] == "match" for each in page["entry"])
        assert sum(each["search"]["mode"] == "include" for each in page["entry"]) <= 2
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert matches == len(MATCHES)
    monkeypatch.setattr("fhirserver.operations.everything.REFERRED", 0)
    answer = record.get("Patient/ada/$everything")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "too-costly")


def test_a_record_of_more_types_than_are_asked_at_once(record: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(record, "Patient/ada/$everything?_count=9")
    monkeypatch.setattr("fhirserver.store.record.TOGETHER", 2)
    assert found(record, "Patient/ada/$everything?_count=9") == whole
    assert found(record, "Patient/ada/$everything") == (MATCHES, ALL)


REFERENCES = st.sampled_from(
    [
        "Patient/1",
        "Practitioner/a-1.b",
        "Organization/1/_history/2",
        f"{BASE}/Location/1",
        f"{BASE}/Location/1/_history/3",
        f"{BASE}x/Location/1",
        "http://else.where/fhir/Practitioner/1",
        "urn:uuid:00000000-0000-4000-8000-000000000000",
        "#inside",
        "Practitioner?identifier=1",
        'Patient/"1',
        "Patient/1/x",
        "patient/1",
    ]
)
TEXTS = st.sampled_from(
    ['"reference":"Patient/9"', '\\"reference":"Patient/9', "Patient/9", 'x","reference":"Patient/9']
)
NODES = st.recursive(
    st.fixed_dictionaries({"reference": REFERENCES}) | TEXTS,
    lambda children: (
        st.dictionaries(TEXTS | st.sampled_from("abc"), children, max_size=3) | st.lists(children, max_size=3)
    ),
    max_leaves=8,
)


@given(NODES)
def test_what_bytes_mention_is_what_references_say(node: Any) -> None:
    expected: dict[str, set[str]] = {}
    for link in links(node):
        literal = parse(link)
        if literal and literal.base in (None, BASE):
            expected.setdefault(literal.type, set()).add(literal.id)
    assert mentioned([json.encode(node)], BASE) == expected


def test_a_binary_of_another_patients_context_stays_there(fhir: Fhir) -> None:
    """https://hl7.org/fhir/R4/binary.html#security"""
    contexts = {
        "plain": None,
        "own": "Patient/secured",
        "document": "DocumentReference/secured",
        "absolute": f"{fhir.base_url}/Patient/secured",
        "foreign": "Patient/other-secured",
        "foreign-document": "DocumentReference/other-secured",
        "elsewhere": "http://example.org/fhir/Patient/secured",
        "unknown": "DocumentReference/nobody",
    }
    for id_ in ("secured", "other-secured"):
        fhir.put(f"Patient/{id_}", {"resourceType": "Patient", "id": id_})
        attached = [{"attachment": {"url": f"Binary/{each}"}} for each in contexts]
        document = {"resourceType": "DocumentReference", "id": id_, "status": "current", "content": attached}
        document["subject"] = {"reference": f"Patient/{id_}"}
        assert fhir.put(f"DocumentReference/{id_}", document).is_success
    for id_, context in contexts.items():
        binary = {"resourceType": "Binary", "id": id_, "contentType": "text/plain", "data": "aGk="}
        secured = {"securityContext": {"reference": context}} if context else {}
        assert fhir.put(f"Binary/{id_}", binary | secured).is_success
    entries = fhir.bundle("Patient/secured/$everything")["entry"]
    found = {each["resource"]["id"] for each in entries if each["resource"]["resourceType"] == "Binary"}
    assert found == {"plain", "own", "document", "absolute"}
