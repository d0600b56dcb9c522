"""What a person sees in a terminal: progress, tables, findings. The only importer of rich.

Progress and messages go to standard error, results to standard output; without a terminal progress is lines.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ..datasets.findings import Finding
from ..leaderboards.result_row import ResultRow
from ..survival.metrics import METRICS

if TYPE_CHECKING:
    from ..leaderboards.render.text_tables import TextTable
    from .engines.cell import Cell

# Without a terminal there is no width to fit into: tables are written whole.
OUT = Console(highlight=False, width=None if sys.stdout.isatty() else 220)
ERR = Console(stderr=True, soft_wrap=True, highlight=False)

_MARKS = {"error": "[bold red]error[/]", "warning": "[yellow]warning[/]", "info": "[dim]note[/]"}


def say(text: str) -> None:
    """A plain line for people, on standard error."""
    ERR.print(escape(text))


def warn(text: str) -> None:
    """A line that should be read, on standard error."""
    ERR.print(f"{_MARKS['warning']} {escape(text)}")


def ask(question: str, answers: Sequence[str] = ()) -> str | None:
    """What the user answers, one of `answers` where there are any; None where nobody sits at the terminal."""
    if not (sys.stdin.isatty() and ERR.is_terminal):
        return None
    from rich.prompt import Prompt

    try:
        return Prompt.ask(escape(question), console=ERR, choices=list(answers) or None).strip() or None
    except (EOFError, KeyboardInterrupt):
        return None


def note(text: str) -> None:
    """A line that may be read, on standard error."""
    ERR.print(f"{_MARKS['info']} {escape(text)}")


def fail(text: str) -> None:
    """Why the command ends, on standard error."""
    ERR.print(f"{_MARKS['error']} {escape(text)}")


def findings(found: Iterable) -> None:
    """What was noticed in the data, one line each: severity, code, message and a few examples."""
    for item in found:
        examples = (
            f" [dim]({escape(', '.join(item.examples[:5]))}{', …' if item.count > 5 else ''})[/]"
            if item.examples
            else ""
        )
        ERR.print(f"{_MARKS[item.severity]} {item.code}: {escape(item.message)}{examples}")


def number(value: object, digits: int = 3) -> str:
    """A number as tables show it; a dash where there is none."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "\N{EN DASH}"


class CellProgress:
    """The folds of all experiments: running, done, failed, and the time left. Without a terminal, a line a fold."""

    def __init__(self, progress: Progress, title: str, cells: int) -> None:
        self.progress, self.cells = progress, cells
        self.done, self.failed, self.computed, self.running, self.elsewhere = 0, 0, 0, 0, 0
        self.start = time.monotonic()
        self._parts: dict[tuple[str, int], float] = {}  # of the folds that run: how much of each is done
        self._last = ""
        self.task = progress.add_task(escape(title), total=cells, status="", left="")

    def epoch(self, cell: "Cell", epoch: int, line: Mapping[str, float | int | None]) -> None:
        """Show an epoch."""
        self._parts[cell.key] = min(epoch / cell.epochs, 1.0)
        self._last = f"fold {cell.fold} epoch {epoch}/{cell.epochs} loss {number(line['train_loss'])}"
        if line["val_c_index"] is not None:
            self._last += f" val C {number(line['val_c_index'])}"
        self._show()

    def trial(self, cell: "Cell", trial: int, of: int | None, best: float | None) -> None:
        """Show that a trial of a tuned fold begins."""
        self._last = f"fold {cell.fold} trial {trial + 1}" + (f"/{of}" if of else "")
        self._last += f" best C {number(best)}" * (best is not None)
        self._show()

    def fold(self, fold: int, row: ResultRow, computed: bool) -> None:
        """Show that a fold is over."""
        self.done += 1
        self.computed += computed
        self.failed += not row.finished
        self._parts.pop((row.experiment, row.fold), None)
        self._show()
        if not self.progress.disable or not computed:
            return
        seed = f", seed {row.seed}" if row.seed else ""
        what = f"C {number(row.score('c_index_selected'))} in {number(row.seconds, 0)} s" if row.finished else row.error
        left = f"; {self._left()} left" if self.done < self.cells else ""
        say(f"{self.done}/{self.cells} {row.label} on {row.cohort}{seed}, fold {row.fold}: {what}{left}")

    def state(self, running: int, elsewhere: int) -> None:
        """Show how many folds are being computed, and how many of them by other commands."""
        self.running, self.elsewhere = running, elsewhere
        self._show()

    def _left(self) -> str:
        """The time left, at the speed so far; a dash before there is one."""
        worked = self.computed + sum(self._parts.values())
        if not worked:
            return "\N{EN DASH}"
        seconds = (time.monotonic() - self.start) / worked * (self.cells - self.done - sum(self._parts.values()))
        if seconds < 90:
            return f"{seconds:.0f} s"
        return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

    def _show(self) -> None:
        counts = [f"{self.running} running"] * (self.running > 1)
        counts += [f"{self.elsewhere} of them by another command"] * bool(self.elsewhere)
        counts += [f"[red]{self.failed} failed[/]"] * bool(self.failed)
        counts += [escape(self._last)] * bool(self._last)
        completed = self.done + sum(self._parts.values())
        self.progress.update(self.task, completed=completed, status=", ".join(counts), left=self._left())


