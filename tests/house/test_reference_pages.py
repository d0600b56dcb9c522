"""The tables of the row and of the metrics follow from the code."""

import subprocess
import sys

from checkout import ROOT
from milsurv.leaderboards.result_row import fixed_fields
from milsurv.survival.metrics import METRICS

DOCS = ROOT / "docs"


def names(page: str, table: str) -> list[str]:
    """The first cells of a table that is written by a script."""
    text = (DOCS / page).read_text(encoding="utf-8")
    body = text.partition(f"<!-- {table}: ")[2].partition(f"<!-- end of {table} -->")[0]
    return [line.split("|")[1].strip(" `") for line in body.splitlines() if line.startswith("| `")]


def test_the_pages_follow_the_row_and_the_metrics():
    done = subprocess.run([sys.executable, DOCS / "write_reference.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_field_of_a_row_is_explained():
    assert names("row.md", "fields") == list(fixed_fields())


def test_every_metric_is_listed():
    assert names("protocol.md", "metrics") == list(METRICS)
