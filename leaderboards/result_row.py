"""The row of a Result: one fold of one experiment, as one flat JSON object on disk and one dataclass here.

Whoever writes a row and whoever reads one uses this class. A metric is not a field of it: the metrics of a row are
those of `survival.metrics.METRICS`, each at every reading, so that a new metric is a column without a second entry.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from ..errors import RowError
from ..names import joined_name
from ..survival import metrics as registry

SCHEMA = 1
"""Version of the layout on disk."""
READINGS = ("selected", "last", "best")
"""`selected`: the epoch is chosen on the validation split; the one we rank by. `last`: the last epoch. `best`: the best
epoch on the test fold, as papers report it; it never ranks."""

Status = Literal["finished", "failed", "running"]
Text = Annotated[str, Meta(min_length=1, description="text")]
Count = Annotated[int, Meta(ge=0, description="a whole number >= 0")]
Folds = Annotated[int, Meta(ge=0, le=10_000, description="a whole number from 0 to 10000")]
Share = Annotated[float, Meta(ge=0, le=1, description="a number between 0 and 1")]
Coefficient = Annotated[float, Meta(description="a number")]
Seconds = Annotated[float, Meta(ge=0, description="a number >= 0")]


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One fold of one experiment.

    Fields without a default are known for every fold that was ever started; None there means that it does not apply
    (a baseline reads no features and has no loss). A finished fold also has fingerprints of labels and folds, its
    counts of patients, and its C-index at every reading.

    Attributes
    ----------
    status
        `finished`, `failed` or `running`.
    experiment
        Id of the experiment: a hash of all that decides its numbers.
    fold
        Number of the fold, from 0.
    n_folds
        How many folds the experiment has.
    seed
        Seed of the experiment.
    model
        The model, or the baseline.
    family
        Kind of model; `control` is a baseline, which sees no slide, `imported` are predictions of others.
    scales
        Magnifications that are read, as `5,10,20`.
    cohort
        Name of the cohort.
    synthetic
        Whether the features, or the whole cohort, are simulated.
    backbone
        Encoder of the features.
    loss
        Training loss.
    recipe
        Training recipe, with what differs from it.
    slides
        How several slides of a patient count.
    folds_name
        Name of the folds, such as `official` or `stratified-5-seed0`.
    hyperparameters
        Hyperparameters of the model: the JSON text of an object.
    covariates
        Covariates that a trained model is joined with, as `age,is_female`; null for the image alone. Those of the
        baseline `clinical-cox` are its hyperparameter.
    error
        Why the fold failed.
    cohort_version
        Version of the cohort; a corrected cohort is a new one.
    endpoint
        Endpoint: `os`, `dss`, `dfi` or `pfi`.
    missing
        What was done with patients without features: `error` or `drop`.
    protocol
        Version of the protocol that numbers follow from.
    patients
        Patients of the experiment, over all folds.
    events
        How many of them died.
    labels_fingerprint
        Fingerprint of the labels.
    folds_fingerprint
        Fingerprint of the folds.
    features_fingerprint
        Fingerprint of the features.
    n_train
        Patients (or slides) of the training set, without the validation split.
    n_val
        Those of the validation split.
    n_test
        Those of the test fold.
    events_train
        Deaths in the training set.
    events_val
        Deaths in the validation split.
    events_test
        Deaths in the test fold.
    epochs
        Epochs that were trained.
    epoch_selected
        Epoch of the reading `selected`.
    epoch_last
        Epoch of the reading `last`.
    epoch_best
        Epoch of the reading `best`.
    bin_edges
        Upper edges of the time bins, in months.
    parameters
        Trained parameters.
    seconds
        Time of training this fold.
    weights_fingerprint
        SHA-256 of the file that holds the weights of the reading `selected`; null where no weights are kept.
    fusion_clinic
        Where covariates are joined: log hazard ratio per standard deviation of the clinic's risk, beside the image's.
    fusion_image
        That of the image's risk, beside the clinic's.
    ibs_km
        Integrated Brier score of the Kaplan-Meier curve of the training set, which knows nothing about a patient.
    truncation_months
        Truncation time of the fold: where Uno's C, `c_index_tau`, `auc_mean`, the Brier score and `mae` stop.
    oracle_c_index
        C-index of the true risks of a simulated cohort.
    source
        File that imported predictions come from, with its hash.
    left_out
        Patients without an imported prediction.
    reads
        What an imported model reads, in words, such as `slides and genes`.
    clinical
        Covariates of the clinical baseline of the cohort, named before any model was run; empty where its tables hold
        none.
    trials
        Settings that were tried to tune this fold; none where it was not tuned.
    trials_failed
        Those that could not be trained.
    tuned_settings
        The settings chosen for this fold: the JSON text of an object.
    tuned_trial
        Number of the trial that tried them; 0 is the setting without tuning.
    tuned_c_index
        C-index of the chosen setting on patients of the training set that were held out.
    untuned_c_index
        That of the setting without tuning.
    untuned_experiment
        Id of the same experiment without tuning, whether or not it was run.
    tuning_seconds
        Time of all trials of this fold.
    code_version
        Version of milsurv, with the commit.
    torch_version
        Version of torch.
    scikit_survival_version
        Version of scikit-survival, for baselines.
    device
        `cpu` or `cuda`.
    hardware
        Processor or GPU.
    created
        When the fold began, in UTC.
    command
        The `bench run` command that gives this row again.
    scores
        Value of every metric at every reading, by column (`c_index_selected`); None where it has none.
    reasons
        Why a column has no value, by column.
    extra
        What other versions, or metrics that are not installed here, wrote; kept as it was.
    """

    status: Status
    experiment: Text
    fold: Count
    n_folds: Folds
    seed: Count
    model: Text
    family: str | None
    scales: str | None
    cohort: Text
    synthetic: bool
    backbone: str | None
    loss: str | None
    recipe: str | None
    slides: str | None
    folds_name: Text
    hyperparameters: Text

    covariates: str | None = None
    error: str | None = None
    cohort_version: str | None = None
    endpoint: str | None = None
    missing: str | None = None
    protocol: Count | None = None
    patients: Count | None = None
    events: Count | None = None
    labels_fingerprint: str | None = None
    folds_fingerprint: str | None = None
    features_fingerprint: str | None = None
    n_train: Count | None = None
    n_val: Count | None = None
    n_test: Count | None = None
    events_train: Count | None = None
    events_val: Count | None = None
    events_test: Count | None = None
    epochs: Count | None = None
    epoch_selected: Count | None = None
    epoch_last: Count | None = None
    epoch_best: Count | None = None
    bin_edges: str | None = None
    parameters: Count | None = None
    seconds: Seconds | None = None
    weights_fingerprint: str | None = None
    fusion_clinic: Coefficient | None = None
    fusion_image: Coefficient | None = None
    ibs_km: Share | None = None
    truncation_months: Annotated[float, Meta(gt=0, description="a number > 0")] | None = None
    oracle_c_index: Share | None = None
    source: str | None = None
    left_out: Count | None = None
    reads: str | None = None
    clinical: str | None = None
    trials: Count | None = None
    trials_failed: Count | None = None
    tuned_settings: str | None = None
    tuned_trial: Count | None = None
    tuned_c_index: Share | None = None
    untuned_c_index: Share | None = None
    untuned_experiment: str | None = None
    tuning_seconds: Seconds | None = None
    code_version: str | None = None
    torch_version: str | None = None
    scikit_survival_version: str | None = None
    device: str | None = None
    hardware: str | None = None
    created: str | None = None
    command: str | None = None

    scores: Mapping[str, float | None] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the fold was trained and scored."""
        return self.status == "finished"

    @property
    def joined_with(self) -> tuple[str, ...]:
        """The covariates that a trained model is joined with."""
        return tuple(self.covariates.split(",")) if self.covariates else ()

    @property
    def label(self) -> str:
        """The model, and the covariates that it is joined with: `abmil + age, is_female`."""
        return joined_name(self.model, self.joined_with)

    @property
    def settings(self) -> dict[str, Any]:
        """The hyperparameters as values."""
        return json.loads(self.hyperparameters)

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings that tuning chose for this fold, as values; none where it was not tuned."""
        return json.loads(self.tuned_settings) if self.tuned_settings else {}

    @property
    def epoch_by_reading(self) -> dict[str, int | None]:
        """The epoch of every reading."""
        return {reading: getattr(self, f"epoch_{reading}") for reading in READINGS}

    def score(self, column: str) -> float | None:
        """The value of a column of `score_columns`; None where it has none."""
        return getattr(self, column) if column in FIXED_SCORES else self.scores.get(column)

    def with_scores(self, reading: str, found: Mapping[str, float | str | None]) -> "ResultRow":
        """The row with the metrics of one reading.

        Parameters
        ----------
        reading
            One of `READINGS`.
        found
            As `survival.metrics.score_all` gives them: metric to value, and `why_` metric to the reason. A value that
            is not finite is none.
        """
        scores, reasons = dict(self.scores), dict(self.reasons)
        for key, value in found.items():
            column = f"{key.removeprefix('why_')}_{reading}"
            if key.startswith("why_"):
                reasons[column] = str(value)
            elif isinstance(value, int | float) and not math.isfinite(value):
                scores[column], reasons[column] = None, f"the value is not a finite number ({value})"
            else:
                scores[column] = None if value is None else float(value)
        return replace(self, scores=scores, reasons=reasons)

    def to_json(self) -> dict[str, Any]:
        """The row as one flat object of plain values, as it lies on disk."""
        return {
            "schema": SCHEMA,
            **{name: getattr(self, name) for name in fixed_fields()},
            **self.scores,
            **{f"why_{column}": why for column, why in self.reasons.items()},
            **self.extra,
        }

    def summary(self) -> dict[str, Any]:
        """What `--json` prints of a fold: every metric by reading, and why some have no value."""
        head = {"fold": self.fold, "status": self.status, "error": self.error}
        if not self.finished:
            return head
        rest = ("ibs_km", "oracle_c_index", "n_train", "n_val", "n_test", "events_test", "epochs", "parameters",
                "seconds")  # fmt: skip
        return {
            **head,
            **{
                metric: {reading: self.scores.get(f"{metric}_{reading}") for reading in READINGS}
                for metric in metric_names()
            },
            "epoch": self.epoch_by_reading,
            **{name: getattr(self, name) for name in rest},
            "why": dict(self.reasons),
        }


