"""The one entry: folders of results in, a rendered leaderboard out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .html import html
from .kept_predictions import KeptPredictions
from .latex import latex
from .markdown import markdown
from .memory import Memory
from .ranking import Board, boards
from .recalled import judged, plots
from .rows import Problem, Row, read_rows
from .sheets import Sheet, tables
from .table_csv import table_csv
from .whole_files import write_whole

NOTHING = Memory()
"""Remembers nothing: everything is reckoned."""


@dataclass(frozen=True)
class Published:
    """What was written (`paths` by kind: md, csv, tex, html), the tables for a terminal, and what was left out."""

    paths: dict[str, Path]
    tables: tuple[Sheet, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Gathered:
    """Boards with their evidence, the predictions it rests on by experiment, and what was left out."""

    boards: tuple[Board, ...]
    predictions: Mapping[str, pd.DataFrame]
    problems: tuple[Problem, ...]


def publish(results: Path | Sequence[Path], out: Path, memory: Memory = NOTHING) -> Published:
    """Read all results below `results`, write leaderboard.{md,csv,tex,html} into `out`.

    The files follow from the rows alone: the same rows give the same bytes, with and without a `memory` of what was
    reckoned before. Raises RowError where a results folder does not exist, OSError where `out` cannot be written.
    """
    found = gather(results, memory=memory)
    paths = write(found.boards, found.predictions, Path(out), found.problems, memory)
    memory.forget()
    return Published(paths, tables(found.boards), found.problems)


def gather(results: Path | Sequence[Path], judge: bool = True, memory: Memory = NOTHING) -> Gathered:
    """All boards below `results`, with the evidence of every ranking unless `judge` is False.

    Raises RowError where a folder does not exist.
    """
    read = read_rows(results)
    ranked = boards(read.rows)
    wanted = [
        name for board in ranked for ranking in board.rankings for line in ranking.lines for name in line.experiments
    ]
    predictions = KeptPredictions(read.folders, wanted, memory)
    found = judged(ranked, predictions, memory) if judge else ranked
    return Gathered(found, predictions, (*read.problems, *predictions.problems))


def render(
    rows: Iterable[Row],
    predictions: Mapping[str, pd.DataFrame],
    folder: Path,
    problems: Sequence[Problem] = (),
) -> dict[str, Path]:
    """Write the boards of `rows` into `folder`; `predictions` maps experiment ids to their out-of-fold predictions."""
    return write(judged(boards(rows), predictions, NOTHING), predictions, folder, problems)


def write(
    ranked: Sequence[Board],
    predictions: Mapping[str, pd.DataFrame],
    folder: Path,
    problems: Sequence[Problem] = (),
    memory: Memory = NOTHING,
) -> dict[str, Path]:
    """Write boards into `folder`. Everything is rendered before the first file is written, each is replaced whole."""
    texts = {
        "md": markdown(ranked, problems),
        "csv": table_csv(ranked),
        "tex": latex(ranked),
        "html": html(ranked, plots(ranked, predictions, memory), problems, memory),
    }
    return {kind: write_whole(folder / f"leaderboard.{kind}", text) for kind, text in texts.items()}
