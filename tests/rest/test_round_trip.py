"""Every official example that is valid goes in and comes back the same, as JSON and as XML."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

import pytest
from conftest import SHARED

from fhirserver.fhir import json

EXAMPLES = SHARED / "data" / "examples-r4.tar.xz"
XML = {"Content-Type": "application/fhir+xml"}
JSON = {"Content-Type": "application/fhir+json"}


def examples() -> Iterator[tuple[str, bytes]]:
    with tarfile.open(EXAMPLES) as archive:
        for member in archive:
            if content := archive.extractfile(member):
                yield member.name, content.read()


def same(left: dict, right: dict) -> bool:
    """Equal to the last digit of every decimal, but for what the server owns."""

    def bare(resource: dict) -> bytes:
        meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
        kept = {k: v for k, v in resource.items() if k != "meta"} | ({"meta": meta} if meta else {})
        return json.encode(kept, order="sorted")

    return bare(left) == bare(right)


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the official examples are not beside the repository")
def test_official_examples_survive_json_and_xml(fhir):
    stored, refused, changed = 0, [], []
    for name, content in examples():
        resource = json.resource(content)
        type_ = resource["resourceType"]
        resource.setdefault("id", f"given-{stored}")
        path = f"{type_}/{resource['id']}"
        answer = fhir.request("PUT", path, content=json.encode(resource), headers=JSON)
        if answer.status_code not in (200, 201):
            refused.append(name)
            continue
        stored += 1
        if not same(json.resource(fhir.get(path).content), resource):
            changed.append(f"{name} as JSON")
        xml = fhir.get(path, headers={"Accept": "application/fhir+xml"})
        again = fhir.request("PUT", path, content=xml.content, headers=XML)
        if again.status_code != 200 or not same(json.resource(fhir.get(path).content), resource):
            changed.append(f"{name} as XML: {again.text[:300]}")
    assert changed == []
    assert len(refused) == 5, refused
    assert stored == 706
