"""The request: what a user asks for, in the words of `bench run`, before anything is looked up or read."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import get_args

from ...datasets.memory import parse_bytes
from ...datasets.tables.limits import MAX_BYTES
from ...errors import UsageError
from ...names import check_choice
from ..results.keeping import Keeping, readings_of, seconds_of

SIMULATED = "synthetic"
"""The word that `--features` takes for a simulated cohort."""
_REPEATABLE = ("features_path", "dial")
_CHANGE_NO_NUMBER = ("out", "keep_weights", "retrain", "checkpoint_every", "cache")


@dataclass(frozen=True)
class Request:
    """One experiment as a user asks for it. Every field but the first two is an option of `bench run`.

    Parameters
    ----------
    model, cohort
        Names of the registries; a baseline counts as a model. A cohort may be one's own: any name, or a folder with a
        cohort.toml.
    backbone
        A name, or None where the features say it.
    features_path
        A folder, an archive or a table, several of them that are one cohort, `synthetic`, or None to look in `data`.
    labels_path, splits_path
        A label table and a folder of folds, or None to look in `data` (without folds there, they are made).
    data, out
        The data folder, and where results go.
    recipe
        How a model is trained, by name.
    settings
        `key=value` pairs as text: fields of the recipe, hyperparameters, or the penalty of a baseline.
    endpoint
        `os`, `dss`, `pfi`, `dfi`, `pfs` or `dfs`, where the table has it.
    columns, sheet, slide_table, status_words, table_mib
        Of the label table: what its columns hold, which sheet of a workbook, a second table of slides, words of the
        outcome that are not known, and how large it may be.
    magnification, patch_px, coords
        Of the features, where their files do not say it.
    derive_scales
        Whether 10x and 5x features that are lacking are derived from 20x.
    covariates
        Joined by commas: what a model that is trained is joined with (None for the image alone), or what clinical-cox
        is fitted on (None for its default).
    folds, repeats, split_by
        Outer folds to make where none are given: how many, how often, and whether `event` (stratified) or `site` (no
        tissue source site in two parts) decides.
    slides
        How several slides of a patient count, out of `several_slides.MODES`.
    device
        `cpu`, `cuda` or `auto`.
    missing, unusable_times
        What to do about patients without features, and about times that are missing or not above zero: `error` or
        `drop`.
    strength, patients, cohort_seed
        Of a simulated cohort: the hazard (a word or a number), how many patients, and which draw.
    dial
        Of a planted cohort, `NAME=VALUE` each, out of `dials.DIALS`.
    seed
        Of weights, batches and the validation split, see `Experiment`.
    keep_weights, retrain
        Readings whose weights are kept, joined by commas, or `none`; whether finished folds without them are trained
        again.
    checkpoint_every
        Time of training between two checkpoints, such as `10min`, or `never`.
    cache
        How much memory features may take, such as `32GiB`; `auto` for half of what is free, divided among `--jobs`.
    tune, tune_seconds
        How many settings are tried by fold, or for how many seconds; None for what the recipe says.
    inner
        Into how many inner folds a training set is divided to compare settings, or `validation` for its validation
        split.
    tune_workers
        How many processes work on one fold; with several, timing decides which settings are tried.
    """

    model: str
    cohort: str
    backbone: str | None = None
    features_path: str | tuple[str, ...] | None = None
    labels_path: Path | None = None
    splits_path: Path | None = None
    data: Path = Path("data")
    out: Path = Path("results")
    recipe: str = "default"
    settings: Mapping[str, str] = field(default_factory=dict)
    endpoint: str = "os"
    columns: str | None = None
    sheet: str | None = None
    slide_table: Path | None = None
    status_words: str | None = None
    table_mib: int = MAX_BYTES >> 20
    magnification: int | None = None
    patch_px: int | None = None
    coords: Path | None = None
    derive_scales: bool = False
    covariates: str | None = None
    folds: int = 5
    repeats: int = 1
    split_by: str = "event"
    slides: str = "concat"
    device: str = "auto"
    missing: str = "error"
    unusable_times: str = "error"
    strength: str | None = None
    patients: int | None = None
    cohort_seed: int = 0
    dial: tuple[str, ...] = ()
    seed: int = 0
    keep_weights: str = "selected"
    retrain: bool = False
    checkpoint_every: str = "5min"
    cache: str = "auto"
    tune: int | None = None
    tune_seconds: int | None = None
    inner: str = "3"
    tune_workers: int = 1

    @property
    def keeping(self) -> Keeping:
        """What is kept beside the numbers. Errors: `UsageError`."""
        return Keeping(readings_of(self.keep_weights), self.retrain, seconds_of(self.checkpoint_every))

    @property
    def feature_places(self) -> tuple[Path, ...]:
        """Where the features lie, as given."""
        given = (self.features_path,) if isinstance(self.features_path, str) else self.features_path or ()
        return tuple(map(Path, given))

    @property
    def cache_bytes(self) -> int | None:
        """How much memory features may take; None for a share of what is free. Errors: `UsageError`."""
        try:
            return None if self.cache == "auto" else parse_bytes(self.cache)
        except ValueError as error:
            raise UsageError(f"--cache {self.cache}: {error}") from error

    @property
    def tuned(self) -> bool:
        """Whether settings are chosen fold by fold."""
        return self.tune is not None or self.tune_seconds is not None

    @property
    def simulated(self) -> bool:
        """Whether the cohort is simulated: by name, or because `--features synthetic` asks for it."""
        from ...datasets.own_cohorts.find import find_cohort

        by_name = find_cohort(self.cohort).cohort.planted is not None
        return self.features_path == SIMULATED or (by_name and self.features_path is None and self.labels_path is None)

    @property
    def command(self) -> str:
        """The `bench run` command that gives these numbers again; left out are defaults, and what changes no number."""
        words = ["bench", "run", "--model", self.model, "--cohort", self.cohort]
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in ("model", "cohort", "settings", *_CHANGE_NO_NUMBER) or value == option.default:
                continue
            word = f"--{option_name(option.name)}"
            for one in value if isinstance(value, tuple) else (value,):
                words += [word] if one is True else [word, str(one)]
        for key, value in sorted(self.settings.items()):
            words += ["--set", f"{key}={value}"]
        return shlex.join(words)


def parse_command(command: str) -> Request:
    """The request of a `bench run` command, as `Request.command` writes it. The command is read and never run.

    Raises
    ------
    UsageError
        The text is no such command, names an unknown option, or gives an option a value that it cannot have.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the command cannot be read ({error})") from error
    if words[:2] != ["bench", "run"]:
        raise UsageError("expected `bench run` and pairs of an option and its value")
    kinds = {option_name(one.name): one for one in fields(Request) if one.name != "settings"}
    given: dict[str, object] = {}
    settings: dict[str, str] = {}
    rest = iter(words[2:])
    for option in rest:
        name = "seeds" if option == "--seed" else option.removeprefix("--")
        if name in kinds and kinds[name].type is bool:
            given[kinds[name].name] = True
            continue
        if (text := next(rest, None)) is None:
            raise UsageError(f"expected `bench run` and pairs of an option and its value; {option} has none")
        if option == "--set":
            key, equals, value = text.partition("=")
            if not equals or not key:
                raise UsageError(f"--set {text}: expected KEY=VALUE")
            settings[key.replace("-", "_")] = value
            continue
        check_choice("option", name, kinds)
        field_name, value = kinds[name].name, _value(kinds[name], text)
        if field_name in _REPEATABLE:
            earlier = _listed(given[field_name]) if field_name in given else ()
            value = (*earlier, value) if earlier or field_name == "dial" else value
        given[field_name] = value
    if not {"model", "cohort"} <= given.keys():
        raise UsageError("expected --model and --cohort")
    return Request(**given, settings=settings)  # type: ignore[arg-type]


def features_given(places: Sequence[object] | None) -> str | tuple[str, ...] | None:
    """`features_path` of what was given: nothing, one place, or several."""
    given = tuple(str(place) for place in places or ())
    return None if not given else given[0] if len(given) == 1 else given


def _listed(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _value(option: "Field[object]", text: str) -> object:
    """An option's text as its field holds it. Errors: `UsageError`."""
    kinds = get_args(option.type) or (option.type,)
    try:
        if int in kinds:
            return int(text)
        return Path(text) if Path in kinds else text
    except ValueError as error:
        raise UsageError(f"--{option_name(option.name)} {text}: expected a whole number") from error


def option_name(field_name: str) -> str:
    """What the command line calls a field of `Request`: `labels_path` is `--labels`, `seed` is `--seeds`."""
    return "seeds" if field_name == "seed" else field_name.removesuffix("_path").replace("_", "-")
