"""One fold of a baseline: fitted once on the whole training set, scored on the test set.

There is no epoch to choose, so no validation split is cut: the readings `selected` and `last` are the same, and `best`
does not apply.
"""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...datasets.patient import Patient
from ...errors import DataError, some
from ...survival.cox import CannotFit, Cox, fit_cox
from ...survival.followup import FollowUp, Prediction
from ...survival.kaplan_meier import kaplan_meier
from ...survival.time_bins import fit_bins
from ..cohort_data import CohortData
from ..experiment import seed_for
from ..results.fold_predictions import FoldOutcome, FoldPredictions, outcome_of
from .covariates import check_covariates, fit_columns
from .registry import BASELINES, DEFAULT_COVARIATES

BINS = 4
READINGS = ("selected", "last")
WHY_NOT = "a baseline is fitted once: there are no epochs among which the best could be chosen"


def fit_baseline(
    name: str,
    train: Sequence[Patient],
    test: Sequence[Patient],
    *,
    fold: int,
    hyperparameters: Mapping[str, object],
    seed: int = 0,
    patches: Mapping[str, int] | None = None,
    owner: Mapping[str, str] | None = None,
    source: str = "the labels",
) -> FoldOutcome:
    """Fit a baseline on the training set of a fold and score its test set.

    Parameters
    ----------
    name
        One of `BASELINES`.
    train, test
        Who is learned from and who is scored: patients, or slides where slides are scored.
    hyperparameters
        `penalty` of the ridge, and for clinical-cox `covariates`, joined by commas.
    seed
        Of `random`; the others do not depend on it.
    patches
        How many patches there are of each of them, for bag-size.
    owner
        The patient of each slide, where slides are scored.
    source
        Where the labels come from, for messages.

    Raises
    ------
    DataError
        Nobody in the training set died, or there is nothing to fit.
    """
    started = time.perf_counter()
    train_followup, test_followup = followup(train), followup(test)
    if not train_followup.event.any():
        raise DataError(f"{source}: nobody in the training set of fold {fold} died; use other folds")
    edges = np.asarray(fit_bins(train_followup.time, train_followup.event, BINS).upper)
    if name == "random":
        risk = np.random.default_rng(seed_for(seed, fold, "random")).normal(size=len(test))
        high, parameters, seconds = risk > 0, 0, 0.0
        alive = kaplan_meier(train_followup.time, train_followup.event).at(edges)
        survival = np.tile(alive, (len(test), 1))
    else:
        if name == "bag-size":
            on_train, on_test = _standardised_sizes(train, test, patches or {})
        else:
            covariates = covariates_of(hyperparameters) if name == "clinical-cox" else ("site",)
            columns = fit_columns(train, covariates)
            on_train, on_test = columns.of(train), columns.of(test)
            if not on_train.shape[1]:
                raise DataError(
                    f"{source}: {', '.join(covariates)} is the same for all training patients of fold {fold}, so "
                    f"{name} has nothing to fit. Choose other covariates"
                )
        cox = _fit(on_train, train_followup, float(str(hyperparameters["penalty"])), f"{source}, fold {fold}")
        risk, survival = cox.risk(on_test), cox.survival(on_test, edges)
        high = risk > np.median(cox.risk(on_train))
        parameters, seconds = on_train.shape[1], round(time.perf_counter() - started, 2)
    predictions = FoldPredictions(
        fold=fold,
        patients=tuple(patient.id for patient in test),
        train_followup=train_followup,
        test_followup=test_followup,
        prediction=Prediction(risk, survival, edges, high),
        owner=owner or {},
    )
    return outcome_of(predictions, READINGS, WHY_NOT, parameters=parameters, seconds=seconds)


def followup(patients: Sequence[Patient]) -> FollowUp:
    """Time (months) and event of these patients, in this order."""
    times: NDArray[np.float64] = np.array([patient.time for patient in patients], dtype=float)
    return FollowUp(times, np.array([patient.event for patient in patients], dtype=bool))


def covariates_of(hyperparameters: Mapping[str, object]) -> tuple[str, ...]:
    """The covariates of clinical-cox, from its hyperparameters."""
    return tuple(str(hyperparameters.get("covariates", ",".join(DEFAULT_COVARIATES))).split(","))


def check_baseline(name: str, data: CohortData, covariates: Sequence[str] = ()) -> None:
    """Check before any fold that a baseline finds what it reads.

    Raises
    ------
    DataError
        A covariate is known of nobody; or somebody in a fold has no patches to count.
    """
    source = data.labels.source
    if name == "clinical-cox":
        check_covariates(data.labels, covariates)
    if BASELINES[name].counts_patches:
        used = (patient for s in data.folds.splits for patient in data.scored((*s.train, *s.val, *s.test)))
        lacking = sorted({patient.id for patient in used if (data.patches or {}).get(patient.id, 0) < 1})
        if lacking:
            raise DataError(
                f"{len(lacking)} patients of {source} have no patches: {some(lacking)}. Extract their features"
            )


def _standardised_sizes(
    train: Sequence[Patient], test: Sequence[Patient], patches: Mapping[str, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The logarithm of the number of patches, scaled by the training set's mean and spread, each (n, 1)."""
    on_train, on_test = (np.log10([[patches[patient.id]] for patient in group]) for group in (train, test))
    centre, spread = on_train.mean(), on_train.std() or 1.0
    return (on_train - centre) / spread, (on_test - centre) / spread


def _fit(columns: NDArray[np.float64], train_followup: FollowUp, penalty: float, where: str) -> Cox:
    try:
        return fit_cox(columns, train_followup.time, train_followup.event, penalty)
    except CannotFit as error:
        raise DataError(f"{where}: {error}") from error
