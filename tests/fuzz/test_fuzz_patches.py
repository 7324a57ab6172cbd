"""JSON Patch and FHIRPath Patch documents on a real resource."""

from __future__ import annotations

import json
from typing import Any

import pytest
from garbage import dumped, mutated, texts, values
from hypothesis import strategies as st
from wire import JSON, XML

accepts = st.sampled_from(((b"Accept", JSON), (b"Accept", XML)))
PATIENT = {
    "resourceType": "Patient",
    "id": "p-1",
    "active": True,
    "name": [{"family": "A", "given": ["b", "c"]}],
    "birthDate": "1970-01-01",
    "contact": [{"name": {"text": "x"}}],
    "multipleBirthInteger": 2,
}
POINTERS = (
    "",
    "/",
    "//",
    "/id",
    "/resourceType",
    "/meta",
    "/meta/versionId",
    "/active",
    "/name",
    "/name/0",
    "/name/-",
    "/name/-1",
    "/name/01",
    "/name/1e0",
    "/name/99999999999999999999",
    "/name/٣",
    "/name/0/given/1",
    "/name/0/given/-",
    "/name/~",
    "/name/~2",
    "/~0~1",
    "name",
    "/a.b",
    "/$where",
    "/nothing/deep/er",
)
pointers = st.sampled_from(POINTERS) | texts.map(lambda text: f"/{text}")
json_patches = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(("add", "remove", "replace", "move", "copy", "test", "nothing")), "path": pointers},
        optional={"value": values, "from": pointers},
    ),
    max_size=4,
)

ATOMS = (
    "Patient",
    "Patient.name",
    "Patient.name[0]",
    "name.given",
    "name.first().given",
    "active",
    "%resource",
    "%context",
    "%nothing",
    "$this",
    "$index",
    "$total",
    "{}",
    "1",
    "0.1",
    "'a'",
    "@2024",
    "@T10",
    "@0000",
    "@9999-12-31T23:59:59.999+14:00",
    "5 'mg'",
    "4 days",
    "9" * 400,
    "1." + "0" * 400,
    "true",
    "nothing()",
    "now()",
    "today()",
    "`name`",
    "descendants()",
    "children()",
    "Patient.name.where(use = 'x')",
    "resolve()",
)
BINARY = (
    "+",
    "-",
    "*",
    "/",
    "div",
    "mod",
    "&",
    "|",
    "=",
    "!=",
    "~",
    "<",
    ">=",
    "in",
    "contains",
    "and",
    "or",
    "xor",
    "implies",
    "is",
    "as",
    ".",
)
CALLS = (
    "where({})",
    "select({})",
    "repeat({})",
    "all({})",
    "exists({})",
    "iif({}, {}, {})",
    "union({})",
    "combine({})",
    "intersect({})",
    "aggregate({}, {})",
    "matches({})",
    "replaceMatches({}, {})",
    "replace({}, {})",
    "substring({})",
    "substring({}, {})",
    "indexOf({})",
    "power({})",
    "log({})",
    "round({})",
    "take({})",
    "skip({})",
    "ofType({})",
    "as({})",
    "extension({})",
    "trace({})",
    "toInteger()",
    "toDecimal()",
    "toQuantity({})",
    "toDateTime()",
    "toChars()",
    "exp()",
    "sqrt()",
    "ln()",
    "abs()",
    "distinct()",
    "descendants()",
    "single()",
    "first()",
    "tail()",
    "nothing({})",
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def called(drawn: tuple[str, str, list[str]]) -> str:
        focus, call, arguments = drawn
        return f"{focus}.{call.format(*arguments)}"

    return (
        st.tuples(inner, st.sampled_from(BINARY), inner).map(" ".join)
        | st.tuples(inner, st.sampled_from(CALLS), st.lists(inner, min_size=3, max_size=3)).map(called)
        | inner.map(lambda text: f"({text})")
        | inner.map(lambda text: f"-{text}")
        | st.tuples(inner, inner).map(lambda two: f"{two[0]}[{two[1]}]")
    )


COSTLY = (
    "(" * 5_000 + "1" + ")" * 5_000,
    "-" * 5_000 + "1",
    "1" + "+1" * 5_000,
    "1" + ".select(1)" * 2_000,
    "name" + "[0]" * 5_000,
    "'" + "x" * 100_000 + "'",
    "repeat($this)",
    "repeat(%resource)",
    "repeat('a' & $this)",
    "Patient.repeat($this | 1)",
    "descendants().select(%resource.descendants().select(%resource.descendants().select(%resource.descendants())))",
    "Patient.descendants().where(%resource.descendants().where(%resource.descendants().where(%resource.descendants().exists()).exists()).exists())",
    "(1|2|3|4|5|6|7|8|9).aggregate($total & $total & $total & $total, 'aaaaaaaa')",
    "(1|2|3|4|5|6|7|8|9|10).select('x').aggregate($total & $total & $total & $total & $total, 'aaaa').length()",
    "9.power(9).power(9).power(9).power(9).power(9)",
    "2.power(2147483647)",
    "1000000000.exp()",
    "1.5.power(100000)",
    "1.round(2000000000)",
    "'a'.replaceMatches('', 'aaaaaaaaaa').replaceMatches('', 'aaaaaaaaaa').replaceMatches('', 'aaaaaaaaaa')",
    "('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' & '!').matches('(a+)+$')",
    "'a'.matches('(')",
    "'a'.matches('a{1000000}')",
    "'a'.replaceMatches('a', '$99 \\\\9')",
    "@9999-12-31 + 1 day",
    "@0001-01-01 - 1 year",
    "@2024-01-01 + 99999999999999999999 years",
    "today() - 1e400 days",
    "'" + "9" * 5_000 + "'.toInteger()",
    "'1e999999999'.toDecimal() * 2",
    "'" + "9" * 5_000 + "'.toQuantity()",
    "name.given.toChars().join('" + "x" * 100 + "')",
    "\x00",
    "name\ud800",
    "/* unclosed",
    "// comment",
    "'\\ud800'",
    "'unclosed",
    "`unclosed",
)
expressions = (
    st.recursive(st.sampled_from(ATOMS), _larger, max_leaves=8)
    | texts
    | st.sampled_from([text for text in COSTLY if len(text) < 200])
)
parts = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "name": st.just("type"),
                "valueCode": st.sampled_from(("add", "insert", "delete", "replace", "move", "nothing")) | texts,
            }
        ),
        expressions.map(lambda text: {"name": "path", "valueString": text}),
        texts.map(lambda text: {"name": "name", "valueString": text}),
        st.sampled_from(("active", "name", "given", "value", "id", "deceased")).map(
            lambda n: {"name": "name", "valueString": n}
        ),
        st.sampled_from(("source", "destination", "index")).flatmap(
            lambda name: st.integers(-3, 2**40).map(lambda n: {"name": name, "valueInteger": n})
        ),
        st.sampled_from(("valueString", "valueBoolean", "valueHumanName", "valueDate", "resource")).flatmap(
            lambda key: values.map(lambda value: {"name": "value", key: value})
        ),
        st.just({"name": "value", "part": [{"name": "given", "valueString": "x"}]}),
    ),
    max_size=5,
)
operations = parts.map(lambda parts: {"name": "operation", "part": parts})


