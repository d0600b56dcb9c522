"""milsurv from Python: what the command line does for experiments, as functions that give pandas DataFrames."""

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

from ..leaderboards.cache.store import user_cache
from ..leaderboards.external_result import ExternalResult
from ..leaderboards.predictions import read_predictions
from ..leaderboards.publish import Gathered, gather, write
from ..leaderboards.ranking.pairwise import pairwise
from ..leaderboards.render.csv_file import table_csv
from ..models.registry import adopt
from ..names import check_choice
from .engines.options import Options
from .inference.ensemble import load_ensemble
from .inference.evaluate import evaluate as validate
from .inference.evaluate import request_for
from .inference.predict import open_source
from .inference.predict import predict as predicted
from .planning.grid import by_seed
from .planning.request import Request, features_given, option_name
from .results.finished import Finished
from .run import Display, Quiet, run_requests
from .training.fold_model import FoldModel, load_fold

_FIELDS = {option_name(field.name).replace("-", "_"): field.name for field in fields(Request)}
_FIRST = ("model", "cohort", "backbone", "seed", "fold", "c_index_selected", "c_index_last", "c_index_best")


class Results(pd.DataFrame):
    """Rows of results, one a fold; the columns are those of `result.json`.

    Attributes
    ----------
    predictions : pandas.DataFrame
        Out-of-fold predictions of all experiments in these rows: experiment, patient, fold, reading, time (months),
        event, risk, risk group, and survival at the ends of the time bins.
    folders : dict of str to Path
        The folder of every experiment, by its id.
    """

    _metadata = ["folders"]  # noqa: RUF012  # pandas reads a plain list

    @property
    def _constructor(self):  # type: ignore[override]  # what pandas makes of a part of it keeps its class
        return Results

    @property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions, read from the experiments' folders."""
        tables = [
            read_predictions(self.folders[name] / "predictions.csv").assign(experiment=name)
            for name in self["experiment"].unique()
        ]
        return pd.concat(tables, ignore_index=True)


def run(
    model: str,
    cohort: str,
    *,
    features: str | Path | Sequence[str | Path] | None = None,
    labels: str | Path | None = None,
    splits: str | Path | None = None,
    out: str | Path = "results",
    settings: Mapping[str, object] | None = None,
    seeds: Sequence[int] = (0,),
    tracking: str = "none",
    engine: str | None = None,
    jobs: int | str | None = None,
    progress: bool = True,
    **options: object,
) -> Results:
    """Cross-validate a model, or a baseline, on a cohort.

    Finished folds are read and not computed again: the same call goes on where it was interrupted.

    Parameters
    ----------
    model, cohort
        Names, as `bench list` shows them.
    features, labels, splits
        Folder of patch features (or `"synthetic"`), label table, folder of folds; looked for in `data` when None.
    out
        Folder for results.
    settings
        Fields of the recipe and hyperparameters of the model, such as `{"learning_rate": 1e-4, "epochs": 20}`.
    seeds
        Of weights, batches and the validation split: one experiment a seed.
    tracking
        Address of an MLflow store, `"local"` for one in `out`, or `"none"`.
    engine
        `"serial"`, `"local"`, `"ray"` or `"slurm"`; `"local"` for several `jobs` and `"serial"` for one when None.
    jobs
        Folds computed at once: a number, or `"auto"` for as many as there are cores or GPUs.
    progress
        Whether to show progress and what was noticed in the data, in a terminal or a notebook.
    **options
        Every other option of `bench run`, with underscores: `backbone`, `recipe`, `folds`, `patients`, `missing`,
        `covariates` (such as `"age,is_female"`: image and clinic together as a model), …

    Returns
    -------
    Results
        A DataFrame with one row a fold, and the out-of-fold predictions as `.predictions`.

    Raises
    ------
    milsurv.errors.UsageError
        A name or option that is not known, or options that exclude each other.
    milsurv.errors.DataError
        A fault in labels, folds or features; the message names it and the remedy.

    Examples
    --------
    >>> import milsurv
    >>> results = milsurv.run("meanpool", "brca", features="synthetic", patients=60, folds=2, settings={"epochs": 2},
    ...                       progress=False)
    >>> list(results["fold"]), bool(results["c_index_selected"].between(0, 1).all())
    ([0, 1], True)
    >>> sorted(results.predictions["reading"].unique())
    ['best', 'last', 'selected']
    """
    for name in options:
        check_choice("option", name, _FIELDS)
    words = {str(key): _text(value) for key, value in (settings or {}).items()}
    given = {_FIELDS[name]: value for name, value in options.items()}
    if isinstance(dial := given.get("dial"), str | list):
        given["dial"] = (dial,) if isinstance(dial, str) else tuple(dial)
    paths = {
        "features_path": features_given([features] if isinstance(features, str | Path) else features),
        "labels_path": None if labels is None else Path(labels),
        "splits_path": None if splits is None else Path(splits),
    }
    adopt([model])
    first = Request(model, cohort, settings=words, out=Path(out), **paths, **given)  # type: ignore[arg-type]
    display = _display(progress)
    requests = by_seed(first, ",".join(map(str, seeds)))
    return _results(
        run_requests(requests, display, None if tracking == "local" else tracking, Options(engine, jobs)), Path(out)
    )


