"""CPU time and peak memory of a forward and a backward pass through one large bag, in training mode, and of evaluation.

    python docs/bench_memory.py                                       every model at 1,000, 15,000 and 60,000 patches
    python docs/bench_memory.py --model transmil --patches 15000      one model

Every measurement runs in a process of its own; memory is the most that it ever held, interpreter, torch and the
features included. Patches are counted at 20x, on full square tissue; of a multi-scale bag a quarter as many lie at 10x
and a sixteenth at 5x. Results are kept in docs/models/cost.json: what is there is not measured again, what exceeds
`--limit` seconds is entered as such, and `python docs/write_models.py` takes them into the pages.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

KEPT = Path(__file__).resolve().parent / "models" / "cost.json"
SIZES = (1000, 15000, 60000)


def bag(scales: tuple[int, ...], patches: int, dim: int):
    """Features, lengths and places of one slide of square tissue, whose patches at 20x are about `patches`."""
    import torch
    from milsurv.models.contract import Places

    side = round((patches / 16) ** 0.5)  # cells of 5x along an edge
    features, lengths, cells, slide = {}, {}, {}, {}
    for scale in scales:
        edge = torch.arange(side * scale // 5, dtype=torch.int32)
        cells[scale] = torch.cartesian_prod(edge, edge).flip(1)
        n = len(cells[scale])
        features[scale], lengths[scale] = torch.randn(n, dim), torch.tensor([n])
        slide[scale] = torch.zeros(n, dtype=torch.int32)
    return features, lengths, Places(cells, slide)


def measure(name: str, recipe: str, patches: int, dim: int, threads: int) -> None:
    """Print one measurement as JSON."""
    import torch
    from milsurv.models.contract import Trained
    from milsurv.models.registry import get

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    spec = get(name)
    hyperparameters = spec.defaults if recipe == "default" else spec.reference_defaults
    features, lengths, places = bag(spec.scales, patches, dim)
    given = (features, lengths, places) if spec.places else (features, lengths)
    model = spec.build(dim, 4, **hyperparameters)
    model.eval()
    start = time.process_time()
    with torch.no_grad():
        model(*given)
    evaluation = time.process_time() - start
    evaluation_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    model.train()
    start = time.process_time()
    out = model(*given)
    parts = [out.scores, out.views, out.penalty] if isinstance(out, Trained) else [out]
    sum(part.square().sum() for part in parts if part is not None).backward()
    training = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row = {
        "patches": " + ".join(f"{len(x):,}" for x in features.values()),
        "training": f"{training:.1f} s",
        "training_peak": f"{peak:.1f} GiB",
        "evaluation": f"{evaluation:.1f} s",
        "evaluation_peak": f"{evaluation_peak:.1f} GiB",
    }
    print(json.dumps(row), flush=True)


def measure_all(recipe: str, dim: int, threads: int, limit: int) -> None:
    """Measure what is not in docs/models/cost.json yet, small bags first, and keep it there."""
    from milsurv.models.registry import SPECS

    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for patches in SIZES:
        for spec in SPECS:
            rows = kept.setdefault(spec.name, {})
            if str(patches) in rows:
                continue
            command = [sys.executable, __file__, "--model", spec.name, "--recipe", recipe, "--patches", str(patches)]
            command += ["--dim", str(dim), "--threads", str(threads)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
                rows[str(patches)] = json.loads(done.stdout)
            except subprocess.TimeoutExpired:
                over = dict.fromkeys(("training_peak", "evaluation", "evaluation_peak"), "-")
                rows[str(patches)] = {"patches": f"{patches:,}", "training": f"over {limit} s", **over}
            KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
            print(spec.name, patches, rows[str(patches)], flush=True)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="CPU time and peak memory of one large bag.")
    parser.add_argument("--model")
    parser.add_argument("--recipe", choices=("reference", "default"), default="reference")
    parser.add_argument("--patches", type=int, default=15000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, default=3600, help="seconds for one measurement")
    given = parser.parse_args()
    if given.model:
        measure(given.model, given.recipe, given.patches, given.dim, given.threads)
    else:
        measure_all(given.recipe, given.dim, given.threads, given.limit)


if __name__ == "__main__":
    main()
