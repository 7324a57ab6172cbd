""":in, :not-in, :above and :below over HTTP, against value sets and code systems that are stored or published."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest

from terminology.service import Service

TREE = "http://example.org/cs/tree"
FLAT = "http://example.org/cs/flat"
PARTS = "http://example.org/cs/parts"
PIECE = "http://example.org/cs/piece"
RING = "http://example.org/cs/ring"
AWAY = "http://example.org/cs/away"
VS = "http://example.org/vs"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
Json = dict[str, Any]


def concept(code: str, *inner: Json, **properties: Any) -> Json:
    out: Json = {"code": code, "display": f"The {code}"}
    if properties:
        out["property"] = [
            {"code": name, "valueBoolean" if isinstance(value, bool) else "valueCode": value}
            for name, each in properties.items()
            for value in (each if isinstance(each, list) else [each])
        ]
    return out | ({"concept": [*inner]} if inner else {})


def code_system(id_: str, url: str, *concepts: Json, content: str = "complete", **more: Any) -> Json:
    head = {"resourceType": "CodeSystem", "id": id_, "url": url, "status": "active", "content": content}
    return head | ({"concept": [*concepts]} if concepts else {}) | more


def value_set(id_: str, *include: Json, exclude: list[Json] | None = None, inactive: bool | None = None, **more: Any):
    compose: Json = {"include": [*include]}
    if exclude:
        compose["exclude"] = exclude
    if inactive is not None:
        compose["inactive"] = inactive
    head = {"resourceType": "ValueSet", "id": id_, "url": f"{VS}/{id_}", "status": "active"}
    return head | ({"compose": compose} if include else {}) | more


def part(system: str | None, *codes: str, **more: Any) -> Json:
    out: Json = {} if system is None else {"system": system}
    return out | ({"concept": [{"code": code} for code in codes]} if codes else {}) | more


def filtered(system: str, *filters: tuple[str, str, str], **more: Any) -> Json:
    return part(system, filter=[{"property": p, "op": op, "value": value} for p, op, value in filters], **more)


def nested(*names: str) -> Json:
    return {"valueSet": [f"{VS}/{name}" for name in names]}


def observation(id_: str, *codings: tuple[str | None, str], **more: Any) -> Json:
    coding = [{"code": code} | ({"system": system} if system else {}) for system, code in codings]
    code: Json = {"coding": coding} if coding else {"text": "none"}
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": code, **more}


# animal → mammal → (dog → puppy, cat); animal → bird; `subsumedBy` puts bat below mammal and flyer.
SYSTEMS = [
    code_system(
        "tree",
        TREE,
        concept("animal", concept("mammal", concept("dog", concept("puppy")), concept("cat")), concept("bird")),
        concept("flyer"),
        concept("bat", subsumedBy=["mammal", "flyer"], size="small"),
        concept("dodo", inactive=True, size="large"),
        property=[{"code": "size", "type": "code"}, {"code": "subsumedBy", "type": "code"}],
        version="2.0",
    ),
    code_system("flat-old", FLAT, concept("a"), concept("b"), version="1.9"),
    code_system("flat", FLAT, concept("a"), concept("b"), concept("c"), version="1.10"),
    code_system("flat-next", FLAT, concept("a"), version="2.0") | {"status": "draft"},
    code_system("parts", PARTS, concept("car", concept("wheel")), hierarchyMeaning="part-of"),
    code_system("piece", PIECE, concept("x", concept("y")), content="fragment"),
    code_system(
        "ring", RING, concept("r1", child="r2"), concept("r2", child="r3"), concept("r3", child="r1"), concept("r4")
    ),
    code_system("stub", "http://example.org/cs/stub", content="not-present"),
]

BIG = [concept(f"c{number}") for number in range(3000)]

SETS = [
    value_set("listed", part(TREE, "dog", "cat")),
    value_set("two", part(TREE, "dog"), part(FLAT, "a")),
    value_set("whole", part(TREE)),
    value_set("mammals", filtered(TREE, ("concept", "is-a", "mammal"))),
    value_set("below-mammal", filtered(TREE, ("concept", "descendent-of", "mammal"))),
    value_set("no-mammals", filtered(TREE, ("concept", "is-not-a", "mammal"))),
    value_set("above-puppy", filtered(TREE, ("concept", "generalizes", "puppy"))),
    value_set("small", filtered(TREE, ("size", "=", "small"))),
    value_set("sized", filtered(TREE, ("size", "exists", "true"))),
    value_set("unsized", filtered(TREE, ("size", "exists", "false"))),
    value_set("sizes", filtered(TREE, ("size", "in", "small, large"))),
    value_set("not-sizes", filtered(TREE, ("size", "not-in", "small"))),
    value_set("regex", filtered(TREE, ("code", "regex", "[bc]a?.*"))),
    value_set("displayed", filtered(TREE, ("display", "=", "The dog"))),
    value_set("of-parent", filtered(TREE, ("parent", "=", "mammal"))),
    value_set("both-filters", filtered(TREE, ("concept", "is-a", "mammal"), ("concept", "generalizes", "puppy"))),
    value_set("active", part(TREE), inactive=False),
    value_set("active-listed", part(TREE, "dodo", "dog"), inactive=False),
    value_set("but-dogs", filtered(TREE, ("concept", "is-a", "mammal")), exclude=[part(TREE, "dog")]),
    value_set("but-listed", part(TREE), exclude=[nested("listed")]),
    value_set("nested", nested("listed"), nested("two")),
    value_set("intersected", nested("mammals", "listed")),
    value_set(
        "of-set", part(TREE, valueSet=[f"{VS}/mammals"], filter=[{"property": "code", "op": "regex", "value": ".*t"}])
    ),
    value_set("latest", part(FLAT)),
    value_set("pinned", part(FLAT, version="1.9")),
    value_set("pinned-away", part(FLAT, version="7")),
    value_set("away", part(AWAY)),
    value_set("away-listed", part(AWAY, "z")),
    value_set("away-but", part(AWAY), exclude=[part(AWAY, "z")]),
    value_set("away-filter", filtered(AWAY, ("concept", "is-a", "z"))),
    value_set("stub", part("http://example.org/cs/stub")),
    value_set("piece", part(PIECE)),
    value_set("piece-filter", filtered(PIECE, ("concept", "is-a", "x"))),
    value_set(
        "expanded",
        expansion={
            "timestamp": "2026-01-01",
            "contains": [
                {"system": TREE, "code": "dog"},
                {"system": TREE, "code": "mammal", "abstract": True, "contains": [{"system": TREE, "code": "cat"}]},
            ],
        },
    ),
    value_set(
        "came-along",
        filtered(AWAY, ("concept", "is-a", "z")),
        expansion={"timestamp": "2026-01-01", "total": 1, "contains": [{"system": AWAY, "code": "z"}]},
    ),
    value_set("page", expansion={"timestamp": "2026-01-01", "total": 9, "contains": [{"system": TREE, "code": "dog"}]}),
    value_set("loop-1", nested("loop-2")),
    value_set("loop-2", nested("loop-1")),
    value_set("self", nested("self")),
    value_set("orphan", nested("nowhere")),
    value_set("bad-code", filtered(TREE, ("concept", "is-a", "unicorn"))),
    value_set("bad-property", filtered(TREE, ("colour", "=", "red"))),
    value_set("bad-regex", filtered(TREE, ("code", "regex", "("))),
    value_set("of-parts", filtered(PARTS, ("concept", "is-a", "car"))),
    value_set("ring", filtered(RING, ("concept", "is-a", "r1"))),
    value_set("of-acts", filtered(ACT, ("concept", "is-a", "_ActEncounterCode"))),
    value_set("versions-1", part(TREE, "dog"), url=f"{VS}/versions", version="1"),
    value_set("versions-2", part(TREE, "cat"), url=f"{VS}/versions", version="2"),
    value_set("versions-3", part(TREE, "bird"), url=f"{VS}/versions", version="3") | {"status": "retired"},
    value_set("languages", part("urn:ietf:bcp:47", "en", "de")),
]

OBSERVATIONS = [
    observation("dog", (TREE, "dog")),
    observation("puppy", (TREE, "puppy")),
    observation("cat", (TREE, "cat")),
    observation("bat", (TREE, "bat")),
    observation("bird", (TREE, "bird")),
    observation("mammal", (TREE, "mammal")),
    observation("animal", (TREE, "animal")),
    observation("dodo", (TREE, "dodo")),
    observation("a", (FLAT, "a")),
    observation("c", (FLAT, "c")),
    observation("mixed", (FLAT, "b"), (TREE, "puppy")),
    observation("z", (AWAY, "z")),
    observation("bare", (None, "dog")),
    observation("other", ("http://example.org/cs/other", "dog")),
    observation("y", (PIECE, "y")),
    observation("r3", (RING, "r3")),
    observation("none"),
    observation(
        "imp", (ACT, "IMP"), component=[{"code": {"coding": [{"system": TREE, "code": "cat"}]}, "valueString": "x"}]
    ),
]
ALL = {each["id"] for each in OBSERVATIONS}


@pytest.fixture(scope="module")
def world(fhir):
    big = code_system("big", "http://example.org/cs/big", *BIG)
    patients = [
        {
            "resourceType": "Patient",
            "id": "her",
            "gender": "female",
            "maritalStatus": {
                "coding": [{"code": "M", "system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"}]
            },
        },
        {"resourceType": "Patient", "id": "him", "gender": "male"},
        {"resourceType": "Patient", "id": "unsaid"},
        observation("of-her", (TREE, "cat"), subject={"reference": "Patient/her"}),
    ]
    documents = [
        {
            "resourceType": "DocumentReference",
            "id": language,
            "status": "current",
            "content": [{"attachment": {"language": language}}],
        }
        for language in ("en", "fr")
    ]
    for resource in [
        *SYSTEMS,
        *SETS,
        big,
        value_set("big", part("http://example.org/cs/big")),
        *OBSERVATIONS,
        *patients,
        *documents,
    ]:
        answer = fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


def found(fhir, query: str, type_: str = "Observation") -> set[str]:
    return set(fhir.ids(f"{type_}?{query}&_count=100", headers={"Prefer": "handling=strict"})) - {"of-her"}


MAMMALS = {"dog", "puppy", "cat", "bat", "mammal", "mixed"}
CASES = [
    ("listed", {"dog", "cat"}),
    ("two", {"dog", "a"}),
    ("whole", MAMMALS | {"bird", "animal", "dodo"}),
    ("mammals", MAMMALS),
    ("below-mammal", MAMMALS - {"mammal"}),
    ("no-mammals", {"bird", "animal", "dodo"}),
    ("above-puppy", {"puppy", "dog", "mammal", "animal", "mixed"}),
    ("small", {"bat"}),
    ("sized", {"bat", "dodo"}),
    ("unsized", MAMMALS - {"bat"} | {"bird", "animal"}),
    ("sizes", {"bat", "dodo"}),
    ("not-sizes", MAMMALS - {"bat"} | {"bird", "animal", "dodo"}),
    ("regex", {"bat", "bird", "cat"}),
    ("displayed", {"dog"}),
    ("of-parent", {"dog", "cat", "bat"}),
    ("both-filters", {"puppy", "dog", "mammal", "mixed"}),
    ("active", MAMMALS | {"bird", "animal"}),
    ("active-listed", {"dog"}),
    ("but-dogs", MAMMALS - {"dog"}),
    ("but-listed", MAMMALS - {"dog", "cat"} | {"bird", "animal", "dodo"}),
    ("nested", {"dog", "cat", "a"}),
    ("intersected", {"dog", "cat"}),
    ("of-set", {"bat", "cat"}),
    ("latest", {"a", "c", "mixed"}),
    ("pinned", {"a", "mixed"}),
    ("away", {"z"}),
    ("away-listed", {"z"}),
    ("stub", set()),
    ("piece", {"y"}),
    ("expanded", {"dog", "cat"}),
    ("came-along", {"z"}),
    ("ring", {"r3"}),
    ("of-acts", {"imp"}),
    ("versions", {"cat"}),
    ("versions|1", {"dog"}),
    ("versions|3", {"bird"}),
    ("big", set()),
]


@pytest.mark.parametrize(("name", "expected"), CASES)
def test_in_and_not_in_part_what_there_is(world, name: str, expected: set[str]) -> None:
    url = quote(f"{VS}/{name}")
    assert found(world, f"code:in={url}") == expected
    assert found(world, f"code:not-in={url}") == ALL - expected


QUERIES = [
    (f"code:in={VS}/listed,{VS}/latest", {"dog", "cat", "a", "c", "mixed"}),
    (f"code:not-in={VS}/listed,{VS}/whole", ALL - MAMMALS - {"bird", "animal", "dodo"}),
    (f"code:in={VS}/mammals&code:not-in={VS}/listed", MAMMALS - {"dog", "cat"}),
    (f"code:in={VS}/mammals&_id=dog,bird", {"dog"}),
    ("code:in=ValueSet/listed", {"dog", "cat"}),
    ("code:in=ValueSet/versions-1", {"dog"}),
    (f"combo-code:in={VS}/listed", {"dog", "cat", "imp"}),
    (f"component-code:in={VS}/listed", {"imp"}),
    (f"component-code:not-in={VS}/listed", ALL - {"imp"}),
    (f"code:below={TREE}|mammal", MAMMALS),
    (f"code:below={TREE}|animal", MAMMALS - {"bat"} | {"animal", "bird", "bat"}),
    (f"code:below={TREE}|flyer", {"bat"}),
    (f"code:below={TREE}|cat", {"cat"}),
    (f"code:above={TREE}|puppy", {"puppy", "dog", "mammal", "animal", "mixed"}),
    (f"code:above={TREE}|bat", {"bat", "mammal", "animal"}),
    (f"code:above={TREE}|animal", {"animal"}),
    (f"code:below={TREE}|dog,{FLAT}|c", {"dog", "puppy", "mixed", "c"}),
    (f"code:below={FLAT}|a", {"a"}),
    (f"code:below={RING}|r2", {"r3"}),
    (f"code:above={RING}|r2", {"r3"}),
    (f"code:below={ACT}|_ActEncounterCode", {"imp"}),
    (f"code:above={ACT}|IMP", {"imp"}),
    (f'_filter=code in "{VS}/listed"', {"dog", "cat"}),
    (f'_filter=code ni "{VS}/listed"', ALL - {"dog", "cat"}),
    (f'_filter=code ss "{TREE}|mammal"', MAMMALS),
    (f'_filter=code sb "{TREE}|dog"', {"dog", "mammal", "animal"}),
    (f'_filter=code in "{VS}/mammals" and not (code in "{VS}/listed")', MAMMALS - {"dog", "cat"}),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_queries(world, query: str, expected: set[str]) -> None:
    name, _, value = query.partition("=")
    assert found(world, query if name != "_filter" else f"_filter={quote(value)}") == expected


OTHERS = [
    ("Patient", "gender:in=http://hl7.org/fhir/ValueSet/administrative-gender", {"her", "him"}),
    ("Patient", "gender:not-in=http://hl7.org/fhir/ValueSet/administrative-gender", {"unsaid"}),
    ("Patient", "gender:in=http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1", {"her", "him"}),
    ("Patient", "gender:below=http://hl7.org/fhir/administrative-gender|male", {"him"}),
    ("Patient", f"_has:Observation:patient:code:in={VS}/listed", {"her"}),
    ("Patient", f"_has:Observation:patient:code:below={TREE}|mammal", {"her"}),
    ("Observation", "subject:Patient.gender:in=http://hl7.org/fhir/ValueSet/administrative-gender", set()),
    ("DocumentReference", f"language:in={VS}/languages", {"en"}),
    ("DocumentReference", f"language:not-in={VS}/languages", {"fr"}),
]


@pytest.mark.parametrize(("type_", "query", "expected"), OTHERS)
def test_other_types(world, type_: str, query: str, expected: set[str]) -> None:
    assert found(world, query, type_) == expected


REFUSED = [
    (f"code:in={VS}/nowhere", 400, "not-found", f"code:in: value set {VS}/nowhere is not known here"),
    (f"code:in={VS}/listed|9", 400, "not-found", f"value set {VS}/listed|9 is not known here"),
    (f"code:in={VS}/listed,{VS}/nowhere", 400, "not-found", f"{VS}/nowhere"),
    ("code:in=ValueSet/nowhere", 400, "not-found", "value set ValueSet/nowhere is not known here"),
    ("code:in=nonsense", 400, "not-found", "value set nonsense"),
    (f"code:not-in={VS}/nowhere", 400, "not-found", "code:not-in"),
    (f"code:in={VS}/orphan", 400, "not-found", f"{VS}/nowhere, which {VS}/orphan includes"),
    (f"code:in={VS}/loop-1", 400, "processing", f"{VS}/loop-1 → {VS}/loop-2 → {VS}/loop-1"),
    (f"code:in={VS}/self", 400, "processing", "a part of itself"),
    (f"code:in={VS}/away-filter", 400, "not-found", f"value set {VS}/away-filter needs code system {AWAY}"),
    (f"code:in={VS}/pinned-away", 400, "not-found", f"code system {FLAT}|7"),
    (f"code:in={VS}/away-but", 400, "not-found", f"leaves codes out of {AWAY}"),
    (f"code:in={VS}/page", 400, "not-supported", "no whole expansion"),
    (f"code:in={VS}/bad-code", 400, "not-found", "'unicorn' is not a code"),
    (f"code:in={VS}/bad-property", 400, "not-supported", "has no property 'colour'"),
    (f"code:in={VS}/bad-regex", 400, "invalid", "regular expression"),
    (f"code:in={VS}/of-parts", 400, "not-supported", "part-of"),
    (f"code:below={TREE}|unicorn", 400, "not-found", f"'unicorn' is not a code of code system {TREE}"),
    (f"code:below={AWAY}|z", 400, "not-found", f"code system {AWAY} is not here"),
    ("code:below=http://example.org/cs/stub|z", 400, "not-found", "without its codes"),
    ("code:below=dog", 400, "invalid", "write system|code"),
    ("code:above=|dog", 400, "invalid", "write system|code"),
    (f"code:below={TREE}|", 400, "invalid", "write system|code"),
    (f"code:below={PARTS}|car", 400, "not-supported", "part-of"),
    (f"identifier:in={VS}/listed", 400, "not-supported", "identifier:in: the values of this parameter are no codes"),
    (f'_filter=code in "{VS}/nowhere"', 400, "not-found", f"{VS}/nowhere"),
    (f"_id:in={VS}/listed", 400, "not-supported", "modifier"),
    (f"date:in={VS}/listed", 400, "not-supported", "modifier"),
    (f"_has:Observation:has-member:code:in={VS}/nowhere", 400, "not-found", f"{VS}/nowhere"),
]


@pytest.mark.parametrize(("query", "status", "code", "sentence"), REFUSED)
def test_refusals(world, query: str, status: int, code: str, sentence: str) -> None:
    answer = world.get(f"Observation?{query}", headers={"Prefer": "handling=strict"})
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["code"]) == (status, code), issue
    assert sentence in issue["diagnostics"]


def test_a_value_set_of_too_many_codes_is_refused(world, monkeypatch):
    monkeypatch.setattr("terminology.codes.MOST", 2000)
    world.put("ValueSet/huge", value_set("huge", part("http://example.org/cs/big")))
    answer = world.get(f"Observation?code:in={VS}/huge")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "too-costly")


def test_one_set_asked_for_many_times_is_asked_for_once(world):
    once = world.ids(f"Observation?code:in={VS}/two")
    asked = ",".join([f"{VS}/two"] * 500)
    answer = world.post(
        "Observation/_search",
        content=f"code:in={asked}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == once != []


def test_urls_with_too_much_above_them_are_refused(world):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    deep = world.post("ValueSet/_search", content=f"url:above=http://a{'/x' * 100}", headers=form)
    assert (deep.status_code, deep.json()["issue"][0]["code"]) == (400, "too-costly")
    long = ",".join(f"http://{number}/{'x' * 3900}{'/x' * 50}" for number in range(200))
    wide = world.post("ValueSet/_search", content=f"url:above={long}", headers=form)
    assert (wide.status_code, wide.json()["issue"][0]["code"]) == (422, "too-costly")


def test_a_value_set_of_too_many_value_sets_is_refused(world, monkeypatch):
    monkeypatch.setattr("terminology.service.MOST_RESOURCES", 3)
    world.put("ValueSet/wide", value_set("wide", *(nested(name) for name in ("two", "whole", "mammals"))))
    answer = world.get(f"Observation?code:in={VS}/wide")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "too-costly")


def test_a_change_counts_at_once(world):
    """Of the value set, of what it includes, of a code system; also when one appears or goes."""
    fresh = "http://example.org/cs/fresh"
    world.put("ValueSet/outer", value_set("outer", nested("inner")))
    assert world.get(f"Observation?code:in={VS}/outer").status_code == 400
    world.put("ValueSet/inner", value_set("inner", part(TREE, "dog")))
    assert found(world, f"code:in={VS}/outer") == {"dog"}
    world.put("ValueSet/inner", value_set("inner", part(TREE, "cat")))
    assert found(world, f"code:in={VS}/outer") == {"cat"}
    world.put("ValueSet/inner", value_set("inner", filtered(fresh, ("concept", "is-a", "top"))))
    assert world.get(f"Observation?code:in={VS}/outer").status_code == 400
    world.put("Observation/fresh", observation("fresh", (fresh, "leaf")))
    world.put("CodeSystem/fresh", code_system("fresh", fresh, concept("top", concept("leaf"))))
    assert found(world, f"code:in={VS}/outer") == {"fresh"}
    world.put("CodeSystem/fresh", code_system("fresh", fresh, concept("top"), concept("leaf")))
    assert found(world, f"code:in={VS}/outer") == set()
    world.delete("ValueSet/inner")
    assert world.get(f"Observation?code:in={VS}/outer").status_code == 400
    world.delete("Observation/fresh")


def test_a_stored_value_set_goes_before_the_published_one(world):
    url = "http://hl7.org/fhir/ValueSet/administrative-gender"
    world.put("ValueSet/own", value_set("own", part("http://hl7.org/fhir/administrative-gender", "male"), url=url))
    assert found(world, f"gender:in={url}", "Patient") == {"him"}
    assert found(world, f"gender:in={url}|4.0.1", "Patient") == {"her", "him"}
    world.delete("ValueSet/own")
    assert found(world, f"gender:in={url}", "Patient") == {"her", "him"}


def test_a_condition_of_a_write_may_ask_a_value_set(world):
    observation_ = observation("x", (TREE, "dog"))
    del observation_["id"]
    url = f"{VS}/listed"
    answer = world.post("Observation", observation_, headers={"If-None-Exist": f"code:in={url}&_id=dog"})
    assert answer.status_code == 200
    bad = world.post("Observation", observation_, headers={"If-None-Exist": f"code:in={VS}/nowhere"})
    assert (bad.status_code, bad.json()["issue"][0]["code"]) == (400, "not-found")


def test_a_search_of_all_types_asks_value_sets_too(world):
    tagged = observation("tagged", meta={"tag": [{"system": TREE, "code": "puppy"}]})
    world.put("Observation/tagged", tagged)
    assert world.ids(f"?_type=Observation,Patient&_tag:below={TREE}|dog") == ["tagged"]
    assert world.get("?_tag:in=http://example.org/vs/nowhere").status_code == 400
    world.delete("Observation/tagged")


FRAGMENTS = [
    (f"Observation?code:below={PIECE}|x", "code:below", {"y"}),
    (f"Observation?code:above={PIECE}|y", "code:above", {"y"}),
    (f"Observation?code:in={VS}/piece-filter", "code:in", {"y"}),
    (f"Observation?code:in={VS}/of-piece,{VS}/listed", "code:in", {"y", "dog", "cat", "of-her"}),
    (f"Observation?_filter=code in {VS}/piece-filter and code ss {TREE}|animal", "code:in", set()),
    (f"Patient?_has:Observation:subject:code:not-in={VS}/piece-filter", "code:not-in", {"her"}),
    (f"?_type=Observation,Condition&code:in={VS}/piece-filter", "code:in", {"y"}),
]


@pytest.mark.parametrize(("path", "name", "ids"), FRAGMENTS)
def test_what_rests_on_a_fragment_is_said(world, path, name, ids):
    world.put("ValueSet/of-piece", value_set("of-piece", nested("piece-filter")))
    bundle = world.bundle(path)
    *matches, said = bundle["entry"]
    assert {each["resource"]["id"] for each in matches} == ids
    assert (said["search"]["mode"], "total" in bundle) == ("outcome", False)
    (issue,) = said["resource"]["issue"]
    assert (issue["severity"], issue["code"]) == ("warning", "incomplete")
    names = [each.partition("=")[0] for each in re.split("[?&]", path)]
    asked = next((each for each in names if each.endswith(name)), "_filter")
    assert issue["expression"] == [f"http.{asked}"]
    assert issue["diagnostics"].startswith(f"{name}: of code system {PIECE} only a fragment is here")
    refused = world.get(path, headers={"Prefer": "handling=strict"})
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "incomplete")
    assert refused.json()["issue"][0]["expression"] == issue["expression"]
    assert "total" not in world.bundle(f"{path}&_summary=count")


def test_a_fragment_is_no_ground_for_a_write_or_a_statistic(world):
    new = {key: value for key, value in observation("x", (PIECE, "y")).items() if key != "id"}
    for asked in (f"code:below={PIECE}|x", f"code:not-in={VS}/piece-filter"):
        refused = world.post("Observation", new, headers={"If-None-Exist": asked})
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "incomplete")
        assert world.delete(f"Observation?{asked}").status_code == 400
        assert world.get(f"Observation/$lastn?patient=Patient/her&{asked}").status_code == 400
    assert found(world, f"code:in={VS}/piece") == {"y"}
    (issue,) = world.get(f"Observation?code:below={PIECE}|far").json()["issue"]
    assert issue["code"] == "not-found"
    assert (
        issue["diagnostics"] == f"code:below: 'far' is not a code of the fragment that is here of code system {PIECE}"
    )


def test_a_value_set_is_expanded_once_in_a_search_of_all_types(world, monkeypatch):
    world.put("Observation/tagged", observation("tagged", meta={"tag": [{"system": TREE, "code": "cat"}]}))
    world.put("Patient/tagged", {"resourceType": "Patient", "id": "tagged", "meta": {"tag": [{"code": "z"}]}})
    asked = []

    members = Service.members

    async def counted(service, text):
        asked.append(text)
        return await members(service, text)

    monkeypatch.setattr(Service, "members", counted)
    assert world.ids(f"?_tag:in={VS}/listed") == ["tagged"]
    assert world.ids(f"Observation?subject._tag:in={VS}/listed&_tag:not-in={VS}/listed") == []
    assert asked == [f"{VS}/listed"] * 3
    for type_ in ("Observation", "Patient"):
        world.delete(f"{type_}/tagged")


URLS = [
    ("below=http://acme.org/fhir", {"root", "vs", "vs-1", "deep"}),
    ("below=http://acme.org/fhir/", {"root", "vs", "vs-1", "deep"}),
    ("below=http://acme.org/fhir/ValueSet", {"vs", "vs-1", "deep"}),
    ("below=http://acme.org/fhir/ValueSet/1", {"vs-1", "deep"}),
    ("below=http://acme.org/fhi", set()),
    ("below=http://acme.org", {"root", "vs", "vs-1", "deep", "fhirx"}),
    ("above=http://acme.org/fhir/ValueSet/1/_history/5", {"root", "vs", "vs-1", "deep"}),
    ("above=http://acme.org/fhir/ValueSet/1", {"root", "vs", "vs-1"}),
    ("above=http://acme.org/fhir/ValueSet/2", {"root", "vs"}),
    ("above=http://acme.org/fhir", {"root"}),
    ("above=http://acme.org/other,http://acme.org/fhirx/a", {"fhirx"}),
]


@pytest.mark.parametrize(("asked", "expected"), URLS)
def test_urls_above_and_below(world, asked: str, expected: set[str]) -> None:
    named = {
        "root": "http://acme.org/fhir",
        "vs": "http://acme.org/fhir/ValueSet/",
        "vs-1": "http://acme.org/fhir/ValueSet/1",
        "deep": "http://acme.org/fhir/ValueSet/1/_history/5",
        "fhirx": "http://acme.org/fhirx",
        "urn": "urn:oid:1.2.3",
    }
    for id_, url in named.items():
        world.put(f"ConceptMap/{id_}", {"resourceType": "ConceptMap", "id": id_, "status": "active", "url": url})
    assert found(world, f"url:{asked}", "ConceptMap") == expected


@pytest.mark.parametrize("modifier", ["above", "below"])
@pytest.mark.parametrize("value", ["urn:oid:1.2", "fhir", "urn:uuid:0198"])
def test_only_urls_have_others_above_and_below(world, modifier: str, value: str) -> None:
    answer = world.get(f"ConceptMap?url:{modifier}={value}")
    assert answer.status_code == 400
    assert "only URLs" in answer.json()["issue"][0]["diagnostics"]


GAP = {"extension": [{"url": "http://example.org/unknown", "valueCode": "unknown"}]}  # what stands in place of a value
GAPPED = [
    {"include": [{"valueSet": [None, f"{VS}/listed"], "_valueSet": [GAP, None]}]},
    {"include": [{"system": TREE, "filter": [{"_op": GAP, "property": "code", "value": "x"}]}]},
    {"include": [{"system": TREE, "filter": [{"op": "=", "_property": GAP, "value": "x"}]}]},
    {"include": [{"system": TREE, "filter": [{"op": "is-a", "property": "concept", "_value": GAP}]}]},
    {"include": [{"_system": GAP, "concept": [{"code": "dog"}]}]},
    {"include": [{"system": TREE, "concept": [{"_code": GAP}, {"code": "dog"}]}]},
    {"include": [{"system": "http://example.org/cs/gaps", "filter": [{"op": "=", "property": "p", "value": "x"}]}]},
]


@pytest.mark.parametrize("compose", GAPPED)
def test_values_that_are_left_out_are_no_error_of_the_server(world, compose: Json) -> None:
    properties = [{"_code": GAP, "uri": "http://hl7.org/fhir/concept-properties#parent", "type": "code"}]
    concepts = [
        {"_code": GAP},
        {"code": "x", "property": [{"_code": GAP, "valueCode": "x"}, {"code": "p", "_valueCode": GAP}]},
    ]
    system = code_system("gaps", "http://example.org/cs/gaps", *concepts, property=properties)
    assert world.put("CodeSystem/gaps", system).status_code in (200, 201, 422)
    gapped = {**value_set("gapped"), "compose": compose}
    assert world.put("ValueSet/gapped", gapped).status_code in (200, 201, 422)
    assert world.get(f"Observation?code:in={VS}/gapped").status_code in (200, 400)


def test_explain_tells_what_not_in_costs(world):
    answer = world.get(f"Observation/$explain?code:not-in={VS}/listed").json()
    said = str(answer["parameter"])
    assert "not-in" in said
    assert f"{VS}/listed" in said
