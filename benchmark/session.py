"""One call of the command line: its experiments, its MLflow store, its leaderboard."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..datasets.errors import DataError
from ..datasets.findings import Finding
from ..leaderboards.ablation import ablation_latex, ablation_markdown, ablation_sheet, ablations, differences_sheet
from ..leaderboards.publish import Published, publish
from ..leaderboards.sheets import Sheet
from ..leaderboards.whole_files import write_whole
from ..models import registry
from ..models.registry import UnknownModel
from . import console
from .experiment import Experiment
from .fold import READINGS, REPORTED
from .prepare import SYNTHETIC, Request, UsageError, choose, command_of, prepare
from .provenance import code_version, hardware, libraries
from .recipe import epochs_of
from .run import run
from .tracking import Tracker, local_store


@dataclass(frozen=True)
class Finished:
    """An experiment and the rows of its folds."""

    experiment: Experiment
    rows: list[dict[str, object]]

    @property
    def complete(self) -> bool:
        """True when no fold failed."""
        return all(row["status"] == "finished" for row in self.rows)

    def _mean(self, column: str) -> float | None:
        """The mean over all folds; None when one of them has no value, since fewer folds are another number."""
        complete = len(self.rows) == self.experiment.n_folds and all(row.get(column) is not None for row in self.rows)
        return console.mean(self.rows, column) if complete else None

    def summary(self) -> dict[str, object]:
        """What `--json` prints.

        Metrics without a value are null, and `why` says why; a mean is null unless every fold has a value.
        """
        return {
            "experiment": self.experiment.id,
            "model": self.experiment.model,
            "cohort": self.experiment.cohort,
            "backbone": self.experiment.backbone,
            "synthetic": self.experiment.synthetic,
            "seed": self.experiment.seed,
            "folds": [_fold_summary(row) for row in self.rows],
            "mean": {reading: self._mean(f"c_index_{reading}") for reading in READINGS},
            "oracle": self._mean("oracle_c_index"),
        }


def _fold_summary(row: dict[str, object]) -> dict[str, object]:
    head = {key: row[key] for key in ("fold", "status", "error")}
    if row["status"] != "finished":
        return head
    metrics = {name: {reading: row[f"{name}_{reading}"] for reading in READINGS} for name in REPORTED}
    rest = (
        "ibs_km",
        "oracle_c_index",
        "n_train",
        "n_val",
        "n_test",
        "events_test",
        "epochs",
        "parameters",
        "seconds",
    )
    why = {key.removeprefix("why_"): value for key, value in row.items() if key.startswith("why_")}
    epochs = {reading: row[f"epoch_{reading}"] for reading in READINGS}
    return head | metrics | {"epoch": epochs} | {key: row[key] for key in rest} | {"why": why}


class Session:
    """Runs requests into one output folder."""

    def __init__(self, out: Path, tracking: str | None) -> None:
        self.out = out
        self.tracking = local_store(out) if tracking is None else tracking
        self.published: Published | None = None
        self._told: set[Finding] = set()

    def plan(self, request: Request) -> dict[str, object]:
        """What a request would run, without writing anything."""
        choice = choose(request)
        planned: dict[str, object] = {
            "model": choice.spec.name,
            "cohort": choice.cohort.name,
            "backbone": request.backbone or "as found",
            "scales": ", ".join(map(str, choice.magnifications)),
            "loss": choice.recipe.loss,
            "recipe": choice.recipe.name,
            "epochs": choice.recipe.epochs or f"{choice.recipe.steps} steps",
            "seed": request.seed,
            "device": choice.device,
        }
        if request.features == SYNTHETIC:
            return planned | {"folds": request.folds, "experiment": "known once the cohort is drawn"}
        experiment, material = prepare(request)
        patients = len(material.labels.patients)
        planned |= {"backbone": experiment.backbone, "folds": experiment.n_folds, "patients": patients}
        return planned | {"experiment": experiment.id}

    def run(self, request: Request) -> Finished:
        """Prepare and run one experiment, and tell people what was noticed on the way."""
        with (
            console.counting(f"drawing {request.cohort}") as drawing,
            console.counting("looking at slides") as checking,
        ):
            experiment, material = prepare(request, drawing, checking)
        console.findings([finding for finding in material.findings if finding not in self._told])
        self._told.update(material.findings)
        command = command_of(request)
        tracker = Tracker(self.tracking, self.out, *_described(experiment, command), console.warn)
        with console.progress() as display:
            title = f"{experiment.model} on {experiment.cohort}"
            learning = len(material.splits[0].train) * (1 - experiment.recipe.validation)
            epochs = epochs_of(experiment.recipe, round(learning))
            watcher = console.FoldProgress(display, title, len(material.splits), epochs)
            try:
                rows = run(experiment, material, self.out, command, watcher, tracker)
            except KeyboardInterrupt:
                kept = f"{watcher.done} of {len(material.splits)} folds are kept"
                console.warn(f"interrupted; {kept}. The same command goes on from there")
                raise
        versions = sorted({str(row["code_version"]) for row in rows})
        if len(versions) > 1:
            console.warn(f"folds of {experiment.id} were computed by different versions: {', '.join(versions)}")
        return Finished(experiment, rows)

    def run_all(self, requests: list[Request]) -> tuple[list[Finished], list[dict[str, str]]]:
        """Run a grid. A cell that cannot run is told and listed, and the others still run."""
        for request in requests:
            choose(request)  # a wrong name ends the command before the first hour of computing
        results, failures = [], []
        for request in requests:
            try:
                results.append(self.run(request))
            except (DataError, UsageError) as error:
                console.fail(f"{command_of(request)}: {error}")
                failures.append({"command": command_of(request), "error": str(error)})
        return results, failures

    def publish(self) -> bool:
        """Render the leaderboard of everything in the output folder; False, with a word why, where it cannot be."""
        try:
            self.published = publish(self.out / "experiments", self.out / "leaderboard")
        except OSError as error:
            console.fail(f"the leaderboard cannot be written: {error.filename}: {error.strerror}. The results are kept")
            return False
        for problem in self.published.problems:
            console.warn(f"{problem.where}: {problem.message}")
        return True

    def show(self, result: Finished) -> None:
        """Print one experiment, fold by fold, and where its files lie."""
        e = result.experiment
        drawn = " (synthetic)" if e.synthetic else ""
        console.folds_table(f"{e.model} on {e.cohort}{drawn}, {e.backbone}, experiment {e.id}", result.rows)
        console.say(f"Results:     {self.out / 'experiments' / e.id}")
        self._show_places()

    def ablation(self, requests: list[Request], baseline: str | None) -> tuple[Sheet, ...]:
        """Models by backbones on the cohorts of a grid; written beside the leaderboard as Markdown and LaTeX, too.

        Errors: `RowError` for a baseline that is on no board, `OSError` where the files cannot be written.
        """
        assert self.published is not None, "publish comes first"
        found = self.published.gathered
        names = {choose(request).cohort.name for request in requests}
        boards = [board for board in found.boards if board.cohort in names]
        tables = ablations(boards, found.predictions, baseline, found.derived)
        if tables:
            write_whole(self.out / "leaderboard" / "ablation.md", ablation_markdown(tables))
            write_whole(self.out / "leaderboard" / "ablation.tex", ablation_latex(tables))
        return tuple(sheet for one in tables for sheet in (ablation_sheet(one), differences_sheet(one)))

    def show_tables(self, more: tuple[Sheet, ...] = ()) -> None:
        """Print the boards, and after them further tables."""
        if self.published:
            console.sheets((*self.published.tables, *more))
        self._show_places()

    def _show_places(self) -> None:
        if self.published:
            console.say(f"Leaderboard: {self.published.paths['html']}")
        if self.tracking != "none":
            console.say(f"MLflow:      mlflow ui --backend-store-uri {self.tracking}")


def _described(experiment: Experiment, command: str) -> tuple[dict[str, object], dict[str, str]]:
    """(parameters, tags) for MLflow."""
    recipe = {f"recipe.{key}": value for key, value in vars(experiment.recipe).items()}
    hyper = {f"model.{key}": value for key, value in experiment.hyperparameters.items()}
    plain = {key: value for key, value in vars(experiment).items() if key not in ("recipe", "hyperparameters")}
    tags = {
        "milsurv.experiment": experiment.id,
        "model": experiment.model,
        "cohort": experiment.cohort,
        "backbone": experiment.backbone,
        "synthetic": str(experiment.synthetic).lower(),
        "labels": experiment.labels,
        "folds": experiment.folds,
        "features": experiment.features,
        "code": code_version(),
        "hardware": hardware(experiment.device),
        "command": command,
        **{f"version.{name}": number for name, number in libraries().items()},
    }
    return plain | recipe | hyper, tags


def grid(first: Request, **axes: str | None) -> list[Request]:
    """All combinations of comma-separated values; `loss` and `scale` become settings, `scale` only where it fits."""

    def values(name: str) -> list[str | None]:
        text = axes.get(name)
        found = [part.strip() for part in text.split(",") if part.strip()] if text else []
        if text is not None and not found:
            raise UsageError(f"--{name} names nothing")
        return list(dict.fromkeys(found)) or [None]

    def cells() -> Iterator[Request]:
        for cohort in values("cohort"):
            for backbone in values("backbone"):
                for model in values("model"):
                    for loss in values("loss"):
                        for scale in _scales_of(str(model), values("scale")):
                            for seed in values("seed"):
                                chosen = {"loss": loss, "scale": scale}
                                settings = {
                                    **(first.settings or {}),
                                    **{k: v for k, v in chosen.items() if v},
                                }
                                yield replace(
                                    first,
                                    model=str(model),
                                    cohort=str(cohort),
                                    backbone=backbone,
                                    settings=settings,
                                    seed=_integer("seed", seed),
                                )

    if axes.get("scale") and not any("scale" in registry.get(str(model)).defaults for model in values("model")):
        raise UsageError("--scale is for single-scale models, and none of these is one")
    return list(cells())


def _scales_of(model: str, scales: list[str | None]) -> list[str | None]:
    try:
        return scales if registry.get(model).family == "single-scale" else [None]
    except UnknownModel as error:
        raise UsageError(str(error)) from error


def _integer(name: str, text: str | None) -> int:
    if text is not None and not text.isdecimal():
        raise UsageError(f"--{name} {text}: expected whole numbers from 0, separated by commas")
    return int(text or 0)
