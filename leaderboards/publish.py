"""The one entry: folders of results in, a rendered leaderboard out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .html import html
from .latex import latex
from .markdown import markdown
from .predictions import predictions_of
from .ranking import boards
from .rows import Problem, Row, read_rows
from .sheets import Sheet, tables
from .table_csv import table_csv
from .whole_files import write_whole


@dataclass(frozen=True)
class Published:
    """What was written (`paths` by kind: md, csv, tex, html), the tables for a terminal, and what was left out."""

    paths: dict[str, Path]
    tables: tuple[Sheet, ...]
    problems: tuple[Problem, ...]


def publish(results: Path | Sequence[Path], out: Path) -> Published:
    """Read all results below `results`, write leaderboard.{md,csv,tex,html} into `out`.

    The files follow from the rows alone: the same rows give the same bytes. Raises RowError where a results folder
    does not exist, OSError where `out` cannot be written.
    """
    read = read_rows(results)
    ranked = [
        line.experiments[0] for board in boards(read.rows) for ranking in board.rankings for line in ranking.lines
    ]
    predictions, unread = predictions_of(read.folders, ranked)
    problems = (*read.problems, *unread)
    paths = render(read.rows, predictions, Path(out), problems)
    return Published(paths, tables(read.rows), problems)


def render(
    rows: Iterable[Row],
    predictions: Mapping[str, pd.DataFrame],
    folder: Path,
    problems: Sequence[Problem] = (),
) -> dict[str, Path]:
    """Write the boards of `rows` into `folder`; `predictions` maps experiment ids to their out-of-fold predictions.

    Everything is rendered before the first file is written, and each file is replaced whole.
    """
    ranked = boards(rows)
    texts = {
        "md": markdown(ranked, problems),
        "csv": table_csv(ranked),
        "tex": latex(ranked),
        "html": html(ranked, predictions, problems),
    }
    return {kind: write_whole(folder / f"leaderboard.{kind}", text) for kind, text in texts.items()}
