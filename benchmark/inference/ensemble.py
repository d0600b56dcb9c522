"""The fold models of a finished experiment, to score patients whom none of them has seen: each alone, and together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from ...datasets.features.reader import Reader
from ...datasets.findings import Finding, finding
from ...datasets.patient import Patient
from ...errors import DataError, RowError, UsageError, some
from ...leaderboards.predictions import read_predictions
from ...leaderboards.result_row import ResultRow
from ...leaderboards.rows import read_row
from ...survival.followup import Prediction
from ..baselines.covariates import CovariateColumns
from ..results.weights import TrainedFold
from ..training.batches import BagSource
from ..training.fold import Aggregation
from ..training.fold_model import FoldModel, load_fold
from ..training.fusion import Fusion

REFERENCE_RISKS = "reference-risks.json"
"""In the folder of an imported model: the out-of-fold risks of its training cohort, by fold."""
ENSEMBLE = "ensemble"
"""What rows call all fold models together."""


@dataclass(frozen=True)
class FoldEnsemble:
    """The models of an experiment's folds.

    Attributes
    ----------
    folder
        Of the experiment.
    rows
        Of the folds whose models these are.
    models
        One a fold, in the order of `rows`.
    """

    folder: Path
    rows: tuple[ResultRow, ...]
    models: tuple[FoldModel, ...]

    @property
    def row(self) -> ResultRow:
        """The first fold's row: what all folds share is read from it."""
        return self.rows[0]

    @property
    def about(self) -> TrainedFold:
        """What the first fold's weights say; what it reads and was trained on is the same for all."""
        return self.models[0].about

    @property
    def joined(self) -> bool:
        """Whether its risks join slides with covariates."""
        return any(model.fusion is not None for model in self.models)

    def check_image_alone(self) -> None:
        """Errors: `UsageError` where risks need more than slides."""
        if self.joined:
            raise UsageError(
                f"{self.row.label} ({self.row.experiment}) joins slides with covariates, which features do not hold: "
                "predict with --clinical TABLE, test it on labels with `bench evaluate`, or run the model without "
                "--covariates"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """`fold-0`, `fold-1`, …"""
        return tuple(f"fold-{row.fold}" for row in self.rows)

    def score(
        self,
        bags: BagSource,
        names: Sequence[str],
        units: Aggregation | None = None,
        known: Mapping[str, Patient] | None = None,
    ) -> tuple[tuple[str, ...], tuple[Prediction, ...]]:
        """Who is scored, and what each fold model predicts of them.

        Parameters
        ----------
        names
            The bags.
        units
            How predictions of bags become predictions of patients; as they are when None.
        known
            Who is scored, by id, with the covariates that slides may be joined with.

        Raises
        ------
        UsageError
            Slides are joined with covariates, and nobody's are known.
        DataError
            A score is not a finite number.
        """
        if known is None:
            self.check_image_alone()
        ids, found = tuple(names), []
        for model in self.models:
            scores = model.scores(bags, names)
            if bad := [name for name, row in zip(names, scores, strict=True) if not row.isfinite().all()]:
                raise DataError(f"the scores of {some(bad)} are not finite: are their features damaged?")
            one = model.prediction(scores)
            if units is not None:
                assert one.survival is not None
                ids, risk = units.aggregate(names, one.risk)
                alive = units.aggregate(names, one.survival)[1]
                one = Prediction(risk, alive, one.edges, risk > model.about.median_risk)
            if model.fusion is not None and known is not None:
                one = model.fusion.predict(_columns(model.fusion, [known[name] for name in ids]), one)
            found.append(one)
        return ids, tuple(found)

    def unfamiliar(self, patients: Sequence[Patient]) -> tuple[Finding, ...]:
        """Words of covariates that have no column in any fold: they count as rare ones, or as nothing."""
        own: dict[str, set[str]] = {}
        for model in self.models:
            for name, words in _described(model.fusion).own_words().items() if model.fusion else ():
                own.setdefault(name, set()).update(words)
        found = []
        for name, words in own.items():
            other = {p.id: str(word) for p in patients if (word := p.covariates.get(name)) and str(word) not in words}
            if other:
                here, known = some(sorted(set(other.values()))), some(sorted(words - {""}))
                message = (
                    f"patients have a {name} that training had rarely or never ({here}; it knows {known}): it counts "
                    "as a rare one, or not at all"
                )
                found.append(finding(f"{name}_unfamiliar", "warning", message, other))
        return tuple(found)

    def together(self, predictions: Sequence[Prediction]) -> Prediction:
        """What the fold models predict together: the means of their risks and of their survival curves.

        A patient is in the high-risk group where the mean risk is above the mean of the models' `median_risk`.
        """
        return mean_prediction(predictions, [model.about.median_risk for model in self.models])


def _columns(fusion: Fusion, patients: Sequence[Patient]) -> np.ndarray:
    """The covariates of these patients as a fusion takes them. Errors: `DataError` for a damaged description."""
    found = _described(fusion).of(patients)
    if found.shape[1] != len(fusion.clinic):
        raise DataError(f"the weights hold {len(fusion.clinic)} coefficients of {found.shape[1]} columns of covariates")
    return found


def _described(fusion: Fusion) -> CovariateColumns:
    try:
        return msgspec.convert(fusion.columns, CovariateColumns)
    except msgspec.ValidationError as error:
        raise DataError(f"how covariates become columns cannot be read of the weights ({error})") from error


def mean_prediction(predictions: Sequence[Prediction], medians: Sequence[float]) -> Prediction:
    """The mean of several predictions of the same patients; curves are read at the edges of all of them."""
    edges = np.unique(np.concatenate([one.edges for one in predictions if one.edges is not None]))
    risk = np.mean([one.risk for one in predictions], axis=0)
    survival = np.mean([one.survival_at(edges) for one in predictions], axis=0)
    return Prediction(risk, survival, edges, risk > np.mean(medians))


def load_ensemble(
    experiment: str | Path,
    folds: Sequence[int] = (),
    reading: str = "selected",
    model: str | None = None,
    device: str = "cpu",
) -> FoldEnsemble:
    """The fold models of an experiment.

    Parameters
    ----------
    experiment
        Its folder, or its id where `results/experiments` holds it.
    folds
        Numbers of folds; all when empty.
    reading, model, device
        As `milsurv.load_model` takes them.

    Raises
    ------
    RowError
        There is no such experiment, or a fold of it is not finished.
    DataError
        Weights are not kept or damaged.
    UsageError
        A fold that the experiment has not; an experiment that trains no model.
    """
    folder = experiment_folder(experiment)
    there = sorted(path.parent.name for path in folder.glob("fold-*/result.json"))
    if not there:
        raise RowError(f"{folder} holds no results: give the folder of an experiment, results/experiments/ID")
    row = read_row(folder / there[0] / "result.json")
    if row.recipe is None:
        raise UsageError(f"{row.model} ({row.experiment}) is no model that was trained here, and has no weights to use")
    if wrong := sorted(set(folds) - set(range(row.n_folds))):
        raise UsageError(f"fold {some(wrong)}: experiment {row.experiment} has the folds 0 to {row.n_folds - 1}")
    numbers = tuple(dict.fromkeys(folds)) or tuple(range(row.n_folds))
    models = tuple(load_fold(folder, fold, reading, model, device) for fold in numbers)
    rows = tuple(read_row(folder / f"fold-{fold}" / "result.json") for fold in numbers)
    return FoldEnsemble(folder, rows, models)


def experiment_folder(experiment: str | Path) -> Path:
    """The folder of an experiment, from its path or its id. Errors: `RowError` where there is none."""
    for folder in (Path(experiment), Path("results/experiments") / experiment):
        if folder.is_dir():
            return folder
    raise RowError(f"{experiment}: there is no such experiment; give its folder, results/experiments/ID")


@dataclass(frozen=True)
class OutOfFold:
    """What is known of the cohort that an experiment was trained on: everyone's prediction by a model that had not seen
    them, at `selected`. Empty where the predictions are not there.

    Attributes
    ----------
    patients
        All of them, slides by their owner.
    folds
        By patient, where it was tested.
    risks
        By fold, the risks of its test set, ascending.
    """

    patients: frozenset[str] = frozenset()
    folds: dict[str, tuple[int, ...]] = field(default_factory=dict)
    risks: dict[int, np.ndarray] = field(default_factory=dict)

    def percentile(self, fold: int, risk: np.ndarray) -> np.ndarray:
        """The share of patients of the training cohort, tested by the model of `fold`, whose risk is below, in percent;
        ties count one half. NaN where no predictions are there.
        """
        known = self.risks.get(fold)
        if known is None or not len(known):
            return np.full(len(risk), np.nan)
        below = np.searchsorted(known, risk, "left") + np.searchsorted(known, risk, "right")
        return 50 * below / len(known)


def out_of_fold(folder: Path) -> OutOfFold:
    """The out-of-fold predictions of an experiment. Errors: `RowError` where they are damaged."""
    path = folder / "predictions.csv"
    if not path.is_file():  # an imported model: its patients are not named
        if not (folder / REFERENCE_RISKS).is_file():
            return OutOfFold()
        found = msgspec.json.decode((folder / REFERENCE_RISKS).read_bytes(), type=dict[int, list[float]])
        return OutOfFold(risks={fold: np.sort(np.array(risks)) for fold, risks in found.items()})
    table = read_predictions(path)
    table = table[table["reading"] == "selected"]
    owner = table["owner" if "owner" in table.columns else "patient"].astype(str)
    folds: dict[str, list[int]] = {}
    fold, risk = np.asarray(table["fold"], int), np.asarray(table["risk"], float)
    for who, tested in zip(owner, fold.tolist(), strict=True):
        if tested not in folds.setdefault(who, []):
            folds[who].append(tested)
    risks = {int(k): np.sort(risk[fold == k]) for k in np.unique(fold)}
    return OutOfFold(frozenset(owner), {who: tuple(found) for who, found in folds.items()}, risks)


@dataclass(frozen=True)
class Reads:
    """The features that a model reads: their encoder and width, and the side of their patches by magnification, in
    pixels, where the files say it."""

    backbone: str | None
    dim: int
    magnifications: tuple[int, ...]
    patch_px: Mapping[str, float]

    @classmethod
    def of(cls, about: TrainedFold) -> "Reads":
        """Those of training."""
        return cls(about.backbone, about.dim, about.magnifications, about.patch_px)


def disagreements(about: Reads, reader: Reader, slides: Sequence[str]) -> list[str]:
    """How features differ from those that a model was trained on, in words: backbone, width, magnification, patch size.

    Parameters
    ----------
    slides
        Those that are to be read, as their files are called.
    """
    faults = []
    if about.backbone and reader.backbone != about.backbone:
        faults.append(f"backbone: {reader.backbone} here, {about.backbone} in training")
    if reader.dim != about.dim:
        faults.append(f"width: {reader.dim} numbers a patch here, {about.dim} in training")
    lacking = [m for m in about.magnifications if m not in reader.magnifications]
    if lacking:
        here = ", ".join(f"{m}x" for m in reader.magnifications)
        faults.append(f"magnification: {here} here, {', '.join(f'{m}x' for m in about.magnifications)} in training")
    for magnification, px in about.patch_px.items():
        found: dict[float, list[str]] = {}
        for slide in slides:
            facts = reader.facts(slide).get(int(magnification))
            if facts is not None and facts.geometry.patch_px:
                found.setdefault(facts.geometry.patch_px, []).append(slide)
        faults += [
            f"patch size at {magnification}x: {other:g} pixels here ({some(names, 3)}), {px:g} in training"
            for other, names in sorted(found.items())
            if other != px
        ]
    return faults


def refuse_disagreement(about: Reads, model: str, reader: Reader, slides: Sequence[str]) -> None:
    """Errors: `DataError` naming all that differs between these features and those that `model` was trained on."""
    if faults := disagreements(about, reader, slides):
        raise DataError(
            f"{reader.folder}: {model} cannot read these features. They differ in {'; '.join(faults)}. Extract "
            "features as for training, or name another experiment"
        )
