"""What boards cost by lines, seeds and patients, and what the next run costs once a board is cached, in CPU seconds.

python docs/bench_boards.py                      lines 10, 100, 1,000; seeds 10, 40, 100, 1,000
python docs/bench_boards.py --lines 10,100

A cohort of 400 patients in five folds, one thread. `first`: everything is computed; `again`: nothing changed; `one
more`: a line was added.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from harness import head, line, one_thread, took

one_thread()

from milsurv.leaderboards.cache.store import Cache  # noqa: E402  # threads are set before numpy is imported
from milsurv.leaderboards.publish import publish  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import leaderboard_rows as made  # noqa: E402


def main() -> None:
    """Print a line of a Markdown table per board."""
    parser = argparse.ArgumentParser(description="What boards cost.")
    parser.add_argument("--lines", default="10,100,1000")
    parser.add_argument("--seeds", default="10,40,100,1000")
    parser.add_argument("--patients", type=int, default=400)
    asked = parser.parse_args()
    head("board", "first", "again", "one more", "MiB of pages")
    for number in numbers(asked.lines):
        measure(f"{number:,} lines of one seed", number, 1, asked.patients)
    for number in numbers(asked.seeds):
        measure(f"2 lines of {number:,} seeds", 2, number, asked.patients)


def numbers(text: str) -> list[int]:
    """Comma-separated numbers."""
    return [int(word) for word in text.split(",") if word]


def measure(title: str, lines: int, seeds: int, patients: int) -> None:
    """Make a folder of results, and render it three times."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name), Cache(Path(name) / "cache")
        for number in range(lines):
            add(folder, number, seeds, patients)
        seconds = [took(lambda: publish(folder, folder / "board", cache)) for _ in range(2)]
        add(folder, lines, 1 if lines > 2 else seeds, patients)
        seconds.append(took(lambda: publish(folder, folder / "board", cache)))
        size = sum(path.stat().st_size for path in (folder / "board").iterdir())
    line(title, *(f"{one:.1f} s" for one in seconds), f"{size / 2**20:.1f}")


def add(folder: Path, number: int, seeds: int, patients: int) -> None:
    """Write the results of one line: experiments that differ in the seed."""
    for seed in range(seeds):
        skill = 0.05 + 0.1 * (number * 37 % 101) / 101
        rows = made.experiment(
            skill, model=f"model-{number:04d}", seed=seed, n_test=patients // 5, patients=patients, events=patients // 2
        )
        table = made.predictions(rows, patients, 5 * skill, noise=1000 * number + seed)
        made.write(folder, made.agreeing(rows, table), table)


if __name__ == "__main__":
    main()
