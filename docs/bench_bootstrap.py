"""How long 10,000 bootstrap C-indices take, on one core: `OMP_NUM_THREADS=1 python docs/bench_bootstrap.py`."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported, or it has no effect

import time as clock  # noqa: E402  # the environment comes first

import numpy as np  # noqa: E402
from milsurv.leaderboards.concordance import bootstrap_concordance, draw_counts, pairs, resampled  # noqa: E402
from sksurv.metrics import concordance_index_censored  # noqa: E402


def main() -> None:
    """Print one line of a Markdown table per number of patients."""
    print("| patients | died | resamples | milsurv, s | scikit-survival, s (from 20 resamples) | largest difference |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for n in (200, 500, 1000, 2000):
        rng = np.random.default_rng(n)
        truth = rng.normal(size=n)
        death, censored = rng.exponential(40 * np.exp(-truth)), rng.exponential(40, n)
        time, event = np.round(np.minimum(death, censored) + 0.1, 1), death <= censored
        risk = np.round(truth + rng.normal(size=n), 2)
        started = clock.perf_counter()
        bootstrap_concordance(time, event, risk, resamples=10_000)
        ours = clock.perf_counter() - started
        counts = next(draw_counts(n, 20, rng))
        mine = resampled(pairs(time, event, risk), counts)
        started = clock.perf_counter()
        places = [np.repeat(np.arange(n), count) for count in counts]
        theirs = [concordance_index_censored(event[at], time[at], risk[at])[0] for at in places]
        other = (clock.perf_counter() - started) / 20 * 10_000
        print(
            f"| {n} | {event.sum()} | 10,000 | {ours:.2f} | {other:.0f} | {np.abs(mine - np.array(theirs)).max():.1e} |"
        )


if __name__ == "__main__":
    main()
