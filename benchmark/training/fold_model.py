"""The model of a fold, built again from the weights that were kept, to read bags that it has never seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from ...errors import DataError, RowError, UnknownName, UsageError
from ...leaderboards.result_row import READINGS
from ...leaderboards.rows import read_row
from ...models import registry
from ...models.registry import adopt
from ...names import check_choice
from ...survival.followup import Prediction
from ...survival.time_bins import TimeBins
from ...version import __version__
from ..experiment import PROTOCOL
from ..results.manifest import listed
from ..results.weights import TrainedFold, read_weights, weights_name
from .batches import BagSource, OneBag
from .fit import Precision, predict
from .fusion import Fusion
from .losses import LOSSES


@dataclass(frozen=True)
class _Features:
    """A bag of which only the features are known."""

    features: Mapping[int, np.ndarray]
    cells: Mapping[int, np.ndarray] = field(default_factory=dict)
    slide_lengths: Mapping[int, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _One:
    """A source of one bag."""

    bag: OneBag

    def __getitem__(self, patient_id: str) -> OneBag:
        return self.bag

    def tokens(self, patient_id: str) -> int:
        """Patches over all magnifications."""
        return sum(map(len, self.bag.features.values()))


@dataclass(frozen=True)
class FoldModel:
    """A trained model in evaluation mode.

    Attributes
    ----------
    about
        What it is, what it reads, and what it was trained on.
    module
        The torch module, `module(features, lengths)` as `milsurv.models.spec.ModelSpec` says.
    device
        Where it computes, in single precision.
    fusion
        Joins its risk with covariates, see `fusion`; None where the model is the image alone.
    """

    about: TrainedFold
    module: nn.Module
    device: torch.device
    fusion: Fusion | None = None

    @property
    def bins(self) -> TimeBins:
        """The time bins of its training set."""
        return TimeBins((0.0, *self.about.inner_edges, float("inf")), self.about.end)

    def scores(self, bags: BagSource, patients: Sequence[str], tokens: int = 60_000) -> Tensor:
        """Raw scores of several bags of a source, (n, n_out); `tokens` patches are computed at once."""
        return predict(self.module, bags, patients, tokens, Precision("float32", self.device))

    def predict(self, bag: OneBag | Mapping[int, np.ndarray]) -> Prediction:
        """Risk, survival at the ends of the time bins and risk group of one bag, as arrays of one row.

        Parameters
        ----------
        bag
            Patches by magnification, (n, dim) each, as a mapping or as the `features` of a bag that
            `milsurv.datasets.bags.Bags` gives. Models that need to know where patches lie take the latter alone.

        Raises
        ------
        DataError
            The bag lacks a magnification or places, or its features have another width.
        UsageError
            The model is joined with covariates, which a bag does not hold.
        """
        if self.fusion is not None:
            raise UsageError(
                f"experiment {self.about.experiment} joins {self.about.model} with covariates, which a bag does not "
                "hold: `evaluate` reads them of labels; `scores` gives what the image part says"
            )
        one = _Features(bag) if isinstance(bag, Mapping) else bag
        return self.prediction(self.scores(_One(self.checked(one)), ["bag"]))

    def prediction(self, scores: Tensor) -> Prediction:
        """What raw scores (n, n_out) of the image say of n bags."""
        loss = LOSSES[self.about.loss]
        risk = loss.risk(scores).double().numpy()
        survival = loss.survival(scores, self.bins, np.asarray(self.about.baseline))
        return Prediction(risk, survival.double().numpy(), np.asarray(self.bins.upper), risk > self.about.median_risk)

    def risk(self, bag: OneBag | Mapping[int, np.ndarray]) -> float:
        """The risk of one bag: higher = earlier death. See `predict`."""
        return float(self.predict(bag).risk[0])

    def survival(self, bag: OneBag | Mapping[int, np.ndarray], times: Sequence[float] | np.ndarray) -> np.ndarray:
        """The probability that the patient of one bag is alive at these times in months, (k,).

        It is linear between the ends of the time bins, and flat after the last of them. See `predict`.
        """
        return self.predict(bag).survival_at(np.asarray(times, dtype=float))[0]

    def high_risk(self, bag: OneBag | Mapping[int, np.ndarray]) -> bool:
        """Whether the risk of one bag is above the median risk of the training set. See `predict`."""
        return bool(self.predict(bag).high_risk()[0])

    def checked(self, bag: OneBag) -> OneBag:
        """A bag of what this model reads alone, float16. Errors: as `predict`."""
        about, needs_places = self.about, registry.get(self.about.model).places
        if missing := [m for m in about.magnifications if len(bag.features.get(m, ())) == 0]:
            raise DataError(
                f"the bag has no patches at {', '.join(f'{m}x' for m in missing)}, which {about.model} reads"
            )
        wrong = {m: bag.features[m].shape for m in about.magnifications if bag.features[m].shape[1:] != (about.dim,)}
        if wrong:
            raise DataError(
                f"features have the shapes {wrong}; expected (n, {about.dim}), as {about.backbone or 'the encoder'} "
                "gave them in training"
            )
        if needs_places and not bag.cells:
            raise DataError(
                f"{about.model} needs to know where patches lie: give a bag of milsurv.datasets.bags.Bags, places=True"
            )
        kept = {m: np.asarray(bag.features[m], np.float16) for m in about.magnifications}
        return _Features(kept, bag.cells if needs_places else {}, bag.slide_lengths)


def load_fold(
    experiment: str | Path, fold: int, reading: str = "selected", model: str | None = None, device: str = "cpu"
) -> FoldModel:
    """The trained model of a fold of an experiment.

    Parameters
    ----------
    experiment
        Folder of the experiment, `results/experiments/ID`.
    reading
        `selected`, or `last` and `best` where they are kept.
    model
        Its name, to be given for models of other people's code alone (`package.module:Class`): their code is run, and
        only where you name it yourself.
    device
        `cpu` or `cuda`.

    Raises
    ------
    RowError
        There is no result of this fold.
    DataError
        Its weights are not kept, or damaged; the model is no longer there; or another version of the protocol computed
        them.
    """
    check_choice("reading", reading, READINGS)
    folder = Path(experiment) / f"fold-{fold}"
    if not (folder / "result.json").is_file():
        raise RowError(
            f"{folder} holds no result: give the folder of an experiment, results/experiments/ID, and a fold of it"
        )
    row, path = read_row(folder / "result.json"), folder / weights_name(reading)
    if not row.finished:
        raise RowError(f"{folder}: this fold is {row.status}; run the same command again, and then load it")
    if not path.is_file():
        more = f" --keep-weights selected,{reading}" if reading != "selected" else ""
        raise DataError(
            f"{path} is not there: the weights of this fold were not kept. To train it again and keep them, add "
            f"--retrain{more} to its command: {row.command}"
        )
    try:
        fingerprint = row.weights_fingerprint if reading == "selected" else (listed(folder) or {}).get(path.name)
    except ValueError as error:
        raise DataError(f"{folder}: {error}. Run the fold again") from error
    if fingerprint is None:
        raise DataError(f"{path} belongs to no result: its SHA-256 is not listed beside it. Run the fold again")
    about, state = read_weights(path, fingerprint)
    if about.protocol != PROTOCOL:
        raise DataError(
            f"{path} was trained by version {about.protocol} of the protocol (milsurv {about.milsurv}), and this is "
            f"version {PROTOCOL} (milsurv {__version__}), whose numbers differ: use that version, or run the fold again"
        )
    fusion = None
    if about.fusion is not None:
        try:
            fusion = msgspec.convert(about.fusion, Fusion)
        except msgspec.ValidationError as error:
            raise DataError(f"{path}: how it joins covariates cannot be read ({error})") from error
    return FoldModel(about, _built(about, state, path, model).to(device).eval(), torch.device(device), fusion)


def _built(about: TrainedFold, state: Mapping[str, Tensor], path: Path, model: str | None) -> nn.Module:
    if model is not None:
        if model != about.model:
            raise UsageError(f"{path} holds the weights of {about.model}, not of {model}")
        adopt([model])
    try:
        spec = registry.get(about.model)
    except UnknownName as error:
        if ":" in about.model:
            raise UsageError(
                f"{about.model} is other people's code, which runs only where you name it: add model='{about.model}'"
            ) from error
        raise DataError(f"{path} holds weights of {about.model} (milsurv {about.milsurv}): {error}") from error
    if about.loss not in LOSSES:
        raise DataError(f"{path} was trained with the loss {about.loss}, which is not installed here")
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
            module = spec.build(about.dim, about.n_out, **about.hyperparameters)
        module.load_state_dict(state)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{path} was written by milsurv {about.milsurv} and does not fit the {about.model} of version "
            f"{__version__}: {error}"
        ) from error
    return module
