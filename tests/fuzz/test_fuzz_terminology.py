"""Terminology operations, asked whatever is nearly right: by URL and by Parameters, with resources that came along."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st

GENDER, TREE, NOWHERE = "http://hl7.org/fhir/administrative-gender", "http://example.org/fuzz-tree", "urn:oid:1.2.3"
KIND = (b"Content-Type", b"application/fhir+json")
OPERATIONS = (
    *(
        f"CodeSystem{level}/${name}"
        for name in ("validate-code", "subsumes", "find-matches")
        for level in ("", "/tree")
    ),
    *(f"ValueSet{level}/${name}" for name in ("validate-code", "expand") for level in ("", "/part")),
    *("CodeSystem/$lookup", "ConceptMap/$translate", "NamingSystem/$preferred-id", "$closure", "ConceptMap/$closure"),
)
URLS = (GENDER, TREE, NOWHERE, f"{TREE}|1", f"{TREE}|", "|1", f"{TREE}/all", "http://hl7.org/fhir/ValueSet/languages")
VALUES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("url", "system", "targetsystem", "source", "target", "id"), URLS),
    **dict.fromkeys(("code", "codeA", "codeB"), ("a", "b", "male", "", "x" * 300)),
    **dict.fromkeys(("version", "systemVersion", "valueSetVersion"), ("1", "0", "-1", "99999999999")),
    **dict.fromkeys(("system-version", "force-system-version", "check-system-version", "exclude-system"), URLS),
    **dict.fromkeys(("inferSystem", "abstract", "activeOnly", "excludeNested", "reverse", "exact"), ("true", "false")),
    **dict.fromkeys(("count", "offset"), ("0", "1", "-1", "999999999", "x")),
    "name": ("fuzz", "never", "not an id!", ""),
    "date": ("2999", "2001-02-30", "x"),
    "type": ("oid", "uri", "x"),
    "filter": ("a", "ma le", "%", "|"),
    "display": ("A", "Male"),
    "displayLanguage": ("de", "en-US", "x"),
    "designation": ("de", "urn:ietf:bcp:47|de", "a|b", "|"),
    "property": ("parent", "lang.de", "*"),
}
TREES: dict[str, Any] = {
    "resourceType": "CodeSystem",
    "id": "tree",
    "url": TREE,
    "version": "1",
    "status": "active",
    "content": "complete",
    "valueSet": f"{TREE}/all",
    "concept": [{"code": "a", "display": "A", "concept": [{"code": "b"}]}],
}
PART: dict[str, Any] = {
    "resourceType": "ValueSet",
    "id": "part",
    "url": "http://example.org/fuzz-part",
    "status": "active",
    "contained": [
        {"resourceType": "ValueSet", "id": "in", "status": "active", "compose": {"include": [{"system": TREE}]}}
    ],
    "compose": {"include": [{"valueSet": ["#in"]}]},
}
texts = st.text(max_size=12)
named = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name]) | texts)
)
codings = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(URLS),
        "code": st.sampled_from(("a", "b", "male", "x")) | texts,
        "version": st.sampled_from(("1", "2")),
        "display": texts,
    },
)
includes = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(URLS),
        "valueSet": st.lists(st.sampled_from(("#in", "#out", *URLS)), min_size=1, max_size=2),
        "concept": st.lists(st.fixed_dictionaries({"code": st.sampled_from(("a", "z"))}), min_size=1, max_size=2),
    },
)
value_sets = st.lists(includes, min_size=1, max_size=3).map(lambda parts: PART | {"compose": {"include": parts}})
typed = st.one_of(
    st.tuples(st.sampled_from(("coding", "concept", "codingA", "codingB")), codings).map(
        lambda found: {"name": found[0], "valueCoding": found[1]}
    ),
    codings.map(lambda each: {"name": "codeableConcept", "valueCodeableConcept": {"coding": [each]}}),
    value_sets.map(lambda each: {"name": "valueSet", "resource": each}),
    named.map(lambda each: {"name": each[0], "valueString": each[1] or "x"}),
)
bodies = st.none() | st.lists(typed, min_size=1, max_size=4)


@pytest.fixture(scope="module")
def terms(world: Any) -> Any:
    for resource in (TREES, PART):
        path = f"/{resource['resourceType']}/{resource['id']}"
        assert world.wire.checked("PUT", path, json.dumps(resource).encode(), KIND).status == 201
    return world


def test_any_terminology_operation(fuzz: Any, terms: Any) -> None:
    def law(drawn: tuple[str, list[tuple[str, str]], list[dict[str, Any]] | None]) -> None:
        operation, found, body = drawn
        pairs = [f"{name}={quote(value.encode('utf-8', 'replace'), safe='')}" for name, value in found]
        target = f"/{operation}?{'&'.join(pairs)}".encode()
        if body is None:
            terms.wire.checked("GET", target)
        else:
            parameters = {"resourceType": "Parameters", "parameter": body}
            terms.wire.checked("POST", target, json.dumps(parameters).encode(), KIND)

    fuzz(st.tuples(st.sampled_from(OPERATIONS), st.lists(named, max_size=4), bodies), law, times=3)
