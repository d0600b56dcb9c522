"""The parts of a fold: who is learned from, who chooses the epoch, who is scored."""

from collections.abc import Sequence
from dataclasses import asdict

from ...datasets.folds.read import cut_validation
from ...datasets.patient import Patient
from ...datasets.split import Split
from ...errors import DataError
from ...survival.concordance import comparable_pairs
from ..baselines.covariates import fit_columns
from ..baselines.fit import followup
from ..cohort_data import CohortData
from ..experiment import Experiment, seed_for
from ..recipe import epochs_of
from ..results.fold_predictions import c_index_or_none
from ..training.fit import FollowedBags
from ..training.fold import FoldParts
from ..training.fusion import Clinic


def fold_parts(experiment: Experiment, data: CohortData, split: Split) -> FoldParts:
    """The parts of one fold of a model that is trained."""
    train, val = validation_split(experiment, data, split)
    return FoldParts(
        fold=split.fold,
        train=part_of(data.bags_of(train)),
        val=part_of(data.bags_of(val)),
        test=part_of(data.bags_of(split.test)),
        outer_train=followup(data.scored((*split.train, *split.val))),
        scored_test=part_of(data.scored(split.test)),
        units=data.units,
        cohort=followup(data.bags_of([patient.id for patient in data.labels.patients])),
        owner=data.owner,
    )


def clinic_of(experiment: Experiment, data: CohortData, split: Split) -> Clinic | None:
    """What a model is joined with in a fold; None for the image alone.

    Raises
    ------
    DataError
        Covariates that are the same for the whole training set, or a validation split of which no two patients can be
        compared.
    """
    if not experiment.covariates:
        return None
    where = f"{data.labels.source}, fold {split.fold}"
    train, val = (data.scored(part) for part in validation_split(experiment, data, split))
    columns = fit_columns(train, experiment.covariates)
    if not columns.names:
        raise DataError(
            f"{where}: {', '.join(experiment.covariates)} is the same for all patients of the training set, so that "
            "there is nothing to join. Choose other --covariates, or leave them out"
        )
    learned, held_out = followup(train), followup(val)
    if not len(val) or not comparable_pairs(held_out.time, held_out.event).comparable.any():
        raise DataError(
            f"{where}: nobody of the validation split ({len(val)} patients) died before the follow-up of another "
            "ended, and on it image and clinic are joined. Add --set validation=0.3, use other folds, or leave "
            "--covariates out"
        )
    return Clinic(
        columns.of(train),
        columns.of(val),
        columns.of(data.scored(split.test)),
        learned,
        held_out,
        asdict(columns),
        where,
    )


def part_of(patients: Sequence[Patient]) -> FollowedBags:
    """Patients (or slides) with their follow-up, in this order."""
    return FollowedBags(tuple(patient.id for patient in patients), followup(patients))


def validation_split(experiment: Experiment, data: CohortData, split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who of a training set is learned from, and who is held out to choose the epoch.

    Where the folds bring no validation split, it is cut here, by the labels of the training set alone. What is not
    trained by epochs chooses none, and learns from everybody.
    """
    if experiment.recipe is None:
        return (*split.train, *split.val), ()
    if split.val or not experiment.recipe.validation:
        return split.train, split.val
    seed = seed_for(experiment.seed, split.fold, "validation")
    return cut_validation(split.train, data.labels, experiment.recipe.validation, seed)


def epochs_at_most(experiment: Experiment, data: CohortData, split: Split) -> int:
    """How many epochs a model is trained for at most on this split."""
    if experiment.recipe is None:
        return 1
    return epochs_of(experiment.recipe, len(data.bags_of(validation_split(experiment, data, split)[0])))


def oracle_c_index(data: CohortData, split: Split) -> float | None:
    """What the true risks reach on this test set; None for cohorts that were observed and not simulated."""
    truth = data.units.labels.oracle if data.units.level == "slide" else data.labels.oracle
    if truth is None:
        return None
    scored = data.scored(split.test)
    return c_index_or_none(followup(scored), [truth[patient.id] for patient in scored])
