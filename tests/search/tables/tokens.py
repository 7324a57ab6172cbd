"""https://hl7.org/fhir/R4/search.html#token"""

from __future__ import annotations

from typing import Any

from . import UCUM, Resource, Table, coding, concept

SCT = "http://snomed.info/sct"
ICD = "http://hl7.org/fhir/sid/icd-10"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SECTIONS = "http://loinc.org"


def condition(id_: str, code: Resource | None, status: str | None = None) -> Resource:
    found: Resource = {"resourceType": "Condition", "id": id_, "subject": {"display": "somebody"}}
    if code is not None:
        found["code"] = code
    if status is not None:
        found["clinicalStatus"] = concept(coding(CLINICAL, status))
    return found


def patient(id_: str, *identifiers: Resource, **elements: Any) -> Resource:
    return {"resourceType": "Patient", "id": id_} | ({"identifier": [*identifiers]} if identifiers else {}) | elements


def of_type(value: str, *codes: str, **more: Any) -> Resource:
    return {"value": value, "type": concept(*(coding(V2, code) for code in codes), **more)}


def composition(id_: str, *codes: str) -> Resource:
    entry = {"entry": [{"display": "x"}]}
    sections = [{"title": code, "code": concept(coding(SECTIONS, code))} | entry for code in codes]
    return {
        "resourceType": "Composition",
        "id": id_,
        "status": "final",
        "type": {"text": "x"},
        "date": "2024-01-01",
        "author": [{"display": "somebody"}],
        "title": "x",
        **({"section": sections} if sections else {}),
    }


def encounter(id_: str, class_: Resource, **elements: Any) -> Resource:
    return {"resourceType": "Encounter", "id": id_, "status": "finished", "class": class_} | elements


WORLD = [
    condition("a", concept(coding(SCT, "25064002", "Headache"), text="Bad headache"), "active"),
    condition("b", concept(coding(ICD, "R51", "Headache"), coding(SCT, "25064002")), "active"),
    condition("c", concept(coding(None, "25064002")), "resolved"),
    condition("d", concept(text="Migraine with aura"), "recurrence"),
    condition("e", concept(coding(SCT, None))),
    condition("f", None),
    condition(
        "g",
        concept(coding(SCT, "a,b"), coding("urn:pipe|x", "c|d"), coding("urn:dollar", "e$f"), coding("urn:bs", "g\\h")),
    ),
    patient(
        "p1",
        {"system": "urn:mrn"} | of_type("12", "MR", text="Medical record"),
        active=True,
        gender="male",
        telecom=[{"system": "phone", "value": "555-1"}, {"system": "email", "value": "ada@example.org"}],
        communication=[{"language": concept(coding("urn:ietf:bcp:47", "fr"))}],
        generalPractitioner=[{"display": "x"}],
    ),
    patient(
        "p2",
        {"system": "urn:mrn", "value": "13"},
        {"system": "urn:ssn", "value": "12"},
        active=False,
        gender="female",
        deceasedBoolean=True,
        telecom=[{"system": "email", "value": "555-1"}],
        communication=[{"language": concept(coding("urn:ietf:bcp:47", code))} for code in ("fr", "nl")],
    ),
    patient("p3", {"value": "12"}, gender="other", deceasedDateTime="2020"),
    patient("p4", {"system": "urn:mrn"}, deceasedBoolean=False),
    patient("p5", of_type("99", "SS", "MR"), _gender={"extension": [{"url": "urn:x", "valueString": "unasked"}]}),
    condition("h", concept(coding(ICD, "r51"), coding(V2, "MR"))),
    condition("i", concept(coding(UCUM, "mL"), coding("urn:ietf:bcp:47", "de-CH"))),
    condition("j", concept(coding(UCUM, "ML"), coding(ACT, "Amb"))),
    patient("p6", {"system": "urn:card", "value": "aB1"}, telecom=[{"system": "email", "value": "Ada@Example.org"}]),
    patient("p7", {"system": "urn:card", "value": "Ab1"}),
    {"resourceType": "ValueSet", "id": "v1", "status": "draft", "version": "2-Beta"},
    composition("s1", "48765-2", "11450-4"),
    composition("s2", "11450-4"),
    composition("s3"),
    encounter("e1", coding(ACT, "AMB", "ambulatory"), type=[concept(coding("urn:t", "x")), concept(text="walk in")]),
    encounter("e2", coding(ACT, "IMP", "inpatient encounter"), type=[concept(coding("urn:t", "y"))]),
    encounter("e3", {"display": "ambulance"}),
    {
        "resourceType": "MessageHeader",
        "id": "m1",
        "eventUri": "http://example.org/events#admitted",
        "source": {"endpoint": "http://example.org"},
    },
    {
        "resourceType": "MessageHeader",
        "id": "m2",
        "eventCoding": coding("http://example.org/events", "admitted"),
        "source": {"endpoint": "http://example.org"},
    },
]

