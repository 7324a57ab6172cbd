"""Search parameters that a client defines: created, indexed, changed, retired, deleted, over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from official import US_CORE, beside
from pymongo import MongoClient

from fhirserver import files
from fhirserver.assembly import contexts
from fhirserver.bulk.jobs import perform, sweep
from fhirserver.context import OPERATOR
from fhirserver.fhir.definitions import r4
from fhirserver.interactions.load import Receipt, load
from fhirserver.search.live import Live
from fhirserver.settings import Settings
from fhirserver.store.jobs import Job

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served

Resource = dict[str, Any]
STRICT = {"Prefer": "handling=strict"}
URL = "http://example.org/fhir/SearchParameter/"


def parameter(code: str, expression: str, **more: Any) -> Resource:
    return {
        "resourceType": "SearchParameter",
        "url": URL + code,
        "name": code.replace("-", ""),
        "status": "active",
        "description": "for a test",
        "code": code,
        "base": ["Patient"],
        "type": "string",
        "expression": expression,
    } | more


def work(settings: Settings) -> list[Job]:
    """What a worker does: all jobs that are due, with a context of its own."""

    async def run() -> list[Job]:
        async with contexts(settings) as found:
            (ctx,) = found.values()
            ctx = replace(ctx, caller=OPERATOR)
            return [job for id_ in await sweep(ctx) if (job := await perform(ctx, id_))]

    return asyncio.run(run())


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


def nicknamed(id_: str, name: str) -> Resource:
    return {"resourceType": "Patient", "id": id_, "name": [{"use": "nickname", "given": [name]}]}


NICKNAME = parameter("nickname", "Patient.name.where(use = 'nickname').given") | {"id": "nickname"}


def until(said: Callable[[], bool]) -> None:
    """What every server of a database says soon."""
    for _ in range(300):
        if said():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def warnings(bundle: Resource) -> list[str]:
    outcomes = [e["resource"] for e in bundle.get("entry", []) if e["search"]["mode"] == "outcome"]
    return [f"{i['code']}: {i['diagnostics']}" for outcome in outcomes for i in outcome["issue"]]


def test_the_life_of_a_search_parameter(served: Served) -> None:
    fhir = served.client
    assert fhir.put("Patient/old", nicknamed("old", "Ada")).status_code == 201
    assert "nickname is not a search parameter" in warnings(fhir.bundle("Patient?nickname=ada"))[0]

    assert fhir.put("SearchParameter/nickname", NICKNAME).status_code == 201
    assert fhir.put("Patient/new", nicknamed("new", "Ada")).status_code == 201
    partial = fhir.bundle("Patient?nickname=ada&_total=accurate")
    assert fhir.ids("Patient?nickname=ada") == ["new"]
    assert warnings(partial)[0].startswith("incomplete: nickname is a new search parameter")
    assert "total" not in partial
    refused = fhir.get("Patient?nickname=ada", headers=STRICT)
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (503, "incomplete")
    assert refused.json()["issue"][0]["expression"] == ["http.nickname"]
    assert int(refused.headers["retry-after"]) > 0

    (job,) = work(served.settings)
    assert job.state == "done"
    assert job.receipt == {
        "type": "Patient",
        "generation": 1,
        "asked": 1,
        "done": 1,
        "overtaken": 0,
        "failed": 0,
        "reasons": [],
        "documents": 2,
        "current": 2,
    }
    until(lambda: fhir.get("Patient?nickname=ada", headers=STRICT).status_code == 200)
    found = fhir.bundle("Patient?nickname=ada&_sort=_id")
    assert fhir.ids("Patient?nickname=ada&_sort=_id", headers=STRICT) == ["new", "old"]
    assert (found["total"], warnings(found)) == (2, [])

    assert fhir.put("SearchParameter/nickname", NICKNAME | {"status": "retired"}).status_code == 200
    assert "nickname is not a search parameter" in warnings(fhir.bundle("Patient?nickname=ada"))[0]
    assert fhir.put("SearchParameter/nickname", NICKNAME).status_code == 200
    assert fhir.get("Patient?nickname=ada", headers=STRICT).status_code == 503  # nobody kept it meanwhile
    assert fhir.delete("SearchParameter/nickname").status_code == 204
    assert "nickname is not a search parameter" in warnings(fhir.bundle("Patient?nickname=ada"))[0]


def test_a_type_without_resources_is_searchable_at_once(served: Served) -> None:
    fhir = served.client
    made = fhir.post("SearchParameter", parameter("nickname", NICKNAME["expression"]))
    assert made.status_code == 201
    assert fhir.bundle("Patient?nickname=ada", headers=STRICT)["total"] == 0
    fhir.put("Patient/a", nicknamed("a", "Ada"))
    assert fhir.ids("Patient?nickname=ada", headers=STRICT) == ["a"]
    assert work(served.settings) == []


def test_the_capability_statement_lists_what_is_there_now(served: Served) -> None:
    fhir = served.client

    def listed() -> dict[str, str]:
        resources = fhir.bundle("metadata")["rest"][0]["resource"]
        (patient,) = (each for each in resources if each["type"] == "Patient")
        return {each["name"]: each.get("definition") for each in patient["searchParam"]}

    before = listed()
    fhir.put("SearchParameter/nickname", NICKNAME)
    assert listed() == before | {"nickname": URL + "nickname"}
    fhir.delete("SearchParameter/nickname")
    assert listed() == before


def test_a_change_of_what_it_finds_builds_it_again_and_other_changes_do_not(served: Served) -> None:
    fhir = served.client
    fhir.put("Patient/a", nicknamed("a", "Ada"))
    fhir.put("SearchParameter/nickname", NICKNAME)
    work(served.settings)
    until(lambda: fhir.get("Patient?nickname=ada", headers=STRICT).status_code == 200)
    fhir.put("SearchParameter/nickname", NICKNAME | {"description": "said better"})
    assert fhir.ids("Patient?nickname=ada", headers=STRICT) == ["a"]
    changed = NICKNAME | {"expression": "Patient.name.where(use = 'official').given"}
    assert fhir.put("SearchParameter/nickname", changed).status_code == 200
    assert fhir.get("Patient?nickname=ada", headers=STRICT).status_code == 503
    work(served.settings)
    until(lambda: fhir.get("Patient?nickname=ada", headers=STRICT).status_code == 200)
    assert fhir.ids("Patient?nickname=ada", headers=STRICT) == []


@pytest.mark.parametrize(
    "search",
    [
        "Patient?nickname:exact=ada&gender:not=male",
        "Patient?nickname:missing=true",
        "Patient?_sort=nickname",
        "Patient?_filter=nickname eq ada",
        "Patient?_filter=not (nickname eq ada)",
        "Observation?subject:Patient.nickname=ada",
        "Observation?_filter=subject:Patient.nickname eq ada",
        "Organization?_has:Patient:organization:nickname=ada",
        "Organization?_has:Patient:house:_id=a",
        "Organization?_revinclude=Patient:house",
        "Patient?_include=Patient:house",
        "Patient?house.name=x",
    ],
)
def test_whatever_rests_on_an_unfinished_parameter_is_flagged(building: Served, search: str) -> None:
    fhir = building.client
    assert any(each.startswith("incomplete") for each in warnings(fhir.bundle(search)))
    assert fhir.get(search, headers=STRICT).status_code in (400, 503)


@pytest.fixture(scope="module")
def building(serve: Serve) -> Served:
    """A server with new parameters that nobody has worked on yet."""
    served = serve()
    served.client.put("Patient/a", nicknamed("a", "Ada"))
    house = parameter("house", "Patient.managingOrganization", type="reference", target=["Organization"])
    for each in (NICKNAME, house | {"id": "house"}):
        assert served.client.put(f"SearchParameter/{each['id']}", each).status_code == 201
    return served


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_no_write_decides_by_an_unfinished_parameter(building: Served, method: str) -> None:
    headers = {"If-None-Exist": "nickname=ada"} if method == "POST" else {}
    path = "Patient" if method == "POST" else "Patient?nickname=ada"
    body = [{"op": "add", "path": "/active", "value": True}] if method == "PATCH" else nicknamed("b", "Ada")
    if method == "PATCH":
        headers["Content-Type"] = "application/json-patch+json"
    answer = building.client.request(method, path, headers=headers, json=None if method == "DELETE" else body)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (503, "incomplete")
    assert building.client.get("Patient/b").status_code == 404


def test_totals_of_an_unfinished_parameter_are_not_told(building: Served) -> None:
    for search in ("Patient?nickname=ada&_summary=count", "Patient?nickname=ada&_count=0&_total=accurate"):
        assert "total" not in building.client.bundle(search)


PATIENT = "http://hl7.org/fhir/SearchParameter/"


@pytest.mark.parametrize(
    ("change", "element", "message"),
    [
        ({"expression": "Patient.name.frist()"}, "expression", "frist() is no function of FHIRPath at position 14"),
        ({"expression": "Patient.name.where(use = home)"}, "expression", "no element home at position 26"),
        ({"expression": "Patient.nmae.given"}, "expression", "Patient has no element nmae at position 9"),
        ({"expression": "Patient.name | Patient.contact.nmae"}, "expression", "at position 32"),
        ({"expression": "Patient.photo.first()"}, "expression", "finds Attachment, which a parameter of type string"),
        ({"expression": "Encounter.status"}, "expression", "says nothing about Patient"),
        ({"expression": "Patient.photo"}, "expression", "finds Attachment, which a parameter of type string cannot"),
        ({"expression": None}, "expression", "says by its expression what it finds"),
        ({"type": "special"}, "type", "type special"),
        ({"type": "quantity"}, "expression", "finds string, which a parameter of type quantity"),
        ({"code": "a.b"}, "code", "cannot be a code"),
        ({"code": "_mine"}, "code", "cannot be a code"),
        ({"code": "gender"}, "code", "Patient has a published parameter gender"),
        ({"code": "name", "type": "token"}, "code", "Patient has a published parameter name"),
        ({"code": "birthdate", "type": "date"}, "code", "Patient has a published parameter birthdate"),
        ({"url": PATIENT + "Patient-name"}, "code", "is a parameter of FHIR 4.0.1 and keeps its code"),
        ({"base": ["Patient", "Encounter"]}, "expression", "says nothing about Encounter"),
        ({"type": "composite"}, "component", "two components or more"),
        (
            {
                "type": "composite",
                "expression": "Patient.name",
                "component": [
                    {"definition": PATIENT + "individual-given", "expression": "given"},
                    {"definition": PATIENT + "individual-family", "expression": "familie"},
                ],
            },
            "component[1].expression",
            "HumanName has no element familie at position 1",
        ),
        (
            {
                "type": "composite",
                "expression": "Patient.name",
                "component": [
                    {"definition": PATIENT + "individual-given", "expression": "given"},
                    {"definition": "http://example.org/none", "expression": "family"},
                ],
            },
            "component[1].definition",
            "http://example.org/none is no search parameter",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    fhir: Fhir, change: Resource, element: str, message: str
) -> None:
    asked = {name: value for name, value in (NICKNAME | change).items() if value is not None}
    transaction = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": asked, "request": {"method": "PUT", "url": "SearchParameter/nickname"}}],
    }
    for answer, prefix in (
        (fhir.put("SearchParameter/nickname", asked), "SearchParameter"),
        (fhir.post("", transaction), "Bundle.entry[0].resource"),
    ):
        assert answer.status_code == 422, answer.text
        (issue,) = answer.json()["issue"]
        assert message in issue["diagnostics"]
        assert issue["expression"] == [f"{prefix}.{element}"]
    assert fhir.get("SearchParameter/nickname").status_code == 404
    draft = fhir.put("SearchParameter/draft", asked | {"status": "draft", "id": "draft"})
    assert draft.status_code in (200, 201)  # work in progress; it is read when it becomes active
    activated = fhir.patch("SearchParameter/draft", [{"op": "replace", "path": "/status", "value": "active"}])
    assert activated.status_code == 422


def test_two_parameters_cannot_share_a_code_or_a_url(served: Served) -> None:
    fhir = served.client
    assert fhir.put("SearchParameter/nickname", NICKNAME).status_code == 201
    for other in ({"url": URL + "other"}, {"code": "other"}):
        answer = fhir.put("SearchParameter/other", NICKNAME | {"id": "other"} | other)
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "duplicate")
        assert "SearchParameter/nickname" in answer.json()["issue"][0]["diagnostics"]
    assert fhir.get("SearchParameter/other").status_code == 404


def test_a_composite_of_custom_parameters(served: Served) -> None:
    fhir = served.client
    use = parameter("name-use", "Patient.name.use", type="token") | {"id": "use"}
    given = parameter("name-given", "Patient.name.given") | {"id": "given"}
    both = parameter("use-given", "Patient.name", type="composite") | {
        "id": "both",
        "component": [
            {"definition": use["url"], "expression": "use"},
            {"definition": given["url"] + "|1.0", "expression": "given"},
        ],
    }
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"SearchParameter/{each['id']}"}}
        for each in (both, use, given)
    ]
    answer = fhir.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    names = [{"use": "usual", "given": ["Ada"]}, {"use": "nickname", "given": ["Bea"]}]
    fhir.put("Patient/a", {"resourceType": "Patient", "id": "a", "name": names})
    assert fhir.ids("Patient?use-given=usual$ada", headers=STRICT) == ["a"]
    assert fhir.ids("Patient?use-given=nickname$ada", headers=STRICT) == []
    answer = fhir.delete("SearchParameter/use")  # the composite would lose a part
    assert answer.status_code == 422
    assert URL + "use-given" in answer.text
    assert fhir.get("SearchParameter/use").status_code == 200


def test_a_parameter_of_all_types(served: Served) -> None:
    fhir = served.client
    fhir.put("Patient/a", {"resourceType": "Patient", "id": "a", "language": "de"})
    fhir.put(
        "SearchParameter/tongue",
        parameter("tongue", "Resource.language", type="token", base=["Resource"]) | {"id": "tongue"},
    )
    assert fhir.get("Observation?tongue=de", headers=STRICT).status_code == 200
    assert fhir.get("Patient?tongue=de", headers=STRICT).status_code == 503
    work(served.settings)
    until(lambda: fhir.get("Patient?tongue=de", headers=STRICT).status_code == 200)
    assert fhir.ids("Patient?tongue=de") == ["a"]


def test_writes_by_a_server_that_does_not_know_yet_are_found_in_the_end(serve: Serve) -> None:
    one = serve()
    two = serve(database=one.settings.database)
    one.client.put("Patient/old", nicknamed("old", "Ada"))
    one.client.put("SearchParameter/nickname", NICKNAME)
    for i in range(20):  # the second server learns of it somewhere in between
        two.client.put(f"Patient/n{i}", nicknamed(f"n{i}", "Ada"))
    work(one.settings)
    everyone = {"old", *(f"n{i}" for i in range(20))}
    for server in (one, two):
        until(lambda: server.client.get("Patient?nickname=ada", headers=STRICT).status_code == 200)  # noqa: B023
        assert set(server.client.ids("Patient?nickname=ada&_count=100")) == everyone
    two.client.delete("SearchParameter/nickname")
    until(lambda: one.client.get("Patient?nickname=ada", headers=STRICT).status_code == 400)


def test_who_waited_for_the_job_finds_all_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a server that was told of nothing."""

    async def never(self: Live) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(Live, "follow", never)
    server = serve()
    server.client.put(
        "Patient/a", {"resourceType": "Patient", "id": "a", "name": [{"given": ["Ada"], "use": "nickname"}]}
    )
    server.client.put("SearchParameter/nickname", NICKNAME)
    assert server.client.get("Patient?nickname=ada", headers=STRICT).status_code == 503
    assert [job.state for job in server.work()] == ["done"]
    assert server.client.bundle("Patient?nickname=ada", headers=STRICT)["total"] == 1


