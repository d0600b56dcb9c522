"""Requests become results: load, cross-validate on an engine, log. What `bench run`, `bench ablate` and Python do."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..datasets.findings import Finding
from ..errors import CannotWrite, DataError, UsageError
from ..leaderboards.result_row import ResultRow
from ..models.registry import adopt
from ..names import joined_name
from .cross_validation.experiment_run import ExperimentRun
from .cross_validation.fitting import help_tuning
from .cross_validation.work import Work
from .engines.cell import Cell, Watcher
from .engines.choose import engine_of
from .engines.options import SERIAL, Options
from .engines.schedule import schedule
from .engines.worker import Worker
from .planning.load import Loader, load
from .planning.request import Request
from .planning.resolve import resolve
from .recipe import loss_of, title
from .results.finished import Finished
from .results.tracking.options import Tracking
from .results.tracking.runs import Tracker, parameters_of, sources_of
from .results.tracking.store import Store, open_store
from .training.interruption import STOP
from .tuning.workers import workers

_LOADER = "loader"


class Display(Protocol):
    """Whoever shows what happens; `console.Terminal` is one."""

    def warn(self, text: str) -> None:
        """Say something that should be read."""
        ...

    def fail(self, text: str) -> None:
        """Say why something cannot go on."""
        ...

    def findings(self, found: Sequence[Finding]) -> None:
        """Say what was noticed in the data."""
        ...

    def counting(self, title: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Count something up, by calls with (done, total)."""
        ...

    def computing(self, title: str, cells: int) -> AbstractContextManager[Watcher]:
        """Follow folds and their epochs."""
        ...


