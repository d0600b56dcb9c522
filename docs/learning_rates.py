"""Choose the default learning rate of every model by one written rule: `python docs/learning_rates.py FOLDER`.

Every model is cross-validated on draws of simulated cohorts that nothing else in this repository uses and that are
never published: `planted-fine`, and for models of several scales `planted-coarse` too. The rule: begin at 5e-4 and its
two neighbours among 1e-4, 2e-4, 5e-4, 1e-3 and 2e-3, and go on to the next one as long as the mean C-index of the
reading `selected` is highest at the end of what was tried. A model's rate is 5e-4, unless another has a higher mean by
more than one standard error of their paired difference over all folds; then it is the one with the highest mean. The
same command goes on where it was stopped. It ends with the table of docs/protocol.md, and with an error where the
`learning_rate` of a model's SPEC is not what the rule says.
"""

import argparse
import sys
from pathlib import Path

import milsurv
import numpy as np
from milsurv.models import registry

DRAW = 2718
"""The draw of the cohorts, used nowhere else."""
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
USUAL = 5e-4
COHORTS = {"single-scale": ("planted-fine",), "multi-scale": ("planted-fine", "planted-coarse")}


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default=",".join(registry.MODELS))
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--jobs", default="1")
    given = parser.parse_args()
    wrong = []
    print(f"| model | {' | '.join(f'{rate:g}' for rate in RATES)} | chosen | at its last epoch |")
    print("|" + " --- |" * (len(RATES) + 3))
    for model in given.models.split(","):
        found = {}
        while missing := to_try({rate: c.mean() for rate, (c, _) in found.items()}):
            found |= {rate: measured(model, rate, given) for rate in missing}
        rate = chosen({rate: c for rate, (c, _) in found.items()})
        means = (f"{found[rate][0].mean():.3f}" if rate in found else "\N{EN DASH}" for rate in RATES)
        print(f"| `{model}` | {' | '.join(means)} | {rate:g} | {found[rate][1]:.0%} |", flush=True)
        if registry.get(model).learning_rate != rate:
            wrong.append(f"{model}: {rate:g}")
    sys.exit(f"SPECs that say otherwise: {', '.join(wrong)}" if wrong else 0)


def measured(model: str, rate: float, given: argparse.Namespace) -> tuple[np.ndarray, float]:
    """C-index (selected) of every fold, cohort after cohort; the share of folds whose last epoch was selected."""
    rows = [
        milsurv.run(
            model, cohort, out=given.folder, patients=given.patients, folds=given.folds, cohort_seed=DRAW,
            settings={"learning_rate": rate}, jobs=given.jobs, keep_weights="none", tracking="none",
            progress=False,
        )
        for cohort in COHORTS[registry.get(model).family]
    ]  # fmt: skip
    c_index = np.concatenate([row["c_index_selected"] for row in rows])
    last = np.concatenate([row["epoch_selected"] == row["epochs"] for row in rows])
    return c_index, float(last.mean())


def to_try(means: dict[float, float]) -> tuple[float, ...]:
    """The rates that the rule asks for next, of the mean C-index by learning rate so far."""
    if not means:
        usual = RATES.index(USUAL)
        return RATES[usual - 1 : usual + 2]
    best = RATES.index(max(means, key=means.__getitem__))
    return tuple(rate for rate in RATES[max(best - 1, 0) : best + 2] if rate not in means)


def chosen(c_index: dict[float, np.ndarray]) -> float:
    """The learning rate that the rule names, of the C-index of every fold by learning rate."""
    best = max(c_index, key=lambda rate: c_index[rate].mean())
    gain = c_index[best] - c_index[USUAL]
    return best if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else USUAL


if __name__ == "__main__":
    main()