def test_tenants_have_parameters_of_their_own(serve: Serve) -> None:
    base = serve(tenants="north,south").client.base_url
    with httpx.Client(base_url=base) as http:
        for tenant in ("north", "south"):
            assert http.put(f"{base}/{tenant}/Patient/a", json=nicknamed("a", "Ada")).status_code == 201
        assert http.put(f"{base}/north/SearchParameter/nickname", json=NICKNAME).status_code == 201
        assert http.get(f"{base}/north/Patient?nickname=ada", headers=STRICT).status_code == 503
        assert http.get(f"{base}/south/Patient?nickname=ada", headers=STRICT).status_code == 400
        assert "nickname" not in http.get(f"{base}/south/metadata").text


@beside(US_CORE)
def test_us_core_is_loaded_and_leaves_the_published_parameters_alone(served: Served) -> None:
    fhir = served.client
    race = {"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2054-5"}}
    extension = {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": [race]}
    fhir.put("Patient/a", nicknamed("a", "Ada") | {"gender": "female", "extension": [extension]})
    before = fhir.bundle("metadata")["rest"][0]["resource"]

    async def load_package() -> Receipt:
        async with contexts(served.settings) as found:
            (ctx,) = found.values()
            source = files.opened(US_CORE)
            with source.raw:
                conformance = files.package(source, r4(), print)
                return await load(ctx, (each for each in conformance if each["resourceType"] == "SearchParameter"))

    receipt = asyncio.run(load_package())
    assert (receipt.failed, receipt.stored["SearchParameter"]) == ([], 106)
    work(served.settings)
    until(lambda: fhir.get("Patient?race=2054-5", headers=STRICT).status_code == 200)
    assert fhir.ids("Patient?race=2054-5&gender=female&given=ada", headers=STRICT) == ["a"]
    after = fhir.bundle("metadata")["rest"][0]["resource"]
    new = {
        (one["type"], each["name"])
        for one, other in zip(after, before, strict=True)
        for each in one["searchParam"]
        if each not in other["searchParam"]
    }
    assert new == {
        ("CareTeam", "role"),
        ("Condition", "asserted-date"),
        ("Encounter", "discharge-disposition"),
        ("Goal", "description"),
        ("Patient", "ethnicity"),
        ("Patient", "gender-identity"),
        ("Patient", "race"),
    }


def test_reindex_of_one_resource_says_what_changed(served: Served) -> None:
    fhir = served.client
    fhir.put("Patient/a", nicknamed("a", "Ada"))
    unchanged = fhir.post("Patient/a/$reindex").json()["parameter"]
    assert unchanged == [{"name": "resource", "valueReference": {"reference": "Patient/a"}}]
    fhir.put("SearchParameter/nickname", NICKNAME)
    changed = fhir.post("Patient/a/$reindex").json()["parameter"]
    assert changed[1:] == [{"name": "changed", "valueCode": "nickname"}]
    assert fhir.ids("Patient?nickname=ada") == ["a"]
    assert fhir.post("Patient/b/$reindex").status_code == 404
    issue = fhir.post("Patient/a/$reindex?url=x").json()["issue"][0]
    assert issue["diagnostics"] == "$reindex has no parameter 'url' here; it has none"
    assert fhir.get("Patient/a/$reindex").status_code == 405


def test_types_are_sorted_together_while_a_parameter_becomes_another(served: Served) -> None:
    fhir = served.client
    two = {"base": ["Patient", "Practitioner"], "id": "key"}
    named = "Patient.name.family | Practitioner.name.family"
    assert fhir.put("SearchParameter/key", parameter("key", named) | two).status_code == 201
    work(served.settings)
    for type_ in two["base"]:
        each = {"resourceType": type_, "name": [{"family": "Ada"}], "birthDate": "1990-05-05"}
        fhir.put(f"{type_}/old", each | {"id": "old"})
    born = parameter("key", "Patient.birthDate | Practitioner.birthDate", type="date") | two
    assert fhir.put("SearchParameter/key", born).status_code == 200
    fhir.put("Patient/new", each | {"resourceType": "Patient", "id": "new"})
    for sort in ("key", "-key"):
        found = fhir.bundle(f"?_type=Patient,Practitioner&_sort={sort}")
        assert len(found["entry"]) == 3 + 1
        assert warnings(found)[0].startswith("incomplete: key is a new search parameter")


def test_what_a_parameter_was_before_is_not_included(served: Served) -> None:
    fhir = served.client
    assert fhir.put("SearchParameter/key", parameter("key", "Patient.birthDate", type="date", id="key")).is_success
    house = {"managingOrganization": {"reference": "Organization/o"}}
    fhir.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "Home"})
    fhir.put("Patient/old", nicknamed("old", "Ada") | house | {"birthDate": "1990-05-05"})
    led = parameter("key", "Patient.managingOrganization", type="reference", target=["Organization"], id="key")
    assert fhir.put("SearchParameter/key", led).is_success
    found = fhir.bundle("Patient?_include=Patient:key")
    assert [each["search"]["mode"] for each in found["entry"]] == ["match", "outcome"]
    work(served.settings)
    until(lambda: fhir.get("Patient?key=o", headers=STRICT).status_code == 200)
    found = fhir.bundle("Patient?_include=Patient:key")
    assert [each["search"]["mode"] for each in found["entry"]] == ["match", "include"]


