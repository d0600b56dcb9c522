"""`bench status`: how far the experiments of a results folder are, and who computes them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json

if TYPE_CHECKING:
    from ..results.progress import Progress


def status(
    results: Annotated[Path, typer.Argument(help="A folder that `bench run --out` writes.")] = Path("results"),
    as_json: o.AsJson = False,
) -> None:
    """Show what is finished, running, failed and waiting, and who computes it: host, process, since when.

    Reads files alone: it works while commands run, from any machine that sees the folder, and after all of them ended.
    """
    with explained():
        from .. import console
        from ..engines.slurm import queue_of
        from ..results.progress import progress_of

        found, queued = progress_of(results), queue_of(results / "slurm")
        jobs = [
            {"job": job, "state": state, "experiment": experiment, "fold": fold}
            for (experiment, fold), (job, state) in sorted(queued.items())
        ]
        if as_json:
            print_json({"experiments": [one.as_json() for one in found], "jobs": jobs})
            return
        rows = [
            {
                "experiment": one.experiment,
                "model": one.model,
                "cohort": one.cohort,
                "seed": one.seed,
                "folds": _folds(one),
            }
            for one in found
        ]
        if rows:
            console.listing(f"Experiments in {results}", rows)
        on_slurm = any(run.job for one in found for run in one.running)
        holders = [
            {
                "experiment": one.experiment,
                "fold": run.fold,
                "host": run.host,
                "process": run.pid,
                **({"job": run.job} if on_slurm else {}),
                "since": run.since,
                "state": "dead: the next command takes it over" if run.dead else "running",
            }
            for one in found
            for run in one.running
        ]
        if holders:
            console.listing("Being computed", holders)
        if jobs:
            console.listing("Slurm jobs", jobs)
        total = sum(one.finished for one in found)
        many = "s" * (len(found) != 1)
        console.say(f"{total} folds of {len(found)} experiment{many} are finished")


def _folds(one: "Progress") -> str:
    """`4 of 5 finished, 1 running`."""
    words = [f"{one.finished} of {'?' if one.folds is None else one.folds} finished"]
    counts = {"running": len(one.running), "failed": len(one.failed), "waiting": one.waiting or 0}
    return ", ".join(words + [f"{count} {state}" for state, count in counts.items() if count])
