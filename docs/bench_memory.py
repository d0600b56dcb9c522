"""CPU time and peak memory of a forward and a backward pass through one large bag, in training mode.

    python docs/bench_memory.py                                       the table of docs/models.md
    python docs/bench_memory.py --model transmil --patches 15000      one model

Every measurement runs in a process of its own; memory is the most that it ever held, interpreter and torch included.
"""

import argparse
import resource
import subprocess
import sys
import time

TABLE = (
    ("crossfusion", "reference", 4000),
    ("crossfusion", "default", 4000),
    ("crossfusion-concat", "reference", 4000),
    ("crossfusion-single", "reference", 16000),
    ("transmil", "reference", 15000),
    ("transmil", "default", 15000),
    ("abmil", "reference", 15000),
    ("dsmil", "reference", 15000),
    ("meanpool", "reference", 15000),
)


def measure(name: str, recipe: str, patches: int, dim: int, threads: int) -> None:
    """Print one row. `patches` counts those of 10x for multi-scale models (5x a quarter, 20x four times as many)."""
    import torch
    from milsurv.models.registry import get

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    spec = get(name)
    hyperparameters = spec.defaults if recipe == "default" else spec.reference_defaults
    counts = {5: patches // 4, 10: patches, 20: 4 * patches} if spec.family == "multi-scale" else {20: patches}
    features = {scale: torch.randn(n, dim) for scale, n in counts.items()}
    lengths = {scale: torch.tensor([n]) for scale, n in counts.items()}
    model = spec.build(dim, 4, **hyperparameters)
    model.eval()
    start = time.process_time()
    with torch.no_grad():
        model(features, lengths)
    evaluation = time.process_time() - start
    evaluation_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    model.train()
    start = time.process_time()
    model(features, lengths).square().sum().backward()
    training = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    bag = " + ".join(f"{n:,}" for n in counts.values())
    cells = (f"`{name}`", recipe, bag, f"{training:.1f} s", f"{peak:.1f} GiB")
    print("|", " | ".join((*cells, f"{evaluation:.1f} s", f"{evaluation_peak:.1f} GiB")), "|", flush=True)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="CPU time and peak memory of one large bag.")
    parser.add_argument("--model")
    parser.add_argument("--recipe", choices=("reference", "default"), default="reference")
    parser.add_argument("--patches", type=int, default=4000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.model:
        measure(given.model, given.recipe, given.patches, given.dim, given.threads)
        return
    print("| model | recipe | patches | forward + backward, CPU time | peak | evaluation, CPU time | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for model, recipe, patches in TABLE:
        row = ["--model", model, "--recipe", recipe, "--patches", str(patches)]
        subprocess.run([sys.executable, __file__, *row, "--threads", str(given.threads)], check=True)


if __name__ == "__main__":
    main()
