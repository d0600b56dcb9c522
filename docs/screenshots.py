"""Pictures of a leaderboard for these pages: python docs/screenshots.py leaderboard.html COHORT LINE docs/images

COHORT and LINE are addresses on the page (`blca`, `blca/mcat-3f2a9c1b7d`). Needs Debian's chromium.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PHONE, DESKTOP = (390, 844), (1400, 900)
SHOTS = (  # file, which address, size, theme, pixels a point
    ("board.png", "cohort", DESKTOP, "light", 1),
    ("board-dark.png", "cohort", DESKTOP, "dark", 1),
    ("line.png", "line", DESKTOP, "light", 1),
    ("phone-light.png", "cohort", PHONE, "light", 2),
    ("phone-dark.png", "line", PHONE, "dark", 2),
)


def main(page: Path, cohort: str, line: str, out: Path) -> None:
    """Take all pictures of the page."""
    program = shutil.which("chromium")
    with sync_playwright() as drive:
        browser = drive.chromium.launch(executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"])
        for name, which, (width, height), theme, scale in SHOTS:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=theme, device_scale_factor=scale
            )
            tab = context.new_page()
            tab.goto(f"file://{page.resolve()}#{cohort if which == 'cohort' else line}", timeout=120_000)
            tab.wait_for_selector(".opened" if which == "line" else "html.js")
            tab.wait_for_timeout(500)
            tab.screenshot(path=out / name)
            context.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