@pytest.mark.parametrize("path", ["$reindex", "Patient/$reindex", f"Patient/$reindex?url={URL}nickname"])
def test_reindex_of_many_is_a_job_with_a_receipt(served: Served, path: str) -> None:
    fhir = served.client
    fhir.put("Patient/a", nicknamed("a", "Ada"))
    fhir.put("SearchParameter/nickname", NICKNAME)
    answer = fhir.post(path)
    assert answer.status_code == 202, answer.text
    where = answer.headers["content-location"]
    assert where.startswith(f"{fhir.base_url}/_jobs/reindex-")
    done = {job.id: job for job in work(served.settings)}
    receipt = done[where.rpartition("/")[2]].receipt
    assert receipt is not None
    assert receipt["failed"] == 0
    assert receipt["documents"] == receipt["current"] >= 1
    until(lambda: fhir.get("Patient?nickname=ada", headers=STRICT).status_code == 200)
    assert fhir.post("Patient/$reindex?url=http://example.org/none").status_code == 404
    assert fhir.get("Patient/$reindex").status_code == 405


def test_types_that_were_never_written_are_not_there_afterwards(served: Served, mongodb: str) -> None:
    fhir = served.client
    fhir.put("Patient/a", nicknamed("a", "Ada"))
    tongue = parameter("tongue", "Resource.language", type="token", base=["Basic", "Patient", "Slot"]) | {"id": "t"}
    assert fhir.put("SearchParameter/t", tongue).status_code == 201
    assert {job.state for job in work(served.settings)} == {"done"}
    until(lambda: fhir.get("?_type=Basic,Slot&tongue=de", headers=STRICT).status_code == 200)
    assert fhir.post("Slot/$reindex").status_code == 202
    assert {job.state for job in work(served.settings)} == {"done"}
    with MongoClient[Resource](mongodb) as client:
        names = client[served.settings.database].list_collection_names()
    assert "Patient" in names
    assert {"Basic", "Slot"}.isdisjoint(names)


