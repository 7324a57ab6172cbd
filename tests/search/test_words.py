"""Which words a resource says: of its narrative, and of everything a person would read."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.definitions import r4
from fhirserver.search.words import BREAK, MOST, Reader, texts_of, words

READER = Reader(r4())


def div(inner: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Heart Failure", "heart failure"),
        ("Ménière's disease", "meniere s disease"),
        ("STRASSE straße", "strasse strasse"),
        ("İstanbul", "istanbul"),
        ("beta-blocker, 5.4 mg/dL", "beta blocker 5 4 mg dl"),
        ("snake_case", "snake case"),
        ("糖尿病", "糖 尿 病"),
        ("2型糖尿病", "2 型 糖 尿 病"),
        ("ＦＵＬＬ ｗｉｄｔｈ", "full width"),
        ("ﬁbrosis", "fibrosis"),
        ("Диабет", "диабет"),
        ("µg", "μg"),
        ("… — !", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_words_are_letters_and_digits_folded(text: str, found: str) -> None:
    assert words(text) == found.split()


@pytest.mark.parametrize(
    ("inner", "texts"),
    [
        ("plain", ["plain"]),
        ("<p>one</p><p>two</p>", ["one", "two"]),
        ("<b>H</b>eart<br/>failure", ["Heart", "failure"]),
        ("<table><tr><td>a</td><td>b</td></tr></table>", ["a", "b"]),
        ("fish &amp; chips &lt; &#233;", ["fish & chips < é"]),
        ("a<!-- not this -->b", ["ab"]),
        ("a<script>alert(1)</script>b<style>p {}</style>", ["a", "b"]),
        ('<img src="x.png" alt="a scan"/>', ["a scan"]),
        ('<abbr title="blood pressure">BP</abbr>', ["blood pressure", "BP"]),
        ("<p> </p>", []),
    ],
)
def test_a_narrative_is_read_without_its_markup(inner: str, texts: list[str]) -> None:
    assert texts_of(div(inner)) == texts


def test_what_is_no_markup_has_no_texts() -> None:
    assert texts_of("") == texts_of(" ") == []


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        (
            {"resourceType": "Patient", "id": "abc", "name": [{"family": "Kent", "given": ["Clark", None]}]},
            "kent  clark",
        ),
        (
            {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": "12345", "type": {"text": "MRN"}}]},
            "mrn",
        ),
        ({"resourceType": "Patient", "gender": "male", "birthDate": "1970-01-01", "active": True}, ""),
        ({"resourceType": "Patient", "telecom": [{"system": "phone", "value": "555 0100"}]}, "555 0100"),
        ({"resourceType": "Patient", "link": [{"other": {"reference": "Patient/x", "display": "Kal"}}]}, "kal"),
        (
            {"resourceType": "Patient", "photo": [{"data": "aGVhcnQ=", "url": "http://x.org/y", "title": "Face"}]},
            "face",
        ),
        ({"resourceType": "Observation", "code": {"coding": [{"code": "8867-4", "display": "Pulse"}]}}, "pulse"),
        ({"resourceType": "Observation", "valueString": "positive"}, "positive"),
        ({"resourceType": "Observation", "valueQuantity": {"value": 5, "unit": "beats", "code": "/min"}}, "beats"),
        ({"resourceType": "Observation", "valueSampledData": {"data": "1 2 E", "origin": {"unit": "mV"}}}, "mv"),
        ({"resourceType": "Observation", "note": [{"text": "*Well* done", "time": "2024"}]}, "well done"),
        ({"resourceType": "Observation", "component": [{"id": "secret", "code": {"text": "Systolic"}}]}, "systolic"),
        ({"resourceType": "Observation", "code": {"text": "same"}, "valueString": "same"}, "same"),
        ({"resourceType": "Observation", "extension": [{"url": "urn:x", "valueMarkdown": "deep"}]}, "deep"),
        (
            {"resourceType": "Patient", "_gender": {"extension": [{"url": "urn:x", "valueString": "unsure"}]}},
            "unsure",
        ),
        (
            {"resourceType": "Patient", "name": [{"_given": [None, {"extension": [{"valueString": "ho"}]}]}]},
            "ho",
        ),
        (
            {"resourceType": "Basic", "contained": [{"resourceType": "Medication", "code": {"text": "Aspirin"}}]},
            "aspirin",
        ),
        (
            {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "name": [{"text": "Ada"}]}}]},
            "ada",
        ),
        (
            {"resourceType": "Patient", "text": {"status": "generated", "div": div("<p>Ada</p><p>Lovelace</p>")}},
            "ada  lovelace",
        ),
    ],
)
def test_what_a_person_reads_is_found_and_what_is_data_is_not(resource: dict[str, Any], found: str) -> None:
    assert READER.said(resource).content == [word or BREAK for word in found.split(" ") if found]


def test_only_the_own_narrative_is_its_text() -> None:
    contained = {"resourceType": "Patient", "text": {"status": "generated", "div": div("inner")}}
    said = READER.said({"resourceType": "Basic", "text": {"div": div("outer")}, "contained": [contained]})
    assert said.text == ["outer"]
    assert said.content == ["outer", BREAK, "inner"]


def test_a_book_is_read_as_far_as_there_is_room() -> None:
    assert len(READER.said({"resourceType": "Basic", "text": {"div": div("word " * (MOST + 10))}}).content) == MOST


def naive(text: str) -> list[str]:
    """Character by character."""
    found, word = [], ""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    for character in "".join(each for each in decomposed if not unicodedata.combining(each)) + " ":
        if character.isalnum():
            word += character
        elif word:
            found.append(word[:64])
            word = ""
    return found


WESTERN = st.text(st.characters(max_codepoint=0x0DFF, exclude_categories=("Cs",)), max_size=40)


@given(WESTERN)
def test_words_are_what_a_naive_split_finds(text: str) -> None:
    assert words(text) == naive(text)


@given(st.lists(WESTERN, min_size=1, max_size=4), WESTERN, WESTERN)
def test_every_text_of_a_resource_is_read(notes: list[str], code: str, display: str) -> None:
    resource = {
        "resourceType": "Observation",
        "id": "ignored",
        "status": "final",
        "code": {"text": code, "coding": [{"system": "urn:ignored", "code": "ignored", "display": display}]},
        "note": [{"text": note} for note in notes],
        "subject": {"reference": "Patient/ignored"},
    }
    said = set(READER.said(resource).content) - {BREAK}
    assert said == {word for text in (*notes, code, display) for word in naive(text)}
