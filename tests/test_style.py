"""docs/style.md keeps its word: its good blocks run, and the house keeps to its names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "style.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_good_blocks_run(number):
    exec(compile(BLOCKS[number], f"docs/style.md, good block {number + 1}", "exec"), {"__name__": "style"})


def test_there_are_good_blocks():
    assert len(BLOCKS) > 8


def test_no_file_is_named_after_nothing():
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "managers", "services", "models"}
    files = [path for room in ("fhirserver", "smart_auth", "terminology") for path in (ROOT / room).rglob("*.py")]
    assert [p for p in files if p.stem in empty] == []
