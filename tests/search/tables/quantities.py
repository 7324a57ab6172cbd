"""https://hl7.org/fhir/R4/search.html#quantity"""

from __future__ import annotations

from typing import Any

from . import UCUM, Resource, Table, observation


def amount(id_: str, value: float, unit: str | None = None, code: str | None = None, **more: Any) -> Resource:
    system = {"system": UCUM, "code": code} if code else {}
    return observation(id_, valueQuantity={"value": value} | ({"unit": unit} if unit else {}) | system | more)


def invoice(id_: str, value: float, currency: str) -> Resource:
    money = {"value": value, "currency": currency}
    return {"resourceType": "Invoice", "id": id_, "status": "issued", "totalNet": money}


def aged(id_: str, value: int, code: str) -> Resource:
    age = {"value": value, "system": UCUM, "code": code}
    return {"resourceType": "Condition", "id": id_, "subject": {"display": "x"}, "onsetAge": age}


def lasting(id_: str, value: int, code: str) -> Resource:
    length = {"value": value, "system": UCUM, "code": code}
    return {"resourceType": "Encounter", "id": id_, "status": "finished", "class": {"code": "AMB"}, "length": length}


SAMPLES = {"origin": {"value": 2, "unit": "mV"}, "period": 10, "dimensions": 1, "data": "0 1 E 2"}
WORLD = [
    amount("a", 5.4, "mg", "mg"),
    amount("b", 5.4, "mg"),
    amount("c", 0.0054, "g", "g"),
    amount("d", 5.44, "mg", "mg"),
    amount("e", 5.5, "mg", "mg"),
    amount("f", 5, "mg", "mg", comparator=">"),
    amount("g", 6, "mg", "mg", comparator="<"),
    amount("h", 5.4, "milligram", "mg"),
    amount("i", 5.4, "units", system="urn:units", code="mg"),
    observation("n"),
    observation("s", valueSampledData=SAMPLES),
    amount("t", -5.4, "Cel", "Cel"),
    invoice("v1", 10.5, "USD"),
    invoice("v2", 10.5, "EUR"),
    invoice("v3", 99, "EUR"),
    aged("y1", 52, "a"),
    aged("y2", 6, "mo"),
    lasting("l1", 30, "min"),
    lasting("l2", 2, "h"),
]

MILLIGRAMS = {
    "": "a c d h",
    "eq": "a c d h",
    "ne": "e f g",
    "gt": "d e f g",
    "lt": "f g",
    "ge": "a c d e f g h",
    "le": "a c f g h",
    "sa": "d e",
    "eb": "",
    "ap": "a c d e f g h",
}
VALUES = {
    # the examples of the specification
    f"5.40e-3|{UCUM}|g": "a c h",
    f"0.0054|{UCUM}|g": "a c d h",
    "5.4||mg": "a b d h i",
    "5.4": "a b d h i",
    # units
    "5.4||milligram": "h",
    "5.4||units": "i",
    "5.4|urn:units|mg": "i",
    "5.4|urn:units|g": "",
    "5.4||g": "",
    "0.0054||g": "c",
    f"5400|{UCUM}|ug": "a c h",
    f"5.4|{UCUM}|g": "",
    f"5.4|{UCUM}|mL": "",
    f"5.40|{UCUM}|mg": "a c h",
    f"5.44|{UCUM}|mg": "d",
    # precision
    "5.40": "a b h i",
    "5.44": "d",
    "5.5": "e",
    "54e-1": "a b d h i",
    "-5.4": "t",
    f"-5.4|{UCUM}|Cel": "t",
    "eb5.5||mg": "a b d h i",
    f"eb5.5|{UCUM}|mg": "a c d h",
    f"sa5.44|{UCUM}|mg": "e",
    f"lt5|{UCUM}|mg": "g",
    f"gt6|{UCUM}|mg": "f",
    "lt0": "g t",
    # samples lie between 2 and 4
    "gt3||mV": "s",
    "lt3||mV": "s",
    "3||mV": "",
    "sa1||mV": "s",
    "eb4.5||mV": "s",
    "gt4||mV": "",
    # or
    f"5.5|{UCUM}|mg,5.4|urn:units|mg": "e i",
    "-5.4,5.5": "e t",
}
ROWS = [
    *((f"Observation?value-quantity={prefix}5.4|{UCUM}|mg", found) for prefix, found in MILLIGRAMS.items()),
    *((f"Observation?value-quantity={text}", found) for text, found in VALUES.items()),
    (f"Observation?value-quantity=gt5.4|{UCUM}|mg&value-quantity=lt5.45|{UCUM}|mg", "d f g"),
    ("Observation?value-quantity:missing=true", "n"),
    ("Observation?value-quantity:missing=false", "a b c d e f g h i s t"),
    ("Observation?combo-value-quantity=5.5", "e"),
    # Money
    ("Invoice?totalnet=10.5", "v1 v2"),
    ("Invoice?totalnet=10.5||EUR", "v2"),
    ("Invoice?totalnet=10.5|urn:iso:std:iso:4217|USD", "v1"),
    ("Invoice?totalnet=gt10||EUR", "v2 v3"),
    ("Invoice?totalnet=gt50", "v3"),
    # Age, Duration
    (f"Condition?onset-age=52|{UCUM}|a", "y1"),
    (f"Condition?onset-age=6|{UCUM}|mo", "y2"),
    ("Condition?onset-age=gt50", "y1"),
    (f"Encounter?length=30|{UCUM}|min", "l1"),
    (f"Encounter?length=0.5|{UCUM}|h", "l1"),
    (f"Encounter?length=120|{UCUM}|min", "l2"),
    (f"Encounter?length=gt1|{UCUM}|h", "l2"),
]

REFUSED = [
    "Observation?value-quantity=much",
    "Observation?value-quantity=5.4|mg",
    "Observation?value-quantity=5.4|a|b|c",
    f"Observation?value-quantity=|{UCUM}|mg",
    "Observation?value-quantity=yy5.4",
    "Observation?value-quantity:exact=5.4",
    "Observation?value-quantity:text=mg",
]

TABLE = Table(WORLD, ROWS, REFUSED)
