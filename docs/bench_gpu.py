"""What one GPU gives, in one run of under eight minutes: a plain loop, ours and the floor; memory; inference; a ViT.

python docs/bench_gpu.py

Bags of 15,000, 3,750 and 938 patches at 20x, 10x and 5x, D = 1024, as large slides have them. `floor` computes the same
steps on batches that lie on the GPU already. Wall time, since a GPU is waited for.
"""

import sys
import time
from collections.abc import Callable

import torch
from bench_reference import MODELS, ways
from harness import head, in_turn, line

PATCHES, DIM, PATIENTS = {5: 938, 10: 3750, 20: 15_000}, 1024, 32


def main() -> None:
    """Print three Markdown tables."""
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU here")
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    head(
        "model", "plain loop / ours", "ours / floor", "patches per second", "utilisation, %", "peak, GiB", "ms a slide"
    )
    for name in MODELS:
        three = ways(name, PATCHES, DIM, PATIENTS, device, at_once=3)
        finished = {key: waited(do) for key, do in three.items()}
        torch.cuda.reset_peak_memory_stats()
        finished["ours"]()
        peak = torch.cuda.max_memory_allocated() / 2**30
        found = in_turn(finished, 3, time.perf_counter)
        of_model = sum(PATCHES.values()) if name == "crossfusion" else PATCHES[20]
        seconds = found.median("ours")
        speed, used = of_model * PATIENTS / seconds, 100 * busy(three["ours"]) / seconds
        ratios = found.ratio("plain", "ours"), found.ratio("ours", "floor")
        line(name, *ratios, f"{speed:,.0f}", used, peak, inference(name, device))
    print("\n| encoder | tiles per second |\n| --- | ---: |")
    print(f"| ViT-L, random weights | {encoder(device):.0f} |")


def waited(do: Callable[[], None]) -> Callable[[], None]:
    """The same, until the GPU has computed it."""

    def both() -> None:
        do()
        torch.cuda.synchronize()

    return both


def busy(do: Callable[[], None]) -> float:
    """Seconds in which kernels run."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        do()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in seen.key_averages()) / 1e6


@torch.no_grad()
def inference(name: str, device: torch.device) -> float:
    """Milliseconds of one slide in evaluation mode, its features on the GPU."""
    from milsurv.benchmark.training.fit import Precision
    from milsurv.models.registry import get

    model, scales = get(name).build(DIM, 4).to(device).eval(), get(name).reads()
    features = {m: torch.randn(PATCHES[m], DIM, device=device) for m in scales}
    lengths = {m: torch.tensor([PATCHES[m]]) for m in scales}
    precision = Precision("auto", device)
    with torch.autocast("cuda", precision.dtype, enabled=precision.dtype != torch.float32):
        found = in_turn({"slide": waited(lambda: model(features, lengths))}, 10, time.perf_counter)
    return 1000 * found.median("slide")


@torch.inference_mode()
def encoder(device: torch.device, tiles: int = 256) -> float:
    """Tiles of 224 pixels per second of a ViT-L with patches of 16 pixels, in half precision."""
    import timm

    model = timm.create_model("vit_large_patch16_224", pretrained=False).to(device).half().eval()
    batch = torch.randn(tiles, 3, 224, 224, device=device, dtype=torch.float16)
    return tiles / in_turn({"tiles": waited(lambda: model(batch))}, 5, time.perf_counter).median("tiles")


if __name__ == "__main__":
    main()
