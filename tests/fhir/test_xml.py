"""FHIR XML: what is written is read back the same, and what is out of place is refused with its place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from official import EXAMPLES, beside, examples

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.xml import from_xml, to_xml
from tests.fuzz.samples import TYPES, sample

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


def same(value: Any) -> Any:
    """A resource such that equal means equal: the digits of numbers, narratives as canonical XML, no trailing nulls."""
    if isinstance(value, dict):
        return {key: canonical(inner) if key == "div" else same(inner) for key, inner in value.items()}
    if isinstance(value, list):
        while value and value[-1] is None:
            value = value[:-1]
        return [same(inner) for inner in value]
    return type(value), str(value)


def canonical(div: str) -> bytes:
    return bytes(etree.tostring(etree.fromstring(div), method="c14n"))


def read(text: str) -> dict[str, Any]:
    return from_xml(text.encode(), r4())


def patient(inner: str) -> dict[str, Any]:
    return read(f'<Patient xmlns="http://hl7.org/fhir">{inner}</Patient>')


@beside(EXAMPLES)
@pytest.mark.parametrize("pretty", [False, True])
def test_the_official_examples_come_back_the_same(pretty: bool) -> None:
    for name, example in examples().items():
        resource = json.resource(example)
        assert same(from_xml(to_xml(resource, r4(), pretty), r4())) == same(resource), name


EVERYTHING: dict[str, Any] = {
    "birthDate": "1974-12-25",
    "_birthDate": {"id": "b", "extension": [{"valueInteger": -5, "url": "http://example.org/t", "id": "e"}]},
    "contact": [{"name": {"given": ["A", "B", None], "_given": [None, {"id": "g"}, {"id": "h"}]}, "id": "c"}],
    "name": [{"_given": [{"id": "g"}, {"id": "h"}], "family": 'a & b < c > "d"\n\t\r 🙂'}],
    "active": True,
    "deceasedBoolean": False,
    "_gender": {"extension": [{"url": "http://example.org/why", "valueDecimal": Decimal("1.00")}]},
    "contained": [
        {"resourceType": "Organization", "id": "o", "name": "x"},
        {"id": "q", "resourceType": "Questionnaire", "item": [{"item": [{"linkId": "1.1"}], "linkId": "1"}]},
    ],
    "id": "p",
    "resourceType": "Patient",
}


def test_elements_are_written_in_the_order_of_the_specification() -> None:
    assert to_xml(EVERYTHING, r4()).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Patient xmlns="http://hl7.org/fhir"><id value="p"/>'
        '<contained><Organization><id value="o"/><name value="x"/></Organization></contained>'
        '<contained><Questionnaire><id value="q"/><item><linkId value="1"/><item><linkId value="1.1"/></item></item>'
        '</Questionnaire></contained><active value="true"/>'
        '<name><family value="a &amp; b &lt; c > &quot;d&quot;&#10;&#9;&#13; 🙂"/><given id="g"/><given id="h"/></name>'
        '<gender><extension url="http://example.org/why"><valueDecimal value="1.00"/></extension></gender>'
        '<birthDate id="b" value="1974-12-25"><extension id="e" url="http://example.org/t"><valueInteger value="-5"/>'
        '</extension></birthDate><deceasedBoolean value="false"/><contact id="c"><name><given value="A"/>'
        '<given id="g" value="B"/><given id="h"/></name></contact></Patient>'
    )


@pytest.mark.parametrize("pretty", [False, True])
def test_everything_comes_back(pretty: bool) -> None:
    assert same(from_xml(to_xml(EVERYTHING, r4(), pretty), r4())) == same(EVERYTHING)


def test_pretty_indents_and_leaves_the_narrative_alone() -> None:
    div = f"{DIV}<p><b>a</b> <i>b</i></p></div>"
    resource = {"resourceType": "Patient", "text": {"status": "generated", "div": div}, "active": True}
    assert to_xml(resource, r4(), pretty=True).decode().splitlines()[1:] == [
        '<Patient xmlns="http://hl7.org/fhir">',
        "  <text>",
        '    <status value="generated"/>',
        f"    {div}",
        "  </text>",
        '  <active value="true"/>',
        "</Patient>",
    ]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("Decimal", "1.00", Decimal("1.00")),
        ("Decimal", "100", 100),
        ("Decimal", "0.000000000000000000000000001", Decimal("1E-27")),
        ("Decimal", "123456789012345678901234567", 123456789012345678901234567),
        ("Decimal", "1E+3", Decimal("1E+3")),
        ("Decimal", "-1.5e-7", Decimal("-1.5E-7")),
        ("Integer", "-12", -12),
        ("PositiveInt", "5", 5),
        ("UnsignedInt", "0", 0),
        ("Boolean", "true", True),
        ("Boolean", "false", False),
        ("String", "1", "1"),
        ("Code", "true", "true"),
    ],
)
def test_a_value_is_read_as_json_would_be(type_: str, text: str, value: object) -> None:
    (read_,) = patient(f'<extension url="u:x"><value{type_} value="{text}"/></extension>')["extension"]
    assert same(read_[f"value{type_}"]) == same(value)
    if not isinstance(value, str):
        assert same(json.decode(text.encode())) == same(value)


def test_what_xml_writers_may_do_is_accepted() -> None:
    text = """﻿<?xml version="1.0" encoding="UTF-8"?><?style x?><!-- a -->
    <f:Patient xmlns:f="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
        xsi:schemaLocation="http://hl7.org/fhir ../patient.xsd" xmlns:h="http://www.w3.org/1999/xhtml">
      <f:text><f:status value='generated'></f:status><h:div>a<h:br/> <!-- note --></h:div></f:text> <!-- b -->
      <f:contained><!-- c --><f:Organization><f:id value="o"/></f:Organization> </f:contained>
      <f:gender value="ma&#108;e"><!-- d --></f:gender></f:Patient><!-- e -->"""
    resource = read(text)
    assert canonical(resource["text"].pop("div")) == canonical(f"{DIV}a<br/> <!-- note --></div>")
    assert resource == {
        "resourceType": "Patient",
        "text": {"status": "generated"},
        "contained": [{"resourceType": "Organization", "id": "o"}],
        "gender": "male",
    }


GENDER = '<gender value="male"/>'


@pytest.mark.parametrize(
    ("inner", "code", "expression", "words"),
    [
        ("<foo/>", "structure", "Patient.foo", "there is no element foo here"),
        ('<name><foo value="x"/></name>', "structure", "Patient.name[0].foo", "only"),
        ('<gender xmlns="u:x" value="male"/>', "structure", "Patient.gender", "not in the namespace"),
        ('<gender xmlns="" value="male"/>', "structure", "Patient.gender", "none"),
        (f'{GENDER}<name><text value="x"/></name>', "structure", "Patient.name[0]", "and gender after it"),
        ("<deceasedBoolean value='true'/><active value='true'/>", "structure", "Patient.active", "and deceased"),
        (f"{GENDER}<birthDate value='1974'/>{GENDER}", "structure", "Patient.gender", "twice"),
        (f"{GENDER}{GENDER}", "structure", "Patient.gender", "twice"),
        ("<name/>hello", "structure", "Patient", "text does not belong here: 'hello'"),
        ("<name/>\u00a0", "structure", "Patient", "text"),
        ("<name/><name>x</name>", "structure", "Patient.name[1]", "text"),
        ('<gender value="male">x</gender>', "structure", "Patient.gender", "text"),
        ('<gender Value="male"/>', "structure", "Patient.gender", "no attribute Value"),
        ('<gender value="male" url="x"/>', "structure", "Patient.gender", "no attribute url"),
        ('<name value="x"/>', "structure", "Patient.name[0]", "no attribute value"),
        ('<name url="x"/>', "structure", "Patient.name[0]", "no attribute url"),
        ("<gender/>", "structure", "Patient.gender", "neither a value nor an extension"),
        ('<gender value="x"><name/></gender>', "structure", "Patient.gender.name", "no element name"),
        ("<text><div/></text>", "structure", "Patient.text.div", "no element div"),
        ("<contained/>", "structure", "Patient.contained[0]", "one resource"),
        ("<contained><Foo/></contained>", "structure", "Patient.contained[0]", "Foo is no resource type"),
        ("<contained><Patient/><Patient/></contained>", "structure", "Patient.contained[0]", "one resource"),
        ("<contained>x<Patient/></contained>", "structure", "Patient.contained[0]", "text"),
        ("<contained><Patient a=''/></contained>", "structure", "Patient.contained[0]", "no attribute a"),
        ('<contained><Patient/></contained><contained><Patient><active value="x"/></Patient></contained>', "value",
         "Patient.contained[1].active", "not a boolean"),
        ('<active value="True"/>', "value", "Patient.active", "true or false"),
        ('<multipleBirthInteger value="1.0"/>', "value", "Patient.multipleBirth", "whole number"),
        ('<multipleBirthInteger value="01"/>', "value", "Patient.multipleBirth", "whole number"),
        ('<multipleBirthInteger value="１"/>', "value", "Patient.multipleBirth", "whole number"),
        ('<extension url="x"><valueDecimal value=".5"/></extension>', "value", "Patient.extension[0].value", "is not"),
        ('<extension url="x"><valueDecimal value="NaN"/></extension>', "value", "Patient.extension[0].value", "is not"),
        ('<extension url="x"><valueDecimal value="1E9999999999999999999"/></extension>', "value",
         "Patient.extension[0].value", "exponent"),
        (f"{'<contact>' * 70}{'</contact>' * 70}", "structure", "Patient.contact[0].contact", "no element"),
        ("<extension url='x'>" * 70 + "</extension>" * 70, "too-costly", None, "64 levels"),
    ],
)  # fmt: skip
def test_what_is_out_of_place_is_refused(inner: str, code: str, expression: str | None, words: str) -> None:
    with pytest.raises(Outcome) as refusal:
        patient(f"\n{inner}")
    (issue,) = refusal.value.issues
    assert refusal.value.status == 400
    assert issue.code == code
    assert expression is None or issue.expression == expression
    assert words in issue.diagnostics
    assert issue.line in (1, 2)
    assert issue.diagnostics.startswith(f"line {issue.line}, column {issue.column}: ")


MANY_LINES = "\n" * 70_000


@pytest.mark.parametrize(
    ("inner", "line", "column"),
    [
        ("<foo/>", 1, 38),
        ("\n  <foo/>", 2, 3),
        (f"{GENDER}\n<name/>", 2, 1),
        ("<name>\n\t<text value='é🙂'/><foo/></name>", 2, 20),
        ("<name/>\n<!-- <foo/> -->\r\n  <active value='maybe'/>", 3, 3),
        ("<text><div xmlns='http://www.w3.org/1999/xhtml'><p/>\n<p/></div></text>\n <text/>", 3, 2),
        ("<contained>\n <Foo\n  /></contained>", 2, 2),
        ("\n <\u0370/>", 2, 2),
        (f"{MANY_LINES} <gender xmlns='u:x' value='male'/>", 70_001, 2),
    ],
)
def test_a_refusal_says_where_the_element_begins(inner: str, line: int, column: int) -> None:
    with pytest.raises(Outcome) as refusal:
        patient(inner)
    (issue,) = refusal.value.issues
    assert (issue.line, issue.column) == (line, column)
    assert issue.json()["location"] == [f"line {line}, column {column}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", 1),
        (b"x", 1),
        (b"{}", 1),
        (b"<Patient", 1),
        (b"<Patient xmlns='http://hl7.org/fhir'>\n<name>\n</Patient>", 3),
        (b"<Patient xmlns='http://hl7.org/fhir'><name a='\x00'/></Patient>", 1),
        (b"<Patient xmlns='http://hl7.org/fhir'><id value='\xff'/></Patient>", 1),
        (b"<Patient xmlns='http://hl7.org/fhir'><id value='&#xD800;'/></Patient>", 1),
        (b"<Patient xmlns='http://hl7.org/fhir'><id value='&a;'/></Patient>", 1),
        ("<Patient xmlns='http://hl7.org/fhir'/>".encode("utf-16"), 1),
        (b"\n<!DOCTYPE Patient><Patient xmlns='http://hl7.org/fhir'/>", 2),
        (b"<!DOCTYPE P [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><Patient xmlns='http://hl7.org/fhir'/>", 1),
        (b"<Patient/>", 1),
        (b"<Foo xmlns='http://hl7.org/fhir'/>", 1),
        (b"<DomainResource xmlns='http://hl7.org/fhir'/>", 1),
        (b"<a>" * 300, 1),
    ],
)
def test_what_is_no_fhir_xml_is_refused(text: bytes, line: int) -> None:
    with pytest.raises(Outcome) as refusal:
        from_xml(text, r4())
    (issue,) = refusal.value.issues
    assert (refusal.value.status, issue.code, issue.line) == (400, "structure", line)
    assert refusal.value.resource()["issue"][0]["location"][0].startswith(f"line {line}")


def test_too_many_elements_are_refused() -> None:
    with pytest.raises(Outcome, match="500,000"):
        patient("<name/>" * 500_001)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("foo", 1),
        ("birthDate", None),
        ("birthDate", {}),
        ("name", "x"),
        ("name", {"text": "x"}),
        ("name", [None]),
        ("name", [{"given": "Peter"}]),
        ("name", [{"_given": {"id": "x"}}]),
        ("maritalStatus", [{"text": "x"}]),
        ("contained", [{"id": "x"}]),
        ("contained", [5]),
        ("text", {"div": 5}),
        ("resourceType", "Foo"),
    ],
)
def test_what_is_no_fhir_is_not_written(key: str, value: object) -> None:
    with pytest.raises(Outcome) as refusal:
        to_xml({"resourceType": "Patient", key: value}, r4())
    assert refusal.value.status == 406


KEYS = ("id", "_id", "name", "text", "contained", "extension", "gender", "_gender", "url", "given", "_given", "div")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_what_was_stored_unvalidated_is_written_or_refused(resource: dict[str, Any]) -> None:
    try:
        text = to_xml({"resourceType": "Patient", **resource}, r4())
    except Outcome:
        return
    assert text.startswith(b"<?xml")


def test_a_narrative_that_is_no_xml_is_written_as_text() -> None:
    for div in ("<div>a</div></text>", "a < b", "<div>\ud800</div>"):
        resource = {"resourceType": "Patient", "text": {"status": "generated", "div": div}}
        assert from_xml(to_xml(resource, r4()), r4())["text"]["div"].startswith(DIV)
    declared = {"resourceType": "Patient", "text": {"div": f'<?xml version="1.0"?>{DIV}a</div>'}}
    assert from_xml(to_xml(declared, r4()), r4()) == {"resourceType": "Patient", "text": {"div": f"{DIV}a</div>"}}


@settings(max_examples=200)
@given(st.sampled_from(TYPES), st.integers(0, 10_000), st.booleans())
def test_resources_of_every_type_come_back(type_: str, seed: int, pretty: bool) -> None:
    resource = json.resource(json.encode(sample(type_, seed, share=0.4)))
    assert same(from_xml(to_xml(resource, r4(), pretty), r4())) == same(resource)


@given(st.lists(st.tuples(st.sampled_from(TYPES), st.integers(0, 100)), max_size=4))
def test_a_bundle_of_them_comes_back(seeds: list[tuple[str, int]]) -> None:
    entries = [{"fullUrl": f"urn:x:{seed}", "resource": sample(type_, seed)} for type_, seed in seeds]
    bundle = {"resourceType": "Bundle", "type": "collection"} | ({"entry": entries} if entries else {})
    bundle = json.resource(json.encode(bundle))
    assert same(from_xml(to_xml(bundle, r4()), r4())) == same(bundle)


xml_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\t\n\r<&\"'>")
)


@given(st.lists(xml_text, min_size=1), xml_text)
def test_any_text_comes_back(given_: list[str], url: str) -> None:
    resource = {
        "resourceType": "Patient",
        "extension": [{"url": url, "valueString": url}],
        "name": [{"given": given_}],
    }
    assert from_xml(to_xml(resource, r4()), r4()) == resource
    assert from_xml(to_xml(resource, r4(), pretty=True), r4()) == resource


@given(st.text(st.characters(), min_size=1))
def test_what_xml_cannot_carry_is_replaced(text: str) -> None:
    resource = {"resourceType": "Patient", "gender": text}
    back = from_xml(to_xml(resource, r4()), r4())["gender"]
    assert len(back) == len(text)
    assert all(new in (old, "\ufffd") for old, new in zip(text, back, strict=True))


@given(st.data())
def test_any_change_of_the_text_is_read_or_refused(data: st.DataObject) -> None:
    text = to_xml(EVERYTHING, r4())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        piece = st.binary(max_size=6) | st.sampled_from(
            [b"<", b">", b"/>", b'"', b"&", b"<!--", b"<![CDATA[", b"<id/>"]
        )
        text = text[:start] + data.draw(piece) + text[end:]
    answer = resource_or_refusal(text)
    if isinstance(answer, Outcome):
        assert (answer.status, bool(answer.issues[0].line)) == (400, True)
    else:
        assert answer["resourceType"]


def resource_or_refusal(text: bytes) -> dict[str, Any] | Outcome:
    try:
        return from_xml(text, r4())
    except Outcome as refusal:
        return refusal


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_any_decimal_keeps_its_digits(value: Decimal) -> None:
    text = json.encode({"resourceType": "Patient", "extension": [{"url": "u:x", "valueDecimal": value}]})
    assert json.encode(from_xml(to_xml(json.resource(text), r4()), r4())) == text
