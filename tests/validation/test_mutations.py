"""Whatever is done to a resource, the validator answers with issues and never with an exception."""

from __future__ import annotations

import re
from copy import deepcopy
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4, required_codes
from fhirserver.validation.validate import Validator

VALIDATOR = Validator(r4(), required_codes())

RESOURCE: dict[str, Any] = json.resource(
    rb"""{"resourceType": "Bundle", "type": "transaction", "timestamp": "2024-05-01T10:00:00Z", "entry": [{
        "fullUrl": "urn:uuid:04121321-4af5-424c-a0e1-ed3aab1c349d",
        "request": {"method": "POST", "url": "Patient"},
        "resource": {"resourceType": "Patient", "active": true, "gender": "male", "birthDate": "1974-12-25",
            "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},
            "_birthDate": {"extension": [{"url": "http://example.org/t", "valueTime": "10:00:00"}]},
            "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinic"}],
            "name": [{"given": ["a", null], "_given": [null, {"id": "g",
                "extension": [{"url": "http://example.org/e", "valueCode": "e"}]}]}],
            "managingOrganization": {"reference": "#o", "type": "Organization"}}}, {
        "request": {"method": "POST", "url": "Condition"},
        "resource": {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "onsetString": "at 1.50",
            "clinicalStatus": {"coding": [{"code": "active",
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical"}]}}}, {
        "request": {"method": "POST", "url": "Binary"},
        "resource": {"resourceType": "Binary", "contentType": "text/plain", "data": "aGk="}}]}"""
)

KEYS = """resourceType id extension url _url _id div text contained reference type code coding value valueString
    valueQuantity _value given _given entry resource system status name birthDate data onsetString meta"""
keys = st.sampled_from(KEYS.split()) | st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(max_size=8)
    | st.sampled_from(
        ["#o", "#", "Patient/1", "Patient", "Bundle", "2024-02-30", "2024-05-01T10:00:00Z", "a b", "<div/>"]
    )
    | st.builds(Decimal, st.sampled_from(["1E+400", "-0.0", "1.00"]))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


def places(node: Any) -> list[tuple[Any, Any]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, child in pairs for place in [(node, key), *places(child)]]


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_a_mutated_resource_gets_issues_and_no_exception(data: st.DataObject) -> None:
    resource = deepcopy(RESOURCE)
    for _ in range(data.draw(st.integers(1, 3))):
        node, key = data.draw(st.sampled_from(places(resource) or [({"": 0}, "")]))
        match data.draw(st.sampled_from(["delete", "retype", "rename", "insert"])):
            case "delete":
                del node[key]
            case "retype":
                node[key] = data.draw(values)
            case "rename" if isinstance(node, dict):
                node[data.draw(keys)] = node.pop(key)
            case _ if isinstance(node, dict):
                node[data.draw(keys)] = data.draw(values)
            case _:
                node.insert(key, data.draw(values))
    for issue in VALIDATOR.issues(resource):
        assert issue.severity == "error"
        assert issue.code in {"structure", "required", "value", "code-invalid", "invariant", "too-long"}
        assert issue.diagnostics
        assert issue.expression is None or re.fullmatch(r"[A-Za-z]+(\.\w+(\[\d+\])?)*", issue.expression)


@given(values)
def test_any_json_value_gets_an_answer(value: Any) -> None:
    assert VALIDATOR.issues(value) or value["resourceType"]


def test_what_the_mutations_start_from_is_valid() -> None:
    assert VALIDATOR.issues(RESOURCE) == []
