"""The pages that are committed with milsurv, all of which follow from `leaderboards/published/`: written, or checked.

README.md                                 the top of the board, between two markers
leaderboards/README.md                    an overview of all boards, and the entries they rest on
leaderboards/published/boards/COHORT.md   one board in full
leaderboards/published/leaderboard.html   the page
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import RowError
from ..files import file_names, write_whole
from .cache.store import NO_CACHE
from .entries.entry import PREDICTIONS, Entry
from .entries.joined import read_entries
from .publish import Gathered, gather
from .ranking.board import Board, Ranking, names_of
from .ranking.comparisons import UNTRAINED
from .render.ablation import STAR, Ablation, ablation_table, ablations
from .render.markdown import HOW_TO_READ, escape, table
from .render.page.group_curve_plots import plots
from .render.page.html import html
from .render.text_tables import NONE, TextTable, board_tables, interval, mean

START, END = "<!-- board: `bench leaderboard --update` writes this -->", "<!-- end of board -->"
_PUBLISHED = Path("leaderboards/published")
MOST = 6
"""Lines that are named in a row of the overview, besides those that know nothing."""


def committed(root: Path) -> dict[str, str]:
    """What every committed page must hold, by its path below the checkout `root`.

    Raises RowError where there are no entries, where one is damaged, or where README.md has no markers.
    """
    place = root / _PUBLISHED
    if not place.is_dir():
        raise RowError(f"{place}: no such folder; give the checkout whose pages are meant with --root")
    found, sent = gather(place), read_entries([place])
    if found.problems:
        faults = [f"{problem.where}: {problem.message}" for problem in found.problems]
        raise RowError(f"{place}: {'. '.join(faults)}")
    names = file_names(board.title for board in found.boards)
    pages = {
        "README.md": _with_block(root / "README.md", _front(found.boards, names)),
        "leaderboards/README.md": _index(found, sent.entries, names),
        f"{_PUBLISHED.as_posix()}/leaderboard.html": html(
            found.boards, plots(found.boards, found.predictions, NO_CACHE, found.published.curves), found.problems
        ),
    }
    for board in found.boards:
        varied = ablations([board], found.predictions, published=found.published)
        pages[f"{_PUBLISHED.as_posix()}/boards/{names[board.title]}.md"] = _board(board, varied)
    return pages


def update(root: Path) -> list[Path]:
    """Write every committed page anew, and remove boards of cohorts that are gone. Returns what was changed."""
    pages = committed(root)
    changed = [
        write_whole(root / name, text) for name, text in pages.items() if _read(root / name) != text.encode("utf-8")
    ]
    for stray in _strays(root, pages):
        stray.unlink()
        changed.append(stray)
    return changed


def stale(root: Path) -> list[str]:
    """The committed pages that do not follow from the rows, with what is wrong with each; empty where all do."""
    pages = committed(root)
    faults = []
    for name, text in pages.items():
        found = _read(root / name)
        if found is None:
            faults.append(f"{name} is missing")
        elif found != text.encode("utf-8"):
            lines, expected = found.decode("utf-8", "replace").splitlines(), text.splitlines()
            pairs = enumerate(zip(lines, expected, strict=False), 1)
            at = next((number for number, (one, other) in pairs if one != other), min(len(lines), len(expected)) + 1)
            faults.append(f"{name} does not follow from the rows: line {at} differs")
    return faults + [f"{path.relative_to(root)} is of no published cohort" for path in _strays(root, pages)]


def _strays(root: Path, pages: dict[str, str]) -> list[Path]:
    folder = root / _PUBLISHED / "boards"
    return [path for path in sorted(folder.glob("*.md")) if path.relative_to(root).as_posix() not in pages]


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _with_block(readme: Path, block: str) -> str:
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise RowError(f"{readme}: the markers {START} and {END} must each stand in it once, in this order")
    return text[: text.index(START) + len(START)] + f"\n{block}\n" + text[text.index(END) :]


def _front(boards: Sequence[Board], names: dict[str, str]) -> str:
    """What README.md shows: the boards on which there is a model."""
    return "\n\n".join(
        [
            _overview(boards, names, f"{_PUBLISHED.as_posix()}/boards/", baselines=False),
            "*May be the best*: no other of the *of* lines is shown to be above it. "
            "[All boards](leaderboards/README.md) has the rule, and the boards where only baselines were run.",
        ]
    )


def _overview(boards: Sequence[Board], names: dict[str, str], folder: str, baselines: bool = True) -> str:
    """Boards in one table: who leads, how surely, and over what. Without those of `baselines` alone, if so asked."""
    rows = [
        _row(board, ranking, f"{folder}{names[board.title]}.md")
        for board in boards
        for ranking in board.rankings
        if baselines or ranking.best_model is not None
    ]
    if not rows:
        return "No results are published yet."
    columns = ("Board", "Patients (died)", "Folds", "May be the best", "Of", "First model", "Clinical baseline")
    numeric = (False, True, False, False, True, False, False)
    head = table(TextTable("", columns, numeric, ()))
    return "\n".join([head, *rows])


def _row(board: Board, ranking: Ranking, link: str) -> str:
    lines, evidence, baseline, model = ranking.lines, ranking.evidence, ranking.baseline, ranking.best_model
    names = names_of(lines)
    best, provisional = NONE, False
    if evidence is not None and evidence.pairs:
        provisional = bool(set(evidence.best) & set(evidence.provisional))
        words = [f"**{escape(names[place])}**" if place == 0 else escape(names[place]) for place in evidence.best]
        plain = [place for place in evidence.best if lines[place].model == UNTRAINED or lines[place].constant]
        sound = [word for word, place in zip(words, evidence.best, strict=True) if place not in plain]
        some = [*sound[:MOST], *[f"{len(sound) - MOST} more"] * (len(sound) > MOST)]
        best = ", ".join(some + [f"*{escape(names[place])}*" for place in plain])
    first, tested = "none was run", ""
    if model is not None:
        bounds = None if evidence is None else evidence.intervals[model].get("selected")
        first = f"{escape(names[model])} {mean(lines[model].selected)} {escape(interval(bounds))}".strip()
        pair = None if evidence is None else evidence.against_baseline(model)
        if pair is not None:
            side = "above it" if pair.difference.value > 0 else "below it"
            tested = f"; the first model is {f'shown to be {side}' if pair.shown else 'not told from it'}"
    cells = [
        f"[{escape(board.title)}]({link})",
        f"{lines[0].patients} ({lines[0].events})",
        escape(ranking.folds_name),
        best + " (provisional)" * provisional,
        f"{len(lines)}",
        first,
        NONE if baseline is None else f"{mean(baseline.selected)}{tested}",
    ]
    return f"| {' | '.join(cells)} |"


def _index(found: Gathered, entries: Sequence[Entry], names: dict[str, str]) -> str:
    notes = (
        "*May be the best*: the lines that no other of the *of* lines on this board is shown to be above (p at most "
        "0.05, over other patients, seeds and training sets, adjusted for all pairs of the board). The first is in "
        "bold; those that know nothing, chance itself and constants, are in italics. *Provisional*: one of them is "
        "imported or has fewer than three seeds, so that it is not known how much another training would change. "
        "C-index is the mean over folds at `selected`: no epoch is chosen on the fold that is reported; its 95 % "
        "interval in brackets. *Clinical baseline*: ridge Cox of age and sex, named beforehand. Synthetic cohorts are "
        "simulated, with a known truth."
    )
    rows = [
        (
            entry.name,
            entry.head.title,
            entry.head.who,
            entry.head.when,
            str(len({row.experiment for row in entry.rows})),
            "with patients" if PREDICTIONS in entry.head.files else "evidence only",
        )
        for entry in entries
    ]
    columns = ("Entry", "What", "Who", "When", "Experiments", "Holds")
    one = TextTable("", columns, (False, False, False, False, True, False), tuple(rows))
    return (
        "\n\n".join(
            [
                "# Published results",
                "Every number follows from the rows in [published/](published/): `bench leaderboard --check` checks "
                "it, `bench leaderboard verify leaderboards/published` scores the predictions again. "
                "[How to read a board](../docs/leaderboard.md), "
                "[how to add a row](../docs/leaderboard.md#publish-and-verify); "
                "[the page](published/leaderboard.html) shows all of it.",
                _overview(found.boards, names, "published/boards/"),
                notes,
                "## Entries",
                table(one),
            ]
        )
        + "\n"
    )


def _board(board: Board, varied: Sequence[Ablation]) -> str:
    parts = [f"# {escape(board.title)}", f"[All boards](../../README.md). {HOW_TO_READ}"]
    for one in board_tables(board, wide=True):
        parts += [f"## {escape(one.title)}", *(f"> {escape(note)}" for note in one.notes)]
        parts += [table(one)] if one.rows else []
    for one in map(ablation_table, varied):
        parts += [f"## {escape(one.title)}", *(f"> {escape(note)}" for note in (STAR, *one.notes)), table(one)]
    return "\n\n".join(parts) + "\n"
