"""Controls: what can be said of survival without looking at a single patch. A model below them has shown nothing.

clinical-cox  ridge Cox of clinical covariates
site-only     ridge Cox of the tissue source site: where a slide was made, not what is on it
bag-size      Cox of the logarithm of the number of patches: how much tissue was cut, not what is on it
random        risks drawn at random: what chance alone reaches on these folds

A control is fitted on the whole training part of a fold (there is no epoch to choose, so no inner validation part is
cut) and scored on its test part: the readings `selected` and `last` are the same, `best` does not apply.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...datasets.folds.read import Folds, Split
from ...datasets.labels.read import Labels
from ...datasets.patient import Patient
from ...errors import DataError, some
from ...survival.concordance import c_index
from ...survival.cox import CannotFit, fit_cox
from ...survival.followup import FollowUp, NotComputable
from ...survival.kaplan_meier import kaplan_meier
from ...survival.time_bins import fit_bins
from ..experiment import seed_for
from ..results.score_predictions import Entry, Said, entry, versions
from .covariates import KNOWN, fit_columns

FAMILY = "control"
BINS = 4
WHY_NOT = "a control is fitted once: there are no epochs among which the best could be chosen"


@dataclass(frozen=True)
class Control:
    """A control: its `name`, its `title`, and the ridge penalty it has unless told otherwise (None: it has none).

    `drawn` says that it depends on the seed.
    """

    name: str
    title: str
    penalty: float | None
    drawn: bool = False


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control("clinical-cox", "ridge Cox of clinical covariates", 1.0),
        Control("site-only", "ridge Cox of the tissue source site", 10.0),
        Control("bag-size", "Cox of the number of patches", 1.0),
        Control("random", "risks drawn at random", None, drawn=True),
    )
}


def run_control(
    name: str,
    labels: Labels,
    folds: Folds,
    covariates: Sequence[str] = ("age", "is_female"),
    penalty: float | None = None,
    seed: int = 0,
    patches: Mapping[str, int] | None = None,
    features: str | None = None,
    slides: str = "concat",
    owner: Mapping[str, str] = MappingProxyType({}),
    facts: Mapping[str, object] = MappingProxyType({}),
) -> Entry:
    """Fit and score a control on every fold.

    name: one of `CONTROLS`. covariates: of clinical-cox, some of `covariates.KNOWN`. penalty: of the ridge, the
    control's own where None. seed: of `random`; the others do not depend on it, and are rows of seed 0.
    patches: patches by patient, and features: the fingerprint of what they were counted in, both for bag-size.
    slides: how slides count, out of `several_slides.MODES`; where they are scored, `labels` and `folds` are of
    slides, and `owner` says whose each is. facts: further keys of every row.
    Errors: `KeyError` for an unknown name, `DataError` where a fold cannot be fitted, a covariate is unknown or known
    of nobody, or patients have no patches.
    """
    settled = settle(name, labels, folds, covariates, penalty, seed, features, slides)
    if name == "clinical-cox":
        _check_covariates(labels, covariates)
    if name == "bag-size":
        _check_patches(labels, folds, patches)
    ridge = CONTROLS[name].penalty if penalty is None else penalty
    chosen = tuple(covariates) if name == "clinical-cox" else ("site",)
    said = [_fold(name, labels, split, chosen, ridge or 0.0, seed, patches or {}) for split in folds.splits]
    said = [replace(one, owner=owner) for one in said]
    counted = {"patients": len(labels.patients), "events": sum(patient.event for patient in labels.patients)}
    told = {**counted, **versions(), "device": "cpu", "hardware": None, **facts}
    return entry(settled, told, said, ("selected", "last"), WHY_NOT)


def settle(
    name: str,
    labels: Labels,
    folds: Folds,
    covariates: Sequence[str] = ("age", "is_female"),
    penalty: float | None = None,
    seed: int = 0,
    features: str | None = None,
    slides: str = "concat",
) -> dict[str, object]:
    """What the numbers of a control follow from, and its experiment is named by; arguments as `run_control`."""
    control = CONTROLS[name]
    ridge = control.penalty if penalty is None else penalty
    settings: dict[str, object] = {} if control.penalty is None else {"penalty": ridge}
    if name == "clinical-cox":
        settings["covariates"] = ",".join(covariates)
    return {
        "model": name,
        "family": FAMILY,
        "hyperparameters": json.dumps(settings, sort_keys=True),
        "cohort": labels.cohort,
        "synthetic": labels.synthetic,
        "slides": slides,
        "folds_name": folds.name,
        "seed": seed if control.drawn else 0,
        "labels_fingerprint": labels.fingerprint,
        "folds_fingerprint": folds.fingerprint,
        "features_fingerprint": features,
    }


def _fold(
    name: str,
    labels: Labels,
    split: Split,
    covariates: Sequence[str],
    alpha: float,
    seed: int,
    patches: Mapping[str, int],
) -> Said:
    started = time.perf_counter()
    by_id = labels.by_id
    train, test = [by_id[i] for i in (*split.train, *split.val)], [by_id[i] for i in split.test]
    known, asked = followup(train), followup(test)
    if not known.event.any():
        raise DataError(f"{labels.source}: nobody in the training part of fold {split.fold} died; use other folds")
    oracle = None if labels.oracle is None else c_index_of(asked, [labels.oracle[i] for i in split.test])
    edges = np.asarray(fit_bins(known.time, known.event, BINS).upper)
    if name == "random":
        rng = np.random.default_rng(seed_for(seed, split.fold, "random"))
        risk = rng.normal(size=len(test))
        alive = kaplan_meier(known.time, known.event).at(edges)
        survival = np.tile(alive, (len(test), 1))
        return Said(split.fold, split.test, known, asked, risk, survival, edges, risk > 0, 0, 0.0, oracle)
    if name == "bag-size":
        columns = [np.log10([[patches[p.id]] for p in part]) for part in (train, test)]
        centre, spread = columns[0].mean(), columns[0].std() or 1.0
        columns = [(column - centre) / spread for column in columns]
    else:
        fitted = fit_columns(train, covariates)
        columns = [fitted.of(part) for part in (train, test)]
    on_train, on_test = columns
    if not on_train.shape[1]:
        raise DataError(
            f"{labels.source}: {', '.join(covariates)} is the same for all training patients of fold {split.fold}, so "
            f"{name} has nothing to fit. Choose other covariates"
        )
    try:
        cox = fit_cox(on_train, known.time, known.event, alpha)
    except CannotFit as error:
        raise DataError(f"{labels.source}, fold {split.fold}: {error}") from error
    return Said(
        split.fold,
        split.test,
        known,
        asked,
        cox.risk(on_test),
        survival=cox.survival(on_test, edges),
        edges=edges,
        high=cox.risk(on_test) > np.median(cox.risk(on_train)),
        parameters=on_train.shape[1],
        seconds=round(time.perf_counter() - started, 2),
        oracle=oracle,
    )


def c_index_of(asked: FollowUp, risk: Sequence[float]) -> float | None:
    """Harrell's C-index of these risks, None without a comparable pair."""
    try:
        return c_index(asked.time, asked.event, np.array(risk))
    except NotComputable:
        return None


