"""External validation: what the fold models of one experiment reach on a cohort that none of them has seen."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..errors import RowError
from ..names import joined_name
from .rows import Problem

EXTERNAL = "external"
"""The kind of these rows, and the folder of an experiment that holds them."""
SCHEMA = 1
Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, patients resampled."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ExternalResult:
    """One experiment on one external cohort.

    Attributes
    ----------
    experiment, model, family, scales, backbone, loss, recipe, hyperparameters, seed, slides, n_folds, protocol
        Of the experiment, as in its rows; so are its `covariates`.
    trained_on, trained_on_synthetic
        The cohort of the experiment.
    cohort, synthetic
        The cohort that is tested.
    endpoint
        What is predicted.
    patients, events
        Who was tested, and how many of them died.
    seen
        Patients who were left out because the models had been trained on them.
    labels_fingerprint, features_fingerprint
        Of the cohort that is tested.
    internal
        Mean C-index over the test folds of the experiment, at `selected`.
    external
        Mean C-index of the fold models, each alone, on this cohort.
    drop
        Internal minus external: both are means over single fold models. The two cohorts are resampled independently.
    ensemble
        C-index of all fold models together.
    oracle_c_index
        That of the true risks of a simulated cohort.
    scores
        By `fold-0`, … and `ensemble`: every metric; None where it has no value.
    reasons
        Why a metric has no value, in the same form.
    intervals
        Of the metrics of the ensemble.
    high_risk
        How many are in the high-risk group of the ensemble: above the median of the training sets.
    ibs_km
        Integrated Brier score of this cohort's own Kaplan-Meier curve.
    resamples
        Of the C-index, and of the other metrics.
    """

    experiment: str
    model: str
    family: str | None
    scales: str | None
    backbone: str | None
    loss: str | None
    recipe: str | None
    hyperparameters: str
    seed: int
    slides: str | None
    n_folds: int
    protocol: int | None
    trained_on: str
    trained_on_synthetic: bool
    cohort: str
    synthetic: bool
    endpoint: str
    patients: int
    events: int
    labels_fingerprint: str
    features_fingerprint: str
    internal: Estimate | None
    external: Estimate
    drop: Estimate | None
    ensemble: Estimate
    scores: Mapping[str, Mapping[str, float | None]]
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    high_risk: int = 0
    ibs_km: float | None = None
    oracle_c_index: float | None = None
    seen: int = 0
    left_out: int = 0
    resamples: tuple[int, int] = (0, 0)
    code_version: str | None = None
    created: str | None = None
    command: str | None = None
    covariates: str | None = None
    schema: int = SCHEMA
    kind: str = EXTERNAL

    @property
    def label(self) -> str:
        """The model, and the covariates that it is joined with."""
        return joined_name(self.model, (self.covariates or "").split(","))

    def to_json(self) -> dict[str, Any]:
        """As it lies on disk."""
        return asdict(self)

    def text(self) -> str:
        """The text of its file."""
        return json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"


def read_external(path: Path, name: str | None = None) -> ExternalResult:
    """The result in a file; `name` is what messages call it. Errors: `RowError`."""
    name = name or str(path)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=ExternalResult)
    except OSError as error:
        raise RowError(f"{name}: cannot be read ({error.strerror or error})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(f"{name}: holds no external validation ({error}); evaluate the experiment again") from error
    if found.schema != SCHEMA or found.kind != EXTERNAL:
        raise RowError(f"{name}: is of another version of milsurv; evaluate the experiment again")
    return found


def read_externals(roots: Iterable[Path]) -> tuple[tuple[ExternalResult, ...], tuple[Problem, ...]]:
    """All external validations below folders of results, and what could not be read."""
    found: dict[tuple[str, str, str, str], ExternalResult] = {}
    problems = []
    for root in roots:
        for path in sorted(root.rglob(f"{EXTERNAL}/*/result.json")):
            name = path.relative_to(root).as_posix()
            try:
                one = read_external(path, name)
            except RowError as error:
                problems.append(Problem(name, str(error).removeprefix(f"{name}: ")))
                continue
            key = (one.experiment, one.cohort, one.labels_fingerprint, one.features_fingerprint)
            if key not in found or (found[key].created or "") < (one.created or ""):
                found[key] = one
    return tuple(found[key] for key in sorted(found)), tuple(problems)


def of_cohort(results: Sequence[ExternalResult], cohort: str, synthetic: bool) -> tuple[ExternalResult, ...]:
    """Those that test a cohort, the best ensemble first."""
    mine = [one for one in results if (one.cohort, one.synthetic) == (cohort, synthetic)]
    return tuple(sorted(mine, key=lambda one: (-one.ensemble.value, one.model, one.trained_on, one.experiment)))
