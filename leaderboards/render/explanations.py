"""What must stand beside a number for it to be read rightly: what a line reads, and why a board has other patients."""

from ..ranking.board import BASELINE, IMPORTED, Board, Line, Ranking
from .text_table import NONE, scales

IMPORTED_READS = {"MCAT": "slides, genes", "AMIL": "slides", "DeepSets": "slides", "MIFCN": "slides"}
"""Of the models whose published risks were imported before rows said it (Chen et al.: MCAT. ICCV 2021)."""
BASELINE_READS = {"site-only": "hospital", "bag-size": "number of patches", "random": "nothing"}
OTHER_PATIENTS = {
    ("luad", 453): "453 patients: those of the label table that MCAT was published with, whose folds these are. The "
    "table from which the list of cohorts counts has 444: nine patients of the folds have no label in it.",
    ("coad", 393): "393 of the 416 patients in the list of cohorts: the others have a time of 0 months in the label "
    "table, and cannot be analysed.",
}


def reads(line: Line) -> str:
    """What a line reads: scales of slides and, where covariates are joined, the clinic; or what was said of it."""
    if line.family == BASELINE:
        named = line.rows[0].settings.get("covariates")
        return str(named).replace(",", ", ") if named else BASELINE_READS.get(line.model, NONE)
    if line.family == IMPORTED:
        return line.rows[0].reads or IMPORTED_READS.get(line.model, "not said")
    return f"{scales(line.scales)}, clinic" if line.rows[0].covariates else scales(line.scales)


def size_notes(board: Board, ranking: Ranking) -> tuple[str, ...]:
    """Why a ranking of this cohort has other patients than the list of cohorts says, where that is known."""
    why = None if board.synthetic else OTHER_PATIENTS.get((board.cohort, ranking.lines[0].patients))
    return () if why is None else (why,)