@contextmanager
def counting(title: str):
    """A counter for (done, total) callbacks."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with _display(*columns) as display:
        task = display.add_task(escape(title), total=None)
        yield lambda done, total: display.update(task, completed=done, total=total)


class Terminal:
    """What `run.run` shows to people: findings once each, counters, and the progress of training."""

    warn, fail = staticmethod(warn), staticmethod(fail)

    def __init__(self) -> None:
        self._shown: set[Finding] = set()

    def findings(self, found: Sequence[Finding]) -> None:
        """Say what was noticed in the data, unless it was shown before."""
        findings([finding for finding in found if finding not in self._shown])
        self._shown.update(found)

    def counting(self, title: str):
        """A counter for (done, total) callbacks."""
        return counting(title)

    @contextmanager
    def computing(self, title: str, cells: int):
        """A display of folds and epochs, which vanishes when it is done; without a terminal, a line a fold."""
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} left"),
        )
        with _display(*columns) as display:
            yield CellProgress(display, title, cells)


def _display(*columns: ProgressColumn) -> Progress:
    """A progress display in a terminal or a notebook; nothing elsewhere."""
    return Progress(*columns, console=ERR, transient=True, disable=not (ERR.is_terminal or ERR.is_jupyter))


class SlideProgress:
    """Slides, tiles, speed and the time left. Without a terminal there is a line for every slide: cluster logs."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress = progress
        self.task = progress.add_task(escape(title), total=None, status="")
        self.total, self.done, self.worked, self.tiles, self.start = 0, 0, 0, 0, time.monotonic()

    def started(self, slides: int) -> None:
        """So many slides there are."""
        self.total, self.start = slides, time.monotonic()
        self.progress.update(self.task, total=slides)

    def slide(self, row: Mapping[str, object]) -> None:
        """One slide is over."""
        named, skipped = bool(row["slide"]), row["status"] == "finished before"
        tiles = sum(n for key, n in row.items() if key.startswith("tiles_") and isinstance(n, int))
        self.done += named
        self.worked += named and not skipped
        self.tiles += 0 if skipped else tiles
        hours = (time.monotonic() - self.start) / 3600
        speed = f"{self.worked / hours:,.0f} slides/h"
        if row["status"] != "previewed":
            speed += f", {self.tiles / hours / 3600:,.0f} tiles/s"
        self.progress.update(self.task, completed=self.done, status=speed)
        if row["status"] == "failed":
            fail(f"{row['slide'] or row['file']}: {row['reason']}")
        elif not ERR.is_terminal and named and not skipped:
            left = (self.total - self.done) * hours / max(self.worked, 1)
            time_left = f"{left:.1f} h" if left >= 1 else f"{60 * left:.0f} min"
            say(f"{self.done}/{self.total} {row['slide']}: {tiles:,} tiles; {speed}, {time_left} left")


