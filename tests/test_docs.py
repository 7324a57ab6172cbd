"""The pages keep their word: links and settings are there; what docs/validation.md asks is answered as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fhirserver.fhir import json
from fhirserver.settings import PREFIX, Settings

if TYPE_CHECKING:
    from conftest import Fhir

HOUSE = Path(__file__).parent.parent
DOCS = HOUSE / "docs"
PAGES = sorted([*HOUSE.glob("*.md"), *DOCS.rglob("*.md"), HOUSE / "benchmarks" / "README.md"])
_block = re.compile(r"^```(http|json)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOUSE)))
def test_links_and_settings_are_there(page: Path) -> None:
    text = page.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = {name.lower() for name in re.findall(rf"\b{PREFIX}([A-Z0-9_]+)\b", text)}
    assert named <= {*Settings.model_fields}


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"^\| \[\d{4}\]\((.+?)\)", (DOCS / "adr" / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.name for path in (DOCS / "adr").glob("0*.md"))


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
