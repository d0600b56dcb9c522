"""What a risk adds to covariates: the likelihood ratio, and the gain in C-index of a Cox model nested in folds.

A model may have a high C-index because it reads age or sex off a slide. What counts beside a clinic that knows both is
what is left when they are in the model already.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .comparisons import IntervalEstimate
from .concordance import c_index, comparable_pairs
from .cox import fit_cox
from .followup import NotComputable
from .influence import influences

RIDGE = 1.0
"""Penalty of the nested Cox models, that of the clinical baseline."""


@dataclass(frozen=True)
class AddedValue:
    """What a risk adds to covariates.

    Parameters
    ----------
    clinic, risk, both
        C-index, mean over folds: of the covariates, of the risk alone, and of both together.
    gain
        `both` minus `clinic`, with its interval over patients.
    statistic, p
        Of the likelihood ratio test of the risk beside the covariates, on one degree of freedom, stratified by fold.
        It takes the trained models as given.
    fused
        (n,) the risk of the covariates and the risk together, each patient's from a Cox model of the other folds.

    """

    clinic: float
    risk: float
    both: float
    gain: IntervalEstimate
    statistic: float
    p: float
    fused: NDArray[np.float64]


def added_value(
    time: NDArray[np.float64],
    event: NDArray[np.bool_],
    covariates: NDArray[np.float64],
    risk: NDArray[np.float64],
    fold: NDArray[np.int64],
) -> AddedValue:
    """What out-of-fold risks add to covariates.

    Parameters
    ----------
    time
        (n,) months.
    event
        (n,) True = died.
    covariates
        (n, d) columns of numbers.
    risk
        (n,) out-of-fold risks. Every fold has its own model, and so its own scale: risks are standardised within folds.
    fold
        (n,) the test fold of each patient.

    Raises
    ------
    NotComputable
        Where a fold has no comparable pair.
    CannotFit
        Where a Cox model has no solution.

    References
    ----------
    Pencina and D'Agostino: Evaluating discrimination of risk prediction models: the C statistic. JAMA 2015.

    """
    from statsmodels.duration.hazard_regression import PHReg

    names = np.unique(fold)
    if len(names) < 2:
        raise NotComputable("nested models need at least two folds")
    standard = np.empty(len(risk))
    for name in names:
        mine = risk[fold == name]
        standard[fold == name] = (mine - mine.mean()) / (mine.std() or 1.0)
    both = np.column_stack([covariates, standard])
    nested = {key: np.empty(len(risk)) for key in ("clinic", "both")}
    for name in names:
        train, test = fold != name, fold == name
        for key, columns in (("clinic", covariates), ("both", both)):
            nested[key][test] = fit_cox(columns[train], time[train], event[train], RIDGE).risk(columns[test])
    found = influences(time, event, np.stack([nested["clinic"], nested["both"]]), fold)
    difference = float(found.values[1] - found.values[0])
    error = float(np.sqrt(np.square(found.patients[1] - found.patients[0]).sum()))
    reach = float(stats.norm.ppf(0.975)) * error
    p = float(2 * stats.norm.sf(abs(difference) / error)) if error > 0 else 1.0
    likelihoods = []
    for columns in (covariates, both):
        model = PHReg(time, columns, status=event.astype(int), strata=fold, ties="breslow")
        fitted: Any = model.fit(disp=0)  # statsmodels does not type what it gives
        likelihoods.append(float(fitted.llf))
    statistic = max(0.0, 2 * (likelihoods[1] - likelihoods[0]))
    alone = float(np.mean([c_index(time[fold == k], event[fold == k], risk[fold == k]) for k in names]))
    return AddedValue(
        float(found.values[0]),
        alone,
        float(found.values[1]),
        IntervalEstimate(difference, difference - reach, difference + reach, error, p, 0.95),
        statistic,
        float(stats.chi2.sf(statistic, 1)),
        nested["both"],
    )


def c_index_by(
    time: NDArray[np.float64],
    event: NDArray[np.bool_],
    risk: NDArray[np.float64],
    fold: NDArray[np.int64],
    groups: list[str],
) -> dict[str, tuple[int, int, float | None]]:
    """C-index within each group of patients, by group: patients, deaths, and the C-index over the pairs of all folds in
    which both belong to the group; None where no pair can be compared. Pairs are of one fold, and so of one model."""
    found = {}
    for group in sorted(set(groups)):
        mine = np.array([one == group for one in groups])
        scored = [_pairs(time[at], event[at], risk[at]) for k in np.unique(fold) if (at := mine & (fold == k)).any()]
        count = sum(n for n, _ in scored)
        value = sum(n * c for n, c in scored) / count if count else None
        found[group] = (int(mine.sum()), int(event[mine].sum()), value)
    return found


def _pairs(time: NDArray[np.float64], event: NDArray[np.bool_], risk: NDArray[np.float64]) -> tuple[int, float]:
    count = int(comparable_pairs(time, event).comparable.sum())
    return count, c_index(time, event, risk) if count else 0.0
