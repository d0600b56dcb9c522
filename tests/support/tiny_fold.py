"""One tiny fold of any model, trained in a second."""

import dataclasses
from pathlib import Path

import numpy as np
from milsurv.benchmark.experiment import Experiment
from milsurv.benchmark.recipe import Recipe
from milsurv.benchmark.results.keeping import Keeping
from milsurv.benchmark.training.fit import FollowedBags
from milsurv.benchmark.training.fold import FoldParts, train_fold
from milsurv.models import registry
from milsurv.survival.followup import FollowUp
from small_models import DIM, SMALL

SHORT = Recipe(batch=6, epochs=3, tokens=300)
TINY = SMALL | {"prototypes": 3, "patches": 40}


@dataclasses.dataclass(frozen=True)
class Bag:
    features: dict[int, np.ndarray]
    cells: dict[int, np.ndarray]
    slide_lengths: dict[int, tuple[int, ...]]


class Bags(dict):
    """Bags in memory, on nested grids, whose mean tells the risk."""

    def tokens(self, patient_id: str) -> int:
        return sum(self.lengths(patient_id).values())

    def lengths(self, patient_id: str) -> dict[int, int]:
        return {m: len(x) for m, x in self[patient_id].features.items()}


class Alone:
    """Every bag is a patient."""

    def aggregate(self, units, values):
        return tuple(units), values


def bags_of(n: int, places: bool) -> tuple[Bags, FollowUp]:
    rng = np.random.default_rng(0)
    z = rng.standard_normal(n)
    time, bags = rng.exponential(30 * np.exp(-z)) + 0.1, Bags()
    for i in range(n):
        side = {5: 2, 10: 4, 20: 8 if i % 2 else 6}
        cells = {m: np.argwhere(np.ones((k, k), bool)).astype(np.int32) for m, k in side.items()}
        features = {m: (z[i] + rng.standard_normal((len(c), DIM))).astype(np.float16) for m, c in cells.items()}
        bags[f"p{i}"] = Bag(features, cells if places else {}, {m: (len(c),) for m, c in cells.items()})
    return bags, FollowUp(time, rng.random(n) < 0.7)


class Fold:
    """One tiny fold of a model, and all ways to train it."""

    def __init__(self, model: str, recipe: Recipe, **hyperparameters: object) -> None:
        spec = registry.get(model)
        defaults = spec.reference_defaults if recipe.name == "reference" else spec.defaults
        small = {key: TINY.get(key, value) for key, value in defaults.items()} | hyperparameters
        reads = spec.reads(small)
        everyone, followup = bags_of(26, spec.places)
        self.bags = Bags(
            {
                name: Bag(*({m: part[m] for m in reads if m in part} for part in vars(bag).values()))
                for name, bag in everyone.items()
            }
        )
        n_val = 6 if recipe.validation else 0
        ids = tuple(self.bags)

        def part(start: int, end: int) -> FollowedBags:
            return FollowedBags(ids[start:end], FollowUp(followup.time[start:end], followup.event[start:end]))

        train, val, test = part(n_val, 20), part(0, n_val), part(20, 26)
        self.parts = FoldParts(0, train, val, test, train.followup, test, Alone(), followup)
        self.build = spec.build
        self.experiment = Experiment(
            model, dict(small), "blca", "1", recipe, "tiny", 1, 0, "cpu", "labels", "folds", "features", None, reads
        )

    def train(self, path: Path | None = None, every: float | None = 1e9):
        keeping = Keeping(("selected", "last", "best"), every=every)
        return train_fold(
            self.experiment, self.parts, self.bags, self.build, DIM, keeping=keeping, checkpoint_path=path
        )
