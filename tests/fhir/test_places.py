"""Issues say the line and column of the text that they are about."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import Issue
from fhirserver.fhir.places import Sent, in_json, placed
from fhirserver.fhir.xml import from_xml

JSON = """{
  "resourceType" : "Patient",
  "contained": [{"resourceType": "Organization", "id": "o",
    "name": "Ü\\"{", "telecom": [{"value": "1"}]}],
  "extension": [{"url": "http://example.org/x", "valueDecimal": 1.50}],
  "name": [
    {"family": "A"},
    {"given": [null, "Ö"], "_given": [{"extension": [{"url": "urn:x", "valueString": "y"}]}, null]}
  ],
  "birthDate": "1975", "_birthDate": {"id": "b"},
  "deceased\\u0042oolean": false
}"""
XML = """<?xml version="1.0" encoding="UTF-8"?>
<Patient xmlns="http://hl7.org/fhir">
  <contained><Organization><id value="o"/>
    <name value="Ü"/><telecom><value value="1"/></telecom></Organization></contained>
  <extension url="http://example.org/x"><valueDecimal value="1.50"/></extension>
  <name><family value="A"/></name>
  <name>
    <given><extension url="urn:x"><valueString value="y"/></extension></given><given value="Ö"/>
  </name>
  <birthDate id="b" value="1975"/>
  <deceasedBoolean value="false"/>
</Patient>"""


def place(expression: str, text: str, format_: str) -> tuple[int | None, int | None]:
    content = text.encode()
    document = json.resource(content) if format_ == "json" else from_xml(content, r4())
    (issue,) = placed(Sent(content, format_, document), [Issue("error", "value", "-", expression)], r4())
    return issue.line, issue.column


@pytest.mark.parametrize(
    ("expression", "in_json_", "in_xml_"),
    [
        ("Patient", (1, 1), (2, 1)),
        ("Patient.contained[0]", (3, 17), (3, 14)),
        ("Patient.contained[0].telecom[0].system", (4, 33), (4, 22)),
        ("Patient.contained[0].name", (4, 5), (4, 5)),
        ("Patient.extension[0].value", (5, 49), (5, 41)),
        ("Patient.extension[0].url", (5, 18), (5, 3)),
        ("Patient.name", (6, 3), (6, 3)),
        ("Patient.name[1]", (8, 5), (7, 3)),
        ("Patient.name[1].given[1]", (8, 22), (8, 79)),
        ("Patient.name[1].given[0].extension[0].value", (8, 71), (8, 35)),
        ("Patient.name[7].given[1]", (6, 3), (6, 3)),
        ("Patient.birthDate", (10, 3), (10, 3)),
        ("Patient.birthDate.id", (10, 39), (10, 3)),
        ("Patient.deceased", (11, 3), (11, 3)),
        ("Patient.gender", (1, 1), (2, 1)),
        ("Person.name", (None, None), (None, None)),
        ("name", (None, None), (None, None)),
    ],
)
def test_places(expression: str, in_json_: tuple[int, int], in_xml_: tuple[int, int]) -> None:
    assert place(expression, JSON, "json") == in_json_
    assert place(expression, XML, "xml") == in_xml_


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def paths(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for step, inner in steps for path in paths(inner, (*at, step)))]


@given(VALUES, st.booleans())
def test_every_value_begins_where_it_is_said_to(value: Any, pretty: bool) -> None:
    text = json.pretty(json.encode(value)) if pretty else json.encode(value)
    lines = text.decode().split("\n")
    every = paths(value)
    found = in_json(text, every)
    assert found.keys() == set(every)
    for path, (line, column) in found.items():
        here, inner = lines[line - 1][column - 1 :], value
        for step in path:
            inner = inner[step]
        begin = json.encode(path[-1] if path and isinstance(path[-1], str) else inner).decode()
        assert here.startswith(begin[:1] if begin[:1] in "[{" else begin)
