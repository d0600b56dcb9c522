"""How often a verdict errs, and how often it finds what is there: by simulation, and by real trainings.

`python docs/bench_verdicts.py [COMPARISONS]`         linear Cox models on simulated cohorts, in numpy, minutes
`python docs/bench_verdicts.py --trained FOLDER`      what docs/bench_verdicts_train.py trained
`python docs/bench_verdicts.py --boards [BOARDS]`     boards of many equal models: how often is anything shown?
`python docs/bench_verdicts.py --jackknife [COHORTS]` the jackknife beside a bootstrap and the truth

Each prints a table of docs/statistics.md.
"""

import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported, or it has no effect

from collections.abc import Callable  # noqa: E402  # the environment comes first
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from milsurv.survival.comparisons import corrected_t_test, means_over_folds  # noqa: E402
from milsurv.survival.concordance import c_index  # noqa: E402
from milsurv.survival.influence import influences  # noqa: E402
from milsurv.survival.joint import Joint, training_covariance  # noqa: E402
from scipy import stats  # noqa: E402

SEEDS = 3
FACTORS = (0.0, 0.5, 1.0, 2.0)
"""Of n_test / n_train, what the variance between seeds is multiplied with for training sets; the third is the rule."""


@dataclass(frozen=True)
class Cohort:
    """Patients, their test folds, and the out-of-fold `risks` (2, SEEDS, n) of two models."""

    time: np.ndarray
    event: np.ndarray
    fold: np.ndarray
    risks: np.ndarray


def folds_of(event: np.ndarray, folds: int) -> np.ndarray:
    """The test fold of every patient: deaths first, dealt like cards."""
    found = np.empty(len(event), dtype=int)
    found[np.argsort(~event, kind="stable")] = np.arange(len(event)) % folds
    return found


