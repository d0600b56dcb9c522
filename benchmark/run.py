"""Requests become results: load, cross-validate, log to MLflow. What `bench run`, `bench ablate` and Python do."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

from ..datasets.findings import Finding
from ..errors import CannotWrite, DataError, UsageError
from ..leaderboards.result_row import ResultRow
from ..models.foreign import adopt
from .cross_validate import Watcher, cross_validate, describe, help_tuning, validation_split
from .planning.load import load
from .planning.request import Request
from .planning.resolve import resolve
from .recipe import epochs_of, loss_of, title
from .results.finished import Finished
from .results.tracking.runs import Tracker, parameters_of, sources_of
from .results.tracking.store import open_store
from .training.interruption import STOP
from .tuning.workers import workers


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

    def training(self, title: str, folds: int, epochs: int) -> AbstractContextManager[Watcher]:
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
    def training(self, title: str, folds: int, epochs: int) -> "Iterator[Watcher]":
        """Only count folds."""
        yield _FoldCount()


class _FoldCount:
    done = 0

    def epoch(self, fold: int, epoch: int, line: Mapping[str, float | int | None]) -> None:
        pass

    def trial(self, fold: int, trial: int, of: int | None, best: float | None) -> None:
        pass

    def fold(self, fold: int, row: ResultRow, computed: bool) -> None:
        self.done += 1


def plan(request: Request) -> dict[str, object]:
    """What a request would run, without writing anything. Errors: those of `load`."""
    resolved = resolve(request)
    recipe = resolved.recipe
    planned: dict[str, object] = {
        "model": resolved.method.name,
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


def run(request: Request, display: Display, tracking: str | None = None) -> Finished:
    """Load and cross-validate one experiment into `request.out`.

    Parameters
    ----------
    display
        Shows progress, and what was noticed on the way.
    tracking
        Address of the MLflow store; None for one in `request.out`, `none` for no record.

    Raises
    ------
    UsageError, DataError, CannotWrite
        As `load` and `cross_validate` do.
    """
    with (
        display.counting(f"simulating {request.cohort}") as simulating,
        display.counting("looking at slides") as checking,
    ):
        experiment, data = load(request, simulating, checking)
    display.findings(data.findings)
    tracker = Tracker(
        open_store(tracking, request.out),
        replace(describe(experiment, data), command=request.command),
        parameters_of(experiment),
        sources_of(experiment, data, request.features_path),
        display.warn,
    )
    splits, epochs = data.folds.splits, 1
    if experiment.recipe is not None:
        epochs = epochs_of(experiment.recipe, len(validation_split(experiment, data, splits[0])[0]))

    def beside(fold: int) -> AbstractContextManager[None]:
        return workers(request.tune_workers - 1, help_with, request, fold)

    with display.training(f"{experiment.model} on {experiment.cohort}", len(splits), epochs) as watcher:
        try:
            rows = cross_validate(
                experiment, data, request.out, request.command, watcher, tracker, beside=beside, keeping=request.keeping
            )
        except KeyboardInterrupt as end:
            why = f"interrupted by {STOP.reason}" if STOP.reason else "interrupted"
            more = f", and {end}" if str(end) else ""
            display.warn(
                f"{why}; {watcher.done} of {len(splits)} folds are kept{more}. The same command goes on from there"
            )
            raise
    versions = sorted({str(row.code_version) for row in rows})
    if len(versions) > 1:
        display.warn(f"folds of {experiment.id} were computed by different versions: {', '.join(versions)}")
    return Finished(experiment, rows)


def help_with(request: Request, fold: int) -> None:
    """Compute trials of a fold of a request that another process tunes."""
    adopt([request.model])
    help_tuning(*load(request), request.out, fold)


def run_all(
    requests: Sequence[Request], display: Display, tracking: str | None = None
) -> tuple[list[Finished], list[dict[str, str]]]:
    """Run a grid. A cell that cannot run is reported and listed, and the others still run.

    Returns what finished, and for every cell that could not run its `command` and the `error`.
    """
    for request in requests:  # a wrong name ends the command before the first hour of computing
        resolve(request)
    finished, failures = [], []
    for request in requests:
        try:
            finished.append(run(request, display, tracking))
        except CannotWrite:
            raise
        except (DataError, UsageError) as error:
            display.fail(f"{request.command}: {error}")
            failures.append({"command": request.command, "error": str(error)})
    return finished, failures
