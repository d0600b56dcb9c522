"""One call of the command line: its experiments, its MLflow store, its leaderboard."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..datasets import cohorts
from ..datasets.findings import Finding
from ..errors import DataError
from ..files import write_whole
from ..leaderboards.cache.store import user_cache
from ..leaderboards.publish import Published, publish
from ..leaderboards.render.ablation import (
    ablation_latex,
    ablation_markdown,
    ablation_table,
    ablations,
    differences_table,
)
from ..leaderboards.render.text_tables import TextTable
from ..leaderboards.result_row import READINGS, ResultRow
from .baselines.control_runs import choose_control, entry_of, prepare_control, settled_by
from .baselines.controls import CONTROLS
from .cli import console
from .cross_validate import run
from .experiment import Experiment, id_of
from .prepare import Request, UsageError, choose, command_of, prepare
from .recipe import epochs_of
from .results.folder import write_remarks
from .results.provenance import code_version, hardware, libraries
from .results.score_predictions import Entry, keep
from .results.tracking import Tracker, local_store


@dataclass(frozen=True)
class Named:
    """What is told of every experiment, whether a model was trained in it or a control fitted."""

    id: str
    model: str
    cohort: str
    backbone: str | None
    synthetic: bool
    seed: int
    n_folds: int


@dataclass(frozen=True)
class Finished:
    """An experiment and the rows of its folds."""

    experiment: Named | Experiment
    rows: list[ResultRow]

    @property
    def complete(self) -> bool:
        """True when no fold failed."""
        return all(row.finished for row in self.rows)

    def _mean(self, column: str) -> float | None:
        """The mean over all folds; None when one of them has no value, since fewer folds are another number."""
        values = [row.score(column) for row in self.rows]
        complete = len(values) == self.experiment.n_folds and None not in values
        return console.mean(values) if complete else None

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
            "folds": [row.summary() for row in self.rows],
            "mean": {reading: self._mean(f"c_index_{reading}") for reading in READINGS},
            "oracle": self._mean("oracle_c_index"),
        }


class Session:
    """Runs requests into one output folder."""

    def __init__(self, out: Path, tracking: str | None) -> None:
        self.out = out
        self.tracking = local_store(out) if tracking is None else tracking
        self.published: Published | None = None
        self._told: set[Finding] = set()

    def plan(self, request: Request) -> dict[str, object]:
        """What a request would run, without writing anything."""
        if request.model in CONTROLS:
            return self._plan_control(request)
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
        if request.drawn:
            return planned | {"folds": request.folds, "experiment": "known once the cohort is drawn"}
        experiment, material = prepare(request)
        patients = len(material.labels.patients)
        planned |= {"backbone": experiment.backbone, "folds": experiment.n_folds, "patients": patients}
        return planned | {"experiment": experiment.id}

    def _plan_control(self, request: Request) -> dict[str, object]:
        choice = choose_control(request)
        planned: dict[str, object] = {
            "model": choice.control.name,
            "cohort": choice.cohort.name,
            **dict.fromkeys(("backbone", "scales", "loss", "recipe", "epochs")),
            "seed": request.seed if choice.control.drawn else 0,
            "device": "cpu",
        }
        if request.drawn:
            return planned | {"folds": request.folds, "experiment": "known once the cohort is drawn"}
        _, material = prepare_control(request)
        planned |= {"folds": len(material.folds.splits), "patients": material.patients}
        return planned | {"experiment": id_of(settled_by(request, choice, material))}

    def run(self, request: Request) -> Finished:
        """Prepare and run one experiment, and tell people what was noticed on the way."""
        return self._run_control(request) if request.model in CONTROLS else self._run_model(request)

    def _tell(self, findings: Sequence[Finding]) -> None:
        console.findings([finding for finding in findings if finding not in self._told])
        self._told.update(findings)

    def _run_control(self, request: Request) -> Finished:
        with console.counting(f"drawing {request.cohort}") as drawing, console.counting("looking at slides") as seen:
            choice, material = prepare_control(request, drawing, seen)
        self._tell(material.findings)
        made = entry_of(request, choice, material)
        rows = list(made.rows)
        name = Named(
            made.experiment,
            choice.control.name,
            choice.cohort.name,
            None,
            material.labels.synthetic,
            int(str(made.shared["seed"])),
            len(rows),
        )
        tracker = Tracker(self.tracking, self.out, *_described_control(made), console.warn)
        tracker.begin()
        folder = keep(made, self.out)
        write_remarks(folder, [asdict(finding) for finding in material.findings], material.left_out)
        for row in rows:
            tracker.fold(row, folder / f"fold-{row.fold}")
        tracker.end("FINISHED", rows, folder)
        return Finished(name, rows)

    def _run_model(self, request: Request) -> Finished:
        with (
            console.counting(f"drawing {request.cohort}") as drawing,
            console.counting("looking at slides") as checking,
        ):
            experiment, material = prepare(request, drawing, checking)
        self._tell(material.findings)
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
        versions = sorted({str(row.code_version) for row in rows})
        if len(versions) > 1:
            console.warn(f"folds of {experiment.id} were computed by different versions: {', '.join(versions)}")
        return Finished(experiment, rows)

    def run_all(self, requests: list[Request]) -> tuple[list[Finished], list[dict[str, str]]]:
        """Run a grid. A cell that cannot run is told and listed, and the others still run."""
        for request in requests:  # a wrong name ends the command before the first hour of computing
            choose_control(request) if request.model in CONTROLS else choose(request)
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
            self.published = publish(self.out / "experiments", self.out / "leaderboard", user_cache())
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
        words = [f"{e.model} on {e.cohort}{drawn}", *[e.backbone] * bool(e.backbone), f"experiment {e.id}"]
        console.folds_table(", ".join(words), result.rows)
        console.say(f"Results:     {self.out / 'experiments' / e.id}")
        self._show_places()

    def ablation(self, requests: list[Request], baseline: str | None) -> tuple[TextTable, ...]:
        """Models by backbones on the cohorts of a grid; written beside the leaderboard as Markdown and LaTeX, too.

        Errors: `RowError` for a baseline that is on no board, `OSError` where the files cannot be written.
        """
        assert self.published is not None, "publish comes first"
        found = self.published.gathered
        names = {cohorts.get(request.cohort).name for request in requests}
        boards = [board for board in found.boards if board.cohort in names]
        tables = ablations(boards, found.predictions, baseline, found.published)
        if tables:
            write_whole(self.out / "leaderboard" / "ablation.md", ablation_markdown(tables))
            write_whole(self.out / "leaderboard" / "ablation.tex", ablation_latex(tables))
        return tuple(sheet for one in tables for sheet in (ablation_table(one), differences_table(one)))

    def show_tables(self, more: tuple[TextTable, ...] = ()) -> None:
        """Print the boards, and after them further tables."""
        if self.published:
            console.text_tables((*self.published.tables, *more))
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


def _described_control(made: Entry) -> tuple[dict[str, object], dict[str, str]]:
    """(parameters, tags) for MLflow."""
    told = ("model", "cohort", "code_version", "command")
    tags = {
        "milsurv.experiment": made.experiment,
        **{key.removesuffix("_version"): str(made.shared[key]) for key in told},
        "synthetic": str(made.shared["synthetic"]).lower(),
        "labels": str(made.shared["labels_fingerprint"]),
        "folds": str(made.shared["folds_fingerprint"]),
    }
    kept = ("model", "cohort", "hyperparameters", "seed", "slides", "endpoint", "folds_name", "n_folds")
    return {key: made.shared[key] for key in kept}, tags