@pytest.fixture(scope="module")
def held(serve: Serve) -> Fhir:
    """A server with parameters that say how they may be asked."""
    fhir = serve().client
    any_ = ["eq", "ne", "gt", "lt", "ge", "le"]
    for each in (
        NICKNAME | {"modifier": ["exact"], "multipleOr": False, "multipleAnd": False},
        parameter("born", "Patient.birthDate", type="date", comparator=["gt", "lt"]),
        parameter("sex", "Patient.gender", type="token", modifier=["not", "missing"]),
        parameter(
            "house",
            "Patient.managingOrganization",
            type="reference",
            target=["Organization"],
            modifier=["type"],
            chain=["name"],
        ),
        parameter("doctor", "Patient.generalPractitioner", type="reference", target=["Practitioner"]),
        parameter("loose", "Patient.birthDate", type="date", comparator=any_, multipleAnd=True, multipleOr=True),
        parameter(
            "both",
            "Patient",
            type="composite",
            multipleAnd=False,
            component=[
                {"definition": URL + "born", "expression": "birthDate"},
                {"definition": URL + "sex", "expression": "gender"},
            ],
        ),
    ):
        assert fhir.put(f"SearchParameter/{each['code']}", each | {"id": each["code"]}).status_code == 201, each
    fhir.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "Home"})
    person = nicknamed("a", "Ada") | {"birthDate": "1990-05-05", "gender": "female"}
    fhir.put("Patient/a", person | {"managingOrganization": {"reference": "Organization/o"}})
    other = nicknamed("b", "Bea") | {"birthDate": "1980-05-05", "gender": "male"}
    fhir.put("Patient/b", other | {"generalPractitioner": [{"reference": "Organization/o"}]})
    return fhir