def leaderboard(results: str | Path | Sequence[str | Path] = "results", out: str | Path | None = None) -> pd.DataFrame:
    """The boards of everything in one or several folders of results.

    What is left out of them, a damaged file for instance, becomes a Python warning.

    Parameters
    ----------
    results
        Folders that `run` or `bench run` wrote, or entries.
    out
        A folder to write leaderboard.html, .md, .csv and .tex into; none are written when None.

    Returns
    -------
    pandas.DataFrame
        A row a ranked line (`status` ranked), best first within its cohort and folds, with the mean C-index over folds
        (`c_index_selected_mean`), its 95 % interval (`…_low`, `…_high`), and how far it lies behind the first.

    Raises
    ------
    milsurv.errors.RowError
        A folder does not exist.
    """
    found = _gathered(results)
    if out is not None:
        write(found, Path(out), user_cache())
    return pd.read_csv(io.StringIO(table_csv(found.boards)))


def compare(results: str | Path | Sequence[str | Path], cohort: str, models: Sequence[str] = ()) -> pd.DataFrame:
    """Compare lines of a cohort in pairs, over the same patients and folds.

    Parameters
    ----------
    results
        Folders that `run` or `bench run` wrote, or entries.
    cohort
        Its name.
    models
        Two models, lines or experiments; one for all its pairs; none for all pairs. p-values are adjusted for all
        pairs of the ranking, whichever are asked for.

    Returns
    -------
    pandas.DataFrame
        A row a pair: the difference of mean C-indices (first minus second) with its 95 % interval, its p-value alone
        and adjusted, the probability that it exceeds 0.01, the smallest difference that would be shown, and the
        verdict.

    Raises
    ------
    milsurv.errors.RowError
        A folder does not exist, or a name is on no board.
    """
    found = _gathered(results, evidence=False)
    tables = pairwise(found.boards, found.predictions, cohort, tuple(models), found.published)
    return pd.json_normalize([{"folds": t.folds_name, **pair} for t in tables for pair in t.as_json()["pairs"]])  # type: ignore[attr-defined]


def load_model(
    experiment: str | Path, fold: int, reading: str = "selected", model: str | None = None, device: str = "cpu"
) -> FoldModel:
    """The trained model of a fold, ready to score bags that it has never seen.

    Parameters
    ----------
    experiment
        Folder of the experiment, `results/experiments/ID`.
    fold
        Its number, from 0.
    reading
        `selected`, or `last` and `best` where `keep_weights` kept them.
    model
        Its name, to be given for models of other people's code alone (`package.module:Class`): their code is run, and
        only where you name it yourself.
    device
        `cpu` or `cuda`.

    Returns
    -------
    FoldModel
        With `risk(bag)`, `survival(bag, times)`, `high_risk(bag)`, the torch module as `.module`, and in `.about` what
        it reads and was trained on.

    Raises
    ------
    milsurv.errors.RowError
        There is no finished result of this fold.
    milsurv.errors.DataError
        Its weights are not kept, or damaged; the model is no longer there; or another version of the protocol computed
        them.

    Examples
    --------
    >>> import numpy as np
    >>> results = run("meanpool", "brca", features="synthetic", patients=60, folds=2, settings={"epochs": 2},
    ...               progress=False)
    >>> model = load_model(results.folders[results["experiment"][0]], fold=0)
    >>> patches = {20: np.zeros((500, model.about.dim))}
    >>> year, five_years = model.survival(patches, [12, 60])
    >>> bool(0 <= five_years <= year <= 1)
    True
    """
    return load_fold(experiment, fold, reading, model, device)


