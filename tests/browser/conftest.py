"""A phone with Chromium on it, for pages that people see. CHROMIUM names the program, where it is not on the PATH."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "auth"))  # people and their accounts

AXE = Path(__file__).parent.parent / "js" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
Phone = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("there is no Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def phone(chromium: Browser) -> Iterator[Phone]:
    """Pages in contexts of their own; what the browser complains about is a failure."""
    complaints: list[str] = []
    pages: list[Page] = []

    def opened(dark: bool = False) -> Page:
        scheme = "dark" if dark else "light"
        page = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.context.close()
    assert complaints == []


def looked_at(page: Page, title: str) -> None:
    """The page is the one that is meant, fits the phone, and can be used by everybody (axe: WCAG 2 A and AA)."""
    assert page.inner_text("h1") == title
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{title} is wider than the phone"
    if AXE.exists():
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, ...v.nodes.map(n => n.html)]))")
        assert found == [], title
