"""A tab of a real Chromium that fails its test on errors of scripts and on what the
policy of the page blocked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""


@contextmanager
def tab(browser: Browser, width: int = 1280, height: int = 900, *, dark: bool = False) -> Iterator[Page]:
    """A fresh page; whatever its policy blocked, or a script of it failed at, fails the test."""
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
    page.add_init_script(WATCH)
    yield page
    assert errors == []
    assert page.evaluate("window.violations") == []
    page.close()
