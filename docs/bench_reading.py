"""Training from a slow disk against its two floors: reading alone, and computing alone. Wall time, since it waits.

python docs/bench_reading.py --megabytes 200

Bags of a simulated cohort are read at so many megabytes per second, each at its turn as one disk would, and nothing is
kept in memory. The goal is 1.15 times the larger of the two floors.
"""

import argparse
import threading
import time
from functools import partial

import numpy as np
from harness import head, in_turn, line, one_thread

one_thread()

import torch  # noqa: E402  # threads are set before it is imported
from milsurv.benchmark.recipe import Recipe  # noqa: E402
from milsurv.benchmark.training.batches import OneBag  # noqa: E402
from milsurv.benchmark.training.fit import FollowedBags, fit  # noqa: E402
from milsurv.benchmark.training.fold_model import _Features  # noqa: E402
from milsurv.benchmark.training.losses import LOSSES  # noqa: E402
from milsurv.models.registry import get  # noqa: E402
from milsurv.survival.followup import FollowUp  # noqa: E402
from milsurv.survival.time_bins import fit_bins  # noqa: E402

DIM, PATIENTS = 512, 40


class SlowDisk:
    """Bags that arrive at a rate in bytes per second, one after another."""

    def __init__(self, rate: float, patches: int) -> None:
        rng = np.random.default_rng(0)
        self.rate, self.lock = rate, threading.Lock()
        self.bags = {
            f"p{i}": _Features({20: rng.standard_normal((int(n), DIM)).astype(np.float16)})
            for i, n in enumerate(rng.uniform(0.3, 1.7, PATIENTS) * patches)
        }

    def __getitem__(self, patient_id: str) -> OneBag:
        """A bag, once it has arrived."""
        with self.lock:
            time.sleep(self.bags[patient_id].features[20].nbytes / self.rate)
        return self.bags[patient_id]

    def tokens(self, patient_id: str) -> int:
        """Patches of a patient."""
        return len(self.bags[patient_id].features[20])

    @property
    def seconds(self) -> float:
        """What reading all of them takes."""
        return sum(bag.features[20].nbytes for bag in self.bags.values()) / self.rate


def main() -> None:
    """Print a line of a Markdown table per model."""
    parser = argparse.ArgumentParser(description="Training from a slow disk.")
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--patches", type=int, default=8000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    head("model", "reading alone", "computing alone", "both", "to the larger floor")
    for name in ("meanpool", "abmil", "transmil"):
        slow = SlowDisk(asked.megabytes * 1e6, asked.patches)
        ways = {"both": partial(train, name, slow), "computing": partial(train, name, SlowDisk(1e15, asked.patches))}
        found = in_turn(ways, 3, time.perf_counter)
        both, computing = found.median("both"), found.median("computing")
        line(name, slow.seconds, computing, both, both / max(slow.seconds, computing))


def train(name: str, bags: SlowDisk) -> None:
    """One epoch in steps of 16 bags, in pieces of four or so."""
    rng = np.random.default_rng(0)
    part = FollowedBags(tuple(bags.bags), FollowUp(rng.exponential(30, PATIENTS) + 0.1, rng.random(PATIENTS) < 0.6))
    nobody = FollowedBags((), FollowUp(np.empty(0), np.empty(0, bool)))
    bins = fit_bins(part.followup.time, part.followup.event, 4)
    tokens = 4 * max(map(bags.tokens, bags.bags)) // 2
    recipe, cpu = Recipe(epochs=1, batch=16, tokens=tokens), torch.device("cpu")
    fit(get(name).build(DIM, 4), LOSSES["nll"], recipe, bags, part, nobody, bins, rng, cpu, lambda epoch, row: None)


if __name__ == "__main__":
    main()
