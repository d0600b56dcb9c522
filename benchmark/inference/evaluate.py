"""External validation: the fold models of a finished experiment on a cohort that none of them has seen."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ...datasets.features.reader import Reader
from ...datasets.findings import Finding
from ...datasets.labels.read import Labels
from ...errors import DataError, UsageError, some
from ...files import file_name
from ...leaderboards.external_result import EXTERNAL, Estimate, ExternalResult
from ...leaderboards.predictions import read_predictions
from ...names import is_derived
from ...survival.clinical_curves import ScoredFold, clinical_curves
from ...survival.comparisons import means_over_folds, percentile
from ...survival.followup import FollowUp, NotComputable, Prediction
from ...survival.metrics import METRICS, brier_null, score_all
from ..baselines.covariates import check_covariates
from ..baselines.fit import followup
from ..cohort_data import CohortData
from ..planning.load import Counter, load_cohort
from ..planning.request import Request
from ..results.fold_predictions import FoldPredictions, c_index_or_none
from ..results.folder import table, write
from ..results.provenance import code_version
from .ensemble import ENSEMBLE, FoldEnsemble, Reads, out_of_fold, refuse_disagreement

RESAMPLES = (2_000, 200)
"""Of the C-index, and of the other metrics, each of which takes a hundred times as long."""
_SEED = 0


@dataclass(frozen=True)
class Evaluation:
    """An external validation and where it was written; `findings` were made in the cohort's data."""

    result: ExternalResult
    folder: Path
    findings: tuple[Finding, ...]


def request_for(ensemble: FoldEnsemble, cohort: str, **options: object) -> Request:
    """The request of the cohort that is tested: slides and endpoint count as in training, unless `options` say else.

    Errors: `UsageError` where the endpoint is another one.
    """
    about = ensemble.about
    given = {"slides": about.slides, "derive_scales": is_derived(about.backbone)} | options
    asked = Request(about.model, cohort, **given)  # type: ignore[arg-type]
    if asked.endpoint != about.endpoint:
        if "endpoint" in options and asked.endpoint != Request.endpoint:
            raise UsageError(
                f"--endpoint {asked.endpoint}: {about.model} was trained to predict {about.endpoint}; test it on that"
            )
        asked = replace(asked, endpoint=about.endpoint)
    return asked