@contextmanager
def extracting(title: str):
    """A display of slides on their way."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with _display(*columns) as display:
        yield SlideProgress(display, title)


def extracted(rows: Sequence[Mapping[str, object]], out: Path, report: Path, found_by: str) -> None:
    """What became of slides, and what to type next; `found_by` are the options by which a run finds the features."""
    counts = Counter(str(row["status"]) for row in rows)
    tiles: Counter[str] = Counter()
    for row in rows:
        tiles.update(
            {k.removeprefix("tiles_"): n for k, n in row.items() if k.startswith("tiles_") and isinstance(n, int)}
        )
    listing("Slides", [{**counts, **{f"tiles at {m}": f"{n:,}" for m, n in tiles.items()}}])
    remarks = Counter(remark for row in rows for remark in row["remarks"])  # type: ignore[attr-defined]
    for remark, n in remarks.most_common(10):
        say(f"{n} slide{'s' * (n != 1)}: {remark}")
    if blank := [str(row["slide"]) for row in rows if row["status"] == "no tissue"]:
        some = f"{', '.join(blank[:5])}{', …' if len(blank) > 5 else ''}"
        warn(f"no tile has enough tissue in {len(blank)} slide{'s' * (len(blank) != 1)} ({some}): see --preview")
    say(f"Report:   {report}")
    if counts["previewed"]:
        say(f"Pictures: {out / 'previews'}")
    elif counts["written"] or counts["finished before"]:
        say(f"Features: {out}\nNext:     bench run --model abmil {found_by}")


_FOLD_COLUMNS = {
    "C selected": "c_index_selected", "C last": "c_index_last", "C best": "c_index_best", "Uno's C": "uno_c_selected",
    "IBS": "ibs_selected", "KM's IBS": "ibs_km", "oracle C": "oracle_c_index",
}  # fmt: skip


def folds_table(title: str, rows: Sequence[ResultRow]) -> None:
    """One line per fold with the three readings, and their mean."""
    from ..leaderboards.render.text_tables import TextTable

    shown = {
        head: column
        for head, column in _FOLD_COLUMNS.items()
        if column != "oracle_c_index" or any(row.oracle_c_index is not None for row in rows)
    }
    cells = []
    for row in rows:
        if not row.finished:
            cells.append((str(row.fold), "", "", "failed", *[""] * (len(shown) + 1)))
            continue
        cells.append(
            (
                str(row.fold),
                str(row.n_test),
                str(row.events_test),
                *(number(row.score(column)) for column in shown.values()),
                f"{row.epoch_selected} of {row.epochs}" if row.epochs else "\N{EN DASH}",
                number(row.seconds, 0),
            )
        )
    done = [row for row in rows if row.finished]
    if len(done) > 1:
        means = (number(mean([row.score(column) for row in done])) for column in shown.values())
        cells.append(("mean", "", "", *means, "", number(sum(row.seconds or 0.0 for row in done), 0)))
    columns = ("fold", "test", "deaths", *shown, "epoch", "seconds")
    first = ("fold", "C selected", "C last", "C best")
    text_tables([TextTable(title, columns, (False, *[True] * (len(columns) - 1)), tuple(cells), (), first)])
    for row in rows:
        if not row.finished:
            OUT.print(f"[red]fold {row.fold} failed:[/] {escape(str(row.error))}")
    for metric in METRICS.values():
        folds_by_reason: dict[str, list[str]] = {}
        for row in done:
            if why := row.reasons.get(f"{metric.name}_selected"):
                folds_by_reason.setdefault(why, []).append(str(row.fold))
        for why, folds in folds_by_reason.items():
            where = "all folds" if 1 < len(folds) == len(done) else f"fold {', '.join(folds)}"
            ERR.print(f"[dim]{where}: {escape(metric.title)} has no value: {escape(why)}[/]")


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are there; None when there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


_WIDE, _LONG = 120, ("learning_rate", "tuned", "reference", "labels", "folds", "projects", "licence")


def listing(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """A plain table of names and facts. Where the terminal is too narrow to read them, long columns are left out."""
    long = [column for column in _LONG if column in rows[0]] if "name" in rows[0] and OUT.width < _WIDE else []
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in rows[0]:
        if column not in long:
            table.add_column(escape(column), no_wrap=column == "name")  # a name is typed as it stands
    for row in rows:
        table.add_row(*(escape(str(value)) for column, value in row.items() if column not in long))
    OUT.print(table)
    if long:
        OUT.print(f"[dim]A terminal of {_WIDE} columns, or --json, also shows: {', '.join(long)}[/]")


def verdict(name: str, faults: Sequence[str], checked: Mapping[str, int], unchecked: Sequence[str]) -> None:
    """What was found in something that was checked: faults, what was checked by kind, and what could not be."""
    for fault in faults:
        ERR.print(f"{_MARKS['error']} {escape(fault)}")
    counts = ", ".join(f"{count:,} {kind}" for kind, count in checked.items())
    word = f"[bold red]{len(faults)} faults[/]" if faults else "[bold green]verified[/]"
    OUT.print(f"{escape(name)}: {word}. Checked: {escape(counts) or 'nothing'}.")
    for reason in unchecked:
        OUT.print(f"[dim]Not checked: {escape(reason)}.[/]")


def text_tables(tables: "Iterable[TextTable]") -> None:
    """Boards as tables of text."""
    for shown in tables:
        if not shown.columns:
            OUT.print(f"[bold]{escape(shown.title)}[/]")
        table = Table(title=escape(shown.title), title_justify="left", title_style="bold")
        places = shown.fitting(OUT.width)
        for place in places:
            table.add_column(
                escape(shown.columns[place]),
                justify="right" if shown.numeric[place] else "left",
                no_wrap=shown.numeric[place] and len(places) < 7,
                overflow="fold",
            )
        for row in shown.rows:
            table.add_row(*(escape(row[place]) for place in places))
        if shown.columns:
            OUT.print(table)
        if left_out := [name for place, name in enumerate(shown.columns) if place not in places]:
            OUT.print(f"[dim]Too wide for this terminal: {escape(', '.join(left_out))}. The files have them.[/]")
        for note in shown.notes:
            OUT.print(f"[dim]{escape(note)}[/]")
