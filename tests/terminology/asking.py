"""Questions to a terminology server, and the command that loads a release."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from click.testing import Result

if TYPE_CHECKING:
    from conftest import Fhir

SNOMED = "http://snomed.info/sct"
Load = Callable[..., Result]


def named(answer: dict[str, Any], name: str) -> list[Any]:
    """The values of the parameters with a name."""
    found = [each for each in answer["parameter"] if each["name"] == name]
    return [each.get("part") or next(value for key, value in each.items() if key.startswith("value")) for each in found]


def looked_up(fhir: Fhir, code: str, system: str = SNOMED, **more: str) -> dict[str, Any]:
    answer = fhir.get("CodeSystem/$lookup", params={"system": system, "code": code} | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def properties(answer: dict[str, Any]) -> set[tuple[str, Any]]:
    found = set()
    for part in named(answer, "property"):
        code, value = (next(v for k, v in each.items() if k.startswith("value")) for each in part[:2])
        found.add((code, value["code"] if isinstance(value, dict) else value))
    return found


def filtered(fhir: Fhir, *filters: tuple[str, str, str], system: str = SNOMED, **wanted: Any) -> list[str]:
    include: dict[str, Any] = {"system": system}
    if filters:
        include["filter"] = [dict(zip(("property", "op", "value"), each, strict=True)) for each in filters]
    value_set = {"resourceType": "ValueSet", "status": "active", "compose": {"include": [include]}}
    parameters = [{"name": "valueSet", "resource": value_set}]
    parameters += [{"name": name, f"value{type_}": value} for name, (type_, value) in wanted.items()]
    answer = fhir.post("ValueSet/$expand", {"resourceType": "Parameters", "parameter": parameters})
    assert answer.status_code == 200, answer.text
    return [each["code"] for each in answer.json()["expansion"].get("contains", [])]