FIXED_SCORES = ("ibs_km", "oracle_c_index")
"""Scores without a reading: they do not depend on the epoch."""
_OPEN = ("scores", "reasons", "extra")


def metric_names() -> tuple[str, ...]:
    """The metrics of the registry, in its order."""
    return tuple(registry.METRICS)


def metric_columns() -> tuple[str, ...]:
    """Every metric at every reading."""
    return tuple(f"{metric}_{reading}" for metric in metric_names() for reading in READINGS)


def score_columns() -> tuple[str, ...]:
    """All columns that hold a score: `metric_columns` and `FIXED_SCORES`."""
    return (*metric_columns(), *FIXED_SCORES)


@cache
def fixed_fields() -> tuple[str, ...]:
    """The columns that do not depend on the metric registry."""
    return tuple(one.name for one in fields(ResultRow) if one.name not in _OPEN)


def parse_row(found: object, name: str = "row", remedy: str = "Delete this file and run the fold again") -> ResultRow:
    """A row from a plain JSON object.

    Parameters
    ----------
    found
        What the JSON holds.
    name, remedy
        What messages call its place, and what they say to do.

    Raises
    ------
    RowError
        With every way in which it departs from `ResultRow`, by key.
    """
    if not isinstance(found, dict):
        raise RowError(f"{name}: holds {type(found).__name__} where one JSON object is expected. {remedy}")
    version = found.get("schema")
    if isinstance(version, int) and version != SCHEMA:
        known = f"schema {version} is not the schema this version of milsurv reads ({SCHEMA}); update milsurv"
        raise RowError(f"{name}: {known}. {remedy}")
    if faults := list(_faults(found)):
        raise RowError(f"{name}: {'; '.join(faults)}. {remedy}")
    return ResultRow(**_nested(found))


