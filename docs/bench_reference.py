"""Training as published code does it, bag by bag, against ours: CrossFusion, ABMIL and TransMIL, CPU time, one thread.

python docs/bench_reference.py

The plain loop computes one bag at a time, in float32, and steps after 32 of them. Ours packs the same bags. `floor` is
ours without reading, packing and targets: the packed batch is there already.
"""

import argparse
from collections.abc import Callable

from harness import head, in_turn, line, one_thread

one_thread()

import numpy as np  # noqa: E402  # threads are set before it is imported
import torch  # noqa: E402
from milsurv.benchmark.recipe import Recipe  # noqa: E402
from milsurv.benchmark.training.batches import Packed, pack  # noqa: E402
from milsurv.benchmark.training.fit import FollowedBags, Precision, Targets, fit  # noqa: E402
from milsurv.benchmark.training.fold_model import _Features  # noqa: E402
from milsurv.benchmark.training.losses import LOSSES  # noqa: E402
from milsurv.models.registry import get  # noqa: E402
from milsurv.survival.followup import FollowUp  # noqa: E402
from milsurv.survival.time_bins import TimeBins, fit_bins  # noqa: E402
from torch import nn  # noqa: E402

MODELS = ("crossfusion", "abmil", "transmil")
SHAPES = (({5: 17, 10: 62, 20: 231}, 512), ({5: 2, 10: 8, 20: 31}, 1536))
BATCH = 32
NOBODY = FollowedBags((), FollowUp(np.empty(0), np.empty(0, bool)))


class Memory(dict[str, _Features]):
    """Bags of one shape in memory."""

    def tokens(self, patient_id: str) -> int:
        """Patches over all magnifications."""
        return sum(map(len, self[patient_id].features.values()))


def cohort(patches: dict[int, int], dim: int, patients: int) -> tuple[Memory, FollowedBags, TimeBins]:
    """Random bags and follow-up."""
    rng = np.random.default_rng(0)
    names = tuple(f"p{i}" for i in range(patients))
    bags = {name: {m: rng.standard_normal((n, dim)).astype(np.float16) for m, n in patches.items()} for name in names}
    part = FollowedBags(names, FollowUp(rng.exponential(30, patients) + 0.1, rng.random(patients) < 0.6))
    memory = Memory({name: _Features(features) for name, features in bags.items()})
    return memory, part, fit_bins(part.followup.time, part.followup.event, 4)


def plain(model: nn.Module, bags: Memory, part: FollowedBags, bins: TimeBins, device: torch.device) -> None:
    """One epoch bag by bag: forward, loss, backward, and a step after every 32 bags."""
    optimizer, targets = torch.optim.AdamW(model.parameters(), lr=5e-4), Targets(part, bins, device)
    for count, name in enumerate(part.patients, 1):
        bag = pack(bags, [name]).to(device)
        loss = LOSSES["nll"].loss(model(bag.features, bag.lengths), targets.of([name]), 0.0) / BATCH
        loss.item()  # the published loop prints it
        loss.backward()
        if count % BATCH == 0:
            optimizer.step()
            optimizer.zero_grad()


def ours(model: nn.Module, bags: Memory, part: FollowedBags, bins: TimeBins, device: torch.device) -> None:
    """One epoch as `bench run` trains."""
    recipe = Recipe(epochs=1, batch=BATCH, precision="float32" if device.type == "cpu" else "auto")
    rng = np.random.default_rng(0)
    fit(model, LOSSES["nll"], recipe, bags, part, NOBODY, bins, rng, device, lambda epoch, row: None)


def floor(model: nn.Module, batches: list[Packed], targets: Targets, precision: Precision) -> None:
    """The arithmetic of the same steps on batches that are there already."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
    for batch in batches:
        LOSSES["nll"].loss(precision.scores(model, batch), targets.of(batch.patients), 0.0).backward()
        optimizer.step()
        optimizer.zero_grad()


def ways(
    name: str, patches: dict[int, int], dim: int, patients: int, device: torch.device, at_once: int = BATCH
) -> dict[str, Callable[[], None]]:
    """The three ways of training one model for an epoch."""
    model = get(name).build(dim, 4).to(device).train()
    scales = get(name).reads()
    bags, part, bins = cohort({m: n for m, n in patches.items() if m in scales}, dim, patients)
    runs = [part.patients[i : i + at_once] for i in range(0, patients, at_once)]
    batches, targets = [pack(bags, run).to(device) for run in runs], Targets(part, bins, device)
    precision = Precision("float32" if device.type == "cpu" else "auto", device)
    return {
        "plain": lambda: plain(model, bags, part, bins, device),
        "ours": lambda: ours(model, bags, part, bins, device),
        "floor": lambda: floor(model, batches, targets, precision),
    }


def main() -> None:
    """Print a line of a Markdown table per model and shape."""
    parser = argparse.ArgumentParser(description="A plain loop against ours.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    head("model, patches at 5x/10x/20x", "plain loop / ours", "ours / floor", "ours, ms a bag")
    for patches, dim in SHAPES:
        for name in MODELS:
            found = in_turn(ways(name, patches, dim, 2 * BATCH, torch.device("cpu")), rounds)
            shape = f"{name}, {'/'.join(map(str, patches.values()))}, D = {dim}"
            each = 1000 * found.median("ours") / (2 * BATCH)
            line(shape, found.ratio("plain", "ours"), found.ratio("ours", "floor"), each)


if __name__ == "__main__":
    main()
