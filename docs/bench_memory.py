"""CPU time and peak memory of a forward and a backward pass through one large bag, in training mode.

    python docs/bench_memory.py                                       the table of docs/models.md
    python docs/bench_memory.py --model transmil --patches 15000      one model
    python docs/bench_memory.py --all [--only dsca,hipt]              docs/models/cost.json: what it lacks is measured

Every measurement runs in a process of its own; memory is the most that it ever held, interpreter and torch included.
Patches are those of 20x; a multi-scale bag has a quarter as many at 10x and a sixteenth at 5x. Their cells are those of
a piece of tissue that fills 70 % of its rectangle.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

COST = Path(__file__).resolve().parent / "models" / "cost.json"
SIZES = (1000, 15_000, 60_000)

TABLE = (
    ("crossfusion", "reference", 16000),
    ("crossfusion", "default", 16000),
    ("crossfusion-concat", "reference", 16000),
    ("crossfusion-single", "reference", 16000),
    ("transmil", "reference", 15000),
    ("transmil", "default", 15000),
    ("abmil", "reference", 15000),
    ("dsmil", "reference", 15000),
    ("meanpool", "reference", 15000),
)


def bag(scales: tuple[int, ...], patches: int, dim: int) -> tuple:
    """Random features, lengths and places of one bag with so many patches at 20x, or at the one scale."""
    import torch
    from milsurv.models.contract import Places

    coarse = -(-patches // 16)
    side = round((coarse / 0.7) ** 0.5) + 1
    kept = torch.randperm(side**2)[:coarse]
    quarter = torch.tensor([(0, 0), (1, 0), (0, 1), (1, 1)])
    cells = {5: torch.stack([kept % side, kept // side], 1)}
    for m in (10, 20):
        cells[m] = (2 * cells[m // 2][:, None] + quarter).flatten(0, 1)
    cells = {m: cells[m][:patches].int() for m in scales}
    features = {m: torch.randn(len(cells[m]), dim) for m in scales}
    lengths = {m: torch.tensor([len(cells[m])]) for m in scales}
    return features, lengths, Places(cells, {m: torch.zeros(len(c), dtype=torch.int32) for m, c in cells.items()})


def measure(name: str, recipe: str, patches: int, dim: int, threads: int) -> dict[str, str]:
    """One row: CPU time and peak of an evaluation, then of a forward and a backward pass in training mode."""
    import torch
    from milsurv.models.contract import Trained
    from milsurv.models.registry import get

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    spec = get(name)
    hyperparameters = spec.defaults if recipe == "default" else spec.reference_defaults
    features, lengths, places = bag(spec.scales, patches, dim)
    inputs = (features, lengths, places) if spec.places else (features, lengths)
    model = spec.build(dim, 4, **hyperparameters)
    model.eval()
    start = time.process_time()
    with torch.no_grad():
        model(*inputs)
    evaluation = time.process_time() - start
    evaluation_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    model.train()
    start = time.process_time()
    given = model(*inputs)
    given = given if isinstance(given, Trained) else Trained(given)
    parts = (given.scores, given.views, given.penalty)
    sum(part.square().sum() for part in parts if part is not None).backward()
    return {
        "patches": " + ".join(f"{len(x):,}" for x in features.values()),
        "training": f"{time.process_time() - start:.1f} s",
        "training_peak": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB",
        "evaluation": f"{evaluation:.1f} s",
        "evaluation_peak": f"{evaluation_peak:.1f} GiB",
    }


def all_costs(only: str | None, dim: int, threads: int) -> None:
    """Measure what cost.json lacks, smallest bags first, and write it after every row."""
    from milsurv.models.registry import NAMES

    cost = json.loads(COST.read_text()) if COST.exists() else {}
    names = [name for name in NAMES if only is None or name in only.split(",")]
    for k, patches in enumerate(SIZES):
        for name in names:
            if len(cost.get(name, [])) != k:
                continue
            row = ["--model", name, "--patches", str(patches), "--dim", str(dim), "--threads", str(threads), "--json"]
            done = subprocess.run([sys.executable, __file__, *row], check=True, capture_output=True, text=True)
            cost.setdefault(name, []).append(json.loads(done.stdout))
            print(name, done.stdout.strip(), flush=True)
            COST.write_text(json.dumps(dict(sorted(cost.items())), indent=1) + "\n")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="CPU time and peak memory of one large bag.")
    parser.add_argument("--model")
    parser.add_argument("--recipe", choices=("reference", "default"), default="reference")
    parser.add_argument("--patches", type=int, default=16_000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.all:
        all_costs(given.only, given.dim, given.threads)
        return
    if given.model:
        row = measure(given.model, given.recipe, given.patches, given.dim, given.threads)
        print(json.dumps(row) if given.json else f"| `{given.model}` | {given.recipe} | {' | '.join(row.values())} |")
        return
    print("| model | recipe | patches | forward + backward, CPU time | peak | evaluation, CPU time | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for model, recipe, patches in TABLE:
        row = ["--model", model, "--recipe", recipe, "--patches", str(patches)]
        subprocess.run([sys.executable, __file__, *row, "--threads", str(given.threads)], check=True)


if __name__ == "__main__":
    main()
