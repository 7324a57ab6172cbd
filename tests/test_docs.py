"""docs/validation.md keeps its word: its requests are sent, one after the other, and answered as it says below each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhirserver.fhir import json

if TYPE_CHECKING:
    from conftest import Fhir

DOCS = Path(__file__).parent.parent / "docs"
_block = re.compile(r"^```(http|json)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_examples_of_validation(fhir: Fhir) -> None:
    answer: Any = None
    asked = shown = 0
    for kind, text in _block.findall((DOCS / "validation.md").read_text()):
        if kind == "http":
            line, _, body = text.partition("\n\n")
            method, url = line.split(" ", 1)
            content = {"content": body.rstrip("\n").encode()} if body else {}
            headers = {"Content-Type": "application/fhir+json"}
            answer = fhir.request(method, url.removeprefix("[base]/"), headers=headers, **content)
            asked += 1
        else:
            wanted, shown = json.decode(text.encode()), shown + 1
            held = [wanted.items() <= each.items() for each in answer.json().get("issue", [answer.json()])]
            assert any(held), f"{text}\nis not in\n{answer.text}"
    assert (asked, shown) >= (4, 3)
