"""Searches as clients send them. The rules of each parameter type are tables in tests/search."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
STRICT = {"Prefer": "handling=strict"}


def observation(id_: str, code: str, who: str, when: str | None, value: float | None = None, **more) -> dict:
    out = {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}], "text": f"Sign {code}"},
        "subject": {"reference": f"Patient/{who}"},
        **more,
    }
    if when:
        out["effectiveDateTime"] = when
    if value is not None:
        out["valueQuantity"] = {"value": value, "unit": "beats", "system": UCUM, "code": "/min"}
    return out


@pytest.fixture(scope="module")
def world(fhir):
    """Two patients, a practitioner, and observations o1 to o5."""
    ada = {
        "resourceType": "Patient",
        "id": "ada",
        "identifier": [
            {
                "system": "urn:mrn",
                "value": "A-1",
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            }
        ],
        "name": [{"family": "Löwenstein, von", "given": ["Ada", "Maria"]}],
        "birthDate": "1980-02",
        "gender": "female",
        "generalPractitioner": [{"reference": "Practitioner/grace"}],
        "meta": {"tag": [{"system": "urn:t", "code": "vip"}], "profile": ["urn:p|1"], "security": [{"code": "R"}]},
    }
    ben = {"resourceType": "Patient", "id": "ben", "name": [{"family": "Zed"}], "birthDate": "1990-05-17"}
    resources = [
        ada,
        ben,
        {"resourceType": "Practitioner", "id": "grace", "name": [{"family": "Hopper"}]},
        observation("o1", "8867-4", "ada", "2024-01-01T10:00:00Z", 60),
        observation("o2", "8867-4", "ada", "2024-01-02", 70.5),
        observation("o3", "8480-6", "ada", "2024-02", 120, performer=[{"reference": "Practitioner/grace"}]),
        observation("o4", "8867-4", "ben", "2023-12-31T23:30:00-05:00", 80),
        observation("o5", "8867-4", "ben", None, status="amended"),
    ]
    for resource in resources:
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    return fhir


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "o1 o2 o3 o4 o5"),
        ("code=8867-4", "o1 o2 o4 o5"),
        (f"code={LOINC}|8480-6", "o3"),
        (f"code={LOINC}|", "o1 o2 o3 o4 o5"),
        ("code=|8867-4", ""),
        ("code:not=8867-4", "o3"),
        ("code:text=sign", "o1 o2 o3 o4 o5"),
        ("code=8480-6,nonsense", "o3"),
        ("code=8867-4&status=amended", "o5"),
        ("status:not=final", "o5"),
        ("subject=ada", "o1 o2 o3"),
        ("subject=Patient/ben", "o4 o5"),
        ("subject:Patient=ben", "o4 o5"),
        ("patient=ada&code=8867-4", "o1 o2"),
        ("date=2024", "o1 o2 o3 o4"),
        ("date=2024-01-01", "o1 o4"),
        ("date=ge2024-01-02", "o2 o3"),
        ("date=lt2024-01-01", ""),
        ("date=gt2023&date=lt2024-01-02", "o1 o4"),
        ("date:missing=true", "o5"),
        ("date:missing=false", "o1 o2 o3 o4"),
        ("date=sa2024-01-31", "o3"),
        ("date=eb2024-02", "o1 o2 o4"),
        ("value-quantity=70", ""),
        ("value-quantity=70.5", "o2"),
        ("value-quantity=gt60", "o2 o3 o4"),
        (f"value-quantity=ge80|{UCUM}|/min", "o3 o4"),
        ("value-quantity=80||beats", "o4"),
        ("value-quantity=80||kg", ""),
        (f"code-value-quantity={LOINC}|8867-4$gt65", "o2 o4"),
        ("performer=Practitioner/grace", "o3"),
        ("_id=o1,o3", "o1 o3"),
        ("_lastUpdated=gt2020", "o1 o2 o3 o4 o5"),
        ("_lastUpdated=lt2020", ""),
        ("_sort=date&date:missing=false", "o4 o1 o2 o3"),
        ("_sort=-date", "o3 o2 o1 o4 o5"),
        ("_sort=date", "o4 o1 o2 o3 o5"),
        ("_sort=patient,-date", "o3 o2 o1 o4 o5"),
        ("_sort=status,date", "o5 o4 o1 o2 o3"),
        ("_sort=-_id", "o5 o4 o3 o2 o1"),
        ("_sort=-value-quantity&_count=2", "o3 o4"),
    ],
)
def test_what_a_search_finds(world, query, found):
    entries = world.ids(f"Observation?{query}")
    assert entries == found.split()
    body = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = world.request("POST", "Observation/_search", content=quote(query, safe="=&"), headers=body)
    matches = [e["resource"]["id"] for e in posted.json().get("entry", []) if e["search"]["mode"] == "match"]
    assert matches == found.split()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=low", "ada"),
        ("name=LÖWENSTEIN", "ada"),
        ("family=l%C3%B6wenstein%5C%2C%20von", "ada"),
        ("family:exact=L%C3%B6wenstein%5C,%20von", "ada"),
        ("family:exact=lowenstein", ""),
        ("family:contains=wenst", "ada"),
        ("family=low,ze", "ada ben"),
        ("given=mar", "ada"),
        ("birthdate=1980", "ada"),
        ("birthdate=1980-02-10", ""),
        ("birthdate=ap1980-02", "ada"),
        ("gender=female", "ada"),
        ("gender:missing=true", "ben"),
        ("identifier=urn:mrn|A-1", "ada"),
        ("identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|A-1", "ada"),
        ("_tag=urn:t|vip", "ada"),
        ("_tag:not=vip", "ben"),
        ("_profile=urn:p", "ada"),
        ("_security=R", "ada"),
        ("general-practitioner=Practitioner/grace", "ada"),
        ("general-practitioner=http://elsewhere.org/Practitioner/grace", ""),
    ],
)
def test_what_finds_a_patient(world, query, found):
    assert world.ids(f"Patient?{query}") == found.split()


def test_references_to_this_server_may_be_absolute(world):
    assert world.ids(f"Observation?subject={world.base_url}/Patient/ben") == ["o4", "o5"]


def test_deleted_resources_are_not_found(world):
    assert world.put("Observation/o9", observation("o9", "x", "ada", None)).status_code == 201
    assert world.ids("Observation?code=x") == ["o9"]
    world.delete("Observation/o9")
    for query in ("code=x", "code:not=8867-4", "code:missing=true", "_id=o9"):
        assert "o9" not in world.ids(f"Observation?{query}")


def test_totals_and_counts(world):
    assert world.bundle("Observation")["total"] == 5
    first = world.bundle("Observation?_count=2")
    assert "total" not in first
    assert world.bundle("Observation?_count=2&_total=accurate")["total"] == 5
    for query in ("_count=0", "_summary=count"):
        counted = world.bundle(f"Observation?code=8867-4&{query}")
        assert (counted["total"], "entry" in counted) == (4, False)
    capped = world.bundle("Observation?_count=100000")
    assert "_count=1000" in capped["link"][0]["url"]
    assert capped["entry"][-1]["search"]["mode"] == "outcome"


def test_includes_come_once_and_are_marked(world):
    bundle = world.bundle(
        "Observation?code=8867-4&_include=Observation:subject&_include=Observation:performer:Practitioner"
    )
    modes = [(e["search"]["mode"], e["fullUrl"].split("/fhir/")[1]) for e in bundle["entry"]]
    assert modes[4:] == [("include", "Patient/ada"), ("include", "Patient/ben")]
    everything = world.bundle("Observation?_id=o3&_include=*:*")
    assert len(everything["entry"]) >= 1
    star = world.bundle("Observation?_id=o3&_include=Observation:*")
    assert {e["fullUrl"].split("/fhir/")[1] for e in star["entry"]} == {
        "Observation/o3",
        "Patient/ada",
        "Practitioner/grace",
    }
    reverse = world.bundle("Patient?_id=ben&_revinclude=Observation:subject")
    assert [e["resource"]["id"] for e in reverse["entry"]] == ["ben", "o4", "o5"]
    assert [e["search"]["mode"] for e in reverse["entry"]] == ["match", "include", "include"]


def test_what_is_not_known_is_reported_or_refused(world):
    for query, said in (
        ("nonsense=1", "nonsense is not a search parameter of Observation"),
        ("_include=Observation:nonsense", "_include"),
        ("cod=8867-4", "did you mean"),
    ):
        lenient = world.bundle(f"Observation?_id=o1&{query}")
        outcome = lenient["entry"][-1]
        assert outcome["search"]["mode"] == "outcome"
        assert said in outcome["resource"]["issue"][0]["diagnostics"]
        assert lenient["link"][0]["url"].endswith("Observation?_id=o1")
        refused = world.get(f"Observation?{query}", headers=STRICT)
        assert refused.status_code == 400
        assert said in refused.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    "query",
    ["date=tomorrow", "_count=-1", "_count=many", "value-quantity=x", "date=xx2020", "_sort=nonsense",
     "_summary=some", "_total=all", "code:nonsense=1", "_count:exact=1", "_cursor=AAAA",
     "_lastUpdated=1", "subject:missing=maybe", "_include=x"],
)  # fmt: skip
def test_values_that_cannot_be_read_are_refused(world, query):
    answer = world.get(f"Observation?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["issue"][0]["diagnostics"]


def walked(fhir, url: str, relation: str = "next") -> list[list[str]]:
    pages = []
    while url:
        bundle = fhir.bundle(url)
        pages.append([e["resource"]["id"] for e in bundle.get("entry", []) if e["search"]["mode"] == "match"])
        url = next((link["url"] for link in bundle["link"] if link["relation"] == relation), "")
    return pages


def test_pages_go_forward_and_back(world):
    pages = walked(world, "Observation?_sort=-date&_count=2")
    assert pages == [["o3", "o2"], ["o1", "o4"], ["o5"]]
    bundle = world.bundle("Observation?_sort=-date&_count=2")
    for _ in range(2):
        bundle = world.bundle(next(link["url"] for link in bundle["link"] if link["relation"] == "next"))
    previous = next(link["url"] for link in bundle["link"] if link["relation"] == "previous")
    assert walked(world, previous, "previous") == [["o1", "o4"], ["o3", "o2"]]
    first = next(link["url"] for link in bundle["link"] if link["relation"] == "first")
    assert walked(world, first) == pages


def links(bundle) -> dict[str, str]:
    return {link["relation"]: link["url"] for link in bundle["link"]}


def test_self_is_the_page_itself(world):
    url = "Observation?_sort=-date&_count=2"
    for _ in range(3):
        page = world.bundle(url)
        again = world.bundle(links(page)["self"])
        assert (again.get("entry"), links(again)) == (page.get("entry"), links(page))
        assert links(page)["self"].endswith(url)
        url = links(page).get("next", "")
    assert url == ""


def test_a_page_that_became_empty_leads_back_to_the_first(fhir):
    def put(number: int) -> None:
        said = {"resourceType": "Basic", "id": f"e{number}", "code": {"coding": [{"code": "emptied"}]}}
        assert fhir.put(f"Basic/e{number}", said).status_code in (200, 201)

    first = "Basic?code=emptied&_count=2"
    for number in range(4):
        put(number)
    second = links(fhir.bundle(first))["next"]
    for number in (2, 3):
        fhir.delete(f"Basic/e{number}")
    assert fhir.ids(second) == []
    assert links(fhir.bundle(second)).keys() == {"self", "first"}
    assert fhir.ids(links(fhir.bundle(second))["first"]) == ["e0", "e1"]
    for number in (2, 3):
        put(number)
    before = links(fhir.bundle(second))["previous"]
    for number in (0, 1):
        fhir.delete(f"Basic/e{number}")
    assert fhir.ids(before) == []
    assert fhir.ids(links(fhir.bundle(before))["first"]) == ["e2", "e3"]


@pytest.mark.parametrize(
    "path",
    [
        "Observation?_count=1&",
        "?_type=Observation&_count=1&",
        "Patient/_history?_count=1&",
        "Patient/$everything?_count=1&",
    ],
)
@pytest.mark.parametrize("before", ["", "_format=json&"])
def test_other_pages_are_written_as_this_one_was_asked_for(world, path, before):
    page = world.bundle(f"{path}{before}_format=application%2Ffhir%2Bjson&_pretty=true")
    for relation in ("self", "next"):
        url = links(page)[relation]
        assert (url.count("_format="), url.count("_pretty=true")) == (1, 1)
        assert world.get(url, headers={"Accept": "application/fhir+xml"}).text.startswith("{\n")


def test_a_form_may_say_how_its_pages_are_written(world):
    form = {"_count": "1", "_format": "xml"}
    page = world.request("POST", "Observation/_search", data=form).text
    next_ = page.partition('<relation value="next"/><url value="')[2].partition('"')[0].replace("&amp;", "&")
    assert world.get(next_).headers["content-type"].startswith("application/fhir+xml")


def test_pages_of_a_form_that_is_too_long_for_a_url_are_asked_for_by_the_form(world):
    form = {"_id": ",".join(["0" * 64] * 900), "_id:not": "nobody", "_count": "1"}
    form["_id"] += "".join(f",{each}" for each in world.ids("Observation?_count=2"))
    page = world.request("POST", "Observation/_search", data=form).json()
    match, outcome = (each["resource"] for each in page["entry"])
    assert outcome["issue"][0]["code"] == "too-long"
    assert "send the same form with the _cursor of the link" in outcome["issue"][0]["diagnostics"]
    cursor = links(page)["next"].rpartition("_cursor=")[2]
    second = world.request("POST", "Observation/_search", data=form | {"_cursor": cursor}).json()
    assert [each["resource"]["id"] for each in second["entry"][:1]] == form["_id"].split(",")[-1:] != [match["id"]]
    small = world.request("POST", "Observation/_search", data={"_count": "1"}).json()
    assert [each["search"]["mode"] for each in small["entry"]] == ["match"]


def test_a_cursor_is_good_for_its_own_search_only(world):
    bundle = world.bundle("Observation?code=8867-4&_count=1")
    cursor = next(link["url"] for link in bundle["link"] if link["relation"] == "next").rpartition("_cursor=")[2]
    assert world.get(f"Observation?code=8867-4&_count=3&_cursor={cursor}").status_code == 200
    for other in ("Observation?code=8480-6", "Patient?", "Observation?code=8867-4&_sort=date"):
        assert world.get(f"{other}&_cursor={cursor}").status_code == 400


def test_pages_are_stable_while_others_write(fhir):
    for number in range(30):
        fhir.put(f"Basic/b{number:02d}", {"resourceType": "Basic", "id": f"b{number:02d}", "code": {"text": "x"}})

    def disturb(id_: str) -> None:
        fhir.create({"resourceType": "Basic", "code": {"text": "new"}})
        fhir.put(f"Basic/{id_}", {"resourceType": "Basic", "id": id_, "code": {"text": "before"}})

    with ThreadPoolExecutor(2) as pool:
        for turn, sort in enumerate(("", "&_sort=-_lastUpdated", "&_sort=_lastUpdated")):
            busy = pool.map(disturb, [f"a-{turn}-{number}" for number in range(20)])
            seen = [id_ for page in walked(fhir, f"Basic?_count=4{sort}") for id_ in page]
            list(busy)
            assert len(seen) == len(set(seen))
            assert {f"b{number:02d}" for number in range(30)} <= set(seen)


def test_a_compartment_holds_what_belongs_to_a_patient(world):
    assert world.ids("Patient/ada/Observation?code=8867-4") == ["o1", "o2"]
    assert world.ids("Practitioner/grace/Observation") == ["o3"]
    everything = world.bundle("Patient/ada/*")
    assert {e["fullUrl"].split("/fhir/")[1] for e in everything["entry"]} == {
        "Patient/ada",
        "Observation/o1",
        "Observation/o2",
        "Observation/o3",
    }
    assert world.bundle("Patient/ada/*?_summary=count")["total"] == 4
    assert world.get("Patient/nobody/Observation").status_code == 404
    assert world.get("Organization/x/Observation").status_code == 404
    assert world.get("Patient/ada/Questionnaire").status_code == 404
    pages = walked(world, "Patient/ada/*?_count=3")
    assert [len(page) for page in pages] == [3, 1]


def test_a_search_of_everything(world):
    found = world.bundle("?_type=Patient,Practitioner")
    assert [e["resource"]["id"] for e in found["entry"]] == ["ada", "ben", "grace"]
    assert [len(page) for page in walked(world, "?_type=Patient,Practitioner&_count=2")] == [2, 1]
    assert world.bundle("?_type=Observation&_summary=count")["total"] == 5
    assert [e["resource"]["id"] for e in world.bundle("?_tag=vip")["entry"]] == ["ada"]
    assert world.get("?_type=Nonsense").status_code == 400
    assert world.ids("?_type=Patient&_sort=-family", headers=STRICT) == ["ben", "ada"]
    assert world.ids("?_type=Patient&family=zed", headers=STRICT) == ["ben"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = world.request("POST", "_search", content="_type=Practitioner", headers=form)
    assert [e["resource"]["id"] for e in posted.json()["entry"]] == ["grace"]
    assert world.get("?_type=Patient&_cursor=AAAA").status_code == 400


def test_everything_of_a_patient(world):
    bundle = world.bundle("Patient/ada/$everything")
    found = [(e["search"]["mode"], e["fullUrl"].split("/fhir/")[1]) for e in bundle["entry"]]
    assert found == [
        ("match", "Patient/ada"),
        ("match", "Observation/o1"),
        ("match", "Observation/o2"),
        ("match", "Observation/o3"),
        ("include", "Practitioner/grace"),
    ]
    assert bundle["total"] == 4
    assert walked(world, "Patient/ada/$everything?_count=3") == [["ada", "o1", "o2"], ["o3"]]
    assert walked(world, "Patient/ada/$everything?_type=Patient") == [["ada"]]
    assert walked(world, "Patient/ada/$everything?_since=2990") == [[]]
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "_count", "valueInteger": 2}]}
    assert len(world.post("Patient/ada/$everything", parameters).json()["link"]) == 2
    assert world.get("Patient/nobody/$everything").status_code == 404
    for query in ("nonsense=1", "_count=0", "_count=x", "_type=Nonsense", "_since=then", "_cursor=AAAA"):
        refused = world.get(f"Patient/ada/$everything?{query}", headers={"Prefer": "handling=strict"})
        assert refused.status_code == 400, query


def test_everything_refuses_what_are_no_parameters(world):
    for parameter in ("x", ["x"], [{"name": [], "valueString": "x"}], [{"name": "_count"}]):
        answer = world.post("Patient/ada/$everything", {"resourceType": "Parameters", "parameter": parameter})
        assert answer.status_code == 400, parameter
    assert world.post("Patient/ada/$everything", {"resourceType": "Patient"}).status_code == 400


def test_everything_asked_for_by_post_pages_with_its_parameters(world):
    asked = [{"name": "_count", "valueInteger": 2}, {"name": "_type", "valueString": "Observation"}]
    first = world.post("Patient/ada/$everything", {"resourceType": "Parameters", "parameter": asked}).json()
    (next_,) = (link["url"] for link in first["link"] if link["relation"] == "next")
    assert [e["resource"]["id"] for e in [*first["entry"], *world.bundle(next_)["entry"]]] == ["o1", "o2", "o3"]


def test_a_compartment_may_be_narrowed_to_types(world):
    found = world.bundle("Patient/ada/*?_type=Observation,Practitioner")
    assert [e["resource"]["id"] for e in found["entry"]] == ["o1", "o2", "o3"]
    assert world.get("Patient/ada/*?_type=Nonsense").status_code == 400


@pytest.mark.parametrize("every", ["*", "Observation:*"])
def test_every_reference_of_the_matches_may_be_included(world, every):
    entries = world.bundle(f"Observation?_id=o3&_include={every}")["entry"]
    assert {e["resource"]["id"] for e in entries} == {"o3", "ada", "grace"}


def test_a_search_needs_authorization_unless_the_server_is_open(serve):
    closed = serve(open=False).client
    for path in ("Patient", "Patient/1", "Patient/1/_history", "_history", "?_type=Patient", "Patient/1/$everything",
                 "Patient/1/Observation"):  # fmt: skip
        answer = closed.get(path)
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (401, "login"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    patient = {"resourceType": "Patient", "id": "1"}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": []}
    assert closed.post("Patient", patient).status_code == 401
    assert closed.put("Patient/1", patient).status_code == 401
    assert closed.patch("Patient/1", []).status_code == 401
    assert closed.delete("Patient/1").status_code == 401
    assert closed.delete("Patient?name=x").status_code == 401
    assert closed.post("", bundle).status_code == 401
    assert closed.post("", bundle | {"type": "batch"}).status_code == 401
    assert closed.get("metadata").status_code == 200