@pytest.mark.parametrize(
    ("search", "allowed"),
    [
        ("Patient?nickname:contains=d", ":exact"),
        ("Patient?nickname:missing=true", ":exact"),
        ("Patient?nickname=ada,bea", "one at a time"),
        ("Patient?nickname=ada&nickname:exact=Ada", "allows one"),
        ("Patient?_filter=nickname eq Ada and nickname sw a", "allows one"),
        ("Patient?_filter=nickname eq Ada or nickname eq Bea", "one value at a time"),
        ("Patient?_filter=nickname sw a&nickname=ada", "allows one"),
        ("Patient?_filter=nickname co da", ":exact"),
        ("Patient?_filter=nickname pr true", ":exact"),
        ("Patient?_filter=nickname gt a", ":exact"),
        ("Patient?born=ge1990", "eq, gt, lt"),
        ("Patient?born=1990,ne1980", "eq, gt, lt"),
        ("Patient?_filter=born ge 1990", "eq, gt, lt"),
        ("Patient?_filter=born co 1990", "eq, gt, lt"),
        ("Patient?sex:text=female", ":not, :missing"),
        ("Patient?_filter=sex co fem", ":not, :missing"),
        ("Patient?house:identifier=x", ":[type]"),
        ("Patient?house.active=true", "house.name"),
        ("Patient?house:Organization._id=o", "house.name"),
        ("Patient?_filter=house.active eq true", "house.name"),
        ("Patient?both=ge1990$female", "eq, gt, lt"),
        ("Patient?both=gt1990$female&both=1980$male", "allows one"),
        ("Organization?_has:Patient:house:nickname:contains=d", ":exact"),
        ("Organization?_has:Patient:house:born=ge1990", "eq, gt, lt"),
        ("Observation?subject:Patient.nickname=ada,bea", "one at a time"),
        ("Observation?subject:Patient.house.active=true", "house.name"),
    ],
)
def test_a_parameter_is_asked_as_its_definition_allows(held: Fhir, search: str, allowed: str) -> None:
    answer = held.get(search)
    assert answer.status_code == 400, answer.text
    (issue,) = answer.json()["issue"]
    assert issue["code"] == "not-supported"
    assert issue["diagnostics"].endswith(allowed), issue["diagnostics"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("Patient?nickname:exact=Ada", "a"),
        ("Patient?nickname=ad&sex=female", "a"),
        ("Patient?_filter=nickname sw ad", "a"),
        ("Patient?_filter=nickname eq Ada and not (sex eq male)", "a"),
        ("Patient?born=1990,gt1985", "a"),
        ("Patient?born=eq1990", "a"),
        ("Patient?born=lt2000&born=gt1970", "ab"),
        ("Patient?born:missing=true", ""),
        ("Patient?_filter=born pr true", "ab"),
        ("Patient?sex:not=male", "a"),
        ("Patient?_filter=sex ne male", "a"),
        ("Patient?house:Organization=o", "a"),
        ("Patient?house=Organization/o", "a"),
        ("Patient?house.name=home", "a"),
        ("Patient?house:Organization.name=home", "a"),
        ("Patient?doctor=Organization/o", "b"),
        ("Patient?loose=ge1990&loose=le1991", "a"),
        ("Patient?both=gt1985$female", "a"),
        ("Organization?_has:Patient:house:nickname:exact=Ada", "o"),
        ("Organization?_has:Patient:house:_id=a", "o"),
        ("Patient?_sort=-nickname", "ba"),
    ],
)
def test_what_a_definition_allows_is_answered(held: Fhir, search: str, found: str) -> None:
    ids = held.ids(search, headers=STRICT)
    assert "".join(ids if "_sort" in search else sorted(ids)) == found


