"""$expand with other versions, without some systems; supplements; value sets that are contained, or implied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
SIZES, TASTES = "http://example.org/sizes", "http://example.org/tastes"
ANY, OLD, NEW, BOTH = (f"http://example.org/ValueSet/{name}" for name in ("any", "old", "new", "both"))


def code_system(id_: str, url: str, *codes: str, **more: Any) -> Json:
    said = {"resourceType": "CodeSystem", "id": id_, "url": url, "status": "active", "content": "complete"}
    return said | {"concept": [{"code": each, "display": each.title()} for each in codes]} | more


def value_set(id_: str, *include: Json, **more: Any) -> Json:
    said = {"resourceType": "ValueSet", "id": id_, "url": f"http://example.org/ValueSet/{id_}", "status": "active"}
    return said | {"compose": {"include": [*include]}} | more


RESOURCES: list[Json] = [
    code_system("sizes-1", SIZES, "small", "big", version="1"),
    code_system("sizes-2", SIZES, "small", "medium", "large", version="2", valueSet=f"{SIZES}/all"),
    code_system("tastes", TASTES, "sweet", "sour", valueSet=f"{TASTES}/all|7"),
    value_set("any", {"system": SIZES}),
    value_set("old", {"system": SIZES, "version": "1"}),
    value_set("new", {"system": SIZES, "version": "2"}),
    value_set("both", {"valueSet": [ANY]}, {"system": TASTES}),
    value_set(
        "outer",
        {"valueSet": ["#inner"]},
        contained=[value_set("inner", {"system": SIZES, "concept": [{"code": "small"}]}) | {"url": "urn:inner"}],
    ),
    value_set("stored", {"system": TASTES, "concept": [{"code": "sweet"}]}, url=f"{TASTES}/stored"),
    code_system("stored", "http://example.org/stored", "x", valueSet=f"{TASTES}/stored"),
]
GERMAN = code_system(
    "tastes-de", f"{TASTES}/de", content="supplement", supplements=TASTES, property=[{"code": "hue", "type": "string"}]
) | {
    "concept": [
        {
            "code": "sweet",
            "designation": [
                {"language": "de", "value": "süß"},
                {"use": {"system": "urn:uses", "code": "short"}, "value": "swt"},
            ],
            "property": [{"code": "hue", "valueString": "pink"}],
        }
    ]
}


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in RESOURCES:
        answer = fhir.put(f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return fhir


def expanded(fhir: Fhir, url: str, **parameters: Any) -> Json:
    answer = fhir.get("ValueSet/$expand", params={"url": url} | parameters)
    assert answer.status_code == 200, answer.text
    expansion: Json = answer.json()["expansion"]
    return expansion


def codes(fhir: Fhir, url: str, **parameters: Any) -> list[str]:
    return [each["code"] for each in expanded(fhir, url, **parameters).get("contains", [])]


ONE, TWO = ["small", "big"], ["small", "medium", "large"]


@pytest.mark.parametrize(
    ("url", "parameters", "found"),
    [
        (ANY, {}, TWO),
        (ANY, {"system-version": f"{SIZES}|1"}, ONE),
        (OLD, {"system-version": f"{SIZES}|2"}, ONE),
        (ANY, {"check-system-version": f"{SIZES}|1"}, ONE),
        (OLD, {"check-system-version": f"{SIZES}|1"}, ONE),
        (OLD, {"force-system-version": f"{SIZES}|2"}, TWO),
        (NEW, {"force-system-version": f"{SIZES}|1", "check-system-version": f"{SIZES}|1"}, ONE),
        (BOTH, {"system-version": f"{SIZES}|1"}, [*ONE, "sweet", "sour"]),
        (BOTH, {"system-version": f"{TASTES.upper()}|1"}, [*TWO, "sweet", "sour"]),
        (BOTH, {"exclude-system": TASTES}, TWO),
        (BOTH, {"exclude-system": [f"{SIZES}|2", f"{TASTES}|9"]}, ["sweet", "sour"]),
        (BOTH, {"exclude-system": f"{SIZES}|1"}, [*TWO, "sweet", "sour"]),
        (f"{SIZES}/all", {}, TWO),
        (f"{TASTES}/all", {}, ["sweet", "sour"]),
        (f"{TASTES}/all|7", {}, ["sweet", "sour"]),
        (f"{TASTES}/stored", {}, ["sweet"]),
        ("http://example.org/ValueSet/outer", {}, ["small"]),
        ("http://hl7.org/fhir/ValueSet/restful-interaction", {"filter": "vread"}, ["vread"]),
    ],
)
def test_what_is_in_it(world: Fhir, url: str, parameters: Json, found: list[str]) -> None:
    assert codes(world, url, **parameters) == found


def test_the_version_that_was_used_is_said(world: Fhir) -> None:
    forced = {"force-system-version": f"{SIZES}|1"}
    said = {each["name"]: [*each.values()][-1] for each in expanded(world, NEW, **forced)["parameter"]}
    assert said == {"force-system-version": f"{SIZES}|1", "version": f"{SIZES}|1"}
    assert codes(world, NEW) == TWO, "nothing of it is remembered"


@pytest.mark.parametrize(
    ("url", "parameters", "status", "code", "said"),
    [
        (OLD, {"check-system-version": f"{SIZES}|2"}, 400, "conflict", "names 1"),
        (ANY, {"system-version": f"{SIZES}|3"}, 400, "not-found", f"{SIZES}|3, which is not here"),
        (ANY, {"system-version": SIZES}, 400, "invalid", "[url]|[version]"),
        (ANY, {"date": "2001-01-01"}, 400, "not-supported", "not as they were"),
        (ANY, {"date": "yesterday"}, 400, "invalid", "yesterday"),
        (f"{TASTES}/all|8", {}, 404, "not-found", "is not known here"),
    ],
)
def test_what_cannot_be_is_refused(world: Fhir, url: str, parameters: Json, status: int, code: str, said: str) -> None:
    answer = world.get("ValueSet/$expand", params={"url": url} | parameters)
    assert answer.status_code == status, answer.text
    issue = answer.json()["issue"][0]
    assert issue["code"] == code
    assert said in issue["diagnostics"]


def test_now_is_a_date(world: Fhir) -> None:
    assert codes(world, ANY, date="2999-01-01") == TWO
    for operation in (f"CodeSystem/$lookup?system={SIZES}", f"ValueSet/$validate-code?url={ANY}&system={SIZES}"):
        assert world.get(f"{operation}&code=small&date=2999-01-01").status_code == 200
        assert world.get(f"{operation}&code=small&date=2001").status_code == 400


def test_a_contained_value_set_comes_inline_too(world: Fhir) -> None:
    inner = value_set("inner", {"system": TASTES})
    outer = value_set("x", {"valueSet": ["#inner", f"{TASTES}/stored"]}, contained=[inner])
    del outer["url"]
    parameters = [{"name": "valueSet", "resource": outer}]
    answer = world.post("ValueSet/$expand", {"resourceType": "Parameters", "parameter": parameters})
    assert [each["code"] for each in answer.json()["expansion"]["contains"]] == ["sweet"]
    parameters += [{"name": "coding", "valueCoding": {"system": TASTES, "code": "sour"}}]
    answer = world.post("ValueSet/$validate-code", {"resourceType": "Parameters", "parameter": parameters})
    assert answer.json()["parameter"][0]["valueBoolean"] is False


def test_an_implied_value_set_serves_a_search(world: Fhir) -> None:
    basic = world.create({"resourceType": "Basic", "code": {"coding": [{"system": TASTES, "code": "sour"}]}})
    assert world.ids(f"Basic?code:in={TASTES}/all") == [basic["id"]]
    assert world.ids(f"Basic?code:in={SIZES}/all") == []


def lookup(fhir: Fhir, **parameters: str) -> Json:
    answer = fhir.get("CodeSystem/$lookup", params={"system": TASTES, "code": "sweet"} | parameters)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def test_a_supplement_adds_names_and_properties(world: Fhir) -> None:
    assert "designation" not in str(lookup(world))
    world.put("CodeSystem/tastes-de", GERMAN)
    said = str(lookup(world))
    assert "süß" in said
    assert "pink" in said
    german = lookup(world, displayLanguage="de")
    assert {"name": "display", "valueString": "süß"} in german["parameter"]
    (found, _) = expanded(world, f"{TASTES}/all", displayLanguage="de", includeDesignations="true")["contains"]
    assert found["display"] == "süß"
    assert [each["value"] for each in found["designation"]] == ["süß", "swt"]
    (found, _) = expanded(world, f"{TASTES}/all", designation="urn:uses|short")["contains"]
    assert [each["value"] for each in found["designation"]] == ["swt"]
    assert codes(world, f"{TASTES}/all", filter="süß") == ["sweet"]
    validated = world.get(f"CodeSystem/$validate-code?url={TASTES}&code=sweet&display=SÜß").json()
    assert validated["parameter"][0]["valueBoolean"] is True
    world.put("CodeSystem/tastes-de", GERMAN | {"status": "retired"})
    assert "süß" not in str(lookup(world))


def test_a_supplement_of_another_version_adds_nothing(world: Fhir) -> None:
    of_one = GERMAN | {"id": "sizes-de", "url": f"{SIZES}/de", "supplements": f"{SIZES}|1"}
    of_one["concept"] = [{"code": "small", "designation": [{"language": "de", "value": "klein"}]}]
    world.put("CodeSystem/sizes-de", of_one)
    asked = {"system": SIZES, "code": "small", "displayLanguage": "de"}
    for version, display in (("1", "klein"), ("2", "Small")):
        found = world.get("CodeSystem/$lookup", params=asked | {"version": version}).json()
        assert {"name": "display", "valueString": display} in found["parameter"]
