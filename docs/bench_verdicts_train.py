"""Real trainings for the table of verdicts: pairs of models, each on a simulated cohort of its own, three shared seeds.

`python docs/bench_verdicts_train.py FOLDER [NULL [OTHER]]` trains ABMIL in five folds, by the recipe of `bench run` at
learning rate 1e-2 and 50 steps, and writes one file a comparison into FOLDER; what lies there is not trained again.
In a null pair, one model sees one of two patterns, the other the other: the two are equally good, and read different
things. In another pair the first sees both patterns, the second one of them. `docs/bench_verdicts.py --trained FOLDER`
makes the table.
"""

import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported, or it has no effect

import io  # noqa: E402  # the environment comes first
from dataclasses import dataclass, replace  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from milsurv.benchmark.experiment import seed_for  # noqa: E402
from milsurv.benchmark.recipe import RECIPES  # noqa: E402
from milsurv.benchmark.training.fit import FollowedBags, Precision, fit, predict  # noqa: E402
from milsurv.benchmark.training.losses import LOSSES  # noqa: E402
from milsurv.files import write_whole  # noqa: E402
from milsurv.models import registry  # noqa: E402
from milsurv.survival.followup import FollowUp  # noqa: E402
from milsurv.survival.time_bins import fit_bins  # noqa: E402

PATIENTS, FOLDS, SEEDS, DIM, PATCHES = 150, 5, 3, 16, 10
RECIPE = replace(RECIPES["default"], steps=50, learning_rate=1e-2)
HYPERPARAMETERS = {"hidden": 32, "attention": 16, "dropout": 0.25, "scale": 20}
ANGLES = (0.5, 0.65, 0.8, 0.95)
"""How much of the hazard the second pattern carries: its sine, pair by pair in turn."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Bag:
    """The patches of one patient."""

    features: dict[int, np.ndarray]
    cells: None = None


class Bags(dict):
    """Bags in memory."""

    def tokens(self, patient_id: str) -> int:
        """Patches of a patient."""
        return PATCHES


def cohort(number: int, null: bool) -> tuple[FollowUp, Bags, Bags]:
    """Patients whose hazard hangs on two patterns of their patches, and what the first and the second model see."""
    rng = np.random.default_rng([number, 150, null])
    two = rng.standard_normal((PATIENTS, 2))
    angle = np.pi / 4 if null else ANGLES[number % len(ANGLES)]
    death = rng.exponential(40 * np.exp(-1.2 * two @ [np.cos(angle), np.sin(angle)]))
    censored = rng.exponential(45, PATIENTS)
    noise = rng.standard_normal((PATIENTS, PATCHES, DIM))
    kinds = ((0,), (1,)) if null else ((0, 1), (0,))
    seen = []
    for patterns in kinds:
        features = noise.copy()
        for at in patterns:
            features[:, :, at] += two[:, at, None]
        seen.append(Bags({f"P{i}": Bag({20: bag.astype(np.float16)}) for i, bag in enumerate(features)}))
    return FollowUp(np.minimum(death, censored) + 0.1, death <= censored), *seen


def folds_of(event: np.ndarray) -> np.ndarray:
    """The test fold of every patient: deaths first, dealt like cards."""
    found = np.empty(len(event), dtype=int)
    found[np.argsort(~event, kind="stable")] = np.arange(len(event)) % FOLDS
    return found


def out_of_fold(seed: int, followup: FollowUp, bags: Bags, test_of: np.ndarray) -> np.ndarray:
    """Risks (PATIENTS,) of a model that was trained fold by fold, at the epoch that its validation split chose."""
    risk = np.empty(PATIENTS)
    loss = LOSSES[RECIPE.loss]

    def part(at: np.ndarray) -> FollowedBags:
        return FollowedBags(tuple(f"P{i}" for i in at), FollowUp(followup.time[at], followup.event[at]))

    for fold in range(FOLDS):
        rest, test = np.flatnonzero(test_of != fold), np.flatnonzero(test_of == fold)
        cut = np.random.default_rng(seed_for(seed, fold, "validation")).permutation(rest)
        val, train = cut[: len(cut) // 5], cut[len(cut) // 5 :]
        bins = fit_bins(followup.time[train], followup.event[train], RECIPE.bins)
        torch.manual_seed(seed_for(seed, fold, "weights"))
        model = registry.get("abmil").build(DIM, loss.width(bins.count), **HYPERPARAMETERS)
        rng = np.random.default_rng(seed_for(seed, fold, "batches"))
        torch.manual_seed(seed_for(seed, fold, "dropout"))
        fitted = fit(model, loss, RECIPE, bags, part(train), part(val), bins, rng, CPU, lambda epoch, line: None)
        model.load_state_dict(fitted.weights)
        scores = predict(model, bags, part(test).patients, RECIPE.tokens, Precision(RECIPE.precision, CPU))
        risk[test] = loss.risk(scores).double().numpy()
    return risk


def main(folder: Path, null: int = 400, other: int = 200) -> None:
    """Train what is not there yet, null pairs and others in turn, so that a table can be made at any time."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    todo = [("null", number, (number + 1) / null) for number in range(null)]
    todo += [("other", number, (number + 1) / other) for number in range(other)]
    for done, (kind, number, _) in enumerate(sorted(todo, key=lambda one: one[2]), 1):
        path = folder / f"{kind}-{number:04d}.npz"
        if path.exists():
            continue
        followup, *seen = cohort(number, kind == "null")
        test_of = folds_of(followup.event)
        risks = [[out_of_fold(seed, followup, bags, test_of) for seed in range(SEEDS)] for bags in seen]
        data = io.BytesIO()
        np.savez(data, time=followup.time, event=followup.event, fold=test_of, risks=np.array(risks))
        write_whole(path, data.getvalue())
        print(f"{done} of {len(todo)}", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:]))
