"""Folders of results in, a rendered leaderboard out."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..files import remove_unfinished, write_whole
from .cache.predictions import CachedPredictions
from .cache.store import NO_CACHE, Cache
from .entries.entry import Entry, EntryHead
from .entries.joined import read_entries
from .external_result import read_externals
from .predictions import contradictions
from .ranking.board import Board, boards, with_external
from .ranking.cached_evidence import with_cached_evidence
from .ranking.published_evidence import NO_EVIDENCE, PublishedEvidence
from .render.csv_file import external_csv, table_csv
from .render.latex import latex
from .render.markdown import markdown
from .render.page.group_curve_plots import plots
from .render.page.html import html
from .render.text_tables import TextTable, tables
from .result_row import ResultRow
from .rows import Problem, read_rows


@dataclass(frozen=True)
class Gathered:
    """Boards with their evidence, the predictions it rests on by experiment, and what was left out.

    `published` is what entries without patients hold instead of predictions; `origins` gives the head of the entry that
    an experiment was published in.
    """

    boards: tuple[Board, ...]
    predictions: Mapping[str, pd.DataFrame]
    problems: tuple[Problem, ...]
    published: PublishedEvidence = NO_EVIDENCE
    origins: Mapping[str, EntryHead] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """What was written (`paths` by kind: md, csv, tex, html), the tables for a terminal, what was left out, and what it
    was made from."""

    paths: dict[str, Path]
    tables: tuple[TextTable, ...]
    problems: tuple[Problem, ...]
    gathered: Gathered


def publish(results: Path | Sequence[Path], out: Path, cache: Cache = NO_CACHE) -> Published:
    """Read all results below `results`, write leaderboard.{md,csv,tex,html} into `out`.

    The files follow from the rows alone: the same rows give the same bytes, with and without a `cache` of what was
    computed before. Raises RowError where a results folder does not exist, OSError where `out` cannot be written.
    """
    found = gather(results, cache=cache)
    paths = write(found, Path(out), cache)
    cache.remove_old()
    return Published(paths, tables(found.boards), found.problems, found)


def gather(results: Path | Sequence[Path], evidence: bool = True, cache: Cache = NO_CACHE) -> Gathered:
    """All boards of the results and entries below `results`, with evidence for every ranking where `evidence` is True.

    Raises RowError where a folder does not exist.
    """
    roots = [Path(results)] if isinstance(results, str | Path) else [Path(folder) for folder in results]
    sent = read_entries(roots)
    no_entries = not sent.entries and not sent.problems
    read = read_rows(roots, None if no_entries else {entry.name: entry.rows for entry in sent.entries})
    ranked = boards(read.rows)
    names = [
        name for board in ranked for ranking in board.rankings for line in ranking.lines for name in line.experiments
    ]
    own = CachedPredictions(read.folders, names, cache, read.rows)
    # A chain is only ever read here, and so may be of mappings that cannot be written.
    predictions = ChainMap(own, *(entry.predictions for entry in sent.entries))  # pyright: ignore[reportArgumentType]
    origins = {row.experiment: entry.head for entry in sent.entries for row in entry.rows}
    contradicted = {
        name: Problem(entry.name, f"experiment {name}: {wrong}")
        for entry in sent.entries
        for name, wrong in _contradicted(entry, cache).items()
    }
    problems = (*read.problems, *sent.problems, *own.problems, *contradicted.values())
    if apart := own.contradicted | contradicted.keys():
        ranked = boards(row for row in read.rows if row.experiment not in apart)
    if evidence:
        ranked = with_cached_evidence(ranked, predictions, sent.published, cache)
    outside, unread = read_externals(roots)
    if outside:
        ranked = with_external(ranked, outside)
    problems = (*problems, *unread)
    return Gathered(ranked, predictions, problems, sent.published, origins)


def _contradicted(entry: Entry, cache: Cache) -> dict[str, str]:
    """By experiment of an entry, how its rows contradict its predictions; only those that do."""

    def find() -> dict[str, str]:
        rows: dict[str, list[ResultRow]] = {}
        for row in entry.rows:
            rows.setdefault(row.experiment, []).append(row)
        found = {name: contradictions(rows[name], table) for name, table in entry.predictions.items()}
        return {name: wrong for name, wrong in found.items() if wrong}

    return cache.get(dict[str, str], "contradictions", lambda: entry.head.files, find)


def write(found: Gathered, folder: Path, cache: Cache = NO_CACHE) -> dict[str, Path]:
    """Write boards into `folder`. Everything is rendered before the first file is written, each is replaced whole."""
    curves = plots(found.boards, found.predictions, cache, found.published.curves)
    texts = {
        "md": markdown(found.boards, found.problems),
        "csv": table_csv(found.boards),
        "tex": latex(found.boards),
        "html": html(found.boards, curves, found.problems, cache),
    }
    remove_unfinished(folder)
    paths = {kind: write_whole(folder / f"leaderboard.{kind}", text) for kind, text in texts.items()}
    if outside := external_csv([one for board in found.boards for one in board.external]):
        paths["external"] = write_whole(folder / "external.csv", outside)
    return paths
