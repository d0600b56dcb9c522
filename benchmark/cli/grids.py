"""Grids from files: which experiments they hold, what is missing, what they cost, and printed figures beside ours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from ...datasets import backbones, cohorts
from ...errors import DataError, UnknownName, UsageError
from ...files import write_whole
from ...leaderboards.render.markdown import escape, table
from ...leaderboards.render.text_tables import NONE, TextTable
from .. import console
from ..planning.grid_file import Printed
from ..planning.load import Loader
from ..planning.request import Request
from ..results.finished import Finished
from ..results.folder import ResultFolder
from .output import print_json


def show_survey(requests: Sequence[Request], as_json: bool) -> None:
    """Print how many folds a grid has, how many are finished, what is missing, and about how long the rest takes."""
    loader = Loader()
    folds, finished = Counter[str](), Counter[str]()  # by model
    seconds: dict[str, list[float]] = {}
    missing: dict[str, list[str]] = {}
    for request in requests:
        model = request.model
        if request.simulated:
            folds[model] += request.folds * request.repeats
            continue
        try:
            experiment, data = loader.load(request)
        except (DataError, UnknownName, UsageError) as error:
            missing.setdefault(str(error), []).append(request.command)
            continue
        folder = ResultFolder(request.out, experiment)
        rows = [folder.finished(split.fold) for split in data.folds.splits]
        folds[model] += len(rows)
        finished[model] += sum(row is not None for row in rows)
        taken = [row.seconds for row in rows if row is not None and row.seconds is not None]
        if taken:
            seconds.setdefault(model, []).extend(taken)
    hours = hours_left(folds - finished, seconds)
    cannot = sum(map(len, missing.values()))
    if as_json:
        print_json(
            {
                "experiments": len(requests),
                "folds": folds.total(),
                "finished": finished.total(),
                "hours": hours,
                "missing": [{"error": error, "commands": commands} for error, commands in missing.items()],
            }
        )
        return
    told = f"about {hours:.1f} h for one fold after another" if hours is not None else "known once a fold is finished"
    row = {
        "experiments": len(requests),
        "folds": folds.total(),
        "finished": finished.total(),
        "cannot run": cannot,
        "the rest": told,
    }
    console.listing("The grid", [row])
    for error, commands in missing.items():
        console.warn(f"{len(commands)} of {len(requests)} experiments cannot run: {error}")


def hours_left(left: Mapping[str, int], seconds: Mapping[str, Sequence[float]]) -> float | None:
    """About how long the folds that are left take, one after another: each as long as the finished folds of its model.

    left: folds by model; seconds: of the finished folds, by model. A model of which no fold is finished counts as the
    mean of the others; None where there is none.
    """
    means = {model: mean(taken) for model, taken in seconds.items()}
    if not means:
        return None
    usual = mean(means.values())
    return sum(count * means.get(model, usual) for model, count in left.items()) / 3600


def printed_table(title: str, source: str, printed: Sequence[Printed], finished: Sequence[Finished]) -> TextTable:
    """Printed figures, what came out by the recipe of the paper at the best epoch, and what by ours as selected."""
    ours: dict[tuple[str, str, str, str], list[Finished]] = {}
    for one in finished:
        experiment = one.experiment
        if experiment.recipe is not None and experiment.backbone is not None:
            key = experiment.model, experiment.backbone, experiment.cohort, experiment.recipe.name
            ours.setdefault(key, []).append(one)
    lines: dict[tuple[str, str, str, str], Printed | None] = {}
    for one in printed:
        lines[one.table, one.model, backbones.get(one.backbone).name, cohorts.get(one.cohort).name] = one
    known = {line[1:] for line in lines}
    for model, backbone, cohort, _ in ours:
        if (model, backbone, cohort) not in known:
            lines["", model, backbone, cohort] = None
    rows = []
    for (number, model, backbone, cohort), figure in lines.items():
        again = ours.get((model, backbone, cohort, "reference"), [])
        own = ours.get((model, backbone, cohort, "default"), [])
        if figure is None or again or own:
            spread = NONE if figure is None else f"{figure.mean:.3f}" + f" ± {figure.sd:.3f}" * (figure.sd is not None)
            rows.append((number, model, backbone, cohort, spread, _spread(again, "best"), _spread(own, "selected")))
    columns = ("table", "model", "backbone", "cohort", "printed", "rerun as printed (best epoch)", "rerun (selected)")
    notes = ["C-index: mean and standard deviation over folds."]
    notes += [f"Printed: {source}."] if source else []
    if any(one.experiment.synthetic for one in finished):
        notes.append("Ours are of simulated cohorts: never compare them with what is printed.")
    return TextTable(title, columns, (False,) * 4 + (True,) * 3, tuple(rows), tuple(notes))


def write_printed(shown: TextTable, out: Path) -> None:
    """Write the table beside the leaderboard. Errors: OSError."""
    notes = [f"> {escape(note)}" for note in shown.notes]
    parts = [f"# {escape(shown.title)}", *notes, table(shown)]
    write_whole(out / "leaderboard" / "printed.md", "\n\n".join(parts) + "\n")


def _spread(finished: Sequence[Finished], reading: str) -> str:
    """The mean and deviation over the folds of all seeds; a dash where a fold is missing."""
    values = [row.score(f"c_index_{reading}") for one in finished for row in one.rows]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return NONE
    return f"{mean(known):.3f}" + (f" ± {stdev(known):.3f}" if len(known) > 1 else "")
