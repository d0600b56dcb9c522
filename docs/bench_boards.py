"""What boards cost by lines, seeds and experiments, and what the next run costs once a board is cached, in CPU seconds.

python docs/bench_boards.py                      lines and experiments 10, 100, 1,000; experiments 3,000, too
python docs/bench_boards.py --lines 10,100 --experiments "" --seeds ""

One thread. `first`: everything is computed; `again`: nothing changed; `one more`: a line (or experiment) was added.
Lines and seeds are one cohort of 400 patients in five folds; experiments are baselines of ten seeds on ten cohorts.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import head, line, one_thread, took

one_thread()

from milsurv.leaderboards.cache.store import Cache  # noqa: E402  # threads are set before numpy is imported
from milsurv.leaderboards.publish import publish  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import leaderboard_rows as made  # noqa: E402


@dataclass(frozen=True)
class Line:
    """A line: its place among others, its seeds, and the patients of its cohort."""

    number: int
    seeds: int = 1
    patients: int = 400
    cohort: str = "blca"
    family: str = "single-scale"

    def write(self, folder: Path) -> None:
        """Write its experiments, which differ in the seed."""
        n, skill = self.patients, 0.05 + 0.1 * (self.number * 37 % 101) / 101
        whom = {"cohort": self.cohort, "patients": n, "events": n // 2, "n_test": n // 5}
        for seed in range(self.seeds):
            rows = made.experiment(skill, model=f"model-{self.number:04d}", seed=seed, family=self.family, **whom)
            table = made.predictions(rows, n, 5 * skill, noise=1000 * self.number + seed)
            made.write(folder, made.agreeing(rows, table), table)


def main() -> None:
    """Print a line of a Markdown table per board, and per folder of experiments."""
    parser = argparse.ArgumentParser(description="What boards cost.")
    parser.add_argument("--lines", default="10,100,1000")
    parser.add_argument("--seeds", default="10,40,100")
    parser.add_argument("--experiments", default="10,100,1000,3000")
    parser.add_argument("--patients", type=int, default=400)
    asked = parser.parse_args()
    head("board", "first", "again", "one more", "MiB of pages")
    for number in numbers(asked.lines):
        lines = [Line(at, 1, asked.patients) for at in range(number + 1)]
        measure(f"{number:,} lines of one seed", lines[:-1], lines[-1])
    for number in numbers(asked.seeds):
        lines = [Line(at, number, asked.patients) for at in range(2)]
        measure(f"2 lines of {number:,} seeds", lines, Line(2, 1, asked.patients))
    for number in numbers(asked.experiments):
        lines = [baseline(at, 10) for at in range(number // 10)]
        measure(f"{number:,} experiments", lines, baseline(len(lines), 1))


def baseline(number: int, seeds: int) -> Line:
    """One of the lines of ten cohorts of 100 patients."""
    return Line(number, seeds, 100, f"cohort-{number % 10}", "control")


def numbers(text: str) -> list[int]:
    """Comma-separated numbers."""
    return [int(word) for word in text.split(",") if word]


def measure(title: str, lines: Sequence[Line], added: Line) -> None:
    """Make a folder of results, and render it three times."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name), Cache(Path(name) / "cache")
        for one in lines:
            one.write(folder)
        seconds = [took(lambda: publish(folder, folder / "board", cache)) for _ in range(2)]
        added.write(folder)
        seconds.append(took(lambda: publish(folder, folder / "board", cache)))
        size = sum(path.stat().st_size for path in (folder / "board").iterdir())
    line(title, *(f"{one:.1f} s" for one in seconds), f"{size / 2**20:.1f}")


if __name__ == "__main__":
    main()
