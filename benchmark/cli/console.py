"""What a person sees in a terminal: progress, tables, findings. The only importer of rich.

Progress and messages go to standard error, results to standard output; without a terminal there is no progress.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

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

from ...datasets.findings import Finding
from ...leaderboards.result_row import ResultRow
from ...survival.metrics import METRICS

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


def fail(text: str) -> None:
    """Why the command ends, on standard error."""
    ERR.print(f"{_MARKS['error']} {escape(text)}")


def findings(found: Iterable) -> None:
    """What was noticed in the data, one line each with a few examples."""
    for item in found:
        examples = (
            f" [dim]({escape(', '.join(item.examples[:5]))}{', …' if item.count > 5 else ''})[/]"
            if item.examples
            else ""
        )
        ERR.print(f"{_MARKS[item.severity]} {escape(item.message)}{examples}")


def number(value: object, digits: int = 3) -> str:
    """A number as tables show it; a dash where there is none."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "\N{EN DASH}"


class FoldProgress:
    """Folds, epochs, losses and the time left, for a run of `folds` folds of at most `epochs` epochs."""

    def __init__(self, progress: Progress, title: str, folds: int, epochs: int) -> None:
        self.progress, self.folds, self.epochs = progress, folds, epochs
        self.done = 0
        self.task = progress.add_task(escape(title), total=folds * epochs, status="")

    def epoch(self, fold: int, epoch: int, line: Mapping[str, float | int | None]) -> None:
        """Show an epoch."""
        status = f"fold {self.done + 1}/{self.folds} epoch {epoch}/{self.epochs} loss {number(line['train_loss'])}"
        if line["val_c_index"] is not None:
            status += f" val C {number(line['val_c_index'])}"
        self.progress.update(self.task, completed=self.done * self.epochs + epoch, status=status)

    def fold(self, fold: int, row: ResultRow, computed: bool) -> None:
        """Show that a fold is over."""
        self.done += 1
        self.progress.update(self.task, completed=self.done * self.epochs)


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
        """Say what was noticed in the data, unless it was said before."""
        findings([finding for finding in found if finding not in self._shown])
        self._shown.update(found)

    def counting(self, title: str):
        """A counter for (done, total) callbacks."""
        return counting(title)

    @contextmanager
    def training(self, title: str, folds: int, epochs: int):
        """A display of folds and epochs, which vanishes when it is done and never shows without a terminal."""
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with _display(*columns) as display:
            yield FoldProgress(display, title, folds, epochs)


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


def extracted(rows: Sequence[Mapping[str, object]], out: Path, report: Path) -> None:
    """What became of slides, and what to type next."""
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
        say(f"Features: {out}\nNext:     bench run --model abmil --cohort … --labels … --features {out}")


def folds_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """One line per fold with the three readings, and their mean."""
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column("fold")
    for name in ("test", "deaths"):
        table.add_column(name, justify="right")
    for name in ("C selected", "C last", "C best", "Uno's C", "IBS", "KM's IBS", "oracle C"):
        table.add_column(name, justify="right")
    table.add_column("epoch", justify="right")
    table.add_column("seconds", justify="right")
    keys = (
        "c_index_selected",
        "c_index_last",
        "c_index_best",
        "uno_c_selected",
        "ibs_selected",
        "ibs_km",
        "oracle_c_index",
    )
    shown = [key for key in keys if key != "oracle_c_index" or any(row.get(key) is not None for row in rows)]
    if "oracle_c_index" not in shown:
        table.columns.pop(9)
    for row in rows:
        if row["status"] != "finished":
            table.add_row(str(row["fold"]), "", "", f"[red]failed[/] {escape(str(row['error']))}")
            continue
        table.add_row(
            str(row["fold"]),
            str(row["n_test"]),
            str(row["events_test"]),
            *(number(row.get(key)) for key in shown),
            f"{row['epoch_selected']} of {row['epochs']}" if row["epochs"] else "\N{EN DASH}",
            number(row["seconds"], 0),
        )
    done = [row for row in rows if row["status"] == "finished"]
    if len(done) > 1:
        table.add_section()
        table.add_row(
            "mean",
            "",
            "",
            *(number(mean(done, key)) for key in shown),
            "",
            number(sum(float(str(r["seconds"] or 0)) for r in done), 0),
        )
    OUT.print(table)
    for metric in METRICS.values():
        lacking: dict[str, list[str]] = {}
        for row in done:
            if why := row.get(f"why_{metric.name}_selected"):
                lacking.setdefault(str(why), []).append(str(row["fold"]))
        for why, folds in lacking.items():
            where = "all folds" if 1 < len(folds) == len(done) else f"fold {', '.join(folds)}"
            ERR.print(f"[dim]{where}: {escape(metric.title)} has no value: {escape(why)}[/]")


def mean(rows: Sequence[Mapping[str, object]], key: str) -> float | None:
    """The mean of a column over the rows that have it; None when none has."""
    values = [float(value) for row in rows if isinstance(value := row.get(key), int | float)]
    return sum(values) / len(values) if values else None


def listing(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """A plain table of names and facts."""
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in rows[0]:
        table.add_column(escape(column))
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    OUT.print(table)


def verification(name: str, report) -> None:
    """What was found in an entry: faults, what was held, and what could not be."""
    for fault in report.faults:
        ERR.print(f"{_MARKS['error']} {escape(fault)}")
    held = ", ".join(f"{count:,} {kind}" for kind, count in report.checked.items())
    word = f"[bold red]{len(report.faults)} faults[/]" if report.faults else "[bold green]verified[/]"
    OUT.print(f"{escape(name)}: {word}. Held: {escape(held) or 'nothing'}.")
    for reason in report.unchecked:
        OUT.print(f"[dim]Not checked: {escape(reason)}.[/]")


def sheets(tables: Iterable) -> None:
    """Boards as tables of text."""
    for sheet in tables:
        table = Table(title=escape(sheet.title), title_justify="left", title_style="bold")
        for column, numeric in zip(sheet.columns, sheet.numeric, strict=True):
            table.add_column(escape(column), justify="right" if numeric else "left")
        for row in sheet.rows:
            table.add_row(*(escape(cell) for cell in row))
        OUT.print(table)
        for note in sheet.notes:
            OUT.print(f"[dim]{escape(note)}[/]")
