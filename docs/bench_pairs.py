"""How long a board with many lines takes to gather and compare, on one core.

`OMP_NUM_THREADS=1 python docs/bench_pairs.py 60 400` draws a board for each number of lines, with 400 patients in
five folds, and prints CPU seconds.
"""

import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported, or it has no effect

import importlib.util  # noqa: E402  # the environment comes first
import tempfile  # noqa: E402
import time as clock  # noqa: E402
from dataclasses import replace  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402

from milsurv.leaderboards.publish import gather, write  # noqa: E402
from milsurv.leaderboards.ranking.comparisons import with_evidence  # noqa: E402

_spec = importlib.util.spec_from_file_location("made", Path(__file__).parents[1] / "tests" / "leaderboard_rows.py")
assert _spec is not None and _spec.loader is not None
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


def main() -> None:
    """Print one line of a Markdown table per number of lines."""
    print("| lines | pairs | gather | compare | pages |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for lines in map(int, sys.argv[1:] or ("60", "400")):
        with tempfile.TemporaryDirectory() as folder:
            for number in range(lines):
                skill = 0.05 + 0.12 * number / lines
                rows = make.experiment(skill, model=f"model-{number:03d}", n_test=80, patients=400, events=160)
                table = make.predictions(rows, 400, 5 * skill, noise=number)
                make.write(Path(folder), make.agreeing(rows, table), table)
            marks = [clock.process_time()]
            found = gather(Path(folder), evidence=False)
            marks.append(clock.process_time())
            boards = with_evidence(found.boards, found.predictions)
            marks.append(clock.process_time())
            write(replace(found, boards=boards), Path(folder) / "pages")
            marks.append(clock.process_time())
        took = " | ".join(f"{after - before:.1f} s" for before, after in pairwise(marks))
        print(f"| {lines} | {lines * (lines - 1) // 2:,} | {took} |", flush=True)


if __name__ == "__main__":
    main()