def evaluate(
    experiment: str | Path,
    cohort: str,
    *,
    features: str | Path | None = None,
    labels: str | Path | None = None,
    seen: str = "error",
    **options: object,
) -> ExternalResult:
    """Validate an experiment on an external cohort: its fold models, single and together, as they were trained.

    What is written lies in `external/` of the experiment's folder.

    Parameters
    ----------
    experiment
        Folder of a finished experiment, `results/experiments/ID`.
    cohort
        A registered name, a folder with a cohort.toml, or a name of your own.
    features, labels
        As `run` takes them; looked for in `data` when None.
    seen
        `error`, or `drop` patients on whom the experiment was trained.
    **options
        Other options of `bench evaluate` on labels, features and simulated cohorts, with underscores.

    Returns
    -------
    milsurv.leaderboards.external_result.ExternalResult
        `external`, `ensemble`, `internal` and `drop` with their intervals, and every metric in `scores`.

    Raises
    ------
    milsurv.errors.DataError
        Features differ from those of training, or patients were seen in training.
    """
    for name in options:
        check_choice("option", name, _FIELDS)
    given = {_FIELDS[name]: value for name, value in options.items()}
    if features is not None:
        given["features_path"] = str(features)
    if labels is not None:
        given["labels_path"] = Path(labels)
    ensemble = load_ensemble(experiment)
    request = request_for(ensemble, cohort, **{"out": ensemble.folder.parent.parent, **given})
    return validate(ensemble, request, seen).result


def predict(
    experiment: str | Path,
    features: str | Path | Sequence[str | Path],
    *,
    slides: Sequence[str] = (),
    backbone: str | None = None,
    clinical: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    missing: str = "error",
    device: str = "cpu",
) -> pd.DataFrame:
    """What the fold models of an experiment say of slides. Not a medical device.

    Parameters
    ----------
    experiment
        Folder of a finished experiment, `results/experiments/ID`.
    features
        Folder of patch features, as those of training; several whose slides or scales are disjoint are read as one.
    slides
        Only these; all when empty. Slides of one patient, by TCGA barcodes, are predicted together.
    backbone
        Where the folder holds several and training names none.
    clinical, columns
        Where the model joins slides with covariates, a table with those of every patient, and the names of its
        columns where they do not say it: `{"patient": "PID", "age": "AGE_YEARS"}`.
    missing
        `error`, or `drop` slides that cannot be used.
    device
        `cpu` or `cuda`.

    Returns
    -------
    pandas.DataFrame
        A row a patient: risk, percentile within the training cohort, survival at 12, 36 and 60 months, each with its
        standard deviation over the fold models (`…_sd`), and the risk by every fold. Patients of the training cohort
        are predicted by the models alone that had not seen them.

    Raises
    ------
    milsurv.errors.DataError
        Features differ from those of training, or hold NaN.
    milsurv.errors.UsageError
        The experiment joins slides with covariates, and no table is given.
    """
    ensemble = load_ensemble(experiment, device=device)
    if clinical is None:
        ensemble.check_image_alone()
    places = [features] if isinstance(features, str | Path) else features
    source, findings, left_out = open_source(
        ensemble, [Path(place) for place in places], slides=slides, backbone=backbone, missing=missing,
        clinical=None if clinical is None else Path(clinical), columns=columns,
    )  # fmt: skip
    return pd.DataFrame(predicted(ensemble, source, findings, left_out).lines()).set_index("patient")


def _results(finished: Sequence[Finished], out: Path) -> Results:
    rows = [row.to_json() for result in finished for row in result.rows]
    columns = dict.fromkeys([*_FIRST, *(column for row in rows for column in row)])
    table = Results(rows, columns=list(columns))
    # Absolute, since predictions are read when they are asked for, from wherever a notebook stands then.
    table.folders = {one.experiment.id: out.resolve() / "experiments" / one.experiment.id for one in finished}
    return table


def _gathered(results: str | Path | Sequence[str | Path], evidence: bool = True) -> Gathered:
    """The boards of these folders, each meant as a whole folder of results or as the experiments in it."""
    paths = [Path(results)] if isinstance(results, str | Path) else [Path(path) for path in results]
    folders = [inside if (inside := path / "experiments").is_dir() else path for path in paths]
    found = gather(folders, evidence, user_cache())
    for problem in found.problems:
        warnings.warn(f"{problem.where}: {problem.message}", stacklevel=3)
    return found


def _display(progress: bool) -> Display:
    if not progress:
        return Quiet()
    from .console import Terminal

    return Terminal()


def _text(value: object) -> str:
    """A setting as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
