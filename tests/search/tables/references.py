"""https://hl7.org/fhir/R4/search.html#reference"""

from __future__ import annotations

from typing import Any

from . import HERE, Resource, Table, observation

ELSEWHERE = "http://else.example/fhir"
QUESTIONS = "http://x.example/Questionnaire/q"


def about(id_: str, reference: str, **elements: Any) -> Resource:
    return observation(id_, subject={"reference": reference}, **elements)


def answers(id_: str, questionnaire: str | None) -> Resource:
    found = {"resourceType": "QuestionnaireResponse", "id": id_, "status": "completed"}
    return found | ({"questionnaire": questionnaire} if questionnaire else {})


def basic(id_: str, **elements: Any) -> Resource:
    return {"resourceType": "Basic", "id": id_, "code": {"text": "x"}} | elements


WORLD = [
    {"resourceType": "Patient", "id": "1"},
    {"resourceType": "Group", "id": "g1", "type": "person", "actual": True},
    about("a", "Patient/1"),
    about("b", f"{HERE}/Patient/1"),
    about("c", "Patient/1/_history/1"),
    about("d", "Group/g1"),
    about("e", f"{ELSEWHERE}/Patient/1"),
    observation("f", subject={"type": "Patient", "identifier": {"system": "urn:mrn", "value": "7"}}),
    observation("g"),
    about("h", "Patient/2", performer=[{"reference": "Practitioner/pr"}, {"reference": "Organization/or"}]),
    about("j", "#p", contained=[{"resourceType": "Patient", "id": "p"}]),
    about("k", "Patient/2", identifier=[{"value": "7"}], hasMember=[{"reference": "Observation/a"}]),
    about("l", "Patient/10", hasMember=[{"reference": "Observation/a"}, {"reference": f"{HERE}/Observation/b"}]),
    answers("q1", f"{QUESTIONS}|1.0"),
    answers("q2", f"{QUESTIONS}|2.0"),
    answers("q3", QUESTIONS),
    answers("q4", None),
    answers("q5", f"{QUESTIONS}2"),
    basic("s1", subject={"reference": "Slot/9"}),
    basic("s2", subject={"reference": "Device/9"}),
    basic("s3", subject={"display": "nobody known"}),
]

ROWS = [
    # by id
    ("Observation?subject=1", "a b c"),
    ("Observation?subject=g1", "d"),
    ("Observation?subject=10", "l"),
    ("Observation?subject=3", ""),
    ("Observation?patient=1", "a b c"),
    ("Observation?patient=g1", ""),
    ("Observation?performer=pr", "h"),
    # by type and id
    ("Observation?subject=Patient/1", "a b c"),
    ("Observation?subject=Group/g1", "d"),
    ("Observation?subject=Group/1", ""),
    ("Observation?patient=Patient/1", "a b c"),
    ("Observation?subject=Patient/2", "h k"),
    ("Observation?performer=Practitioner/pr", "h"),
    ("Observation?performer=Practitioner/or", ""),
    ("Observation?has-member=Observation/a", "k l"),
    ("Observation?has-member=Observation/b", "l"),
    ("Observation?has-member=a", "k l"),
    # by modifier
    ("Observation?subject:Patient=1", "a b c"),
    ("Observation?subject:Patient=Patient/1", "a b c"),
    ("Observation?subject:Group=1", ""),
    ("Observation?subject:Group=g1", "d"),
    ("Observation?performer:Organization=or", "h"),
    ("Observation?performer:Practitioner=or", ""),
    # absolute
    (f"Observation?subject={HERE}/Patient/1", "a b c"),
    (f"Observation?subject={ELSEWHERE}/Patient/1", "e"),
    (f"Observation?patient={ELSEWHERE}/Patient/1", "e"),
    (f"Observation?subject={ELSEWHERE}/Patient/2", ""),
    (f"Observation?subject={HERE}/Group/g1", "d"),
    (f"Observation?has-member={HERE}/Observation/a", "k l"),
    (f"Observation?has-member={HERE}/Observation/b", "l"),
    # versioned
    ("Observation?subject=Patient/1/_history/1", "c"),
    (f"Observation?subject={HERE}/Patient/1/_history/1", "c"),
    ("Observation?subject=Patient/1/_history/2", ""),
    # contained resources have no address
    ("Observation?subject=p", ""),
    ("Observation?subject=Patient/p", ""),
    # identifiers
    ("Observation?subject:identifier=urn:mrn|7", "f"),
    ("Observation?subject:identifier=7", "f"),
    ("Observation?subject:identifier=|7", ""),
    ("Observation?subject:identifier=urn:mrn|", "f"),
    ("Observation?subject:identifier=urn:mrn|8", ""),
    ("Observation?subject:identifier=urn:mrn|8,urn:mrn|7", "f"),
    ("Observation?patient:identifier=urn:mrn|7", "f"),
    # or, and
    ("Observation?subject=Patient/1,Group/g1", "a b c d"),
    ("Observation?subject=10,g1", "d l"),
    (f"Observation?subject=Patient/2,{ELSEWHERE}/Patient/1", "e h k"),
    ("Observation?performer=Practitioner/pr&performer=Organization/or", "h"),
    ("Observation?has-member=Observation/a&has-member=Observation/b", "l"),
    ("Observation?subject=Patient/2&has-member=a", "k"),
    ("Observation?subject=Patient/1&subject=Group/g1", ""),
    # :missing
    ("Observation?subject:missing=true", "g"),
    ("Observation?subject:missing=false", "a b c d e f h j k l"),
    ("Observation?performer:missing=false", "h"),
    ("QuestionnaireResponse?questionnaire:missing=true", "q4"),
    # canonical
    (f"QuestionnaireResponse?questionnaire={QUESTIONS}|1.0", "q1"),
    (f"QuestionnaireResponse?questionnaire={QUESTIONS}|2.0", "q2"),
    (f"QuestionnaireResponse?questionnaire={QUESTIONS}|3.0", ""),
    (f"QuestionnaireResponse?questionnaire={QUESTIONS}", "q1 q2 q3"),
    (f"QuestionnaireResponse?questionnaire={QUESTIONS}2", "q5"),
    (f"QuestionnaireResponse?questionnaire={QUESTIONS}|1.0,{QUESTIONS}2", "q1 q5"),
    (rf"QuestionnaireResponse?questionnaire={QUESTIONS}\|1.0", "q1"),
    # any type
    ("Basic?subject=9", "s1 s2"),
    ("Basic?subject=Slot/9", "s1"),
    ("Basic?subject:Device=9", "s2"),
    ("Basic?subject:missing=true", ""),
]

REFUSED = [
    "Observation?subject=Nonsense/1",
    "Observation?subject=a b",
    "Observation?subject=Patient/1/2",
    "Observation?subject:Patient=Group/1",
    "Observation?subject:Nonsense=1",
    "Observation?subject:Slot=1",
    "Observation?subject:exact=1",
    "Observation?subject:identifier=a|b|c",
    "Observation?patient:Group=1",
]

TABLE = Table(WORLD, ROWS, REFUSED)
