"""JSON Patch and FHIRPath Patch: tables of what they do and of what they refuse."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.patch import fhirpath_patch, json_patch

A, B = {"text": "a"}, {"text": "b"}
IDENTIFIERS = [{"system": "urn:s", "value": str(i)} for i in range(4)]

MOVES = ((3, 1, (0, 3, 1, 2)), (3, 0, (3, 0, 1, 2)), (0, 3, (1, 2, 3, 0)), (2, 2, (0, 1, 2, 3)))


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "p", **elements}


def part(name: str, **value: Any) -> dict[str, Any]:
    return {"name": name, **value}


def operation(type_: str, path: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "operation",
        "part": [part("type", valueCode=type_), part("path", valueString=path), *parts],
    }


def patch(resource: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(resource)
    result = fhirpath_patch(resource, {"resourceType": "Parameters", "parameter": list(operations)}, r4())
    assert resource == before, "the input is never changed"
    return result


def name(text: str) -> dict[str, Any]:
    return part("name", valueString=text)


def at(index: int) -> dict[str, Any]:
    return part("index", valueInteger=index)


def moved(source: int, destination: int) -> tuple[dict[str, Any], ...]:
    return part("source", valueInteger=source), part("destination", valueInteger=destination)


def value(**value: Any) -> dict[str, Any]:
    return part("value", **value)


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        ({"active": True}, [], {"active": True}),
        # add
        (
            {},
            [operation("add", "Patient", name("birthDate"), value(valueDate="1930-01-01"))],
            {"birthDate": "1930-01-01"},
        ),
        ({}, [operation("add", "Patient", name("gender"), value(valueString="male"))], {"gender": "male"}),
        ({}, [operation("add", "Patient", name("deceased"), value(valueBoolean=True))], {"deceasedBoolean": True}),
        ({}, [operation("add", "Patient", name("deceased[x]"), value(valueBoolean=True))], {"deceasedBoolean": True}),
        (
            {},
            [operation("add", "Patient", name("deceasedBoolean"), value(valueBoolean=True))],
            {"deceasedBoolean": True},
        ),
        (
            {"contact": [{"name": {"text": "a"}}]},
            [operation("add", "Patient.contact[0]", name("gender"), value(valueCode="male"))],
            {"contact": [{"name": {"text": "a"}, "gender": "male"}]},
        ),
        (
            {"identifier": IDENTIFIERS[:1]},
            [operation("add", "Patient", name("identifier"), value(valueIdentifier=IDENTIFIERS[1]))],
            {"identifier": IDENTIFIERS[:2]},
        ),
        (
            {},
            [
                operation(
                    "add",
                    "Patient",
                    name("contact"),
                    value(
                        part=[
                            part("name", valueHumanName={"text": "a"}),
                            part("relationship", valueCodeableConcept={"text": "x"}),
                            part("relationship", valueCodeableConcept={"text": "y"}),
                        ]
                    ),
                )
            ],
            {"contact": [{"name": {"text": "a"}, "relationship": [{"text": "x"}, {"text": "y"}]}]},
        ),
        (
            {"birthDate": "1930-01-01"},
            [
                operation(
                    "add",
                    "Patient.birthDate",
                    name("extension"),
                    value(part=[part("url", valueUri="urn:x"), part("value", valueCode="y")]),
                )
            ],
            {"birthDate": "1930-01-01", "_birthDate": {"extension": [{"url": "urn:x", "valueCode": "y"}]}},
        ),
        (
            {"name": [{"given": ["A", "B"]}]},
            [operation("add", "Patient.name.given[1]", name("id"), value(valueString="b"))],
            {"name": [{"given": ["A", "B"], "_given": [None, {"id": "b"}]}]},
        ),
        (
            {},
            [operation("add", "Patient", name("birthDate"), value(_valueDate={"extension": [{"url": "urn:unknown"}]}))],
            {"_birthDate": {"extension": [{"url": "urn:unknown"}]}},
        ),
        (
            {},
            [operation("add", "Patient", name("contained"), value(resource={"resourceType": "Basic", "id": "b"}))],
            {"contained": [{"resourceType": "Basic", "id": "b"}]},
        ),
        (
            {"contained": [{"resourceType": "Basic", "id": "b"}]},
            [operation("add", "Patient.contained[0]", name("created"), value(valueDate="2020"))],
            {"contained": [{"resourceType": "Basic", "id": "b", "created": "2020"}]},
        ),
        # insert
        (
            {"identifier": IDENTIFIERS[:2]},
            [operation("insert", "Patient.identifier", at(1), value(valueIdentifier=IDENTIFIERS[3]))],
            {"identifier": [IDENTIFIERS[0], IDENTIFIERS[3], IDENTIFIERS[1]]},
        ),
        (
            {},
            [operation("insert", "identifier", at(0), value(valueIdentifier=IDENTIFIERS[3]))],
            {"identifier": [IDENTIFIERS[3]]},
        ),
        (
            {"name": [{"given": ["A", "B"], "_given": [None, {"id": "b"}]}]},
            [operation("insert", "Patient.name[0].given", at(1), value(valueString="C"))],
            {"name": [{"given": ["A", "C", "B"], "_given": [None, None, {"id": "b"}]}]},
        ),
        # delete
        ({"birthDate": "1930", "_birthDate": {"id": "x"}}, [operation("delete", "Patient.birthDate")], {}),
        ({}, [operation("delete", "Patient.birthDate")], {}),
        ({"deceasedDateTime": "2020"}, [operation("delete", "Patient.deceased")], {}),
        (
            {"contact": [{"name": {"text": "a"}, "gender": "male"}]},
            [operation("delete", "Patient.contact[0].name.text")],
            {"contact": [{"gender": "male"}]},
        ),
        ({"contact": [{"name": {"text": "a"}}]}, [operation("delete", "Patient.contact[0].name.text")], {}),
        (
            {"identifier": IDENTIFIERS[:3]},
            [operation("delete", "Patient.identifier.where(value = '1')")],
            {"identifier": [IDENTIFIERS[0], IDENTIFIERS[2]]},
        ),
        (
            {"name": [{"given": ["A", "B"], "_given": [{"id": "a"}, {"id": "b"}]}]},
            [operation("delete", "Patient.name.given[0]")],
            {"name": [{"given": ["B"], "_given": [{"id": "b"}]}]},
        ),
        (
            {"extension": [{"url": "urn:a", "valueCode": "1"}, {"url": "urn:b", "valueCode": "2"}]},
            [operation("delete", "Patient.extension('urn:a')")],
            {"extension": [{"url": "urn:b", "valueCode": "2"}]},
        ),
        (
            {"birthDate": "1930", "_birthDate": {"extension": [{"url": "urn:a", "valueCode": "1"}]}},
            [operation("delete", "Patient.birthDate.extension('urn:a')")],
            {"birthDate": "1930"},
        ),
        # replace
        (
            {"birthDate": "1920"},
            [operation("replace", "Patient.birthDate", value(valueDate="1930"))],
            {"birthDate": "1930"},
        ),
        (
            {"deceasedBoolean": True},
            [operation("replace", "Patient.deceased", value(valueDateTime="2020"))],
            {"deceasedDateTime": "2020"},
        ),
        (
            {"maritalStatus": {"id": "1", "text": "married"}},
            [operation("replace", "Patient.maritalStatus", value(valueCodeableConcept={"id": "2", "text": "no"}))],
            {"maritalStatus": {"id": "2", "text": "no"}},
        ),
        (
            {"name": [{"given": ["A", "B"], "_given": [{"id": "a"}, {"id": "b"}]}]},
            [operation("replace", "Patient.name.given[1]", value(valueString="C"))],
            {"name": [{"given": ["A", "C"], "_given": [{"id": "a"}, None]}]},
        ),
        (
            {"name": [{"given": [None, "B"], "_given": [{"id": "a"}]}]},
            [operation("replace", "Patient.name.given[1]", value(_valueString={"id": "b"}))],
            {"name": [{"_given": [{"id": "a"}, {"id": "b"}]}]},
        ),
        # move
        *[
            (
                {"identifier": IDENTIFIERS},
                [
                    operation(
                        "move",
                        "Patient.identifier",
                        *moved(source, destination),
                    )
                ],
                {"identifier": [IDENTIFIERS[i] for i in order]},
            )
            for source, destination, order in MOVES
        ],
        (
            {"name": [{"given": ["A", "B"], "_given": [None, {"id": "b"}]}]},
            [operation("move", "Patient.name.given", *moved(1, 0))],
            {"name": [{"given": ["B", "A"], "_given": [{"id": "b"}, None]}]},
        ),
        # one after the other
        (
            {"contact": [{"name": {"text": "a"}}]},
            [
                operation("add", "Patient.contact[0]", name("gender"), value(valueCode="male")),
                operation("add", "Patient", name("contact"), value(part=[part("gender", valueCode="female")])),
                operation("delete", "Patient.contact[0]"),
            ],
            {"contact": [{"gender": "female"}]},
        ),
    ],
)
def test_a_fhirpath_patch_changes(
    before: dict[str, Any], operations: list[dict[str, Any]], after: dict[str, Any]
) -> None:
    assert patch(patient(**before), *operations) == patient(**after)


@pytest.mark.parametrize(
    ("status", "parameters", "sentence"),
    [
        (400, [], "is a Parameters resource"),
        (400, {"resourceType": "Patient"}, "is a Parameters resource"),
        (400, {"resourceType": "Parameters", "parameter": {}}, "is an array"),
        (400, {"resourceType": "Parameters", "parameter": [{"name": "x"}]}, "is named 'operation'"),
        (400, {"resourceType": "Parameters", "parameter": [{"name": "operation"}] * 1001}, "at most 1000"),
        (400, operation("copy", "Patient"), "no operation"),
        (400, operation("add", "Patient", part("nome", valueString="x")), "'nome' is not known"),
        (400, operation("add", "Patient", part("type", valueString="x")), "stands twice"),
        (400, operation("add", "Patient"), "'name' with a valueString is missing"),
        (400, operation("add", "Patient", name("gender")), "'value' is missing"),
        (400, operation("add", "Patient", name("gender"), value()), "value of gender is missing"),
        (400, operation("delete", "Patient.nam"), "Patient has no element nam"),
        (400, operation("delete", "Patient..name"), "where a name is expected"),
        (400, operation("delete", "Observation.code"), "Patient is no Observation"),
        (400, operation("insert", "Patient.name", value(valueString="x")), "'index' with a valueInteger"),
        (400, operation("insert", "Patient.name", at(-1)), "'index' with a valueInteger"),
        (422, operation("add", "Patient", name("nam"), value(valueString="x")), "Patient has no element nam"),
        (422, operation("add", "Patient", name("active"), value(valueBoolean=False)), "there already"),
        (422, operation("add", "Patient.contact", name("gender"), value(valueCode="male")), "matches 0 elements"),
        (422, operation("add", "Patient.name", name("text"), value(valueString="x")), "matches 2 elements"),
        (422, operation("add", "Patient", name("deceased"), value(valueString="x")), "takes boolean or dateTime"),
        (422, operation("add", "Patient", name("birthDate"), value(valueBoolean=True)), "takes date, not boolean"),
        (422, operation("add", "Patient", name("name"), value(resource={"resourceType": "Basic"})), "takes HumanName"),
        (422, operation("add", "Patient", name("gender"), value(part=[])), "takes no parts"),
        (422, operation("add", "Patient", name("contact"), value(part=[part("x", valueCode="y")])), "has no element x"),
        (
            422,
            operation("add", "Patient", name("contact"), value(part=[part("gender", valueCode="male")] * 2)),
            "stands twice",
        ),
        (
            422,
            operation("insert", "Patient.active", at(0), value(valueBoolean=True)),
            "is no list",
        ),
        (422, operation("insert", "Patient.name.first()", at(0)), "no list as a whole"),
        (
            422,
            operation("insert", "Patient.name", at(3), value(valueHumanName={})),
            "has 2 items",
        ),
        (422, operation("delete", "Patient"), "whole resource"),
        (422, operation("delete", "Patient.name"), "matches 2 elements"),
        (422, operation("delete", "Patient.name.count()"), "not an element"),
        (422, operation("delete", "Patient.id"), "stay as they are"),
        (422, operation("replace", "Patient.id", value(valueId="q")), "stay as they are"),
        (422, operation("replace", "Patient.gender", value(valueCode="male")), "matches 0 elements"),
        (422, operation("replace", "Patient.name.single()", value(valueHumanName={})), "single() finds 2 items"),
        (
            422,
            operation("move", "Patient.name", *moved(0, 2)),
            "has 2 items",
        ),
        (422, operation("delete", "Patient.descendants().where(true)"), "matches"),
    ],
)
def test_a_fhirpath_patch_refuses(status: int, parameters: Any, sentence: str) -> None:
    resource = patient(active=True, name=[{"text": "a"}, {"text": "b"}])
    if isinstance(parameters, dict) and "part" in parameters:
        parameters = {"resourceType": "Parameters", "parameter": [operation("delete", "Patient.link"), parameters]}
    with pytest.raises(Outcome) as refusal:
        fhirpath_patch(resource, parameters, r4())
    assert (refusal.value.status, sentence in str(refusal.value)) == (status, True), str(refusal.value)
    if isinstance(parameters, dict) and len(parameters.get("parameter", ())) == 2:
        assert refusal.value.issues[0].expression == "Parameters.parameter[1]"


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        ({}, [{"op": "add", "path": "/gender", "value": "male"}], {"gender": "male"}),
        (
            {"name": [A]},
            [{"op": "add", "path": "/name/-", "value": B}],
            {"name": [A, B]},
        ),
        (
            {"name": [A]},
            [{"op": "add", "path": "/name/0", "value": B}],
            {"name": [B, A]},
        ),
        ({"gender": "male"}, [{"op": "remove", "path": "/gender"}], {}),
        ({"name": [A]}, [{"op": "remove", "path": "/name/0"}], {}),
        (
            {"name": [{**A, "period": {"end": "2020"}}]},
            [{"op": "remove", "path": "/name/0/period/end"}],
            {"name": [A]},
        ),
        ({"gender": "male"}, [{"op": "replace", "path": "/gender", "value": "other"}], {"gender": "other"}),
        (
            {"name": [A, B]},
            [{"op": "move", "from": "/name/1", "path": "/name/0"}],
            {"name": [B, A]},
        ),
        (
            {"name": [A]},
            [{"op": "copy", "from": "/name/0", "path": "/name/1"}],
            {"name": [A, A]},
        ),
        ({"gender": "male"}, [{"op": "test", "path": "/gender", "value": "male"}], {"gender": "male"}),
        (
            {"name": [{"given": ["A", "B"], "_given": [{"id": "a"}, {"id": "b"}]}]},
            [{"op": "remove", "path": "/name/0/_given/0/id"}],
            {"name": [{"given": ["A", "B"], "_given": [None, {"id": "b"}]}]},
        ),
    ],
)
def test_a_json_patch_changes(before: dict[str, Any], operations: list[dict[str, Any]], after: dict[str, Any]) -> None:
    resource = patient(**before)
    assert json_patch(resource, operations) == patient(**after)
    assert resource == patient(**before)


DEEP: Any = {}
for _ in range(50):
    DEEP = {"extension": [DEEP]} if _ % 2 else {"x": DEEP}


@pytest.mark.parametrize(
    ("status", "operation", "sentence"),
    [
        (400, "add", "no object with an 'op'"),
        (400, {"path": "/gender"}, "no object with an 'op'"),
        (400, {"op": ["add"]}, "no object with an 'op'"),
        (400, {"op": "merge", "path": "/gender"}, "no operation of JSON Patch"),
        (400, {"op": "add", "path": "/gender"}, "'value' is missing"),
        (400, {"op": "move", "path": "/gender"}, "'from' is missing"),
        (400, {"op": "add", "path": "gender", "value": 1}, "no JSON Pointer"),
        (400, {"op": "add", "path": "/a~2", "value": 1}, "no JSON Pointer"),
        (400, {"op": "add", "path": 1, "value": 1}, "no JSON Pointer"),
        (400, {"op": "add", "path": "/name/0/" + "x/" * 60, "value": DEEP}, "too deep"),
        (422, {"op": "add", "path": "", "value": {}}, "whole resource"),
        (422, {"op": "remove", "path": ""}, "whole resource"),
        (422, {"op": "remove", "path": "/birthDate"}, ""),
        (422, {"op": "replace", "path": "/birthDate", "value": "x"}, ""),
        (422, {"op": "add", "path": "/name/7", "value": {}}, ""),
        (422, {"op": "add", "path": "/name/x", "value": {}}, ""),
        (422, {"op": "add", "path": "/gender/0", "value": "x"}, ""),
        (422, {"op": "add", "path": "/gender/0/x", "value": "x"}, ""),
        (422, {"op": "add", "path": "/active/x", "value": "x"}, ""),
        (422, {"op": "add", "path": "/name/-/text", "value": "x"}, ""),
        (422, {"op": "copy", "from": "/name/-", "path": "/name/0"}, "behind the end"),
        (422, {"op": "move", "from": "/name", "path": "/name/0/x"}, ""),
        (422, {"op": "test", "path": "/gender", "value": "female"}, "another one"),
        (422, {"op": "test", "path": "/nothing", "value": "female"}, ""),
        (422, {"op": "replace", "path": "/id", "value": "q"}, "stay as they are"),
        (422, {"op": "remove", "path": "/id"}, "stay as they are"),
        (422, {"op": "replace", "path": "/resourceType", "value": "Group"}, "stay as they are"),
    ],
)
def test_a_json_patch_refuses(status: int, operation: Any, sentence: str) -> None:
    resource = patient(gender="male", active=True, name=[{"text": "a"}])
    with pytest.raises(Outcome) as refusal:
        json_patch(resource, [{"op": "test", "path": "/gender", "value": "male"}, operation])
    assert (refusal.value.status, sentence in str(refusal.value)) == (status, True), str(refusal.value)
    assert "operation 1" in str(refusal.value)


def test_a_json_patch_cannot_grow_without_end() -> None:
    doubling = [{"op": "copy", "from": "/name", "path": f"/name/0/x{i}"} for i in range(60)]
    with pytest.raises(Outcome, match="too large or too deep"):
        json_patch(patient(name=[{"text": "a"}]), doubling)


@pytest.mark.parametrize("operations", [None, {}, "x", 1, [{}] * 1001])
def test_a_json_patch_is_an_array(operations: Any) -> None:
    with pytest.raises(Outcome) as refusal:
        json_patch(patient(), operations)
    assert refusal.value.status == 400


pointers = st.lists(st.sampled_from(["name", "0", "1", "-", "text", "given", "active", "x", "~0", ""]), max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2)
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
                "path": pointers.map(lambda parts: "".join(f"/{part}" for part in parts)),
                "from": pointers.map(lambda parts: "".join(f"/{part}" for part in parts)),
                "value": values,
            }
        ),
        max_size=4,
    )
)
def test_a_json_patch_changes_or_refuses_and_nothing_else(operations: list[dict[str, Any]]) -> None:
    resource = patient(active=True, name=[{"text": "a", "given": ["b", None]}, {}])
    try:
        result = json_patch(resource, operations)
    except Outcome as outcome:
        result, status = resource, outcome.status
    else:
        status = 200
    assert status in (200, 400, 422)
    assert (result["resourceType"], result["id"]) == ("Patient", "p")
    assert resource == patient(active=True, name=[{"text": "a", "given": ["b", None]}, {}])


@given(
    st.sampled_from(["add", "insert", "delete", "replace", "move"]),
    st.sampled_from(
        [
            *("Patient", "name", "Patient.name[0]", "name.given", "name.given[1]", "name.given.extension", "deceased"),
            *(
                "contact.name",
                "contained",
                "contained[0].subject",
                "$this",
                "name.period",
                "%resource",
                "1 + 1",
                "name.given.id",
            ),
        ]
    ),
    st.sampled_from(["text", "given", "id", "extension", "deceased", "subject", "x"]),
    st.sampled_from(
        [
            {"valueString": "s"},
            {"valueDateTime": "2020"},
            {"valueHumanName": {"text": "t"}},
            {"valueBoolean": True},
            {"part": [{"name": "url", "valueUri": "u"}]},
            {"_valueString": {"id": "i"}},
            {"valueString": None},
            {"valueHumanName": "x"},
            {"part": [{"name": "name", "valueHumanName": {"text": "t"}}, 7]},
        ]
    ),
    st.integers(0, 3),
)
def test_a_fhirpath_patch_changes_or_refuses_and_nothing_else(
    type_: str, path: str, child: str, content: dict[str, Any], number: int
) -> None:
    resource = patient(
        deceasedBoolean=True,
        contained=[{"resourceType": "Basic", "id": "b"}],
        name=[{"text": "a", "given": ["b", None], "_given": [None, {"id": "x", "extension": [{"url": "u"}]}]}],
    )
    numbers = [part(key, valueInteger=number) for key in ("index", "source", "destination")]
    try:
        result = patch(resource, operation(type_, path, name(child), value(**content), *numbers))
    except Outcome as outcome:
        result, status = resource, outcome.status
    else:
        status = 200
    assert status in (200, 400, 422)
    assert (result["resourceType"], result["id"]) == ("Patient", "p")
