"""https://hl7.org/fhir/R4/search.html#composite"""

from __future__ import annotations

from typing import Any

from . import LOINC, UCUM, Resource, Table, coding, concept, observation

SYSTOLIC, DIASTOLIC, POTASSIUM = "8480-6", "8462-4", "2823-3"


def measured(code: str, value: float, unit: str, system: str = LOINC) -> Resource:
    quantity = {"value": value, "system": UCUM, "code": unit, "unit": unit}
    return {"code": concept(coding(system, code)), "valueQuantity": quantity}


def pressure(id_: str, systolic: float, diastolic: float) -> Resource:
    parts = [measured(SYSTOLIC, systolic, "mm[Hg]"), measured(DIASTOLIC, diastolic, "mm[Hg]")]
    return observation(id_, code=concept(coding(LOINC, "85354-9")), component=parts)


def group(id_: str, *characteristics: tuple[str, Resource]) -> Resource:
    found = [{"code": concept(coding("urn:c", code)), "exclude": False} | value for code, value in characteristics]
    return {"resourceType": "Group", "id": id_, "type": "person", "actual": False, "characteristic": found}


def mixed(code: str) -> dict[str, Any]:
    return {"valueCodeableConcept": concept(coding("urn:v", code))}


def document(id_: str, *related: tuple[str, str]) -> Resource:
    relations = [{"code": code, "target": {"reference": target}} for code, target in related]
    content = [{"attachment": {"url": "http://example.org/x"}}]
    found = {"resourceType": "DocumentReference", "id": id_, "status": "current", "content": content}
    return found | ({"relatesTo": relations} if relations else {})


WORLD = [
    observation("a", **measured(POTASSIUM, 5.6, "mmol/L")),
    observation("b", **measured(POTASSIUM, 4.1, "mmol/L")),
    observation("c", **measured("2951-2", 140, "mmol/L")),
    pressure("d", 120, 55),
    pressure("e", 55, 120),
    observation("f", code=concept(coding(LOINC, "x-1")), valueString="a, b$c"),
    observation("g", code=concept(coding(LOINC, "x-1")), valueCodeableConcept=concept(coding("urn:v", "pos"))),
    observation("h", code=concept(coding(LOINC, "x-1")), valueDateTime="2024-05"),
    observation("i", code=concept(coding("urn:a$b", "k,l")), valueQuantity={"value": 5.6}),
    group("g1", ("gender", mixed("mixed")), ("owner", {"valueBoolean": True})),
    group("g2", ("gender", {"valueBoolean": True}), ("owner", mixed("mixed"))),
    document("r1", ("replaces", "DocumentReference/x"), ("appends", "DocumentReference/y")),
    document("r2", ("appends", "DocumentReference/x")),
    document("r3"),
]

CODE_VALUE = {
    f"{LOINC}|{POTASSIUM}$gt5.4|{UCUM}|mmol/L": "a",
    f"{POTASSIUM}$gt5.4": "a",
    f"{POTASSIUM}$5.6": "a",
    f"{POTASSIUM}$lt5": "b",
    f"{POTASSIUM}$gt5.4|{UCUM}|mol/L": "",
    f"{POTASSIUM}$gt0.0054|{UCUM}|mol/L": "a",
    f"{POTASSIUM}$140": "",
    "2951-2$140": "c",
    f"{LOINC}|$gt4": "a b c",
    f"{POTASSIUM}$gt5,2951-2$gt100": "a c",
    "|k$5.6": "",
    r"k\,l$5.6": "i",
    r"urn:a\$b|k\,l$5.6": "i",
}
COMPONENTS = {
    f"{LOINC}|{SYSTOLIC}$lt60": "e",
    f"{SYSTOLIC}$lt60": "e",
    f"{DIASTOLIC}$lt60": "d",
    f"{SYSTOLIC}$gt100": "d",
    f"{SYSTOLIC}$55,{DIASTOLIC}$55": "d e",
    f"{SYSTOLIC}$120|{UCUM}|mm[Hg]": "d",
    f"{SYSTOLIC}$80": "",
    f"{POTASSIUM}$5.6": "",
}
ROWS = [
    *((f"Observation?code-value-quantity={text}", found) for text, found in CODE_VALUE.items()),
    *((f"Observation?component-code-value-quantity={text}", found) for text, found in COMPONENTS.items()),
    (f"Observation?component-code-value-quantity={SYSTOLIC}$120&component-code-value-quantity={DIASTOLIC}$55", "d"),
    (f"Observation?component-code-value-quantity={SYSTOLIC}$120&component-code-value-quantity={DIASTOLIC}$120", ""),
    (f"Observation?component-code={SYSTOLIC}&component-value-quantity=lt60", "d e"),
    (f"Observation?combo-code-value-quantity={POTASSIUM}$5.6,{SYSTOLIC}$55", "a e"),
    (r"Observation?code-value-string=x-1$a\, b\$c", "f"),
    (r"Observation?code-value-string=x-1$A\,", "f"),
    ("Observation?code-value-string=x-2$a", ""),
    ("Observation?code-value-concept=x-1$urn:v|pos", "g"),
    ("Observation?code-value-concept=x-1$neg", ""),
    ("Observation?code-value-date=x-1$2024", "h"),
    ("Observation?code-value-date=x-1$lt2024", ""),
    ("Observation?code-value-date=x-1$gt2024-01", "h"),
    ("Observation?code-value-quantity:missing=false", "a b c i"),
    ("Observation?component-code-value-quantity:missing=true", "a b c f g h i"),
    ("Group?characteristic-value=gender$mixed", "g1"),
    ("Group?characteristic-value=owner$mixed", "g2"),
    ("Group?characteristic-value=gender$mixed,owner$mixed", "g1 g2"),
    ("Group?characteristic-value=gender$true", "g2"),
    ("DocumentReference?relationship=DocumentReference/x$replaces", "r1"),
    ("DocumentReference?relationship=DocumentReference/x$appends", "r2"),
    ("DocumentReference?relationship=DocumentReference/y$appends", "r1"),
    ("DocumentReference?relationship=x$appends", "r2"),
    ("DocumentReference?relation=appends&relatesto=DocumentReference/x", "r1 r2"),
]

REFUSED = [
    f"Observation?code-value-quantity={POTASSIUM}",
    f"Observation?code-value-quantity={POTASSIUM}$1$2",
    f"Observation?code-value-quantity={POTASSIUM}$",
    "Observation?code-value-quantity=$5",
    f"Observation?code-value-quantity={POTASSIUM}$much",
    f"Observation?code-value-quantity:exact={POTASSIUM}$1",
    f"Observation?code-value-quantity:not={POTASSIUM}$1",
]

TABLE = Table(WORLD, ROWS, REFUSED)