class Quiet:
    """Shows nothing; what should be read becomes a Python warning."""

    def warn(self, text: str) -> None:
        """Say something that should be read."""
        warnings.warn(text, stacklevel=2)

    fail = warn

    def findings(self, found: Sequence[Finding]) -> None:
        """Show nothing: findings are kept in `remarks.json`."""

    @contextmanager
    def counting(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """Count nothing."""
        yield lambda done, total: None

    @contextmanager
    def computing(self, title: str, cells: int) -> "Iterator[Watcher]":
        """Only count folds."""
        yield _FoldCount()


class _FoldCount:
    done = 0

    def epoch(self, cell: Cell, epoch: int, line: Mapping[str, float | int | None]) -> None:
        pass

    def trial(self, cell: Cell, trial: int, of: int | None, best: float | None) -> None:
        pass

    def fold(self, fold: int, row: ResultRow, computed: bool) -> None:
        self.done += 1

    def state(self, running: int, elsewhere: int) -> None:
        pass


def plan(request: Request) -> dict[str, object]:
    """What a request would run, without writing anything. Errors: those of `load`."""
    resolved = resolve(request)
    recipe = resolved.recipe
    planned: dict[str, object] = {
        "model": joined_name(resolved.method.name, resolved.covariates),
        "cohort": resolved.cohort.name,
        "backbone": (request.backbone or "as found") if recipe else None,
        "scales": ", ".join(map(str, resolved.magnifications)) or None,
        "loss": loss_of(recipe, resolved.tuning),
        "recipe": title(recipe, resolved.tuning) if resolved.tuning else recipe.name if recipe else None,
        "epochs": (recipe.epochs or f"{recipe.steps} steps") if recipe else None,
        "seed": resolved.seed,
        "device": resolved.device,
    }
    if request.simulated:
        return planned | {"folds": request.folds, "experiment": "known once the cohort is simulated"}
    experiment, data = load(request)
    return planned | {
        "cohort": experiment.cohort,
        "backbone": experiment.backbone,
        "folds": experiment.n_folds,
        "patients": len(data.labels.patients),
        "experiment": experiment.id,
    }


def run(
    request: Request, display: Display, tracking: Tracking | str | None = None, options: Options = SERIAL
) -> Finished:
    """Load and cross-validate one experiment into `request.out`.

    Parameters
    ----------
    display
        Shows progress, and what was noticed on the way.
    tracking
        Address of the MLflow store, or what else is recorded; None for one in `request.out`, `none` for no record.
    options
        How folds are computed: one after another, or several at once.

    Raises
    ------
    UsageError, DataError, CannotWrite
        As `load` and `schedule` do.
    """
    return run_requests([request], display, tracking, options)[0]


def run_requests(
    requests: Sequence[Request], display: Display, tracking: Tracking | str | None = None, options: Options = SERIAL
) -> list[Finished]:
    """Run several experiments as one: what is wrong with any of them is raised before the first is computed."""
    loader, store = Loader(options.elsewhere), open_store(tracking, requests[0].out)
    return _compute([_prepared(request, loader, display, store) for request in requests], loader, display, options)


def help_with(request: Request, fold: int) -> None:
    """Compute trials of a fold of a request that another process tunes."""
    adopt([request.model])
    help_tuning(*load(request), request.out, fold, request.keeping.every)


def run_all(
    requests: Sequence[Request], display: Display, tracking: Tracking | str | None = None, options: Options = SERIAL
) -> tuple[list[Finished], list[dict[str, str]]]:
    """Run a grid: everything is read and checked first, then the folds of all experiments are computed.

    An experiment that cannot run is reported and listed, and the others still run. Returns what finished, and for every
    experiment that could not run its `command` and the `error`.
    """
    for request in requests:  # a wrong name ends the command before anything is read
        resolve(request)
    loader, store = Loader(options.elsewhere), open_store(tracking, requests[0].out)
    experiments, failures = [], []
    for request in requests:
        try:
            experiments.append(_prepared(request, loader, display, store))
        except CannotWrite:
            raise
        except (DataError, UsageError) as error:
            display.fail(f"{request.command}: {error}")
            failures.append({"command": request.command, "error": str(error)})
    return _compute(experiments, loader, display, options), failures


@dataclass(frozen=True)
class RequestTask:
    """A request as a task: any process on any machine that sees the same files can load it, for this device."""

    request: Request
    device: str

    @property
    def title(self) -> str:
        """The experiment, as people look for it."""
        seed = f", seed {self.request.seed}" if self.request.seed else ""
        return f"{self.request.model} on {self.request.cohort}{seed}"

    def load(self, memory: dict[str, Any]) -> Work:
        """Read its data. Errors: those of `load`."""
        adopt([self.request.model])
        loader: Loader = memory.setdefault(_LOADER, Loader())
        request = self.request

        def beside(fold: int) -> AbstractContextManager[None]:
            return workers(request.tune_workers - 1, help_with, request, fold)

        return Work(
            *loader.load(replace(request, device=self.device)),
            request.out,
            request.command,
            keeping=request.keeping,
            beside=beside,
        )


def _prepared(request: Request, loader: Loader, display: Display, store: Store | None) -> ExperimentRun:
    """A request, loaded. Errors: those of `load`."""
    with (
        display.counting(f"simulating {request.cohort}") as simulating,
        display.counting("looking at slides") as checking,
    ):
        experiment, data = loader.load(request, simulating, checking)
    if experiment.covariates and store is not None and store.wanted.register:
        raise UsageError(
            f"--register: {experiment.title} joins slides with covariates, and MLflow serves models of slides alone: "
            "leave --register or --covariates out"
        )
    display.findings(data.findings)
    # The patches stay with whoever computes.
    slim = replace(data, bags=None)
    work = Work(experiment, slim, request.out, request.command, keeping=request.keeping)
    sources = sources_of(experiment, data, ", ".join(map(str, request.feature_places)) or None)
    return ExperimentRun(
        RequestTask(request, experiment.device),
        work,
        Tracker(store, work.shared, parameters_of(experiment), sources, display.warn),
    )


def _compute(
    experiments: Sequence[ExperimentRun], loader: Loader, display: Display, options: Options
) -> list[Finished]:
    """Compute what is not finished. Errors: `UsageError` for an engine that cannot be, `CannotWrite`."""
    cells = sum(len(experiment.folds) for experiment in experiments)
    if not experiments:
        return []
    one = experiments[0].work.experiment.title if len(experiments) == 1 else f"{len(experiments)} experiments"
    devices = [experiment.work.experiment.device for experiment in experiments]
    engine = engine_of(options, Worker({_LOADER: loader}), max(devices), experiments[0].work.out)
    with display.computing(one, cells) as watcher:
        try:
            schedule(experiments, engine, watcher)
        except KeyboardInterrupt as end:
            why = f"interrupted by {STOP.reason}" if STOP.reason else "interrupted"
            more = f", and {end}" if str(end) else ""
            display.warn(f"{why}; {watcher.done} of {cells} folds are kept{more}. The same command goes on from there")
            raise
    for experiment in experiments:
        versions = sorted({str(row.code_version) for row in experiment.rows})
        if len(versions) > 1:
            name = experiment.work.experiment.id
            display.warn(f"folds of {name} were computed by different versions: {', '.join(versions)}")
    return [Finished(experiment.work.experiment, experiment.rows) for experiment in experiments]
