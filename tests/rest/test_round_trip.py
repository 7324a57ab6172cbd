"""Every official example that is valid goes in and comes back the same, as JSON and as XML."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from lxml import etree
from official import EXAMPLES, beside, examples

from fhirserver.fhir import json

# why each is broken: tests/validation/test_valid_examples.py
BROKEN = (
    "ActivityDefinition/blood-tubes-supply",
    "ActivityDefinition/heart-valve-replacement",
    "Bundle/10bb101f-a121-4264-a920-67be9cb82c74",
    "Bundle/3a0707d3-549e-4467-b8b8-5a2ab3800efe",
    "Bundle/lri-example",
    "EventDefinition/example",
    "Questionnaire/zika-virus-exposure-assessment",
    "DeviceMetric/example",
    "DeviceUseStatement/example",
    "MedicationRequest/medrx0301",
    "Observation/clinical-gender",
    "Questionnaire/qs1",
)
SORTED = msgspec.json.Encoder(decimal_format="number", order="sorted")
XML = {"Content-Type": "application/fhir+xml"}
AS_JSON = {"Accept": "application/fhir+json"}
JSON = {"Content-Type": "application/fhir+json"}


def same(left: dict, right: dict) -> bool:
    """Equal to the last digit of every decimal, but for what the server owns."""

    def bare(resource: dict) -> bytes:
        meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
        kept = {k: v for k, v in resource.items() if k != "meta"} | ({"meta": meta} if meta else {})
        return SORTED.encode(canonical(kept))

    return bare(left) == bare(right)


def canonical(node: Any) -> Any:
    """Narratives as canonical XML: quotes and entities may be written in several ways."""
    if isinstance(node, list):
        return [canonical(child) for child in node]
    if not isinstance(node, dict):
        return node
    out = {key: canonical(value) for key, value in node.items()}
    if isinstance(div := out.get("div"), str):
        out["div"] = etree.tostring(etree.fromstring(div), method="c14n").decode()
    return out


@beside(EXAMPLES)
def test_official_examples_survive_json_and_xml(fhir):
    def attempt(example: tuple[str, bytes]) -> str | None:
        name, content = example
        resource = json.resource(content)
        resource.setdefault("id", name)
        path = f"{resource['resourceType']}/{resource['id']}"
        answer = fhir.request("PUT", path, content=json.encode(resource), headers=JSON)
        if answer.status_code not in (200, 201):
            return f"{path} is refused"
        if not same(json.resource(fhir.get(path, headers=AS_JSON).content), resource):
            return f"{path} comes back changed in JSON"
        xml = fhir.get(path, headers={"Accept": "application/fhir+xml"})
        again = fhir.request("PUT", path, content=xml.content, headers=XML)
        if again.status_code != 200 or not same(json.resource(fhir.get(path, headers=AS_JSON).content), resource):
            return f"{path} comes back changed in XML: {again.text[:300]}"
        return None

    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(attempt, examples().items()))
    assert len(verdicts) == 711
    assert {verdict for verdict in verdicts if verdict} == {f"{broken} is refused" for broken in BROKEN}
