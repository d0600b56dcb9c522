"""The one entry: folders of results in, a rendered leaderboard out."""

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..files import write_whole
from .cache.predictions import KeptPredictions
from .cache.store import Memory
from .cached_evidence import judged, plots
from .entries.entry import Head
from .entries.joined import read_entries
from .ranking.board import Board, Ranking, boards
from .ranking.comparisons import evidence
from .ranking.derived import NOTHING_KEPT, Derived
from .ranking.evidence import Evidence
from .render.csv_file import table_csv
from .render.latex import latex
from .render.markdown import markdown
from .render.page.html import html
from .render.text_tables import Sheet, tables
from .result_row import ResultRow
from .rows import Problem, read_rows

NOTHING = Memory()
"""Remembers nothing: everything is reckoned."""


@dataclass(frozen=True)
class Published:
    """What was written (`paths` by kind: md, csv, tex, html), the tables for a terminal, what was left out, and what it
    was made from."""

    paths: dict[str, Path]
    tables: tuple[Sheet, ...]
    problems: tuple[Problem, ...]
    gathered: "Gathered"


@dataclass(frozen=True)
class Gathered:
    """Boards with their evidence, the predictions it rests on by experiment, and what was left out.

    `derived` is what entries without patients say instead of predictions; `origins` gives the head of the entry that an
    experiment was published in.
    """

    boards: tuple[Board, ...]
    predictions: Mapping[str, pd.DataFrame]
    problems: tuple[Problem, ...]
    derived: Derived = NOTHING_KEPT
    origins: Mapping[str, Head] = field(default_factory=dict)


def publish(results: Path | Sequence[Path], out: Path, memory: Memory = NOTHING) -> Published:
    """Read all results below `results`, write leaderboard.{md,csv,tex,html} into `out`.

    The files follow from the rows alone: the same rows give the same bytes, with and without a `memory` of what was
    reckoned before. Raises RowError where a results folder does not exist, OSError where `out` cannot be written.
    """
    found = gather(results, memory=memory)
    paths = write(found.boards, found.predictions, Path(out), found.problems, memory, found.derived)
    memory.forget()
    return Published(paths, tables(found.boards), found.problems, found)


def gather(results: Path | Sequence[Path], judge: bool = True, memory: Memory = NOTHING) -> Gathered:
    """All boards of the results and entries below `results`, with evidence for every ranking unless `judge` is False.

    Raises RowError where a folder does not exist.
    """
    roots = [Path(results)] if isinstance(results, str | Path) else [Path(folder) for folder in results]
    sent = read_entries(roots)
    none = not sent.entries and not sent.problems
    read = read_rows(roots, None if none else {entry.name: entry.rows for entry in sent.entries})
    ranked = boards(read.rows)
    wanted = [
        name for board in ranked for ranking in board.rankings for line in ranking.lines for name in line.experiments
    ]
    kept = KeptPredictions(read.folders, wanted, memory)
    # A chain is only ever read here, and so may be of mappings that cannot be written.
    predictions = ChainMap(kept, *(entry.predictions for entry in sent.entries))  # pyright: ignore[reportArgumentType]
    origins = {row.experiment: entry.head for entry in sent.entries for row in entry.rows}
    problems = (*read.problems, *sent.problems, *kept.problems)
    found = _judged(ranked, predictions, memory, sent.derived) if judge else ranked
    return Gathered(found, predictions, problems, sent.derived, origins)


def _judged(
    ranked: Sequence[Board], predictions: Mapping[str, pd.DataFrame], memory: Memory, derived: Derived
) -> tuple[Board, ...]:
    def judge(ranking: Ranking, predictions: Mapping[str, pd.DataFrame]) -> Evidence:
        return evidence(ranking, predictions, derived)

    return judged(ranked, predictions, memory, judge, derived.text)


def render(
    rows: Iterable[ResultRow],
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
    derived: Derived = NOTHING_KEPT,
) -> dict[str, Path]:
    """Write boards into `folder`. Everything is rendered before the first file is written, each is replaced whole."""
    texts = {
        "md": markdown(ranked, problems),
        "csv": table_csv(ranked),
        "tex": latex(ranked),
        "html": html(ranked, plots(ranked, predictions, memory, derived.curves), problems, memory),
    }
    return {kind: write_whole(folder / f"leaderboard.{kind}", text) for kind, text in texts.items()}