def fitted(x: np.ndarray, time: np.ndarray, event: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coefficients of Cox's model after 30 steps from a random start: a small model that is stopped early."""
    order = np.argsort(-time)
    x, event, beta = x[order], event[order], 0.5 * rng.standard_normal(x.shape[1])
    for _ in range(30):
        hazard = np.exp(np.clip(x @ beta, -20, 20))
        at_risk, weighted = np.cumsum(hazard), np.cumsum(hazard[:, None] * x, axis=0)
        beta = beta + 0.5 * (x[event] - weighted[event] / at_risk[event, None]).mean(axis=0)
    return beta


def out_of_fold(x: np.ndarray, time: np.ndarray, event: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """Risks of every patient; in each fold the seed holds out a fifth of the training set."""
    risk = np.empty(len(time))
    for k in np.unique(fold):
        rng = np.random.default_rng([seed, int(k), 7])
        rest = rng.permutation(np.flatnonzero(fold != k))
        train = rest[len(rest) // 5 :]
        risk[fold == k] = x[fold == k] @ fitted(x[train], time[train], event[train], rng)
    return risk


def cohort(number: int, n: int, folds: int, width: int, shared: float, angle: float | None) -> Cohort:
    """Two patterns, each seen through `width` noisy features. shared: their correlation. angle: None where each model
    sees one of two patterns that matter alike; else the first sees both and the second one, and the other carries the
    sine of the angle."""
    rng = np.random.default_rng([number, n, folds, width, round(100 * shared), round(100 * (angle or 0))])
    common, own = rng.standard_normal(n), rng.standard_normal((n, 2))
    two = np.sqrt(shared) * common[:, None] + np.sqrt(1 - shared) * own
    weights = np.array([np.cos(angle or np.pi / 4), np.sin(angle or np.pi / 4)])
    hazard = two @ weights / np.sqrt(1 + 2 * weights.prod() * shared)
    death, censored = rng.exponential(40 * np.exp(-1.2 * hazard)), rng.exponential(45, n)
    time, event = np.minimum(death, censored) + 0.1, death <= censored
    seen = []
    for pattern in two.T:
        towards = rng.standard_normal(width)
        towards *= 1.5 / np.linalg.norm(towards)
        seen.append(rng.standard_normal((n, width)) + pattern[:, None] * towards)
    fold = folds_of(event, folds)
    models = seen if angle is None else [np.hstack(seen), seen[0]]
    return Cohort(
        time, event, fold, np.array([[out_of_fold(x, time, event, fold, s) for s in range(SEEDS)] for x in models])
    )


def judged(one: Cohort) -> dict[str, float]:
    """The difference of the two models, and the p-values of several rules."""
    time, event, fold, risks = one.time, one.event, one.fold, one.risks
    names = np.unique(fold)
    moved = influences(time, event, risks.reshape(-1, len(time)), fold)
    values, patients = moved.values.reshape(2, SEEDS).mean(1), moved.patients.reshape(2, SEEDS, -1).mean(1)
    scores = np.array(
        [[[c_index(time[fold == k], event[fold == k], risk[fold == k]) for k in names] for risk in of] for of in risks]
    )
    by_seed = [{seed: list(mine[seed]) for seed in range(SEEDS)} for mine in scores]
    found = {}
    for factor in FACTORS:
        training = training_covariance(by_seed, [factor / (len(names) - 1)] * 2)
        joint = Joint(values, patients @ patients.T, float(event.sum() - len(names)), *training)
        (pair,) = joint.differences(np.array([[0, 1]]))
        found |= {
            f"p {factor}": pair.p,
            f"se {factor}": pair.standard_error,
            f"detectable {factor}": joint.detectable(pair, 0.05),
        }
    over_folds = scores[0].mean(0) - scores[1].mean(0)
    t_test = corrected_t_test(list(over_folds), 1, len(names) - 1)
    error = np.sqrt(((patients[0] - patients[1]) ** 2).sum())
    bootstrap = float(2 * stats.norm.sf(abs(values[0] - values[1]) / error))
    return found | {
        "difference": values[0] - values[1],
        "bootstrap": bootstrap,
        "both": max(bootstrap, t_test.p or 0.0),
    }


def share(values: np.ndarray) -> str:
    """A share with its exact interval (Clopper and Pearson 1934)."""
    interval = stats.binomtest(int(values.sum()), len(values)).proportion_ci(method="exact")
    return f"{100 * values.mean():.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def line(name: str, found: list[dict[str, float]]) -> str:
    """A line of the table."""
    columns = {key: np.array([one[key] for one in found]) for key in found[0]}
    rules = ("both", "bootstrap", *(f"p {factor}" for factor in FACTORS))
    cells = [name, str(len(found)), f"{columns['difference'].mean():+.3f}", f"{columns['detectable 1.0'].mean():.3f}"]
    return f"| {' | '.join(cells + [share(columns[rule] <= 0.05) for rule in rules])} |"


def head() -> None:
    """The head of the tables of comparisons."""
    names = ["two models", "comparisons", "difference", "detectable", "bootstrap and t-test", "patients alone"]
    names += [f"with seeds, {factor:g} n_test/n_train" for factor in FACTORS]
    print(f"| {' | '.join(names)} |\n| --- |{' ---: |' * (len(names) - 1)}")


def simulated(comparisons: int = 300) -> None:
    """Linear models: null pairs, and pairs of which one sees more."""
    head()
    kinds = [
        (f"equal, {'other' if not shared else 'partly the same'} information, {n} patients, {folds} folds",
         (n, folds, width, shared, None))
        for n, folds, width in ((150, 5, 10), (375, 5, 40), (150, 3, 10), (150, 10, 10))
        for shared in (0.0, 0.7)
    ]  # fmt: skip
    kinds += [
        (f"the first sees more, {n} patients, {folds} folds", (n, folds, width, 0.0, angle))
        for n, folds, width, angle in ((150, 5, 10, 0.8), (150, 5, 10, 0.95), (375, 5, 20, 0.65), (375, 3, 20, 0.8))
    ]
    for name, setting in kinds:
        print(line(name, [judged(cohort(number, *setting)) for number in range(comparisons)]), flush=True)


def trained(folder: Path) -> None:
    """What was trained: null pairs, and others, all together and in fourths by how much more one sees."""
    head()
    found: dict[str, list[dict[str, float]]] = {"null": [], "other": []}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            found[path.name.split("-")[0]].append(
                judged(Cohort(*(data[key] for key in ("time", "event", "fold", "risks"))))
            )
    print(line("equal, other information", found["null"]))
    print(line("the first sees more", found["other"]))
    for start in range(4):
        print(line(f"of these, every fourth from {start}", found["other"][start::4]))


def boards(count: int = 500) -> None:
    """Boards of equal models, and of one that is better: anything false, and the better one alone in the set."""
    print("| models | error | anything shown among equals | the best in the set | set, where one is better by 4 SE |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for models in (2, 5, 10, 18):
        for name, df in (("of patients", 150.0), ("mostly of training, 10 degrees of freedom", 10.0)):
            rng = np.random.default_rng(models)
            pairs = np.array([(i, j) for i in range(models) for j in range(i)])
            false, kept, size = [], [], []
            for _ in range(count):
                errors = rng.standard_normal(models) / np.sqrt(2)  # of a difference: 1
                scale = np.sqrt(rng.chisquare(df) / df)  # the standard error is estimated, too
                covariance = 0.5 * scale**2 * np.eye(models)
                nothing = np.zeros((models, models))
                for lead, into in ((0.0, false), (4.0, kept)):
                    values = errors + lead * (np.arange(models) == 0)
                    p, _ = Joint(values, covariance, df, nothing, np.zeros(models)).adjusted(pairs)
                    below = {
                        int(i if values[i] < values[j] else j)
                        for (i, j), one in zip(pairs, p, strict=True)
                        if one <= 0.05
                    }
                    into.append(bool(below) if not lead else 0 not in below)
                    size += [models - len(below)] if lead else []
            print(
                f"| {models} | {name} | {share(np.array(false))} | {share(np.array(kept))} | {np.mean(size):.1f} |",
                flush=True,
            )


def jackknife(cohorts: int = 300) -> None:
    """Standard errors of a C-index and of a paired difference: over new cohorts, by jackknife, by bootstrap."""
    print(
        "| patients | folds | died | of | over cohorts | jackknife | bootstrap |\n"
        "| ---: | ---: | ---: | --- | ---: | ---: | ---: |"
    )
    rng = np.random.default_rng(1)
    for n, folds, follow in ((150, 5, 45), (150, 5, 10), (375, 5, 45), (375, 5, 10)):
        kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "one": lambda x: x[0],
            "difference": lambda x: x[0] - x[1],
        }
        rows: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
        died = []
        for number in range(cohorts):
            truth = rng.standard_normal(n)
            death, censored = rng.exponential(40 * np.exp(-truth)), rng.exponential(follow, n)
            time, event = np.minimum(death, censored), death <= censored
            fold, risks = folds_of(event, folds), truth + rng.standard_normal((2, n))
            died.append(event.mean())
            found = influences(time, event, risks, fold)
            draws = means_over_folds(time, event, risks, fold, 500).draws.T if number < 60 else np.full((2, 2), np.nan)
            for kind, of in kinds.items():
                rows[kind].append(
                    (of(found.values), (of(found.patients) ** 2).sum(), np.nanvar(of(draws)) if number < 60 else np.nan)
                )
        for kind, values in rows.items():
            found = np.array(values)
            errors = (found[:, 0].std(), np.sqrt(found[:, 1].mean()), np.sqrt(np.nanmean(found[:, 2])))
            print(
                f"| {n} | {folds} | {np.mean(died):.0%} | {kind} | {' | '.join(f'{one:.4f}' for one in errors)} |",
                flush=True,
            )


if __name__ == "__main__":
    words = sys.argv[1:]
    numbers = [int(word) for word in words if word.isdigit()]
    if "--trained" in words:
        trained(Path(words[words.index("--trained") + 1]))
    else:
        (boards if "--boards" in words else jackknife if "--jackknife" in words else simulated)(*numbers)