def followup(patients: Sequence[Patient]) -> FollowUp:
    """Time and event of these patients, in this order."""
    times: NDArray[np.float64] = np.array([patient.time for patient in patients], dtype=float)
    return FollowUp(times, np.array([patient.event for patient in patients], dtype=bool))


def _check_covariates(labels: Labels, covariates: Sequence[str]) -> None:
    unknown = [name for name in covariates if name not in KNOWN]
    if unknown or not covariates:
        raise DataError(f"unknown covariate {', '.join(unknown) or '(none given)'}. Known: {', '.join(KNOWN)}")
    if len(set(covariates)) < len(covariates):
        raise DataError(f"covariates are named twice: {', '.join(covariates)}")
    for name in covariates:
        if not any(name in patient.covariates for patient in labels.patients):
            raise DataError(f"{labels.source} says {name} of no patient. Leave it out of --covariates")


def _check_patches(labels: Labels, folds: Folds, patches: Mapping[str, int] | None) -> None:
    if patches is None:
        raise DataError("bag-size counts patches: give --features with the folder that holds them")
    used = {i for split in folds.splits for i in (*split.train, *split.val, *split.test)}
    lacking = sorted(i for i in used if patches.get(i, 0) < 1)
    if lacking:
        raise DataError(
            f"{len(lacking)} patients of {labels.source} have no patches: {some(lacking)}. Extract their features"
        )
