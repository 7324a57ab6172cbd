"""A phone with Chromium on it, for pages that people see. CHROMIUM names the program, where it is not on the PATH."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from looking import PROGRAM, Phone
from playwright.sync_api import Browser, Page, sync_playwright


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
