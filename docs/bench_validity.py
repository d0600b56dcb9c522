"""How often the board calls two models different: the same model under two seeds, and two of which one sees more.

`python docs/bench_validity.py [COMPARISONS [SIGHTED]]` trains each pair on a cohort of its own, in the folds and by the
recipe of `bench run`, hands rows and predictions to the board's own code, and prints the table of docs/statistics.md.
"""

import json
import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported, or it has no effect

from dataclasses import dataclass, replace  # noqa: E402  # the environment comes first

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from milsurv.benchmark.experiment import Experiment, seed_for  # noqa: E402
from milsurv.benchmark.recipe import RECIPES  # noqa: E402
from milsurv.benchmark.training.fit import FollowedBags  # noqa: E402
from milsurv.benchmark.training.fold import FoldParts, run_fold  # noqa: E402
from milsurv.leaderboards.ranking.board import boards  # noqa: E402
from milsurv.leaderboards.ranking.comparisons import evidence  # noqa: E402
from milsurv.leaderboards.ranking.evidence import SURVIVES  # noqa: E402
from milsurv.models import registry  # noqa: E402
from milsurv.survival.followup import FollowUp  # noqa: E402
from scipy import stats  # noqa: E402

PATIENTS, FOLDS, DIM, PATCHES = 150, 5, 16, 10
RECIPE = replace(RECIPES["default"], steps=50, learning_rate=1e-2)


@dataclass(frozen=True)
class Bag:
    """The patches of one patient."""

    features: dict[int, np.ndarray]


class Bags(dict):
    """Bags in memory."""

    def tokens(self, patient_id: str) -> int:
        """Patches of a patient."""
        return PATCHES


class Alone:
    """A bag is a patient."""

    def aggregate(self, units, values):
        """Nothing to put together."""
        return tuple(units), values


def cohort(seed: int) -> tuple[FollowUp, Bags, Bags]:
    """Patients whose hazard hangs on two patterns of their patches; bags that show both, and bags that show one."""
    rng = np.random.default_rng([seed, 150])
    two = rng.standard_normal((PATIENTS, 2))
    death = rng.exponential(40 * np.exp(-1.2 * two.sum(axis=1) / np.sqrt(2)))
    censored = rng.exponential(45, PATIENTS)
    shown = rng.standard_normal((PATIENTS, PATCHES, DIM))
    shown[:, :, 0] += two[:, :1]
    half = shown.copy()
    shown[:, :, 1] += two[:, 1:]
    both, one = (
        Bags({f"P{i}": Bag({20: bag.astype(np.float16)}) for i, bag in enumerate(kind)}) for kind in (shown, half)
    )
    return FollowUp(np.minimum(death, censored) + 0.1, death <= censored), both, one


def part(followup: FollowUp, at: np.ndarray) -> FollowedBags:
    """Some of the patients."""
    return FollowedBags(tuple(f"P{i}" for i in at), FollowUp(followup.time[at], followup.event[at]))


def trained(name: str, seed: int, followup: FollowUp, bags: Bags) -> tuple[list[dict], pd.DataFrame]:
    """Rows and predictions of one model, cross-validated."""
    hyper = {"hidden": 32, "attention": 16, "dropout": 0.25, "scale": 20}
    experiment = Experiment(
        "abmil", hyper, "toy", 1, "none", (20,), RECIPE, f"stratified-{FOLDS}", FOLDS, seed, "cpu", "l", "f", name
    )
    order = np.argsort(~followup.event, kind="stable")  # deaths first: dealt like cards, folds are stratified
    test_of = np.empty(PATIENTS, dtype=int)
    test_of[order] = np.arange(PATIENTS) % FOLDS
    rows, lines = [], []
    for fold in range(FOLDS):
        rest, test = np.flatnonzero(test_of != fold), np.flatnonzero(test_of == fold)
        cut = np.random.default_rng(seed_for(seed, fold, "validation")).permutation(rest)
        val, train = cut[: len(cut) // 5], cut[len(cut) // 5 :]
        parts = FoldParts(
            fold,
            *(part(followup, at) for at in (train, val, test)),
            part(followup, train),
            part(followup, test),
            Alone(),
            followup,
        )
        outcome = run_fold(experiment, parts, bags, registry.get("abmil").build, DIM)
        shared = {
            "schema": 1, "status": "finished", "error": None, "experiment": experiment.id, "model": name,
            "family": "single-scale", "scales": "20", "cohort": "toy", "synthetic": True, "backbone": "none",
            "loss": RECIPE.loss, "recipe": "default", "slides": "concat", "folds_name": experiment.folds_name,
            "n_folds": FOLDS, "fold": fold, "seed": seed, "hyperparameters": json.dumps(hyper),
            "labels_fingerprint": "l", "folds_fingerprint": "f", "patients": PATIENTS,
            "events": int(followup.event.sum()),
        }  # fmt: skip
        rows.append(shared | outcome.row)
        lines += outcome.predictions
    return rows, pd.DataFrame(lines)


def compared(number: int, second_sees_half: bool) -> dict[str, float | bool]:
    """One comparison as the board makes it."""
    followup, both, one = cohort(number + 100_000 * second_sees_half)
    first = trained("first", 2 * number, followup, both)
    second = trained("second", 2 * number + 1, followup, one if second_sees_half else both)
    (board,) = boards([*first[0], *second[0]])
    tables = {rows[0]["experiment"]: table for rows, table in (first, second)}
    found = evidence(board.rankings[0], tables)
    (pair,) = found.pairs
    assert pair.t_test is not None
    means = [float(np.mean([row["c_index_selected"] for row in rows])) for rows, _ in (first, second)]
    return {
        "first": means[0],
        "second": means[1],
        "detectable": pair.detectable,
        "bootstrap": (pair.difference.p or 0.0) <= 0.05,
        "t_test": (pair.t_test.p or 0.0) <= 0.05,
        "survives": pair.verdict == SURVIVES,
    }


def rate(values: pd.Series) -> str:
    """A share with its exact interval (Clopper and Pearson 1934)."""
    interval = stats.binomtest(int(values.sum()), len(values)).proportion_ci(method="exact")
    return f"{values.mean():.1%} ({interval.low:.1%} to {interval.high:.1%})"


def main(comparisons: int = 200, sighted: int = 80) -> None:
    """Print one line of a Markdown table for the same model twice, and one where one of two models sees more."""
    torch.set_num_threads(1)
    print("| two models | comparisons | C-index | detectable | bootstrap p ≤ 0.05 | t-test p ≤ 0.05 | survives |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for name, half, count in (("the same, two seeds", False, comparisons), ("one sees half", True, sighted)):
        found = []
        for number in range(count):
            found.append(compared(number, half))
            print(f"{name}: {number + 1} of {count}", end="\r", file=sys.stderr, flush=True)
        table = pd.DataFrame(found)
        rates = " | ".join(rate(table[column]) for column in ("bootstrap", "t_test", "survives"))
        means = f"{table['first'].mean():.3f} and {table['second'].mean():.3f}"
        print(f"| {name} | {count} | {means} | {table['detectable'].mean():.3f} | {rates} |", flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