def _nested(found: Mapping[str, Any]) -> dict[str, Any]:
    """The flat object with scores, reasons and the rest apart."""
    columns, fixed = set(metric_columns()), set(fixed_fields())
    nested: dict[str, Any] = {key: {} for key in _OPEN}
    for key, value in found.items():
        if key in fixed:
            nested[key] = value
        elif key in columns:
            nested["scores"][key] = None if value is None else float(value)
        elif key.startswith("why_") and isinstance(value, str):
            nested["reasons"][key.removeprefix("why_")] = value
        elif key != "schema":
            nested["extra"][key] = value
    return nested


def _faults(found: Mapping[str, Any]) -> Iterator[str]:
    try:
        msgspec.convert(found, _sound())
    except msgspec.ValidationError:  # of one field: say it of all
        yield from _faults_of_fields(found)
    for metric in registry.METRICS.values():
        for key in (f"{metric.name}_{reading}" for reading in READINGS):
            if not _is_score(found.get(key), *metric.bounds):
                low, high = metric.bounds
                yield _expected(found, key, f"a number between {low:g} and {high:g}, or null")
    fold, n_folds = found.get("fold"), found.get("n_folds")
    if isinstance(fold, int) and isinstance(n_folds, int) and fold >= n_folds:
        yield f"fold is {fold}, yet n_folds is {n_folds}; folds count from 0"
    if isinstance(found.get("hyperparameters"), str) and not _is_object_text(found["hyperparameters"]):
        yield "hyperparameters is not the JSON text of an object"
    if found.get("status") == "finished":
        yield from _lacks_of_finished(found)


