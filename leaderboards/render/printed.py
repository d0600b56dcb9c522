"""What papers print of a cohort, beside the baselines of its board."""

from dataclasses import replace

from ..printed import KIND, printed_on
from ..ranking.board import BASELINE, Board, Line, names_of
from ..ranking.comparisons import UNTRAINED
from .text_table import NONE, TextTable, text_table

RUN_HERE = "run here: baseline, nothing chosen on the test fold"


def printed_table(board: Board, wide: bool = True) -> TextTable | None:
    """Printed figures of a measured cohort, with the baselines that reach them; None where there are none.

    Not `wide`: what it comes to, in a note.
    """
    figures = () if board.synthetic else printed_on(board.cohort)
    if not figures:
        return None
    baselines = _baselines(board)
    means = [mean for line in baselines.values() if (mean := line.selected.mean) is not None]
    reaching = [sum(mean >= figure.mean for mean in means) for figure in figures]
    best, _ = next(iter(baselines.items()), ("", None))
    sources = "; ".join(dict.fromkeys(figure.source for figure in figures))
    notes = [
        f"Printed in a paper ({sources}), not run here and never ranked with the lines above: mean ± standard "
        "deviation over folds of the best epoch on each test fold, which looks better than a model is; the methods "
        "that the paper compares itself with were not tuned; other features and patients may have been used."
    ]
    if baselines:
        notes.append(
            f"No higher than a baseline of the first table that has some: {sum(map(bool, reaching))} of {len(figures)} "
            f"printed figures. Baselines see no slide, and nothing of theirs is chosen on the test fold; best: {best}."
        )
    if not wide:
        lowest, highest = min(figure.mean for figure in figures), max(figure.mean for figure in figures)
        notes.insert(0, f"{len(figures)} figures from {lowest:.3f} to {highest:.3f}; --wide and the pages show them.")
        return TextTable(f"{board.title}: printed in papers", (), (), (), tuple(notes))
    rows = [
        (name, NONE, RUN_HERE, NONE, _mean_sd(line.selected.mean, line.selected.sd), NONE)
        for name, line in baselines.items()
    ]
    rows += [
        (
            one.method,
            one.backbone,
            KIND,
            one.table,
            _mean_sd(one.mean, one.sd),
            f"{reached} of {len(means)}",
        )
        for one, reached in zip(figures, reaching, strict=True)
    ]
    heads = ("Method", "Backbone", "What it is", "Table", "C-index", "Baselines at or above it")
    columns = [
        (head, head == "C-index", list(cells)) for head, cells in zip(heads, zip(*rows, strict=True), strict=True)
    ]
    return replace(text_table(f"{board.title}: printed in papers", columns, tuple(notes)), first=("Method", "C-index"))


def _baselines(board: Board) -> dict[str, Line]:
    """The baselines of the first ranking that has some, best first; chance itself is none that a figure is held to."""
    for ranking in board.rankings:
        named = zip(names_of(ranking.lines), ranking.lines, strict=True)
        found = {name: line for name, line in named if line.family == BASELINE and line.model != UNTRAINED}
        if found:
            return found
    return {}


def _mean_sd(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return NONE
    return f"{mean:.3f}" + (f" ± {sd:.3f}" if sd is not None else "")
