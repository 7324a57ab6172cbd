"""What is asked of every page that people see."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, ViewportSize

AXE = Path(__file__).parent.parent / "js" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
RUN = "axe.run().then(r => r.violations.map(v => [v.id, ...v.nodes.map(n => n.html)]))"
Phone = Callable[..., Page]


def looked_at(page: Page, title: str) -> None:
    """The page is the one that is meant, fits the phone, and can be used by everybody, there and on a desktop.

    axe asks for WCAG 2 A and AA, and for what its makers hold to be good practice: https://www.deque.com/axe/
    """
    assert page.inner_text("h1") == title
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{title} is wider than the phone"
    assert AXE.exists(), "run `npm ci` in tests/js first; `make test` does"
    page.evaluate(AXE.read_text())
    found = page.evaluate(RUN)
    assert found == [], f"{title}: {found}"
    if (phone := page.viewport_size) is not None:
        page.set_viewport_size(DESKTOP)
        found = page.evaluate(RUN)
        assert found == [], f"{title}, on a desktop: {found}"
        page.set_viewport_size(phone)
