"""The picture of a terminal for the README: python docs/terminal.py "bench run …" docs/images/terminal.png

Runs the command where it is called (a finished one only prints again) and draws what it says after its notes. Needs
Debian's chromium.
"""

import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

WIDTH = 118  # letters


def main(command: str, out: Path) -> None:
    """Run it and draw it."""
    env = {**os.environ, "COLUMNS": str(WIDTH)}  # no terminal: no progress is drawn
    done = subprocess.run(
        shlex.split(command), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(f"[bold green]$[/] {command}")
    for line in map(Text, done.stdout.splitlines()):
        if not line.plain.startswith("note"):
            console.print(line, soft_wrap=True)
    with sync_playwright() as drive:
        browser = drive.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content(console.export_svg(title="bench run"))
        page.locator("svg").screenshot(path=out, omit_background=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
