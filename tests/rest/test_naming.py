"""One code system under several names: NamingSystem resources are live, and $preferred-id says them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
COLORS, OID, UUID = "http://example.org/colors", "1.2.3.4.5", "0a1b2c3d-0000-4000-8000-000000000001"
GENDER = "http://hl7.org/fhir/administrative-gender"
NAMES = [("oid", OID), ("uuid", UUID), ("uri", "http://old.example.org/colors", False), ("uri", COLORS, True)]


def naming(id_: str, *names: tuple[Any, ...], kind: str = "codesystem") -> Json:
    said = {"resourceType": "NamingSystem", "id": id_, "name": id_.title(), "status": "active", "kind": kind}
    unique = [dict(zip(("type", "value", "preferred"), each, strict=False)) for each in names]
    return said | {"date": "2026-11-26", "uniqueId": unique}


RESOURCES: list[Json] = [
    {
        "resourceType": "CodeSystem",
        "id": "colors",
        "url": COLORS,
        "version": "1",
        "status": "active",
        "content": "complete",
        "concept": [
            {"code": "red", "display": "Red", "concept": [{"code": "pink", "display": "Pink"}]},
            {"code": "blue", "display": "Blue"},
        ],
    },
    {
        "resourceType": "CodeSystem",
        "id": "shapes",
        "url": "http://example.org/shapes",
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3.4.6"}],
        "status": "active",
        "content": "complete",
        "concept": [{"code": "round"}],
    },
    {
        "resourceType": "ValueSet",
        "id": "warm",
        "url": "http://example.org/ValueSet/warm",
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3.4.7"}],
        "status": "active",
        "compose": {
            "include": [
                {"system": f"urn:oid:{OID}", "filter": [{"property": "concept", "op": "is-a", "value": "red"}]},
                {"system": "urn:oid:9.9.9", "concept": [{"code": "sun"}]},
            ]
        },
    },
    {
        "resourceType": "ConceptMap",
        "id": "moods",
        "url": "http://example.org/ConceptMap/moods",
        "status": "active",
        "group": [
            {
                "source": f"urn:oid:{OID}",
                "target": "http://example.org/moods",
                "element": [{"code": "red", "target": [{"code": "angry", "equivalence": "relatedto"}]}],
            }
        ],
    },
    naming("colors", *NAMES),
    naming("elsewhere", ("oid", "9.9.9"), ("uri", "http://elsewhere.example.org", True)),
    naming("people", ("oid", "1.2.3.9"), ("uri", "http://example.org/people"), kind="identifier"),
    naming("twin-a", ("oid", "1.2.3.8"), ("uri", "http://example.org/a")),
    naming("twin-b", ("oid", "1.2.3.8"), ("uri", "http://example.org/b")),
]


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in RESOURCES:
        answer = fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


def said(answer: Any) -> Json:
    assert answer.status_code == 200, answer.text
    return {
        each["name"]: next((v for k, v in each.items() if k.startswith("value")), None)
        for each in answer.json()["parameter"]
    }


@pytest.mark.parametrize(
    ("id_", "type_", "result"),
    [
        (OID, "uri", COLORS),
        (f"urn:oid:{OID}", "uri", COLORS),
        (f"urn:uuid:{UUID}", "uri", COLORS),
        ("http://old.example.org/colors", "uri", COLORS),
        (COLORS, "oid", OID),
        (COLORS, "uuid", UUID),
        ("http://example.org/people", "oid", "1.2.3.9"),
        ("2.16.840.1.113883.6.96", "uri", "http://snomed.info/sct"),
        ("http://loinc.org", "oid", "2.16.840.1.113883.6.1"),
        (GENDER, "oid", "2.16.840.1.113883.4.642.4.2"),
        ("1.2.3.8", "oid", "1.2.3.8"),
    ],
)
def test_the_preferred_identifier(world: Fhir, id_: str, type_: str, result: str) -> None:
    assert said(world.get("NamingSystem/$preferred-id", params={"id": id_, "type": type_})) == {"result": result}


@pytest.mark.parametrize(
    ("id_", "type_", "status", "code"),
    [
        ("1.2.3.404", "uri", 404, "not-found"),
        (COLORS, "other", 404, "not-found"),
        (COLORS, "color", 400, "code-invalid"),
        ("1.2.3.8", "uri", 400, "multiple-matches"),
        (None, "uri", 400, "required"),
        (COLORS, None, 400, "required"),
    ],
)
def test_no_preferred_identifier(world: Fhir, id_: str | None, type_: str | None, status: int, code: str) -> None:
    given = {name: value for name, value in (("id", id_), ("type", type_)) if value is not None}
    answer = world.get("NamingSystem/$preferred-id", params=given)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (status, code)


SYSTEMS = [COLORS, f"urn:oid:{OID}", f"urn:uuid:{UUID}", "http://old.example.org/colors"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_code_system_answers_to_all_of_its_names(world: Fhir, system: str) -> None:
    asked = {"system": system, "code": "pink"}
    assert said(world.get("CodeSystem/$lookup", params=asked))["display"] == "Pink"
    assert said(world.get("CodeSystem/$lookup", params=asked | {"version": "1"}))["display"] == "Pink"
    assert world.get("CodeSystem/$lookup", params=asked | {"version": "2"}).status_code == 404
    assert said(world.get("CodeSystem/$validate-code", params={"url": system, "code": "pink"}))["result"] is True
    subsumed = world.get("CodeSystem/$subsumes", params={"system": system, "codeA": "red", "codeB": "pink"})
    assert said(subsumed) == {"outcome": "subsumes"}
    for url in ("http://example.org/ValueSet/warm", "urn:oid:1.2.3.4.7"):
        found = said(world.get("ValueSet/$validate-code", params=asked | {"url": url, "display": "pink"}))
        assert (found["result"], found["system"]) == (True, system)
        found = said(world.get("ValueSet/$validate-code", params={"url": url, "code": "blue", "system": system}))
        assert found["result"] is False
    translated = world.get("ConceptMap/$translate", params={"system": system, "code": "red"})
    assert said(translated)["result"] is True
    backwards = {"system": "http://example.org/moods", "code": "angry", "targetsystem": system, "reverse": "true"}
    assert said(world.get("ConceptMap/$translate", params=backwards))["result"] is True


def test_expansions_have_the_url(world: Fhir) -> None:
    codes = world.get("ValueSet/$expand?url=urn:oid:1.2.3.4.7").json()["expansion"]["contains"]
    assert [(each["system"], each["code"]) for each in codes] == [
        (COLORS, "red"),
        (COLORS, "pink"),
        ("http://elsewhere.example.org", "sun"),
    ]
    inferred = world.get("ValueSet/$validate-code?url=urn:oid:1.2.3.4.7&inferSystem=true&code=pink")
    assert said(inferred)["system"] == COLORS


def test_names_of_what_is_not_here(world: Fhir) -> None:
    for system in ("urn:oid:9.9.9", "http://elsewhere.example.org"):
        asked = {"url": "http://example.org/ValueSet/warm", "system": system, "code": "sun"}
        assert said(world.get("ValueSet/$validate-code", params=asked))["result"] is True


def test_published_code_systems_have_their_oids(world: Fhir) -> None:
    asked = {"system": "urn:oid:2.16.840.1.113883.4.642.4.2", "code": "female"}
    assert said(world.get("CodeSystem/$lookup", params=asked))["display"] == "Female"
    genders = "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert said(world.get("ValueSet/$validate-code", params=asked | {"url": genders}))["result"] is True
    asked = {"system": "urn:oid:2.16.840.1.113883.6.8", "code": "mg"}
    assert said(world.get("CodeSystem/$lookup", params=asked))["display"] == "milligram"


def test_an_identifier_of_a_code_system_is_a_name_of_it(world: Fhir) -> None:
    found = said(world.get("CodeSystem/$validate-code?url=urn:oid:1.2.3.4.6&code=round"))
    assert found["result"] is True


def test_a_search_below_a_code_goes_by_any_name(world: Fhir) -> None:
    for system in SYSTEMS[:2]:
        coded = {"coding": [{"system": system, "code": "pink"}]}
        world.create({"resourceType": "Basic", "code": coded})
    assert len(world.ids(f"Basic?code:below=urn:oid:{OID}|red")) == 2
    assert len(world.ids(f"Basic?code:below={COLORS}|red")) == 1
    assert len(world.ids("Basic?code:in=http://example.org/ValueSet/warm")) == 1


def test_a_name_is_live(world: Fhir) -> None:
    ask = "CodeSystem/$validate-code?url=urn:oid:1.2.3.77&code=red"
    assert said(world.get(ask))["result"] is False
    world.put("NamingSystem/late", naming("late", ("oid", "1.2.3.77"), ("uri", COLORS)))
    assert said(world.get(ask))["result"] is True
    assert world.delete("NamingSystem/late").status_code in (200, 204)
    assert said(world.get(ask))["result"] is False


def test_what_is_stored_comes_first_by_an_oid_too(world: Fhir) -> None:
    own = {"resourceType": "CodeSystem", "id": "own", "url": GENDER, "version": "9", "status": "active"}
    world.put("CodeSystem/own", own | {"content": "complete", "concept": [{"code": "female", "display": "Frau"}]})
    genders = {"resourceType": "ValueSet", "id": "own", "url": "http://hl7.org/fhir/ValueSet/administrative-gender"}
    listed = {"include": [{"system": GENDER, "concept": [{"code": "female"}]}]}
    world.put("ValueSet/own", genders | {"version": "9", "status": "active", "compose": listed})
    asked = {"system": "urn:oid:2.16.840.1.113883.4.642.4.2", "code": "female"}
    assert said(world.get("CodeSystem/$lookup", params=asked))["display"] == "Frau"
    expansion = world.get("ValueSet/$expand?url=urn:oid:2.16.840.1.113883.4.642.3.1").json()["expansion"]
    assert [each["display"] for each in expansion["contains"]] == ["Frau"]
    for path in ("CodeSystem/own", "ValueSet/own"):
        assert world.delete(path).status_code in (200, 204)


def test_a_system_without_a_url_is_called_by_its_oid(world: Fhir) -> None:
    code_system = {"resourceType": "CodeSystem", "id": "nameless", "url": "urn:oid:1.2.3.66", "status": "active"}
    world.put("CodeSystem/nameless", code_system | {"content": "complete", "concept": [{"code": "x"}]})
    world.put("NamingSystem/nameless", naming("nameless", ("other", "NLS"), ("oid", "1.2.3.66")))
    assert said(world.get("CodeSystem/$validate-code?url=NLS&code=x"))["result"] is True
    world.put("NamingSystem/empty", naming("empty", ("other", "EMP")))
    assert said(world.get("CodeSystem/$validate-code?url=EMP&code=x"))["result"] is False
