"""CPU seconds and peak memory of the heatmaps of one slide, by method.

    python docs/bench_heatmap.py                        the table of docs/heatmaps.md
    python docs/bench_heatmap.py --models abmil --patches 4000

Patches are those of 20x, a quarter as many at 10x and a sixteenth at 5x where a model reads them; features are 1536
wide, models have the hyperparameters of the default recipe, and occlusion takes 64 regions a scale, as the command.
Everything runs on one thread; memory is the most that the process ever held, interpreter, torch and features included.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

from bench_memory import bag

METHODS = ("attention", "gradient", "integrated", "occlusion")
MODELS = "abmil,transmil,patchgcn,crossfusion"


def measure(model: str, method: str, patches: int) -> tuple[float, float]:
    """CPU seconds and GiB."""
    import torch
    from milsurv.benchmark.inference.heatmap.integrated import integrated_gradients
    from milsurv.benchmark.inference.heatmap.maps import regions_of
    from milsurv.benchmark.training.losses import LOSSES
    from milsurv.models.attribution.attention import attention_maps
    from milsurv.models.attribution.gradients import gradient_times_input
    from milsurv.models.attribution.occlusion import occlusion
    from milsurv.models.attribution.scorer import Scorer
    from milsurv.models.registry import get

    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = get(model)
    features, _, places = bag(spec.scales, patches, 1536)
    module = spec.build(1536, 4, **spec.defaults).eval()
    scorer = Scorer(module, LOSSES["nll"].risk, features, places if spec.places else None)
    groups = {m: torch.from_numpy(regions_of(cells.numpy(), 1.0, 64)) for m, cells in places.cells.items()}
    start = time.process_time()
    {
        "attention": lambda: attention_maps(scorer),
        "gradient": lambda: gradient_times_input(scorer),
        "integrated": lambda: integrated_gradients(scorer),
        "occlusion": lambda: occlusion(scorer, groups),
    }[method]()
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--patches", type=int, default=16_000)
    parser.add_argument("--one", help="One method, in this process: prints seconds and GiB as JSON.")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.models, given.one, given.patches)))
        return
    print(f"| model | {' | '.join(METHODS)} |\n| --- |{' ---: |' * len(METHODS)}", flush=True)
    for model in given.models.split(","):
        cells = []
        for method in METHODS:
            words = ["--models", model, "--patches", str(given.patches), "--one", method]
            done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
            seconds, memory = json.loads(done.stdout)
            cells.append(f"{seconds:.1f} s, {memory:.1f} GiB")
        print(f"| `{model}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
