"""https://hl7.org/fhir/R4/search.html#uri"""

from __future__ import annotations

from . import Resource, Table


def value_set(id_: str, url: str | None, version: str | None = None) -> Resource:
    found = {"resourceType": "ValueSet", "id": id_, "status": "draft"}
    return found | ({"url": url} if url else {}) | ({"version": version} if version else {})


def capability(id_: str, *canonicals: str) -> Resource:
    return {
        "resourceType": "CapabilityStatement",
        "id": id_,
        "status": "draft",
        "date": "2024",
        "kind": "requirements",
        "description": "x",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "instantiates": [*canonicals],
        "implementationGuide": [*canonicals],
        "rest": [{"mode": "server"}],
    }


ACME = "http://acme.org/fhir/ValueSet"
WORLD = [
    value_set("v1", f"{ACME}/123", "1.0"),
    value_set("v2", f"{ACME}/124,125"),
    value_set("v3", "urn:oid:1.2.3.4.5"),
    value_set("v4", "http://acme.org/fhir/valueset/123"),
    value_set("v5", None),
    value_set("v6", f"{ACME}/123/4"),
    value_set("v7", "http://acme.org/fhir/Gr%C3%B6%C3%9Fe"),
    value_set("v8", "http://acme.org/a?b=c&d=e"),
    value_set("v9", f"{ACME}/123", "2.0"),
    capability("c1", "http://acme.org/guide|1.0"),
    capability("c2", "http://acme.org/guide|2.0"),
]

ROWS = [
    (f"ValueSet?url={ACME}/123", "v1 v9"),
    (f"ValueSet?url={ACME}/12", ""),
    (f"ValueSet?url={ACME}/123/", ""),
    (f"ValueSet?url={ACME}/123/4", "v6"),
    (f"ValueSet?url={ACME.upper()}/123", ""),
    ("ValueSet?url=http://acme.org/fhir/valueset/123", "v4"),
    ("ValueSet?url=urn:oid:1.2.3.4.5", "v3"),
    ("ValueSet?url=URN:OID:1.2.3.4.5", ""),
    ("ValueSet?url=urn:oid:1.2.3.4", ""),
    ("ValueSet?url=http%3A%2F%2Facme.org%2Ffhir%2FValueSet%2F123", "v1 v9"),
    ("ValueSet?url=http://acme.org/fhir/Gr%25C3%25B6%25C3%259Fe", "v7"),
    ("ValueSet?url=http://acme.org/fhir/Gr%C3%B6%C3%9Fe", ""),
    ("ValueSet?url=http://acme.org/a?b=c%26d=e", "v8"),
    (rf"ValueSet?url={ACME}/124\,125", "v2"),
    (rf"ValueSet?url={ACME}/124%5C%2C125", "v2"),
    (f"ValueSet?url={ACME}/124,125", ""),
    (f"ValueSet?url={ACME}/123,urn:oid:1.2.3.4.5", "v1 v3 v9"),
    (rf"ValueSet?url={ACME}/124\,125,{ACME}/123/4", "v2 v6"),
    (f"ValueSet?url={ACME}/123&version=1.0", "v1"),
    (f"ValueSet?url={ACME}/123&url=urn:oid:1.2.3.4.5", ""),
    ("ValueSet?url:below=http://acme.org/fhir/", "v1 v2 v4 v6 v7 v9"),
    (f"ValueSet?url:below={ACME}", "v1 v2 v6 v9"),
    (f"ValueSet?url:below={ACME}/123", "v1 v6 v9"),
    ("ValueSet?url:below=http://acme.org/nothing", ""),
    (f"ValueSet?url:above={ACME}/123/4", "v1 v6 v9"),
    (f"ValueSet?url:above={ACME}/123/_history/5", "v1 v9"),
    ("ValueSet?url:missing=true", "v5"),
    ("ValueSet?url:missing=false", "v1 v2 v3 v4 v6 v7 v8 v9"),
    ("CapabilityStatement?guide=http://acme.org/guide", "c1 c2"),
    ("CapabilityStatement?guide=http://acme.org/guide|2.0", "c2"),
    ("CapabilityStatement?guide=http://acme.org/guide|3.0", ""),
]

REFUSED = [
    "ValueSet?url:below=urn:oid:1.2.3.4.5",
    "ValueSet?url:exact=http://acme.org",
    "ValueSet?url:contains=acme",
    "ValueSet?url:not=http://acme.org",
    f"ValueSet?url={ACME},",
]

TABLE = Table(WORLD, ROWS, REFUSED)
