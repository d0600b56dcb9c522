"""Debian's chromium, driven by Playwright, for the tests of the page."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE, DESKTOP = (390, 844), (1400, 900)


@contextlib.contextmanager
def chromium() -> Iterator[object]:
    """A browser; the test is skipped, with the reason, where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with playwright.sync_playwright() as drive:
        browser = drive.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, path: Path, address="", size=DESKTOP, theme="light", grants=("clipboard-read", "clipboard-write")):
    """The page at `path`, with `requests` and `mistakes` (uncaught errors and messages of the console) on it."""
    context = browser.new_context(viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=theme)
    context.grant_permissions(list(grants))
    page = context.new_page()
    page.requests, page.mistakes = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("pageerror", lambda error: page.mistakes.append(str(error)))
    page.on("console", lambda message: page.mistakes.append(message.text))
    page.goto(f"file://{path}{address}")
    page.wait_for_selector("html.js")
    yield page
    context.close()
