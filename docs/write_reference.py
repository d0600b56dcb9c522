"""Write what follows from the code: tables of row.md, protocol.md and planted.md, and what `bench list` shows at once.

python docs/write_reference.py            write
python docs/write_reference.py --check    exit with status 1 if a page does not follow
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import get_args, get_type_hints

from milsurv.benchmark.catalogue import LISTED, dials, loss_row, model_row
from milsurv.benchmark.training.losses import LOSSES
from milsurv.leaderboards.result_row import ResultRow, fixed_fields
from milsurv.models.registry import specs
from milsurv.survival.metric import NEEDS
from milsurv.survival.metrics import METRICS

DOCS = Path(__file__).resolve().parent
TYPES = {str: "text", int: "integer", float: "number", bool: "true or false"}


def row_fields() -> Iterable[tuple[str, ...]]:
    """Every field of a row that is no metric: name, what it holds, what it means."""
    attributes = (inspect.getdoc(ResultRow) or "").partition("Attributes\n----------\n")[2]
    meaning = {name: " ".join(text.split()) for name, text in re.findall(r"^(\w+)\n((?: {4}.+\n?)+)", attributes, re.M)}
    hints = get_type_hints(ResultRow)
    for name in fixed_fields():
        kinds = [kind for kind in get_args(hints[name]) or (hints[name],) if kind is not NoneType]
        kind = TYPES.get(kinds[0], "text")
        yield f"`{name}`", f"{kind} or null" if NoneType in get_args(hints[name]) else kind, meaning[name]


def metrics() -> Iterable[tuple[str, ...]]:
    """Every metric: name, title, direction, range, what it needs besides risks."""
    for metric in METRICS.values():
        low, high = metric.bounds
        needs = ", ".join(NEEDS[need] for need in metric.needs)
        better = "higher" if metric.higher_is_better else "lower"
        yield f"`{metric.name}`", metric.title, better, f"{low:g} to {high:g}", needs


def table(head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    head = list(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def pages() -> dict[Path, str]:
    """The pages and the list, as they follow from the code."""
    tables = {
        ("row.md", "fields"): table(("field", "holds", "meaning"), row_fields()),
        ("planted.md", "dials"): table(
            ("dial", "sets", "values", "default", "cohorts"),
            (
                (f"`{row['name']}`", *(str(row[key]) for key in ("sets", "values", "default", "cohorts")))
                for row in dials()
            ),
        ),
        ("protocol.md", "metrics"): table(("name", "metric", "better", "range", "needs, besides risks"), metrics()),
    }
    written = {}
    for (page, what), text in tables.items():
        start, end = f"<!-- {what}: written by docs/write_reference.py -->", f"<!-- end of {what} -->"
        before, _, rest = (DOCS / page).read_text().partition(start)
        written[DOCS / page] = f"{before}{start}\n{text}\n{end}{rest.partition(end)[2]}"
    listed = {"models": [model_row(spec) for spec in specs()], "losses": [loss_row(loss) for loss in LOSSES.values()]}
    return written | {LISTED: json.dumps(listed, indent=1, ensure_ascii=False) + "\n"}


def main() -> None:
    """Write the pages, or say which do not follow."""
    parser = argparse.ArgumentParser(description="What follows from the code.")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = {path: text for path, text in pages().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        print(f"{'does not follow the code' if check else 'written'}: {path.name}")
        if not check:
            path.write_text(text)
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
