"""$closure: a client's table of what subsumes what, kept bit by bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terminology.closures import Member, entries

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
TREE = "http://example.org/tree"
ROUND = "http://example.org/round"
Entries = set[tuple[str, str, str]]


def code(name: str, *below: Json, **more: Any) -> Json:
    return {"code": name, **({"concept": [*below]} if below else {}), **more}


def system(id_: str, *concepts: Json, **more: Any) -> Json:
    said = {"resourceType": "CodeSystem", "id": id_, "url": f"http://example.org/{id_}", "status": "active"}
    return said | {"content": "complete", "hierarchyMeaning": "is-a", "concept": [*concepts]} | more


TREES = system("tree", code("all", code("a", code("a1"), code("a2")), code("b", code("b1"))), version="1")
CIRCLE = system(
    "round",
    code("x", property=[{"code": "parent", "valueCode": "y"}]),
    code("y", property=[{"code": "parent", "valueCode": "x"}]),
    caseSensitive=False,
)
PARTS = system("parts", code("hand", code("finger")), hierarchyMeaning="part-of")


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in (TREES, CIRCLE, PARTS):
        assert fhir.put(f"CodeSystem/{resource['id']}", resource).status_code == 201
    return fhir


def ask(fhir: Fhir, name: str | None, *codes: str, of: str = TREE, at: str = "$closure", **more: str) -> Any:
    parameter: list[Json] = [] if name is None else [{"name": "name", "valueString": name}]
    parameter += [{"name": "concept", "valueCoding": {"system": of, "code": each}} for each in codes]
    parameter += [{"name": key, "valueString": value} for key, value in more.items()]
    return fhir.post(at, {"resourceType": "Parameters", "parameter": parameter})


def told(answer: Any) -> tuple[str, Entries]:
    """The version, and the entries: (code, equivalence, other code)."""
    assert answer.status_code == 200, answer.text
    concept_map = answer.json()
    assert concept_map["resourceType"] == "ConceptMap"
    found = [
        (element["code"], target["equivalence"], target["code"])
        for group in concept_map.get("group", [])
        for element in group["element"]
        for target in element["target"]
    ]
    assert len(found) == len(set(found))
    assert all(group["source"] == group["target"] for group in concept_map.get("group", []))
    return concept_map["version"], set(found)


def refused(answer: Any, status: int) -> tuple[str, str]:
    assert answer.status_code == status, answer.text
    issue = answer.json()["issue"][0]
    return issue["code"], issue["diagnostics"]


def test_a_table_grows_bit_by_bit(world: Fhir) -> None:
    assert told(ask(world, "bits")) == ("0", set())
    assert told(ask(world, "bits", "a1")) == ("1", set())
    assert told(ask(world, "bits", "all", at="ConceptMap/$closure")) == ("2", {("a1", "subsumes", "all")})
    between = {("a1", "subsumes", "a"), ("a", "subsumes", "all")}
    assert told(ask(world, "bits", "a", "b1")) == ("3", between | {("b1", "subsumes", "all")})
    assert told(ask(world, "bits", "a", "a1"))[1] == set(), "nothing is told twice"


def test_what_was_lost_is_told_again(world: Fhir) -> None:
    ask(world, "lost")
    ask(world, "lost", "a1", "a")
    ask(world, "lost", "b1")
    ask(world, "lost", "all")
    every = {("a1", "subsumes", "a"), *((each, "subsumes", "all") for each in ("a1", "a", "b1"))}
    assert told(ask(world, "lost", version="0")) == ("3", every)
    assert told(ask(world, "lost", version="1"))[1] == every - {("a1", "subsumes", "a")}
    assert told(ask(world, "lost", version="3")) == ("3", set())


def test_a_table_is_begun_again_empty(world: Fhir) -> None:
    ask(world, "again")
    ask(world, "again", "a1", "a")
    assert told(ask(world, "again")) == ("0", set())
    assert told(ask(world, "again", "a")) == ("1", set())
    assert told(ask(world, "again", version="0")) == ("1", set())


def test_tables_and_code_systems_do_not_mix(world: Fhir) -> None:
    ask(world, "one")
    ask(world, "two")
    ask(world, "one", "a")
    assert told(ask(world, "two", "a1"))[1] == set()
    assert told(ask(world, "one", "x", of=ROUND))[1] == set()
    assert told(ask(world, "one", "a1"))[1] == {("a1", "subsumes", "a")}


def test_codes_that_mean_the_same_are_equal(world: Fhir) -> None:
    ask(world, "same")
    assert told(ask(world, "same", "x", "y", of=ROUND))[1] == {("x", "equal", "y")}
    assert told(ask(world, "same", "X", of=ROUND))[1] == {("X", "equal", "x"), ("X", "equal", "y")}


def test_a_published_code_system_has_a_closure(world: Fhir) -> None:
    v3 = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
    ask(world, "family")
    found = told(ask(world, "family", "FAMMEMB", "MTH", "PRN", "SIB", of=v3))[1]
    assert ("MTH", "subsumes", "PRN") in found
    assert ("SIB", "subsumes", "FAMMEMB") in found
    assert ("SIB", "subsumes", "PRN") not in found


@pytest.mark.parametrize(
    ("name", "codes", "more", "status", "code_", "said"),
    [
        (None, ["a"], {}, 400, "required", "name is missing"),
        ("not an id!", [], {}, 400, "invalid", "invalid closure name"),
        ("never", ["a"], {}, 404, "not-found", "has not been initialized"),
        ("never", [], {"version": "0"}, 404, "not-found", "has not been initialized"),
        ("there", ["a"], {"version": "0"}, 400, "invalid", "not both"),
        ("there", [], {"version": "7"}, 400, "invalid", "no version '7'"),
        ("there", [], {"version": "-1"}, 400, "invalid", "no version"),
        ("there", ["a", "zebra"], {}, 400, "not-found", "'zebra' is not a code of"),
        ("there", ["hand"], {"of": "http://example.org/parts"}, 400, "not-supported", "part-of"),
        ("there", ["hand"], {"of": "http://example.org/nowhere"}, 400, "not-found", "is not here"),
        ("there", ["a"], {"color": "red"}, 400, "not-supported", "no parameter 'color'"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    world: Fhir, name: str, codes: list[str], more: dict[str, str], status: int, code_: str, said: str
) -> None:
    ask(world, "there")
    found, diagnostics = refused(ask(world, name, *codes, **more), status)
    assert found == code_
    assert said in diagnostics
    assert told(ask(world, "there", version="0"))[1] == set(), "nothing of it was kept"


def test_it_is_posted(world: Fhir) -> None:
    answer = world.get("$closure?name=x")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_a_changed_hierarchy_asks_for_a_new_table(world: Fhir) -> None:
    moving = system("moving", code("top", code("low")))
    url = moving["url"]
    world.put("CodeSystem/moving", moving)
    ask(world, "moving")
    assert told(ask(world, "moving", "low", "top", of=url))[1] == {("low", "subsumes", "top")}
    world.put("CodeSystem/moving", moving | {"concept": [code("top", code("low")), code("new")]})
    assert told(ask(world, "moving", "new", of=url))[1] == set(), "what is in the table is as it was"
    world.put("CodeSystem/moving", moving | {"concept": [code("top"), code("low")]})
    assert "must be reinitialized" in refused(ask(world, "moving", "new", of=url), 422)[1]
    assert "must be reinitialized" in refused(ask(world, "moving", version="0"), 422)[1]
    ask(world, "moving")
    assert told(ask(world, "moving", "low", "top", of=url))[1] == set()
    assert world.delete("CodeSystem/moving").status_code in (200, 204)
    assert refused(ask(world, "moving", version="0"), 422)


def test_who_adds_at_the_same_time_misses_nothing(world: Fhir) -> None:
    ask(world, "busy")
    codes = ["all", "a", "a1", "a2", "b", "b1"]
    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(lambda each: told(ask(world, "busy", each)), codes)]
    assert sorted(version for version, _ in answers) == ["1", "2", "3", "4", "5", "6"]
    parts = [found for _, found in answers]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert set().union(*parts) == told(ask(world, "busy", version="0"))[1] == pairs(codes)


def pairs(codes: list[str]) -> Entries:
    above = {"all": "", "a": "all", "b": "all", "a1": "a all", "a2": "a all", "b1": "b all"}
    return {(one, "subsumes", other) for one, other in permutations(codes, 2) if other in above[one].split()}


@given(st.lists(st.tuples(st.sampled_from(["all", "a", "a1", "a2", "b", "b1"])), min_size=1, max_size=6, unique=True))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_order_the_table_is_the_same(world: Fhir, steps: list[tuple[str]]) -> None:
    ask(world, "law")
    found: Entries = set()
    for (each,) in steps:
        fresh = told(ask(world, "law", each))[1]
        assert not fresh & found
        found |= fresh
    assert found == pairs([each for (each,) in steps]) == told(ask(world, "law", version="0"))[1]


def test_entries_of_one_member_are_none() -> None:
    assert [*entries([Member("s", "a", "a", frozenset("a"), 1)], 0)] == []


def asked(fhir: Fhir, *concepts: Json) -> Any:
    parameter = [{"name": "name", "valueString": "strict"}, *concepts]
    return fhir.post("$closure", {"resourceType": "Parameters", "parameter": parameter})


@pytest.mark.parametrize(
    ("concepts", "status", "said"),
    [
        ([{"name": "concept", "valueCoding": {"system": TREE, "display": "A"}}], 400, "a Coding with system and code"),
        ([{"name": "concept", "valueString": "a"}], 400, "a Coding with system and code"),
        ([{"name": "concept", "valueCoding": {"system": TREE, "code": "a", "version": "0"}}], 400, "is of version 1"),
        (
            [{"name": "concept", "valueCoding": {"system": TREE, "code": str(n)}} for n in range(1001)],
            422,
            "more than 1,000",
        ),
    ],
)
def test_concepts_are_codings_of_the_current_version(world: Fhir, concepts: list[Json], status: int, said: str) -> None:
    assert told(asked(world)) == ("0", set())
    assert said in refused(asked(world, *concepts), status)[1]
    same = {"name": "concept", "valueCoding": {"system": TREE, "code": "a", "version": "1"}}
    assert told(asked(world, same, same)) == ("1", set())