ROWS = [
    # the four forms
    ("Condition?code=25064002", "a b c"),
    (f"Condition?code={SCT}|25064002", "a b"),
    ("Condition?code=|25064002", "c"),
    (f"Condition?code={SCT}|", "a b e g"),
    (f"Condition?code={ICD}|", "b h"),
    (f"Condition?code={ICD}|25064002", ""),
    (f"Condition?code={ICD}|R51", "b h"),
    ("Condition?code=R51", "b h"),
    ("Condition?code=R5", ""),
    ("Condition?code=|R51", ""),
    ("Condition?code=urn:nowhere|", ""),
    ("Condition?code=Headache", ""),
    # or, and
    ("Condition?code=25064002,R51", "a b c h"),
    (f"Condition?code={ICD}|R51,|25064002", "b c h"),
    ("Condition?code=R51&code=25064002", "b"),
    (f"Condition?code=R51&code={SCT}|", "b"),
    ("Condition?code=R51&code=nothing", ""),
    ("Condition?code=nothing,R51", "b h"),
    # :not, which is about the set of codes and includes those without any
    ("Condition?code:not=25064002", "d e f g h i j"),
    (f"Condition?code:not={SCT}|25064002", "c d e f g h i j"),
    ("Condition?code:not=|25064002", "a b d e f g h i j"),
    (f"Condition?code:not={SCT}|", "c d f h i j"),
    ("Condition?code:not=R51", "a c d e f g i j"),
    ("Condition?code:not=25064002,R51", "d e f g i j"),
    ("Condition?code:not=25064002&code:missing=false", "d e g h i j"),
    ("Condition?code:not=R51&code=25064002", "a c"),
    ("Composition?section=48765-2", "s1"),
    ("Composition?section:not=48765-2", "s2 s3"),
    ("Composition?section:not=11450-4", "s3"),
    ("Composition?section=48765-2&section=11450-4", "s1"),
    ("Patient?gender:not=male", "p2 p3 p4 p5 p6 p7"),
    ("Patient?gender:not=male,female", "p3 p4 p5 p6 p7"),
    ("Patient?active:not=true", "p2 p3 p4 p5 p6 p7"),
    ("Condition?clinical-status:not=active", "c d e f g h i j"),
    # :missing
    ("Condition?code:missing=true", "f"),
    ("Condition?code:missing=false", "a b c d e g h i j"),
    ("Condition?code:missing=true&code=R51", ""),
    ("Patient?gender:missing=true", "p4 p5 p6 p7"),
    ("Patient?gender:missing=false", "p1 p2 p3"),
    ("Patient?active:missing=true", "p3 p4 p5 p6 p7"),
    ("Patient?identifier:missing=false", "p1 p2 p3 p4 p5 p6 p7"),
    ("Composition?section:missing=true", "s3"),
    # :text
    ("Condition?code:text=headache", "a b"),
    ("Condition?code:text=HEADACHE", "a b"),
    ("Condition?code:text=Bad head", "a"),
    ("Condition?code:text=migraine", "d"),
    ("Condition?code:text=migraine,bad", "a d"),
    ("Condition?code:text=25064002", ""),
    ("Encounter?class:text=ambul", "e1 e3"),
    ("Encounter?type:text=walk", "e1"),
    ("Patient?identifier:text=medical", "p1"),
    ("Patient?identifier:text=12", ""),
    # escapes
    (r"Condition?code=a\,b", "g"),
    ("Condition?code=a,b", ""),
    (rf"Condition?code={SCT}|a\,b", "g"),
    (r"Condition?code=c\|d", "g"),
    (r"Condition?code=urn:pipe\|x|c\|d", "g"),
    (r"Condition?code=urn:pipe\|x|", "g"),
    (r"Condition?code=e\$f", "g"),
    (r"Condition?code=urn:dollar|e\$f", "g"),
    (r"Condition?code=g\\h", "g"),
    (r"Condition?code=g\\h,R51", "b g h"),
    (r"Condition?code:not=a\,b", "a b c d e f h i j"),
    # codes with an implied system
    ("Patient?gender=male", "p1"),
    ("Patient?gender=male,female", "p1 p2"),
    ("Patient?gender=http://hl7.org/fhir/administrative-gender|male", "p1"),
    ("Patient?gender=urn:other|male", ""),
    ("Encounter?status=finished", "e1 e2 e3"),
    ("Encounter?status=planned", ""),
    ("Condition?clinical-status=active", "a b"),
    (f"Condition?clinical-status={CLINICAL}|resolved,{CLINICAL}|recurrence", "c d"),
    # case, which only counts where a code system is known to say so, and in identifiers
    ("Condition?code=r51", "b h"),
    (f"Condition?code={ICD}|r51", "b h"),
    (f"Condition?code:not={ICD}|r51", "a c d e f g i j"),
    ("Condition?code=HEADACHE", ""),
    (f"Condition?code={V2}|mr", "h"),
    (f"Condition?code={UCUM}|mL", "i"),
    (f"Condition?code={UCUM}|ML", "j"),
    (f"Condition?code={UCUM}|ml", ""),
    ("Condition?code=mL", "i"),
    ("Condition?code=ml", ""),
    ("Condition?code=urn:ietf:bcp:47|DE-ch", "i"),
    ("Condition?code=de-ch", "i"),
    ("Condition?code=DE-CH,ML", "i j"),
    (f"Condition?code={ACT}|Amb", "j"),
    (f"Condition?code={ACT}|amb", ""),
    ("Condition?code=URN:ietf:bcp:47|de-CH", ""),
    ("Patient?gender=MALE", ""),
    ("Encounter?class=amb", ""),
    ("Encounter?type=X", "e1"),
    ("Encounter?type=urn:t|Y", "e2"),
    ("Patient?language=FR", "p1 p2"),
    ("Patient?language:not=FR", "p3 p4 p5 p6 p7"),
    ("Patient?identifier=aB1", "p6"),
    ("Patient?identifier=ab1", ""),
    ("Patient?identifier=urn:card|Ab1", "p7"),
    ("Patient?email=ADA@EXAMPLE.ORG", "p1 p6"),
    ("Patient?telecom=Ada@Example.org", "p1 p6"),
    ("ValueSet?version=2-beta", "v1"),
    ("ValueSet?version=2-BETA", "v1"),
    ('Condition?_filter=code eq "r51"', "b h"),
    (f'Condition?_filter=code eq "{ICD}|r51" and code ew "51"', "b h"),
    ('Condition?_filter=code ne "r51" and code co "5"', "a c"),
    ('Patient?_filter=identifier eq "ab1"', ""),
    # Coding
    ("Encounter?class=AMB", "e1"),
    (f"Encounter?class={ACT}|AMB,{ACT}|IMP", "e1 e2"),
    (f"Encounter?class={ACT}|", "e1 e2"),
    ("Encounter?type=urn:t|x", "e1"),
    # Identifier
    ("Patient?identifier=12", "p1 p2 p3"),
    ("Patient?identifier=urn:mrn|12", "p1"),
    ("Patient?identifier=urn:ssn|12", "p2"),
    ("Patient?identifier=|12", "p3"),
    ("Patient?identifier=urn:mrn|", "p1 p2 p4"),
    ("Patient?identifier=|12,urn:ssn|12", "p2 p3"),
    ("Patient?identifier=urn:mrn|13&identifier=urn:ssn|12", "p2"),
    ("Patient?identifier:not=12", "p4 p5 p6 p7"),
    ("Patient?identifier:not=urn:mrn|12", "p2 p3 p4 p5 p6 p7"),
    (f"Patient?identifier:of-type={V2}|MR|12", "p1"),
    (f"Patient?identifier:of-type={V2}|MR|99", "p5"),
    (f"Patient?identifier:of-type={V2}|SS|99", "p5"),
    (f"Patient?identifier:of-type={V2}|MR|13", ""),
    ("Patient?identifier:of-type=urn:other|MR|12", ""),
    (f"Patient?identifier:of-type={V2}|MR|12,{V2}|SS|99", "p1 p5"),
    # boolean
    ("Patient?active=true", "p1"),
    ("Patient?active=false", "p2"),
    ("Patient?active=true,false", "p1 p2"),
    ("Patient?deceased=true", "p2 p3"),
    ("Patient?deceased=false", "p1 p4 p5 p6 p7"),
    # ContactPoint
    ("Patient?telecom=555-1", "p1 p2"),
    ("Patient?phone=555-1", "p1"),
    ("Patient?email=555-1", "p2"),
    ("Patient?email=ada@example.org", "p1 p6"),
    ("Patient?telecom:not=555-1", "p3 p4 p5 p6 p7"),
    ("Patient?telecom=phone|555-1", "p1"),
    ("Patient?telecom=email|555-1", "p2"),
    ("Patient?telecom=email|", "p1 p2 p6"),
    ("Patient?telecom=phone|", "p1"),
    ("Patient?telecom=|555-1", ""),
    ("Patient?telecom=email|ADA@example.org", "p1 p6"),
    ("Patient?telecom:not=phone|555-1", "p2 p3 p4 p5 p6 p7"),
    ("Patient?phone=email|555-1", ""),
    # the same parameter twice: https://hl7.org/fhir/R4/search.html#combining
    ("Patient?language=fr", "p1 p2"),
    ("Patient?language=fr&language=nl", "p2"),
    ("Patient?language=fr,nl", "p1 p2"),
    ("Patient?language=fr,de&language=nl", "p2"),
    # uri
    ("MessageHeader?event=http://example.org/events%23admitted", "m1"),
    ("MessageHeader?event=http://example.org/events|admitted", "m2"),
]

REFUSED = [
    "Condition?code=a|b|c",
    "Condition?code=|",
    "Condition?code:missing=perhaps",
    "Condition?code:missing=true,false",
    "Condition?code:exact=R51",
    "Condition?code:contains=R51",
    "Condition?code:nonsense=R51",
    "Condition?code:Patient=R51",
    "Patient?identifier:of-type=MR|12",
    "Patient?identifier:of-type=12",
    "Patient?gender:of-types=a|b|c",
    "Patient?active=yes",
    "Patient?active=True",
    "Patient?active:not=|true",
    "Patient?deceased=true,no",
    "Patient?organization.active=1",
    "Condition?code=R51,",
]

TABLE = Table(WORLD, ROWS, REFUSED)
