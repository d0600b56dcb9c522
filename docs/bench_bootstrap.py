"""How long 10,000 bootstrap C-indices take on one core, and with `--validity` how often the tests are wrong or right.

`python docs/bench_bootstrap.py [--validity|--scored-often]` prints the tables of docs/statistics.md.
"""

import sys

from harness import head, line, one_thread, took

one_thread()

import numpy as np  # noqa: E402  # threads are set before numpy is imported
from milsurv.survival.bootstrap import draw_counts, resampled, scored_pairs  # noqa: E402
from milsurv.survival.comparisons import (  # noqa: E402
    bootstrap_interval,
    corrected_t_test,
    minimum_detectable_difference,
    paired_bootstrap,
)
from milsurv.survival.concordance import c_index  # noqa: E402
from scipy import stats  # noqa: E402
from sksurv.metrics import concordance_index_censored  # noqa: E402


def main() -> None:
    """Print one line of a Markdown table per number of patients."""
    head("patients", "died", "resamples", "milsurv, s", "scikit-survival, s (from 20 resamples)", "largest difference")
    for n in (200, 500, 1000, 2000):
        rng = np.random.default_rng(n)
        truth = rng.normal(size=n)
        death, censored = rng.exponential(40 * np.exp(-truth)), rng.exponential(40, n)
        time, event = np.round(np.minimum(death, censored) + 0.1, 1), death <= censored
        risk = np.round(truth + rng.normal(size=n), 2)
        ours = took(lambda: bootstrap_interval(time, event, risk, np.zeros(n), resamples=10_000))  # noqa: B023
        counts = next(draw_counts(n, 20, rng))
        mine = resampled(scored_pairs(time, event, risk), counts)
        theirs: list[float] = []

        def by_sksurv() -> None:
            for count in counts:  # noqa: B023  # called before the loop goes on
                at = np.repeat(np.arange(n), count)  # noqa: B023
                theirs.append(concordance_index_censored(event[at], time[at], risk[at])[0])  # noqa: B023

        other = took(by_sksurv) / 20 * 10_000
        line(n, event.sum(), "10,000", f"{ours:.2f}", f"{other:.0f}", f"{np.abs(mine - np.array(theirs)).max():.1e}")


def validity() -> None:
    """Print how often two models are called different at alpha 0.05: where they are alike, and where one is better."""
    print("| patients | died | true difference | detectable at 80 % power | bootstrap | corrected t-test |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    settings = [
        (375, 40, 0.0, 2000),
        (375, 10, 0.0, 2000),
        (150, 40, 0.0, 2000),
        (375, 40, 0.5, 600),
        (375, 10, 0.5, 600),
    ]
    for n, follow_up, better, repeats in settings:
        rejected, by_t, found, died = 0, 0, [], []
        for repeat in range(repeats):
            rng = np.random.default_rng([repeat, n, follow_up])
            truth = rng.normal(size=n)
            death, censored = rng.exponential(40 * np.exp(-0.7 * truth)), rng.exponential(follow_up, n)
            time, event, fold = np.minimum(death, censored) + 0.1, death <= censored, np.arange(n) % 5
            first = truth + (1.5 - better) * rng.normal(size=n)
            second = truth + 1.5 * rng.normal(size=n)
            estimate = paired_bootstrap(time, event, first, second, fold, resamples=1000, seed=repeat)
            parts = [fold == k for k in range(5)]
            scores = [[c_index(time[at], event[at], risk[at]) for at in parts] for risk in (first, second)]
            rejected += (estimate.p or 0.0) <= 0.05
            by_t += (corrected_t_test(np.subtract(*scores).tolist(), n / 5, 4 * n / 5).p or 0.0) <= 0.05
            found.append((estimate.value, minimum_detectable_difference(estimate.standard_error)))
            died.append(event.mean())
        difference, detectable = np.mean(found, axis=0)
        rates = " | ".join(_rate(count, repeats) for count in (rejected, by_t))
        print(f"| {n} | {np.mean(died):.0%} | {abs(difference):.3f} | {detectable:.3f} | {rates} |", flush=True)


def scored_often(comparisons: int = 200) -> None:
    """Print how often two equally good models are called different where every patient is scored three times."""
    print("| three scores of a patient lie in | comparisons | patients drawn | scores drawn |")
    print("| --- | ---: | ---: | ---: |")
    n, times = 100, 3
    for name in ("one fold (slides)", "three folds (repeats)"):
        called = [0, 0]
        for comparison in range(comparisons):
            rng = np.random.default_rng([comparison, n, times])
            truth = rng.normal(size=n)
            death, censored = rng.exponential(40 * np.exp(-0.7 * truth)), rng.exponential(40, n)
            time, event = np.minimum(death, censored) + 0.1, death <= censored
            # What a model gets wrong about a patient mostly stays wrong, in another slide and another training.
            stays, changes = 0.8 * rng.normal(size=(2, n)), 0.3 * rng.normal(size=(2, times * n))
            first, second = np.tile(truth + stays, times) + changes
            fold = np.tile(np.arange(n) % 5, times) + (5 * np.repeat(np.arange(times), n) if "repeats" in name else 0)
            time, event, whose = (np.tile(column, times) for column in (time, event, np.arange(n)))
            for at, patient in enumerate((whose, None)):
                found = paired_bootstrap(time, event, first, second, fold, 500, seed=comparison, patient=patient)
                called[at] += (found.p or 0.0) <= 0.05
        print(f"| {name} | {comparisons} | {' | '.join(_rate(count, comparisons) for count in called)} |", flush=True)


def _rate(count: int, of: int) -> str:
    interval = stats.binomtest(count, of).proportion_ci()
    return f"{count / of:.1%} ({interval.low:.1%} to {interval.high:.1%})"


if __name__ == "__main__":
    {"--validity": validity, "--scored-often": scored_often}.get(" ".join(sys.argv[1:]), main)()
