"""What is asked of every page that people see."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).parent.parent / "js" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
Phone = Callable[..., Page]


def looked_at(page: Page, title: str) -> None:
    """The page is the one that is meant, fits the phone, and can be used by everybody (axe: WCAG 2 A and AA)."""
    assert page.inner_text("h1") == title
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{title} is wider than the phone"
    assert AXE.exists(), "run `npm ci` in tests/js first; `make test` does"
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, ...v.nodes.map(n => n.html)]))")
    assert found == [], title