@st.composite
def whole_operation(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(("add", "insert", "delete", "replace", "move")))
    found: list[Any] = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": draw(expressions)}]
    if kind == "add":
        found.append({"name": "name", "valueString": draw(st.sampled_from(("active", "name", "gender", "x")))})
    if kind in ("add", "insert", "replace"):
        found.append(
            {"name": "value", draw(st.sampled_from(("valueString", "valueBoolean", "valueHumanName"))): draw(values)}
        )
    if kind == "insert":
        found.append({"name": "index", "valueInteger": draw(st.integers(-1, 5))})
    if kind == "move":
        found += [{"name": name, "valueInteger": draw(st.integers(-1, 5))} for name in ("source", "destination")]
    return {"name": "operation", "part": found}


fhirpath_patches = st.lists(operations | whole_operation() | whole_operation(), min_size=1, max_size=3).map(
    lambda found: {"resourceType": "Parameters", "parameter": found}
)


@pytest.fixture
def patient(world):
    def put() -> None:
        body = json.dumps(PATIENT).encode()
        assert world.wire.checked("PUT", "/Patient/p-1", body, (b"Content-Type", JSON)).status in (200, 201)

    put()
    return put


def test_any_json_patch(fuzz, world, patient):
    def law(drawn: tuple[bytes, Any]) -> None:
        body, accept = drawn
        kind = (b"Content-Type", b"application/json-patch+json")
        if world.refuses_whole("PATCH", "/Patient/p-1", body, kind, accept).status == 200:
            patient()

    fuzz(st.tuples(dumped(json_patches) | dumped(mutated(json_patches)), accepts), law, short=100)


def test_any_fhirpath_patch(fuzz, world, patient):
    def law(drawn: tuple[bytes, Any]) -> None:
        body, accept = drawn
        if world.refuses_whole("PATCH", "/Patient/p-1", body, (b"Content-Type", JSON), accept).status == 200:
            patient()

    fuzz(st.tuples(dumped(fhirpath_patches) | dumped(mutated(fhirpath_patches)), accepts), law, short=150)


@pytest.mark.parametrize("expression", COSTLY, ids=lambda text: ascii(text)[:40])
def test_costly_expressions_are_bounded(world, patient, expression):
    part = [
        {"name": "type", "valueCode": "delete"},
        {"name": "path", "valueString": expression},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
    reply = world.refuses_whole("PATCH", "/Patient/p-1", json.dumps(patch).encode(), (b"Content-Type", JSON))
    assert reply.status in (200, 400, 422), reply
