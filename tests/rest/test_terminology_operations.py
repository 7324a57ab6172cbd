"""$lookup, $validate-code, $subsumes and $find-matches, as an EHR asks them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
GENDER = "http://hl7.org/fhir/administrative-gender"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"
ANIMALS = "http://example.org/animals"
PETS = "http://example.org/ValueSet/pets"
CODE_SYSTEM: Json = {
    "resourceType": "CodeSystem",
    "id": "animals",
    "url": ANIMALS,
    "version": "2",
    "name": "Animals",
    "title": "Animals of the house",
    "status": "active",
    "content": "complete",
    "caseSensitive": False,
    "hierarchyMeaning": "is-a",
    "property": [
        {"code": "legs", "type": "integer"},
        {"code": "says", "type": "string"},
        {"code": "eats", "type": "Coding"},
    ],
    "concept": [
        {
            "code": "animal",
            "display": "Animal",
            "property": [{"code": "notSelectable", "valueBoolean": True}],
            "concept": [
                {
                    "code": "dog",
                    "display": "Dog",
                    "definition": "Barks at the postman",
                    "designation": [
                        {"language": "de", "value": "Hund"},
                        {"language": "fr-CA", "value": "Chien", "use": {"code": "synonym"}},
                    ],
                    "property": [{"code": "legs", "valueInteger": 4}, {"code": "says", "valueString": "woof"}],
                    "concept": [{"code": "poodle", "display": "Poodle"}],
                },
                {
                    "code": "cat",
                    "display": "Cat",
                    "property": [{"code": "legs", "valueInteger": 4}, {"code": "says", "valueString": "meow"}],
                },
                {"code": "dodo", "display": "Dodo", "property": [{"code": "status", "valueCode": "retired"}]},
            ],
        }
    ],
}
OTHER: Json = {
    "resourceType": "CodeSystem",
    "id": "other",
    "url": "http://example.org/other",
    "status": "active",
    "content": "complete",
    "concept": [{"code": "dog", "display": "Hot dog"}, {"code": "fries"}],
}
VALUE_SET: Json = {
    "resourceType": "ValueSet",
    "id": "pets",
    "url": PETS,
    "version": "1",
    "status": "active",
    "compose": {
        "include": [
            {"system": ANIMALS, "filter": [{"property": "concept", "op": "descendent-of", "value": "animal"}]},
            {"system": "http://example.org/other", "concept": [{"code": "fries", "display": "Chips"}]},
        ],
        "exclude": [{"system": ANIMALS, "concept": [{"code": "poodle"}]}],
    },
}
AWAY: Json = {
    "resourceType": "ValueSet",
    "id": "away",
    "url": "http://example.org/ValueSet/away",
    "status": "active",
    "compose": {"include": [{"system": "http://example.org/nowhere"}]},
}


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in (CODE_SYSTEM, OTHER, VALUE_SET, AWAY):
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    return fhir


def values(answer: Any) -> Json:
    """The simple values of Parameters by name, those that repeat as lists."""
    assert answer.status_code == 200, answer.text
    found: Json = {}
    for each in answer.json()["parameter"]:
        value = values_of(each)
        found[each["name"]] = [*found[each["name"]], value] if each["name"] in found else [value]
    return {name: many[0] if len(many) == 1 else many for name, many in found.items()}


def values_of(parameter: Json) -> Any:
    if "part" in parameter:
        return {part["name"]: values_of(part) for part in parameter["part"]}
    return next(value for key, value in parameter.items() if key.startswith("value"))


def posted(**named: Any) -> Json:
    """Parameters; the type of a value goes before it: `coding=("Coding", {...})`."""
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": name, "resource": value} if type_ == "resource" else {"name": name, f"value{type_}": value}
            for name, (type_, value) in named.items()
        ],
    }


def test_a_lookup_says_all_that_is_known(world: Fhir) -> None:
    found = values(world.get(f"CodeSystem/$lookup?system={ANIMALS}&code=dog"))
    assert (found["name"], found["version"], found["display"]) == ("Animals of the house", "2", "Dog")
    assert found["definition"] == "Barks at the postman"
    assert found["designation"] == [
        {"language": "de", "value": "Hund"},
        {"language": "fr-CA", "use": {"code": "synonym"}, "value": "Chien"},
    ]
    assert found["property"] == [
        {"code": "inactive", "value": False},
        {"code": "parent", "value": "animal"},
        {"code": "child", "value": "poodle"},
        {"code": "legs", "value": 4},
        {"code": "says", "value": "woof"},
    ]


def test_a_lookup_says_what_is_asked_for(world: Fhir) -> None:
    found = values(world.get(f"CodeSystem/$lookup?system={ANIMALS}&code=dog&property=legs&property=lang.fr-ca"))
    assert found == {
        "name": "Animals of the house",
        "version": "2",
        "display": "Dog",
        "designation": {"language": "fr-CA", "use": {"code": "synonym"}, "value": "Chien"},
        "property": {"code": "legs", "value": 4},
    }


@pytest.mark.parametrize(("language", "display"), [("de", "Hund"), ("fr", "Chien"), ("it", "Dog")])
def test_a_display_comes_in_the_language_asked_for(world: Fhir, language: str, display: str) -> None:
    url = f"CodeSystem/$lookup?system={ANIMALS}&code=dog&displayLanguage={language}"
    assert values(world.get(url))["display"] == display


def test_what_r4_publishes_can_be_looked_up(world: Fhir) -> None:
    found = values(world.get(f"CodeSystem/$lookup?system={GENDER}&code=female"))
    assert (found["display"], found["definition"]) == ("Female", "Female.")


def test_a_coding_can_be_looked_up(world: Fhir) -> None:
    body = posted(coding=("Coding", {"system": ANIMALS, "version": "2", "code": "CAT"}))
    assert values(world.post("CodeSystem/$lookup", body))["display"] == "Cat"


@pytest.mark.parametrize(
    ("query", "status", "code", "sentence"),
    [
        (f"$lookup?system={ANIMALS}&code=cow", 404, "not-found", "'cow' is not a code of code system"),
        (f"$lookup?system={ANIMALS}&version=1&code=dog", 404, "not-found", f"{ANIMALS}|1 is not known here"),
        ("$lookup?system=http://loinc.org&code=1-8", 404, "not-found", "http://loinc.org is not known here"),
        ("$lookup?code=dog", 400, "required", "system (or url) is missing"),
        (f"$lookup?system={ANIMALS}", 400, "required", "one of code, coding and codeableConcept"),
        (f"$lookup?system={ANIMALS}&code=dog&coding=x", 400, "invalid", "one Coding is expected, in Parameters"),
        (f"$lookup?system={ANIMALS}&code=dog&colour=red", 400, "not-supported", "has no parameter 'colour'"),
        (f"$subsumes?system={ANIMALS}&codeA=dog", 400, "required", "one of codeB and codingB"),
        (f"$subsumes?system={ANIMALS}&codeA=dog&codeB=cow", 404, "not-found", "'cow' is not a code"),
        ("$validate-code?code=dog", 400, "required", "url is missing"),
        (f"$find-matches?system={ANIMALS}", 400, "required", "at least one property"),
        (f"$find-matches?system={ANIMALS}&property=legs", 400, "invalid", "a code and a value"),
        (f"$find-matches?system={ANIMALS}&compositional=true", 400, "invalid", "compositions are not made"),
    ],
)
def test_what_cannot_be_asked_of_a_code_system_is_refused(
    world: Fhir, query: str, status: int, code: str, sentence: str
) -> None:
    answer = world.get(f"CodeSystem/{query}")
    issue = answer.json()["issue"][0]
    assert (answer.status_code, issue["code"]) == (status, code)
    assert sentence in issue["diagnostics"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"CodeSystem/$validate-code?url={ANIMALS}&code=dog", (True, "Dog", None)),
        (f"CodeSystem/$validate-code?url={ANIMALS}&code=DOG&display=dog", (True, "Dog", None)),
        (f"CodeSystem/$validate-code?url={ANIMALS}&code=dog&display=Hund", (True, "Dog", None)),
        (f"CodeSystem/$validate-code?url={ANIMALS}&code=dog&display=Cat", (False, "Dog", "is called 'Dog', 'Hund'")),
        (f"CodeSystem/$validate-code?url={ANIMALS}&code=cow", (False, None, "'cow' is not a code of")),
        (f"CodeSystem/$validate-code?url={ANIMALS}&code=dodo", (True, "Dodo", "is inactive")),
        (f"CodeSystem/$validate-code?url={ANIMALS}&code=animal&abstract=false", (False, "Animal", "is abstract")),
        ("CodeSystem/animals/$validate-code?code=cat", (True, "Cat", None)),
        ("CodeSystem/$validate-code?url=http://loinc.org&code=1-8", (False, None, "is not known here")),
        (f"ValueSet/$validate-code?url={PETS}&system={ANIMALS}&code=dog", (True, "Dog", None)),
        (f"ValueSet/$validate-code?url={PETS}|1&system={ANIMALS}&code=dog", (True, "Dog", None)),
        (f"ValueSet/$validate-code?url={PETS}&valueSetVersion=1&system={ANIMALS}&code=dog", (True, "Dog", None)),
        ("ValueSet/pets/$validate-code?system=http://example.org/other&code=fries", (True, "Chips", None)),
        (f"ValueSet/pets/$validate-code?system={ANIMALS}&code=poodle", (False, None, "is not in value set")),
        (f"ValueSet/pets/$validate-code?system={ANIMALS}&code=cow", (False, None, "has no such code")),
        (f"ValueSet/pets/$validate-code?system={ANIMALS}&code=animal", (False, None, "is not in value set")),
        ("ValueSet/pets/$validate-code?inferSystem=true&code=cat", (True, "Cat", None)),
        ("ValueSet/pets/$validate-code?inferSystem=true&code=cow", (False, None, "cow is not in it")),
        ("ValueSet/away/$validate-code?system=http://example.org/nowhere&code=x", (False, None, "not here: http://ex")),
        (f"ValueSet/$validate-code?url={GENDERS}&system={GENDER}&code=female&display=FEMALE", (True, "Female", None)),
    ],
)
def test_codes_are_validated(world: Fhir, query: str, expected: tuple[bool, str | None, str | None]) -> None:
    found = values(world.get(query))
    result, display, message = expected
    assert (found["result"], found.get("display")) == (result, display)
    assert (message is None) == ("message" not in found)
    assert message is None or message in found["message"]


@pytest.mark.parametrize(
    ("url", "body", "result", "system"),
    [
        (
            "ValueSet/$validate-code",
            {"url": ("Uri", PETS), "coding": ("Coding", {"system": ANIMALS, "code": "cat"})},
            True,
            ANIMALS,
        ),
        (
            "ValueSet/pets/$validate-code",
            {
                "codeableConcept": (
                    "CodeableConcept",
                    {
                        "coding": [
                            {"system": "urn:no", "code": "x"},
                            {"system": ANIMALS, "code": "dog", "display": "Dog"},
                        ]
                    },
                )
            },
            True,
            ANIMALS,
        ),
        (
            "ValueSet/pets/$validate-code",
            {"codeableConcept": ("CodeableConcept", {"coding": [{"system": "urn:no", "code": "x"}, {"code": "dog"}]})},
            False,
            "urn:no",
        ),
        (
            "ValueSet/$validate-code",
            {
                "valueSet": (
                    "resource",
                    {"resourceType": "ValueSet", "status": "draft", "compose": {"include": [{"valueSet": [PETS]}]}},
                ),
                "coding": ("Coding", {"system": ANIMALS, "code": "dog"}),
            },
            True,
            ANIMALS,
        ),
        (
            "CodeSystem/$validate-code",
            {"codeSystem": ("resource", OTHER | {"url": "urn:inline"}), "code": ("Code", "fries")},
            True,
            "urn:inline",
        ),
    ],
)
def test_codings_and_concepts_are_validated(world: Fhir, url: str, body: Json, result: bool, system: str) -> None:
    found = values(world.post(url, posted(**body)))
    assert (found["result"], found["system"]) == (result, system)
    assert result or "is not in value set" in found["message"]


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        (f"$validate-code?url={PETS}&code=dog", 400, "inferSystem=true"),
        (f"$validate-code?code=dog&system={ANIMALS}", 400, "no value set is named"),
        (f"pets/$validate-code?url={PETS}&code=dog&system={ANIMALS}", 400, "more than one value set"),
        (f"$validate-code?url=urn:gone&code=dog&system={ANIMALS}", 404, "the value set urn:gone is not known here"),
        (f"pets/$validate-code?system={ANIMALS}&code=dog&abstract=perhaps", 400, "neither true nor false"),
    ],
)
def test_what_cannot_be_asked_of_a_value_set_is_refused(world: Fhir, query: str, status: int, sentence: str) -> None:
    answer = world.get(f"ValueSet/{query}")
    assert answer.status_code == status
    assert sentence in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        ("animal", "poodle", "subsumes"),
        ("poodle", "animal", "subsumed-by"),
        ("dog", "DOG", "equivalent"),
        ("dog", "cat", "not-subsumed"),
    ],
)
def test_codes_subsume_each_other(world: Fhir, one: str, other: str, outcome: str) -> None:
    by_code = world.get(f"CodeSystem/$subsumes?system={ANIMALS}&codeA={one}&codeB={other}")
    codings = {
        f"coding{side}": ("Coding", {"system": ANIMALS, "code": code}) for side, code in (("A", one), ("B", other))
    }
    by_coding = world.post("CodeSystem/animals/$subsumes", posted(**codings))
    assert values(by_code) == values(by_coding) == {"outcome": outcome}


def test_matches_have_all_that_is_asked(world: Fhir) -> None:
    four, woof = (
        {"name": "property", "part": [{"name": "code", "valueCode": code}, {"name": "value", **value}]}
        for code, value in (("legs", {"valueInteger": 4}), ("says", {"valueString": "woof"}))
    )
    body: Json = {"resourceType": "Parameters", "parameter": [{"name": "system", "valueUri": ANIMALS}, four, woof]}
    dog = {"code": {"system": ANIMALS, "code": "dog", "display": "Dog"}}
    assert values(world.post("CodeSystem/$find-matches", body)) == {"match": dog}
    body["parameter"].append({"name": "exact", "valueBoolean": False})
    cat = {"code": {"system": ANIMALS, "code": "cat", "display": "Cat"}, "unmatched": {"code": "says", "value": "woof"}}
    assert values(world.post("CodeSystem/$find-matches", body)) == {"match": [dog, cat]}


def expanded(answer: Any) -> Json:
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()["expansion"]
    return found


def codes(nodes: list[Json]) -> list[Any]:
    """The codes, with those below in a list behind theirs."""
    return [
        part
        for each in nodes
        for part in (each["code"], codes(each["contains"]) if "contains" in each else None)
        if part
    ]


def test_an_expansion_holds_the_codes_with_their_names(world: Fhir) -> None:
    answer = world.get(f"ValueSet/$expand?url={PETS}")
    assert (answer.json()["url"], answer.json()["version"]) == (PETS, "1")
    assert "compose" not in answer.json()
    found = expanded(answer)
    assert found["total"] == 4
    assert found["identifier"].startswith("urn:uuid:")
    assert found["parameter"] == [{"name": "version", "valueUri": f"{ANIMALS}|2"}]
    assert found["contains"] == [
        {"system": ANIMALS, "version": "2", "code": "dog", "display": "Dog"},
        {"system": ANIMALS, "version": "2", "code": "cat", "display": "Cat"},
        {"system": ANIMALS, "version": "2", "code": "dodo", "display": "Dodo", "inactive": True},
        {"system": "http://example.org/other", "code": "fries", "display": "Chips"},
    ]


ALL = {"resourceType": "ValueSet", "status": "draft", "compose": {"include": [{"system": ANIMALS}]}}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["animal", "dog", "poodle", "cat", "dodo"]),
        ("excludeNested=true", ["animal", "dog", "poodle", "cat", "dodo"]),
        ("excludeNested=false", ["animal", ["dog", ["poodle"], "cat", "dodo"]]),
        ("excludeNested=false&excludeNotForUI=true", ["dog", ["poodle"], "cat", "dodo"]),
        ("excludeNotForUI=true", ["dog", "poodle", "cat", "dodo"]),
        ("activeOnly=true", ["animal", "dog", "poodle", "cat"]),
        ("count=2", ["animal", "dog"]),
        ("count=2&offset=3", ["cat", "dodo"]),
        ("count=0", []),
        ("offset=4", ["dodo"]),
        ("filter=do", ["dog", "dodo"]),
        ("filter=DOG", ["dog"]),
        ("filter=hund", ["dog"]),
        ("filter=d&count=1", ["dog"]),
        ("filter=cow", []),
    ],
)
def test_what_an_expansion_is_asked_for(world: Fhir, query: str, expected: list[Any]) -> None:
    asked = [(name, value) for name, _, value in (each.partition("=") for each in query.split("&")) if name]
    numbers = ("count", "offset")
    parts: list[Json] = [
        {"name": name, "valueInteger": int(value)}
        if name in numbers
        else {"name": name, "valueBoolean": value == "true"}
        if value in ("true", "false")
        else {"name": name, "valueString": value}
        for name, value in asked
    ]
    body = {"resourceType": "Parameters", "parameter": [{"name": "valueSet", "resource": ALL}, *parts]}
    found = expanded(world.post("ValueSet/$expand", body))
    assert codes(found.get("contains", [])) == expected


def test_designations_come_where_they_are_asked_for(world: Fhir) -> None:
    chien = {"language": "fr-CA", "use": {"code": "synonym"}, "value": "Chien"}
    hund = {"language": "de", "value": "Hund"}
    for query, names, display in (
        ("includeDesignations=true", [hund, chien], "Dog"),
        ("designation=urn:ietf:bcp:47%7Cfr", [chien], "Dog"),
        ("designation=de&displayLanguage=de", [hund], "Hund"),
        ("displayLanguage=fr-CA", None, "Chien"),
    ):
        dog = expanded(world.get(f"ValueSet/pets/$expand?{query}"))["contains"][0]
        assert (dog.get("designation"), dog["display"]) == (names, display)


def test_the_definition_comes_where_it_is_asked_for(world: Fhir) -> None:
    assert world.get("ValueSet/pets/$expand?includeDefinition=true").json()["compose"] == VALUE_SET["compose"]


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("away/$expand", 400, "needs code system http://example.org/nowhere, which is not here"),
        ("$expand?url=urn:gone", 404, "urn:gone is not known here"),
        ("$expand", 400, "no value set is named"),
        ("pets/$expand?count=-1", 400, "whole number from 0"),
        ("pets/$expand?filter=", 400, "some words are expected"),
        ("pets/$expand?system-version=urn:x", 400, "[url]|[version]"),
        ("pets/$expand?context=x", 400, "has no parameter 'context'"),
    ],
)
def test_an_expansion_that_cannot_be_made_is_refused(world: Fhir, query: str, status: int, sentence: str) -> None:
    answer = world.get(f"ValueSet/{query}")
    assert answer.status_code == status
    assert sentence in answer.json()["issue"][0]["diagnostics"]


def test_too_many_codes_at_once_are_refused_and_paged(world: Fhir) -> None:
    concepts = [{"code": f"c{number:05}", "display": f"Concept {number}"} for number in range(10_001)]
    large = {
        "resourceType": "CodeSystem",
        "url": "urn:large",
        "status": "active",
        "content": "complete",
        "concept": concepts,
    }
    assert world.put("CodeSystem/large", large | {"id": "large"}).status_code == 201
    inline = {"resourceType": "ValueSet", "status": "draft", "compose": {"include": [{"system": "urn:large"}]}}
    refused = world.post("ValueSet/$expand", posted(valueSet=("resource", inline)))
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (422, "too-costly")
    page = posted(valueSet=("resource", inline), count=("Integer", 2), offset=("Integer", 9_999))
    found = expanded(world.post("ValueSet/$expand", page))
    assert (found["total"], codes(found["contains"])) == (10_001, ["c09999", "c10000"])
    named = posted(valueSet=("resource", inline), filter=("String", "concept 777"))
    assert codes(expanded(world.post("ValueSet/$expand", named))["contains"])[0] == "c00777"


def test_a_change_counts_at_once_here_and_soon_on_every_server(serve: Serve) -> None:
    here, there = serve(database="changing").client, serve(database="changing").client
    asked = "ValueSet/$validate-code?url=urn:vs&system=urn:s&code=a"

    def value_set(code: str) -> Json:
        compose = {"include": [{"system": "urn:s", "concept": [{"code": code}]}]}
        return {"resourceType": "ValueSet", "id": "v", "url": "urn:vs", "status": "active", "compose": compose}

    def said(server: Fhir) -> bool | None:
        answer = server.get(asked)
        return None if answer.status_code == 404 else values(answer)["result"]

    def says(server: Fhir, result: bool) -> bool:
        return said(server) is result

    assert said(here) is said(there) is None
    for code in "abab":
        assert here.put("ValueSet/v", value_set(code)).status_code in (200, 201)
        assert says(here, code == "a")
        assert eventually(partial(says, there, code == "a"))
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": "ValueSet/v"}}],
    }
    assert here.post("", bundle).status_code == 200
    assert said(here) is None
    assert eventually(lambda: said(there) is None)


def eventually(question: Any) -> bool:
    import time

    deadline = time.monotonic() + 5
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


VERSIONS = [
    OTHER | {"id": f"worn-{version}", "url": "http://example.org/worn", "version": version, "concept": concepts}
    for version, concepts in (
        ("1", [{"code": "hat", "display": "Top hat"}, {"code": "wig"}]),
        ("2", [{"code": "hat", "display": "Hat"}]),
    )
]
WORN: Json = {
    "resourceType": "ValueSet",
    "id": "worn",
    "url": "http://example.org/ValueSet/worn",
    "status": "active",
    "compose": {"include": [{"system": "http://example.org/worn"}]},
}
DOG: Json = {"system": ANIMALS, "code": "dog"}
HOT_DOG: Json = {"system": "http://example.org/other", "code": "dog"}


@pytest.fixture(scope="module")
def versions(world: Fhir) -> Fhir:
    for resource in (*VERSIONS, WORN):
        assert world.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    return world


@pytest.mark.parametrize(
    ("query", "result", "display", "message"),
    [
        ("code=hat", True, "Hat", ""),
        ("code=hat&systemVersion=1", True, "Top hat", ""),
        ("code=hat&systemVersion=1&display=hat", False, "Top hat", "is called 'Top hat'"),
        ("code=wig", False, None, "has no such code"),
        ("code=wig&systemVersion=1", True, None, ""),
        ("code=wig&systemVersion=2", False, None, "has no such code"),
        ("code=hat&systemVersion=3", True, "Hat", "version 3 of http://example.org/worn is not known here: version 2"),
    ],
)
def test_a_code_is_looked_for_in_its_version(
    versions: Fhir, query: str, result: bool, display: str | None, message: str
) -> None:
    found = values(versions.get(f"ValueSet/worn/$validate-code?system=http://example.org/worn&{query}"))
    assert (found["result"], found.get("display")) == (result, display)
    assert message in found.get("message", "")
    assert bool(message) == ("message" in found)


@pytest.mark.parametrize(
    ("path", "named", "expected"),
    [
        ("CodeSystem/animals", {"coding": ("Coding", HOT_DOG)}, 400),
        ("CodeSystem", {"codeSystem": ("resource", CODE_SYSTEM), "coding": ("Coding", HOT_DOG)}, 400),
        ("CodeSystem", {"url": ("Uri", ANIMALS), "coding": ("Coding", HOT_DOG)}, 400),
        ("CodeSystem/animals", {"coding": ("Coding", DOG)}, True),
        ("CodeSystem/animals", {"coding": ("Coding", DOG | {"version": "2"})}, True),
        ("CodeSystem/animals", {"coding": ("Coding", DOG | {"version": "1"})}, False),
        ("CodeSystem", {"url": ("Uri", ANIMALS), "coding": ("Coding", DOG | {"version": "1"})}, False),
        ("CodeSystem", {"coding": ("Coding", DOG)}, True),
        ("CodeSystem", {"url": ("Uri", f"{ANIMALS}|2"), "code": ("Code", "dog")}, True),
        ("CodeSystem", {"url": ("Uri", f"{ANIMALS}|1"), "code": ("Code", "dog")}, False),
        ("CodeSystem/animals", {"version": ("String", "1"), "code": ("Code", "dog")}, 404),
        ("CodeSystem/animals", {"codeableConcept": ("CodeableConcept", {"coding": [HOT_DOG, DOG]})}, True),
        ("CodeSystem", {"codeableConcept": ("CodeableConcept", {"coding": [HOT_DOG, DOG]})}, True),
        ("CodeSystem/animals", {"codeableConcept": ("CodeableConcept", {"coding": [HOT_DOG]})}, 400),
        ("CodeSystem/animals", {"codeableConcept": ("CodeableConcept", {"text": "dog"})}, 400),
        (
            "CodeSystem",
            {
                "codeSystem": ("resource", {"resourceType": "CodeSystem", "status": "active", "content": "complete"}),
                "code": ("Code", "x"),
            },
            False,
        ),
    ],
)
def test_a_code_is_asked_of_its_code_system(world: Fhir, path: str, named: Json, expected: bool | int) -> None:
    answer = world.post(f"{path}/$validate-code", posted(**named))
    if isinstance(expected, bool):
        assert values(answer)["result"] is expected
    else:
        assert answer.status_code == expected, answer.text


def test_a_batch_asks_many_questions(world: Fhir) -> None:
    codes = ["dog", "cat", "cow", "dodo"]
    asked = [f"ValueSet/$validate-code?url={PETS}&system={ANIMALS}&code={code}" for code in codes]
    entries: list[Json] = [{"request": {"method": "GET", "url": url}} for url in asked]
    body = posted(url=("Uri", PETS), coding=("Coding", {"system": ANIMALS, "code": "cow"}))
    entries.append({"request": {"method": "POST", "url": "ValueSet/$validate-code"}, "resource": body})
    entries.append({"request": {"method": "GET", "url": "ValueSet/$validate-code?url=urn:gone&system=urn:x&code=x"}})
    answer = world.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert answer.status_code == 200, answer.text
    answered = answer.json()["entry"]
    assert [each["response"]["status"][:3] for each in answered] == [*["200"] * 5, "404"]
    results = [each["resource"]["parameter"][0]["valueBoolean"] for each in answered[:5]]
    assert results == [True, True, False, True, False]
