"""Grids from files: which experiments they hold, what is missing, what they cost, and printed figures beside ours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from ...datasets import backbones, cohorts
from ...errors import DataError, UnknownName, UsageError
from ...files import write_whole
from ...leaderboards.render.markdown import escape, table
from ...leaderboards.render.text_tables import NONE, TextTable
from .. import console
from ..planning.grid_file import Printed
from ..planning.load import Loader, simulated_folder
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
        if request.simulated and not simulated_folder(request).is_dir():
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
    told = (
        f"about {_duration(hours)} for one fold after another" if hours is not None else "known once a fold is finished"
    )
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


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


@dataclass(frozen=True)
class Compared:
    """A printed figure and ours: the C-indices of all folds and seeds, None where a fold is missing."""

    table: str
    model: str
    backbone: str
    cohort: str
    printed: Printed | None
    best: tuple[float, ...] | None
    selected: tuple[float, ...] | None

    @property
    def means(self) -> tuple[float | None, float | None, float | None]:
        """As printed, by the paper's recipe at the best epoch, and by ours as selected."""
        printed = None if self.printed is None else self.printed.mean
        best, selected = (None if values is None else mean(values) for values in (self.best, self.selected))
        return printed, best, selected


READINGS = ("printed", "rerun as printed (best epoch)", "rerun honestly (selected)")


def compared(printed: Sequence[Printed], finished: Sequence[Finished]) -> list[Compared]:
    """Every printed figure of the models and cohorts that were run, beside ours; then what is not printed."""
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
    models, places = {key[:2] for key in ours}, {key[2] for key in ours}
    found = []
    for (number, *cell), figure in lines.items():
        model, backbone, cohort = cell
        again, own = (ours.get((model, backbone, cohort, recipe), []) for recipe in ("reference", "default"))
        if (model, backbone) in models and cohort in places:
            best, selected = _values(again, "best"), _values(own, "selected")
            found.append(Compared(number, model, backbone, cohort, figure, best, selected))
    return found


def printed_tables(
    title: str, source: str, printed: Sequence[Printed], finished: Sequence[Finished]
) -> tuple[TextTable, ...]:
    """One table a printed table, models by cohorts, each cell with the means of all three; then one with deviations."""
    lines = compared(printed, finished)
    notes = ["C-index: mean over folds."]
    notes += [f"Printed: {source}."] if source else []
    if lacking := sum(one.best is None for one in lines) + sum(one.selected is None for one in lines):
        notes.append(f"{NONE}: not run, or a fold of it is missing; {lacking} of {2 * len(lines)} reruns.")
    if any(one.experiment.synthetic for one in finished):
        notes.append("Ours are of simulated cohorts: never compare them with what is printed.")
    short = []
    for number in dict.fromkeys(one.table for one in lines):
        mine = [one for one in lines if one.table == number]
        names = [f"{title}, table {number}" if number else f"{title}, what is not printed", " / ".join(READINGS)]
        short.append(_short(": ".join(names), mine))
    columns = ("table", "model", "backbone", "cohort", *READINGS)
    rows = [
        (one.table, one.model, one.backbone, one.cohort, _figure(one.printed), _spread(one.best), _spread(one.selected))
        for one in lines
    ]
    long = TextTable(
        f"{title}: with the standard deviation over folds", columns, (False,) * 4 + (True,) * 3, tuple(rows)
    )
    if short:
        short[-1] = replace(short[-1], notes=tuple(notes))
    return (*short, long)


def write_printed(shown: Sequence[TextTable], out: Path) -> Path:
    """Write the tables beside the leaderboard. Errors: OSError."""
    parts = []
    for one in shown:
        parts += [f"# {escape(one.title)}", table(one), *(f"> {escape(note)}" for note in one.notes)]
    return write_whole(out / "leaderboard" / "printed.md", "\n\n".join(parts) + "\n")


def _short(title: str, lines: Sequence[Compared]) -> TextTable:
    """Models by cohorts; the last column is the mean over cohorts, where none is missing."""
    several = len({one.backbone for one in lines}) > 1
    names = list(dict.fromkeys(one.cohort for one in lines))
    cells: dict[str, dict[str, Compared]] = {}
    for one in lines:
        cells.setdefault(f"{one.model} [{one.backbone}]" if several else one.model, {})[one.cohort] = one
    rows = []
    for label, mine in cells.items():
        all_means = [mine[name].means if name in mine else (None,) * 3 for name in names]
        over = [None if None in column else mean(column) for column in zip(*all_means, strict=True)]  # type: ignore[type-var]
        rows.append((label, *(_three(means) for means in all_means), _three(over)))
    return TextTable(title, ("model", *names, "mean"), (False,) + (True,) * (len(names) + 1), tuple(rows))


def _three(means: Sequence[float | None]) -> str:
    return " / ".join(NONE if value is None else f"{value:.3f}" for value in means)


def _figure(one: Printed | None) -> str:
    return NONE if one is None else f"{one.mean:.3f}" + f" ± {one.sd:.3f}" * (one.sd is not None)


def _values(finished: Sequence[Finished], reading: str) -> tuple[float, ...] | None:
    """The C-indices of the folds of all seeds; None where one is missing, or nothing was run."""
    values = [row.score(f"c_index_{reading}") for one in finished for row in one.rows]
    known = tuple(value for value in values if value is not None)
    complete = all(one.complete for one in finished)
    return known if known and len(known) == len(values) and complete else None


def _spread(values: tuple[float, ...] | None) -> str:
    if values is None:
        return NONE
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
