"""The Experiment: a model on the bags of a cohort, with a protocol and a seed, named by a hash of all of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..names import joined_name
from .recipe import Recipe, Tuning
from .recipe import id_fields as recipe_fields

PROTOCOL = 4
"""Raised whenever a change of ours changes numbers, so that old and new rows can never share an id."""
FAMILY = "control"
"""What rows call the family of a baseline."""
IMPORTED = "imported"
"""What rows call the family of predictions that another group made."""


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the numbers of one cross-validated run, of a model that is trained, or of a baseline.

    model, hyperparameters: a name of the registry and every hyperparameter that it is built with.
    cohort, cohort_version: a name of the cohort registry and its version.
    backbone: the patch encoder; magnifications: the scales that are read. A baseline has neither.
    recipe: how the model is trained; None for a baseline, which is fitted once, and for imported predictions.
    endpoint: what is predicted; `os` is overall survival.
    folds_name, n_folds: which outer folds.
    slides: how several slides of a patient count; `concat` lays them into one bag.
    missing: `error`, or `drop` where patients without features were left out (and listed).
    seed: of weights, batches and the validation split.
    device: `cpu` or `cuda`; numbers differ between them in the last digits.
    labels_fingerprint, folds_fingerprint, features_fingerprint: of the content that was read.
    synthetic: True when the cohort is simulated and was not observed.
    predictions_fingerprint: of another group's predictions; None for what is computed here.
    tuning: how the settings of every fold are chosen, starting from those above; None where these are used.
    covariates: what a model that is trained is joined with, see `training.fusion`; those of the baseline clinical-cox
        are its hyperparameter.
    """

    model: str
    hyperparameters: Mapping[str, object]
    cohort: str
    cohort_version: str
    recipe: Recipe | None
    folds_name: str
    n_folds: int
    seed: int
    device: str
    labels_fingerprint: str
    folds_fingerprint: str
    features_fingerprint: str | None = None
    backbone: str | None = None
    magnifications: tuple[int, ...] = ()
    endpoint: str = "os"
    slides: str = "concat"
    missing: str = "error"
    synthetic: bool = False
    predictions_fingerprint: str | None = None
    protocol: int = field(default=PROTOCOL)
    tuning: Tuning | None = None
    covariates: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The model and its cohort."""
        return f"{joined_name(self.model, self.covariates)} on {self.cohort}" + " (synthetic)" * self.synthetic

    @property
    def id(self) -> str:
        """See `id_of`."""
        return id_of(self.id_fields())

    def id_fields(self) -> dict[str, object]:
        """What the id is the hash of.

        A trained model's numbers follow from all fields. A baseline's follow from labels, folds and its own settings,
        and those of imported predictions from the predictions: they keep their id when anything else changes.
        """
        tuned = {} if self.tuning is None else {"tuning": self.tuning.id_fields()}
        return self._plain_id_fields() | tuned

    def _plain_id_fields(self) -> dict[str, object]:
        common: dict[str, object] = {
            "model": self.model,
            "cohort": self.cohort,
            "synthetic": self.synthetic,
            "folds_name": self.folds_name,
            "seed": self.seed,
            "protocol": self.protocol,
        }
        if self.recipe is not None:
            if self.covariates:
                common |= {"covariates": ",".join(self.covariates)}
            return common | {
                "hyperparameters": dict(self.hyperparameters),
                "cohort_version": self.cohort_version,
                "backbone": self.backbone,
                "magnifications": list(self.magnifications),
                "recipe": recipe_fields(self.recipe),
                "n_folds": self.n_folds,
                "device": self.device,
                "labels": self.labels_fingerprint,
                "folds": self.folds_fingerprint,
                "features": self.features_fingerprint,
                "endpoint": self.endpoint,
                "slides": self.slides,
                "missing": self.missing,
            }
        common |= {
            "hyperparameters": json.dumps(dict(self.hyperparameters), sort_keys=True),
            "labels_fingerprint": self.labels_fingerprint,
            "folds_fingerprint": self.folds_fingerprint,
        }
        if self.predictions_fingerprint is not None:
            return common | {"family": IMPORTED, "_predictions": self.predictions_fingerprint}
        return common | {
            "family": FAMILY,
            "slides": self.slides,
            "features_fingerprint": self.features_fingerprint,
        }


def canonical_of(id_fields: Mapping[str, object]) -> str:
    """The fields of an id as one text: sorted keys, no blanks."""
    return json.dumps(id_fields, sort_keys=True, separators=(",", ":"))


def id_of(id_fields: Mapping[str, object]) -> str:
    """The id of the experiment with these fields: ten hexadecimal digits of the SHA-256 of their text."""
    return hashlib.sha256(canonical_of(id_fields).encode()).hexdigest()[:10]


def seed_for(seed: int, fold: int, purpose: str) -> int:
    """A seed of its own for each fold and purpose (`weights`, `batches`, `validation`, `dropout`, `prepare`, …).

    It depends on nothing else: all models of one seed see the same validation split and the same batch order, which
    is what makes their differences paired, and no label can reach the random numbers.
    """
    digest = hashlib.sha256(f"{seed}/{fold}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
