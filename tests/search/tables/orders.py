"""https://hl7.org/fhir/R4/search.html#sort"""

from __future__ import annotations

from typing import Any

from . import LOINC, Resource, Table, coding, concept, observation


def phone(value: str) -> Resource:
    return {"system": "phone", "value": value}


def patient(id_: str, *families: str, **elements: Any) -> Resource:
    names = {"name": [{"family": family} for family in families]} if families else {}
    return {"resourceType": "Patient", "id": id_} | names | elements


def seen(id_: str, code: str, when: str | None, value: float | None, **more: Any) -> Resource:
    found = observation(id_, code=concept(coding(LOINC, code)), subject={"reference": "Patient/x"}, **more)
    found |= {"effectiveDateTime": when} if when else {}
    return found | ({"valueQuantity": {"value": value}} if value is not None else {})


def assessed(id_: str, *probabilities: float) -> Resource:
    found = {"prediction": [{"probabilityDecimal": each} for each in probabilities]} if probabilities else {}
    return {"resourceType": "RiskAssessment", "id": id_, "status": "final", "subject": {"display": "x"}} | found


def goal(id_: str, *categories: str) -> Resource:
    found = {"category": [{"text": each} for each in categories]} if categories else {}
    head = {"resourceType": "Goal", "id": id_, "lifecycleStatus": "active", "subject": {"display": "x"}}
    return head | {"description": {"text": "x"}} | found


WORLD = [
    patient("p1", "müller", birthDate="1990"),
    patient("p2", "Adams", birthDate="1990-06-01"),
    patient("p3", "adams", birthDate="1980", gender="female"),
    patient("p4", birthDate="2000-01-01", gender="male"),
    patient("p5", "Zed", "Brown", telecom=[phone("3"), phone("9"), phone("5")]),
    patient("p6", "MULLER", gender="female"),
    patient("p7", "Clark", "Young", telecom=[phone("4")]),
    patient("p8", "Yates", telecom=[phone("1"), phone("6")]),
    {
        "resourceType": "Condition",
        "id": "c1",
        "subject": {"display": "x"},
        "code": concept(coding(LOINC, "b"), coding(LOINC, "y")),
    },
    {"resourceType": "Condition", "id": "c2", "subject": {"display": "x"}, "code": concept(coding(LOINC, "c"))},
    {"resourceType": "Condition", "id": "c3", "subject": {"display": "x"}},
    goal("g1", "a", "z"),
    goal("g2", "m"),
    goal("g3"),
    assessed("r1", 0.1, 0.9),
    assessed("r2", 0.5),
    assessed("r3"),
    assessed("r4", 0.05, 0.6),
    seen("o1", "b", "2024-01-01", 10),
    seen("o2", "a", "2024-01-01", 9),
    seen("o3", "a", None, 100),
    seen("o4", "b", "2023", None, status="amended"),
    seen("o5", "a", "2024-01-01T10:00:00Z", -1),
]

ROWS = [
    ("Patient?_sort=_id", "p1 p2 p3 p4 p5 p6 p7 p8"),
    ("Patient?_sort=-_id", "p8 p7 p6 p5 p4 p3 p2 p1"),
    ("Patient?_sort=birthdate", "p3 p1 p2 p4 p5 p6 p7 p8"),
    ("Patient?_sort=-birthdate,_id", "p4 p2 p1 p3 p5 p6 p7 p8"),
    ("Patient?_sort=family,_id", "p2 p3 p5 p7 p1 p6 p8 p4"),
    ("Patient?_sort=family,-_id", "p3 p2 p5 p7 p6 p1 p8 p4"),
    ("Patient?_sort=gender,_id", "p3 p6 p4 p1 p2 p5 p7 p8"),
    ("Patient?_sort=-gender,_id", "p4 p3 p6 p1 p2 p5 p7 p8"),
    ("Patient?_sort=gender,birthdate,_id", "p3 p6 p4 p1 p2 p5 p7 p8"),
    ("Patient?_sort=gender,-birthdate,_id", "p3 p6 p4 p2 p1 p5 p7 p8"),
    # of several values the one that comes first in the order
    ("Patient?_sort=-family,_id", "p5 p7 p8 p1 p6 p2 p3 p4"),
    ("Patient?_sort=-name,_id&_count=3", "p5 p7 p8"),
    ("Patient?_sort=telecom", "p8 p5 p7 p1 p2 p3 p4 p6"),
    ("Patient?_sort=-telecom,_id", "p5 p8 p7 p1 p2 p3 p4 p6"),
    ("Patient?_sort=-gender,-telecom,_id", "p4 p3 p6 p5 p8 p7 p1 p2"),
    ("Patient?_sort=-telecom,-family&telecom:missing=true", "p6 p1 p3 p2 p4"),
    ("Condition?_sort=code", "c1 c2 c3"),
    ("Condition?_sort=-code", "c1 c2 c3"),
    ("Goal?_sort=category", "g1 g2 g3"),
    ("Goal?_sort=-category", "g1 g2 g3"),
    ("RiskAssessment?_sort=probability", "r4 r1 r2 r3"),
    ("RiskAssessment?_sort=-probability", "r1 r4 r2 r3"),
    ("Patient?gender:missing=false&_sort=-gender,_id", "p4 p3 p6"),
    ("Patient?family=m&_sort=birthdate", "p1 p6"),
    ("Observation?_sort=date,_id", "o4 o1 o2 o5 o3"),
    ("Observation?_sort=-date,_id", "o5 o1 o2 o4 o3"),
    ("Observation?_sort=code,_id", "o2 o3 o5 o1 o4"),
    ("Observation?_sort=-code,_id", "o1 o4 o2 o3 o5"),
    ("Observation?_sort=code,-date,_id", "o5 o2 o3 o1 o4"),
    ("Observation?_sort=value-quantity", "o5 o2 o1 o3 o4"),
    ("Observation?_sort=-value-quantity", "o3 o1 o2 o5 o4"),
    ("Observation?_sort=status,-date,code", "o4 o5 o2 o1 o3"),
    ("Observation?_sort=status&_sort=-date&_sort=code", "o4 o5 o2 o1 o3"),
    ("Observation?_sort=date,_id&_count=2", "o4 o1"),
    ("Observation?code=a&_sort=-date", "o5 o2 o3"),
    ("Observation?_sort=-date&_count=1", "o5"),
]

REFUSED = [
    "Patient?_sort=nonsense",
    "Patient?_sort=-",
    "Patient?_sort=organization.name",
    "Patient?_sort=family,-family",
    "Patient?_sort=-family&_sort=gender,family",
    "Patient?_sort=family,,gender",
    "Observation?_sort=code-value-quantity",
    "Patient?_sort=_id,birthdate,family,gender,given",
    "Patient?_sort:desc=birthdate",
]

TABLE = Table(WORLD, ROWS, REFUSED)
