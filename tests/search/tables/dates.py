"""https://hl7.org/fhir/R4/search.html#date"""

from __future__ import annotations

from . import Table, observation

WORLD = [
    observation("d", effectiveDateTime="2013-03-14"),
    observation("i", effectiveInstant="2013-03-14T23:59:59.999Z"),
    observation("m", effectiveDateTime="2013-03"),
    observation("ms", effectiveDateTime="2013-03-14T10:00:00.500Z"),
    observation("n"),
    observation("off", effectiveDateTime="2013-03-15T00:30:00+02:00"),  # half past ten, in the evening before
    observation("p1", effectivePeriod={"start": "2013-01-21"}),
    observation("p2", effectivePeriod={"end": "2013-01-21"}),
    observation("p3", effectivePeriod={"start": "2013-03-15"}),
    observation("p4", effectivePeriod={"start": "2013-03", "end": "2013-03-31"}),
    observation("t", effectiveDateTime="2013-03-14T10:00:00Z"),
    observation("tb", effectiveTiming={"repeat": {"boundsPeriod": {"start": "2013-01-31", "end": "2013-03-24"}}}),
    observation("tm", effectiveTiming={"event": ["2013-03-20", "2013-03-10"]}),
    observation("y", effectiveDateTime="2013"),
    {"resourceType": "Patient", "id": "b1", "birthDate": "1980"},
    {"resourceType": "Patient", "id": "b2", "birthDate": "1980-02"},
    {"resourceType": "Patient", "id": "b3", "birthDate": "1980-02-29"},
    {"resourceType": "Patient", "id": "b4", "_birthDate": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]}},
]

EVERY = "d i m ms off p1 p2 p3 p4 t tb tm y"
FOUND = {
    "2013-03-14": {
        "": "d i ms off t",
        "eq": "d i ms off t",
        "ne": "m p1 p2 p3 p4 tb tm y",
        "gt": "m p1 p3 p4 tb tm y",
        "lt": "m p1 p2 p4 tb tm y",
        "ge": "d i m ms off p1 p3 p4 t tb tm y",
        "le": "d i m ms off p1 p2 p4 t tb tm y",
        "sa": "p3",
        "eb": "p2",
        "ap": EVERY,
    },
    "2013-03": {
        "": "d i m ms off p4 t tm",
        "eq": "d i m ms off p4 t tm",
        "ne": "p1 p2 p3 tb y",
        "gt": "p1 p3 y",
        "lt": "p1 p2 tb y",
        "ge": "d i m ms off p1 p3 p4 t tm y",
        "le": "d i m ms off p1 p2 p4 t tb tm y",
        "sa": "",
        "eb": "p2",
        "ap": EVERY,
    },
    "2013": {
        "": "d i m ms off p4 t tb tm y",
        "ne": "p1 p2 p3",
        "gt": "p1 p3",
        "lt": "p2",
        "ge": "d i m ms off p1 p3 p4 t tb tm y",
        "le": "d i m ms off p2 p4 t tb tm y",
        "sa": "",
        "eb": "",
    },
    "2013-03-14T10:00": {
        "": "ms t",
        "eq": "ms t",
        "ne": "d i m off p1 p2 p3 p4 tb tm y",
        "gt": "d i m off p1 p3 p4 tb tm y",
        "lt": "d m p1 p2 p4 tb tm y",
        "ge": "d i m ms off p1 p3 p4 t tb tm y",
        "le": "d m ms p1 p2 p4 t tb tm y",
        "sa": "i off p3",
        "eb": "p2",
    },
    "2013-03-14T10:00:00Z": {
        "": "ms t",
        "ne": "d i m off p1 p2 p3 p4 tb tm y",
        "gt": "d i m off p1 p3 p4 tb tm y",
        "lt": "d m p1 p2 p4 tb tm y",
        "sa": "i off p3",
        "eb": "p2",
    },
    "2013-03-14T10:00:00.500Z": {
        "": "ms",
        "gt": "d i m off p1 p3 p4 t tb tm y",
        "lt": "d m p1 p2 p4 t tb tm y",
        "sa": "i off p3",
        "eb": "p2",
    },
    "2013-03-15": {"": "", "sa": "", "eb": "d i ms off p2 t"},
    "2012": {"sa": "d i m ms off p1 p3 p4 t tb tm y", "gt": "d i m ms off p1 p2 p3 p4 t tb tm y", "lt": "p2"},
    "2014": {"eb": "d i m ms off p2 p4 t tb tm y", "": "", "gt": "p1 p3"},
    "2013-02": {"sa": "d i m ms off p3 p4 t tm", "": ""},
    "2013-04": {"eb": "d i m ms off p2 p4 t tb tm"},
    "2000": {"ap": "p2"},
}

BIRTHS = {
    "1980": "b1 b2 b3",
    "1980-02": "b2 b3",
    "1980-02-29": "b3",
    "1980-02-28": "",
    "1981": "",
    "ne1980": "",
    "ne1980-02": "b1",
    "ne1980-02-29": "b1 b2",
    "gt1980-02": "b1",
    "lt1980-02": "b1",
    "ge1980-02": "b1 b2 b3",
    "gt1980-02-29": "b1",
    "lt1980-02-29": "b1 b2",
    "le1980-02-29": "b1 b2 b3",
    "sa1980-01": "b2 b3",
    "sa1979": "b1 b2 b3",
    "eb1980-03": "b2 b3",
    "eb1981": "b1 b2 b3",
    "ap1980-02": "b1 b2 b3",
    "ap1850": "",
}

ROWS = [
    *((f"Observation?date={prefix}{text}", ids) for text, found in FOUND.items() for prefix, ids in found.items()),
    *((f"Patient?birthdate={text}", ids) for text, ids in BIRTHS.items()),
    # time zones
    ("Observation?date=2013-03-15T00:30:00%2B02:00", "off"),
    ("Observation?date=2013-03-14T22:30:00Z", "off"),
    ("Observation?date=2013-03-14T22:30:00%2B00:00", "off"),
    ("Observation?date=2013-03-14T17:30-05:00", "off"),
    ("Observation?date=2013-03-14T10:00Z", "ms t"),
    ("Observation?date=2013-03-14T11:00%2B01:00", "ms t"),
    ("Observation?date=2013-03-14T10%3A00", "ms t"),
    # or, and
    ("Observation?date=2013-03-14T10:00,2013-03-15T00:30:00%2B02:00", "ms off t"),
    ("Observation?date=eb2013-02,sa2013-03-14", "p2 p3"),
    ("Observation?date=ge2013-03-01&date=le2013-03-31", "d i m ms off p1 p3 p4 t tb tm y"),
    ("Observation?date=sa2013-03-14T10:00&date=eb2013-03-15", "i off"),
    ("Observation?date=lt2013-03-14&date=gt2013-03-14", "m p1 p4 tb tm y"),
    ("Observation?date=2013-03-14&date=ne2013-03-14T10:00", "d i off"),
    # :missing
    ("Observation?date:missing=true", "n"),
    ("Observation?date:missing=false", EVERY),
    ("Patient?birthdate:missing=true", "b4"),
]

REFUSED = [
    "Observation?date=2013-3",
    "Observation?date=2013-02-30",
    "Observation?date=2013-03-14T10",
    "Observation?date=xx2013",
    "Observation?date=tomorrow",
    "Observation?date=T10:00",
    "Observation?date=2013-03-14T25:00",
    "Observation?date:exact=2013",
    "Observation?date:not=2013",
    "Observation?date=2013,",
]

TABLE = Table(WORLD, ROWS, REFUSED)