def test_how_a_parameter_may_be_asked_can_change_without_indexing_again(held: Fhir) -> None:
    free = {name: value for name, value in NICKNAME.items() if name not in ("modifier", "multipleOr", "multipleAnd")}
    held.put("SearchParameter/nickname", free)
    try:
        assert held.ids("Patient?nickname:contains=d", headers=STRICT) == ["a"]
    finally:
        held.put(
            "SearchParameter/nickname", NICKNAME | {"modifier": ["exact"], "multipleOr": False, "multipleAnd": False}
        )
    assert held.get("Patient?nickname:contains=d", headers=STRICT).status_code == 400


def test_the_capability_statement_says_how_a_parameter_may_be_asked(held: Fhir) -> None:
    resources = held.bundle("metadata")["rest"][0]["resource"]
    (patient,) = (each for each in resources if each["type"] == "Patient")
    said = {each["name"]: each.get("documentation") for each in patient["searchParam"]}
    assert said["nickname"] == "modifiers: :exact; one value; once in a search"
    assert said["born"] == "prefixes: eq, gt, lt"
    assert said["house"] == "modifiers: :[type]; chains: house.name"
    assert said["gender"] is None


BIRTH_TIME = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"


def test_expressions_that_are_more_than_paths(served: Served) -> None:
    fhir = served.client
    names = [{"use": "official", "given": ["Ada"], "family": "King"}, {"given": ["Bea"], "period": {"end": "2020"}}]
    time_ = {"extension": [{"url": BIRTH_TIME, "valueDateTime": "1990-05-05T03:00:00Z"}]}
    person = {"resourceType": "Patient", "id": "a", "name": names, "birthDate": "1990-05-05", "_birthDate": time_}
    gp = [{"reference": "Organization/o"}, {"reference": "Practitioner/p"}]
    fhir.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "Home"})
    for each in (
        parameter("first-given", "Patient.name.first().given.first()"),
        parameter("former", "Patient.name.where(period.end.exists() and (use.empty() or use != 'official')).given"),
        parameter("born-at", f"Patient.birthDate.extension('{BIRTH_TIME}').value", type="date"),
        parameter("named", "Patient.name.exists()", type="token"),
        parameter("first-gp", "Patient.generalPractitioner.first()", type="reference", target=["Organization"]),
        parameter(
            "first-name",
            "Patient.name.first()",
            type="composite",
            component=[
                {"definition": PATIENT + "individual-given", "expression": "given.last()"},
                {"definition": PATIENT + "individual-family", "expression": "family"},
            ],
        ),
    ):
        assert fhir.put(f"SearchParameter/{each['code']}", each | {"id": each["code"]}).status_code == 201, each
    fhir.put("Patient/a", person | {"generalPractitioner": gp})
    fhir.put("Patient/b", {"resourceType": "Patient", "id": "b"})
    for search, ids in (
        ("first-given=ada", ["a"]),
        ("first-given=bea", []),
        ("former=bea", ["a"]),
        ("born-at=1990-05-05T03:00:00Z", ["a"]),
        ("born-at=ge1990-05-06", []),
        ("named=false", ["b"]),
        ("first-gp=Organization/o", ["a"]),
        ("first-gp=Organization/p", []),
        ("first-gp:Organization.name=home", ["a"]),
        ("first-name=ada$king", ["a"]),
        ("first-name=bea$king", []),
        ("first-given:missing=true", ["b"]),
        ("_sort=first-given", ["a", "b"]),
    ):
        assert fhir.ids(f"Patient?{search}", headers=STRICT) == ids, search
    assert fhir.ids("Organization?_has:Patient:first-gp:first-given=ada", headers=STRICT) == ["o"]
