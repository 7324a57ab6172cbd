"""ConceptMap/$translate: forwards, backwards, and where a map says that there is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
HERE, THERE, FAR = "http://example.org/here", "http://example.org/there", "http://example.org/far"
MAP = "http://example.org/ConceptMap/map"


def target(code: str, equivalence: str = "equivalent", **more: Any) -> Json:
    return {"code": code, "equivalence": equivalence, **more}


def concept_map(id_: str, *groups: Json, **more: Any) -> Json:
    said = {"resourceType": "ConceptMap", "id": id_, "url": f"http://example.org/ConceptMap/{id_}", "status": "active"}
    return said | {"group": [*groups]} | more


def element(code: str, *targets: Json) -> Json:
    return {"code": code, "display": f"The {code}", "target": [*targets]}


SITE = {"property": "http://example.org/site", "value": "left"}
RESOURCES = [
    concept_map(
        "map",
        {
            "source": HERE,
            "target": THERE,
            "targetVersion": "7",
            "element": [
                element("a", target("x", display="Ex")),
                element("b", target("y", "wider"), target("z", "narrower", comment="but larger")),
                element("c", {"equivalence": "unmatched", "comment": "nothing there"}),
                element("d", target("l", dependsOn=[SITE]), target("p", product=[SITE | {"system": FAR}])),
            ],
            "unmapped": {"mode": "fixed", "code": "other", "display": "Other"},
        },
        {"source": HERE, "target": FAR, "element": [element("a", target("f"))]},
        sourceUri="http://example.org/ValueSet/from",
        version="2",
    ),
    concept_map(
        "same",
        {"source": FAR, "target": THERE, "element": [element("q", target("r"))], "unmapped": {"mode": "provided"}},
    ),
    concept_map(
        "on",
        {
            "source": "http://example.org/on",
            "target": THERE,
            "element": [element("n", target("m"))],
            "unmapped": {"mode": "other-map", "url": "http://example.org/ConceptMap/more"},
        },
    ),
    concept_map("more", {"source": "http://example.org/on", "target": THERE, "element": [element("o", target("v"))]}),
    concept_map(
        "round",
        {
            "source": HERE,
            "target": "urn:round",
            "element": [element("n", target("m"))],
            "unmapped": {"mode": "other-map", "url": "http://example.org/ConceptMap/round"},
        },
    ),
]


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in RESOURCES:
        answer = fhir.put(f"ConceptMap/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


def said(answer: Any) -> tuple[bool, list[str]]:
    """The result, and each match as `equivalence system|code`."""
    assert answer.status_code == 200, answer.text
    parts = answer.json()["parameter"]
    found = []
    for each in parts:
        if each["name"] == "match":
            named = {part["name"]: part for part in each["part"]}
            coding = named.get("concept", {}).get("valueCoding")
            end = f" {coding.get('system', '')}|{coding['code']}" if coding else ""
            found.append(named["equivalence"]["valueCode"] + end)
    return parts[0]["valueBoolean"], found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            f"ConceptMap/$translate?url={MAP}&system={HERE}&code=a",
            (True, [f"equivalent {THERE}|x", f"equivalent {FAR}|f"]),
        ),
        (f"ConceptMap/$translate?url={MAP}&system={HERE}&code=a&targetsystem={FAR}", (True, [f"equivalent {FAR}|f"])),
        (f"ConceptMap/map/$translate?system={HERE}&code=b", (True, [f"wider {THERE}|y", f"narrower {THERE}|z"])),
        (f"ConceptMap/map/$translate?system={HERE}&code=c", (False, ["unmatched"])),
        (f"ConceptMap/map/$translate?system={HERE}&code=d", (True, [f"equivalent {THERE}|p"])),
        (f"ConceptMap/map/$translate?system={HERE}&code=new", (True, [f"relatedto {THERE}|other"])),
        (f"ConceptMap/map/$translate?system={FAR}&code=a", (False, [])),
        ("ConceptMap/map/$translate?code=b", (True, [f"wider {THERE}|y", f"narrower {THERE}|z"])),
        (f"ConceptMap/map/$translate?system={HERE}&code=b&source=http://example.org/ValueSet/other", (False, [])),
        (f"ConceptMap/map/$translate?system={THERE}&code=y&reverse=true", (True, [f"narrower {HERE}|b"])),
        (f"ConceptMap/map/$translate?system={THERE}&code=x&reverse=true", (True, [f"equivalent {HERE}|a"])),
        (f"ConceptMap/same/$translate?system={FAR}&code=s", (True, [f"equal {THERE}|s"])),
        ("ConceptMap/on/$translate?system=http://example.org/on&code=o", (True, [f"equivalent {THERE}|v"])),
        (f"ConceptMap/$translate?system={FAR}&code=q&targetsystem={THERE}", (True, [f"equivalent {THERE}|r"])),
        (
            f"ConceptMap/same/$translate?system={THERE}&code=zz&reverse=true",
            (True, [f"equal {FAR}|zz"]),
        ),
        (
            f"ConceptMap/same/$translate?system={THERE}&code=q&reverse=true",
            (False, []),
        ),
        (
            f"ConceptMap/on/$translate?system={THERE}&code=v&reverse=true",
            (True, ["equivalent http://example.org/on|o"]),
        ),
        (
            f"ConceptMap/$translate?system={THERE}&code=r&targetsystem={FAR}&reverse=true",
            (True, [f"equivalent {FAR}|q"]),
        ),
        (f"ConceptMap/$translate?system={FAR}&code=q&targetsystem=urn:none", (False, [])),
        (
            "ConceptMap/$translate?url=http://hl7.org/fhir/ConceptMap/cm-address-type-v3"
            "&system=http://hl7.org/fhir/address-type&code=postal",
            (True, ["equal http://terminology.hl7.org/CodeSystem/v3-AddressUse|PST"]),
        ),
    ],
)
def test_a_code_is_translated(world: Fhir, query: str, expected: tuple[bool, list[str]]) -> None:
    assert said(world.get(query)) == expected


def test_what_is_published_is_found_by_its_systems(world: Fhir) -> None:
    v3 = "http://terminology.hl7.org/CodeSystem/v3-AddressUse"
    query = f"ConceptMap/$translate?system=http://hl7.org/fhir/address-type&code=postal&targetsystem={v3}"
    assert said(world.get(query)) == (True, [f"equal {v3}|PST"])


def test_a_match_says_where_it_is_from_and_what_belongs_to_it(world: Fhir) -> None:
    match = world.get(f"ConceptMap/map/$translate?system={HERE}&code=d").json()["parameter"][1]
    assert match["part"] == [
        {"name": "equivalence", "valueCode": "equivalent"},
        {"name": "concept", "valueCoding": {"system": THERE, "version": "7", "code": "p"}},
        {
            "name": "product",
            "part": [
                {"name": "element", "valueUri": "http://example.org/site"},
                {"name": "concept", "valueCoding": {"system": FAR, "code": "left"}},
            ],
        },
        {"name": "source", "valueUri": MAP},
    ]


def posted(*parts: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": [*parts]}


def test_a_map_may_depend_on_what_else_is_known(world: Fhir) -> None:
    concept = {"name": "concept", "valueCodeableConcept": {"coding": [{"code": "left"}]}}
    dependency = {"name": "dependency", "part": [{"name": "element", "valueUri": SITE["property"]}, concept]}
    coding = {"name": "coding", "valueCoding": {"system": HERE, "code": "d"}}
    answer = world.post("ConceptMap/map/$translate", posted(coding, dependency))
    assert said(answer) == (True, [f"equivalent {THERE}|l", f"equivalent {THERE}|p"])
    assert world.post("ConceptMap/map/$translate", posted(coding, dependency | {"part": [concept]})).status_code == 400


def test_concepts_and_inline_maps_are_translated(world: Fhir) -> None:
    codings = [{"system": HERE, "code": "a"}, {"system": "urn:i", "code": "i"}]
    concept = {"name": "codeableConcept", "valueCodeableConcept": {"coding": codings}}
    inline = concept_map("i", {"source": "urn:i", "target": "urn:j", "element": [element("i", target("j"))]})
    del inline["id"]
    answer = world.post("ConceptMap/$translate", posted(concept, {"name": "conceptMap", "resource": inline}))
    assert said(answer) == (True, ["equivalent urn:j|j"])


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("ConceptMap/$translate?url=urn:gone&system=urn:x&code=a", 404, "concept map urn:gone is not known"),
        ("ConceptMap/$translate?code=a", 400, "name one by url, or say system"),
        (f"ConceptMap/$translate?system={HERE}&code=a&reverse=true", 400, "or say targetsystem"),
        (f"ConceptMap/map/$translate?url={MAP}&code=a", 400, "more than one concept map"),
        (f"ConceptMap/round/$translate?system={HERE}&code=x", 400, "goes on in itself"),
        (f"ConceptMap/map/$translate?system={HERE}", 400, "one of code, coding and codeableConcept"),
    ],
)
def test_what_cannot_be_translated_is_refused(world: Fhir, query: str, status: int, sentence: str) -> None:
    answer = world.get(query)
    assert answer.status_code == status
    assert sentence in answer.json()["issue"][0]["diagnostics"]
