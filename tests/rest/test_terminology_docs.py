"""docs/terminology.md keeps its word: its requests are made as they stand, and answered as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Fhir, Serve

PAGE = Path(__file__).parent.parent.parent / "docs" / "terminology.md"
EXAMPLE = re.compile(r"^```http\n(.*?)^```\n(?:\n```json\n(.*?)^```)?", re.DOTALL | re.MULTILINE)


def made(fhir: Fhir, request: str) -> Any:
    head, _, body = request.partition("\n\n")
    method, url = head.split()
    answer = fhir.request(method, url.replace("[base]", fhir.base_url), **({"json": json.loads(body)} if body else {}))
    assert answer.is_success, (head, answer.text)
    return answer.json()


def shows(found: Any, expected: Any) -> bool:
    """Whether an answer has all of this; in lists in this order, with others between."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            name in found and shows(found[name], expected[name]) for name in expected
        )
    if isinstance(expected, list):
        ahead = iter(found)
        return all(any(shows(each, wanted) for each in ahead) for wanted in expected)
    return bool(found == expected)


def test_the_examples_are_answered_as_the_page_says(serve: Serve) -> None:
    fhir = serve().client
    examples = EXAMPLE.findall(PAGE.read_text())
    assert len(examples) > 12
    for request, expected in examples:
        answer = made(fhir, request)
        if expected:
            assert shows(answer, json.loads(expected)), (request, json.dumps(answer, ensure_ascii=False)[:2000])


def test_a_wrong_answer_would_be_seen() -> None:
    assert shows({"a": [1, 2, {"b": 3}]}, {"a": [1, {"b": 3}]})
    assert not shows({"a": [1, 2]}, {"a": [2, 1]})
    assert not shows({"a": 1}, {"a": 2})
    assert not shows({}, {"a": 1})
