"""What tuning brings, on simulated cohorts whose true risks are known: `python docs/tuning_study.py FOLDER`.

Every model is cross-validated as it is and tuned with an equal budget, on the same patients and folds, on a draw of the
cohorts that nothing else in this repository uses. The same command goes on where it was stopped. It ends with the table
of docs/tuning.md, and with an error where tuning made a model worse than noise allows, or found something in
`planted-null`, where there is nothing.
"""

import argparse
import sys
from pathlib import Path

import milsurv
from milsurv.leaderboards.publish import gather
from milsurv.leaderboards.ranking.board import Line, Ranking
from milsurv.leaderboards.render.text_tables import interval, mean, signed

DRAW = 4711
"""The draw of the cohorts, and used nowhere else: the default recipe was not chosen on it."""
COLUMNS = "cohort | model | trials | default | tuned | difference | inner, default | inner, chosen | oracle"


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="meanpool,abmil,dsmil")
    parser.add_argument("--cohorts", default="planted-fine,planted-null")
    parser.add_argument("--tune", type=int, default=8)
    parser.add_argument("--inner", default="3")
    parser.add_argument("--patients", type=int, default=160)
    parser.add_argument("--folds", type=int, default=3)
    given = parser.parse_args()
    for cohort in given.cohorts.split(","):
        for model in given.models.split(","):
            for tuning in ({}, {"tune": given.tune, "inner": given.inner}):
                milsurv.run(
                    model, cohort, out=given.folder, patients=given.patients, folds=given.folds, cohort_seed=DRAW,
                    **tuning,
                )  # fmt: skip
    faults = show(given.folder)
    sys.exit(f"{len(faults)} faults: {'; '.join(faults)}" if faults else 0)


def show(folder: Path) -> list[str]:
    """Print the table of everything in a folder; what should not be, in words."""
    print(f"| {COLUMNS} |", "|" + " --- |" * len(COLUMNS.split("|")), sep="\n")
    faults = []
    for board in gather(folder / "experiments").boards:
        for ranking in board.rankings:
            faults += [
                fault for place in range(len(ranking.lines)) for fault in show_line(board.cohort, ranking, place)
            ]
    return faults


def show_line(cohort: str, ranking: Ranking, place: int) -> list[str]:
    """Print a tuned line beside the same without tuning; what should not be, in words."""
    evidence, tuned = ranking.evidence, ranking.lines[place]
    pair = next((pair for pair in evidence.tuned if pair.first == place), None) if evidence else None
    if evidence is None or pair is None:
        return []
    default = ranking.lines[pair.second]
    cells = [
        cohort,
        f"`{tuned.model}`",
        str(tuned.rows[0].trials),
        f"{mean(default.selected)} {interval(evidence.intervals[pair.second].get('selected'))}",
        f"{mean(tuned.selected)} {interval(evidence.intervals[place].get('selected'))}",
        f"{signed(pair.difference.value)} {interval(pair.difference, sign=True)}",
        inner(tuned, "untuned_c_index"),
        inner(tuned, "tuned_c_index"),
        mean(tuned.spreads["oracle_c_index"]),
    ]
    print(f"| {' | '.join(cells)} |")
    faults = [f"{tuned.model} on {cohort} is worse when tuned"] if pair.difference.high < 0 else []
    own = evidence.intervals[place].get("selected")
    if cohort == "planted-null" and own is not None and own.low > 0.5:
        faults.append(f"{tuned.model} finds something on {cohort}")
    return faults


def inner(line: Line, field: str) -> str:
    """What the inner folds said, mean over outer folds."""
    values = [value for row in line.rows if (value := getattr(row, field)) is not None]
    return f"{sum(values) / len(values):.3f}" if values else "none"


if __name__ == "__main__":
    main()