def evaluate(
    ensemble: FoldEnsemble,
    request: Request,
    seen: str = "error",
    resamples: tuple[int, int] | None = None,
    simulating: Counter | None = None,
    checking: Counter | None = None,
) -> Evaluation:
    """Score an external cohort with every fold model and with all together, and write what came of it.

    The files lie in `external/COHORT-…` of the experiment's folder: result.json, predictions.csv, clinical-curves.csv,
    kaplan-meier.svg and calibration.svg. Censoring weights are estimated on the cohort that is tested: those of the
    training cohort, followed elsewhere and for another time, would be wrong here.

    Parameters
    ----------
    request
        The cohort, as `request_for` makes it.
    seen
        What to do about patients on whom the models were trained: `error`, or `drop` them.
    resamples
        Of the C-index, and of the other metrics; `RESAMPLES` when None.
    simulating, checking
        As in `load`.

    Raises
    ------
    UsageError, DataError
        As `load` does; features that differ from those of training; patients that were seen.
    """
    about, row = ensemble.about, ensemble.row
    resamples = resamples or RESAMPLES

    def opened(reader: Reader, labels: Labels) -> None:
        refuse_disagreement(Reads.of(about), about.model, reader, sorted(reader.slides))
        check_covariates(labels, row.joined_with)

    data = load_cohort(request, about.magnifications, opened, simulating, checking)
    data, dropped = _without_seen(ensemble, data, seen)
    assert data.bags is not None
    bags = data.bags
    unit_ids = [patient.id for patient in data.units.labels.patients]
    everyone = {patient.id: patient for patient in (*data.labels.patients, *data.units.labels.patients)}
    ids, single = ensemble.score(bags, unit_ids, data.units, everyone)
    scored = [everyone[name] for name in ids]
    test = followup(scored)
    if not test.event.any():
        raise DataError(f"{data.labels.source}: nobody of {len(ids)} patients died, so that nothing can be compared")
    together = ensemble.together(single)
    owner = data.owner
    who = [owner.get(name, name) for name in ids]
    truth = data.units.labels.oracle if data.units.level == "slide" else data.labels.oracle

    found = {
        name: score_all(test, test, one)
        for name, one in zip((*ensemble.names, ENSEMBLE), (*single, together), strict=True)
    }
    internal, draws_internal = _internal(ensemble, resamples[0])
    risks = np.stack([*(one.risk for one in single), together.risk])
    try:
        draws = means_over_folds(
            test.time, test.event, risks, np.zeros(len(ids)), resamples[0], _SEED, who if owner else None
        )
        means = draws.draws[:, :-1].mean(axis=1)
        external = _estimate(float(draws.values[:-1].mean()), means)
        whole = _estimate(float(draws.values[-1]), draws.draws[:, -1])
    except ValueError as error:
        raise DataError(f"{data.labels.source}: {error}") from error
    drop = None
    if internal is not None and draws_internal is not None:
        drop = _estimate(internal.value - external.value, draws_internal - means)
    with_null = None
    with suppress(NotComputable):
        with_null = brier_null(test, test)
    result = ExternalResult(
        experiment=row.experiment,
        model=row.model,
        covariates=row.covariates,
        family=row.family,
        scales=row.scales,
        backbone=row.backbone,
        loss=row.loss,
        recipe=row.recipe,
        hyperparameters=row.hyperparameters,
        seed=row.seed,
        slides=row.slides,
        n_folds=len(ensemble.models),
        protocol=row.protocol,
        trained_on=row.cohort,
        trained_on_synthetic=row.synthetic,
        cohort=data.labels.cohort,
        synthetic=data.labels.synthetic,
        endpoint=data.labels.endpoint,
        patients=len(set(who)),
        events=int(sum(everyone[name].event for name in dict.fromkeys(who))),
        labels_fingerprint=data.units.labels.fingerprint,
        features_fingerprint=bags.reader.fingerprint(bags.slides),
        internal=internal,
        external=external,
        drop=drop,
        ensemble=whole,
        scores={
            name: {k: _number(v) for k, v in one.items() if not k.startswith("why_")} for name, one in found.items()
        },
        reasons={
            name: {k.removeprefix("why_"): str(v) for k, v in one.items() if k.startswith("why_")}
            for name, one in found.items()
        },
        intervals={
            "c_index": (whole.low, whole.high),
            **_intervals(test, together, who, found[ENSEMBLE], resamples[1]),
        },
        high_risk=int(together.high_risk().sum()),
        ibs_km=with_null,
        oracle_c_index=None if truth is None else c_index_or_none(test, [truth[name] for name in ids]),
        seen=len(dropped),
        left_out=len(data.left_out),
        resamples=resamples,
        code_version=code_version(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=_command(ensemble, request, seen),
    )
    folder = ensemble.folder / EXTERNAL / _name(result, ensemble)
    _write(folder, result, _lines(ensemble, ids, test, single, together, owner), test, together)
    return Evaluation(result, folder, (*data.findings, *ensemble.unfamiliar(scored)))


def _without_seen(ensemble: FoldEnsemble, data: CohortData, seen: str) -> tuple[CohortData, tuple[str, ...]]:
    """The cohort without patients on whom the models were trained, and who these are."""
    row = ensemble.row
    if row.labels_fingerprint == data.units.labels.fingerprint and row.synthetic == data.labels.synthetic:
        raise DataError(
            f"{data.labels.source}: these are the patients on whom experiment {row.experiment} was cross-validated. "
            "An external cohort has others" + "; another draw has --cohort-seed 1" * data.labels.synthetic
        )
    if row.synthetic or data.labels.synthetic:  # simulated patients of different cohorts share their ids
        return data, ()
    known = out_of_fold(ensemble.folder).patients
    both = tuple(sorted(known & {patient.id for patient in data.labels.patients}))
    if both and seen != "drop":
        raise DataError(
            f"{data.labels.source}: {len(both)} of {len(data.labels.patients)} patients are those on whom experiment "
            f"{row.experiment} was trained: {some(both)}. --seen drop leaves them out"
        )
    if len(both) == len(data.labels.patients):
        raise DataError(f"{data.labels.source}: experiment {row.experiment} was trained on all of these patients")
    return data.without(data.units.of(both)) if both else data, both


def internal_estimate(ensemble: FoldEnsemble, resamples: int = RESAMPLES[0]) -> Estimate | None:
    """The mean C-index over the test folds, at `selected`, with its interval; None where predictions are not there."""
    return _internal(ensemble, resamples)[0]


def _internal(ensemble: FoldEnsemble, resamples: int) -> tuple[Estimate | None, np.ndarray | None]:
    """The mean C-index over the test folds, at `selected`, with the resampled ones; None where it is not known."""
    path = ensemble.folder / "predictions.csv"
    if not path.is_file():
        return None, None
    lines = read_predictions(path)
    chosen = {row.fold for row in ensemble.rows}
    lines = lines[(lines["reading"] == "selected") & lines["fold"].isin(list(chosen))]
    owner = np.asarray(lines["owner" if "owner" in lines.columns else "patient"], dtype=str)
    try:
        draws = means_over_folds(
            lines["time"], lines["event"], np.asarray(lines["risk"], float)[None], lines["fold"], resamples, _SEED + 1,
            owner if len(set(owner)) < len(owner) else None,
        )  # fmt: skip
        return _estimate(float(draws.values[0]), draws.draws[:, 0]), draws.draws[:, 0]
    except ValueError:  # a fold without comparable pairs
        return None, None


def _estimate(value: float, draws: np.ndarray) -> Estimate:
    found = percentile(value, draws)
    return Estimate(found.value, found.low, found.high)


def _intervals(
    test: FollowUp,
    prediction: Prediction,
    who: Sequence[str],
    found: Mapping[str, object],
    resamples: int,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of all metrics but C-index and p-values: patients are drawn with all of their scores."""
    names = [n for n in METRICS if n != "c_index" and not n.endswith("_p") and found.get(n) is not None]
    metrics = [METRICS[name] for name in names]
    rng = np.random.default_rng(_SEED)
    patients, place = np.unique(np.asarray(who), return_inverse=True)
    rows_of = [np.flatnonzero(place == i) for i in range(len(patients))]
    values: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(resamples):
        rows = np.concatenate([rows_of[i] for i in rng.integers(0, len(patients), len(patients))])
        drawn = FollowUp(test.time[rows], test.event[rows])
        assert prediction.survival is not None
        part = replace(
            prediction,
            risk=prediction.risk[rows],
            survival=prediction.survival[rows],
            high=prediction.high_risk()[rows],
        )
        for name, value in score_all(drawn, drawn, part, metrics).items():
            if name in values and isinstance(value, float):
                values[name].append(value)
    enough = {name: drawn for name, drawn in values.items() if len(drawn) >= max(2, resamples * 0.9)}
    return {name: tuple(map(float, np.quantile(drawn, (0.025, 0.975)))) for name, drawn in enough.items()}  # type: ignore[misc]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _lines(
    ensemble: FoldEnsemble,
    ids: tuple[str, ...],
    test: FollowUp,
    single: Sequence[Prediction],
    together: Prediction,
    owner: Mapping[str, str],
) -> list[dict[str, object]]:
    """One line a patient and model."""
    lines = []
    for name, fold, prediction in [
        *zip(ensemble.names, (row.fold for row in ensemble.rows), single, strict=True),
        (ENSEMBLE, 0, together),
    ]:
        for line in FoldPredictions(fold, ids, test, test, prediction, owner).lines("selected"):
            del line["fold"], line["reading"]
            lines.append({"scored_by": name, **line})
    return lines


def _write(
    folder: Path, result: ExternalResult, lines: list[dict[str, object]], test: FollowUp, together: Prediction
) -> None:
    import pandas as pd

    from ...leaderboards.render.figures import style
    from ...leaderboards.render.figures.clinical import calibration
    from ...leaderboards.render.figures.kaplan_meier import kaplan_meier

    curves = clinical_curves([ScoredFold(0, test, test, together)])
    title = f"{result.label}: {result.trained_on} to {result.cohort}"
    groups = ["high" if high else "low" for high in together.high_risk()]
    files = {
        "predictions.csv": table(lines),
        "clinical-curves.csv": table(curves),
        "kaplan-meier.svg": style.svg(kaplan_meier(test.time, test.event, groups, title)),
    }
    for months in (12, 36, 60):
        if figure := calibration({result.label: pd.DataFrame(curves)}, months, title):
            files[f"calibration-{months}.svg"] = style.svg(figure)
    for name, text in files.items():
        write(folder / name, text)
    write(folder / "result.json", result.text())  # last: it says that all others are there


def _name(result: ExternalResult, ensemble: FoldEnsemble) -> str:
    """The name of the folder: the cohort, and what tells apart several evaluations on it."""
    tell = [result.labels_fingerprint, result.features_fingerprint, list(ensemble.names), ensemble.about.reading]
    digits = hashlib.sha256(json.dumps(tell).encode()).hexdigest()[:8]
    return f"{file_name(result.cohort)}-{digits}"


def _command(ensemble: FoldEnsemble, request: Request, seen: str) -> str:
    """The `bench evaluate` command that gives this result again, as far as options decide it."""
    words = request.command.split(" --cohort ", 1)[1]
    for option in (f" --slides {request.slides}", f" --endpoint {request.endpoint}"):
        words = words.replace(option, "")
    return f"bench evaluate {ensemble.row.experiment} --cohort {words}" + " --seen drop" * (seen == "drop")
