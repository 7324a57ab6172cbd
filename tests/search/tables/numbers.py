"""https://hl7.org/fhir/R4/search.html#number"""

from __future__ import annotations

from typing import Any

from . import Resource, Table


def risk(id_: str, *predictions: Resource) -> Resource:
    found: Resource = {"resourceType": "RiskAssessment", "id": id_, "status": "final", "subject": {"display": "x"}}
    return found | ({"prediction": [*predictions]} if predictions else {})


def decimal(value: float) -> Resource:
    return {"probabilityDecimal": value}


def between(**ends: float) -> Resource:
    return {"probabilityRange": {end: {"value": value} for end, value in ends.items()}}


def sequence(id_: str, **window: Any) -> Resource:
    reference = {"referenceSeqString": "ACGT"} | window
    return {"resourceType": "MolecularSequence", "id": id_, "coordinateSystem": 0, "referenceSeq": reference}


WORLD = [
    risk("a", decimal(0.8)),
    risk("b", decimal(0.77)),
    risk("c", decimal(0.86)),
    risk("d", between(low=0.5, high=0.9)),
    risk("e", between(low=0.6)),
    risk("f", decimal(0.1), decimal(0.95)),
    risk("g"),
    risk("z", decimal(0)),
    sequence("s1", windowStart=100, windowEnd=200),
    sequence("s2", windowStart=101, windowEnd=150),
    sequence("s3", windowStart=99, windowEnd=300),
]

PROBABILITIES = {
    "0.8": "a b",
    "8e-1": "a b",
    "8E-1": "a b",
    "0.86": "c",
    "0.95": "f",
    "0.5": "",
    "0": "f z",  # from -0.5 to 0.5
    "0.0": "z",
    "1": "a b c d f",
    "-0.8": "",
    "ne0.8": "c d e f z",
    "ne1": "e f z",
    "gt0.8": "c d e f",
    "gt8e-1": "c d e f",
    "gt0.800": "c d e f",
    "lt0.8": "b d e f z",
    "ge0.8": "a c d e f",
    "le0.8": "a b d e f z",
    "sa0.8": "c f",
    "eb0.8": "b f z",
    "sa0.5": "a b c e f",
    "eb0.9": "a b c f z",
    "ap0.8": "a b c d e",
    "gt0.95": "e",
    "lt0": "",
    "le0": "z",
    "ge0": "a b c d e f z",
    "gt-1": "a b c d e f z",
    "0.1,0.86": "c f",
    "gt0.9,lt0.1": "e f z",
}
WINDOWS = {
    "100": "s1",
    "100.0": "s1",
    "1.00e2": "s1",
    "100.5": "",
    "99": "s3",
    "98": "",
    "gt100": "s2",
    "lt100": "s3",
    "ge100": "s1 s2",
    "le100": "s1 s3",
    "gt99.5": "s1 s2",
    "ne100": "s2 s3",
    "ap100": "s1 s2 s3",
    "ap50": "",
}
ROWS = [
    *((f"RiskAssessment?probability={text}", found) for text, found in PROBABILITIES.items()),
    *((f"MolecularSequence?window-start={text}", found) for text, found in WINDOWS.items()),
    ("RiskAssessment?probability=gt0.7&probability=lt0.8", "b d e f"),
    ("RiskAssessment?probability=0.1&probability=0.95", "f"),
    ("RiskAssessment?probability:missing=true", "g"),
    ("RiskAssessment?probability:missing=false", "a b c d e f z"),
    ("MolecularSequence?window-start=ge100&window-end=200", "s1"),
    ("MolecularSequence?window-end=200,300", "s1 s3"),
]

REFUSED = [
    "RiskAssessment?probability=high",
    "RiskAssessment?probability=0.8.1",
    "RiskAssessment?probability=zz0.8",
    "RiskAssessment?probability=gt",
    "RiskAssessment?probability=NaN",
    "RiskAssessment?probability:exact=0.8",
    "RiskAssessment?probability=0.8|x",
]

TABLE = Table(WORLD, ROWS, REFUSED)
