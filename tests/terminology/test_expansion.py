"""The codes of a value set are those of which a naive reading of its compose says that they are in it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from fhirserver.fhir.outcome import Outcome
from fhirserver.search.coded import Coded, tokens
from fhirserver.search.criteria import Clause
from fhirserver.search.filters import criterion_filter
from fhirserver.search.parameters import r4_registry
from fhirserver.search.values.tokens import concept
from fhirserver.store.versions import now
from terminology import codes, value_sets
from terminology.canonical import Candidate, Canonical, canonical, latest, version_order
from terminology.code_systems import CodeSystem
from terminology.codes import Expansion, common, listed_codes, united
from terminology.composed import expand as expanding
from terminology.concepts import Concept, Filter
from terminology.expansions import Wanted, contains, expansion, listing, rank
from terminology.membership import Code, holds
from terminology.published import published, published_set, published_system, published_urls
from terminology.value_sets import Present, ValueSet

Json = dict[str, Any]
CODES = "abcdefg"
VS = Canonical("ValueSet", "urn:vs")
SYSTEMS = ("urn:one", "urn:two")
SETS = ("urn:vs:0", "urn:vs:1", "urn:vs:2")


def expand(asked: Canonical, present: Present) -> Expansion:
    return asyncio.run(expanding(asked, present)).codes


@st.composite
def code_systems(draw: st.DrawFn, url: str) -> Json:
    """A forest, with other parents by property, loops included."""
    codes = draw(st.lists(st.sampled_from(CODES), min_size=1, unique=True))
    concepts: dict[str, Json] = {}
    roots: list[Json] = []
    for code in codes:
        each: Json = {"code": code}
        if colour := draw(st.sampled_from(["", "red", "blue"])):
            each.setdefault("property", []).append({"code": "colour", "valueCode": colour})
        if draw(st.booleans()):
            other = draw(st.sampled_from(codes))
            each.setdefault("property", []).append(
                {"code": draw(st.sampled_from(["parent", "child"])), "valueCode": other}
            )
        inside = draw(st.sampled_from(["", *concepts]))
        (concepts[inside].setdefault("concept", []) if inside else roots).append(each)
        concepts[code] = each
    properties = [{"code": "colour", "type": "code"}]
    return {"resourceType": "CodeSystem", "url": url, "content": "complete", "property": properties, "concept": roots}


def filters(codes: list[str]) -> st.SearchStrategy[Json]:
    code = st.sampled_from(codes)
    return st.one_of(
        st.tuples(st.just("concept"), st.sampled_from(["is-a", "descendent-of", "is-not-a", "generalizes"]), code),
        st.tuples(
            st.just("colour"), st.sampled_from(["=", "in", "not-in"]), st.sampled_from(["red", "blue", "red,blue"])
        ),
        st.tuples(st.just("colour"), st.just("exists"), st.sampled_from(["true", "false"])),
        st.tuples(
            st.sampled_from(["code", "parent", "child"]), st.just("regex"), st.sampled_from(["[a-c]", "[^a]", "d|e"])
        ),
        st.tuples(st.sampled_from(["parent", "child"]), st.just("="), code),
    ).map(lambda f: {"property": f[0], "op": f[1], "value": f[2]})


@st.composite
def parts(draw: st.DrawFn, systems: dict[str, Json], sets: list[str]) -> Json:
    part: Json = {}
    if sets and draw(st.booleans()):
        part["valueSet"] = draw(st.lists(st.sampled_from(sets), min_size=1, max_size=2))
    if not part or draw(st.booleans()):
        url = draw(st.sampled_from(SYSTEMS))
        part["system"] = url
        kind = draw(st.sampled_from(["whole", "listed", "filtered"]))
        if kind == "listed":
            part["concept"] = [{"code": code} for code in draw(st.lists(st.sampled_from(CODES), min_size=1))]
        elif kind == "filtered":
            part["filter"] = draw(st.lists(filters(sorted(CodeSystem(systems[url]).codes)), min_size=1, max_size=2))
    return part


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, Json], dict[str, Json]]:
    systems = {url: draw(code_systems(url)) for url in SYSTEMS}
    sets: dict[str, Json] = {}
    for url in SETS:
        compose: Json = {"include": draw(st.lists(parts(systems, [*sets]), min_size=1, max_size=3))}
        if draw(st.booleans()):
            compose["exclude"] = [draw(parts(systems, [*sets]))]
        sets[url] = {"resourceType": "ValueSet", "url": url, "compose": compose}
    return systems, sets


# the oracle: one code at a time, by the words of the specification


def walk(concepts: list[Json], above: tuple[str, ...] = ()):
    for each in concepts:
        yield each, above
        yield from walk(each.get("concept", []), (*above, each["code"]))


def parents_of(system: Json, code: str) -> set[str]:
    found = set()
    for each, above in walk(system["concept"]):
        said = [(p["code"], p["valueCode"]) for p in each.get("property", [])]
        if each["code"] == code:
            found |= {*above[-1:], *(value for name, value in said if name == "parent")}
        if ("child", code) in said:
            found.add(each["code"])
    return found


def ancestors(system: Json, code: str) -> set[str]:
    found: set[str] = set()
    for _ in CODES:
        found |= {far for near in (found or {code}) | {code} for far in parents_of(system, near)}
    return found


def passes(system: Json, code: str, filter_: Json) -> bool:
    value, property_ = filter_["value"], filter_["property"]
    is_a = code == value or value in ancestors(system, code)
    concept_ = next(each for each, _ in walk(system["concept"]) if each["code"] == code)
    children = {each["code"] for each, _ in walk(system["concept"]) if code in parents_of(system, each["code"])}
    values = {
        "code": {code},
        "parent": parents_of(system, code),
        "child": children,
        "concept": {code},
        "colour": {p["valueCode"] for p in concept_.get("property", []) if p["code"] == "colour"},
    }[property_]
    patterns = {"[a-c]": set("abc"), "[^a]": set("bcdefg"), "d|e": set("de")}
    return {
        "is-a": is_a,
        "descendent-of": code != value and is_a,
        "is-not-a": not is_a,
        "generalizes": code == value or code in ancestors(system, value),
        "=": value in values,
        "in": bool(values & {*value.split(",")}),
        "not-in": not values & {*value.split(",")},
        "exists": bool(values) == (value == "true"),
        "regex": bool(values & patterns.get(value, set())),
    }[filter_["op"]]


def in_part(systems, sets, part: Json, system: str, code: str) -> bool:
    if not all(in_set(systems, sets, url, system, code) for url in part.get("valueSet", [])):
        return False
    if "system" not in part:
        return True
    if part["system"] != system:
        return False
    if "concept" in part:
        return {"code": code} in part["concept"]
    known = [each["code"] for each, _ in walk(systems[system]["concept"])]
    return code in known and all(passes(systems[system], code, each) for each in part.get("filter", []))


def in_set(systems, sets, url: str, system: str, code: str) -> bool:
    compose = sets[url]["compose"]
    return any(in_part(systems, sets, part, system, code) for part in compose["include"]) and not any(
        in_part(systems, sets, part, system, code) for part in compose.get("exclude", [])
    )


def present(systems: dict[str, Json], sets: dict[str, Json]) -> Present:
    return Present(
        {Canonical("ValueSet", url): ValueSet(each) for url, each in sets.items()},
        {Canonical("CodeSystem", url): CodeSystem(each) for url, each in systems.items()},
    )


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_an_expansion_holds_what_the_oracle_says(world) -> None:
    systems, sets = world
    for url in SETS:
        expansion = expand(Canonical("ValueSet", url), present(systems, sets))
        held = {(system, code) for system, codes in expansion.items() for code in codes or ()}
        assert held == {(s, c) for s in SYSTEMS for c in CODES if in_set(systems, sets, url, s, c)}


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_a_code_is_held_where_the_oracle_says(world) -> None:
    systems, sets = world
    asked = present(systems, sets)

    async def held() -> dict[tuple[str, str, str], bool | None]:
        every = itertools.product(SETS, SYSTEMS, CODES)
        return {(u, s, c): (await holds(Canonical("ValueSet", u), Code(s, c), asked)).answer for u, s, c in every}

    assert asyncio.run(held()) == {
        (u, s, c): in_set(systems, sets, u, s, c) for u, s, c in itertools.product(SETS, SYSTEMS, CODES)
    }


@pytest.fixture(scope="module")
def collection(mongodb: str):
    with MongoClient[Json](mongodb) as client:
        yield client.terminology_laws.get_collection("documents", CodecOptions(tz_aware=True))
        client.drop_database("terminology_laws")


CODINGS = st.lists(st.tuples(st.sampled_from([*SYSTEMS, "urn:other"]), st.sampled_from(CODES)), max_size=2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds(), st.lists(CODINGS, min_size=1, max_size=8))
def test_a_search_finds_the_members_and_not_in_the_rest(collection, world, stored) -> None:
    systems, sets = world
    collection.delete_many({})
    collection.insert_many(
        {"_id": i, "search": {"code": concept({"coding": [{"system": s, "code": c} for s, c in each]})} if each else {}}
        for i, each in enumerate(stored)
    )
    parameter = r4_registry()["Observation"]["code"]
    for url in SETS:
        asked = tuple(tokens(expand(Canonical("ValueSet", url), present(systems, sets)), Coded(True, False)))
        members = {
            i
            for i, each in enumerate(stored)
            if any(s in SYSTEMS and in_set(systems, sets, url, s, c) for s, c in each)
        }
        for modifier, expected in ((None, members), ("not", {*range(len(stored))} - members)):
            filter_ = criterion_filter(Clause(parameter, modifier, asked), now())
            assert {each["_id"] for each in collection.find(filter_)} == expected


@given(worlds())
def test_subsumption_goes_both_ways(world) -> None:
    for resource in world[0].values():
        system = CodeSystem(resource)
        for code in system.codes:
            assert code in system.lower(code) & system.higher(code)
            assert all(code in system.higher(lower) for lower in system.lower(code))
            assert all(system.lower(lower) <= system.lower(code) for lower in system.lower(code))


SOME = st.dictionaries(st.sampled_from("xyz"), st.one_of(st.none(), st.frozensets(st.sampled_from(CODES))))


@given(SOME, SOME)
def test_sets_of_codes_are_sets(one, other) -> None:
    either = united([one, other])
    assert either is not None
    assert either == united([other, one])
    assert common(one, other) == common(other, one)
    assert united([one, one]) == united([one]) == one
    assert common(one, either) == one


# one thing at a time


def test_the_depth_of_value_sets_is_bounded() -> None:
    sets = {
        f"urn:{i}": {"compose": {"include": [{"valueSet": [f"urn:{i + 1}"]}]}} for i in range(value_sets.DEEPEST + 2)
    }
    with pytest.raises(Outcome, match="value sets deep") as refusal:
        expand(Canonical("ValueSet", "urn:0"), present({}, sets))
    assert refusal.value.issues[0].code == "too-costly"


def test_a_hundred_thousand_includes_are_no_more_work_than_their_codes() -> None:
    many = [{"system": "urn:one", "concept": [{"code": str(number)}]} for number in range(100_000)]
    without = [{"system": "urn:one", "concept": [{"code": str(number)}]} for number in range(0, 100_000, 2)]
    found = expand(VS, present({}, {VS.url: {"compose": {"include": many, "exclude": without}}}))
    assert found == {"urn:one": frozenset(map(str, range(1, 100_000, 2)))}


def test_a_union_is_bounded_while_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "MOST", 2)
    endless = ({"urn:one": frozenset([str(number)])} for number in itertools.count())
    assert united(endless) is None
    assert united([{"urn:one": frozenset("ab")}, {"urn:one": None}, {"urn:two": frozenset("cd")}]) is not None


def test_a_listed_expansion_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "MOST", 2)
    with pytest.raises(Outcome, match="more than 2 codes"):
        listed_codes({"url": "urn:x", "expansion": {"contains": [{"system": "s", "code": str(i)} for i in range(3)]}})


@pytest.mark.parametrize("more", [{"offset": 1}, {"offset": 0, "total": 2}])
def test_a_page_of_an_expansion_is_not_all_of_it(more: Json) -> None:
    assert listed_codes({"expansion": {"contains": [{"system": "s", "code": "a"}], **more}}) is None


def test_every_code_of_a_system_can_be_left_out() -> None:
    compose = {
        "include": [{"system": "urn:away"}, {"system": "urn:b", "concept": [{"code": "x"}]}],
        "exclude": [{"system": "urn:away"}],
    }
    found = expand(Canonical("ValueSet", "urn:v"), present({}, {"urn:v": {"compose": compose}}))
    assert found == {"urn:b": {"x"}}


@pytest.mark.parametrize(
    ("filter_", "sentence"),
    [
        (("exists", "size", "maybe"), "takes true or false"),
        (("~", "size", "x"), "operator '~' is not known"),
        (("regex", "code", "(?=x)"), "regular expression"),
        (("=", "colour", "x"), "no property 'colour'"),
    ],
)
def test_a_filter_that_is_not_understood_is_refused(filter_, sentence: str) -> None:
    system = CodeSystem({"url": "u", "property": [{"code": "size"}], "concept": [{"code": "a"}]})
    with pytest.raises(Outcome, match=sentence.replace("(", r"\(")):
        system.filtered(Filter(filter_[1], filter_[0], filter_[2]))


def test_properties_of_every_type_are_compared_as_written() -> None:
    said = [
        {"code": "n", "valueInteger": 4},
        {"code": "b", "valueBoolean": True},
        {"code": "c", "valueCoding": {"system": "s", "code": "x"}},
        {"code": "t", "valueString": "two words"},
    ]
    system = CodeSystem({"url": "u", "concept": [{"code": "a", "property": said}, {"code": "b"}]})
    for property_, value in (("n", "4"), ("b", "true"), ("c", "x"), ("t", "two words")):
        assert system.filtered(Filter(property_, "=", value)) == {"a"}


def test_a_property_is_a_parent_by_its_uri() -> None:
    uri = "http://hl7.org/fhir/concept-properties#parent"
    concepts = [{"code": "a"}, {"code": "b", "property": [{"code": "up", "valueCode": "a"}]}]
    system = CodeSystem({"url": "u", "property": [{"code": "up", "uri": uri}], "concept": concepts})
    assert system.lower("a") == {"a", "b"}


NOW = now()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("u", "1.10"), ("u|1.9", "1.9"), ("u|2.0", "2.0"), ("u|3", None)],
)
def test_the_latest_active_version_is_meant(asked: str, expected: str | None) -> None:
    there = [
        Candidate(version, 1, "u", version, status, NOW)
        for version, status in (("1.9", "active"), ("2.0", "draft"), ("1.10", "active"), ("9", "retired"), ("", "odd"))
    ]
    chosen = latest(canonical("ValueSet", asked), there)
    assert (chosen and chosen.version) == expected


@pytest.mark.parametrize(
    ("older", "newer"), [("1.9", "1.10"), ("1.0-beta", "1.0"), ("2020-01-31", "2020-02-01"), ("1", "1.1")]
)
def test_versions_have_an_order(older: str, newer: str) -> None:
    assert version_order(older) < version_order(newer)


def test_what_r4_publishes_can_be_expanded() -> None:
    """All that needs nothing from elsewhere, and what is refused says what is missing."""
    asked = canonical("ValueSet", "http://terminology.hl7.org/ValueSet/v3-ActEncounterCode")
    value_set = published_set(asked)
    assert value_set is not None
    systems = {need: published_system(need) for need in value_set.needs()}
    codes = expand(asked, Present({asked: value_set}, {need: each for need, each in systems.items() if each}))
    assert codes["http://terminology.hl7.org/CodeSystem/v3-ActCode"] >= {"IMP", "ACUTE", "AMB"}
    assert published(canonical("ValueSet", f"{asked.url}|0")) is None
    assert published(canonical("CodeSystem", "http://loinc.org")) is None


def gathered(root: Canonical) -> Present:
    """What is published of a value set and all that it is made of."""
    sets: dict[Canonical, ValueSet] = {}
    systems: dict[Canonical, CodeSystem] = {}
    ahead = [root]
    while ahead:
        asked = ahead.pop()
        if asked.type == "CodeSystem":
            system = published_system(asked)
            systems |= {asked: system} if system else {}
        elif asked not in sets and (value_set := published_set(asked)):
            sets[asked] = value_set
            ahead += value_set.needs()
    return Present(sets, systems)


def test_every_published_value_set_has_its_codes_or_says_what_is_missing() -> None:
    refused = []
    urls = published_urls("ValueSet")
    for url in urls:
        asked = canonical("ValueSet", url)
        try:
            expansion = expand(asked, gathered(asked))
        except Outcome as refusal:
            refused.append(refusal)
        else:
            assert expansion, url
    assert len(urls) == 1316
    assert len(refused) < 65
    assert {refusal.issues[0].code for refusal in refused} == {"not-found", "not-supported"}
    elsewhere = ("snomed.info", "loinc.org", "unitsofmeasure", "urn:iso", "m49", "CodeSystem/", "dicom", "usps")
    assert all(any(each in str(refusal) for each in elsewhere) for refusal in refused), [*map(str, refused)]


INACTIVE = {"code": "i", "property": [{"code": "inactive", "valueBoolean": True}]}
PART = {"url": "urn:part", "content": "fragment", "concept": [{"code": "a", "concept": [{"code": "b"}]}, INACTIVE]}
WHOLE = {"url": "urn:whole", "content": "complete", "concept": [{"code": "a"}]}
OF_PART = {"system": "urn:part", "filter": [{"property": "concept", "op": "is-a", "value": "a"}]}
CAME = {"expansion": {"contains": [{"system": "urn:part", "code": "z"}]}}


@pytest.mark.parametrize(
    ("value_set", "codes", "unsure"),
    [
        ({"include": [{"system": "urn:part"}]}, {"urn:part": None}, False),
        ({"include": [{"system": "urn:part"}], "inactive": False}, {"urn:part": None}, True),
        ({"include": [OF_PART]}, {"urn:part": {"a", "b"}}, True),
        ({"include": [{"system": "urn:part", "concept": [{"code": "z"}]}]}, {"urn:part": {"z"}}, False),
        (
            {"include": [{"system": "urn:part", "concept": [{"code": "z"}]}], "inactive": False},
            {"urn:part": {"z"}},
            True,
        ),
        (
            {"include": [{"system": "urn:part", "concept": [{"code": "i"}]}], "inactive": False},
            {"urn:part": set()},
            False,
        ),
        ({"include": [{"system": "urn:whole"}], "exclude": [OF_PART]}, {"urn:whole": {"a"}}, True),
        ({"include": [{"valueSet": ["urn:of-part"]}]}, {"urn:part": {"a", "b"}}, True),
        ({"include": [{"valueSet": ["urn:came"]}]}, {"urn:part": {"z"}}, False),
        ({"include": [{"valueSet": ["urn:came"]}, {"valueSet": ["urn:of-part"]}]}, {"urn:part": {"a", "b", "z"}}, True),
        ({"include": [{"system": "urn:whole"}]}, {"urn:whole": {"a"}}, False),
    ],
)
def test_what_a_fragment_leaves_open(value_set: Json, codes: dict[str, Any], unsure: bool) -> None:
    sets = {
        VS.url: {"compose": value_set},
        "urn:of-part": {"compose": {"include": [OF_PART]}},
        "urn:came": {"compose": {"include": [OF_PART]}} | CAME,
    }
    found = asyncio.run(expanding(VS, present({each["url"]: each for each in (PART, WHOLE)}, sets)))
    assert found.codes == codes
    assert found.fragments == (frozenset({"urn:part"}) if unsure else frozenset())


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_what_is_shown_is_what_is_in_it_each_code_once(world) -> None:
    systems, sets = world
    asked = present(systems, sets)
    for url in SETS:
        listed = [*asyncio.run(listing(Canonical("ValueSet", url), asked))]
        assert sorted(listed) == sorted(
            (s, c) for s, c in itertools.product(SYSTEMS, CODES) if in_set(systems, sets, url, s, c)
        )


@given(worlds(), st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_pages_are_parts_of_the_whole_and_nesting_loses_nothing(world, offset: int, count: int) -> None:
    asked = present(*world)
    for url in SETS:
        whole = asyncio.run(expansion(Canonical("ValueSet", url), asked, Wanted()))
        page = asyncio.run(expansion(Canonical("ValueSet", url), asked, Wanted(offset=offset, count=count)))
        assert [*page.members] == [*whole.members][offset : offset + count]
        assert page.total == whole.total == len(whole.members)
        nested = contains(whole.members, Wanted(nested=True))
        assert sorted(flat(nested)) == sorted((each.system, each.concept.code) for each in whole.members)


def flat(nodes: list[Json]):
    for each in nodes:
        yield each["system"], each["code"]
        yield from flat(each.get("contains", []))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("heart attack", 0),
        ("Heart  ATTACK", 0),
        ("heart", 1),
        ("att heart", 2),
        ("22298006", 0),
        ("art", None),
        ("!", None),
    ],
)
def test_names_are_ranked(text: str, place: int | None) -> None:
    found = rank(Concept("22298006", "Heart attack"), text)
    assert (found and found[0]) == place