def _faults_of_fields(found: Mapping[str, Any]) -> Iterator[str]:
    for key, hint in {"schema": Count, **_hints()}.items():
        if key in found or key in _required():
            try:
                msgspec.convert(found.get(key, msgspec.UNSET), hint)
            except msgspec.ValidationError:
                yield _expected(found, key, _words(hint))


def _lacks_of_finished(found: Mapping[str, Any]) -> Iterator[str]:
    for key in ("labels_fingerprint", "folds_fingerprint"):
        if not found.get(key):
            yield _expected(found, key, "text")
    for key in ("patients", "events", "n_test", "events_test"):
        if found.get(key) is None:
            yield _expected(found, key, "a whole number >= 0")
    for key in (f"c_index_{reading}" for reading in READINGS):
        if key not in found:
            yield _expected(found, key, "a number, or null with why")


@cache
def _hints() -> dict[str, Any]:
    return {key: hint for key, hint in get_type_hints(ResultRow, include_extras=True).items() if key not in _OPEN}


@cache
def _required() -> set[str]:
    return {"schema"} | {one.name for one in fields(ResultRow) if one.name in _hints() and one.default is not None}


@cache
def _sound() -> type[msgspec.Struct]:
    """Every field with its type, in one: what most rows are checked by."""
    hints = {"schema": Count, **_hints()}
    return msgspec.defstruct(
        "Sound", [(key, hint) if key in _required() else (key, hint, None) for key, hint in hints.items()], kw_only=True
    )


def _words(hint: Any) -> str:
    """What a field expects, in words."""
    parts = [part for part in get_args(hint) if part is not NoneType] if NoneType in get_args(hint) else [hint]
    for meta in getattr(parts[0], "__metadata__", ()):
        words = meta.description
        break
    else:
        plain = {str: "text", bool: "true or false"}
        words = plain.get(parts[0]) or f"one of {', '.join(map(str, get_args(parts[0])))}"
    return words if parts[0] is hint else f"{words}, or null" if "number" in words else f"{words} or null"


def _expected(found: Mapping[str, Any], key: str, what: str) -> str:
    return f"{key} is {found[key]!r}; expected {what}" if key in found else f"{key} is missing; expected {what}"


def _is_score(value: object, low: float, high: float) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high and math.isfinite(value)
    )


def _is_object_text(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
