"""The parameters of every resource. https://hl7.org/fhir/R4/search.html#all"""

from __future__ import annotations

from typing import Any

from . import Resource, Table, coding


def basic(id_: str, **meta: Any) -> Resource:
    return {"resourceType": "Basic", "id": id_, "code": {"text": "x"}} | ({"meta": meta} if meta else {})


LABELS = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
PROFILE = "http://hl7.org/fhir/StructureDefinition/lipid"
WORLD = [
    basic("a", tag=[coding("http://acme.org/codes", "needs-review", "Needs review")], profile=[PROFILE]),
    basic("A", security=[coding(LABELS, "R", "restricted")], source="http://acme.org/feed#17"),
    basic("b", tag=[coding(None, "needs-review"), coding("http://acme.org/codes", "done")], profile=[f"{PROFILE}|2.0"]),
    basic("c.1-x", security=[coding(LABELS, "R"), coding(LABELS, "N")], source="http://acme.org/feed"),
    basic("d"),
]

ROWS = [
    ("Basic?_id=a", "a"),
    ("Basic?_id=A", "A"),
    ("Basic?_id=c.1-x", "c.1-x"),
    ("Basic?_id=a,d,nobody", "a d"),
    ("Basic?_id=a&_id=b", ""),
    ("Basic?_id=a,b&_id=b,d", "b"),
    ("Basic?_id=nobody", ""),
    ("Basic?_lastUpdated=gt2010-10-01", "A a b c.1-x d"),
    ("Basic?_lastUpdated=lt2010-10-01", ""),
    ("Basic?_lastUpdated=ge2010&_lastUpdated=le2999", "A a b c.1-x d"),
    ("Basic?_lastUpdated=2010", ""),
    ("Basic?_lastUpdated=ne2010", "A a b c.1-x d"),
    ("Basic?_lastUpdated=sa2010", "A a b c.1-x d"),
    ("Basic?_lastUpdated=eb2010-05", ""),
    ("Basic?_lastUpdated=eb2999&_id=a", "a"),
    ("Basic?_tag=needs-review", "a b"),
    ("Basic?_tag=http://acme.org/codes|needs-review", "a"),
    ("Basic?_tag=|needs-review", "b"),
    ("Basic?_tag=http://acme.org/codes|", "a b"),
    ("Basic?_tag=needs-review&_tag=done", "b"),
    ("Basic?_tag=done,nothing", "b"),
    ("Basic?_tag:not=needs-review", "A c.1-x d"),
    ("Basic?_tag:missing=true", "A c.1-x d"),
    ("Basic?_tag:missing=false", "a b"),
    ("Basic?_tag:text=needs", "a"),
    (f"Basic?_profile={PROFILE}", "a b"),
    (f"Basic?_profile={PROFILE}|2.0", "b"),
    (f"Basic?_profile={PROFILE}|3.0", ""),
    ("Basic?_profile=http://hl7.org/fhir/StructureDefinition/other", ""),
    ("Basic?_profile:missing=true", "A c.1-x d"),
    ("Basic?_security=R", "A c.1-x"),
    (f"Basic?_security={LABELS}|N", "c.1-x"),
    (f"Basic?_security={LABELS}|R&_security=N", "c.1-x"),
    ("Basic?_security:not=R", "a b d"),
    ("Basic?_security:text=restricted", "A"),
    ("Basic?_source=http://acme.org/feed", "c.1-x"),
    ("Basic?_source=http://acme.org/feed%2317", "A"),
    ("Basic?_source=http://acme.org", ""),
    ("Basic?_source:missing=true", "a b d"),
]

REFUSED = [
    "Basic?_lastUpdated=recently",
    "Basic?_lastUpdated=zz2020",
    "Basic?_id:exact=a",
    "Basic?_tag=a|b|c",
    "Basic?_security:exact=R",
    "Basic?_lastUpdated:not=2020",
]

TABLE = Table(WORLD, ROWS, REFUSED)
