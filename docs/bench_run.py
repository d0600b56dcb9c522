"""What a command takes beyond training: start, reading, scoring, weights, log, board. Wall time, for it waits.

    python docs/bench_run.py                     # some eight minutes on two idle cores

Each command runs in a folder of its own, in one process: everything kept and logged, and nothing, in turn. `training`
is what its folds say: training with validation, and the prediction of the test fold. `weights` is the time in which the
weights of one fold are packed, written and made sure to be on the disk, over that of its training.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import milsurv
from harness import head, line, took
from milsurv.benchmark.results.weights import weights_file
from milsurv.files import write_whole

COMMANDS = {
    "README's first": ("crossfusion", "brca", "--features", "synthetic"),
    "small": ("abmil", "blca", "--features", "synthetic", "--patients", "60", "--folds", "3"),
    "planted": ("transmil", "planted-fine", "--patients", "300", "--folds", "3"),
}
NOTHING = ("--tracking", "none", "--keep-weights", "none", "--checkpoint-every", "never")
ROUNDS = 2


def run(command: tuple[str, ...], more: tuple[str, ...]) -> tuple[float, float, Path]:
    """Seconds of a command, those of training in it, and the folder of its experiment."""
    model, cohort, *rest = command
    out = Path(tempfile.mkdtemp())
    words = ["run", "--model", model, "--cohort", cohort, *rest, "--jobs", "1", "--out", str(out), *more]
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "milsurv.benchmark.cli.main", *words], check=True, capture_output=True)
    seconds = time.perf_counter() - begun
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("experiments/*/fold-*/result.json")]
    return seconds, sum(row["seconds"] for row in rows), next(out.glob("experiments/*"))


def keeping(experiment: Path) -> tuple[float, float]:
    """Seconds in which the weights of a fold are written, and their size in MiB."""
    model = milsurv.load_model(experiment, 0)
    state = model.module.state_dict()

    def write() -> None:
        write_whole(experiment / "again.safetensors", weights_file(state, model.about))

    write()
    seconds = statistics.median(took(write, time.perf_counter) for _ in range(9))
    return seconds, (experiment / "again.safetensors").stat().st_size / 2**20


def main() -> None:
    """Measure, and print a table."""
    head("command", "training, s", "over training", "with nothing kept", "weights, MiB", "weights, per mille")
    for name, command in COMMANDS.items():
        all_kept, bare, trained = [], [], []
        for _ in range(ROUNDS):
            seconds, training, folder = run(command, ())
            all_kept.append(seconds / training)
            trained.append(training)
            seconds, training, _ = run(command, NOTHING)
            bare.append(seconds / training)
        seconds, size = keeping(folder)
        folds = len(list(folder.glob("fold-*")))
        share = 1000 * seconds / (statistics.median(trained) / folds)
        line(name, *map(statistics.median, (trained, all_kept, bare)), size, share)


if __name__ == "__main__":
    main()
