"""What the rows of an experiment share, whatever the fold."""

import json
from dataclasses import replace

from ...leaderboards.result_row import ResultRow
from ...models import registry
from ..cohort_data import CohortData
from ..experiment import FAMILY, IMPORTED, Experiment
from ..recipe import loss_of
from ..recipe import title as recipe_title
from ..results.provenance import code_version, hardware, libraries


def describe(experiment: Experiment, data: CohortData) -> ResultRow:
    """What the rows of all folds of an experiment share."""
    recipe, versions = experiment.recipe, libraries()
    return ResultRow(
        status="running",
        experiment=experiment.id,
        fold=0,
        n_folds=experiment.n_folds,
        seed=experiment.seed,
        model=experiment.model,
        family=family_of(experiment),
        scales=",".join(map(str, experiment.magnifications)) or None,
        cohort=experiment.cohort,
        synthetic=experiment.synthetic,
        backbone=experiment.backbone,
        loss=loss_of(recipe, experiment.tuning),
        recipe=recipe_title(recipe, experiment.tuning),
        slides=experiment.slides,
        folds_name=experiment.folds_name,
        hyperparameters=json.dumps(dict(experiment.hyperparameters), sort_keys=True),
        covariates=",".join(experiment.covariates) or None,
        cohort_version=experiment.cohort_version,
        endpoint=experiment.endpoint,
        missing=experiment.missing,
        protocol=experiment.protocol,
        patients=len(data.labels.patients),
        events=sum(patient.event for patient in data.labels.patients),
        clinical=",".join(data.labels.clinical),
        labels_fingerprint=experiment.labels_fingerprint,
        folds_fingerprint=experiment.folds_fingerprint,
        features_fingerprint=experiment.features_fingerprint,
        code_version=code_version(),
        torch_version=versions["torch"] if recipe else None,
        scikit_survival_version=None if recipe else versions["scikit-survival"],
        untuned_experiment=replace(experiment, tuning=None).id if experiment.tuning else None,
        device=experiment.device,
        hardware=hardware(experiment.device) if recipe else None,
    )


def family_of(experiment: Experiment) -> str:
    """What rows call the kind of model: that of the registry, or one of those that no epochs train."""
    if experiment.predictions_fingerprint is not None:
        return IMPORTED
    return registry.get(experiment.model).family if experiment.recipe is not None else FAMILY
